"""The programs of docs/examples that speak the native wire do what docs/quickstart.md says of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.chat_client import started

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"
PATIENCE = 20


def node() -> list[str]:
    """Return what runs a program that uses a WebSocket: Node has one from 22 on, and before if it is told to."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed; with it, the example in JavaScript is tested too")
    said = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout
    [major, minor] = re.findall(r"\d+", said)[:2]
    if (int(major), int(minor)) < (20, 10):
        pytest.skip("this node has no WebSocket")
    # Before 22 it is an experiment, and said to be one on standard error.
    return ["node"] if int(major) >= 22 else ["node", "--experimental-websocket", "--no-warnings"]


@pytest.fixture(params=["native_wire.py", "native_wire.mjs"])
def example(request: pytest.FixtureRequest) -> list[str]:
    """What runs an example."""
    program = str(EXAMPLES / request.param)
    if program.endswith(".py"):
        return [sys.executable, program]
    return [*node(), program]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server listens that lets anybody in."""
    with started(tmp_path_factory.mktemp("d"), AUTH_MODE="insecure") as served:
        yield served.url


async def run(*command: str) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end."""
    with trio.fail_after(PATIENCE):
        run_process = partial(trio.run_process, check=False, capture_stdout=True, capture_stderr=True)
        return await run_process(command)


async def test_it_prints_what_was_said_and_what_it_says(
    example: list[str], address: str, request: pytest.FixtureRequest
) -> None:
    """Two run one after another, each a process; the second one prints both lines, and where its own is kept."""
    room = f"team-42/{Path(example[-1]).suffix[1:]}"
    for user, line in [("ada", "hello"), ("bob", "hello, ada")]:
        done = await run(*example, address, user, room, line)

    assert done.stderr == b""
    assert done.stdout.decode().splitlines() == ["ada: hello", "bob: hello, ada", "(stored in redis)"]
    assert done.returncode == 0


async def test_it_says_why_it_was_refused(example: list[str], address: str) -> None:
    """On standard error, with an exit status that tells."""
    done = await run(*example, address, "ada", "no room", "hello")

    assert (done.returncode, done.stdout) == (1, b"")
    assert b"room: expected 1-128 characters" in done.stderr
