"""Run the battery: ``python -m trio_chat.testing.battery [FAULT ...] [--jobs N] [--report FILE] [--logs DIR]``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from trio_chat.testing.battery.faults import ALL
from trio_chat.testing.battery.progress import ProgressWatch
from trio_chat.testing.battery.report import page
from trio_chat.testing.battery.run import Run, perform_apart

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERRUPTED = 130
_MOST = 8  # each has a Valkey, a Postgres and servers, with some 300 MB

_TEXT = """\
Break real servers under load, and see what holds.

Each fault has a Valkey, a Postgres, a server and 200 clients to itself, all on
127.0.0.1. The clients talk, the fault is injected and healed; then everything that
anybody was told is compared with everything that is stored. docs/reliability.md
says what must hold, and what came of a run.
"""
_EXAMPLES = """\
examples:
  python -m trio_chat.testing.battery                      all of it: 8 minutes on 2 cores
  python -m trio_chat.testing.battery R1 S1 --logs logs    two of them, with the server's log
                                                           of what does not hold
  python -m trio_chat.testing.battery --report report.md   the table into a file

What is wrong counts whenever it is seen: lost, duplicated, reordered, in the wrong room,
and the like. What is only late, as things are on a machine that is busy with something
else, is performed once more by itself at the end, and that counts; the table says so.

exit status: 0 everything holds, 1 something does not, 2 not understood, 130 interrupted

faults (the K are controls, systems that are wrong, which must be found out):
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run faults and print the report. Returns the exit status."""
    given = _parser().parse_args(argv)
    faults = [fault for fault in ALL if not given.faults or fault.code in given.faults]
    began = time.monotonic()
    with ProgressWatch(len(faults), given.jobs, sys.stderr) as watch:
        run = Run(faults, given.jobs, watch, partial(perform_apart, logs=given.logs))
        interrupted = False
        try:
            trio.run(run.perform)
        except* KeyboardInterrupt:
            interrupted = True
    if run.outcomes:
        report = page(run.outcomes, seconds=time.monotonic() - began, jobs=given.jobs)
        if given.report is None:
            sys.stdout.write(report)
        else:
            given.report.write_text(report)
    if interrupted:
        return _INTERRUPTED
    return 0 if all(outcome.held for outcome in run.outcomes) else 1


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {fault.code:4} {fault.title}" for fault in ALL)
    parser = argparse.ArgumentParser(
        prog="python -m trio_chat.testing.battery",
        description=_TEXT,
        epilog=_EXAMPLES + listed,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    codes = [fault.code for fault in ALL]
    parser.add_argument("faults", nargs="*", metavar="FAULT", choices=[*codes, []], help="which ones [all]")
    jobs = min(len(os.sched_getaffinity(0)), _MOST)
    parser.add_argument(
        "--jobs", type=_count, default=jobs, metavar="N", help="how many at a time [one a core: %(default)s]"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="where to write the table [standard output]"
    )
    parser.add_argument(
        "--logs", type=Path, metavar="DIR", help="where to leave the servers' logs of what does not hold"
    )
    return parser


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("expected at least 1")
    return count


if __name__ == "__main__":
    sys.exit(main())
