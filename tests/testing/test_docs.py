"""The Python of docs/testing.md is a test module that passes, and what the page says of it is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trio_chat import Message, Seat
from trio_chat.testing import Mend, Post, Restart, play

PAGE = Path(__file__).parents[2] / "docs/testing.md"


def module() -> str:
    """Return the Python of the page."""
    return "\n\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE))


def test_page_is_a_module_of_tests_that_pass(tmp_path: Path) -> None:
    """All blocks together, run by pytest as a reader would. It takes seconds: whole properties are on the page."""
    (tmp_path / "test_page.py").write_text(module())
    options = ["-q", "-o", "trio_mode=true", "-p", "no:cacheprovider", "-W", "error"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_page.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        # Hypothesis then has no deadline for an example, which a busy machine would miss.
        env={**os.environ, "CI": "true"},
    )

    assert result.returncode == 0, result.stdout
    assert "8 passed" in result.stdout, result.stdout


def test_bot_without_keys_answers_again_after_a_restart() -> None:
    """So the page says of the bot."""

    async def answer(seat: Seat, message: Message) -> None:
        if "?" in message.content and message.user_id != "helper":
            await seat.post(f"about {message.id}", role="assistant")

    page: dict[str, Any] = {"__name__": "page"}
    exec(compile(module(), PAGE.name, "exec"), page)
    page["answer"] = answer
    record = play([Post(who="ann", content="why? 1"), Restart(), Mend()], beside=page["helper"])

    with pytest.raises(AssertionError):
        page["check_answers"](record)


def test_page_names_every_check() -> None:
    """No check is missing from its table."""
    from trio_chat import testing

    checks = {name for name in testing.__all__ if name.startswith("check_")}

    assert checks == set(re.findall(r"^\| `(check_\w+)` \|", PAGE.read_text(), re.MULTILINE))


def test_page_names_every_command() -> None:
    """No command is missing from its table."""
    from trio_chat.testing import script

    commands = {kind.__name__ for kind in script.Command.__subclasses__()}
    table = PAGE.read_text().partition("| commands |")[2].partition("\n\n")[0]

    assert commands == set(re.findall(r"`(\w+)`", re.sub(r"`nth=\d`", "", table)))
