"""Which pages may come, and what they are told."""

from __future__ import annotations

from typing import Any

from trio_chat.clients.handshake import Refused, Request

from .house import PATH

OURS = "https://ours.example"


def only_ours(request: Request) -> None:
    """Turn foreign pages away."""
    if request.headers.get(b"origin", OURS.encode()) != OURS.encode():
        raise Refused(403, "This page may not.")


async def test_listed_origin(start: Any) -> None:
    """A page whose origin is listed may read the answer and send credentials along."""
    served = await start(admit=only_ours, listed=[OURS.upper()])
    answer = await served.ask(Origin=OURS)

    assert answer.headers["access-control-allow-origin"] == OURS
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["vary"] == "Origin"


async def test_admitted_origin(start: Any) -> None:
    """A page that may come although no origin is listed may read the answer, without credentials. So with errors."""
    served = await start()
    for query in ("EIO=4&transport=polling", "EIO=3&transport=polling"):
        answer = await served.ask(query=query, Origin="https://any.example")

        assert answer.headers["access-control-allow-origin"] == "https://any.example"
        assert "access-control-allow-credentials" not in answer.headers


async def test_foreign_origin(start: Any, dial: Any) -> None:
    """A page that may not come gets 403, no header, and no session, whichever way it asks."""
    served = await start(admit=only_ours, listed=[OURS])
    theirs = "https://theirs.example"
    for method, headers in (("GET", {}), ("OPTIONS", {"Access_Control_Request_Method": "POST"})):
        answer = await served.ask(method, Origin=theirs, **headers)

        assert answer.code == (403, 4)
        assert not [name for name in answer.headers if name.startswith("access-control")]
    wire = await dial(served, shake=False)
    request = wire.protocol.connect()
    request.path = f"{PATH}?EIO=4&transport=websocket"
    request.headers["Origin"] = theirs
    await wire.send(request.serialize())
    assert b'"code":4' in await wire.expect_response(403)
    assert not served.told


async def test_no_origin(start: Any) -> None:
    """Who is no page is told nothing about origins."""
    served = await start(admit=only_ours, listed=[OURS])
    answer = await served.ask()

    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_preflight(start: Any) -> None:
    """A page that asks what it may send is told."""
    served = await start(admit=only_ours, listed=[OURS])
    answer = await served.ask(
        "OPTIONS",
        Origin=OURS,
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization",
    )

    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == OURS
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    assert answer.headers["access-control-allow-headers"] == "authorization"
    assert not served.told
