"""How a run looks while it goes on: one line on a terminal, nothing anywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text
from typing_extensions import override

if TYPE_CHECKING:
    from types import TracebackType


class Screen:
    """Lives as long as its block. Drawn when told to, since a thread that draws would disturb what is measured.

    Args:
        console: where to draw; standard error if None.

    Attributes:
        visible: whether drawing is of any use.
    """

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}")
        self.visible = console.is_terminal
        self._console = console
        self._progress = Progress(
            *columns, console=console, auto_refresh=False, transient=True, disable=not self.visible
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
