"""`GET /overview`: the whole server at one moment, in a few kilobytes. What the dashboard is drawn from.

1. It is read from the statistics of the server's parts when somebody asks, and at no other time: nobody who posts a message
   pays for it.
2. What only rises (changes, deliveries, the buckets of latencies) is given as it is. Whoever asks twice can make rates of
   it, over `uptimeSeconds`; where that has become smaller the server was restarted, and counts from nothing.
3. However many rooms there are, only the most active ones are listed. Nothing tells what is said in one.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import trio
from msgspec import Meta

from trio_chat.message import MAX_ID
from trio_chat.web.api.calls import Call, Operation, Reply
from trio_chat.web.api.operators import live_room
from trio_chat.web.api.shapes import LiveRoom, Number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.counts import Distribution
    from trio_chat.lobby import Lobby
    from trio_chat.room import Room
    from trio_chat.web.moment import Clients, Moment

MAX_LISTED: Final = 500
Seconds = Annotated[float, Meta(ge=0)]


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which rooms are listed: at most `limit` whose ids contain `search`, in whatever case."""

    search: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:/@-]*$", max_length=MAX_ID)] = ""
    limit: Annotated[int, Meta(ge=0, le=MAX_LISTED)] = 100


class Latency(msgspec.Struct, frozen=True):
    """How long calls took: `counts[i]` of them at most `bounds[i]` seconds, the last ones longer than all bounds."""

    bounds: list[float]
    counts: list[Number]


class StoreNow(msgspec.Struct, frozen=True):
    """A store. `healthy`: the last contact succeeded. `latency` is null where it is not counted."""

    healthy: bool
    latency: Latency | None


class ConnectionsNow(msgspec.Struct, frozen=True):
    """Connections by wire: the native one, Socket.IO over WebSockets, and Socket.IO over long-polling."""

    native: Number = 0
    socketio: Number = 0
    polling: Number = 0


class SyncNow(msgspec.Struct, frozen=True, rename="camel"):
    """How far the archive is. `lagSeconds`: since it was last known to have everything."""

    lag_seconds: Seconds
    longest_lag_seconds: Annotated[float, Meta(ge=0, description="The lag above which /readyz says no.")]
    failures_in_a_row: Number
    rounds: Number
    messages: Number
    refused: Number


class Overview(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The whole server at one moment."""

    uptime_seconds: Seconds
    users: Number
    connections: ConnectionsNow
    rooms: Number
    members: Number
    messages: Annotated[int, Meta(ge=0, description="Messages in the windows of all rooms.")]
    window: Annotated[int, Meta(ge=0, description="How many a window holds.")]
    degraded: Annotated[int, Meta(ge=0, description="Rooms whose newest events are in memory only.")]
    dirty: Annotated[int, Meta(ge=0, description="Rooms with events that are not archived.")]
    unsynced: Annotated[int, Meta(ge=0, description="How many events these are.")]
    backlog: Annotated[int, Meta(ge=0, description="Events that neither store has.")]
    crashes: Number
    events: Annotated[int, Meta(ge=0, description="Messages posted, edited and deleted since the start.")]
    deliveries: Annotated[int, Meta(ge=0, description="Those events times the members who were told.")]
    redis: StoreNow
    archive: StoreNow
    sync: SyncNow
    matching: Annotated[int, Meta(ge=0, description="How many rooms `search` finds.")]
    active: Annotated[list[LiveRoom], Meta(description="Degraded rooms first, then the last active ones.")]


class _Survey:
    """What looking at every room shows. Lives for one request."""

    def __init__(self, search: str) -> None:
        self.messages = 0
        self.found: list[tuple[bool, float, str]] = []
        self._search = search.lower()

    def look(self, room: Room) -> None:
        """Take in a room."""
        self.messages += room.ledger.history.messages
        if self._search in room.name.lower():
            self.found.append((not room.ledger.degraded, -room.last_active, room.name))

    def first(self, limit: int, lobby: Lobby) -> list[LiveRoom]:
        """Return the most telling ones; one that was looked at first may have retired since."""
        rooms = (lobby.rooms.get(name) for _, _, name in heapq.nsmallest(limit, self.found))
        return [live_room(room) for room in rooms if room is not None]


async def overview(call: Call) -> Reply:
    """Show the whole server at one moment.

    Cancelling is safe.
    """
    asked, server = call.query, call.server
    assert isinstance(asked, Listing)  # noqa: S101 - the operation says so
    survey = _Survey(asked.search)
    moment = await server.moment(survey.look)
    window = server.lobby.settings.max_messages_per_session
    uptime = trio.current_time() - server.begun
    return Reply(200, _describe(moment, survey, survey.first(asked.limit, server.lobby), window, uptime))


def _describe(
    moment: Moment, survey: _Survey, active: list[LiveRoom], window: int, uptime: float
) -> Overview:
    sync, lobby = moment.sync, moment.lobby
    redis = None if moment.redis is None else _latency(moment.redis.resp.latency)
    postgres = None if moment.postgres is None else _latency(moment.postgres.latency)
    return Overview(
        uptime_seconds=uptime,
        users=0 if moment.clients is None else moment.clients.registry.users,
        connections=_connections(moment.clients),
        rooms=lobby.rooms,
        members=lobby.members,
        messages=survey.messages,
        window=window,
        degraded=lobby.degraded,
        dirty=lobby.dirty,
        unsynced=lobby.unsynced,
        backlog=lobby.backlog,
        crashes=lobby.crashes,
        events=moment.turns.events,
        deliveries=moment.turns.deliveries,
        redis=StoreNow(moment.hot_healthy, redis),
        archive=StoreNow(moment.archive_healthy, postgres),
        sync=SyncNow(
            lag_seconds=max(sync.lag, 0.0),
            longest_lag_seconds=moment.longest_lag,
            failures_in_a_row=sync.behind,
            rounds=sync.rounds,
            messages=sync.messages,
            refused=sync.refused,
        ),
        matching=len(survey.found),
        active=active,
    )


def _connections(clients: Clients | None) -> ConnectionsNow:
    if clients is None:
        return ConnectionsNow()
    return ConnectionsNow(clients.native, clients.engine.websocket, clients.engine.polling)


def _latency(distribution: Distribution) -> Latency:
    return Latency(list(distribution.bounds), list(distribution.counts))


OPERATIONS: Final[Sequence[Operation]] = (
    Operation(
        method="GET",
        path="/overview",
        handler=overview,
        query=Listing,
        answers={200: Overview},
        admin=True,
    ),
)
