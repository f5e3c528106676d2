"""A run: everybody connects, everybody joins, rooms are posted to, and everything is waited for.

1. A stage begins when the one before it is complete, so that no message is posted that somebody is not there to hear.
2. A connection that fails before anything was posted ends the run. Later it is counted, and the run goes on.
3. The first signal ends the posting, and the second the waiting for what is under way. Before the posting one signal
   ends everything.
"""

from __future__ import annotations

import itertools
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import trio
from typing_extensions import override

from trio_chat.bench.member import Member
from trio_chat.bench.poster import Budget, Poster
from trio_chat.bench.report import Report, Stage, advice_to_enter, warnings_for
from trio_chat.bench.tally import Counts, Verdict
from trio_chat.bench.wire import RESOURCES
from trio_chat.errors import BadRequest, ReplyCode
from trio_chat.place import Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from trio_chat.bench.plan import Plan
    from trio_chat.screen import Screen

# How many connections are made, or rooms joined, at once.
_AT_ONCE = 32
# How long to wait for what is under way while nothing arrives any more.
_PATIENCE_SECONDS = 5.0
# Drawing takes a millisecond or two in which nothing is heard.
_DRAW_SECONDS = 0.5
_GOODBYE_SECONDS = 3.0


async def measure(plan: Plan, screen: Screen) -> Report:
    """Do what the plan says. SIGINT and SIGTERM end it early; cancelling closes all connections.

    Args:
        plan: what to do.
        screen: where to show how far it is and, before anything is posted, what will spoil the result.

    Raises:
        BadRequest: the server cannot be reached, or not used like that.
        KeyboardInterrupt: interrupted before anything was posted.
    """
    run = _Run(plan, screen)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.heed, signals)
            if screen.visible:
                nursery.start_soon(run.draw)
            async with trio.open_nursery() as crowd:
                if await run.gather(crowd):
                    for text in warnings_for(plan, run.members[0].limits):
                        screen.tell(text)
                    await run.post()
                crowd.cancel_scope.deadline = trio.current_time() + _GOODBYE_SECONDS
                run.disperse()
            nursery.cancel_scope.cancel()
    return run.report()


