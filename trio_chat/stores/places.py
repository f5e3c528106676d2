"""Where the stores are: the ones that the settings name, or private ones under the data directory."""

from __future__ import annotations

import logging
import socket
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from trio_chat.errors import Unavailable
from trio_chat.settings import Settings, mask_url
from trio_chat.stores.base import Archive, HotStore
from trio_chat.stores.behind import Behind
from trio_chat.stores.embedded import EmbeddedPostgres, EmbeddedValkey
from trio_chat.stores.postgres import open_postgres_archive
from trio_chat.stores.redis import open_redis
from trio_chat.stores.supervision import supervised

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trio_chat.stores.child import ChildServer

logger = logging.getLogger(__name__)


class Stores(msgspec.Struct, frozen=True):
    """The two stores and where they are, without passwords."""

    hot: HotStore
    archive: Archive
    hot_place: str
    archive_place: str


@asynccontextmanager
async def open_hot(
    settings: Settings, *, require: bool = False, beside: bool = False
) -> AsyncGenerator[tuple[HotStore, str], None]:
    """Open the Redis the settings name, or a private Valkey; see `open_stores`. Yields the store and its place."""
    async with AsyncExitStack() as stack:
        url, place = settings.redis_url, mask_url(settings.redis_url or "")
        incarnation: Callable[[], str] | None = None
        if url is None:
            valkey = EmbeddedValkey(settings.data_dir)
            if not (beside and _answers(valkey)):
                await stack.enter_async_context(supervised(valkey))
                # Asked anew after each restart: this Valkey may come back without its newest writes.
                incarnation = partial(getattr, valkey, "incarnation")
            url, place = valkey.url, f"private Valkey in {valkey.directory}"
        # Who works beside a server must not take its mark for that of a dead one.
        behind = Behind() if beside else Behind(settings.data_dir, settings.redis_prefix)
        stack.enter_context(closing(behind))
        opening = partial(
            open_redis,
            url,
            prefix=settings.redis_prefix,
            expiry=settings.session_expiry_seconds,
            timeout=settings.redis_timeout,
            replica_timeout=settings.replica_timeout
            if settings.durability == "replicated" and not beside
            else None,
            incarnation=incarnation,
            behind=behind,
        )
        try:
            hot = await stack.enter_async_context(opening(require=True))
        except Unavailable as error:
            if require:
                raise
            logger.warning("%s is waited for, messages are kept in memory meanwhile: %s", place, error)
            hot = await stack.enter_async_context(opening(require=False))
        yield hot, place


@asynccontextmanager
async def open_archive(
    settings: Settings, *, require: bool = False, beside: bool = False
) -> AsyncGenerator[tuple[Archive, str], None]:
    """Open the Postgres the settings name, or a private one; see `open_stores`. Yields the archive and its place."""
    async with AsyncExitStack() as stack:
        url, place = settings.database_url, mask_url(settings.database_url or "")
        if url is None:
            postgres = EmbeddedPostgres(settings.data_dir)
            if not (beside and _answers(postgres)):
                await stack.enter_async_context(supervised(postgres))
            url, place = postgres.url, f"private Postgres in {postgres.directory}"
        opening = open_postgres_archive(url, timeout=settings.database_timeout, require=False)
        archive = await stack.enter_async_context(opening)
        try:
            await archive.probe()
        except Unavailable as error:
            if require:
                raise
            logger.warning("%s is waited for, nothing is archived meanwhile: %s", place, error)
        yield archive, place


def _answers(server: ChildServer) -> bool:
    """Whether a private server of another process can be used."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(server.socket))
        except OSError:
            return False
    return True


@asynccontextmanager
async def open_stores(
    settings: Settings, *, require: bool = False, beside: bool = False
) -> AsyncGenerator[Stores, None]:
    """Open the stores the settings name, or private ones under the data directory.

    Args:
        settings: which stores, and how long a call may take.
        require: whether both must be there. If not, a store that is away is waited for in the background.
        beside: use the private servers of a process that already runs, if there is one.

    Raises:
        Misconfigured: a store answers, but not to us.
        Unavailable: `require`, and one is away.
        SettingsError: there is no URL, and a private one cannot be started.
    """
    async with open_hot(settings, require=require, beside=beside) as (hot, hot_place):
        async with open_archive(settings, require=require, beside=beside) as (archive, archive_place):
            if hot.healthy and archive.healthy:
                logger.info("stores connected: %s, %s", hot_place, archive_place)
            yield Stores(hot, archive, hot_place, archive_place)
