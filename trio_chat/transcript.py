"""A room as lines on a console: what `trio-chat tail` prints of what the server says.

1. A message begins with the time of day, in this machine's zone; what else it has of lines is indented below that.
   A line tells the day whenever it is another one than that of the line before.
2. Everything else that happens is a note, which begins with ``--``.
3. Nothing that people wrote can command the terminal or reorder a line.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from rich.text import Text
from typing_extensions import override

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_PEOPLE: Final = ("cyan", "green", "blue", "bright_red", "bright_cyan", "bright_green")
_STYLES: Final = {"assistant": "magenta", "system": "yellow"}
_INDENT: Final = " " * len("00:00:00 ")
# Somebody deletes what was said lately.
_REMEMBERED: Final = 2000


class Transcript:
    """See the module. Lives as long as the console is written to, through reconnects.

    Args:
        console: where to print.
        today: the day that need not be told.
    """

    def __init__(self, console: Console, today: date) -> None:
        self._console = console
        self._day = today
        self._here: set[str] = set()
        self._said: dict[str, str] = {}

    @override
    def __repr__(self) -> str:
        return f"<Transcript {self._day} here={len(self._here)}>"

    def show(self, said: dict[str, Any]) -> None:
        """Print one thing the server said, if it is worth a line."""
        match said["type"]:
            case "room:joined":
                self._here = set(said["members"])
            case "messages:history":
                for message in said["messages"]:
                    self._print(message)
            case "message:new":
                self._print(said["message"])
            case "message:update":
                self._print(said["message"], "edited")
            case "message:delete":
                whose = self._said.pop(said["id"], None)
                self.note(f"{whose} was deleted" if whose else f"message {said['id']} was deleted")
            case "presence:update":
                self._tell_presence(said["userId"], active=said["isActive"])
            case "session:expired":
                self.note("the session expired; the next message starts a new one")
            case _:
                pass

    def note(self, text: str) -> None:
        """Print what is no message."""
        self._console.print(Text(f"-- {plain(text)}", style="dim italic"))

    def _print(self, message: dict[str, Any], mark: str = "") -> None:
        when = datetime.fromisoformat(message["timestamp"]).astimezone()
        if when.date() != self._day:
            self._day = when.date()
            self.note(f"{self._day:%A}, {self._day.day} {self._day:%B %Y}")
        name, role = plain(message["userId"]), message["role"]
        colour = _STYLES.get(role) or _PEOPLE[crc32(name.encode()) % len(_PEOPLE)]
        line = Text(f"{when:%H:%M:%S} ", style="dim")
        line.append(name, style=f"bold not dim {colour}")
        if mark:
            line.append(f" ({mark})", style="dim italic")
        line.append(" ")
        line.append(plain(message["content"]).replace("\n", f"\n{_INDENT}"), style="default not dim")
        self._console.print(line)
        self._remember(message["id"], f"what {name} said at {when:%H:%M:%S}")

    def _remember(self, name: str, whose: str) -> None:
        self._said[name] = whose
        if len(self._said) > _REMEMBERED:
            del self._said[next(iter(self._said))]

    def _tell_presence(self, user: str, *, active: bool) -> None:
        """Tell who comes and goes; that somebody is still active is told by the server, too."""
        if active and user not in self._here:
            self._here.add(user)
            self.note(f"{user} is here")
        elif not active and user in self._here:
            self._here.discard(user)
            self.note(f"{user} has left")


def plain(text: str) -> str:
    """Return the text without what could command the terminal or reorder the line."""
    return _CONTROL.sub("\ufffd", text)
