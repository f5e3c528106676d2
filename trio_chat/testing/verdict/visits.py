"""What each client was told in each room: one contiguous order, and windows that follow from it.

A client's window is put together here from what it heard, by the rules of the native wire (docs/protocol.md), and
compared with the model once everything is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from typing_extensions import override

from trio_chat.message import Position
from trio_chat.testing.verdict.events import Generation
from trio_chat.testing.verdict.log import Expired, Join, Live, Recv, Seen, Window

if TYPE_CHECKING:
    from trio_chat.stores.base import Session


class Shot(msgspec.Struct, frozen=True):
    """A window as a client showed it at a position."""

    at: float
    client: str
    generation: Generation
    seq: int
    visit: Visit
    shown: tuple[Seen, ...]


class Gap(msgspec.Struct, frozen=True):
    """An event that a client in a room did not hear, and the place of the visit that shall make up for it."""

    at: float
    generation: Generation
    seq: int
    visit: Visit

    def spoils(self, shot: Shot) -> bool:
        """Whether a window was shown after the event, and before what makes up for it was heard."""
        same = self.visit is shot.visit and self.generation is shot.generation
        return same and self.seq <= shot.seq and not self.visit.makes_up(self.generation, self.seq, shot.seq)


class Visit:
    """A client's time in a room, from one join to its end. `heard` is every change it heard, by generation."""

    def __init__(self, join: Join, resume: Position | None) -> None:
        self.join = join
        self.resume = resume
        self.live = False
        self.anew = False
        """Whether the room was loaded anew meanwhile: then it tells how things are, not each event."""
        self.expired: str | None = None
        """The session that has ended, until the next one begins."""
        self.heard: list[tuple[Generation, int, str]] = []

    @override
    def __repr__(self) -> str:
        return f"the visit of {self.join.client} to {self.join.room} at {self.join.at:.3f}"

    def makes_up(self, generation: Generation, seq: int, upto: int) -> bool:
        """Whether a later event about the same message was heard, of those up to a seq."""
        known = generation.events.get(seq)
        return known is None or any(
            heard is generation and seq < later <= upto and name == known.id
            for heard, later, name in self.heard
        )


