"""What docs/api.md says to type works, and is answered as it shows."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import trio

from trio_chat.cli import main

from .conftest import ROOM, serving

PAGE = Path(__file__).parent.parent.parent / "docs" / "api.md"
EXAMPLES = re.findall(
    r"^```sh curl\n(.*?)^```\n\n```json (\d+)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE
)


def shape(value: Any) -> Any:
    """Return names and types, and the values that are the same every time."""
    match value:
        case dict():
            return {
                name: one if name in {"code", "id", "content"} else shape(one) for name, one in value.items()
            }
        case list():
            return [shape(one) for one in value]
        case _:
            return type(value).__name__


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_examples_are_answered_as_shown() -> None:
    """In the order of the page, by a server that somebody is chatting on; each takes a process of curl."""
    said: list[tuple[str, Any]] = []
    async with serving() as site, site.lobby.join(ROOM, user="ada"):
        environment = {
            "PATH": os.environ["PATH"],
            "API": f"http://127.0.0.1:{site.port}/api/v1",
            "TOKEN": site.token("back-end"),
            "ADMIN": site.token("root", (), "admin"),
        }
        for command, _, _ in EXAMPLES:
            typed = command.replace("curl ", r"curl -sS -w '\n%{http_code}' ", 1)
            done = await trio.run_process(["sh", "-c", typed], capture_stdout=True, env=environment)
            body, _, status = done.stdout.decode().rpartition("\n")
            said.append((status, shape(json.loads(body))))

    assert said == [(status, shape(json.loads(text))) for _, status, text in EXAMPLES]


def test_every_example_is_run() -> None:
    """None stands on the page without its answer."""
    assert len(EXAMPLES) == PAGE.read_text().count("```sh curl")


@pytest.mark.parametrize("command", re.findall(r"\$\(trio-chat (.*?)\)", PAGE.read_text()))
def test_tokens_are_made_as_shown(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints a token and nothing else."""
    monkeypatch.setenv("AUTH_SECRET", "s" * 32)
    main(shlex.split(command))

    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", capsys.readouterr().out)
