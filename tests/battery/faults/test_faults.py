"""Faults with real processes, each at its stated load: a few of those that `python -m trio_chat.testing.battery` has.

Each takes some 12 seconds, most of them stated: 3 s of load before the fault, and 3 s after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trio_chat.testing.battery.__main__ import main
from trio_chat.testing.battery.fault import again
from trio_chat.testing.battery.faults import ALL
from trio_chat.testing.battery.perform import perform
from trio_chat.testing.battery.report import details

if TYPE_CHECKING:
    from pathlib import Path

    from trio_chat.testing.battery.fault import Fault

HERE = {"R2", "K2"}


@pytest.mark.parametrize(
    "fault", [fault for fault in ALL if fault.code in HERE], ids=lambda fault: fault.code
)
async def test_what_must_hold_does(fault: Fault) -> None:
    """Nothing is lost, told twice, out of order or in the wrong room; a control is found out."""
    outcome = await perform(fault)
    if outcome.late:
        outcome = again(outcome, await perform(fault))

    assert outcome.held, details([outcome])


def test_the_command_performs_some_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how it gets on, writes the table, and ends well if everything holds."""
    status = main(["S1", "S3", "--jobs", "2", "--report", str(tmp_path / "report.md")])

    told = capsys.readouterr().err
    rows = (tmp_path / "report.md").read_text().splitlines()[2:4]
    assert status == 0, told
    assert told.startswith("2 faults, 2 at a time\n")
    assert [row[:6] for row in rows] == ["| S1 |", "| S3 |"]


def test_every_fault_has_a_code_of_its_own() -> None:
    """They name the rows of the report."""
    codes = [fault.code for fault in ALL]

    assert len(set(codes)) == len(codes)
    assert set(codes) >= HERE
