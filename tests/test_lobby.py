"""The lobby: finds, starts, supervises and forgets rooms; and a room's whole life between both stores."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from typing_extensions import override

from tests.rooms import NOON, crash_at, heard, now, seqs
from trio_chat.errors import BadRequest, ReplyCode, Unavailable
from trio_chat.ledger import Ledger
from trio_chat.lobby import Lobby, open_lobby
from trio_chat.mail import Accepted, Answer, Changed, Closed, Expired, Hearing, Join, Look, Post
from trio_chat.message import Message, Posted
from trio_chat.seat import PlainWire, Seat, ignore
from trio_chat.settings import Settings
from trio_chat.stores.base import Append, Session
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from trio.testing import MockClock

    from trio_chat.stores.memory import Moment

EXPIRY, INTERVAL = 1200.0, 300.0


class Stores:
    """Both stores, which outlive the lobbies over them."""

    def __init__(self) -> None:
        self.hot = MemoryHotStore(durability="redis")
        self.archive = MemoryArchive()

    @asynccontextmanager
    async def lobby(self, **settings: Any) -> AsyncGenerator[Lobby, None]:
        """Open a lobby over them."""
        async with open_lobby(
            hot=self.hot, archive=self.archive, settings=Settings(**settings), now=now
        ) as lobby:
            yield lobby

    def both(self, healthy: bool) -> None:
        """Take both down, or bring both back."""
        self.hot.set_healthy(healthy)
        self.archive.set_healthy(healthy)

    def archived(self, room: str = "r") -> list[str]:
        """Return what the archive has of a room, in order."""
        found = [
            (session.epoch, seq, event.message.content)
            for session in self.archive.sessions
            if session.room == room
            for seq, event in self.archive.rows(session).items()
        ]
        return [content for _, _, content in sorted(found)]


@pytest.fixture
async def stores() -> Stores:
    return Stores()


def mail_post(lobby: Lobby, content: str = "hi", room: str = "r") -> list[Answer]:
    """Mail a post and return the list its answer will be in."""
    answers: list[Answer] = []
    lobby.mail(room, Post("ann", "user", content, {}, None, answers.append))
    return answers


def tasks() -> set[str]:
    """Return the names of all tasks below the test's."""
    found: set[str] = set()
    todo = [trio.lowlevel.current_root_task()]
    while todo:
        task = todo.pop()
        if task is not None:
            found.add(task.name)
            todo.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
    return found


# --- finding and starting


async def test_room_is_started_by_its_first_mail(stores: Stores) -> None:
    """A room that is not there is started, and there is one of it."""
    async with stores.lobby() as lobby:
        assert lobby.rooms == {}
        mail_post(lobby)
        mail_post(lobby)
        await wait_all_tasks_blocked()

        assert list(lobby.rooms) == ["r"]
        assert "room r" in tasks()


async def test_members_of_a_room_meet(stores: Stores) -> None:
    """Everybody in a room hears it, and nobody hears another room."""
    async with (
        stores.lobby() as lobby,
        lobby.join("r", user="ann") as ann,
        lobby.join("r", user="bob") as bob,
        lobby.join("other", user="cat") as cat,
    ):
        await ann.post("hi")

        assert (seqs(heard(bob)), heard(cat)) == ([1], [])


@pytest.mark.parametrize("room", ["", "a b", "r" * 129, "r\n"])
async def test_malformed_room(stores: Stores, room: str) -> None:
    """A room of a malformed name is refused and not started."""
    async with stores.lobby() as lobby:
        with pytest.raises(BadRequest, match="room: expected"):
            lobby.mail(room, Look(ignore))

        assert lobby.rooms == {}


@pytest.mark.parametrize(("one", "other"), [("a:b", "a"), ("a", "A"), ("a/b", "a"), ("a.", "a")])
async def test_names_that_look_alike(stores: Stores, one: str, other: str) -> None:
    """Rooms with similar names are different rooms."""
    async with (
        stores.lobby() as lobby,
        lobby.join(one, user="ann") as ann,
        lobby.join(other, user="bob") as bob,
    ):
        await ann.post("hi")

        assert heard(bob) == []
        assert len(lobby.rooms) == 2


