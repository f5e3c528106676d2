"""The command: from options to output and an exit status."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING

import trio
from rich.console import Console
from rich.text import Text

from trio_chat.bench.plan import plan_of
from trio_chat.bench.run import measure
from trio_chat.errors import SettingsError
from trio_chat.screen import Screen

if TYPE_CHECKING:
    import argparse

    from trio_chat.bench.report import Report
    from trio_chat.settings import Settings


def bench(arguments: argparse.Namespace, settings: Settings, url: str) -> int:
    """Measure, print the result, and return the exit status.

    Args:
        arguments: as `add_bench_arguments` has them parsed.
        settings: say how to make tokens.
        url: where the server is, if the arguments do not say.

    Raises:
        TrioChatError: an option does not fit, or the server cannot be used.
        KeyboardInterrupt: interrupted before anything was measured.
    """
    plan = plan_of(arguments, settings, url)
    with ExitStack() as stack:
        # First, since it would be a pity afterwards.
        file = _open(arguments.json, stack)
        with Screen() as screen:
            report = trio.run(measure, plan, screen)
        if file is not None:
            file.write(report.to_json())
    # Whoever pipes the object on wants nothing else there.
    _print(report, Console(stderr=arguments.json == "-", highlight=False))
    return 0 if report.passed else 1


def _open(name: str | None, stack: ExitStack) -> IO[bytes] | None:
    if name is None or name == "-":
        return sys.stdout.buffer if name else None
    try:
        return stack.enter_context(Path(name).open("wb"))
    except OSError as error:
        raise SettingsError([f"--json {name}: cannot be written ({error.strerror})"]) from None


def _print(report: Report, console: Console) -> None:
    console.print(Text(report.title()), soft_wrap=True)
    console.print(report.table())
    for note in report.notes():
        console.print(Text(note), soft_wrap=True)
