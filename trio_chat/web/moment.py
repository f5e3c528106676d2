"""What the parts of a server count, put together: what the metrics and the dashboard are made of."""

from __future__ import annotations

import msgspec

from trio_chat.clients.auth import AuthStatistics
from trio_chat.clients.engine.server import EngineStatistics
from trio_chat.clients.recovery import RecoveryStatistics
from trio_chat.clients.registry import RegistryStatistics
from trio_chat.clients.server import ServerStatistics
from trio_chat.counts import TurnStatistics
from trio_chat.lobby import LobbyStatistics
from trio_chat.stores.postgres import ArchiveStatistics
from trio_chat.stores.redis import RedisStatistics
from trio_chat.syncer import SyncerStatistics


class Clients(msgspec.Struct, frozen=True):
    """What is counted of clients; `native` are those connected to `/ws`."""

    server: ServerStatistics
    engine: EngineStatistics
    registry: RegistryStatistics
    recoveries: RecoveryStatistics
    auth: AuthStatistics
    native: int


class Moment(msgspec.Struct, frozen=True):
    """The statistics of a server's parts at one moment. What is not there, or not yet, is None."""

    lobby: LobbyStatistics
    turns: TurnStatistics
    sync: SyncerStatistics
    longest_lag: float
    hot_healthy: bool
    archive_healthy: bool
    redis: RedisStatistics | None
    postgres: ArchiveStatistics | None
    clients: Clients | None
