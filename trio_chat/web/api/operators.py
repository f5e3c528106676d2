"""What takes the role `admin`: to see and steer the whole server, whatever rooms the token opens."""

from __future__ import annotations

import heapq
import logging
from typing import TYPE_CHECKING, Final

import trio

from trio_chat.message import check_room
from trio_chat.web.api.calls import Call, Operation, Reply
from trio_chat.web.api.problems import not_found, unavailable
from trio_chat.web.api.shapes import After, Disconnected, LiveRoom, RoomClosed, RoomList, Synced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.room import Room

logger = logging.getLogger(__name__)

_REASON: Final = "an operator closed the room; join again later"


async def list_rooms(call: Call) -> Reply:
    """List the rooms in memory, by id."""
    await trio.lowlevel.checkpoint()
    asked, rooms = call.query, call.server.lobby.rooms
    assert isinstance(asked, After)  # noqa: S101 - the operation says so
    behind = asked.after or ""
    # One more than is asked for tells whether there is more.
    found = heapq.nsmallest(asked.limit + 1, (name for name in rooms if name > behind))
    shown = [live_room(rooms[name]) for name in found[: asked.limit]]
    return Reply(200, RoomList(shown, shown[-1].room if len(found) > len(shown) else None))


async def show_room(call: Call) -> Reply:
    """Show a room in memory and its session."""
    await trio.lowlevel.checkpoint()
    return Reply(200, live_room(_find(call)))


async def close_room(call: Call) -> Reply:
    """Put everybody out of a room and take it out of memory. Its session goes on with whoever joins next.

    A room that holds messages of which neither store knows is not closed.
    """
    await trio.lowlevel.checkpoint()
    room = _find(call)
    if room.holds_alone:
        raise unavailable("the room holds messages that no store has yet; repeat when one is back")
    members = len(room.audience)
    room.close(_REASON)
    logger.warning("room %s: closed by %r, with %d members", room.name, call.identity.user, members)
    return Reply(200, RoomClosed(members))


async def disconnect_user(call: Call) -> Reply:
    """End every connection of a user, and accept no token of theirs that was made until now.

    This process alone knows, until it ends.
    """
    await trio.lowlevel.checkpoint()
    user = call.id("user")
    call.server.authenticator.revoke(user)
    connections = call.server.registry.revoke(user)
    logger.warning("user %r: revoked by %r, with %d connections", user, call.identity.user, connections)
    return Reply(200, Disconnected(connections))


async def sync(call: Call) -> Reply:
    """Archive everything that is not archived yet.

    Cancelling is safe.
    """
    syncer = call.server.lobby.syncer
    if not await syncer.sync_all():
        raise unavailable("the archive could not be given everything; it is tried again by itself")
    counts = syncer.statistics()
    return Reply(200, Synced(counts.rounds, counts.messages, counts.refused))


def _find(call: Call) -> Room:
    room = call.server.lobby.rooms.get(check_room(call.names["room"]))
    if room is None:
        raise not_found("room: it is not in memory")
    return room


def live_room(room: Room) -> LiveRoom:
    """Return what is told of a room."""
    counts = room.statistics()
    return LiveRoom(
        room=room.name,
        members=counts.members,
        messages=counts.messages,
        epoch=room.ledger.history.epoch,
        top=counts.top,
        synced=counts.synced,
        waiting=counts.waiting,
        degraded=counts.degraded,
        idle_seconds=max(counts.idle, 0.0),
    )


OPERATIONS: Final[Sequence[Operation]] = (
    Operation(
        method="GET",
        path="/rooms",
        handler=list_rooms,
        query=After,
        answers={200: RoomList},
        admin=True,
    ),
    Operation(
        method="GET",
        path="/rooms/{room}",
        handler=show_room,
        answers={200: LiveRoom},
        problems=frozenset({404}),
        admin=True,
    ),
    Operation(
        method="POST",
        path="/rooms/{room}/close",
        handler=close_room,
        answers={200: RoomClosed},
        problems=frozenset({404}),
        admin=True,
    ),
    Operation(
        method="POST",
        path="/users/{user}/disconnect",
        handler=disconnect_user,
        answers={200: Disconnected},
        admin=True,
    ),
    Operation(method="POST", path="/sync", handler=sync, answers={200: Synced}, admin=True),
)