class Place:
    """What a client knows of a room, through all its visits. Lives as long as its verdict.

    Every method returns what is wrong with what it was told: the kind of mistake, and why.

    Args:
        limit: how many messages a window has.
    """

    def __init__(self, limit: int) -> None:
        self.visit: Visit | None = None
        self.position: Position | None = None
        self.tainted = False
        """Whether what it shows is open, until it is shown a whole window."""
        self.pins: dict[Session, Generation] = {}
        """Sessions that have gone on otherwise, while what this visit hears is still of the former generation."""
        self.shots: list[Shot] = []
        self.gaps: list[Gap] = []
        self._limit = limit
        self._shown: dict[int, Seen] = {}

    @override
    def __repr__(self) -> str:
        return f"<Place {self.visit!r} position={self.position}>"

    def join(self, join: Join, resume: Position | None) -> str | None:
        """Begin a visit."""
        again, self.visit = self.visit, Visit(join, resume)
        if again is not None:
            return f"{again} is not over, and another one begins"
        if join.recovered and (resume is None or resume.epoch != join.epoch or resume.seq > join.seq):
            return f"{self.visit} has recovered at {join.epoch}:{join.seq} from {resume}"
        if join.recovered and resume != self.position:
            self.tainted = True  # it resumed from elsewhere: what it had there is not known here
        return None

    def leave(self) -> None:
        """End the visit, if there is one."""
        self.visit = None
        pins, self.pins = self.pins, {}
        for session, generation in pins.items():
            self.forget(session, generation.above or 0)

    def forget(self, session: Session, above: int) -> None:
        """Know that a session goes on otherwise above a seq."""
        position = self.position
        if position is not None and position.epoch == session.epoch and position.seq > above:
            self.tainted = True

    def window(self, window: Window, generation: Generation) -> str | None:
        """Be shown a window."""
        if (visit := self.visit) is None or visit.live:
            return f"{window.client} is shown a window of {window.room} that it did not ask for"
        if visit.join.recovered or (visit.join.epoch, visit.join.seq) != (window.epoch, window.seq):
            return f"{visit} is shown a window of {window.epoch}:{window.seq}, and joined as {visit.join}"
        visit.live, self.tainted = True, False
        self.position = Position(window.epoch, window.seq)
        self._shown = {message.seq: message for message in window.messages}
        if [*self._shown] != sorted(self._shown) or len(self._shown) != len(window.messages):
            return f"{visit} is shown messages out of order"
        self._shoot(window, generation)
        return None

    def live(self, live: Live, generation: Generation) -> str | None:
        """Have heard what was missed."""
        if (visit := self.visit) is None or visit.live or not visit.join.recovered:
            return f"{live.client} is told that it is live in {live.room}, and did not resume there"
        if (visit.join.epoch, visit.join.seq) != (live.epoch, live.seq):
            return f"{visit} is live at {live.epoch}:{live.seq}, and joined as {visit.join}"
        visit.live = True
        self.position = Position(live.epoch, live.seq)
        self._keep({seq: message for seq, message in self._shown.items() if seq >= visit.join.first})
        self._shoot(live, generation)
        return None

    def expired(self, expired: Expired) -> str | None:
        """Hear that the session has ended."""
        if (visit := self.visit) is None:
            return f"{expired.client} hears of a session of {expired.room}, where it is not"
        if self.position is not None and self.position.seq and self.position.epoch != expired.epoch:
            return f"{visit} hears that {expired.epoch} has ended, being at {self.position}"
        visit.expired = expired.epoch
        self._shown = {}
        return None

    def recv(self, recv: Recv, generation: Generation, name: str) -> str | None:
        """Hear a change."""
        visit = self.visit
        assert visit is not None  # noqa: S101 - the caller has looked
        wrong = self._follow(recv, visit, generation) if visit.live else self._catch_up(recv, visit)
        visit.heard.append((generation, recv.seq, name))
        self.position = Position(recv.epoch, recv.seq)
        self._apply(recv)
        if visit.live:
            self._shoot(recv, generation)
        return wrong

    def _catch_up(self, recv: Recv, visit: Visit) -> str | None:
        joined, resume = visit.join, visit.resume
        after = self.position.seq if visit.heard and self.position else resume.seq if resume else 0
        if not joined.recovered or recv.epoch != joined.epoch or not after < recv.seq <= joined.seq:
            return f"{visit}, joined as {joined}, is told of {recv.epoch}:{recv.seq} among what it missed"
        return None

    def _follow(self, recv: Recv, visit: Visit, generation: Generation) -> str | None:
        position = self.position or Position("", 0)
        epoch, seq = (position.epoch, position.seq) if position.seq else (recv.epoch, 0)
        if visit.expired is not None and position.seq:
            if recv.epoch <= visit.expired:
                return f"{visit} hears of {recv.epoch}:{recv.seq} after that session has ended"
            epoch, seq, visit.expired = recv.epoch, 0, None
        if recv.epoch != epoch:
            return f"{visit} hears of {recv.epoch}:{recv.seq} in the middle of {epoch}:{seq}"
        if recv.seq <= seq:
            return f"{visit} hears of {recv.epoch}:{recv.seq} again, or too late: it was at {seq}"
        # It began without its session, and has found that now.
        visit.anew = visit.anew or (position.seq == 0 and epoch < visit.join.epoch)
        missing = range(seq + 1, recv.seq)
        if missing and not visit.anew:
            return f"{visit} hears of {recv.epoch}:{recv.seq} and not of {[*missing]}"
        self.gaps += [Gap(recv.at, generation, one, visit) for one in missing]
        return None

    def _apply(self, recv: Recv) -> None:
        shown = self._shown
        if recv.message is None:
            shown = {seq: message for seq, message in shown.items() if message.id != recv.deleted}
        else:
            shown[recv.message.seq] = recv.message
        self._keep(shown)

    def _keep(self, shown: dict[int, Seen]) -> None:
        self._shown = {seq: shown[seq] for seq in sorted(shown)[-self._limit :]}

    def _shoot(self, said: Window | Live | Recv, generation: Generation) -> None:
        if not self.tainted and self.visit is not None:
            shown = generation.share(said.seq, tuple(self._shown.values()))
            self.shots.append(Shot(said.at, said.client, generation, said.seq, self.visit, shown))
