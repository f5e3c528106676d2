"""Keeps one link to a server alive, and knows at any moment whether that server is well.

1. There is at most one `Link`. When it is lost, the next one is connected after a pause.
2. `health` turns off in the very step in which the link is lost or turns late, or the server refuses to work
   (it is still loading, out of memory, ...). A new connection or a PONG turns it on again.
3. The pauses before the next PING or connection grow while there is trouble, and begin again from the shortest
   after all was well for a whole `interval`. So a server that answers PINGs but refuses to write is not
   stormed by everybody who waits for `health`.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio
from typing_extensions import override

from trio_chat.counts import LATENCIES, Histogram
from trio_chat.errors import Misconfigured, Unavailable
from trio_chat.stores.resp_connect import Server, Target, connect
from trio_chat.stores.resp_health import Backoff, Health
from trio_chat.stores.resp_link import CLOSED, Limits, Link
from trio_chat.stores.resp_wire import ErrorReply, pack

if TYPE_CHECKING:
    from collections.abc import Callable

_PING: Final = pack([("PING",)])
_log = logging.getLogger("trio_chat.stores.redis")


class Keeper:
    """Connects, watches and reconnects. Lives as long as its client.

    Attributes:
        target: where the server is.
        server: what the server said about itself when last connected to.
        link: the present link, or None.
        away: why there is no link, if there is none.
        connects: how many links there were.
        health: whether the last contact succeeded.
        latency: how long calls took, over all links.
    """

    def __init__(
        self,
        target: Target,
        limits: Limits,
        accept: Callable[[Server], None],
        *,
        connect_timeout: float,
        interval: float,
    ) -> None:
        self.target = target
        self.server = Server()
        self.link: Link | None = None
        self.away = f"not connected to Redis at {target}"
        self.connects = 0
        self.health = Health()
        self.latency = Histogram(LATENCIES)
        self._limits = limits
        self._accept = accept
        self._connect_timeout = connect_timeout
        self._interval = interval
        self._backoff = Backoff(0.05, 2.0)

    @override
    def __repr__(self) -> str:
        return f"<Keeper {self.target} connects={self.connects} link={self.link!r}>"

    async def connect(self) -> None:
        """Connect once; from then on calls are taken, and `run` sends them. Cancelling closes what was opened.

        Raises:
            Unavailable: nobody is there, or not ready to serve.
            Misconfigured: the server will not have us, or we will not have it.
        """
        try:
            with trio.fail_after(self._connect_timeout):
                stream, server = await connect(self.target)
        except trio.TooSlowError:
            raise Unavailable(f"Redis at {self.target} took too long to let us in") from None
        try:
            self._accept(server)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        self.server = server
        self.link = Link(stream, self._limits, self._on_trouble, self.latency)
        self.connects += 1
        self.health.set(True)
        _log.info("connected to Redis at %s", self.target)

    def failed(self, error: Unavailable | Misconfigured) -> None:
        """Remember why there is no link, for the callers to come."""
        if self.away != str(error):
            self.away = str(error)
            _log.warning("%s", error)

    def unwell(self, why: str) -> None:
        """Note that the server is in trouble, until it answers a PING."""
        if self.health.set(False):
            _log.warning("Redis at %s is in trouble: %s", self.target, why)

    async def run(self) -> None:
        """Serve the link until it is lost, connect again, and so on until cancelled; then nobody waits any more."""
        while True:
            if self.link is not None:
                await self._serve(self.link)
            await trio.sleep(self._backoff.next())
            try:
                await self.connect()
            except (Unavailable, Misconfigured) as error:
                self.failed(error)

    async def _serve(self, link: Link) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, link, name="resp watch")
                await link.run()
                nursery.cancel_scope.cancel()
        finally:
            self.away = link.lost or CLOSED
            self.link = None

    def _on_trouble(self) -> None:
        lost = self.link.lost if self.link is not None else CLOSED
        if lost == CLOSED:
            self.health.set(False)
        else:
            self.unwell(lost or "it does not answer")

    async def _watch(self, link: Link) -> None:
        """Ask for a PONG: now and then while nobody else asks anything, and after trouble until one comes."""
        answered = 0
        while True:
            with trio.move_on_after(self._interval) as calm:
                await self.health.wait(False)
            if calm.cancelled_caught:
                self._backoff.reset()
            elif not link.late:
                await trio.sleep(self._backoff.next())
            if not self.health or link.answered == answered:
                with suppress(Unavailable):
                    await self._ping(link)
            answered = link.answered

    async def _ping(self, link: Link) -> None:
        [reply] = await link.exchange(_PING, 1, patient=True)
        if not isinstance(reply, ErrorReply) and link.lost is None and self.health.set(True):
            _log.info("Redis at %s is well again", self.target)
