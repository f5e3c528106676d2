"""The battery's table and what stands below it."""

from __future__ import annotations

from typing import Any

from trio_chat.testing.battery.fault import Outcome
from trio_chat.testing.battery.report import details, page, row, table
from trio_chat.testing.verdict import Finding, Kind, Verdict


def outcome(*findings: Kind, **fields: Any) -> Outcome:
    """What came of a fault, with findings of these kinds."""
    made: dict[str, Any] = {
        "code": "R1",
        "title": "Redis: killed",
        "verdict": Verdict(tuple(Finding(kind, 0.0, "what it was") for kind in findings), {"acks": 1300}),
        "complaints": (),
        "notes": ("degraded after 0.01 s",),
        "recovery": 0.66,
        "latency": (0.0018, 0.0055, 0.61),
        "load": "20 x 10, 100/s",
        "seconds": 14.6,
    }
    return Outcome(**(made | fields))


def test_a_row_has_what_was_counted() -> None:
    """In the order of the head."""
    cells = row(outcome())

    assert cells[:9] == ("R1", "Redis: killed", "20 x 10, 100/s", "1300", "0", "0", "0", "0", "0")
    assert cells[9:] == ("0.7 s", "1.8, 5.5 ms", "0.61 s", "held")


def test_findings_are_counted_by_kind() -> None:
    """What has no column of its own is other, and so is what a fault promises beyond the checker."""
    cells = row(outcome("lost", "lost", "duplicate", "order", "window", complaints=("a ping came late",)))

    assert cells[4:9] == ("2", "1", "1", "0", "2")
    assert cells[-1] == "**broken**"


def test_what_may_be_is_told_apart() -> None:
    """Beside what may not be."""
    excused = outcome(verdict=Verdict((), {"acks": 700, "excused": 11, "repeated": 2}))

    assert row(excused)[4:6] == ("0 (and 11 as said)", "0 (and 2 as said)")
    assert excused.held


def test_a_control_must_be_found_out() -> None:
    """By the kind of finding that it is for."""
    assert row(outcome("lost", control="lost"))[-1] == "found out"
    assert row(outcome("window", control="lost"))[-1] == "**not found out**"
    assert not outcome(control="lost").held


def test_table_is_markdown() -> None:
    """A head, a rule and a row each, all with as many cells."""
    lines = table([outcome(), outcome()]).splitlines()

    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1


def test_page_says_how_long_it_took_and_what_was_wrong() -> None:
    """Notes and findings stand below the table."""
    text = page([outcome("lost", complaints=("a ping came late",))])

    assert "1 faults in 0 minutes" in text
    assert "- degraded after 0.01 s" in text
    assert "- **a ping came late**" in text
    assert "- **lost: what it was**" in text


def test_what_a_control_finds_is_not_listed() -> None:
    """It is as it must be."""
    assert "lost" not in details([outcome("lost", control="lost")])


def test_summary_is_a_line() -> None:
    """Of the counts that are not zero."""
    assert outcome().summary == "clean"
    assert outcome("lost", "window", "lost").summary == "2 lost, 1 window"
