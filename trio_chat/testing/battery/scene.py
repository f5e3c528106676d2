"""What a fault has to work with while it goes on, and how it says what must hold: see `fault` for *wrong* and *late*."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import trio
from typing_extensions import override

from trio_chat.testing.battery.contents import read_tops, see
from trio_chat.testing.battery.demands import Demands
from trio_chat.testing.battery.load import until
from trio_chat.testing.battery.wire import Gone
from trio_chat.testing.verdict.log import Close, Fail, Forgot, Heal, Join, Lost, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from trio_chat.testing.battery.fault import Fault
    from trio_chat.testing.battery.journal import Journal
    from trio_chat.testing.battery.load import Load
    from trio_chat.testing.battery.machine import Machine

NORMAL = 5.0
"""Seconds after a fault within which all must be as before."""
GRACE = 30.0
"""Seconds beyond its bound after which something is not late but never comes."""
_DEGRADED = 2.0
_SILENT = "is in trouble: it does not answer"
# An ack that took longer is not as usual.
_SLOW = 1.0


class Scene(Demands):
    """What a fault has to work with. Lives as long as `perform`.

    Attributes:
        tolerates_crashes: whether the server may log exceptions.
    """

    def __init__(self, fault: Fault, machine: Machine, load: Load, nursery: trio.Nursery) -> None:
        super().__init__()
        self.fault = fault
        self.machine = machine
        self.load = load
        self.nursery = nursery
        self.tolerates_crashes = False
        self.began = self.over = trio.current_time()

    @override
    def __repr__(self) -> str:
        return f"<Scene {self.fault.code} complaints={len(self.complaints)}>"

    @property
    def grace(self) -> float:
        """How many seconds to wait for what is late. Nobody waits for a control: what it never does is known."""
        return GRACE if self.fault.control is None else 0.0

    @property
    def journal(self) -> Journal:
        """What the clients noted."""
        return self.load.journal

    def begin(self) -> float:
        """Note that the fault begins now."""
        self.began = self.over = trio.current_time()
        return self.began

    def heal(self) -> float:
        """Note that it is over now: soon all must be as before."""
        self.over = trio.current_time()
        self.journal.note(Heal(self.over))
        return self.over

    async def note_loss(self, *, of_store: bool) -> None:
        """Note that only what the archive has by now is sure to be left, of all sessions so far. Cancelling is safe.

        Args:
            of_store: whether Redis has lost what it had, too. If not, what is lost had been told as `memory`.
        """
        # What is on its way to a client arrives first.
        await trio.sleep(0.2)
        archived = await read_tops(self.machine)
        for session in self.journal.tops():
            above = archived.get(session, 0)
            now = trio.current_time()
            self.journal.note(Lost(now, session, above) if of_store else Forgot(now, session, above))

    async def bear_starving(self) -> bool:
        """Complain, of something late, if the server found Redis away though nothing was done to it. Returns whether it did.

        On a machine that is busy enough nobody answers in time. What follows is as if Redis had been away: messages that
        were told as `memory` may be lost with the server, and sessions begin anew. Cancelling is safe.
        """
        starving = _SILENT in self.machine.server.said
        if starving:
            self.require(False, "Redis did not answer in time, though nothing was done to it", late=True)
            await self.note_loss(of_store=False)
        return starving

    def require_calm(self, *, since: float | None = None) -> None:
        """Complain about connections that ended, since the fault began or since then."""
        own = {client.name for client in self.load.clients}
        ended = self.journal.of(Close, since=self.began if since is None else since)
        ended = [close for close in ended if close.client in own]
        codes = dict(Counter(close.code for close in ended))
        self.require(not ended, f"{len(ended)} connections ended: {codes}")

    def require_talk(self, *, until: float) -> None:
        """Complain unless rooms turned degraded within 2 s of the fault, and went on until now."""
        acks = self.journal.acks("memory", since=self.began, until=until)
        first = min((ack.at - self.began for ack in acks), default=float("inf"))
        self.note(f"degraded after {first:.2f} s")
        self.require_at_most(_DEGRADED, first, "seconds until the first room is degraded")
        # Whoever says something waits for no longer than that, in any room.
        longest = max(self.journal.waits(since=self.began, until=until), default=0.0)
        self.require_at_most(_DEGRADED, longest, "seconds of the longest wait for an ack")
        silent = {ack.room for ack in self.journal.acks(until=self.began)} - {ack.room for ack in acks}
        self.require(not silent, f"rooms without an ack while Redis is away: {sorted(silent)}", late=True)
        # As many as ever; half of that, to leave a machine some air.
        expected = 0.5 * self.fault.rate * (until - self.began - first)
        self.require_at_least(expected, len(acks), "acks while Redis is away")

    async def wait_normal(self) -> None:
        """Wait until each room has what is said in Redis, or complain; it must be so within 5 s of the end.

        The verdict then looks that it stays so. Cancelling is safe.
        """
        rooms = {ack.room for ack in self.journal.acks(until=self.began)}

        def normal() -> bool:
            latest = {ack.room: ack for ack in self.journal.acks(since=self.over)}
            return all(room in latest and latest[room].durability != "memory" for room in rooms)

        await self.wait_until(normal, NORMAL - (trio.current_time() - self.over), "rooms are as before")
        self.note(f"normal {trio.current_time() - self.over:.1f} s after the end")
        await trio.sleep_until(self.over + NORMAL)

    def require_no_errors(self, *, besides: Container[int] = ()) -> None:
        """Complain about requests since the fault began that were not acknowledged, besides these operations."""
        failed: list[Fail | Unknown] = [*self.journal.of(Fail, since=self.began)]
        failed += self.journal.of(Unknown, since=self.began)
        failed = [one for one in failed if one.op not in besides]
        late = all(isinstance(entry, Unknown) and entry.why == "timeout" for entry in failed)
        what = f"{len(failed)} requests were not acknowledged at once: {failed[:3]}"
        self.require(not failed, what, late=late)

    def require_no_memory(self, *, since: float | None = None) -> None:
        """Complain, of something late, if an ack said `memory` though Redis was there.

        Since the fault began or since then. It does if Redis has not answered within REDIS_TIMEOUT.
        """
        acks = self.journal.acks("memory", since=self.began if since is None else since)
        self.require(not acks, f"{len(acks)} acks said `memory`", late=True)

    def joins(self) -> dict[str, Join]:
        """Return who has come back since the fault began, and how the last time."""
        return {join.client: join for join in self.journal.of(Join, since=self.began)}

    async def wait_back(self, *, since: float, patience: float = 10.0) -> dict[str, Join]:
        """Wait until everybody is back within so many seconds since then, or complain. Returns how they came.

        Cancelling is safe.
        """
        clients = {client.name for client in self.load.clients}
        left = patience - (trio.current_time() - since)
        await self.wait_until(lambda: clients <= self.joins().keys(), left, "everybody is back")
        joins = {name: join for name, join in self.joins().items() if name in clients}
        took = max((join.at for join in joins.values()), default=since) - since
        self.note(f"all {len(joins)} are back after {took:.1f} s")
        self.require_at_most(patience, took, "seconds until everybody is back")
        return joins

    async def wait_until(self, condition: Callable[[], bool], patience: float, what: str) -> float:
        """Wait until something holds, or complain. Returns how long it took. Cancelling is safe."""
        began = trio.current_time()
        holds = await until(condition, patience) or await until(condition, self.grace)
        took = trio.current_time() - began
        self._require_within(patience, took if holds else None, what)
        return took

    async def look_into(self, room: str) -> int:
        """Look into a room as somebody new, or complain. Returns how many messages are seen. Cancelling is safe."""
        began = trio.current_time()
        try:
            seen = await see(self.machine.port, room, self.journal)
        except Gone:
            self.require(False, f"nobody new can enter {room}")
            return 0
        self.require_at_most(NORMAL, trio.current_time() - began, f"seconds until somebody new is in {room}")
        return seen

    async def archived(self, patience: float) -> float:
        """Wait until the archive has all that was acknowledged by now, or complain. Returns how long it took."""
        began = trio.current_time()
        tops = self.journal.tops()
        took: float | None = None
        while took is None and trio.current_time() - began < patience + self.grace:
            with suppress(RuntimeError, trio.TooSlowError):
                found = await read_tops(self.machine)
                if all(found.get(session, 0) >= top for session, top in tops.items()):
                    took = trio.current_time() - began
                    break
            await trio.sleep(0.1)
        self._require_within(patience, took, "everything is archived")
        return trio.current_time() - began

    async def ended(self, patience: float) -> int | None:
        """Wait until the server has ended, or complain. Returns its exit code, None if it does not. Cancelling is safe."""
        began = trio.current_time()
        code = await self.machine.server.ended(patience + self.grace)
        took = None if code is None else trio.current_time() - began
        self._require_within(patience, took, "the server has ended")
        return code

    def _require_within(self, patience: float, took: float | None, what: str) -> None:
        """Complain unless something took no longer than this; None if it never came."""
        if took is None:
            self.require(False, f"not within {patience + self.grace:g} s: {what}")
        else:
            self.require_at_most(patience, took, f"seconds until {what}")

    def recovery(self) -> float:
        """Return how long after the fault something was last not as it should be."""
        odd = [*self.journal.slow(_SLOW)]
        own = {client.name for client in self.load.clients}
        odd += [close.at for close in self.journal.of(Close) if close.client in own]
        odd += [entry.at for kind in (Fail, Unknown) for entry in self.journal.of(kind)]
        odd += [ack.at for ack in self.journal.acks("memory")]
        return max([at - self.over for at in odd], default=0.0)
