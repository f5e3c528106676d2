"""A private server that does not end when it is asked to: whoever is in a hurry does not wait for it."""

from __future__ import annotations

import sys
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING

import pytest
import trio
from typing_extensions import override

from trio_chat.stores import supervision
from trio_chat.stores.child import ChildServer
from trio_chat.stores.supervision import supervised

if TYPE_CHECKING:
    from pathlib import Path

    from trio_chat.stores.pauses import Pauses

_PROGRAM = """
import signal, sys
def leave(*_):
    open(sys.argv[2], "w").close()
    if sys.argv[3] == "gentle":
        raise SystemExit
signal.signal(signal.SIGTERM, leave)
open(sys.argv[1], "w").close()
while True:
    signal.pause()
"""


class Program(ChildServer):
    """A server of which nothing is asked but that it ends."""

    name = "Program"
    replaces = "NOTHING"
    farewells = ((SIGTERM, 20.0), (SIGKILL, 5.0))
    manner = "stubborn"

    @property
    @override
    def url(self) -> str:
        return ""

    @property
    @override
    def socket(self) -> Path:
        return self.directory / "socket"

    @property
    def asked(self) -> bool:
        """Whether it was asked to end."""
        return (self.directory / "asked").exists()

    @override
    def preparing(self, lock: int) -> Pauses:
        yield from ()

    @override
    def command(self) -> list[str]:
        started, asked = str(self.directory / "started"), str(self.directory / "asked")
        return [sys.executable, "-c", _PROGRAM, started, asked, self.manner]

    @override
    def ready(self) -> bool:
        return (self.directory / "started").exists()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setattr(supervision, "_PATIENCE_IF_CANCELLED", 0.5)
    return Program(tmp_path)


async def test_cancelled_before_it_is_to_end(program: Program) -> None:
    """It is asked, and given a moment."""
    with trio.fail_after(10), trio.CancelScope() as scope:
        async with supervised(program):
            scope.cancel()
            await trio.sleep_forever()

    assert program.asked
    assert program.pid is None


async def test_cancelled_while_it_is_to_end(program: Program) -> None:
    """As by a second signal, or when the time for the end is over."""
    with trio.fail_after(10), trio.move_on_after(1) as scope:
        async with supervised(program):
            pass

    assert scope.cancelled_caught
    assert program.asked
    assert program.pid is None


async def test_who_is_in_no_hurry_waits(program: Program) -> None:
    """A gentle server ends by itself, and nobody cuts that short."""
    program.manner = "gentle"
    with trio.fail_after(10):
        async with supervised(program):
            assert not program.asked

    assert program.asked
    assert program.pid is None
