"""Try seeds, or replay a plan: ``python -m trio_chat.testing.simulate --seeds 2000``.

A seed that finds something is printed, its plan made smaller, printed and, with ``--keep``, written down. The exit
status is 1 then.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trio_chat.screen import Screen
from trio_chat.testing.simulation import Plan, plan_of, run_plan, shrink
from trio_chat.testing.simulation.many import Failed, failures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.testing.verdict import Kind

# How much of what a seed finds is shown; a replay shows everything.
_SHOWN = 5
_LONGEST = 500


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    options = _parser().parse_args(arguments)
    excuse = not options.strict
    if options.replay is not None:
        plan = msgspec.json.decode(options.replay.read_bytes(), type=Plan)
        outcome = run_plan(plan, excuse_reuse=excuse)
        _say(outcome.story())
        return 1 if outcome.findings else 0
    return _try(options, excuse_reuse=excuse)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trio_chat.testing.simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many to try (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=None, help="processes to use (default: one a core)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where to write the plans that fail")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="let a plan that was kept happen again")
    parser.add_argument(
        "--strict", action="store_true", help="do not excuse seqs that are used again after a kill"
    )
    return parser


def _try(options: argparse.Namespace, *, excuse_reuse: bool) -> int:
    seeds = range(options.first, options.first + options.seeds)
    began = time.perf_counter()
    done = failed = 0
    with Screen(alive=True) as screen:

        def show(stage: str = "trying seeds") -> None:
            screen.show(stage, done / max(len(seeds), 1), f"{done} of {len(seeds)}, {failed} failed")

        def watch(tried: int) -> None:
            nonlocal done
            done = tried
            show()

        show()
        for failure in failures(seeds, jobs=options.jobs, excuse_reuse=excuse_reuse, watch=watch):
            failed += 1
            show(f"making seed {failure.seed} smaller")
            _tell(failure, options.keep, excuse_reuse=excuse_reuse)
            show()
    took = time.perf_counter() - began
    _say(f"{len(seeds)} seeds in {took:.1f} s, {failed} failed")
    return 1 if failed else 0


def _tell(failure: Failed, keep: Path | None, *, excuse_reuse: bool) -> None:
    """Print what a seed finds, make its plan smaller, print that and keep it."""
    rest = len(failure.findings) - _SHOWN
    more = [f"... and {rest} more"] if rest > 0 else []
    _say(f"seed {failure.seed} finds:", *(found[:_LONGEST] for found in failure.findings[:_SHOWN]), *more)
    plan = smaller(plan_of(failure.seed), excuse_reuse=excuse_reuse)
    _say("It needs no more than:", *(f"    {item}" for item in plan.items))
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        path = keep / f"seed-{failure.seed}.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(plan)))
        _say(f"kept as {path}")


def smaller(plan: Plan, *, excuse_reuse: bool = True) -> Plan:
    """Return a smaller plan that fails in a way in which this one does."""
    kinds: set[Kind] = {finding.kind for finding in run_plan(plan, excuse_reuse=excuse_reuse).findings}
    return shrink(plan, partial(_fails, kinds, excuse_reuse))


def _fails(kinds: set[Kind], excuse_reuse: bool, plan: Plan) -> bool:
    found = run_plan(plan, excuse_reuse=excuse_reuse).findings
    return any(finding.kind in kinds for finding in found)


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
