"""One fault from beginning to end: the machine, the load, what is done to them, and what came of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from signal import SIGTERM
from typing import TYPE_CHECKING

import trio

from trio_chat.testing.battery.contents import look
from trio_chat.testing.battery.fault import Fault, Outcome
from trio_chat.testing.battery.journal import percentile
from trio_chat.testing.battery.load import open_load
from trio_chat.testing.battery.machine import Machine, open_machine
from trio_chat.testing.battery.scene import Scene
from trio_chat.testing.verdict import Contents, judge

if TYPE_CHECKING:
    from trio_chat.testing.verdict import Verdict

BEFORE = 3.0
"""Seconds of load before the fault."""
AFTER = 3.0
"""Seconds of load after it is over."""
SETTLE = 10.0
"""Seconds within which everybody must then have all answers and know what everybody knows."""
STOP = 10.0
"""Seconds a server may take to stop in order."""
WINDOW = 1000
"""How many messages a window has."""


async def perform(fault: Fault, *, keep: Path | None = None, within: Path | None = None) -> Outcome:
    """Perform a fault on a machine of its own. Cancelling ends all its processes.

    Args:
        fault: which one.
        keep: where to leave the servers' logs if something does not hold.
        within: a directory in which to have one for a while.
    """
    began = trio.current_time()
    with tempfile.TemporaryDirectory(prefix="fault-", dir=within, ignore_cleanup_errors=True) as directory:
        opened = open_machine(
            Path(directory), valkey=fault.valkey, settings=fault.settings, program=fault.program
        )
        async with opened as machine:
            outcome = await _perform(fault, machine, began)
            if keep is not None and not outcome.held:
                _keep_log(keep / f"{fault.code}.log", machine)
    return outcome


def _keep_log(file: Path, machine: Machine) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(machine.server.said)


async def _perform(fault: Fault, machine: Machine, began: float) -> Outcome:
    async with trio.open_nursery() as nursery:
        opened = open_load(lambda: machine.port, rooms=fault.rooms, clients=fault.clients, rate=fault.rate)
        async with opened as load:
            scene = Scene(fault, machine, load, nursery)
            await trio.sleep(BEFORE)
            scene.begin()
            await fault.do(scene)
            await trio.sleep(AFTER)
            running = await _settle(scene)
            entries = list(load.journal.entries)
        stopped = await _end(scene)
        nursery.cancel_scope.cancel()
    well = fault.control is None
    verdict = judge(entries, stopped, limit=WINDOW, settled=well, once=True, earlier=[running])
    return _outcome(scene, verdict, trio.current_time() - began)


async def _settle(scene: Scene) -> Contents:
    """Let nobody say anything new, wait until all is quiet, and look at everything."""
    load = scene.load
    load.quieten()
    await scene.wait_until(lambda: not load.unsettled(), SETTLE, "everybody knows everything")
    if left := load.unsettled():
        scene.note(f"do not know everything: {left[:3]}")
    for room in load.rooms:
        await scene.look_into(room)
    return await look(scene.machine)


def _outcome(scene: Scene, verdict: Verdict, seconds: float) -> Outcome:
    fault, journal = scene.fault, scene.journal
    before = journal.waits(until=scene.began)
    return Outcome(
        code=fault.code,
        title=fault.title,
        verdict=verdict,
        complaints=tuple(scene.complaints),
        notes=tuple(scene.notes),
        recovery=max(scene.recovery(), 0.0),
        latency=(percentile(before, 0.5), percentile(before, 0.99), max(journal.waits(), default=0.0)),
        load=fault.load,
        seconds=seconds,
        control=fault.control,
    )


async def _end(scene: Scene) -> Contents:
    """Stop the server in order, and return what the stores have then."""
    machine = scene.machine
    if machine.server.pid is not None and scene.fault.control is None:
        machine.server.send(SIGTERM)
        code = await scene.ended(STOP)
        scene.require(code == 0, f"the server ended with exit status {code}")
    if not scene.tolerates_crashes:
        said = machine.server.said
        scene.require("Traceback" not in said, f"the server logged an exception: {_excerpt(said)}")
    return await look(machine)


def _excerpt(said: str) -> str:
    start = said.find("Traceback")
    return said[max(start - 300, 0) : start + 1500]
