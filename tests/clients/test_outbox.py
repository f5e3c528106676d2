"""An outbox never waits, never mixes frames, never holds more than its limit, and knows when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.clients.outbox import Data, Outbox, OutboxStatistics

LIMIT = 100


class Pipe:
    """A channel that takes as many bytes as it is granted; `instant` like a plain socket, or not, like TLS."""

    def __init__(self, granted: int = 0, *, instant: bool = True, batch: int = 1000) -> None:
        self.granted = granted
        self.instant = instant
        self.batch = batch
        self.taken = b""
        self.broken = False
        self.sends = 0
        self.pushes = 0
        self._more = trio.Event()

    def grant(self, granted: int) -> None:
        """Let more bytes pass."""
        self.granted += granted
        self._more.set()
        self._more = trio.Event()

    def send_now(self, data: Data) -> int:
        """Take what is granted, if instant."""
        self.pushes += 1
        return self._take(data) if self.instant else 0

    async def wait_writable(self) -> None:
        """Wait for a grant."""
        await trio.lowlevel.checkpoint()
        while not self.granted and not self.broken:
            await self._more.wait()

    async def send(self, pieces: Sequence[Data]) -> int:
        """Take what is granted, or all of it in time."""
        self.sends += 1
        if self.instant:
            return sum(self._take(piece) for piece in pieces)
        data = b"".join(pieces)
        rest: Data = data
        while rest:
            await self.wait_writable()
            rest = rest[self._take(rest) :]
        return len(data)

    def _take(self, data: Data) -> int:
        if self.broken:
            raise BrokenPipeError
        size = min(self.granted, len(data))
        self.granted -= size
        self.taken += data[:size]
        return size


class Owner:
    """Starts pumps in a nursery and counts what it is told. A full outbox is closed as a link would close it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.outbox: Outbox
        self.full = 0
        self.lost = 0
        self.pumps = 0

    def spawn(self, pump: Any) -> None:
        """Start a pump."""
        self.pumps += 1
        self.nursery.start_soon(pump)

    def outbox_full(self) -> None:
        """Give up."""
        self.full += 1
        self.outbox.clear()
        self.outbox.seal(b"<bye>")

    def outbox_lost(self) -> None:
        """Count it."""
        self.lost += 1


def make(pipe: Pipe, nursery: trio.Nursery) -> tuple[Outbox, Owner]:
    owner = Owner(nursery)
    owner.outbox = Outbox(pipe, owner, LIMIT)
    return owner.outbox, owner


settled = trio.testing.wait_all_tasks_blocked


async def test_at_once(nursery: trio.Nursery) -> None:
    """What the socket takes goes out at once, without a task."""
    pipe = Pipe(1000)
    outbox, owner = make(pipe, nursery)
    outbox.offer(b"hello")
    await settled()

    assert pipe.taken == b"hello"
    assert not outbox.waiting
    assert owner.pumps == 0


async def test_leftover(nursery: trio.Nursery) -> None:
    """What the socket does not take follows, in order, by one pump that ends when all is out."""
    pipe = Pipe(3)
    outbox, owner = make(pipe, nursery)
    outbox.offer(b"hello ")
    outbox.offer(b"world")
    await settled()

    assert pipe.taken == b"hel"
    assert outbox.waiting
    pipe.grant(1000)
    await outbox.wait_drained()
    await settled()
    assert pipe.taken == b"hello world"
    assert owner.pumps == 1
    assert not nursery.child_tasks
    outbox.offer(b"!")
    assert pipe.taken == b"hello world!"


async def test_one_vectored_send(nursery: trio.Nursery) -> None:
    """What waits goes out in as few sends as possible."""
    pipe = Pipe()
    outbox, _ = make(pipe, nursery)
    for _ in range(20):
        outbox.offer(b"1234")
    pipe.grant(1000)
    await outbox.wait_drained()

    assert pipe.sends == 1


