"""One fault in a process of its own: ``python -m trio_chat.testing.battery.worker R1 outcome.json [LOGS]``.

`apart` starts it. Its servers end with it, and it ends with whoever has started it (`trio_chat.stores.process`).
"""

from __future__ import annotations

import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from trio_chat.testing.battery.fault import unperformed
from trio_chat.testing.battery.faults import ALL
from trio_chat.testing.battery.perform import perform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.testing.battery.fault import Fault, Outcome


def main(argv: Sequence[str]) -> int:
    """Perform the fault, and write down what came of it, whatever that is."""
    code, file, *logs = argv
    (fault,) = (fault for fault in ALL if fault.code == code)
    within = Path(file).parent
    outcome = trio.run(partial(attempt, fault, keep=Path(logs[0]) if logs else None, within=within))
    Path(file).write_bytes(msgspec.json.encode(outcome))
    return 0


async def attempt(fault: Fault, *, keep: Path | None = None, within: Path | None = None) -> Outcome:
    """Perform a fault; see `perform`. What cannot be performed to its end does not hold."""
    began = trio.current_time()
    try:
        return await perform(fault, keep=keep, within=within)
    except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this fault alone
        traceback.print_exc()
        late, reasons = _is_late(error), "; ".join(map(repr, _leaves(error)))
        seconds = trio.current_time() - began
        return unperformed(fault, f"could not be performed: {reasons}", late=late, seconds=seconds)


def _is_late(error: Exception) -> bool:
    return all(isinstance(leaf, trio.TooSlowError) for leaf in _leaves(error))


def _leaves(error: Exception) -> list[Exception]:
    """Return the exceptions within groups of them."""
    inside: tuple[Exception, ...] = getattr(error, "exceptions", ())
    return [leaf for inner in inside for leaf in _leaves(inner)] or [error]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
