"""The battery's command: what it prints where, and with which status it ends. The faults themselves are not performed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from trio_chat.testing.battery import __main__ as command
from trio_chat.testing.battery.fault import Fault, Outcome
from trio_chat.testing.verdict import Finding, Verdict

if TYPE_CHECKING:
    from pathlib import Path

BROKEN, INTERRUPTED = "R4", "S1"


async def pretend(fault: Fault, *, keep: Path | None = None) -> Outcome:
    """Say that a fault holds, but for one; during another somebody presses Ctrl+C."""
    async with trio.open_nursery():
        if fault.code == INTERRUPTED:
            raise KeyboardInterrupt
    return Outcome(
        code=fault.code,
        title=fault.title,
        verdict=Verdict((Finding("lost", 0.0, "it"),) if fault.code == BROKEN else (), {"acks": 7}),
        complaints=("a ping came late",) if fault.code == BROKEN else (),
        notes=(),
        recovery=0.0,
        latency=(0.0, 0.0, 0.0),
        load="20 x 10, 100/s",
        seconds=1.0,
    )


@pytest.fixture(autouse=True)
def pretending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "perform", pretend)


@pytest.mark.parametrize(("codes", "status"), [(["R1"], 0), (["R1", BROKEN], 1)])
def test_the_table_is_its_output_and_the_rest_is_told_beside_it(
    capsys: pytest.CaptureFixture[str], codes: list[str], status: int
) -> None:
    """Each fault is told of when it is over, and what did not hold."""
    assert command.main(codes) == status
    said = capsys.readouterr()

    assert [line.split()[1] for line in said.out.splitlines() if line.startswith("| R")] == codes
    assert [line.split()[0] for line in said.err.splitlines() if line.startswith("R")] == codes
    assert ("     a ping came late\n" in said.err) is (BROKEN in codes)


@pytest.mark.parametrize("reported", [True, False])
def test_an_interrupt_ends_it_with_what_there_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, reported: bool
) -> None:
    """Without a traceback, and with the rows of the faults that were over."""
    report = tmp_path / "report.md"
    status = command.main(["R1", INTERRUPTED, *(["--report", str(report)] if reported else [])])
    table = report.read_text() if reported else capsys.readouterr().out

    assert status == 130
    assert "| R1 |" in table
    assert f"| {INTERRUPTED} |" not in table


def test_without_hypothesis_it_says_what_to_install() -> None:
    """The kit's strategies need it, and whoever runs the battery may have none. Starting a Python takes a moment."""
    program = "import sys; sys.modules['hypothesis'] = None; import trio_chat.testing.battery"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert done.returncode == 1
    assert "pip install 'trio-chat[testing]'" in done.stderr.splitlines()[-1]