@pytest.mark.parametrize("instant", [True, False], ids=["plain", "tls"])
@given(data=st.data())
async def test_any_way_out(data: st.DataObject, instant: bool) -> None:
    """However little is taken at a time, and held meanwhile, what comes out is what was offered, in order."""
    offers = [("offer", piece) for piece in data.draw(st.lists(st.binary(max_size=20), max_size=10))]
    grants = [("grant", size) for size in data.draw(st.lists(st.integers(1, 30), max_size=20))]
    holds = [("hold", None), ("let go", None)] * data.draw(st.integers(0, 3))
    steps = data.draw(st.permutations([*offers, *grants, *holds]))
    pipe = Pipe(instant=instant, batch=7)
    async with trio.open_nursery() as nursery:
        outbox, owner = make(pipe, nursery)
        outbox._limit = 10_000
        for step, value in steps:
            match step:
                case "offer":
                    outbox.offer(value)
                case "hold":
                    outbox.hold()
                case "let go":
                    outbox.let_go()
                case _:
                    pipe.grant(value)
                    await trio.lowlevel.checkpoint()
        outbox.let_go()
        pipe.grant(10_000)
        await outbox.wait_drained()

    assert pipe.taken == b"".join(value for step, value in steps if step == "offer")
    assert outbox.statistics() == OutboxStatistics(sent=len(pipe.taken), waiting=0, exempt=0, dropped=0)
    assert owner.lost == owner.full == 0


async def test_held(nursery: trio.Nursery) -> None:
    """What is offered while an outbox is held goes out in one piece, once it is let go."""
    pipe = Pipe(1000)
    outbox, owner = make(pipe, nursery)
    outbox.hold()
    outbox.hold()
    outbox.offer(b"message ")
    outbox.offer(b"ack ")

    assert (pipe.taken, pipe.pushes) == (b"", 0)
    outbox.let_go()
    outbox.let_go()
    assert (pipe.taken, pipe.pushes) == (b"message ack ", 1)
    outbox.offer(b"next")
    assert (pipe.taken, pipe.pushes) == (b"message ack next", 2)
    assert owner.pumps == 0


async def test_held_for_nothing(nursery: trio.Nursery) -> None:
    """Who says nothing meanwhile sends nothing."""
    pipe = Pipe(1000)
    outbox, _ = make(pipe, nursery)
    outbox.hold()
    outbox.let_go()

    assert pipe.pushes == 0


async def test_held_while_something_waits(nursery: trio.Nursery) -> None:
    """Then it waits behind that, and goes out with it."""
    pipe = Pipe()
    outbox, _ = make(pipe, nursery)
    outbox.offer(b"waits ")
    outbox.hold()
    outbox.offer(b"too")
    pipe.grant(1000)
    await outbox.wait_drained()
    outbox.let_go()

    assert pipe.taken == b"waits too"


async def test_droppable_behind_what_is_held(nursery: trio.Nursery) -> None:
    """It can still be dropped, and what is held cannot."""
    pipe = Pipe()
    outbox, owner = make(pipe, nursery)
    outbox.hold()
    outbox.offer(b"m" * 60)
    outbox.offer(b"d" * 30, droppable=True)
    outbox.let_go()
    outbox.offer(b"M" * 40)

    assert outbox.statistics() == OutboxStatistics(sent=0, waiting=100, exempt=0, dropped=1)
    assert owner.full == 0


async def test_history_behind_what_is_held(nursery: trio.Nursery) -> None:
    """It does not count as waiting, and what is held does."""
    pipe = Pipe()
    outbox, owner = make(pipe, nursery)
    outbox.hold()
    outbox.offer(b"m" * 60)
    outbox.offer(b"h" * 1000, exempt=True)
    outbox.let_go()

    assert outbox.statistics() == OutboxStatistics(sent=0, waiting=60, exempt=1000, dropped=0)
    assert owner.full == 0


async def test_sealed_while_it_is_held(nursery: trio.Nursery) -> None:
    """What was held goes out before the last piece, and nothing after it."""
    pipe = Pipe(1000)
    outbox, _ = make(pipe, nursery)
    outbox.hold()
    outbox.offer(b"held ")
    outbox.seal(b"last")
    outbox.hold()
    outbox.offer(b"late")
    outbox.let_go()

    assert pipe.taken == b"held last"


