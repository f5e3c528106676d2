"""Run the battery: ``python -m trio_chat.testing.battery [FAULT ...] [--report FILE]``."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from trio_chat.testing.battery.faults import ALL
from trio_chat.testing.battery.perform import perform
from trio_chat.testing.battery.report import page, row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.testing.battery.fault import Fault, Outcome

_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run faults and print the report. Returns 1 if something does not hold, 130 if interrupted."""
    given = _parser().parse_args(argv)
    faults = [fault for fault in ALL if not given.faults or fault.code in given.faults]
    outcomes: list[Outcome] = []
    try:
        for fault in faults:
            outcomes.append(trio.run(partial(_run, fault, given.logs)))
            if given.report is not None:  # what there is stays, however a long run ends
                given.report.write_text(page(outcomes))
    except KeyboardInterrupt:
        return _INTERRUPTED
    if given.report is None:
        sys.stdout.write(page(outcomes))
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


async def _run(fault: Fault, logs: Path | None) -> Outcome:
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, transient=True, disable=not sys.stderr.isatty()) as progress:
        progress.add_task(f"{fault.code} {fault.title}")
        outcome = await perform(fault, keep=logs)
    _say(f"{fault.code:4} {fault.title}: {row(outcome)[-1]}, {outcome.summary}")
    for complaint in outcome.complaints:
        _say(f"     {complaint}")
    return outcome


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
