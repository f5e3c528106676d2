"""The metrics of Prometheus: read from the statistics of the server's parts when somebody asks, and at no other time.

1. `families` has the table, a row a metric; a `Moment` is what the rows are read from.
2. Everything is in a registry of its own, so that a program that embeds the server keeps its own metrics.
3. Rooms and users are never labels: there may be any number of them, and their names are nobody's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.registry import Collector
from typing_extensions import override

from trio_chat.clients.auth import Authenticator
from trio_chat.clients.engine.server import EngineServer
from trio_chat.clients.recovery import Recoveries
from trio_chat.clients.registry import Registry
from trio_chat.clients.server import ClientServer
from trio_chat.stores.postgres import PostgresArchive
from trio_chat.stores.redis import RedisHotStore
from trio_chat.web.families import families
from trio_chat.web.moment import Clients, Moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import Metric

    from trio_chat.lobby import Lobby
    from trio_chat.room import Room
    from trio_chat.stores.places import Stores
    from trio_chat.web.health import Readiness

_MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Servers(msgspec.Struct, frozen=True):
    """What clients connect to, and what is known of them."""

    clients: ClientServer
    engine: EngineServer
    registry: Registry
    recoveries: Recoveries
    authenticator: Authenticator

    def moment(self) -> Clients:
        """Return their counts of now."""
        return Clients(
            server=self.clients.statistics(),
            engine=self.engine.statistics(),
            registry=self.registry.statistics(),
            recoveries=self.recoveries.statistics(),
            auth=self.authenticator.statistics(),
            native=sum(link.request.path != self.engine.path for link in self.clients.links),
        )


class Metrics(Collector):
    """All metrics of one server. Lives as long as it.

    Attributes:
        media_type: of `text`.
        servers: the parts that come up last; what they count is left out until they are there.
    """

    media_type = _MEDIA_TYPE

    def __init__(self, stores: Stores, lobby: Lobby, readiness: Readiness, longest_lag: float) -> None:
        """Make a registry for the parts of one server; `longest_lag` is `Settings.longest_sync_lag`."""
        self.servers: Servers | None = None
        self._stores = stores
        self._lobby = lobby
        self._readiness = readiness
        self._longest_lag = longest_lag
        self._last: Moment | None = None
        self._registry = CollectorRegistry()
        # Without a look at what there is: the names are those of the table.
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    @override
    def __repr__(self) -> str:
        return f"<Metrics of {self._lobby!r}>"

    async def text(self) -> bytes:
        """Return every metric in the text format, version 0.0.4. Cancelling is safe."""
        self._last = await self.moment()
        return generate_latest(self._registry)

    @override
    def collect(self) -> Iterator[Metric]:
        """Yield every metric of ours, as it was when `text` looked."""
        return iter(()) if self._last is None else families(self._last)

    async def moment(self, look: Callable[[Room], None] | None = None) -> Moment:
        """Return the statistics of all parts, as they are now; `look` is shown each room. Cancelling is safe.

        Redis is asked now and then anyhow. Postgres is not, and one that is frozen does not tell: so it is asked here.
        """
        report = await self._readiness.report()
        lobby = await self._lobby.survey(look)
        hot, archive = self._stores.hot, self._stores.archive
        return Moment(
            lobby=lobby,
            turns=self._lobby.counts.statistics(),
            sync=self._lobby.syncer.statistics(),
            longest_lag=self._longest_lag,
            hot_healthy=hot.healthy,
            archive_healthy=archive.healthy and report.checks["postgres"].ok,
            redis=hot.statistics() if isinstance(hot, RedisHotStore) else None,
            postgres=archive.statistics() if isinstance(archive, PostgresArchive) else None,
            clients=None if self.servers is None else self.servers.moment(),
        )