async def test_room_outlives_its_lobby_in_the_store(stores: Stores) -> None:
    """The next lobby finds the session as it was, down to the keys."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        first = await ann.post("one", key="k")
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        again = await ann.post("one", key="k")

        assert (again.epoch, again.seq, again.duplicate) == (first.epoch, first.seq, True)
        assert [message.content for message in ann.messages] == ["one"]


# --- retiring


async def test_idle_lobby_costs_nothing(stores: Stores, autojump_clock: MockClock) -> None:
    """When all rooms have retired there is neither a room nor a task of one, and the hot store is empty."""
    async with stores.lobby() as lobby:
        before = tasks()
        for number in range(5):
            async with lobby.join(f"r{number}", user="ann") as ann:
                await ann.post("hi")
        assert len(lobby.rooms) == 5
        await trio.sleep(EXPIRY + 1)

        assert (lobby.rooms, tasks()) == ({}, before)
        assert stores.hot.sessions() == {}
        assert all(stores.archived(f"r{number}") == ["hi"] for number in range(5))


async def test_room_that_was_only_looked_at_retires(stores: Stores, autojump_clock: MockClock) -> None:
    """A room in which nothing was said leaves no trace."""
    async with stores.lobby() as lobby:
        await lobby.history("r")
        await trio.sleep(EXPIRY + 1)

        assert lobby.rooms == {}
    assert (stores.hot.sessions(), stores.archive.sessions) == ({}, {})


async def test_room_without_anything_in_it_retires_soon(stores: Stores, autojump_clock: MockClock) -> None:
    """Who looks into one room after the other leaves none of them behind for longer than a minute."""
    async with stores.lobby() as lobby:
        async with lobby.join("quiet", user="ann"), lobby.join("loud", user="ann") as seat:
            await seat.post("hi")
            await trio.sleep(300)
            assert set(lobby.rooms) == {"quiet", "loud"}
        await trio.sleep(59)
        assert set(lobby.rooms) == {"quiet", "loud"}
        await trio.sleep(2)

        assert set(lobby.rooms) == {"loud"}


async def test_room_after_it_retired(stores: Stores, autojump_clock: MockClock) -> None:
    """A room that has retired begins a new session behind the old one, and its history has both."""
    async with stores.lobby() as lobby:
        async with lobby.join("r", user="ann") as ann:
            old = await ann.post("one")
        await trio.sleep(EXPIRY + 1)
        async with lobby.join("r", user="ann", resume=ann.position) as ann:
            assert (ann.messages, ann.joined.recovered) == ((), False)
            new = await ann.post("two")
        found = await lobby.history("r")

    assert (new.epoch > old.epoch, new.seq) == (True, 1)
    assert [one.message.content for one in found.messages] == ["one", "two"]


async def test_mail_at_the_very_moment_of_retiring(stores: Stores, autojump_clock: MockClock) -> None:
    """Whenever mail comes around the deadline, it is answered."""
    async with stores.lobby() as lobby:
        answers: list[list[Answer]] = []
        for number in range(40):
            mail_post(lobby, room=f"r{number}")
        for number in range(40):
            await trio.sleep_until(EXPIRY - 0.02 + number / 1000)
            answers.append(mail_post(lobby, room=f"r{number}"))
        await wait_all_tasks_blocked()

        assert [type(answer).__name__ for [answer] in answers] == ["Accepted"] * 40


# --- expiry and the archive


async def test_expiry_archives(stores: Stores, autojump_clock: MockClock) -> None:
    """When a session has expired the archive has it with its end, and the members know."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        accepted = await ann.post("hi")
        heard(ann)
        await trio.sleep(EXPIRY + 1)
        kept = stores.archive.sessions[Session("r", accepted.epoch)]

        assert (kept.top, kept.ended) == (1, NOON + timedelta(seconds=EXPIRY))
        assert heard(ann) == [Expired(accepted.epoch)]
        assert stores.hot.sessions() == {}


async def test_expiry_while_the_archive_is_away(stores: Stores, autojump_clock: MockClock) -> None:
    """A session that ends while the archive is away stays in the hot store, and is archived when that is back."""
    async with stores.lobby() as lobby:
        stores.archive.set_healthy(False)
        async with lobby.join("r", user="ann") as ann:
            accepted = await ann.post("hi")
        await trio.sleep(EXPIRY + 10)
        session = Session("r", accepted.epoch)
        assert lobby.rooms == {}
        assert stores.hot.sessions() == {session: (1, 0)}
        stores.archive.set_healthy(True)
        await trio.sleep(10)

        assert stores.archived() == ["hi"]
        assert stores.archive.sessions[session].ended == NOON + timedelta(seconds=EXPIRY)
        assert stores.hot.sessions() == {}


