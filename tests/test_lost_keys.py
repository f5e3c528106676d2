"""Redis loses, or is given back an older copy of, some of a room's keys: what was acknowledged reaches the archive.

A whole lobby on a real Valkey, and the archive in memory. Copies are taken and put back as a person would, with DUMP
and RESTORE, while the room lives or before the next lobby begins.
"""

from __future__ import annotations

import itertools
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import redis
import trio

from tests.rooms import archived
from trio_chat.lobby import Lobby, open_lobby
from trio_chat.message import Position
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive
from trio_chat.stores.redis import open_redis
from trio_chat.stores.redis_records import Names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from trio_chat.seat import Seat
    from trio_chat.stores.base import Session
    from trio_chat.stores.embedded import EmbeddedValkey

KINDS = ["now", "meta", "log", "keys", "read", "pending"]
_numbers = itertools.count()


class Place:
    """A Valkey, an archive, and what a person may do to a room's keys."""

    def __init__(self, valkey: EmbeddedValkey, client: Any) -> None:
        self.valkey = valkey
        self.client = client
        self.archive = MemoryArchive()
        self.prefix = f"lost{next(_numbers)}"

    @asynccontextmanager
    async def lobby(self, **settings: int) -> AsyncIterator[Lobby]:
        """Open a lobby for as long as the block, 10 s at most. It archives at its end, and when it is told to."""
        with trio.fail_after(10):
            async with (
                open_redis(self.valkey.url, prefix=self.prefix) as hot,
                open_lobby(
                    hot=hot,
                    archive=self.archive,
                    settings=Settings(session_sync_interval_seconds=3600, **settings),
                    now=lambda: datetime.now(UTC),
                ) as lobby,
            ):
                yield lobby

    def key(self, session: Session, kind: str) -> str:
        return dict(zip(KINDS, Names(self.prefix).session(session), strict=False))[kind]

    def copy(self, session: Session, kinds: list[str]) -> dict[str, bytes]:
        """Return copies of keys."""
        return {
            name: found
            for name in (self.key(session, kind) for kind in kinds)
            if (found := self.client.dump(name)) is not None
        }

    def put_back(self, copies: dict[str, bytes]) -> None:
        """Let keys be what they were."""
        for name, found in copies.items():
            self.client.restore(name, 0, found, replace=True)

    def archived(self) -> list[str]:
        """Return what the archive has, in order."""
        return archived(self.archive)


@pytest.fixture
def place(valkey_process: EmbeddedValkey) -> Iterator[Place]:
    with redis.Redis(unix_socket_path=str(valkey_process.socket)) as client:
        yield Place(valkey_process, client)


async def say(seat: Seat, first: int, last: int) -> list[str]:
    """Post numbers, one at a time."""
    said = [str(number) for number in range(first, last + 1)]
    for content in said:
        assert (await seat.post(content)).durability == "redis"
    return said


LOST = [["now"], ["meta"], ["log"], ["now", "log"], ["meta", "log"], ["now", "meta", "log"]]


@pytest.mark.parametrize("synced", [0, 4, 6])
@pytest.mark.parametrize("then", ["they go on", "it is archived"])
@pytest.mark.parametrize("kinds", LOST, ids=",".join)
async def test_lost_keys_of_a_live_room(place: Place, kinds: list[str], then: str, synced: int) -> None:
    """The room has it all, and the session goes on: nothing is missing in the archive, nor after a kill."""
    async with place.lobby() as lobby, lobby.join("r", user="ann") as ann:
        said = await say(ann, 1, synced)
        await lobby.syncer.sync_all()
        said += await say(ann, synced + 1, 6)
        session = lobby.rooms["r"].ledger.session
        place.client.delete(*(place.key(session, kind) for kind in kinds))
        if then == "they go on":
            said += await say(ann, 7, 9)
            entries = [entry for entry, _ in place.client.xrange(place.key(session, "log"))]
            assert entries == [b"%d-0" % seq for seq in range(1, 10)]
            async with place.lobby() as next_one, next_one.join("r", user="bob") as bob:
                assert [message.content for message in bob.joined.messages] == said
                assert bob.joined.epoch == session.epoch
        await lobby.syncer.sync_all()

        assert place.archived() == said
        assert lobby.rooms["r"].ledger.session == session
        assert (await ann.post("last")).seq == len(said) + 1


