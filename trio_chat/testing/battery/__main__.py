"""Run the battery: ``python -m trio_chat.testing.battery [FAULT ...] [--report FILE]``."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from trio_chat.screen import Screen
from trio_chat.testing.battery.faults import ALL
from trio_chat.testing.battery.perform import perform
from trio_chat.testing.battery.report import page, row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.testing.battery.fault import Outcome

_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run faults and print the report. Returns 1 if something does not hold, 130 if interrupted."""
    given = _parser().parse_args(argv)
    faults = [fault for fault in ALL if not given.faults or fault.code in given.faults]
    outcomes: list[Outcome] = []
    interrupted = False
    try:
        with Screen(alive=True) as screen:
            for done, fault in enumerate(faults):
                screen.show(f"{fault.code} {fault.title}", done / len(faults), f"{done} of {len(faults)}")
                outcomes.append(trio.run(partial(perform, fault, keep=given.logs)))
                _tell(outcomes[-1], screen)
                if given.report is not None:  # what there is stays, however a long run ends
                    given.report.write_text(page(outcomes))
    except* KeyboardInterrupt:  # it comes out of the nurseries it has ended
        interrupted = True
    if given.report is None and outcomes:
        sys.stdout.write(page(outcomes))
    if interrupted:
        return _INTERRUPTED
    return 0 if all(outcome.held for outcome in outcomes) else 1


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {fault.code:4}  {fault.title}" for fault in ALL)
    parser = argparse.ArgumentParser(
        prog="python -m trio_chat.testing.battery",
        description="Break real servers under load, and see what holds. See docs/reliability.md.",
        epilog=f"faults (the K are controls, which must be found out):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    codes = [fault.code for fault in ALL]
    parser.add_argument("faults", nargs="*", metavar="FAULT", choices=[*codes, []], help="which ones [all]")
    parser.add_argument("--report", type=Path, help="where to write the table [standard output]")
    parser.add_argument("--logs", type=Path, help="a directory for the servers' logs of what does not hold")
    return parser


def _tell(outcome: Outcome, screen: Screen) -> None:
    screen.tell(f"{outcome.code:4} {outcome.title}: {row(outcome)[-1]}, {outcome.summary}")
    for complaint in outcome.complaints:
        screen.tell(f"     {complaint}")


if __name__ == "__main__":
    sys.exit(main())
