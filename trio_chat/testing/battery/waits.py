"""How long people wait for acks while something goes on: what a fault that must not be noticed is judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_chat.testing.battery.journal import percentile

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.testing.battery.journal import Acked
    from trio_chat.testing.battery.scene import Scene

_ANSWERED = 5.0
_SHARE = 0.5
"""How much of the load must have acks, to leave a machine some air: the waits of few would say nothing."""


async def p99(scene: Scene, since: float, counts: Callable[[Acked], bool]) -> float:
    """Return how many milliseconds 99 in 100 waited at most for the acks of what was first said since then.

    What has no ack by now is waited for, or the longest waits would be left out. Complains if there is none within 5 s, or
    if there are too few. Cancelling is safe.

    Args:
        scene: where that was.
        since: from when on.
        counts: which of the acks count.
    """
    until = trio.current_time()
    asked = {one for client in scene.load.clients for one in client.pending}
    await scene.wait_until(
        lambda: not any(asked & client.pending.keys() for client in scene.load.clients),
        _ANSWERED,
        "everything that was said has an ack",
    )
    waits = [ack.took for ack in scene.journal.acked if since <= ack.since <= until and counts(ack)]
    scene.require_at_least(_SHARE * scene.fault.rate * (until - since), len(waits), "acks to judge waits by")
    return percentile(waits, 0.99) * 1000
