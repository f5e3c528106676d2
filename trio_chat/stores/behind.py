"""Which sessions are behind: their members were told more than the hot store has.

1. Should this process die now, nobody would know which numbers were given out. So there is a mark on disk as long as
   any session is behind. It is there before the first such event is let out.
2. A start that finds the mark begins a new *generation*: nothing that was written before it is trusted, so rooms begin
   new sessions and no number is given out twice.
3. The mark is for this machine's disk: the next process must have the same directory.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING

from typing_extensions import override

from trio_chat.stores.child import read_text, sync_directory, write_durably

if TYPE_CHECKING:
    from pathlib import Path

    from trio_chat.stores.base import Session

logger = logging.getLogger(__name__)

_AT_STAKE = (
    "if this process is killed while Redis is away, numbers of messages may be given out twice, and clients that "
    "come back may miss some"
)


class Behind:
    """The sessions that are behind, and the mark. Lives as long as its store; one process has it at a time.

    Making one looks for the mark, begins a new generation if it is there, and takes it away: a few writes to the disk.
    If the directory cannot be written a warning says what is at stake.

    Args:
        directory: where the mark and the generation are kept; None to keep neither.
        name: what their names begin with.

    Attributes:
        generation: names what this process may trust; "" until a process has died with a session behind.
    """

    def __init__(self, directory: Path | None = None, name: str = "tc") -> None:
        self.generation = ""
        self._sessions: set[Session] = set()
        self._marked = False
        self._mark = None if directory is None else directory / f"{name}.behind"
        if self._mark is not None:
            self._begin(self._mark, self._mark.with_name(f"{name}.generation"))

    @override
    def __repr__(self) -> str:
        return f"<Behind sessions={len(self._sessions)} generation={self.generation or 'first'}>"

    def __contains__(self, session: Session) -> bool:
        return session in self._sessions

    def _begin(self, mark: Path, kept: Path) -> None:
        try:
            mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            died = mark.exists()
            self.generation = secrets.token_hex(4) if died else read_text(kept).strip()
            write_durably(kept, self.generation)
            # Not before: a process that dies in between finds the mark again.
            mark.unlink(missing_ok=True)
            sync_directory(mark.parent)
        except OSError as error:
            logger.warning("DATA_DIR=%s cannot be written (%s): %s", mark.parent, error.strerror, _AT_STAKE)
            return
        if died:
            logger.warning(
                "the process before this one died while Redis was away: every room begins a new session"
            )

    def note(self, session: Session, behind: bool) -> None:
        """Note that a session is behind, or is so no longer. Blocks while the disk is written, if that is needed."""
        if behind:
            self._sessions.add(session)
        else:
            self._sessions.discard(session)
        if self._mark is not None and self._marked is not bool(self._sessions):
            self._write(self._mark)

    def _write(self, mark: Path) -> None:
        try:
            if self._sessions:
                write_durably(mark, "")
            else:
                mark.unlink(missing_ok=True)
                sync_directory(mark.parent)
            self._marked = bool(self._sessions)
        except OSError as error:
            what = _AT_STAKE if self._sessions else "every room will begin a new session at the next start"
            problem = error.strerror
            logger.error("DATA_DIR=%s cannot be written (%s): %s", mark.parent, problem, what)  # noqa: TRY400 - no fault of the code
