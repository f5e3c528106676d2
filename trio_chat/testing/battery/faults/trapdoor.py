"""How faults reach the inside of a server: `trio_chat.testing.battery.trapped`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from trio_chat.testing.battery.wire import Wire

if TYPE_CHECKING:
    from trio_chat.testing.battery.scene import Scene

TRAPPED = ("-m", "trio_chat.testing.battery.trapped")


async def count_tasks(scene: Scene) -> int:
    """Return how many tasks the server has. It must be one with trapdoors."""
    file = scene.machine.directory / "tasks"
    file.unlink(missing_ok=True)
    await say_once(scene.machine.port, f"!tasks {file}")
    return int(file.read_text())


async def say_once(port: int, content: str, room: str = "trapdoor") -> dict[str, Any]:
    """Say something in a room of its own, and return the answer. Raises `Gone` and `trio.TooSlowError`."""
    wire = await Wire.open(port)
    try:
        await wire.say("hello", user="trapper")
        await wire.say("room:join", room=room)
        await wire.say("message:send", room=room, content=content, ref="trap")
        with trio.fail_after(10):
            while True:
                for said in await wire.receive():
                    if said.get("ref") == "trap":
                        return said
    finally:
        wire.abort()
