"""Faults with real processes, each at its stated load: see docs/reliability.md.

A fault takes 8 to 80 seconds, all of them a quarter of an hour. So a plain run of the suite has a selection, one fault of each
kind and the controls; BATTERY=all has all of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from trio_chat.testing.battery.faults import ALL
from trio_chat.testing.battery.perform import perform
from trio_chat.testing.battery.report import details

if TYPE_CHECKING:
    from trio_chat.testing.battery.fault import Fault

ALWAYS = {"R2", "S1", "S3", "K1", "K2"}
CHOSEN = [fault for fault in ALL if fault.code in ALWAYS or os.environ.get("BATTERY") == "all"]


@pytest.mark.parametrize("fault", CHOSEN, ids=lambda fault: fault.code)
async def test_what_must_hold_does(fault: Fault) -> None:
    """Nothing is lost, told twice, out of order or in the wrong room; a control is found out."""
    outcome = await perform(fault)

    assert outcome.held, details([outcome])


def test_every_fault_has_a_code_of_its_own() -> None:
    """They name the rows of the report."""
    codes = [fault.code for fault in ALL]

    assert len(set(codes)) == len(codes)
    assert set(codes) >= ALWAYS
