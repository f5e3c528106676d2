"""One pipeline, over a stream in memory and on virtual time. The test is the server.

Each test names the clock itself: that is how pytest-trio finds it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_chat.errors import ReplyCode, Unavailable
from trio_chat.stores.resp_link import Limits, Link, _Call
from trio_chat.stores.resp_wire import pack

PACKED = pack([("GET", "k")])


class Bench:
    """A running link, the server's end of its stream, and what the link reported."""

    def __init__(self, limits: Limits) -> None:
        self.troubles = 0
        ours, self.server = trio.testing.memory_stream_pair()
        self.pipe = ours.receive_stream
        self.link = Link(ours, limits, self._trouble)

    def _trouble(self) -> None:
        self.troubles += 1

    async def received(self, count: int = 1) -> None:
        """Wait until the server has so many whole commands, and no more."""
        got = await self.server.receive_some(1000)
        while len(got) < count * len(PACKED):
            got += await self.server.receive_some(1000)
        assert got == count * PACKED


@pytest.fixture
async def bench(nursery: trio.Nursery) -> AsyncIterator[Bench]:
    """A link with a timeout of 1 s that is stale after 5 s and takes ten calls."""
    bench = Bench(Limits(timeout=1, stale=5, calls=10, unsent=1000))
    nursery.start_soon(bench.link.run)
    await trio.testing.wait_all_tasks_blocked()
    yield bench
    nursery.cancel_scope.cancel()


class Calls:
    """Calls made in the background, and what became of them."""

    def __init__(self, nursery: trio.Nursery, link: Link) -> None:
        self._nursery = nursery
        self._link = link
        self.replies: dict[str, Any] = {}

    def make(self, name: str, count: int = 1, *, patient: bool = False) -> trio.CancelScope:
        """Begin a call, which can be cancelled through the scope."""
        scope = trio.CancelScope()
        self._nursery.start_soon(self._call, name, count, patient, scope)
        return scope

    async def _call(self, name: str, count: int, patient: bool, scope: trio.CancelScope) -> None:
        await trio.lowlevel.checkpoint()
        with scope:
            try:
                self.replies[name] = await self._link.exchange(count * PACKED, count, patient=patient)
            except Unavailable as error:
                self.replies[name] = f"{error.code}: {error}"


@pytest.fixture
async def calls(nursery: trio.Nursery, bench: Bench) -> Calls:
    """Nothing called yet."""
    return Calls(nursery, bench.link)


settle = trio.testing.wait_all_tasks_blocked


async def test_replies_go_to_callers_in_order(bench: Bench, autojump_clock: MockClock, calls: Calls) -> None:
    """The first reply is the first caller's, however the bytes are cut."""
    for name in "abc":
        calls.make(name)
        await settle()
    await bench.received(3)
    for byte in b"$1\r\nA\r\n:2\r\n+C\r\n":
        await bench.server.send_all(bytes([byte]))
    await settle()

    assert calls.replies == {"a": [b"A"], "b": [2], "c": [b"C"]}


async def test_group_gets_all_its_replies(bench: Bench, autojump_clock: MockClock, calls: Calls) -> None:
    """Commands that were sent together are answered together."""
    calls.make("both", 2)
    await bench.received(2)
    await bench.server.send_all(b":1\r\n")
    await settle()
    assert calls.replies == {}

    await bench.server.send_all(b"-ERR x\r\n:3\r\n")
    await settle()
    [one, error] = calls.replies["both"]
    assert (one, str(error)) == (1, "ERR x")


async def test_calls_of_one_moment_are_sent_together(
    bench: Bench, autojump_clock: MockClock, calls: Calls
) -> None:
    """Callers who call at the same time cost one write."""
    for name in "abcde":
        calls.make(name)
    await settle()

    assert await bench.server.receive_some(1000) == 5 * PACKED


async def test_cancelled_call_leaves_its_place(bench: Bench, autojump_clock: MockClock, calls: Calls) -> None:
    """The reply of a cancelled call goes to nobody; the one after it to its caller."""
    scope = calls.make("cancelled")
    await settle()
    calls.make("next")
    await settle()
    scope.cancel()
    await bench.server.send_all(b":1\r\n:2\r\n")
    await settle()

    assert calls.replies == {"next": [2]}


async def test_call_cancelled_halfway_through_its_replies(
    bench: Bench, autojump_clock: MockClock, calls: Calls
) -> None:
    """All replies of a cancelled group are passed over, those before the cancel and those after it."""
    scope = calls.make("cancelled", 3)
    await settle()
    calls.make("next")
    await bench.server.send_all(b":1\r\n")
    await settle()
    scope.cancel()
    await bench.server.send_all(b":2\r\n:3\r\n:4\r\n")
    await settle()

    assert calls.replies == {"next": [4]}