class _Run:
    """See the module."""

    def __init__(self, plan: Plan, screen: Screen) -> None:
        self._plan = plan
        self._screen = screen
        self._place = Place.of(plan.url, RESOURCES[plan.wire])
        self._counts = Counts()
        budget = Budget(plan.messages)
        content = plan.content()
        self._settled = trio.Event()
        self._posters = [
            Poster(plan.members, self._counts, budget, plan.window, self._note_settled)
            for _ in range(plan.rooms)
        ]
        for number, (poster, _) in enumerate(itertools.product(self._posters, range(plan.members))):
            room = plan.room(number // plan.members)
            wire = plan.wire_of(number)
            poster.members.append(Member(room, poster.tally, number % plan.members, wire, content))
        self.members = [member for poster in self._posters for member in poster.members]
        self._now: tuple[str, Callable[[], tuple[float, str]]] = "connecting", lambda: (0.0, "")
        """The stage, and what says how far it is."""
        self._scope = trio.CancelScope()
        """Of the stage, for a signal to end."""
        self._interrupted = False
        self._stages: list[Stage] = []
        self._began = self._cpu = self._took = 0.0
        self._posted = False
        self._problem = ""

    @override
    def __repr__(self) -> str:
        return f"<_Run {self._now[0]} members={len(self.members)} {self._counts!r}>"

    # --- beside the stages

    async def heed(self, signals: AsyncIterator[int]) -> None:
        """End the stage at each signal. Cancelling is safe."""
        async for _ in signals:
            self._interrupted = True
            self._scope.cancel()

    async def draw(self) -> None:
        """Show how far it is, now and then. Cancelling is safe."""
        while True:
            stage, state = self._now
            self._screen.show(stage, *state())
            await trio.sleep(_DRAW_SECONDS)

    # --- getting there

    async def gather(self, crowd: trio.Nursery) -> bool:
        """Have everybody connect, then join. Returns whether everybody has. Cancelling is safe."""

        async def connect(member: Member) -> None:
            await crowd.start(member.attend, self._place)

        return await self._all("connecting", connect) and await self._all("joining", Member.join)

    async def _all(self, stage: str, act: Callable[[Member], Awaitable[None]]) -> bool:
        """Have every member do something, some at a time. Returns False at the first failure, and if interrupted."""
        waiting = iter(self.members)
        done = 0

        async def some(nursery: trio.Nursery) -> None:
            nonlocal done
            for member in waiting:
                await act(member)
                if member.ended is not None:
                    nursery.cancel_scope.cancel()
                    return
                done += 1

        total = len(self.members)
        self._now = stage, lambda: (done / total, f"{done} of {total} connections")
        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            for _ in range(min(_AT_ONCE, total)):
                nursery.start_soon(some, nursery)
        seconds = time.perf_counter() - began
        self._stages.append(Stage(round(seconds, 3), round(done / seconds, 1)))
        ended = next((member.ended for member in self.members if member.ended is not None), None)
        if ended is not None and not self._interrupted:
            self._problem = f"{self._plan.url}: {ended.text}{advice_to_enter(ended, self._plan)}"
        return ended is None and not self._interrupted

    def disperse(self) -> None:
        """Have everybody leave."""
        self._now = "leaving", lambda: (1.0, "")
        for member in self.members:
            member.leave()

    # --- posting

    async def post(self) -> None:
        """Post what the plan says, and wait until it has arrived. Cancelling is safe."""
        self._posted = True
        self._now = "posting", self._figures
        self._began, self._cpu = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            if self._plan.seconds is not None:
                nursery.cancel_scope.deadline = trio.current_time() + self._plan.seconds
            for number, poster in enumerate(self._posters):
                if self._plan.rate is None:
                    nursery.start_soon(poster.post_in_window)
                else:
                    nursery.start_soon(poster.post_at, self._dues(number, self._plan.rate))
        self._now = "waiting for the last ones", self._figures
        with trio.CancelScope() as self._scope:
            await self._wait_settled()
        self._cpu = time.process_time() - self._cpu
        self._took = time.perf_counter() - self._began

    def _dues(self, number: int, rate: float) -> Iterator[float]:
        """Say when the messages of a room are due: its share of an even stream over all rooms."""
        for place in itertools.count(number, self._plan.rooms):
            yield self._began + place / rate

    async def _wait_settled(self) -> None:
        while self._under_way():
            before = self._counts.latest
            self._settled = trio.Event()
            with trio.move_on_after(_PATIENCE_SECONDS) as scope:
                await self._settled.wait()
            if scope.cancelled_caught and self._counts.latest == before:
                return

    def _under_way(self) -> int:
        return sum(poster.tally.under_way for poster in self._posters)

    def _note_settled(self) -> None:
        self._settled.set()

    def _figures(self) -> tuple[float, str]:
        counts, plan = self._counts, self._plan
        seconds = max(time.perf_counter() - self._began, 1e-9)
        share = seconds / plan.seconds if plan.seconds is not None else counts.sent / (plan.messages or 1)
        summary = counts.delivery.summary()
        latency = f", p50 {summary.p50:g} ms, p99 {summary.p99:g} ms" if summary else ""
        speed = f"{counts.sent / seconds:,.0f} messages/s, {counts.deliveries / seconds:,.0f} deliveries/s"
        return min(share, 1.0), speed + latency

    # --- afterwards

    def report(self) -> Report:
        """Say how it went.

        Raises:
            BadRequest: nothing was posted, because of a problem.
            KeyboardInterrupt: nothing was posted, because of a signal.
        """
        if self._problem:
            raise BadRequest(self._problem)
        if not self._posted:
            raise KeyboardInterrupt
        counts = self._counts
        ended = [member.ended for member in self.members if member.ended is not None]
        return Report(
            url=self._plan.url,
            wire=self._plan.wire,
            rooms=self._plan.rooms,
            members=self._plan.members,
            rate=self._plan.rate,
            window=self._plan.window,
            size=self._plan.size,
            interrupted=self._interrupted,
            connected=self._stages[0],
            joined=self._stages[1],
            seconds=round(max(counts.latest - self._began, 0.0), 3),
            sent=counts.sent,
            acked=dict(counts.acked),
            refused=dict(counts.refused),
            deliveries=counts.deliveries,
            delivery_ms=counts.delivery.summary(),
            ack_ms=counts.ack.summary(),
            verdict=sum((poster.tally.judge() for poster in self._posters), Verdict()),
            lost=dict(Counter(one.text for one in ended)),
            limited=any(one.code == ReplyCode.RATE_LIMITED for one in ended),
            late_ms=round(max(poster.latest for poster in self._posters) * 1000, 3),
            client_cpu=round(self._cpu / self._took, 3),
            limits=self.members[0].limits,
        )