async def test_expiry_while_the_hot_store_is_away(stores: Stores, autojump_clock: MockClock) -> None:
    """A session that ends while the hot store is away is archived from memory."""
    async with stores.lobby(session_expiry_seconds=30) as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("one")
        stores.hot.set_healthy(False)
        await ann.post("two")
        await trio.sleep(35)

        assert stores.archived() == ["one", "two"]
        assert isinstance(heard(ann)[-1], Expired)


async def test_session_that_ended_while_the_hot_store_was_away(
    stores: Stores, autojump_clock: MockClock
) -> None:
    """A session that could not be ended in the hot store does not come back to life there."""
    async with stores.lobby(session_expiry_seconds=30) as lobby, lobby.join("r", user="ann") as ann:
        old = await ann.post("one")
        stores.hot.set_healthy(False)
        await trio.sleep(40)
        stores.hot.set_healthy(True)
        await trio.sleep(5)
        new = await ann.post("two")
        await lobby.syncer.sync_all()

        assert (new.epoch > old.epoch, new.seq, new.durability) == (True, 1, "redis")
        assert stores.archived() == ["one", "two"]
        assert list(stores.hot.sessions()) == [Session("r", new.epoch)]


async def test_expiry_while_both_are_away(stores: Stores, autojump_clock: MockClock) -> None:
    """What nobody else has keeps a session alive; nothing is lost, and it ends when there is a place."""
    async with stores.lobby(session_expiry_seconds=30) as lobby:
        async with lobby.join("r", user="ann") as ann:
            await ann.post("one")
            stores.both(healthy=False)
            await ann.post("two")
        await trio.sleep(100)
        assert list(lobby.rooms) == ["r"]
        assert lobby.unsaved() == {"r": 1}
        stores.both(healthy=True)
        await trio.sleep(10)

        assert stores.archived() == ["one", "two"]
        assert (lobby.rooms, stores.hot.sessions()) == ({}, {})


async def test_archive_is_away_for_long(stores: Stores, autojump_clock: MockClock) -> None:
    """Rooms retire and begin anew meanwhile; everything is archived, in order, ten seconds after the archive is back."""
    async with stores.lobby(session_expiry_seconds=30) as lobby:
        stores.archive.set_healthy(False)
        for number in range(12):
            async with lobby.join("r", user="ann") as ann:
                assert (await ann.post(str(number))).durability == "redis"
            await trio.sleep(31)
            assert lobby.rooms == {}
        stores.archive.set_healthy(True)
        await trio.sleep(10)

        assert stores.archived() == [str(number) for number in range(12)]
        assert stores.hot.sessions() == {}


async def test_sync_tells_the_room(stores: Stores, autojump_clock: MockClock) -> None:
    """After a round a room knows what the archive has, and says so in its acks."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("hi", key="k")
        await trio.sleep(INTERVAL + 1)

        assert lobby.rooms["r"].statistics().synced == 1
        assert (await ann.post("hi", key="k")).durability == "archive"


async def test_busy_room_is_archived_sooner(stores: Stores, autojump_clock: MockClock) -> None:
    """A room that runs 500 events ahead does not wait for the interval."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await trio.sleep(1)
        for _ in range(499):
            await ann.post("hi")
        await wait_all_tasks_blocked()
        assert stores.archived() == []
        await ann.post("hi")
        await wait_all_tasks_blocked()

        assert len(stores.archived()) == 500


async def test_start_archives_what_a_killed_process_left(stores: Stores) -> None:
    """Dirty sessions are found and archived at the start, though nobody comes to their rooms."""
    message = Message(
        id="m", role="user", content="left", timestamp=NOON, metadata={}, user_id="ann", seq=1, rev=1
    )
    session = Session("r", "019ca8f8-6c00-7abc-8def-0123456789ab")
    await stores.hot.append(Append(session, 0, 1, 1, 0, (Posted(message),)))
    async with stores.lobby() as lobby:
        await wait_all_tasks_blocked()

        assert stores.archived() == ["left"]
        assert lobby.rooms == {}


