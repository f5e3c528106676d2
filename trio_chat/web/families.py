"""The table of metrics: their names, what they say, and where in a moment's statistics that is read.

Names follow the conventions of Prometheus: base units as suffixes, `_total` for what only rises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

import msgspec
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from trio_chat.errors import CloseCode
from trio_chat.stores.postgres import ArchiveStatistics
from trio_chat.stores.redis import RedisStatistics
from trio_chat.web.moment import Clients, Moment

if TYPE_CHECKING:
    from trio_chat.counts import Distribution

PREFIX: Final = "trio_chat_"


_Values: TypeAlias = "Mapping[tuple[str, ...], float]"


_S = TypeVar("_S")


class _Row(msgspec.Struct, Generic[_S], frozen=True):
    name: str
    text: str
    read: Callable[[_S], float | _Values]
    labels: tuple[str, ...] = ()


_ServerRow = _Row[Moment]
_ClientRow = _Row[Clients]
_RedisRow = _Row[RedisStatistics]
_PostgresRow = _Row[ArchiveStatistics]


def _closed(clients: Clients) -> _Values:
    """Return how many connections we closed, by reason; every reason is there from the start, so that rates are right."""
    server, engine = clients.server.closed, clients.engine.closed
    reasons: dict[tuple[str, ...], float] = {
        (code.name.lower(),): server.get(code, 0) + engine.get(code, 0) for code in CloseCode
    }
    known = sum(reasons.values())
    return {**reasons, ("other",): sum(server.values()) + sum(engine.values()) - known}


_GAUGES: Final = (
    _ServerRow("rooms", "Rooms with an actor.", lambda m: m.lobby.rooms),
    _ServerRow("members", "Members of all rooms.", lambda m: m.lobby.members),
    _ServerRow("degraded_rooms", "Rooms whose newest events are in memory only.", lambda m: m.lobby.degraded),
    _ServerRow("unsaved_events", "Events that neither Redis nor Postgres has.", lambda m: m.lobby.backlog),
    _ServerRow("dirty_rooms", "Rooms with events that Postgres does not have.", lambda m: m.lobby.dirty),
    _ServerRow(
        "unarchived_events", "Events of open rooms that Postgres does not have.", lambda m: m.lobby.unsynced
    ),
    _ServerRow("sync_lag_seconds", "Time since Postgres was known to have everything.", lambda m: m.sync.lag),
    _ServerRow("sync_lag_limit_seconds", "The lag above which /readyz says no.", lambda m: m.longest_lag),
    _ServerRow(
        "sync_failures_in_a_row", "Sync rounds that failed since one succeeded.", lambda m: m.sync.behind
    ),
    _ServerRow(
        "store_healthy",
        "Whether the last contact with a store succeeded.",
        lambda m: {("redis",): m.hot_healthy, ("postgres",): m.archive_healthy},
        ("store",),
    ),
)

_COUNTERS: Final = (
    _ServerRow(
        "events",
        "Messages posted, edited and deleted.",
        lambda m: {
            ("posted",): m.turns.events - m.turns.edited - m.turns.deleted,
            ("edited",): m.turns.edited,
            ("deleted",): m.turns.deleted,
        },
        ("kind",),
    ),
    _ServerRow("deliveries", "Events times the members who were told of them.", lambda m: m.turns.deliveries),
    _ServerRow(
        "acks",
        "Events by how far they were kept when their ack was sent.",
        lambda m: {(step,): count for step, count in m.turns.acks.items()},
        ("durability",),
    ),
    _ServerRow(
        "resumes",
        "Joins from a position: exact if only what was missed was sent, whole if the window was.",
        lambda m: {("exact",): m.turns.resumed, ("whole",): m.turns.restarted},
        ("outcome",),
    ),
    _ServerRow("sessions_expired", "Sessions that ended since nobody was active.", lambda m: m.turns.expired),
    _ServerRow("room_crashes", "Crashes of room actors.", lambda m: m.lobby.crashes),
    _ServerRow(
        "sync_rounds",
        "Rounds of the syncer.",
        lambda m: {("succeeded",): m.sync.rounds - m.sync.failed, ("failed",): m.sync.failed},
        ("outcome",),
    ),
    _ServerRow("sync_rows", "Messages that were new or changed in Postgres.", lambda m: m.sync.messages),
    _ServerRow("sync_refused_rows", "Rows that Postgres refused.", lambda m: m.sync.refused),
)

_CLIENT_GAUGES: Final = (
    _ClientRow(
        "connections",
        "Clients connected now.",
        lambda c: {
            ("native", "websocket"): c.native,
            ("socketio", "websocket"): c.engine.websocket,
            ("socketio", "polling"): c.engine.polling,
        },
        ("wire", "transport"),
    ),
    _ClientRow("users", "Users connected now.", lambda c: c.registry.users),
    _ClientRow(
        "recoverable_clients",
        "Socket.IO clients that are away and may come back.",
        lambda c: c.recoveries.away,
    ),
)

_CLIENT_COUNTERS: Final = (
    _ClientRow("connections_accepted", "TCP connections accepted.", lambda c: c.server.accepted),
    _ClientRow("connections_refused", "Connections answered with an HTTP error.", lambda c: c.server.refused),
    _ClientRow(
        "connections_failed", "Connections ended by an error of the server.", lambda c: c.server.failed
    ),
    _ClientRow("connections_closed", "Connections that the server closed.", _closed, ("reason",)),
    _ClientRow(
        "slow_consumers_cut",
        "Clients disconnected since too much waited for them.",
        lambda c: _closed(c)[("too_slow",)],
    ),
    _ClientRow("polling_requests_refused", "Long-polling requests refused.", lambda c: c.engine.refused),
    _ClientRow(
        "authentications",
        "Clients that said who they are.",
        lambda c: {("accepted",): c.auth.accepted, ("refused",): c.auth.refused},
        ("outcome",),
    ),
)

_REDIS_GAUGES: Final = (
    _RedisRow("redis_waiting_calls", "Calls to Redis without an answer yet.", lambda r: r.resp.link.waiting),
    _RedisRow("redis_unsent_bytes", "Bytes that wait to be sent to Redis.", lambda r: r.resp.link.unsent),
)

_REDIS_COUNTERS: Final = (
    _RedisRow("redis_connects", "Connections made to Redis.", lambda r: r.resp.connects),
    _RedisRow("redis_refusals", "Replies in which Redis refused to work.", lambda r: r.resp.refused),
    _RedisRow("redis_unreadable_entries", "Entries of Redis that could not be read.", lambda r: r.unreadable),
    _RedisRow("redis_mended_keys", "Keys of Redis that were set aside or mended.", lambda r: r.mended),
)

_POSTGRES_GAUGES: Final = (
    _PostgresRow("postgres_connections", "Connections to Postgres.", lambda p: p.connections),
)

_POSTGRES_COUNTERS: Final = (
    _PostgresRow("postgres_failures", "Calls to Postgres that failed.", lambda p: p.failures),
    _PostgresRow("postgres_writes", "Transactions that archived something.", lambda p: p.writes),
    _PostgresRow("postgres_pages", "Pages of history read from Postgres.", lambda p: p.pages),
)


def families(moment: Moment) -> Iterator[Metric]:
    """Yield every metric of a moment."""
    build = GaugeMetricFamily(f"{PREFIX}build_info", "The version that runs; always 1.", labels=["version"])
    build.add_metric([version("trio-chat")], 1)
    yield build
    yield from _simple(moment, _GAUGES, _COUNTERS)
    yield _histogram("turn_size", "How many requests a turn of a room took.", moment.turns.turns)
    if moment.clients is not None:
        yield from _simple(moment.clients, _CLIENT_GAUGES, _CLIENT_COUNTERS)
    if moment.redis is not None:
        yield from _simple(moment.redis, _REDIS_GAUGES, _REDIS_COUNTERS)
        yield _histogram("redis_call_seconds", "How long Redis took to answer.", moment.redis.resp.latency)
    if moment.postgres is not None:
        yield from _simple(moment.postgres, _POSTGRES_GAUGES, _POSTGRES_COUNTERS)
        yield _histogram("postgres_call_seconds", "How long calls to Postgres took.", moment.postgres.latency)


def _simple(source: _S, gauges: tuple[_Row[_S], ...], counters: tuple[_Row[_S], ...]) -> Iterator[Metric]:
    for family, rows in ((GaugeMetricFamily, gauges), (CounterMetricFamily, counters)):
        for row in rows:
            metric = family(PREFIX + row.name, row.text, labels=row.labels)
            found = row.read(source)
            values: _Values = found if isinstance(found, Mapping) else {(): found}
            for labels, value in values.items():
                metric.add_metric(labels, float(value))
            yield metric


def _histogram(name: str, text: str, values: Distribution) -> Metric:
    metric = HistogramMetricFamily(PREFIX + name, text)
    bounds = [*(f"{bound:g}" for bound in values.bounds), "+Inf"]
    metric.add_metric([], list(zip(bounds, accumulate(values.counts), strict=True)), values.total)
    return metric
