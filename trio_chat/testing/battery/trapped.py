"""A trio-chat server with trapdoors: ``python -m trio_chat.testing.battery.trapped serve ...``.

Whoever sends one of these contents makes it happen in the room's actor. Nothing of it is stored.

``!crash``       an exception that nobody expects
``!block 2``     two seconds in which the whole process does nothing
``!tasks FILE``  the number of living tasks is written to a file
"""

from __future__ import annotations

import runpy
import time
from pathlib import Path
from typing import Any

import trio

from trio_chat.errors import BadRequest
from trio_chat.history import History

_post = History.post


class Trapped(Exception):
    """What nobody expects."""


def _trapped(history: History, **given: Any) -> Any:
    word, _, rest = str(given["content"]).partition(" ")
    match word:
        case "!crash":
            raise Trapped
        case "!block":
            time.sleep(float(rest))
        case "!tasks":
            Path(rest).write_text(str(trio.lowlevel.current_statistics().tasks_living))
        case _:
            return _post(history, **given)
    raise BadRequest("a trapdoor")


if __name__ == "__main__":
    setattr(History, "post", _trapped)  # noqa: B010 - its types differ on purpose
    runpy.run_module("trio_chat", run_name="__main__", alter_sys=True)
