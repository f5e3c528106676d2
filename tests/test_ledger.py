"""A session and how much of it the hot store has: the output gate, degraded rooms, lost answers, other writers."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio
from typing_extensions import override

from tests.rooms import NOON, now
from trio_chat.errors import Misconfigured, Unavailable
from trio_chat.history import key_name
from trio_chat.ledger import Ledger, Overtaken
from trio_chat.message import Message, Posted, Receipt, new_epoch
from trio_chat.settings import Settings
from trio_chat.stores.base import OUTLIVING_RECEIPTS, Append, Batch, Session, Stored
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_chat.history import Change
    from trio_chat.stores.memory import Moment


class AStore(MemoryHotStore):
    """A hot store that notes its calls, and fails at those it is told to."""

    def __init__(self) -> None:
        super().__init__(durability="redis", interfere=self._meet)
        self.calls: list[str] = []
        self.appended: list[Append] = []
        self.failing: dict[tuple[str, Moment], Exception] = {}

    async def _meet(self, call: str, moment: Moment) -> None:
        if moment == "before":
            self.calls.append(call)
        if (error := self.failing.pop((call, moment), None)) is not None:
            raise error

    @override
    async def append(self, write: Append) -> Any:
        """Append, and note what was to be appended."""
        self.appended.append(write)
        return await super().append(write)


@pytest.fixture
def hot() -> AStore:
    return AStore()


def a_ledger(hot: MemoryHotStore, archive: MemoryArchive | None = None, **settings: Any) -> Ledger:
    return Ledger("r", hot, Settings(**{"max_messages_per_session": 3, **settings}), now, archive=archive)


def post(ledger: Ledger, content: str = "hi", key: str | None = None) -> Change:
    change = ledger.history.post(key=key, user="ann", role="user", content=content, metadata={}, now=now())
    if key is not None:
        ledger.remember_key(key_name(key, "ann"), change.seq)
    return change


async def a_session(hot: MemoryHotStore, count: int = 2) -> Ledger:
    """Open a ledger and write a few messages, with the keys k1, k2, ..."""
    ledger = a_ledger(hot)
    await ledger.open()
    for number in range(1, count + 1):
        post(ledger, f"text {number}", f"k{number}")
    await ledger.write()
    return ledger


def read(message_id: str = "k1", seconds: float = 0) -> Receipt:
    """Make a read mark of so many seconds after noon."""
    return Receipt(message_id, NOON + timedelta(seconds=seconds))


async def an_archive(**receipts: Receipt) -> MemoryArchive:
    """Make an archive with the read marks of a session before."""
    archive = MemoryArchive()
    await archive.write([Batch(Session("r", new_epoch(NOON)), 1, (), receipts=receipts)])
    return archive


class Asked:
    """Counts how often an archive is asked for read marks, and lets that take so many seconds."""

    def __init__(self, archive: MemoryArchive, seconds: float = 0) -> None:
        self.times = 0
        self.seconds = seconds
        archive.interfere = self._meet

    async def _meet(self, call: str, moment: Moment) -> None:
        if (call, moment) == ("receipts", "before"):
            self.times += 1
            await trio.sleep(self.seconds)


async def stored(hot: MemoryHotStore) -> Stored:
    found = await hot.load("r")
    assert found is not None
    return found


async def append_elsewhere(hot: MemoryHotStore, epoch: str, expect: int, seq: int) -> None:
    """Append one message as another process would."""
    message = Message(
        id=f"other{seq}", role="user", content="elsewhere", timestamp=NOON, metadata={}, user_id="x",
        seq=seq, rev=seq,
    )  # fmt: skip
    write = Append(Session("r", epoch), expect, seq, 1, 0, (Posted(message),), token="other:1")
    assert await hot.append(write) is None


# --- opening


async def test_open_of_a_new_room_writes_nothing(hot: AStore) -> None:
    """A session that has no event yet is nobody's business."""
    ledger = a_ledger(hot)
    await ledger.open()
    await ledger.write()

    assert hot.calls == ["load"]
    assert (ledger.history.top, ledger.degraded) == (0, False)


async def test_open_goes_on_with_the_stored_session(hot: AStore) -> None:
    """Whoever opens a room next finds it as it was left."""
    left = await a_session(hot)
    ledger = a_ledger(hot)
    await ledger.open()

    assert ledger.session == left.session
    assert ledger.history.snapshot() == left.history.snapshot()
    assert ledger.backlog == 0


