"""How a room's crashes end: in that room.

It is restarted from the hot store after a short, growing pause, with its members still there; after five crashes within
a minute that room alone is closed, unless it has what nobody else has.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from trio_chat.errors import Unavailable
from trio_chat.failures import describe
from trio_chat.ledger import Overtaken

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.room import Room

logger = logging.getLogger(__name__)

_CRASHES = 5
_CRASH_SECONDS = 60.0
_PAUSE = 0.05
_LONGEST_PAUSE = 5.0


async def supervise(room: Room, note_crash: Callable[[], None]) -> None:
    """Run a room's actor until it has nothing left to do; `note_crash` is called for each crash.

    Cancelling ends the actor where it is; see `Room.run`.
    """
    crashes: list[float] = []
    while not room.over:
        try:
            await room.run()
        except Overtaken as error:
            logger.warning(
                "room %s is loaded anew: %s", room.name, error, extra={"event": "reload", "room": room.name}
            )
            room.recover(Unavailable("the room was changed elsewhere; try again"))
            await trio.sleep(_PAUSE)
        except Exception as failure:  # noqa: BLE001 - it ends here, and is logged
            note_crash()
            crashes = [at for at in crashes if at > trio.current_time() - _CRASH_SECONDS]
            crashes.append(trio.current_time())
            logger.error(  # noqa: TRY400 - what an exception says may quote somebody
                "room %s crashed (%d times within a minute): %s", room.name, len(crashes), describe(failure),
                extra={"event": "crash", "room": room.name},
            )  # fmt: skip
            if len(crashes) >= _CRASHES and not room.holds_alone:
                room.close("the room failed too often and was closed; join again later")
            room.recover(Unavailable("the room failed on this request; it was not carried out again"))
            await trio.sleep(min(_PAUSE * 2 ** (len(crashes) - 1), _LONGEST_PAUSE))
