"""The members of one room: who is here, and how they are told.

1. A turn's hearings are wrapped once per wire; every member of that wire gets the same parcel.
2. Presence is per user, not per member: a user with two connections is one.
3. A member that raises is put out at once. The room and the other members do not notice.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from typing_extensions import override

from trio_chat.mail import Hearing, Member, Presence, Voice, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

logger = logging.getLogger(__name__)


class _Group:
    """The members of one wire, and its voice. Lives as long as it has members."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice
        self.members: dict[Member, None] = {}


class Audience:
    """Everybody in one room. Lives as long as its room, through crashes of the actor."""

    def __init__(self, room: str) -> None:
        self._room = room
        self._groups: dict[Wire, _Group] = {}
        self._here: dict[str, int] = {}
        self._last_active: dict[str, datetime] = {}

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
        """Let a member in. Returns the voice of its wire, and whether its user was not here before."""
        group = self._groups.get(member.wire)
        if group is None:
            group = self._groups[member.wire] = _Group(member.wire.voice(self._room))
        group.members[member] = None
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
        return True

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

    def tell(
        self, hearings: Sequence[Hearing], *, droppable: bool = False, besides: str | None = None
    ) -> None:
        """Tell everybody, `besides` one user. Never waits."""
        # All wires are wrapped before anybody is told: if one cannot be, nobody has heard half of it.
        parcels = [(group, group.voice.tell(hearings)) for group in self._groups.values()]
        gone = [
            member.user
            for group, parcel in parcels
            for member in list(group.members)
            if member.user != besides and self._fails(member, parcel, droppable)
        ]
        for user in gone:
            self.tell([Presence(user, False, self._last_active.pop(user))], droppable=True)

    def _fails(self, member: Member, parcel: object, droppable: bool) -> bool:
        """Let a member hear. If it fails it is out; returns whether its user is gone with it."""
        try:
            member.hear(parcel, droppable=droppable)
        except Exception:
            logger.exception(
                "room %s: a member of user %s failed to take a message and is out", self._room, member.user
            )
            gone = self.remove(member)
            member.put_out(self._room)
            return gone
        return False

    def clear(self) -> None:
        """Put everybody out."""
        for member in self:
            member.put_out(self._room)
        self._groups.clear()
        self._here.clear()
        self._last_active.clear()
