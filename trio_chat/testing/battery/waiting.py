"""A trio-chat server that waits for clients that do not read: ``python -m trio_chat.testing.battery.waiting serve ...``.

As one would that sends to a room's members one after the other, each with a timeout. A control of the battery: it shows
that what slow readers cost the others is noticed.
"""

from __future__ import annotations

import runpy
import time
from typing import Any

from trio_chat.clients.outbox import Outbox

_TIMEOUT = 0.02

_wait = getattr(Outbox, "_wait")  # noqa: B009 - nobody else's business


def _wait_for_it(outbox: Outbox, *given: Any, **named: Any) -> None:
    # The planted fault: the whole server stands still meanwhile.
    time.sleep(_TIMEOUT)
    _wait(outbox, *given, **named)


if __name__ == "__main__":
    setattr(Outbox, "_wait", _wait_for_it)  # noqa: B010
    runpy.run_module("trio_chat", run_name="__main__", alter_sys=True)