async def test_open_restores_keys(hot: AStore) -> None:
    """A retry after a restart is a duplicate."""
    await a_session(hot)
    ledger = a_ledger(hot)
    await ledger.open()

    assert post(ledger, key="k1").event is None


async def test_open_restores_receipts(hot: AStore) -> None:
    """Read marks outlive the process."""
    left = await a_session(hot)
    left.mark_read("bob", Receipt("k1", NOON))
    await left.write()
    ledger = a_ledger(hot)
    await ledger.open()

    assert ledger.receipts == {"bob": Receipt("k1", NOON)}


async def test_open_finds_read_marks_in_the_archive(hot: AStore) -> None:
    """A room of which the hot store has no session begins with the read marks of those before, and writes nothing."""
    ledger = a_ledger(hot, await an_archive(bob=read()))
    await ledger.open()
    await ledger.write()

    assert ledger.receipts == {"bob": read()}
    assert hot.appended == []


async def test_read_marks_of_earlier_sessions_are_written_with_the_first_event(hot: AStore) -> None:
    """So the next process finds them, though the archive lacks none of them."""
    ledger = a_ledger(hot, await an_archive(bob=read(), eve=read()))
    await ledger.open()
    post(ledger, key="k1")
    ledger.mark_read("eve", read("k1", 60))
    await ledger.write()
    post(ledger)
    await ledger.write()

    first, second = hot.appended
    assert (first.carried, first.receipts) == ({"bob": read()}, {"eve": read("k1", 60)})
    assert (second.carried, second.receipts) == ({}, {})
    assert hot.pending(ledger.session) == {"eve": read("k1", 60)}
    assert (await stored(hot)).receipts == {"bob": read(), "eve": read("k1", 60)}


async def test_open_of_a_stored_session_does_not_ask_for_read_marks(hot: AStore) -> None:
    """The hot store has all of them."""
    left = await a_session(hot)
    left.mark_read("bob", read("k2", 1))
    await left.write()
    archive = await an_archive(eve=read())
    asked = Asked(archive)
    ledger = a_ledger(hot, archive)
    await ledger.open()

    assert ledger.receipts == {"bob": read("k2", 1)}
    assert asked.times == 0


@pytest.mark.parametrize("why", ["expired", "distrusted"])
async def test_read_marks_of_a_session_that_is_not_continued(
    hot: AStore, why: str, autojump_clock: MockClock
) -> None:
    """The newest count, whether the store has them or the archive; those the archive lacks stay with their session."""
    left = await a_session(hot)
    left.mark_read("bob", read("k2", 5))
    left.mark_read("ann", read("k1", 1))
    await left.write()
    await trio.sleep(1200 if why == "expired" else 0)
    if why == "distrusted":
        hot.distrust()
    ledger = a_ledger(hot, await an_archive(bob=read("k1", 1), ann=read("k2", 5), eve=read()))
    await ledger.open()
    post(ledger)
    await ledger.write()

    marks = {"bob": read("k2", 5), "ann": read("k2", 5), "eve": read()}
    assert (ledger.receipts, (await stored(hot)).receipts) == (marks, marks)
    assert set(hot.pending(left.session)) == {"bob", "ann"}
    assert hot.pending(ledger.session) == {}


async def test_archive_that_is_slow_is_not_waited_for(hot: AStore, autojump_clock: MockClock) -> None:
    """A room begins within a second, without the read marks, and asks again when it is opened again."""
    archive = await an_archive(bob=read())
    asked = Asked(archive, seconds=5)
    ledger = a_ledger(hot, archive)
    await ledger.open()
    assert (trio.current_time(), ledger.receipts) == (1, {})

    asked.seconds = 0
    for _ in range(3):
        await ledger.open()
    assert ledger.receipts == {"bob": read()}
    assert asked.times == 2


async def test_archive_that_is_away_is_not_asked_for_read_marks(hot: AStore) -> None:
    """Nobody waits for an archive that is down, and one that fails fails nothing."""
    archive = await an_archive(bob=read())
    asked = Asked(archive)
    archive.set_healthy(False)
    ledger = a_ledger(hot, archive)
    await ledger.open()
    assert asked.times == 0

    archive.set_healthy(True)
    archive.interfere = fail_to_tell
    await ledger.open()
    assert (ledger.receipts, ledger.degraded) == ({}, False)


async def fail_to_tell(call: str, moment: Moment) -> None:
    raise Unavailable("gone")


