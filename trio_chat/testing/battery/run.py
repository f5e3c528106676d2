"""A run of many faults, some side by side.

1. Each fault has a process of its own (`worker`), so that the clients of one do not wait for those of another.
2. Those that measure most finely are performed one at a time, when all others are over.
3. At last, and one at a time too, those that were late: once more, and that counts (`fault`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio
from typing_extensions import override

from trio_chat.stores.files import read_text
from trio_chat.testing.battery.fault import Outcome, again, unperformed
from trio_chat.testing.battery.processes import Server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trio_chat.testing.battery.fault import Fault

_FAREWELL = 10.0  # seconds for a worker to end all its servers
_SHOWN = 1000


class Watch(Protocol):
    """Who wants to know how a run gets on."""

    def begins(self, fault: Fault) -> None:
        """A fault is performed from now on."""

    def ends(self, fault: Fault, outcome: Outcome) -> None:
        """A fault is over. If it was late it will begin once more."""


class Run:
    """See the module. Lives as long as `perform`.

    Args:
        faults: which ones.
        jobs: how many of them at a time.
        watch: whom to tell.
        do: performs one.
    """

    def __init__(
        self, faults: Sequence[Fault], jobs: int, watch: Watch, do: Callable[[Fault], Awaitable[Outcome]]
    ) -> None:
        self.faults = faults
        self._limit = trio.CapacityLimiter(jobs)
        self._watch = watch
        self._do = do
        self._outcomes: dict[str, Outcome] = {}

    @override
    def __repr__(self) -> str:
        return f"<Run of {len(self.faults)} faults, {len(self._outcomes)} over>"

    @property
    def outcomes(self) -> list[Outcome]:
        """What has come of the faults so far, in their order."""
        return [self._outcomes[fault.code] for fault in self.faults if fault.code in self._outcomes]

    async def perform(self) -> None:
        """Perform them all. Cancelling ends those that go on; what came of the others stays."""
        async with trio.open_nursery() as nursery:
            for fault in self.faults:
                if not fault.alone:
                    await self._limit.acquire_on_behalf_of(fault.code)
                    nursery.start_soon(self._perform_beside, fault, name=f"fault {fault.code}")
        for fault in self.faults:
            if fault.alone:
                await self._perform(fault)
        for fault in self.faults:
            if self._outcomes[fault.code].late:
                await self._perform(fault)

    async def _perform_beside(self, fault: Fault) -> None:
        try:
            await self._perform(fault)
        finally:
            self._limit.release_on_behalf_of(fault.code)

    async def _perform(self, fault: Fault) -> None:
        self._watch.begins(fault)
        outcome = await self._do(fault)
        if fault.code in self._outcomes:
            outcome = again(self._outcomes[fault.code], outcome)
        self._outcomes[fault.code] = outcome
        self._watch.ends(fault, outcome)


async def perform_apart(fault: Fault, *, logs: Path | None = None) -> Outcome:
    """Perform a fault in a process of its own. Cancelling ends it and all its servers.

    Args:
        fault: which one.
        logs: a directory for the servers' logs of what does not hold.
    """
    began = trio.current_time()
    with tempfile.TemporaryDirectory(prefix="battery-", ignore_cleanup_errors=True) as directory:
        file = Path(directory, "outcome.json")
        worker = Server(Path(directory), _command(fault, file, logs))
        worker.spawn()
        try:
            await worker.ended(float("inf"))
        finally:
            with trio.CancelScope(shield=True):
                worker.send(SIGINT)
                await worker.ended(_FAREWELL)
            worker.kill()
        if written := read_text(file):
            return msgspec.json.decode(written, type=Outcome)
        what = f"could not be performed: {worker.said[-_SHOWN:]}"
        return unperformed(fault, what, late=False, seconds=trio.current_time() - began)


def _command(fault: Fault, file: Path, logs: Path | None) -> list[str]:
    command = ["-m", "trio_chat.testing.battery.worker", fault.code, str(file)]
    # It runs in another directory.
    return [*command, str(logs.absolute())] if logs is not None else command
