"""The line that long work draws: on a terminal only, and never where its outcome is printed."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from trio_chat.screen import Screen


def drawn(*, terminal: bool, alive: bool = False) -> str:
    """Return what is written while two of eight faults are done and one is told of."""
    paper = io.StringIO()
    with Screen(Console(file=paper, force_terminal=terminal, width=100), alive=alive) as screen:
        screen.show("R1 [Redis] killed", 2 / 8, "2 of 8")
        screen.tell("R0 held [so to say]")
    return paper.getvalue()


@pytest.mark.parametrize("alive", [True, False])
def test_a_terminal_shows_what_is_done_and_how_much_of_it(alive: bool) -> None:
    """Names and texts are no markup."""
    text = drawn(terminal=True, alive=alive)

    assert "R1 [Redis] killed" in text
    assert "━" in text
    assert "2 of 8" in text
    assert ("0:00:0" in text) is alive


@pytest.mark.parametrize("alive", [True, False])
def test_elsewhere_only_what_is_to_stay_is_written(alive: bool) -> None:
    """A log file has no use for bars."""
    assert drawn(terminal=False, alive=alive) == "R0 held [so to say]\n"


def test_what_is_piped_on_meanwhile_is_not_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    """Though somebody watches on a terminal."""
    paper = io.StringIO()
    with Screen(Console(file=paper, force_terminal=True, width=100)):
        sys.stdout.write("an outcome\n")

    assert capsys.readouterr().out == "an outcome\n"
    assert "an outcome" not in paper.getvalue()


def test_standard_output_is_left_to_the_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever pipes that on gets nothing else."""
    with Screen(alive=True) as screen:
        screen.show("R1", 0.5, "1 of 2")
        screen.tell("R1 held")

    assert capsys.readouterr() == ("", "R1 held\n")