async def test_call_that_is_cancelled_before_it_begins_sends_nothing(
    bench: Bench, autojump_clock: MockClock
) -> None:
    """Nothing is written for a caller who has already given up."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await bench.link.exchange(PACKED, 1)

    assert bench.link.statistics().waiting == 0


async def test_late_call_fails_in_time(bench: Bench, autojump_clock: MockClock, calls: Calls) -> None:
    """A call without an answer fails after exactly its timeout, and the link turns late."""
    start = trio.current_time()
    with pytest.raises(Unavailable, match="in time"):
        await bench.link.exchange(PACKED, 1)

    assert trio.current_time() - start == pytest.approx(1)
    assert bench.link.late
    assert bench.troubles == 1


async def test_calls_fail_at_once_while_the_link_is_late(
    bench: Bench, autojump_clock: MockClock, calls: Calls
) -> None:
    """Nobody waits for a server that is known not to answer, and nothing is sent to it."""
    with pytest.raises(Unavailable, match="in time"):
        await bench.link.exchange(PACKED, 1)
    start = trio.current_time()
    with pytest.raises(Unavailable, match="does not answer"):
        await bench.link.exchange(PACKED, 1)

    assert trio.current_time() == start
    await bench.received(1)


async def test_late_reply_goes_to_nobody(bench: Bench, autojump_clock: MockClock, calls: Calls) -> None:
    """A reply that comes after its caller gave up is not taken for another's."""
    calls.make("late")
    await trio.sleep(1.5)
    calls.make("patient", patient=True)
    await settle()
    await bench.server.send_all(b":1\r\n:2\r\n")
    await settle()

    assert calls.replies == {"late": "unavailable: Redis did not answer in time", "patient": [2]}


async def test_patient_answer_makes_the_link_well(
    bench: Bench, autojump_clock: MockClock, calls: Calls
) -> None:
    """When a patient call is answered nothing is outstanding, and calls are taken again."""
    calls.make("late")
    await trio.sleep(1.5)
    calls.make("patient", patient=True)
    await settle()
    await bench.server.send_all(b":1\r\n:2\r\n")
    await settle()
    calls.make("next")
    await settle()
    await bench.server.send_all(b":3\r\n")
    await settle()

    assert not bench.link.late
    assert calls.replies["next"] == [3]


async def test_patient_call_that_waits_makes_the_link_late(
    bench: Bench, autojump_clock: MockClock, calls: Calls
) -> None:
    """A patient call does not fail in time, but its lateness is noticed."""
    calls.make("patient", patient=True)
    await trio.sleep(1.1)

    assert bench.link.late
    assert calls.replies == {}


async def test_each_call_has_its_own_time(bench: Bench, autojump_clock: MockClock, calls: Calls) -> None:
    """A younger call does not fail with an older one."""
    calls.make("old")
    await trio.sleep(0.6)
    calls.make("young")
    await trio.sleep(0.5)

    assert list(calls.replies) == ["old"]


async def test_unanswered_link_is_given_up(bench: Bench, autojump_clock: MockClock, calls: Calls) -> None:
    """When the oldest call has been unanswered for too long, the stream is closed."""
    calls.make("patient", patient=True)
    await trio.sleep(6.1)

    assert bench.link.lost == "Redis has not answered for 5 s"
    assert calls.replies == {"patient": "unavailable: Redis has not answered for 5 s"}
    await bench.received(1)
    assert await bench.server.receive_some(1) == b""


async def test_answers_are_read_before_anybody_is_late(
    bench: Bench, autojump_clock: MockClock, calls: Calls
) -> None:
    """If this process stood still while the answers came, nobody is told that they did not."""
    for number in range(10):  # who runs first after the pause is a matter of chance
        calls.make(str(number))
        await settle()
        bench.pipe.put_data(b":1\r\n")
        autojump_clock.jump(3)
        await trio.sleep(0.2)

    assert list(calls.replies.values()) == [[1]] * 10
    assert not bench.link.late


async def test_broken_stream_tells_everybody_at_once(
    bench: Bench, autojump_clock: MockClock, calls: Calls
) -> None:
    """Everybody who waits learns in the same moment that the outcome is unknown."""
    for name in "abc":
        calls.make(name)
    await settle()
    await bench.server.aclose()
    await settle()

    assert set(calls.replies.values()) == {"unavailable: Redis closed the connection"}
    assert bench.troubles == 1


async def test_lost_link_takes_no_calls(bench: Bench, autojump_clock: MockClock) -> None:
    """A lost link says why."""
    bench.link.lose("a reason")
    with pytest.raises(Unavailable, match="a reason"):
        await bench.link.exchange(PACKED, 1)

    await settle()
    assert await bench.server.receive_some(1) == b""