async def test_room_that_begins_degraded_has_read_marks(hot: AStore) -> None:
    """The archive may have them while the hot store is away; they are written when it is back."""
    hot.set_healthy(False)
    ledger = a_ledger(hot, await an_archive(bob=read()))
    await ledger.open()
    post(ledger)
    await ledger.write()
    assert (ledger.degraded, ledger.receipts) == (True, {"bob": read()})

    hot.set_healthy(True)
    await ledger.write()
    assert (await stored(hot)).receipts == {"bob": read()}
    assert hot.pending(ledger.session) == {}


async def test_open_of_a_session_nobody_can_vouch_for(hot: AStore) -> None:
    """A session whose tail may be lost ends: a new epoch begins behind it, and the old events stay to be archived."""
    left = await a_session(hot)
    hot.distrust()
    ledger = a_ledger(hot)
    await ledger.open()

    assert ledger.history.epoch > left.history.epoch
    assert ledger.history.top == 0
    assert await hot.load("r") is None
    assert await hot.dirty() == [left.session]


async def test_open_of_a_session_that_expired_meanwhile(hot: AStore, autojump_clock: MockClock) -> None:
    """A session nobody touched for its time is over, though nobody was there to end it."""
    left = await a_session(hot)
    await trio.sleep(1200)
    ledger = a_ledger(hot)
    await ledger.open()

    assert ledger.history.epoch > left.history.epoch
    assert await hot.load("r") is None


async def test_open_of_a_session_about_to_expire(hot: AStore, autojump_clock: MockClock) -> None:
    """A second before its time it goes on."""
    left = await a_session(hot)
    await trio.sleep(1199)
    ledger = a_ledger(hot)
    await ledger.open()

    assert ledger.session == left.session


async def test_open_with_a_smaller_window(hot: AStore) -> None:
    """A window that was made smaller since shows the newest messages that fit."""
    await a_session(hot, 3)
    ledger = a_ledger(hot, max_messages_per_session=2)
    await ledger.open()

    assert [message.id for message in ledger.history.snapshot()] == ["k2", "k3"]


async def test_open_reports_unreadable_entries(hot: AStore, caplog: pytest.LogCaptureFixture) -> None:
    """Entries that could not be read are mentioned where an operator looks, without what is in them."""

    class Torn(AStore):
        @override
        async def load(self, room: str) -> Stored | None:
            found = await super().load(room)
            return None if found is None else Stored(
                found.epoch, found.top, found.synced, found.floor, found.first, found.trusted,
                found.events[1:], found.keys, found.receipts, unreadable=1,
            )  # fmt: skip

    torn = Torn()
    await a_session(torn)
    ledger = a_ledger(torn)
    with caplog.at_level(logging.ERROR):
        await ledger.open()

    assert [message.id for message in ledger.history.snapshot()] == ["k2"]
    assert "room r: 1 entries could not be read and were set aside" in caplog.text


@pytest.mark.parametrize("error", [Unavailable("gone"), Misconfigured("wrong password")])
async def test_open_without_the_store(hot: AStore, error: Exception) -> None:
    """A room whose store is away begins degraded, with a session of its own."""
    hot.failing["load", "before"] = error
    ledger = a_ledger(hot)
    await ledger.open()

    assert ledger.degraded
    assert ledger.promise() == "memory"
    assert post(ledger).seq == 1


async def test_opening_again_finds_the_store_back(hot: AStore) -> None:
    """A room that began degraded, and has no events yet, goes on with the stored session once it can be read."""
    left = await a_session(hot)
    hot.failing["load", "before"] = Unavailable("gone")
    ledger = a_ledger(hot)
    await ledger.open()
    await ledger.open()

    assert ledger.session == left.session
    assert not ledger.degraded


# --- writing


async def test_write_brings_the_store_up_to_date(hot: AStore) -> None:
    """After a write the store has every event, and the ladder's next step is reached."""
    ledger = await a_session(hot, 0)
    change = post(ledger)

    assert (ledger.durability(change.seq), ledger.backlog) == ("memory", 1)
    await ledger.write()
    assert (ledger.durability(change.seq), ledger.backlog) == ("redis", 0)
    assert (await stored(hot)).events == ledger.history.entries(0)


