"""Put off what is done better when everything that came in one go is known.

A server reads all its clients in one go, and what they say to one room is to become one turn of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable


class Gathering:
    """What is to be done at the end, while something gathers. Lives as long as its lobby."""

    def __init__(self) -> None:
        self._todo: list[Callable[[], None]] | None = None

    @override
    def __repr__(self) -> str:
        return "<Gathering off>" if self._todo is None else f"<Gathering {len(self._todo)}>"

    def begin(self) -> None:
        """Put off from now on. Nobody may wait before `end`."""
        self._todo = []

    def put_off(self, do: Callable[[], None]) -> bool:
        """Let `do`, which must not raise, be called at the end. Returns False if nothing gathers."""
        if self._todo is None:
            return False
        self._todo.append(do)
        return True

    def end(self) -> None:
        """Do what was put off. What comes up meanwhile is done at once."""
        todo, self._todo = self._todo, None
        for do in todo or ():
            do()
