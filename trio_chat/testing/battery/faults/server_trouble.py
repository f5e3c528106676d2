"""The server fails from within: an actor crashes, the loop is blocked, descriptors run out."""

from __future__ import annotations

import resource
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio

from trio_chat.testing.battery.fault import Fault
from trio_chat.testing.battery.faults.trapdoor import TRAPPED, say_once
from trio_chat.testing.battery.load import until
from trio_chat.testing.battery.wire import Gone, Wire
from trio_chat.testing.verdict.log import Close, Crash

if TYPE_CHECKING:
    from trio_chat.testing.battery.scene import Scene

_CRASHES = 5
_BACK = 1.0
_LATE = 50
_ACCEPTED = 8.0
_PATIENCE = 40.0  # above all that is late


async def crashed(scene: Scene) -> None:
    """S3: an exception that nobody expects, in one room's actor."""
    began = scene.begin()
    scene.tolerates_crashes = True
    room = "room-3"
    before = scene.journal.tops()
    scene.journal.note(Crash(began, room))
    answer = await say_once(scene.machine.port, "!crash", room)
    scene.require(answer.get("code") == "unavailable", f"the sender was told {answer}")
    asked = trio.current_time()
    await say_once(scene.machine.port, "!tasks /dev/null", room)
    back = trio.current_time() - asked
    over = scene.heal()
    scene.note(f"room back after {over - began:.2f} s")
    scene.require_at_most(_BACK, back, "seconds until the room is back")
    await trio.sleep(3)
    after = scene.journal.tops(since=over)
    scene.require(after.keys() == before.keys(), "the room has another session")
    scene.require_calm()


async def crashing(scene: Scene) -> None:
    """S3: five of them within a minute. That room alone is closed."""
    began = scene.begin()
    scene.tolerates_crashes = True
    room = "room-3"
    codes = [await _crash(scene, room) for _ in range(_CRASHES - 1)]
    scene.require_calm()
    codes.append(await _crash(scene, room))
    scene.heal()
    await trio.sleep(3)
    where = {client.name: client.room for client in scene.load.clients}
    closed = {where[close.client] for close in scene.journal.of(Close, since=began) if close.client in where}
    scene.note(f"answers: {codes}")
    expected = ["unavailable"] * (_CRASHES - 1) + ["room_closed"]
    scene.require(codes == expected, f"the senders were told {codes}, expected {expected}")
    scene.require(closed == {room}, f"connections ended in {sorted(closed)}, expected {room} alone")


async def _crash(scene: Scene, room: str) -> object:
    """Crash a room once. Returns the code that the sender is told."""
    scene.journal.note(Crash(trio.current_time(), room))
    return (await say_once(scene.machine.port, "!crash", room)).get("code")


async def blocked(scene: Scene) -> None:
    """S4: the whole process does nothing for two seconds. Nobody is dropped."""
    scene.begin()
    await say_once(scene.machine.port, "!block 2")
    scene.heal()
    await trio.sleep(3)
    scene.require_calm()


async def out_of_descriptors(scene: Scene) -> None:
    """S4: no more descriptors (EMFILE) for two seconds, while fifty want to come in."""
    server = scene.machine.server
    scene.begin()
    assert server.pid is not None  # noqa: S101 - it serves all these clients
    limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (server.descriptors + 5, limits[1]))
    came: list[float] = []
    async with trio.open_nursery() as nursery:
        for number in range(_LATE):
            nursery.start_soon(_come, scene.machine.port, f"late-{number}", came)
        await trio.sleep(2)
        early = len(came)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        over = scene.heal()
    scene.note(
        f"{early} came in meanwhile, the last {max(came, default=over) - over:.1f} s after it was over"
    )
    scene.require(early < _LATE, "descriptors did not run out")
    scene.require(len(came) == _LATE, f"only {len(came)} of {_LATE} came in")
    scene.require_at_most(_ACCEPTED, max(came, default=over) - over, "seconds until all of them are in")
    scene.require_calm()


async def _come(port: int, name: str, came: list[float]) -> None:
    """Come in and stay until all others have, or it takes too long."""
    try:
        async with AsyncExitStack() as stack:
            wire = await Wire.open(port, patience=_PATIENCE)
            stack.callback(wire.abort)
            await wire.say("hello", user=name)
            with trio.move_on_after(_PATIENCE):
                await wire.receive()
                came.append(trio.current_time())
            await until(lambda: len(came) == _LATE, _PATIENCE)
    except Gone:
        return


SERVER_TROUBLE = (
    Fault("S3", "server: an actor crashes", crashed, program=TRAPPED),
    Fault("S3b", "server: an actor crashes in a loop", crashing, program=TRAPPED),
    Fault(
        "S4",
        "server: loop blocked 2 s",
        blocked,
        program=TRAPPED,
        # Shorter than the block: what came meanwhile must be read before anybody is judged.
        settings={"ping-interval-seconds": "0.5", "ping-timeout-seconds": "0.5"},
    ),
    Fault("S4b", "server: EMFILE for 2 s", out_of_descriptors),
)
