"""The sessions of a room, newest first, read from what was said in them: the window, then the archive.

Each is found by the newest message before it, so a session costs one look into the archive, and one in which nothing is
left is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.message import Position, epoch_started
from trio_chat.web.api.calls import Call, Operation, Reply
from trio_chat.web.api.shapes import RoomSession, SessionList, SessionsBefore, write_cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.lobby import Lobby


async def list_sessions(call: Call) -> Reply:
    """List the sessions of a room, newest first: those in which there are messages.

    Cancelling is safe.
    """
    room, asked, lobby = call.room(), call.query, call.server.lobby
    assert isinstance(asked, SessionsBefore)  # noqa: S101 - the operation says so
    found: list[RoomSession] = []
    older = await _newest(lobby, room, asked.before)
    while older is not None and len(found) < asked.limit:
        found.append(older)
        older = await _newest(lobby, room, older.epoch)
    return Reply(200, SessionList(found, None if older is None else found[-1].epoch))


async def _newest(lobby: Lobby, room: str, before: str | None) -> RoomSession | None:
    """Return the newest session before that of an epoch, or of all; None if there is none. Cancelling is safe."""
    page = await lobby.history(room, None if before is None else Position(before, 0), 1)
    if not page.messages:
        return None
    [last] = page.messages
    live = lobby.rooms.get(room)
    return RoomSession(
        epoch=last.epoch,
        started_at=epoch_started(last.epoch),
        last_message_at=last.message.timestamp,
        active=live is not None and live.ledger.history.epoch == last.epoch,
        end=write_cursor(Position(last.epoch, last.message.seq + 1)),
    )


OPERATIONS: Final[Sequence[Operation]] = (
    Operation(
        method="GET",
        path="/rooms/{room}/sessions",
        handler=list_sessions,
        query=SessionsBefore,
        answers={200: SessionList},
    ),
)