@pytest.mark.parametrize("lost", [[20], [3, 16], [16, 17], range(12, 21), range(1, 21)], ids=str)
async def test_lost_entries_of_a_room_that_remembers_the_newest(place: Place, lost: Sequence[int]) -> None:
    """The archive was away for long. What either has of Redis and the room reaches it, not more, and Redis has it again."""
    async with (
        place.lobby(max_messages_per_session=4, backlog_limit=4, sync_after_events=4) as lobby,
        lobby.join("r", user="ann") as ann,
    ):
        place.archive.set_healthy(False)
        await say(ann, 1, 20)
        room = lobby.rooms["r"]
        assert not room.ledger.history.complete
        remembered = {event.seq for event in room.ledger.history.entries(0)}
        log = place.key(room.ledger.session, "log")
        place.client.xdel(log, *(f"{seq}-0" for seq in lost))
        place.archive.set_healthy(True)
        await lobby.syncer.sync_all()
        archived = place.archived()
        await ann.post("21")

        assert len(remembered) == 8
        assert archived == [str(seq) for seq in range(1, 21) if seq not in lost or seq in remembered]
        assert [message.content for message in room.ledger.history.snapshot()] == ["18", "19", "20", "21"]
        assert {int(entry.partition(b"-")[0]) for entry, _ in place.client.xrange(log)} >= {18, 19, 20, 21}


@pytest.mark.parametrize("synced", [0, 2, 4, 6])
@pytest.mark.parametrize("then", ["they go on", "it is archived"])
@pytest.mark.parametrize("kinds", [["meta"], ["log"], ["meta", "log"], KINDS], ids=",".join)
async def test_older_copies_under_a_live_room(place: Place, kinds: list[str], then: str, synced: int) -> None:
    """The same: the room knows more, and what the archive has not is taken from there. Then Redis has it again, too."""
    async with place.lobby() as lobby, lobby.join("r", user="ann") as ann:
        said: list[str] = []
        for seq in range(1, 7):
            said += await say(ann, seq, seq)
            if seq == synced:
                await lobby.syncer.sync_all()
            session = lobby.rooms["r"].ledger.session
            if seq == 3:
                copies = place.copy(session, kinds)
        place.put_back(copies)
        if then == "they go on":
            said += await say(ann, 7, 9)
        await lobby.syncer.sync_all()
        said += await say(ann, len(said) + 1, 10)
        entries = [entry for entry, _ in place.client.xrange(place.key(session, "log"))]
        unsynced = place.archived()
        await lobby.syncer.sync_all()

        assert unsynced == said[: len(unsynced)]
        assert entries == [b"%d-0" % seq for seq in range(1, 11)]
        assert place.archived() == said
        assert lobby.rooms["r"].ledger.session == session


@pytest.mark.parametrize("what", ["lost", "older"])
@pytest.mark.parametrize("kinds", [["now"], ["meta"], ["log"], ["meta", "log"]], ids=",".join)
async def test_keys_that_are_not_what_they_were_at_the_start(
    place: Place, kinds: list[str], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The session is not continued: nobody resumes it over a hole, and no number is given out twice.

    Older copies of both are the exception, if the archive has nothing newer: nobody can know.
    """
    with trio.fail_after(20):
        async with place.lobby() as lobby, lobby.join("r", user="ann") as ann:
            said = await say(ann, 1, 3)
            session = lobby.rooms["r"].ledger.session
            copies = place.copy(session, kinds)
            said += await say(ann, 4, 6)
        assert place.archived() == said
        if what == "lost":
            place.client.delete(*copies)
        elif "now" not in kinds:
            place.put_back(copies)
        async with (
            place.lobby() as lobby,
            lobby.join("r", user="ann", resume=Position(session.epoch, 5)) as ann,
        ):
            same = ann.joined.epoch == session.epoch
            new = await say(ann, 7, 8)

    assert same is (what == "older" and "now" in kinds)
    assert ann.joined.recovered is same
    assert place.archived() == [*said, *new]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