@pytest.mark.parametrize("how", ["written", "submitted", "known to be away"])
async def test_store_is_told_before_events_are_let_out_that_it_lacks(hot: AStore, how: str) -> None:
    """The session is behind as soon as the room is degraded with events, and until the store has them all."""
    ledger = await a_session(hot)
    told = [set(hot.behind)]
    post(ledger)
    if how == "submitted":
        assert ledger.settle(Unavailable("gone"))
    else:
        hot.set_healthy(how != "known to be away")
        hot.failing["append", "before"] = Unavailable("gone")
        await ledger.write()
    told.append(set(hot.behind))
    hot.failing.clear()
    hot.set_healthy(True)
    await ledger.write()

    assert [*told, hot.behind] == [set(), {ledger.session}, set()]


async def test_room_that_begins_without_the_store_is_not_behind_yet(hot: AStore) -> None:
    """Nothing was told that the store lacks before there is an event."""
    hot.set_healthy(False)
    ledger = a_ledger(hot)
    await ledger.open()
    before = set(hot.behind)
    post(ledger)
    await ledger.write()

    assert (before, hot.behind) == (set(), {ledger.session})


@pytest.mark.parametrize("how", ["the next one is written", "the store has none", "it is ended there"])
async def test_session_is_behind_until_the_store_does_not_hold_it_for_current(hot: AStore, how: str) -> None:
    """That this ledger has left it is not enough: the next process would not know."""
    ledger = await a_session(hot)
    left = ledger.session
    post(ledger)
    hot.set_healthy(False)
    await ledger.write()
    await ledger.end()
    ledger.begin_anew()
    before = (set(hot.behind), ledger.leaves_behind)
    hot.set_healthy(True)
    if how == "the next one is written":
        post(ledger)
        await ledger.write()
    elif how == "the store has none":
        hot.lose_everything()
        await ledger.open()
    else:
        await ledger.open()

    assert before == ({left}, True)
    assert (hot.behind, ledger.leaves_behind) == (set(), False)


async def test_session_that_is_behind_ends_in_the_store_where_that_has_it(hot: AStore) -> None:
    """Its top is the one that was written, not the one that members know."""
    ledger = await a_session(hot)
    post(ledger)
    hot.failing["append", "before"] = Unavailable("gone")
    await ledger.write()
    await ledger.end()

    assert hot.behind == set()
    assert await hot.load("r") is None


async def test_session_that_another_ledger_left_behind_is_not_continued(hot: AStore) -> None:
    """A room that was given up knew more of it than the store: the next one begins another session."""
    given_up = await a_session(hot)
    post(given_up)
    hot.failing["append", "before"] = Unavailable("gone")
    await given_up.write()
    ledger = a_ledger(hot)
    await ledger.open()

    assert ledger.session.epoch > given_up.session.epoch
    assert hot.behind == set()


async def test_one_write_for_many_events(hot: AStore) -> None:
    """However many events there are, they are one append."""
    ledger = await a_session(hot, 0)
    for _ in range(3):
        post(ledger)
    await ledger.write()

    assert [len(write.events) for write in hot.appended] == [3]


async def test_write_with_nothing_to_write(hot: AStore) -> None:
    """A turn without events costs no round trip."""
    ledger = await a_session(hot)
    hot.calls.clear()
    await ledger.write()

    assert hot.calls == []


async def test_write_adds_only_what_is_new(hot: AStore) -> None:
    """Each append carries the events since the last one, with their keys."""
    ledger = await a_session(hot)
    post(ledger, key="k3")
    await ledger.write()
    write = hot.appended[-1]

    assert (write.expect, write.top) == (2, 3)
    assert [event.seq for event in write.events] == [3]
    assert write.keys == ((key_name("k3", "ann"), 3),)


async def test_write_drops_superseded_entries(hot: AStore) -> None:
    """The entry of a message that was edited is replaced."""
    ledger = await a_session(hot)
    ledger.history.edit("k1", user="ann", moderator=False, content="new", metadata=None, now=NOON)
    await ledger.write()

    assert [event.seq for event in hot.log(ledger.session)] == [2, 3]


async def test_read_mark_alone_is_written(hot: AStore) -> None:
    """A read mark reaches the store without an event."""
    ledger = await a_session(hot)
    ledger.mark_read("bob", Receipt("k1", NOON))
    await ledger.write()

    assert (await stored(hot)).receipts == {"bob": Receipt("k1", NOON)}
    assert hot.appended[-1].events == ()


async def test_activity_reaches_the_store_now_and_then(hot: AStore, autojump_clock: MockClock) -> None:
    """A turn without events is written when the store has not heard of the session for a quarter of its time."""
    ledger = await a_session(hot)
    hot.appended.clear()
    await trio.sleep(300)
    await ledger.write()
    assert hot.appended == []
    await trio.sleep(1)
    await ledger.write()

    assert len(hot.appended) == 1
    assert (await stored(hot)).idle == 0