async def test_cleared_while_it_is_held(nursery: trio.Nursery) -> None:
    """What is held has not begun."""
    pipe = Pipe(1000)
    outbox, _ = make(pipe, nursery)
    outbox.hold()
    outbox.offer(b"held ")
    outbox.clear()
    outbox.seal(b"<bye>")

    assert pipe.taken == b"<bye>"


async def test_broken_while_it_is_held(nursery: trio.Nursery) -> None:
    """A socket that fails once it is let go is the end, told once."""
    pipe = Pipe(1000)
    outbox, owner = make(pipe, nursery)
    outbox.hold()
    outbox.offer(b"m")
    pipe.broken = True
    outbox.let_go()
    outbox.offer(b"m")
    outbox.let_go()

    assert (owner.lost, outbox.sealed, pipe.taken) == (1, True, b"")


async def test_droppable_goes_first(nursery: trio.Nursery) -> None:
    """When too much waits, droppable pieces go, and nothing else if that is enough."""
    pipe = Pipe()
    outbox, owner = make(pipe, nursery)
    outbox.offer(b"m" * 60)
    outbox.offer(b"d" * 30, droppable=True)
    outbox.offer(b"M" * 40)

    assert outbox.statistics() == OutboxStatistics(sent=0, waiting=100, exempt=0, dropped=1)
    assert owner.full == 0
    pipe.grant(1000)
    await outbox.wait_drained()
    assert pipe.taken == b"m" * 60 + b"M" * 40


async def test_droppable_that_has_begun(nursery: trio.Nursery) -> None:
    """A droppable piece of which a part is out stays: half a frame would be read as rubbish."""
    pipe = Pipe(1)
    outbox, _ = make(pipe, nursery)
    outbox.offer(b"d" * 30, droppable=True)
    outbox.offer(b"d" * 30, droppable=True)
    outbox.offer(b"m" * 60)
    pipe.grant(1000)
    await outbox.wait_drained()

    assert pipe.taken == b"d" * 30 + b"m" * 60


async def test_full(nursery: trio.Nursery) -> None:
    """An outbox that overflows tells its owner once; what had begun goes out whole, then the goodbye."""
    pipe = Pipe(1)
    outbox, owner = make(pipe, nursery)
    outbox.offer(b"begun")
    for _ in range(10):
        outbox.offer(b"m" * 30)

    assert owner.full == 1
    assert outbox.sealed
    pipe.grant(1000)
    await outbox.wait_drained()
    assert pipe.taken == b"begun<bye>"


async def test_full_on_tls(nursery: trio.Nursery) -> None:
    """What a TLS stream is sending this moment counts as begun."""
    pipe = Pipe(1, instant=False, batch=25)
    outbox, _owner = make(pipe, nursery)
    outbox.offer(b"a" * 20)
    outbox.offer(b"b" * 20)
    outbox.offer(b"c" * 20)
    await settled()
    outbox.offer(b"m" * 50)
    pipe.grant(1000)
    await outbox.wait_drained()

    assert pipe.taken == b"a" * 20 + b"b" * 20 + b"<bye>"


async def test_exactly_the_limit(nursery: trio.Nursery) -> None:
    """The limit is what may wait, not what may be offered; reaching it is no overflow."""
    pipe = Pipe(50)
    outbox, owner = make(pipe, nursery)
    outbox.offer(b"m" * 150)
    await settled()

    assert owner.full == 0
    outbox.offer(b"m")
    assert owner.full == 1


async def test_exempt(nursery: trio.Nursery) -> None:
    """Exempt pieces do not count, before and after a part of them is out."""
    pipe = Pipe(10)
    outbox, owner = make(pipe, nursery)
    outbox.offer(b"h" * 1000, exempt=True)
    outbox.offer(b"m" * 100)

    assert owner.full == 0
    assert outbox.statistics() == OutboxStatistics(sent=10, waiting=100, exempt=990, dropped=0)
    pipe.grant(100)
    await settled()
    assert outbox.statistics() == OutboxStatistics(sent=110, waiting=100, exempt=890, dropped=0)


