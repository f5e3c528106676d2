"""How a run gets on, for people: what goes on now on a terminal, and a line for what is over, in a log as well."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from typing_extensions import override

from trio_chat.testing.battery.report import judgement

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.progress import TaskID

    from trio_chat.testing.battery.fault import Fault, Outcome

_LONGEST = 300


class ProgressWatch(AbstractContextManager["ProgressWatch"]):
    """Tells of a run. Lives as long as its block.

    Args:
        total: how many faults there are.
        jobs: how many are performed at a time.
        file: where to write.
    """

    def __init__(self, total: int, jobs: int, file: TextIO) -> None:
        self._total, self._over = total, 0
        self._console = Console(file=file, soft_wrap=True, highlight=False, markup=False)
        self._live = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._all = self._live.add_task("the battery", total=total)
        self._going: dict[str, TaskID] = {}
        side = f", {jobs} at a time" if min(jobs, total) > 1 else ""
        self._console.print(f"{total} fault{'s' * (total > 1)}{side}")

    @override
    def __repr__(self) -> str:
        return f"<ProgressWatch {self._over} of {self._total}, going on: {[*self._going]}>"

    @override
    def __enter__(self) -> Self:
        self._live.start()
        return self

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._live.stop()

    def begins(self, fault: Fault) -> None:
        """Show it among those that go on."""
        self._going[fault.code] = self._live.add_task(f"{fault.code} {fault.title}", total=None)

    def ends(self, fault: Fault, outcome: Outcome) -> None:
        """Write what came of it."""
        self._live.remove_task(self._going.pop(fault.code))
        if outcome.late and not outcome.first:
            result = "late, so once more at the end"
        else:
            self._over += 1
            self._live.advance(self._all)
            result = f"{judgement(outcome).strip('*')}, {outcome.summary}"
        where = f"[{self._over:{len(str(self._total))}}/{self._total}]"
        self._console.print(f"{where} {fault.code:4} {fault.title}: {result} ({outcome.seconds:.0f} s)")
        for complaint in outcome.complaints if not outcome.held else ():
            self._console.print(f"        {complaint.what[:_LONGEST]}")
