"""The programs of docs/examples that speak Socket.IO do what docs/socketio.md says of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

if TYPE_CHECKING:
    from .conftest import Site

DOCS = Path(__file__).parent.parent.parent / "docs"
EXAMPLES = DOCS / "examples"
PATIENCE = 20


@pytest.fixture(params=["socket_io.mjs", "socket_io.py"])
def example(request: pytest.FixtureRequest) -> list[str]:
    """What runs an example: Node, where the package is that it needs, or Python."""
    if request.param.endswith(".py"):
        return [sys.executable, str(EXAMPLES / request.param)]
    folder = request.getfixturevalue("node_driver").parent
    return ["node", shutil.copy(EXAMPLES / request.param, folder)]


async def run(*command: str) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end."""
    with trio.fail_after(PATIENCE):
        run_process = partial(trio.run_process, check=False, capture_stdout=True, capture_stderr=True)
        return await run_process(command)


async def test_it_prints_what_was_said_and_what_it_says(example: list[str], site: Site, room: str) -> None:
    """Three run one after another; the last one prints all lines, in order. Each is a process of its own."""
    for user, line in [("ada", "hello"), ("bob", "hello, ada"), ("eve", "who is there?")]:
        done = await run(*example, site.url, user, room, line)

    assert done.stdout.decode().splitlines() == ["ada: hello", "bob: hello, ada", "eve: who is there?"]
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("room", "line", "reason"),
    [("no room", "hello", b"room: "), ("team-42/empty", "", b"content: expected a text")],
    ids=["at-the-join", "at-the-message"],
)
async def test_it_says_why_it_was_refused(
    example: list[str], site: Site, room: str, line: str, reason: bytes
) -> None:
    """On standard error, with an exit status that tells."""
    done = await run(*example, site.url, "ada", room, line)

    assert (done.returncode, done.stdout) == (1, b"")
    assert reason in done.stderr


async def test_it_says_why_it_may_not_come_in(example: list[str], mortal: Site) -> None:
    """It has no token, and this server wants one. It does not try again."""
    done = await run(*example, mortal.url, "ada", "team-42", "hello")

    assert (done.returncode, done.stdout) == (1, b"")
    assert b"token" in done.stderr


def test_the_page_shows_the_program_as_it_is() -> None:
    """Whoever copies it has what is tested here."""
    program = (EXAMPLES / "socket_io.mjs").read_text()

    assert (
        f"[socket_io.mjs](examples/socket_io.mjs):\n\n```js\n{program}```\n"
        in (DOCS / "socketio.md").read_text()
    )
