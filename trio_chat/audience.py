"""The members of one room: who is here, who types, and how they are told.

1. A turn's hearings are wrapped once per wire, ahead of the telling where there is time for it; every member of that wire
   gets the same parcel.
2. Presence is per user, not per member: a user with two connections is one.
3. A member that raises is put out at once. The room and the other members do not notice.
4. Who comes or leaves is told at once; of a crowd, together a moment later, but never after what is said meanwhile.
   A room into which a thousand reconnect would otherwise be busy with nothing else.
5. Everybody who types has a deadline, members or not. Whatever ends the typing makes it due at once; it is over when the
   others have been told, so that a failure in between is made up for.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from trio_chat.failures import describe
from trio_chat.mail import Hear, Hearing, Member, Presence, Typing, Voice, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

logger = logging.getLogger(__name__)

CROWD = 10
"""How many may come or leave within a second before they are taken for a crowd."""

PRESENCE_SECONDS = 0.1
"""How often the others are told who came and left of a crowd."""

TYPING_SECONDS = 30.0
"""How long a user types who says nothing more."""


class _Group:
    """The members of one wire, and its voice. Lives as long as it has members."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self.members: dict[Member, Hear] = {}


class Audience:
    """Everybody in one room. Lives as long as its room, through crashes of the actor."""

    def __init__(self, room: str) -> None:
        self._room = room
        self._groups: dict[Wire, _Group] = {}
        self._here: dict[str, int] = {}
        self._last_active: dict[str, datetime] = {}
        self._news: dict[str, Presence] = {}
        """Who has come or left and is still to be told."""
        self._announced = -math.inf
        """When that was told last, on Trio's clock."""
        self._second = -math.inf
        self._comings = 0
        """How many have come or left since `_second`, for a second."""
        self._ahead: tuple[Sequence[Hearing], list[tuple[_Group, Any]]] | None = None
        """What is about to be told, and the parcels of it."""
        self._typing: dict[str, float] = {}
        """Who types, as the others have been or are about to be told, and until when on Trio's clock."""

    @override
    def __repr__(self) -> str:
        return f"<Audience of {self._room} members={len(self)} users={len(self._here)}>"

    def __len__(self) -> int:
        return sum(len(group.members) for group in self._groups.values())

    def __contains__(self, member: Member) -> bool:
        group = self._groups.get(member.wire)
        return group is not None and member in group.members

    def __iter__(self) -> Iterator[Member]:
        for group in list(self._groups.values()):
            yield from list(group.members)

    def add(self, member: Member, now: datetime) -> tuple[Voice, bool]:
        """Let a member in. Returns the voice of its wire, and whether its user was not here before.

        Nothing changes for a member that is in already.
        """
        group = self._groups.get(member.wire)
        if group is None:
            group = self._groups[member.wire] = _Group(member.wire.voice(self._room))
        elif member in group.members:
            return group.voice, False
        group.members[member] = member.hear
        self._here[member.user] = self._here.get(member.user, 0) + 1
        self._last_active[member.user] = now
        return group.voice, self._here[member.user] == 1

    def remove(self, member: Member) -> bool:
        """Let a member out. Returns whether its user is gone with it; False if it was not here."""
        group = self._groups.get(member.wire)
        if group is None or member not in group.members:
            return False
        del group.members[member]
        if not group.members:
            del self._groups[member.wire]
        self._here[member.user] -= 1
        if self._here[member.user]:
            return False
        del self._here[member.user]
        self.stop_typing(member.user)
        return True

    def is_here(self, user: str) -> bool:
        """Whether a user has a member here."""
        return user in self._here

    def touch(self, user: str, now: datetime) -> None:
        """Note that a user did something."""
        if user in self._here:
            self._last_active[user] = now

    def presence_of(self, user: str, now: datetime) -> Presence:
        """Return whether a user is here, and when they last did something."""
        active = user in self._here
        last = self._last_active.get(user, now) if active else self._last_active.pop(user, now)
        return Presence(user, active, last)

    def presence(self) -> tuple[Presence, ...]:
        """Return who is here."""
        return tuple(Presence(user, True, self._last_active[user]) for user in self._here)

    def start_typing(self, user: str, clock: float) -> None:
        """Note that a user types, for the next 30 s. Telling the others is the caller's."""
        self._typing[user] = clock + TYPING_SECONDS

    def stop_typing(self, user: str) -> None:
        """Let a user's typing be due, if they type. The next `end_typing` tells the others."""
        if user in self._typing:
            self._typing[user] = -math.inf

    def typing(self, clock: float, *, besides: str) -> tuple[str, ...]:
        """Return who types, `besides` one user."""
        return tuple(user for user, until in self._typing.items() if until > clock and user != besides)

    def announce(self, presence: Presence, clock: float) -> None:
        """Tell the others that a user came, left or is active: at once, or as one of a crowd when it is due.

        A crowd is told to everybody, those it is about included.
        """
        if clock >= self._second + 1.0:
            self._second, self._comings = clock, 0
        self._comings += 1
        if self._news or self._comings > CROWD:
            self._news[presence.user] = presence
        else:
            self._announced = clock
            self.tell([presence], droppable=True, besides=presence.user)

    @property
    def restless(self) -> bool:
        """Whether something is due, or will be."""
        return bool(self._typing or self._news)

    @property
    def due(self) -> float:
        """When `tell_due` has something to do, on Trio's clock; infinity if never."""
        if self._news:
            return min(self._announced + PRESENCE_SECONDS, self.typing_due)
        return self.typing_due

    def tell_due(self, clock: float) -> None:
        """Tell the others what is due by now: who came and left, and who has stopped typing."""
        if self._news and clock >= self._announced + PRESENCE_SECONDS:
            self._announced = clock
            news = list(self._news.values())
            self.tell(news, droppable=True)
            # Not before: if telling fails, the next call has to.
            self._news.clear()
        self.end_typing(clock)

    @property
    def typing_due(self) -> float:
        """When `end_typing` has something to do, on Trio's clock; infinity if nobody types."""
        return min(self._typing.values(), default=math.inf)

    def end_typing(self, clock: float) -> None:
        """Tell the others who has stopped typing by now."""
        # Telling may put out others who type, who are then due too.
        while due := [user for user, until in self._typing.items() if until <= clock]:
            for user in due:
                self.tell([Typing(user, False)], droppable=True, besides=user)
                # Not before: if telling fails, the next call has to.
                del self._typing[user]

    def prepare(self, hearings: Sequence[Hearing]) -> None:
        """Wrap changes of the room that are about to be told, while there is time for it. Nobody hears anything."""
        self._ahead = hearings, self._wrap(hearings)

    def _wrap(self, hearings: Sequence[Hearing]) -> list[tuple[_Group, Any]]:
        if self._ahead is not None and self._ahead[0] is hearings:
            parcels = self._ahead[1]
            # Members may have gone since, and with the last of them a voice.
            if [group for group, _ in parcels] == list(self._groups.values()):
                return parcels
        return [(group, group.voice.tell(hearings)) for group in self._groups.values()]

    def tell(
        self, hearings: Sequence[Hearing], *, droppable: bool = False, besides: str | None = None
    ) -> None:
        """Tell everybody, `besides` one user. Never waits.

        What is not droppable comes behind the news, so that nobody is heard who is not here yet.
        """
        news = list(self._news.values()) if self._news and not droppable else []
        said = [*news, *hearings] if news else hearings
        # All wires are wrapped before anybody is told: if one cannot be, nobody has heard half of it.
        parcels = self._wrap(said)
        if not droppable:
            # What was prepared is told now, or was given up.
            self._ahead = None
        failed: list[Member] = []
        for group, parcel in parcels:
            group.voice.told(parcel)
            for member, hear in list(group.members.items()):
                if besides is not None and member.user == besides:
                    continue
                try:
                    # By position: calls by keyword take twice as long, and this one is made for every delivery.
                    hear(parcel, droppable)
                except Exception as failure:  # noqa: BLE001 - it ends here, and is logged
                    failed.append(member)
                    logger.error(  # noqa: TRY400 - what an exception says may quote somebody
                        "room %s: a member of user %s failed to take a message and is out: %s",
                        self._room, member.user, describe(failure),
                    )  # fmt: skip
        for told in news:
            if self._news.get(told.user) is told:
                del self._news[told.user]
        for user in [member.user for member in failed if self._put_out(member)]:
            self.tell([Presence(user, False, self._last_active.pop(user))], droppable=True)

    def _put_out(self, member: Member) -> bool:
        """Put a member out; returns whether its user is gone with it."""
        gone = self.remove(member)
        member.put_out(self._room, told=False)
        return gone

    def clear(self, *, told: bool) -> None:
        """Put everybody out; `told` says whether they have heard why."""
        for member in self:
            member.put_out(self._room, told=told)
        self._groups.clear()
        self._here.clear()
        self._last_active.clear()
        self._typing.clear()
        self._news.clear()
