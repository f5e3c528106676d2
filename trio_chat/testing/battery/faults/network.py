"""The network between the server and Redis is slow, cuts things to pieces, resets, swallows, or is a black hole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_chat.testing.battery.fault import Fault
from trio_chat.testing.battery.journal import percentile
from trio_chat.testing.battery.toxics import Toxics

if TYPE_CHECKING:
    from trio_chat.testing.battery.scene import Scene

_LONG = 5.0
# A call that waits in vain is given up after REDIS_TIMEOUT, 1 s; a turn may have to wait for the one before it.
_BOUND = 2.5


async def _pass_through(scene: Scene, requests: Toxics, replies: Toxics) -> None:
    """Let bytes suffer for a while. Acks must come within a bound meanwhile, and nobody may be disconnected."""
    proxy = scene.machine.redis_proxy
    began = scene.begin()
    proxy.requests, proxy.replies = requests, replies
    await trio.sleep(_LONG)
    proxy.heal()
    over = scene.heal()
    await scene.wait_normal()
    during = scene.journal.waits(since=began, until=over)
    scene.note(f"acks meanwhile: median {percentile(during, 0.5) * 1000:.0f} ms, longest {max(during):.2f} s")
    scene.require_at_most(_BOUND, max(during), "seconds of the longest wait for an ack")
    scene.require_calm()


async def slow(scene: Scene) -> None:
    """R8: everything takes 300 ms, there and back together."""
    await _pass_through(scene, Toxics(latency=0.15), Toxics(latency=0.15))


async def sliced(scene: Scene) -> None:
    """R8: every byte comes alone."""
    await _pass_through(scene, Toxics(piece=1), Toxics(piece=1))


async def reset(scene: Scene) -> None:
    """R8: connections are reset in the middle of replies, again and again."""
    proxy = scene.machine.redis_proxy
    before = proxy.statistics().resets
    await _pass_through(scene, Toxics(), Toxics(cut=(50, 1500)))
    resets = proxy.statistics().resets - before
    scene.note(f"{resets} resets")
    scene.require_at_least(3, resets, "resets")


async def hole(scene: Scene) -> None:
    """R8: nothing passes; all of it arrives when the hole is closed."""
    await _pass_through(scene, Toxics(hole=True), Toxics(hole=True))


async def swallowed(scene: Scene) -> None:
    """R8: Redis does what it is told, and its replies disappear."""
    await _pass_through(scene, Toxics(), Toxics(swallow=True))


NETWORK = (
    Fault("R8", "network to Redis: 300 ms latency", slow),
    Fault("R8b", "network to Redis: 1-byte slices", sliced),
    Fault("R8c", "network to Redis: resets within replies", reset),
    Fault("R8d", "network to Redis: black hole", hole),
    Fault("R8e", "network to Redis: replies swallowed", swallowed),
)
