"""What must fail: the battery finds what there is to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_chat.testing.battery.fault import Fault
from trio_chat.testing.battery.faults.clients_gone import SLOW_READERS, compare
from trio_chat.testing.battery.faults.redis_gone import without_persistence
from trio_chat.testing.battery.toxics import Toxics

if TYPE_CHECKING:
    from trio_chat.testing.battery.scene import Scene

_NAIVE = ("-m", "trio_chat.testing.battery.naive")


async def repeated(scene: Scene) -> None:
    """Connections are reset in the middle of replies. A driver that repeats by itself stores messages several times."""
    proxy = scene.machine.redis_proxy
    scene.begin()
    proxy.replies = Toxics(cut=(200, 400))
    await trio.sleep(5)
    proxy.heal()
    scene.heal()


async def told_by_each(scene: Scene) -> None:
    """Replies take their time, some more than others. Whoever tells a room as soon as it has one tells out of order."""
    proxy = scene.machine.redis_proxy
    scene.begin()
    proxy.replies = Toxics(jitter=0.3)
    await trio.sleep(3)
    proxy.heal()
    scene.heal()


async def waited_for(scene: Scene) -> None:
    """Readers that do not read, as in C2, before a server that waits 20 ms for them each time it has something to say."""
    scene.begin()
    await compare(scene, 1)


CONTROLS = (
    Fault(
        "K1",
        "no AOF, Redis and server killed: loses",
        without_persistence,
        valkey={"appendonly": "no"},
        # No sync saves what it is to lose.
        settings={"session-sync-interval-seconds": "60"},
        control="lost",
    ),
    Fault("K2", "driver retries: duplicates", repeated, program=_NAIVE, control="duplicate"),
    Fault("K3", "naive broadcast: reorders", told_by_each, program=_NAIVE, control="order"),
    Fault(
        "K4",
        "waiting for slow readers: is late",
        waited_for,
        program=("-m", "trio_chat.testing.battery.waiting"),
        settings=SLOW_READERS,
        control="late",
    ),
)