async def test_activity_after_a_late_return_reaches_the_store_at_once(
    hot: AStore, autojump_clock: MockClock
) -> None:
    """A session taken over after a long silence is noted to be alive again, or the next process takes it for over."""
    await a_session(hot)
    await trio.sleep(1000)
    ledger = a_ledger(hot)
    await ledger.open()
    await ledger.write()

    assert (await stored(hot)).idle == 0


async def test_durability_of_what_the_archive_has(hot: AStore) -> None:
    """An event the archive has stands on the highest step."""
    ledger = await a_session(hot)
    ledger.history.mark_synced(1)

    assert [ledger.durability(seq) for seq in (1, 2)] == ["archive", "redis"]


async def test_promise_of_a_written_room(hot: AStore) -> None:
    """An ack promises what the store is."""
    assert (await a_session(hot)).promise() == "redis"


async def test_forgets_beyond_the_backlog_limit(hot: AStore) -> None:
    """What left the window and is in the store need not all stay in memory."""
    ledger = a_ledger(hot, backlog_limit=2, sync_after_events=1, max_messages_per_session=1)
    await ledger.open()
    for _ in range(6):
        post(ledger)
    await ledger.write()

    assert ledger.history.statistics().left_over == 2
    assert not ledger.history.complete


# --- degraded


async def test_store_that_is_known_to_be_away_is_not_asked(hot: AStore) -> None:
    """Nobody waits for a store that is down."""
    ledger = await a_session(hot)
    hot.set_healthy(False)
    hot.calls.clear()
    post(ledger)
    await ledger.write()

    assert ledger.degraded
    assert hot.calls == []


@pytest.mark.parametrize("error", [Unavailable("slow"), Misconfigured("no permission")])
async def test_store_that_fails_degrades(hot: AStore, error: Exception) -> None:
    """An append that fails leaves the events here, and says so."""
    ledger = await a_session(hot)
    hot.failing["append", "before"] = error
    change = post(ledger)
    await ledger.write()

    assert ledger.degraded
    assert (ledger.durability(change.seq), ledger.promise(), ledger.backlog) == ("memory", "memory", 1)


async def test_degrading_is_logged_once(hot: AStore, caplog: pytest.LogCaptureFixture) -> None:
    """An operator reads it once, and once when it is over."""
    ledger = await a_session(hot)
    with caplog.at_level(logging.INFO):
        hot.set_healthy(False)
        for _ in range(3):
            post(ledger)
            await ledger.write()
        hot.set_healthy(True)
        await ledger.write()

    texts = [record.getMessage() for record in caplog.records]
    assert sum("degraded" in text for text in texts) == 1
    assert sum("the hot store is back" in text for text in texts) == 1


async def test_store_that_is_back_gets_everything_in_order(hot: AStore) -> None:
    """What waited is appended in order, as one."""
    ledger = await a_session(hot)
    hot.set_healthy(False)
    for _ in range(5):
        post(ledger)
        await ledger.write()
    hot.set_healthy(True)
    await ledger.write()

    assert not ledger.degraded
    assert ledger.backlog == 0
    assert [event.seq for event in hot.log(ledger.session)] == [1, 2, 3, 4, 5, 6, 7]


async def test_store_that_is_back_empty_is_refilled(hot: AStore) -> None:
    """A store that lost everything gets the session again, under the same epoch, with keys and read marks."""
    ledger = await a_session(hot)
    ledger.mark_read("bob", Receipt("k1", NOON))
    await ledger.write()
    hot.lose_everything()
    post(ledger, key="k3")
    await ledger.write()
    found = await stored(hot)

    assert (found.epoch, found.top, ledger.degraded) == (ledger.history.epoch, 3, False)
    assert [event.message.id for event in found.events] == ["k1", "k2", "k3"]
    assert dict(found.keys) == {key_name(f"k{seq}", "ann"): seq for seq in (1, 2, 3)}
    assert found.receipts == {"bob": Receipt("k1", NOON)}


async def test_store_that_is_back_empty_gets_what_left_the_window(hot: AStore) -> None:
    """Messages that left the window and are not archived are refilled too."""
    ledger = await a_session(hot, 5)
    hot.lose_everything()
    post(ledger)
    await ledger.write()

    assert [event.seq for event in hot.log(ledger.session)] == [1, 2, 3, 4, 5, 6]


