"""What those who run the server ask for: `/healthz`, `/readyz` and `/metrics`, by GET or HEAD.

1. The first two are for everybody: load balancers have no tokens, and nothing they say is worth hiding.
2. `/metrics` tells how much is going on. With `METRICS_TOKEN` it is for whoever brings that as a bearer token (RFC 6750);
   without, for this very machine, unless the request came through a proxy, which lets strangers look like it.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from typing_extensions import override

from trio_chat.web.health import Readiness
from trio_chat.web.link import is_loopback
from trio_chat.web.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request

    from trio_chat.lobby import Lobby
    from trio_chat.room import Room
    from trio_chat.settings import Settings
    from trio_chat.stores.places import Stores
    from trio_chat.web.metrics import Servers
    from trio_chat.web.moment import Moment

_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_FRESH: Final = {"Cache-Control": "no-store"}


class Operations:
    """Answers the three. Lives as long as the server.

    Args:
        settings: the token, and how far the archive may be behind.
        stores: as they are, not as rooms may see them.
        lobby: the rooms.

    Attributes:
        servers: the parts that come up last; None until they are there.
    """

    def __init__(self, settings: Settings, stores: Stores, lobby: Lobby) -> None:
        self._token = settings.metrics_token
        limit = settings.longest_sync_lag
        self._readiness = Readiness(stores.hot, stores.archive, lobby.syncer, limit)
        self._metrics = Metrics(stores, lobby, self._readiness, limit)

    @override
    def __repr__(self) -> str:
        return f"<Operations {self._readiness!r} {self._metrics!r}>"

    @property
    def servers(self) -> Servers | None:
        """See the class."""
        return self._metrics.servers

    @servers.setter
    def servers(self, servers: Servers) -> None:
        self._metrics.servers = servers

    async def moment(self, look: Callable[[Room], None]) -> Moment:
        """Return the statistics of the server's parts, as they are now; `look` is shown each room. Cancelling is safe."""
        return await self._metrics.moment(look)

    async def alive(self, _: Request) -> Response:
        """Say that the event loop runs, which is all that this answer takes."""
        return PlainTextResponse("alive\n", headers=_FRESH)

    async def ready(self, _: Request) -> Response:
        """Say whether the server can do its work, check by check. Cancelling is safe."""
        report = await self._readiness.report()
        body = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
        status = 200 if report.ready else 503
        return Response(body, status, media_type="application/json", headers=_FRESH)

    async def scrape(self, request: Request) -> Response:
        """Return every metric, in the text format of Prometheus. Cancelling is safe."""
        if self._token is not None:
            if not _bears(request, self._token):
                text = "Bring METRICS_TOKEN as a bearer token.\n"
                return PlainTextResponse(text, 401, headers={**_FRESH, "WWW-Authenticate": "Bearer"})
        elif not _is_local(request):
            text = "Without METRICS_TOKEN only the server's own machine may ask, and not through a proxy.\n"
            return PlainTextResponse(text, 403, headers=_FRESH)
        return Response(await self._metrics.text(), media_type=self._metrics.media_type, headers=_FRESH)


def operations_routes(operations: Operations) -> Iterator[Route]:
    """Yield the routes, each for GET and HEAD."""
    yield Route("/healthz", operations.alive)
    yield Route("/readyz", operations.ready)
    yield Route("/metrics", operations.scrape)


def _bears(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    # In a time that says nothing about how much of it is right.
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _is_local(request: Request) -> bool:
    if any(name in request.headers for name in _FORWARDED):
        return False
    return request.client is not None and is_loopback(request.client.host)
