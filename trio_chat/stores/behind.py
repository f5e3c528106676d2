"""Which sessions are behind: their members were told more than the hot store has.

1. Should this process die now, nobody would know which numbers were given out. So there is a mark on disk as long as
   any session is behind. It is there before the first such event is let out.
2. A start that finds the mark begins a new *generation*: nothing that was written before it is trusted, so rooms begin
   new sessions and no number is given out twice.
3. A process that ends in order names, in the place of the mark, the sessions that are still behind: of each room the
   newest. A start that finds them does not trust these, nor older ones of their rooms; all others go on.
4. What is named stays named until the hot store cannot come back to it: it has ended it, or holds a newer one. That it
   holds none does not count, for writes of the old process may still be waiting in a store that was paused.
5. The mark is for this machine's disk: the next process must have the same directory.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

import msgspec
from typing_extensions import override

from trio_chat.message import is_epoch
from trio_chat.stores.files import read_text, sync_directory, write_durably

if TYPE_CHECKING:
    from pathlib import Path

    from trio_chat.stores.base import Session

logger = logging.getLogger(__name__)

_AT_STAKE = (
    "if this process is killed while Redis is away, numbers of messages may be given out twice, and clients that "
    "come back may miss some"
)
# Of how many rooms the file names a session. Of more it does not: then every room begins a new one.
_MOST = 10_000


class Behind:
    """The sessions that are behind, and the mark. Lives as long as its store; one process has it at a time.

    Making one looks for the mark, begins a new generation if it is there, and takes it away: a few writes to the disk.
    If the directory cannot be written a warning says what is at stake. `close` belongs to the end: without it, and
    with sessions behind, the process counts as killed.

    Args:
        directory: where the mark and the generation are kept; None to keep neither.
        name: what their names begin with.

    Attributes:
        generation: names what this process may trust; "" until a process has died with a session behind.
    """

    def __init__(self, directory: Path | None = None, name: str = "tc") -> None:
        self.generation = ""
        self._sessions: set[Session] = set()
        self._left: dict[str, str] = {}
        """By room, the newest session that a process before this one has left behind."""
        self._said: str | None = None
        """What the mark says: nothing while a session is behind, else what is left; None if there is no mark."""
        self._mark = None if directory is None else directory / f"{name}.behind"
        if self._mark is not None:
            self._begin(self._mark, self._mark.with_name(f"{name}.generation"))

    @override
    def __repr__(self) -> str:
        generation = self.generation or "first"
        return f"<Behind left={len(self._left)} sessions={len(self._sessions)} generation={generation}>"

    def __contains__(self, session: Session) -> bool:
        return session in self._sessions or session.epoch <= self._left.get(session.room, "")

    def _begin(self, mark: Path, kept: Path) -> None:
        try:
            mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._said = read_text(mark) if mark.exists() else None
            self._left = _read_left(self._said)
            died = self._said is not None and not self._left
            self.generation = secrets.token_hex(4) if died else read_text(kept).strip()
            write_durably(kept, self.generation)
            # Not before: a process that dies in between finds the mark again.
            self._replace(mark, self._said if self._left else None)
        except OSError as error:
            logger.warning("DATA_DIR=%s cannot be written (%s): %s", mark.parent, error.strerror, _AT_STAKE)
            return
        if died:
            logger.warning(
                "the process before this one died while Redis was away: every room begins a new session"
            )
        elif self._left:
            logger.warning(
                "Redis was away when the process before this one ended: rooms that begin a new session: %d",
                len(self._left),
            )

    def note(self, session: Session, behind: bool) -> None:
        """Note that a session is behind, or is so no longer. Blocks while the disk is written, if that is needed."""
        if behind:
            self._sessions.add(session)
        else:
            self._sessions.discard(session)
            if self._left.get(session.room) == session.epoch:
                del self._left[session.room]
        if self._mark is not None and (self._said == "") is not bool(self._sessions):
            self._write(self._mark)

    def note_current(self, session: Session) -> None:
        """Note that the hot store holds this session: it cannot come back to an older one of the room."""
        if session.epoch > self._left.get(session.room, session.epoch):
            del self._left[session.room]

    def close(self) -> None:
        """Name the sessions that are still behind. Nothing more may be noted. Blocks while the disk is written."""
        for session in self._sessions:
            self._left[session.room] = max(session.epoch, self._left.get(session.room, ""))
        self._sessions.clear()
        if self._mark is not None:
            self._write(self._mark)

    def _write(self, mark: Path) -> None:
        try:
            self._replace(mark, self._text())
        except OSError as error:
            what = _AT_STAKE if self._sessions else "every room will begin a new session at the next start"
            problem = error.strerror
            logger.error("DATA_DIR=%s cannot be written (%s): %s", mark.parent, problem, what)  # noqa: TRY400 - no fault of the code

    def _text(self) -> str | None:
        if self._sessions or len(self._left) > _MOST:
            return ""
        return msgspec.json.encode(self._left, order="sorted").decode() if self._left else None

    def _replace(self, mark: Path, text: str | None) -> None:
        if text == self._said:
            return
        if text is not None:
            write_durably(mark, text)
        else:
            mark.unlink(missing_ok=True)
            sync_directory(mark.parent)
        self._said = text


def _read_left(text: str | None) -> dict[str, str]:
    """Return what a mark names; nothing if there is none, or if it was left by a process that died."""
    try:
        left = msgspec.json.decode(text or "{}", type=dict[str, str])
    except msgspec.DecodeError:
        return {}
    return left if all(map(is_epoch, left.values())) else {}