async def test_doubt_makes_sure(hot: AStore) -> None:
    """A ledger in doubt writes though nothing is owed, and so finds out that the store lost the session."""
    ledger = await a_session(hot)
    hot.lose_everything()
    ledger.doubtful = True
    await ledger.write()

    assert not ledger.doubtful
    assert [event.seq for event in hot.log(ledger.session)] == [1, 2]


async def test_doubt_about_nothing(hot: AStore) -> None:
    """A session without events cannot be lost."""
    ledger = await a_session(hot, 0)
    hot.calls.clear()
    ledger.doubtful = True
    await ledger.write()

    assert (hot.calls, ledger.doubtful) == ([], False)


async def test_store_that_lost_its_newest_entries(hot: AStore) -> None:
    """A store that went back to an older state gets the rest again."""
    ledger = await a_session(hot, 3)
    hot.lose_tail("r", 2)
    post(ledger)
    await ledger.write()

    assert [event.seq for event in hot.log(ledger.session)] == [1, 2, 3, 4]
    assert (await stored(hot)).top == 4


async def test_store_that_lost_its_newest_keys(hot: AStore) -> None:
    """The ids that clients chose come back with the entries, though their messages left the window since."""
    ledger = await a_session(hot, 3)
    kept = hot._sessions[ledger.session]
    hot.lose_tail("r", 2)
    del kept.keys[key_name("k2", "ann")], kept.keys[key_name("k3", "ann")]
    for _ in range(3):
        post(ledger)
    await ledger.write()

    assert dict((await stored(hot)).keys) == {key_name(f"k{seq}", "ann"): seq for seq in (1, 2, 3)}


# --- lost answers and other writers


async def test_lost_answer_is_not_written_twice(hot: AStore) -> None:
    """A write that arrived though its answer was lost is found again."""
    ledger = await a_session(hot)
    hot.failing["append", "after"] = Unavailable("the answer was lost")
    post(ledger)
    await ledger.write()
    assert ledger.degraded
    await ledger.write()

    assert not ledger.degraded
    assert ledger.backlog == 0
    assert [event.seq for event in hot.log(ledger.session)] == [1, 2, 3]


async def test_lost_answer_of_the_first_write(hot: AStore) -> None:
    """The write that opens a session may lose its answer too."""
    ledger = await a_session(hot, 0)
    hot.failing["append", "after"] = Unavailable("the answer was lost")
    post(ledger)
    await ledger.write()
    post(ledger)
    await ledger.write()

    assert not ledger.degraded
    assert [event.seq for event in hot.log(ledger.session)] == [1, 2]


async def test_events_after_a_lost_answer(hot: AStore) -> None:
    """What happened meanwhile is added to what had arrived."""
    ledger = await a_session(hot)
    hot.failing["append", "after"] = Unavailable("the answer was lost")
    post(ledger)
    await ledger.write()
    ledger.history.edit("k1", user="ann", moderator=False, content="new", metadata=None, now=NOON)
    await ledger.write()

    assert [event.seq for event in hot.log(ledger.session)] == [2, 3, 4]


async def test_cancelled_write_is_found_again(hot: AStore, autojump_clock: MockClock) -> None:
    """A write that was cancelled may have arrived; the next one finds out."""
    ledger = await a_session(hot)
    post(ledger)
    write = hot.interfere

    async def hang(call: str, moment: Moment) -> None:
        if moment == "after":
            await trio.sleep_forever()

    hot.interfere = hang
    with trio.move_on_after(1):
        await ledger.write()
    hot.interfere = write
    await ledger.write()

    assert [event.seq for event in hot.log(ledger.session)] == [1, 2, 3]
    assert ledger.backlog == 0


async def test_another_writer_of_the_session(hot: AStore) -> None:
    """Somebody else's events are not overwritten: the session must be loaded anew."""
    ledger = await a_session(hot)
    await append_elsewhere(hot, ledger.history.epoch, 2, 3)
    post(ledger)

    with pytest.raises(Overtaken, match="is written by somebody else"):
        await ledger.write()
    assert [event.message.id for event in hot.log(ledger.session)] == ["k1", "k2", "other3"]


async def test_another_writers_newer_session(hot: AStore) -> None:
    """Nor is a newer session put aside."""
    ledger = await a_session(hot)
    await append_elsewhere(hot, new_epoch(now(), ledger.history.epoch), 0, 1)
    post(ledger)

    with pytest.raises(Overtaken, match="is written by somebody else"):
        await ledger.write()