async def test_exempt_has_an_end_too(nursery: trio.Nursery) -> None:
    """While sixty-four limits of what was asked for wait, whoever asks for more is given up."""
    pipe = Pipe(0)
    outbox, owner = make(pipe, nursery)
    outbox.offer(b"h" * 6401, exempt=True)

    assert owner.full == 0
    outbox.offer(b"h", exempt=True)
    assert owner.full == 1


async def test_seal_behind_a_large_history(nursery: trio.Nursery) -> None:
    """The last piece always fits."""
    pipe = Pipe(0)
    outbox, owner = make(pipe, nursery)
    outbox.offer(b"h" * 6401, exempt=True)
    outbox.seal(b"<bye>")

    assert owner.full == 0
    assert outbox.statistics().exempt == 6406


async def test_sealed(nursery: trio.Nursery) -> None:
    """Nothing follows the last piece, and what waits goes out before it."""
    pipe = Pipe()
    outbox, _ = make(pipe, nursery)
    outbox.offer(b"waits ")
    outbox.seal(b"last")
    outbox.offer(b"late")
    outbox.seal(b"later")
    pipe.grant(1000)
    await outbox.wait_drained()

    assert pipe.taken == b"waits last"


async def test_broken_at_once(nursery: trio.Nursery) -> None:
    """A socket that fails while something is offered is the end, told once; offering raises nothing."""
    pipe = Pipe(1000)
    outbox, owner = make(pipe, nursery)
    pipe.broken = True
    outbox.offer(b"m")
    outbox.offer(b"m")
    await settled()

    assert owner.lost == 1
    assert outbox.lost
    assert outbox.sealed


async def test_broken_later(nursery: trio.Nursery) -> None:
    """A socket that fails in the pump is the end too, and whoever waits for the drain is woken."""
    pipe = Pipe(1)
    outbox, owner = make(pipe, nursery)
    outbox.offer(b"mm")
    await settled()
    pipe.broken = True
    pipe.grant(1000)
    await outbox.wait_drained()

    assert owner.lost == 1
    assert pipe.taken == b"m"
    outbox.lose()
    outbox.clear()
    assert owner.lost == 1


@pytest.mark.parametrize("instant", [True, False], ids=["plain", "tls"])
async def test_cancelled_send(instant: bool) -> None:
    """After a cancelled send nothing is written any more: half a frame may be out."""
    pipe = Pipe(1, instant=instant)
    async with trio.open_nursery() as nursery:
        outbox, owner = make(pipe, nursery)
        outbox.offer(b"half a frame")
        await settled()
        nursery.cancel_scope.cancel()
    pipe.grant(1000)
    outbox.offer(b"another")

    assert pipe.taken == b"h"
    assert outbox.lost
    assert owner.lost == 1


async def test_drained_already(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """Waiting for an outbox in which nothing waits returns at once; waiting can be cancelled."""
    pipe = Pipe()
    outbox, _ = make(pipe, nursery)
    await outbox.wait_drained()
    outbox.offer(b"m")
    with trio.move_on_after(1) as patience:
        await outbox.wait_drained()

    assert patience.cancelled_caught
    assert not outbox.lost
    pipe.grant(1)


async def test_repr(nursery: trio.Nursery) -> None:
    """An outbox says what an operator wants to know."""
    pipe = Pipe(1)
    outbox, _ = make(pipe, nursery)
    outbox.offer(b"mm")
    await settled()

    assert repr(outbox) == "<Outbox open sent=1 waiting=1 pieces=1>"
    outbox.seal()
    assert repr(outbox) == "<Outbox sealed sent=1 waiting=1 pieces=1>"
    outbox.lose()
    assert repr(outbox) == "<Outbox lost sent=1 waiting=0 pieces=0>"
    pipe.grant(1)
