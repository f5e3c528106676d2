"""The report of a run: a table, a row a fault, as Markdown."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trio_chat.testing.battery.fault import Outcome
    from trio_chat.testing.verdict import Kind

_HEAD = ("", "fault", "load", "acknowledged", "lost", "duplicated", "reordered", "cross-room", "other")
_TIMES = ("recovered after", "acks before: p50, p99", "longest ack", "")
_COUNTED: tuple[Kind, ...] = ("lost", "duplicate", "order", "isolation")
# How the verdict calls what may be, by column.
_EXCUSED = ("excused", "repeated")
_LONGEST = 1000
_MOST = 10


def row(outcome: Outcome) -> tuple[str, ...]:
    """Return the cells of an outcome."""
    verdict = outcome.verdict
    counts = [verdict.count(kind) for kind in _COUNTED]
    others = len(verdict.findings) - sum(counts) + len(outcome.complaints)
    excused = [verdict.looked.get(name, 0) for name in _EXCUSED]
    told = [
        f"{count} (and {also} as said)" if also else str(count)
        for count, also in zip(counts, excused, strict=False)
    ]
    p50, p99, longest = outcome.latency
    return (
        outcome.code,
        outcome.title,
        outcome.load,
        str(verdict.looked.get("acks", 0)),
        *told,
        *map(str, counts[len(told) :]),
        str(others),
        f"{outcome.recovery:.1f} s",
        f"{p50 * 1000:.1f}, {p99 * 1000:.1f} ms",
        f"{longest:.2f} s",
        judgement(outcome),
    )


def judgement(outcome: Outcome) -> str:
    """Return what is to be thought of an outcome, in a few words."""
    if outcome.control is not None:
        return "found out" if outcome.held else "**not found out**"
    if outcome.first:
        return "held, late at first" if outcome.held else "**broken, late at first**"
    return "held" if outcome.held else "**broken**"


def table(outcomes: Iterable[Outcome]) -> str:
    """Return the table of a run."""
    lines = [_line((*_HEAD, *_TIMES)), "|" + "---|" * len((*_HEAD, *_TIMES))]
    return "\n".join([*lines, *(_line(row(outcome)) for outcome in outcomes)]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def details(outcomes: Iterable[Outcome]) -> str:
    """Return what was noted of each fault, and what does not hold."""
    parts: list[str] = []
    for outcome in outcomes:
        lines = [f"- {note}" for note in outcome.notes]
        lines += [f"- late at first: {what[:_LONGEST]}" for what in outcome.first[:_MOST]]
        # What is wrong with a control is as it must be.
        if not outcome.held:
            lines += [f"- **{complaint.what}**" for complaint in outcome.complaints]
            lines += [
                f"- **{finding.kind}: {finding.what[:_LONGEST]}**"
                for finding in sorted(outcome.verdict.findings, key=lambda finding: finding.late)[:_MOST]
            ]
        if lines:
            parts.append("\n".join([f"{outcome.code}, {outcome.title}:", "", *lines]))
    return "\n\n".join(parts) + "\n"


def page(outcomes: Sequence[Outcome], *, seconds: float, jobs: int = 1) -> str:
    """Return the whole report.

    Args:
        outcomes: what has come of the faults.
        seconds: how long the run took,
        jobs: which performed so many at a time.
    """
    side = f", {jobs} at a time," if jobs > 1 else ""
    where = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    told = f"{len(outcomes)} faults in {seconds / 60:.1f} minutes{side} on {where}."
    return f"{table(outcomes)}\n{told}\n\n{details(outcomes)}"