async def test_store_that_restarted_without_its_newest_events(stores: Stores) -> None:
    """If process and store both restart and events may be lost, the session is not continued, and clients are told."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("archived")
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        stores.archive.set_healthy(False)
        position = ann.position
        await ann.post("lost")
    stores.archive.set_healthy(True)
    stores.hot.lose_tail("r", 1)
    async with stores.lobby() as lobby, lobby.join("r", user="ann", resume=position) as ann:
        accepted = await ann.post("new")
        found = await lobby.history("r")

        assert (ann.joined.recovered, ann.messages) == (False, ())
        assert (accepted.epoch > position.epoch, accepted.seq) == (True, 1)
        assert [one.message.content for one in found.messages] == ["archived", "new"]


# --- degraded


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

        assert stores.archived() == sorted((str(number) for number in range(20)), key=int)
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
    """A room overtaken while the store was away begins a new session: members know another event by that number."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("one")
        stores.hot.set_healthy(False)
        await ann.post("two")
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

        assert (accepted.seq, accepted.durability) == (1, "redis")
        assert Expired(ann.joined.epoch) in told
        assert [event.message.content for event in stores.hot.log(write.session)] == ["one", "elsewhere"]
        assert stores.hot.behind == set()


# --- crashes


async def test_crash_stays_in_its_room(
    stores: Stores, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender is told, the members stay, the room is back within a second, and other rooms do not notice."""
    crash_at(monkeypatch, "bad")
    async with (
        stores.lobby() as lobby,
        lobby.join("r", user="ann") as ann,
        lobby.join("r", user="bob") as bob,
        lobby.join("other", user="cat") as cat,
    ):
        await ann.post("one")
        with pytest.raises(Unavailable, match="failed on this request"):
            await ann.post("bad")
        began = trio.current_time()
        accepted = await ann.post("two")
        await cat.post("one")

        assert trio.current_time() - began < 1
        assert (accepted.epoch, accepted.seq) == (ann.joined.epoch, 2)
        assert (seqs(heard(bob)), seqs(heard(cat))) == ([1, 2], [1])
        assert lobby.statistics().crashes == 1


async def test_others_mail_of_the_crashed_turn(
    stores: Stores, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others said in the same turn is carried out, once."""
    crash_at(monkeypatch, "bad")
    async with stores.lobby() as lobby, lobby.join("r", user="bob") as bob:
        answers = [mail_post(lobby, content) for content in ("one", "bad", "two")]
        await trio.sleep(1)

        assert [type(answer).__name__ for [answer] in answers] == ["Accepted", "Unavailable", "Accepted"]
        assert seqs(heard(bob)) == [1, 2]


async def test_slow_crashes_do_not_close_a_room(
    stores: Stores, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash now and then is survived for ever."""
    crash_at(monkeypatch, "bad")
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        for _ in range(20):
            with pytest.raises(Unavailable, match="failed on this request"):
                await ann.post("bad")
            await trio.sleep(20)

        assert (await ann.post("one")).seq == 1


async def test_crash_loop_closes_that_room_alone(
    stores: Stores, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After five crashes within a minute the members are put out; the next who comes gets the room as it was."""
    crash_at(monkeypatch, "bad")
    async with (
        stores.lobby() as lobby,
        lobby.join("r", user="ann") as ann,
        lobby.join("other", user="cat") as cat,
    ):
        await ann.post("one")
        codes: list[ReplyCode] = []
        for _ in range(5):
            with pytest.raises(Unavailable) as caught:
                await ann.post("bad")
            codes.append(caught.value.code)

        assert codes == [*[ReplyCode.UNAVAILABLE] * 4, ReplyCode.ROOM_CLOSED]
        assert isinstance(heard(ann)[-1], Closed)
        assert list(lobby.rooms) == ["other"]
        assert (await cat.post("one")).seq == 1
        async with lobby.join("r", user="bob") as bob:
            assert [message.content for message in bob.messages] == ["one"]
            assert (await bob.post("two")).seq == 2


async def test_room_that_cannot_even_begin(
    stores: Stores, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A room that crashes before it takes any mail answers it when it is closed."""

    async def crash(self: Ledger) -> None:
        raise RuntimeError("a planted bug")

    monkeypatch.setattr(Ledger, "open", crash)
    async with stores.lobby() as lobby:
        with pytest.raises(Unavailable, match="failed too often") as caught:
            async with lobby.join("r", user="ann"):
                pytest.fail("nobody can be in there")

        assert caught.value.code is ReplyCode.ROOM_CLOSED


class MuteWire(PlainWire):
    """A wire that cannot wrap anything; its own voice."""

    @override
    def tell(self, hearings: Sequence[Hearing]) -> tuple[Hearing, ...]:
        """Fail."""
        raise RuntimeError("a planted bug")


class MuteSeat(Seat):
    """A seat on such a wire."""

    @property
    @override
    def wire(self) -> PlainWire:
        """Return the wire that fails."""
        return MUTE


MUTE = MuteWire()


async def test_wire_that_fails_at_everything(stores: Stores, autojump_clock: MockClock) -> None:
    """A bug in a wire closes the room in which it is spoken, and no other; nobody waits for ever."""
    async with stores.lobby() as lobby, lobby.join("other", user="cat") as cat:
        seat = MuteSeat("r", "ann", lambda mail: lobby.mail("r", mail), lobby.settings)
        lobby.mail("r", Join(seat, None, ignore))
        answers: list[list[Answer]] = []
        for _ in range(5):
            answers.append(mail_post(lobby))
            await trio.sleep(2)

        assert [len(answer) for answer in answers] == [1] * 5
        assert (await cat.post("hi")).seq == 1
        async with lobby.join("r", user="bob") as bob:
            await bob.post("hi")
            assert len(seqs(heard(bob))) == 1


async def test_crash_is_logged_without_content(
    stores: Stores,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An operator sees where it crashed, and neither what was said nor what the exception says."""
    crash_at(monkeypatch, "a secret text")
    with caplog.at_level(logging.DEBUG):
        async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
            with pytest.raises(Unavailable):
                await ann.post("a secret text")

    assert "room r crashed (1 times within a minute)" in caplog.text
    assert "RuntimeError at test_lobby.py:" in caplog.text
    assert "a planted bug" not in caplog.text
    assert "a secret text" not in caplog.text


# --- closing


async def test_closing_answers_what_waits(stores: Stores) -> None:
    """Mail that was taken is answered before the lobby is gone, and archived."""
    async with stores.lobby() as lobby:
        answers = [mail_post(lobby, str(number)) for number in range(3)]

    assert [type(answer).__name__ for [answer] in answers] == ["Accepted"] * 3
    assert stores.archived() == ["0", "1", "2"]


async def test_closing_leaves_live_sessions_in_the_store(stores: Stores) -> None:
    """The sessions go on where they are: the next process finds them."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("hi")

    assert stores.hot.sessions() == {Session("r", ann.joined.epoch): (1, 1)}


async def test_cancelling_makes_the_last_round_too(stores: Stores) -> None:
    """A lobby that is cancelled still archives what the hot store has."""
    with trio.CancelScope() as scope:
        async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
            await ann.post("hi")
            scope.cancel()

    assert stores.archived() == ["hi"]


async def test_failing_program_makes_the_last_round_too(stores: Stores) -> None:
    """A program that fails inside the block loses nothing, and its exception comes out as it is, not in a group."""
    with pytest.raises(ValueError, match="the program's own"):  # noqa: PT012 - the block is what fails
        async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
            await ann.post("hi")
            raise ValueError("the program's own")

    assert stores.archived() == ["hi"]


async def test_closing_is_bounded(stores: Stores, autojump_clock: MockClock) -> None:
    """With both stores hanging a lobby is gone after ten seconds, and everybody who waits is answered."""

    async def hang(call: str, moment: Moment) -> None:
        await trio.sleep_forever()

    async with stores.lobby() as lobby:
        async with lobby.join("r", user="ann") as ann:
            await ann.post("hi")
        stores.hot.interfere = stores.archive.interfere = hang
        answers = mail_post(lobby)
        await wait_all_tasks_blocked()
        began = trio.current_time()

    assert trio.current_time() - began <= 10
    assert [type(answer).__name__ for answer in answers] == ["Unavailable"]


async def test_closing_with_both_stores_away(stores: Stores, autojump_clock: MockClock) -> None:
    """What could not be saved is named."""
    async with (
        stores.lobby() as lobby,
        lobby.join("r", user="ann") as ann,
        lobby.join("fine", user="bob") as bob,
    ):
        await bob.post("hi")
        stores.both(healthy=False)
        await ann.post("one")
        await ann.post("two")

    assert lobby.unsaved() == {"r": 2}


async def test_closing_with_the_hot_store_away(stores: Stores, autojump_clock: MockClock) -> None:
    """What is in memory only goes to the archive in the last round."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("one")
        stores.hot.set_healthy(False)
        await ann.post("two")

    assert lobby.unsaved() == {}
    assert "two" in stores.archived()


async def test_no_task_is_left(stores: Stores, autojump_clock: MockClock) -> None:
    """A lobby that is gone has left nothing running."""
    before = tasks()
    async with stores.lobby() as lobby:
        for number in range(5):
            mail_post(lobby, room=f"r{number}")

    assert tasks() == before


async def test_closed_lobby_takes_no_mail(stores: Stores) -> None:
    """Neither a new room nor one it had."""
    async with stores.lobby() as lobby:
        mail_post(lobby, room="old")

    for room in ("old", "new"):
        with pytest.raises(Unavailable, match="stopping"):
            mail_post(lobby, room=room)


async def test_finishing_waits_for_answers_and_takes_no_more_mail(
    stores: Stores, autojump_clock: MockClock
) -> None:
    """What was asked before is answered: what is on its way to the store, and what waits behind it."""
    gate = trio.Event()

    async def hold(call: str, moment: Moment) -> None:
        if call == "append" and moment == "before":
            await gate.wait()

    async with stores.lobby() as lobby:
        stores.hot.interfere = hold
        answers = mail_post(lobby, "one")
        await wait_all_tasks_blocked()
        behind = mail_post(lobby, "two")
        idle = mail_post(lobby, room="other")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lobby.finish)
            await wait_all_tasks_blocked()
            for room in ("r", "new"):
                with pytest.raises(Unavailable, match="stopping"):
                    mail_post(lobby, room=room)
            before = [*answers, *behind, *idle]
            gate.set()

        assert before == []
        assert [type(answer) for answer in (*answers, *behind, *idle)] == [Accepted] * 3
    assert stores.archived() == ["one", "two"]


async def test_finishing_with_nothing_to_answer_takes_no_time(
    stores: Stores, autojump_clock: MockClock
) -> None:
    """Members are still there, and hear nothing; finishing again changes nothing."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        began = trio.current_time()
        await lobby.finish()
        await lobby.finish()

        assert trio.current_time() == began
        assert (heard(ann), len(lobby.rooms["r"].audience)) == ([], 1)


async def test_finishing_without_rooms(stores: Stores) -> None:
    """There is nothing to wait for."""
    async with stores.lobby() as lobby:
        await lobby.finish()

        with pytest.raises(Unavailable, match="stopping"):
            mail_post(lobby)


async def test_finishing_may_be_given_up(stores: Stores, autojump_clock: MockClock) -> None:
    """The rooms go on with it. They have 5 s in all; what has no answer then is told so."""

    async def hang(call: str, moment: Moment) -> None:
        if call == "append" and moment == "before":
            await trio.sleep_forever()

    async with stores.lobby() as lobby:
        stores.hot.interfere = hang
        answers = mail_post(lobby)
        began = trio.current_time()
        with trio.move_on_after(2) as patience:
            await lobby.finish()
        given_up = (patience.cancelled_caught, list(answers))

    assert given_up == (True, [])
    assert [type(answer) for answer in answers] == [Unavailable]
    assert trio.current_time() == began + 5


async def test_degraded_room_finishes_and_what_it_has_is_archived(
    stores: Stores, autojump_clock: MockClock
) -> None:
    """Its session stays behind: the next process must not continue it."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        await ann.post("one")
        stores.hot.set_healthy(False)
        await ann.post("two")
        await lobby.finish()

    assert stores.archived() == ["one", "two"]
    assert {session.room for session in stores.hot.behind} == {"r"}


async def test_joining_a_closed_lobby(stores: Stores) -> None:
    """Nobody can take a seat any more."""
    async with stores.lobby() as lobby:
        pass

    with pytest.raises(Unavailable, match="stopping"):
        async with lobby.join("r", user="ann"):
            pytest.fail("it is closed")


# --- defaults and counts


async def test_lobby_with_defaults() -> None:
    """A program that gives only the two stores gets the defaults and the real clock."""
    async with open_lobby(hot=MemoryHotStore(), archive=MemoryArchive()) as lobby:
        async with lobby.join("r", user="ann") as ann:
            await ann.post("hi")
        async with lobby.join("r", user="ann") as ann:
            [message] = ann.messages

    assert lobby.settings == Settings()
    assert abs(message.timestamp - datetime.now(UTC)) < timedelta(minutes=1)


async def test_statistics_count(stores: Stores) -> None:
    """Statistics and the one-line form count rooms and members."""
    async with stores.lobby() as lobby, lobby.join("r", user="ann"), lobby.join("r", user="bob"):
        statistics = lobby.statistics()

        assert (statistics.rooms, statistics.members, statistics.degraded, statistics.crashes) == (1, 2, 0, 0)
        assert repr(lobby).startswith("<Lobby rooms=1 <Syncer ")