@pytest.mark.parametrize("hours", [-1, 1])
async def test_session_is_not_opened_over_anothers(hot: AStore, hours: int) -> None:
    """Whoever found nothing looks again before it opens a session: somebody else may have been quicker."""
    ledger = await a_session(hot, 0)
    await append_elsewhere(hot, new_epoch(NOON + timedelta(hours=hours)), 0, 1)
    post(ledger)

    with pytest.raises(Overtaken):
        await ledger.write()


async def test_opening_after_another_writer(hot: AStore) -> None:
    """Loaded anew, the session has the other's events."""
    ledger = await a_session(hot)
    await append_elsewhere(hot, ledger.history.epoch, 2, 3)
    await ledger.open()
    post(ledger)
    await ledger.write()

    assert [event.message.content for event in hot.log(ledger.session)][-2:] == ["elsewhere", "hi"]


async def test_older_session_gives_way(hot: AStore, autojump_clock: MockClock) -> None:
    """A session begun while the store was away takes the place of an older one, which stays to be archived."""
    old = await a_session(hot)
    hot.failing["load", "before"] = Unavailable("gone")
    await trio.sleep(1)
    ledger = a_ledger(hot)
    await ledger.open()
    post(ledger)
    await ledger.write()

    assert (await stored(hot)).epoch == ledger.history.epoch > old.history.epoch
    assert set(await hot.dirty()) == {old.session, ledger.session}


async def test_store_that_answers_differently_each_time(hot: AStore) -> None:
    """A store whose answers cannot be settled degrades the room, and does not hold it for ever."""
    ledger = await a_session(hot)
    post(ledger)

    async def lose_it_again(call: str, moment: Moment) -> None:
        if moment == "before":
            hot.lose_everything()
            hot.interfere = come_back_older

    async def come_back_older(call: str, moment: Moment) -> None:
        if moment == "before":
            await restore.append(opening)
            hot.interfere = lose_it_again

    opening = hot.appended[0]
    restore = MemoryHotStore()
    restore._sessions, restore._current, restore._trusted = hot._sessions, hot._current, hot._trusted
    hot.interfere = lose_it_again
    await ledger.write()

    assert (ledger.degraded, ledger.backlog) == (True, 1)
    hot.interfere = None
    await ledger.write()
    assert (ledger.degraded, ledger.backlog) == (False, 0)


# --- ending


async def test_end_of_a_clean_session(hot: AStore) -> None:
    """A session the archive has is gone from the store when it ends."""
    ledger = await a_session(hot)
    await hot.mark_synced([(ledger.session, 2)])
    await ledger.end()

    assert hot.sessions() == {}


async def test_end_of_a_dirty_session(hot: AStore) -> None:
    """A session the archive lacks stays in the store, as one that has ended."""
    ledger = await a_session(hot)
    await ledger.end()

    assert await hot.load("r") is None
    assert await hot.dirty() == [ledger.session]