@pytest.mark.parametrize(
    "nonsense", [b"?\r\n", b"HTTP/1.1 200 OK\r\n", b"$x\r\n", b"*99999999999999999999\r\n"]
)
async def test_nonsense_ends_the_link(
    bench: Bench, autojump_clock: MockClock, calls: Calls, nonsense: bytes
) -> None:
    """What is not RESP cannot be read past."""
    calls.make("a")
    await settle()
    await bench.server.send_all(nonsense)
    await settle()

    assert calls.replies == {"a": "unavailable: the server does not speak the Redis protocol"}


async def test_reply_to_nothing_ends_the_link(bench: Bench, autojump_clock: MockClock) -> None:
    """After one reply too many nobody knows any more whose the next one is."""
    await bench.server.send_all(b":1\r\n")
    await settle()

    assert bench.link.lost == "the server sent a reply to nothing"


async def test_too_many_calls_are_refused(bench: Bench, autojump_clock: MockClock, calls: Calls) -> None:
    """A server that does not answer cannot make us hold calls without limit."""
    for number in range(12):
        calls.make(str(number))
    await settle()

    overloaded = [reply for reply in calls.replies.values() if str(reply).startswith(ReplyCode.OVERLOADED)]
    assert len(overloaded) == 2


async def test_too_many_bytes_are_refused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that does not read cannot make us hold bytes without limit; one large call is taken."""
    ours, _ = trio.testing.lockstep_stream_pair()
    link = Link(ours, Limits(timeout=1, stale=5, calls=10, unsent=1000), lambda: None)
    nursery.start_soon(link.run)
    calls = Calls(nursery, link)
    await settle()
    calls.make("large", 50)
    await settle()
    calls.make("small")
    await settle()

    assert calls.replies == {"small": "overloaded: too many bytes wait for Redis"}
    nursery.cancel_scope.cancel()


async def test_cancelling_the_link_tells_everybody(autojump_clock: MockClock) -> None:
    """A link that ends leaves nobody waiting."""
    bench = Bench(Limits())
    async with trio.open_nursery() as callers:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.link.run)
            calls = Calls(callers, bench.link)
            calls.make("a")
            await settle()
            nursery.cancel_scope.cancel()

    assert calls.replies == {"a": "unavailable: the connection to Redis was closed"}


async def test_statistics_count(bench: Bench, autojump_clock: MockClock, calls: Calls) -> None:
    """The counts tell what waits, what was answered and what was late."""
    calls.make("a")
    calls.make("b")
    await settle()
    await bench.server.send_all(b":1\r\n")
    await trio.sleep(1.1)

    statistics = bench.link.statistics()

    assert (statistics.waiting, statistics.unsent, statistics.answered, statistics.late) == (1, 0, 1, 1)
    assert repr(bench.link) == "<Link late waiting=1 unsent=0>"


async def test_few_calls_are_sent_at_once_and_others_together(nursery: trio.Nursery) -> None:
    """A real socket has the first commands before the caller goes on; what comes while four are unanswered is gathered."""
    ours, theirs = trio.socket.socketpair()
    link = Link(trio.SocketStream(ours), Limits(), lambda: None)
    nursery.start_soon(link.run)
    server = trio.SocketStream(theirs)
    await trio.testing.wait_all_tasks_blocked()
    answers: list[object] = []

    for _ in range(4):
        link.post(PACKED, 1, answers.append)
        assert link.unsent == 0
    first = await server.receive_some(1000)
    link.post(PACKED, 1, answers.append)
    link.post(PACKED, 1, answers.append)
    assert link.unsent == 2 * len(PACKED)
    with trio.fail_after(5):
        assert await server.receive_some(1000) == PACKED * 2
        await server.send_all(b"".join(b"+%d\r\n" % number for number in range(6)))
        while len(answers) < 6:
            await trio.testing.wait_all_tasks_blocked()

    assert first == PACKED * 4
    assert answers == [[b"%d" % number] for number in range(6)]
    nursery.cancel_scope.cancel()
    await server.aclose()


async def test_a_command_larger_than_the_socket_takes_arrives_whole(nursery: trio.Nursery) -> None:
    """The writer sends what the socket would not take at once."""
    ours, theirs = trio.socket.socketpair()
    link = Link(trio.SocketStream(ours), Limits(), lambda: None)
    nursery.start_soon(link.run)
    server = trio.SocketStream(theirs)
    command = bytes(range(256)) * 8192
    got = b""

    link.post(command, 1, lambda _: None)
    with trio.fail_after(5):
        while len(got) < len(command):
            got += await server.receive_some(1_000_000)

    assert got == command
    nursery.cancel_scope.cancel()
    await server.aclose()


def test_an_answer_that_comes_before_a_late_caller_has_run_changes_nothing() -> None:
    """The caller was told that there is none, and takes that, not an answer without replies."""
    told: list[object] = []
    call = _Call(1, False, 0.0, told.append)
    call.finish("Redis does not answer")
    answered = call.take(b"too late")
    call.finish()

    assert (answered, told) == (True, ["Redis does not answer"])
    assert (call.failure, call.replies) == ("Redis does not answer", [])
