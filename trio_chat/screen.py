"""How long work looks while it goes on: one line on a terminal, nothing anywhere else.

It is on standard error, so that what is printed at the end can be piped on.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text
from typing_extensions import override

if TYPE_CHECKING:
    from types import TracebackType


class Screen:
    """Lives as long as its block.

    Args:
        console: where to draw; standard error if None.
        alive: draw by itself, too, so that one sees that it goes on, and for how long it has. That takes a thread,
            which would disturb what is measured.

    Attributes:
        visible: whether drawing is of any use.
    """

    def __init__(self, console: Console | None = None, *, alive: bool = False) -> None:
        console = console or Console(stderr=True)
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[words]}", markup=False),
        ]
        if alive:
            columns = [SpinnerColumn(), *columns, TimeElapsedColumn()]
        self.visible = console.is_terminal
        self._console = console
        self._progress = Progress(
            *columns,
            console=console,
            auto_refresh=alive,
            transient=True,
            # On a terminal it is written above the line; what is piped on stays in the pipe.
            redirect_stdout=sys.stdout.isatty(),
            disable=not self.visible,
        )
        self._stage = self._progress.add_task("", words="")

    @override
    def __repr__(self) -> str:
        return f"<Screen {'visible' if self.visible else 'dark'}>"

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, stage: str, share: float, words: str) -> None:
        """Draw where things stand. `share` is how much of the stage is done, from 0 to 1."""
        self._progress.update(self._stage, description=stage, completed=share, total=1, words=words)
        self._progress.refresh()

    def tell(self, text: str) -> None:
        """Print something that is to stay."""
        self._console.print(Text(text), soft_wrap=True)
