"""The battery's table and what stands below it."""

from __future__ import annotations

from typing import Any

import pytest

from trio_chat.testing.battery.fault import Complaint, Fault, Outcome, again, unperformed
from trio_chat.testing.battery.report import details, page, row, table
from trio_chat.testing.verdict import KINDS, Finding, Kind, Verdict

LATE = Complaint("a ping came late", late=True)


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
    cells = row(outcome("lost", "lost", "duplicate", "order", "window", complaints=(LATE,)))

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
    text = page([outcome("lost", complaints=(LATE,))], seconds=15.0, jobs=2)

    assert "1 faults in 0.2 minutes, 2 at a time, on " in text
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


def verdict(*findings: Finding) -> Verdict:
    """A verdict with these findings."""
    return Verdict(findings, {"acks": 1300})


SLOW = Finding("liveness", 0.0, "it took 6 s", late=True)


def test_what_was_only_slow_is_late() -> None:
    """Whether the verdict says so, the fault, or both."""
    assert outcome(complaints=(LATE,)).late
    assert outcome(verdict=verdict(SLOW)).late
    assert outcome(verdict=verdict(SLOW), complaints=(LATE,)).late


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_else_is_late(kind: Kind) -> None:
    """One finding of any kind that is not about time, and there is no second chance, however slow the rest was."""
    wrong = Finding(kind, 0.0, "it is wrong")

    assert not outcome(kind, complaints=(LATE,)).late
    assert not outcome(verdict=verdict(SLOW, wrong)).late
    assert not outcome(complaints=(LATE, Complaint("another epoch"))).late


def test_what_holds_is_not_late() -> None:
    """And a control never is: it must be found out at once."""
    assert not outcome().late
    assert not outcome(complaints=(LATE,), control="lost").late
    assert not outcome(complaints=(LATE,), control="late").late


def test_a_control_may_have_to_be_late() -> None:
    """Then nothing else will do."""
    assert outcome(complaints=(LATE,), control="late").held
    assert not outcome("lost", complaints=(Complaint("another epoch"),), control="late").held


def test_the_second_time_counts_and_the_table_says_that_there_was_a_first() -> None:
    """Whatever it was, and what had been late."""
    held = again(outcome(verdict=verdict(SLOW), complaints=(LATE,)), outcome())
    broken = again(outcome(complaints=(LATE,)), outcome("lost"))

    assert (held.held, row(held)[-1]) == (True, "held, late at first")
    assert (broken.held, row(broken)[-1]) == (False, "**broken, late at first**")
    assert "- late at first: a ping came late\n- late at first: it took 6 s" in details([held])


def test_what_could_not_be_performed_does_not_hold() -> None:
    """Neither a fault nor a control; what took too long to begin is late."""
    fault, control = Fault("R1", "", abs), Fault("K4", "", abs, control="late")

    assert not unperformed(fault, "an exception", late=False, seconds=1.0).held
    assert not unperformed(fault, "an exception", late=False, seconds=1.0).late
    assert unperformed(fault, "it does not start", late=True, seconds=30.0).late
    assert not unperformed(control, "it does not start", late=True, seconds=30.0).held