async def test_end_of_a_session_somebody_else_writes_to(
    hot: AStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A session that goes on elsewhere is not ended."""
    ledger = await a_session(hot)
    await append_elsewhere(hot, ledger.history.epoch, 2, 3)
    with caplog.at_level(logging.WARNING):
        await ledger.end()

    assert await hot.load("r") is not None
    assert "does not hold session" in caplog.text


async def test_end_without_the_store(hot: AStore, caplog: pytest.LogCaptureFixture) -> None:
    """A session may end while the store is away."""
    ledger = await a_session(hot)
    hot.set_healthy(False)
    with caplog.at_level(logging.WARNING):
        await ledger.end()

    assert "ends without the hot store" in caplog.text


async def test_begin_anew(hot: AStore) -> None:
    """The next session is empty, behind the old one, and has no keys."""
    ledger = await a_session(hot)
    old = ledger.history.epoch
    ledger.begin_anew()

    assert ledger.history.epoch > old
    assert (ledger.history.top, ledger.written) == (0, 0)
    assert post(ledger, key="k1").event is not None


async def test_read_marks_outlive_their_session(hot: AStore) -> None:
    """They go with the next session, do not open it, and what the archive lacks of them is not its business."""
    ledger = await a_session(hot)
    ledger.mark_read("bob", read())
    await ledger.write()
    old = ledger.session
    await ledger.end()
    ledger.begin_anew()
    await ledger.write()
    assert (ledger.receipts, len(hot.appended)) == ({"bob": read()}, 2)

    post(ledger)
    await ledger.write()
    assert (await stored(hot)).receipts == {"bob": read()}
    assert (hot.pending(old), hot.pending(ledger.session)) == ({"bob": read()}, {})


async def test_read_mark_that_reached_no_store_waits_for_the_next_session(hot: AStore) -> None:
    """It is written with that session's first event, and the archive lacks it until then."""
    ledger = await a_session(hot)
    hot.set_healthy(False)
    ledger.mark_read("bob", read())
    await ledger.write()
    ledger.begin_anew()
    hot.set_healthy(True)
    await ledger.write()
    assert len(hot.appended) == 1

    post(ledger)
    await ledger.write()
    assert hot.pending(ledger.session) == {"bob": read()}


async def test_newest_read_marks_of_a_crowd_outlive_their_session(hot: AStore) -> None:
    """A room that never rests does not gather the marks of everybody who was ever here."""
    ledger = await a_session(hot)
    for number in range(OUTLIVING_RECEIPTS + 1):
        ledger.mark_read(f"u{number}", read("k1", number))
    await ledger.write()
    ledger.begin_anew()

    assert len(ledger.receipts) == OUTLIVING_RECEIPTS
    assert "u0" not in ledger.receipts


async def test_session_begun_anew_is_written(hot: AStore) -> None:
    """The first event of the next session opens it in the store."""
    ledger = await a_session(hot)
    await ledger.end()
    ledger.begin_anew()
    post(ledger)
    await ledger.write()

    assert (await stored(hot)).epoch == ledger.history.epoch


# --- what the archive lacks, from memory


async def test_unsynced_from_memory(hot: AStore) -> None:
    """A degraded room gives the archive what was let out, and no more."""
    ledger = await a_session(hot, 5)
    batch = ledger.unsynced(released=4)

    assert batch is not None
    assert (batch.session, batch.top) == (ledger.session, 4)
    assert [event.seq for event in batch.events] == [1, 2, 3, 4]


async def test_unsynced_when_the_archive_has_it(hot: AStore) -> None:
    """There is nothing to give when the archive has everything that was let out."""
    ledger = await a_session(hot)
    ledger.history.mark_synced(2)

    assert ledger.unsynced(released=2) is None


async def test_unsynced_when_some_of_it_is_elsewhere(hot: AStore) -> None:
    """What the hot store alone has cannot be given from memory; then nothing is, or a mark would hide it."""
    ledger = a_ledger(hot, backlog_limit=1, sync_after_events=1, max_messages_per_session=1)
    await ledger.open()
    for _ in range(5):
        post(ledger)
    await ledger.write()

    assert ledger.unsynced(released=5) is None


async def test_unsynced_read_marks_from_memory(hot: AStore) -> None:
    """A degraded room gives the archive the marks that no store has, with events or alone, until one has them."""
    ledger = await a_session(hot)
    hot.set_healthy(False)
    ledger.mark_read("bob", read())
    await ledger.write()
    batch = ledger.unsynced(released=2)
    assert batch is not None
    assert (len(batch.events), batch.receipts) == (2, {"bob": read()})

    ledger.history.mark_synced(2)
    assert ledger.unsynced(released=2) == Batch(ledger.session, 2, (), receipts={"bob": read()})

    hot.set_healthy(True)
    await ledger.write()
    assert ledger.unsynced(released=2) is None


async def test_unsynced_read_marks_of_no_session(hot: AStore) -> None:
    """A session without an event is nothing to the archive."""
    ledger = await a_session(hot)
    ledger.mark_read("bob", read())
    ledger.begin_anew()

    assert ledger.unsynced(released=0) is None


async def test_unsynced_read_marks_when_events_are_elsewhere(hot: AStore) -> None:
    """Marks can be given though events cannot; the archive is told no higher mark than it has."""
    ledger = a_ledger(hot, backlog_limit=1, sync_after_events=1, max_messages_per_session=1)
    await ledger.open()
    for _ in range(5):
        post(ledger)
    await ledger.write()
    ledger.history.mark_synced(1)
    ledger.mark_read("bob", read())

    assert ledger.unsynced(released=5) == Batch(ledger.session, 1, (), receipts={"bob": read()})


async def test_repr_tells_the_state(hot: AStore) -> None:
    """The one-line form says whether everything is written."""
    ledger = await a_session(hot)

    assert repr(ledger).startswith("<Ledger r written written=2 <History ")
    hot.set_healthy(False)
    post(ledger)
    await ledger.write()
    assert repr(ledger).startswith("<Ledger r degraded written=2 <History ")
