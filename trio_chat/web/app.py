"""The one ASGI application behind the port: whatever is neither a WebSocket nor Engine.IO is answered here.

1. `make_web_app` has a list of routes, in groups; a new part of the server's HTTP is one more group.
2. The page needs no token: it is the same for everybody, and what it shows comes over `/ws`, which does, as does the
   API.
3. Every answer carries `headers.HEADERS`, errors included.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from trio_chat.web.assets import Asset, load_assets, make_asset, modules_of
from trio_chat.web.headers import SecureHeaders

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from trio_chat.settings import Settings

_PAGES: Final = {"/": "index.html", "/admin": "admin.html"}
_MODE: Final = b'data-auth="token"'
_PRELOAD: Final = b"<!-- preload -->"


def make_web_app(settings: Settings, *more: BaseRoute) -> Starlette:
    """Make the application. It holds the page in memory and needs neither a lifespan nor anything to be closed.

    Args:
        settings: the page is told the mode in which people come in.
        more: what stands beside the pages: what operators ask for, and the API.
    """
    app = Starlette(
        routes=[*_page_routes(settings), *more],
        middleware=[Middleware(SecureHeaders)],
        exception_handlers={HTTPException: _explain},
    )
    # A path is right or wrong; a redirection would name a host that the client has made up.
    app.router.redirect_slashes = False
    return app


def _page_routes(settings: Settings) -> Iterator[Route]:
    contents = load_assets()
    for path, name in _PAGES.items():
        yield Route(path, partial(_serve, make_asset(name, _page(name, contents, settings))))
    for name, body in contents.items():
        if name not in _PAGES.values():
            yield Route(f"/static/{name}", partial(_serve, make_asset(name, body)))


async def _serve(asset: Asset, request: Request) -> Response:
    # Somebody's WebSocket, at the wrong path: a page would tell them less than a 404 does. (hypercorn has taken the
    # header Upgrade away by now.)
    if "sec-websocket-key" in request.headers:
        raise HTTPException(404)
    return asset.respond(request)


def _page(name: str, contents: Mapping[str, bytes], settings: Settings) -> bytes:
    """Return a page, with the mode, and with its modules named so that they are fetched all at once."""
    links = [f'<link rel="modulepreload" href="static/{path}">' for path in modules_of(name, contents)]
    page = contents[name].replace(_PRELOAD, "\n    ".join(links).encode())
    return page.replace(_MODE, f'data-auth="{settings.auth_mode}"'.encode())


async def _explain(_: Request, error: Exception) -> Response:
    """Answer what is not there, or not in this way."""
    assert isinstance(error, HTTPException)  # noqa: S101 - the only type it is registered for
    text = "Nothing is here." if error.status_code == 404 else error.detail  # noqa: PLR2004 - HTTP's own number
    return PlainTextResponse(f"{text}\n", error.status_code, headers=error.headers)
