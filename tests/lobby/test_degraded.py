"""The hot store is away, comes back empty, forgets, or is written to by somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.rooms import NOON, heard, seqs
from trio_chat.errors import Unavailable
from trio_chat.mail import Changed, Expired
from trio_chat.message import Message, Posted
from trio_chat.stores.base import Append, Session
from trio_chat.stores.memory import MemoryHotStore

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_chat.stores.memory import Moment

from .house import EXPIRY, INTERVAL, Stores


async def test_hot_store_is_away_for_a_while(stores: Stores, autojump_clock: MockClock) -> None:
    """Rooms go on in memory and say so; when the store is back it has everything in order, and acks say that."""
    async with (
        stores.lobby() as lobby,
        lobby.join("r", user="ann") as ann,
        lobby.join("r", user="bob") as bob,
    ):
        await ann.post("one")
        stores.hot.set_healthy(False)
        assert [(await ann.post("two")).durability, (await ann.post("three")).durability] == ["memory"] * 2
        assert lobby.statistics().degraded == 1
        stores.hot.set_healthy(True)
        await trio.sleep(1)

        assert (await ann.post("four")).durability == "redis"
        assert seqs(heard(bob)) == [1, 2, 3, 4]
        session = Session("r", ann.joined.epoch)
        assert [event.seq for event in stores.hot.log(session)] == [1, 2, 3, 4]
        assert lobby.statistics().degraded == 0


async def test_hot_store_comes_back_empty(stores: Stores, autojump_clock: MockClock) -> None:
    """Every live room is refilled under its epoch soon after, though nobody speaks in it."""
    async with (
        stores.lobby() as lobby,
        lobby.join("busy", user="ann") as ann,
        lobby.join("quiet", user="bob") as bob,
    ):
        await ann.post("one")
        await bob.post("one")
        stores.hot.set_healthy(False)
        await trio.sleep(1)
        await ann.post("two")
        stores.hot.lose_everything()
        stores.hot.set_healthy(True)
        await trio.sleep(2)

        assert stores.hot.sessions() == {
            Session("busy", ann.joined.epoch): (2, 0),
            Session("quiet", bob.joined.epoch): (1, 0),
        }


async def test_hot_store_lost_everything_between_two_turns(stores: Stores) -> None:
    """A store that lost its data without having been away is refilled by the next turn; positions stay valid."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        first = await ann.post("one")
        stores.hot.lose_everything()
        second = await ann.post("two")

        assert (second.epoch, second.seq, second.durability) == (first.epoch, 2, "redis")
        assert [event.seq for event in stores.hot.log(Session("r", first.epoch))] == [1, 2]


async def test_lost_answers(stores: Stores, autojump_clock: MockClock) -> None:
    """With every third answer lost each message is still there once."""
    calls: list[str] = []

    async def lose(call: str, moment: Moment) -> None:
        if call == "append" and moment == "after":
            calls.append(call)
            if len(calls) % 3 == 0:
                raise Unavailable("the answer was lost")

    stores.hot.interfere = lose
    async with (
        stores.lobby() as lobby,
        lobby.join("r", user="ann") as ann,
        lobby.join("r", user="bob") as bob,
    ):
        for number in range(20):
            await ann.post(str(number))
        await trio.sleep(INTERVAL + 1)

        assert stores.archived() == [str(number) for number in range(20)]
        assert seqs(heard(bob)) == [*range(1, 21)]


async def test_room_stays_until_the_session_it_left_behind_is_ended(
    stores: Stores, autojump_clock: MockClock
) -> None:
    """Nobody is there any more, but nobody else would tell the store that its session is not to be continued."""
    async with stores.lobby() as lobby:
        async with lobby.join("r", user="ann") as ann:
            await ann.post("one")
            stores.hot.set_healthy(False)
            await ann.post("two")
        await trio.sleep(EXPIRY + 60)
        away = (len(lobby.rooms), len(stores.hot.behind))
        stores.hot.set_healthy(True)
        await trio.sleep(5)

        assert stores.archived() == ["one", "two"]
        assert away == (1, 1)
        assert (len(lobby.rooms), stores.hot.behind, await stores.hot.load("r")) == (0, set(), None)


@pytest.mark.parametrize("lost", [[1], [2, 3], [1, 2, 3, 4]])
async def test_store_that_lost_entries_of_a_live_room_gets_them_again(
    stores: Stores, lost: list[int], autojump_clock: MockClock
) -> None:
    """The next round finds it: the archive gets everything, and so does the store."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        said = [str(number) for number in range(4)]
        for content in said:
            await ann.post(content)
        stores.hot.lose_entries("r", lost)
        await ann.post("more")
        await lobby.syncer.sync_all()
        await trio.sleep(1)
        [session] = stores.hot.sessions()

        assert stores.archived() == [*said, "more"]
        assert [event.seq for event in stores.hot.log(session)] == [1, 2, 3, 4, 5]
        assert heard(ann)[-1] == Changed(session.epoch, stores.hot.log(session)[-1])
        assert lobby.statistics().crashes == 0


async def test_another_process_writes_to_the_session(stores: Stores, autojump_clock: MockClock) -> None:
    """A room that was overtaken loads the session anew: the post may be repeated, and members hear both in order."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("one")
        message = Message(
            id="m2", role="user", content="elsewhere", timestamp=NOON, metadata={}, user_id="x", seq=2, rev=2
        )
        write = Append(Session("r", ann.joined.epoch), 1, 2, 1, 0, (Posted(message),), token="another")
        assert await stores.hot.append(write) is None
        with pytest.raises(Unavailable, match="changed elsewhere"):
            await ann.post("two", key="k")
        await ann.post("two", key="k")
        told = [hearing.event.message.content for hearing in heard(ann) if isinstance(hearing, Changed)]

        assert told == ["one", "elsewhere", "two"]
        assert lobby.statistics().crashes == 0


async def test_overtaken_while_degraded(stores: Stores, autojump_clock: MockClock) -> None:
    """A room overtaken while the store was away begins a new session: members know another event by that number.

    What was said meanwhile, and nobody else has, is said again there: it had been acknowledged.
    """
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("one")
        stores.hot.set_healthy(False)
        two = await ann.post("two")
        other = MemoryHotStore()
        other._sessions, other._current = stores.hot._sessions, stores.hot._current
        message = Message(
            id="m2", role="user", content="elsewhere", timestamp=NOON, metadata={}, user_id="x", seq=2, rev=2
        )
        write = Append(Session("r", ann.joined.epoch), 1, 2, 1, 0, (Posted(message),), token="another")
        assert await other.append(write) is None
        stores.hot.set_healthy(True)
        await trio.sleep(5)
        accepted = await ann.post("three")
        told = heard(ann)
        news = told[told.index(Expired(ann.joined.epoch)) + 1 :]

        assert (accepted.seq, accepted.durability) == (2, "redis")
        assert [(one.epoch, one.event.message.id) for one in news if isinstance(one, Changed)] == [
            (accepted.epoch, two.id),
            (accepted.epoch, accepted.id),
        ]
        assert [event.message.content for event in stores.hot.log(write.session)] == ["one", "elsewhere"]
        assert stores.hot.behind == set()
        await lobby.syncer.sync_all()
        assert stores.archived() == ["one", "elsewhere", "two", "three"]
