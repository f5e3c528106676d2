"""How a session begins: its terms, and who is refused."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
import trio
import trio.testing

from trio_chat.clients.engine.server import EngineLink, parcel

from .house import PATH, PATIENCE, Told, dial_websocket

# --- terms


async def test_terms_over_polling(start: Any) -> None:
    """A session that polls is told its terms, and that it may move."""
    served = await start(ping_interval=25, ping_timeout=20, max_payload=5000)
    answer = await served.ask()
    terms = json.loads(answer.body[1:])

    assert terms.pop("sid") == served.last.link.sid
    assert terms == {
        "upgrades": ["websocket"],
        "pingInterval": 25000,
        "pingTimeout": 20000,
        "maxPayload": 5000,
    }
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
    assert answer.headers["cache-control"] == "no-store"


async def test_terms_over_websocket(start: Any, dial: Any) -> None:
    """A session over a WebSocket has nowhere to move."""
    served = await start()
    wire = await dial(served, shake=False)
    await wire.shake_hands(f"{PATH}?EIO=4&transport=websocket")
    frame = await wire.next()

    assert json.loads(frame.data[1:])["upgrades"] == []


async def test_sids(start: Any) -> None:
    """Sids are long, different, and not in what is printed or logged."""
    served = await start()
    sids = {await served.open() for _ in range(3)}

    assert len(sids) == 3
    assert all(len(sid) * 6 >= 120 for sid in sids)
    assert not any(sid in repr(told.link) + repr(served.engine) for sid in sids for told in served.told)


async def test_request(start: Any) -> None:
    """A conversation sees how its client asked, over polling too."""
    served = await start()
    await served.ask(query="EIO=4&transport=polling&room=a", X_Token="t")
    request = served.last.link.request

    assert (request.path, request.query) == (PATH, "EIO=4&transport=polling&room=a")
    assert request.headers[b"x-token"] == b"t"
    assert request.peer.startswith("127.0.0.1:")
    assert not request.secure


async def test_offer_at_once(start: Any, dial: Any) -> None:
    """What a conversation offers as it is made comes right behind the terms."""

    class Greeting(Told):
        def __init__(self, link: EngineLink) -> None:
            super().__init__(link)
            link.offer(parcel([b"welcome"]))

    served = await start(factory=Greeting)

    assert (await served.ask()).packets[1:] == [b"4welcome"]
    await (await dial_websocket(dial, served)).expect_text("4welcome")


# --- who is refused

REFUSALS = {
    "no transport": ("GET", "EIO=4", 400, 0),
    "unknown transport": ("GET", "EIO=4&transport=carrier-pigeon", 400, 0),
    "no version": ("GET", "transport=polling", 400, 5),
    "another version": ("GET", "EIO=3&transport=polling", 400, 5),
    "unknown session": ("GET", "EIO=4&transport=polling&sid=none", 400, 1),
    "unknown session, bringing": ("POST", "EIO=4&transport=polling&sid=none", 400, 1),
    "handshake by POST": ("POST", "EIO=4&transport=polling", 400, 2),
    "handshake by PUT": ("PUT", "EIO=4&transport=polling", 400, 2),
    "websocket without one": ("GET", "EIO=4&transport=websocket", 400, 3),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_refusals(start: Any, case: str) -> None:
    """A request that is none of the protocol's gets the status and code of the reference."""
    method, query, status, code = REFUSALS[case]
    served = await start()
    answer = await served.ask(method, query)

    assert answer.code == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert not served.told
    assert served.engine.statistics().refused == 1


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("EIO=4&transport=pigeon", 0),
        ("EIO=3&transport=websocket", 5),
        ("EIO=4&transport=polling", 3),
        ("EIO=4&transport=websocket&sid=none", 1),
    ],
)
async def test_refused_websockets(start: Any, dial: Any, query: str, code: int) -> None:
    """A WebSocket handshake that is none of the protocol's gets the same."""
    served = await start()
    wire = await dial(served, shake=False)
    request = wire.protocol.connect()
    request.path = f"{PATH}?{query}"
    await wire.send(request.serialize())
    response = await wire.expect_response(400)

    assert json.loads(response.partition(b"\r\n\r\n")[2])["code"] == code


async def test_further_method(start: Any) -> None:
    """A session is asked by GET and POST only."""
    served = await start()
    sid = await served.open()

    assert (await served.ask("PUT", f"EIO=4&transport=polling&sid={sid}")).code == (400, 3)
    assert (await served.post(sid, b"4still here")).body == b"ok"


async def test_other_paths(start: Any) -> None:
    """There is nothing else here, unless somebody else answers."""
    served = await start()

    def talk(target: str) -> int:
        client = http.client.HTTPConnection("127.0.0.1", served.server.port, timeout=PATIENCE)
        client.request("GET", target)
        status = client.getresponse().status
        client.close()
        return status

    assert await trio.to_thread.run_sync(talk, "/") == 404


async def test_fallback(start: Any) -> None:
    """Other paths can be another application's."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    served = await start(fallback=application)

    def talk() -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", served.server.port, timeout=PATIENCE)
        client.request("GET", "/health")
        response = client.getresponse()
        result = response.status, response.read()
        client.close()
        return result

    assert await trio.to_thread.run_sync(talk) == (299, b"/health")


async def test_too_many_sessions(start: Any, dial: Any) -> None:
    """Sessions that poll count as connections do; there is room again when one has left."""
    served = await start(limits={"connections": 1})
    sid = await served.open()
    answer = await served.ask()
    assert (answer.code, answer.headers["retry-after"]) == ((503, 3), "5")
    wire = await dial(served, shake=False)
    request = wire.protocol.connect()
    request.path = f"{PATH}?EIO=4&transport=websocket"
    await wire.send(request.serialize())
    await wire.expect_response(503)
    await served.post(sid, b"1")

    await served.open()


async def test_failing_factory(start: Any, dial: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A conversation that cannot be made costs its session only, and an operator learns where it failed."""

    def broken(link: EngineLink) -> Any:
        link.start_soon(trio.sleep_forever)
        raise ValueError("a secret that must not be logged")

    served = await start(factory=broken)

    assert (await served.ask()).status == 500
    wire = await dial(served, shake=False)
    await wire.shake_hands(f"{PATH}?EIO=4&transport=websocket")
    await wire.next()
    await wire.expect_close(1011)
    assert not served.engine.sessions
    assert "ValueError at test_beginning.py:" in caplog.text
    assert "secret" not in caplog.text
