"""Packets over a WebSocket, and how a session moves to one."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from websockets.frames import Frame, Opcode

from tests.waiting import wait_for
from trio_chat.clients.engine.server import parcel
from trio_chat.errors import CloseCode

from .house import dial_websocket

# --- over a WebSocket


async def test_echo_over_websocket(start: Any, dial: Any) -> None:
    """Messages take the fast lane, and go straight to the link."""
    served = await start()
    wire = await dial_websocket(dial, served)
    for text in ("4", "4hello", "4" + "é" * 1000):
        await wire.expect_echo(text)

    (link,) = served.server.links
    assert link.statistics().fast
    assert served.last.heard == [b"", b"hello", ("é" * 1000).encode()]
    assert served.last.link.statistics().messages == 3


async def test_offer_is_synchronous(start: Any, dial: Any) -> None:
    """What is offered over a WebSocket is with the socket when `offer` returns: no task has to run for it."""
    served = await start()
    await dial_websocket(dial, served)
    (link,) = served.server.links
    before = link.statistics().outbox.sent
    served.last.link.offer(parcel([b"one", b"two"]))

    assert link.statistics().outbox.sent == before + len(parcel([b"one", b"two"]).frames)


@pytest.mark.parametrize("text", ["", "abc", "2", "0{}", "5", "bAQID"])
async def test_bad_packets_over_websocket(start: Any, dial: Any, text: str) -> None:
    """What is no packet of a client ends the session with 1002."""
    served = await start()
    wire = await dial_websocket(dial, served)
    await wire.say(text)

    await wire.expect_close(1002)
    await served.last.expect_over()


async def test_binary(start: Any, dial: Any) -> None:
    """Binary messages end the session with 1003."""
    served = await start()
    wire = await dial_websocket(dial, served)
    await wire.say_frame(Opcode.BINARY, b"\1\2\3")

    await wire.expect_close(1003)


async def test_client_leaves_websocket(start: Any, dial: Any) -> None:
    """A close packet ends the session, and so does the end of the WebSocket."""
    served = await start()
    wire = await dial_websocket(dial, served)
    await wire.say("1")
    await wire.expect_close(1000)
    wire = await dial_websocket(dial, served)
    await trio.aclose_forcefully(wire.stream)

    for told in served.told:
        await told.expect_over()
    assert not served.engine.sessions


async def test_closing_over_websocket(start: Any, dial: Any) -> None:
    """A session that we end is told the code, behind what was offered."""
    served = await start()
    wire = await dial_websocket(dial, served)
    await wire.say("4hello")
    await wire.say("4close")
    await wire.expect_text("4hello")

    assert await wire.expect_close(4501) == "as you wish"
    assert served.last.closed == 1


async def test_polling_a_websocket(start: Any, dial: Any) -> None:
    """A session over a WebSocket is not polled."""
    served = await start()
    wire = await dial_websocket(dial, served)

    assert (await served.poll(served.last.link.sid)).code == (400, 3)
    assert (await served.post(served.last.link.sid, b"4x")).code == (400, 3)
    await wire.expect_echo("4hello")


# --- moving


async def test_upgrade(start: Any, upgrade: Any) -> None:
    """A session moves: what waits and what comes later arrives over the WebSocket, once, in order."""
    served = await start()
    sid = await served.open()
    link = served.last.link
    wire = await upgrade(served, sid)
    for number in range(3):
        link.offer(parcel([b"%d a" % number, b"%d b" % number]))
    await wire.say("5")
    await wait_for(lambda: link.transport == "websocket")
    link.offer(parcel([b"last"]))

    for text in ("40 a", "40 b", "41 a", "41 b", "42 a", "42 b", "4last"):
        await wire.expect_text(text)
    await wire.expect_echo("4hello")
    assert (await served.poll(sid)).code == (400, 3)
    assert served.engine.statistics().websocket == 1
    assert len(served.told) == 1
    (carrier,) = served.server.links
    assert carrier.statistics().fast


async def test_poll_while_probing(start: Any, upgrade: Any) -> None:
    """A poll that waits comes back with a noop when a WebSocket is tried, and further ones at once."""
    served = await start()
    sid = await served.open()
    answer = await served.start_poll(sid)
    wire = await upgrade(served, sid)

    assert (await answer()).packets == [b"6"]
    assert (await served.poll(sid)).packets == [b"6"]
    served.last.link.offer(parcel([b"by polling"]))
    assert (await served.poll(sid)).packets == [b"4by polling"]
    await wire.say("5")
    await wire.expect_echo("4hello")


async def test_packets_half_fetched(start: Any, upgrade: Any) -> None:
    """What was fetched by polling does not come again over the WebSocket."""
    served = await start(max_payload=6)
    sid = await served.open()
    served.last.link.offer(parcel([b"one", b"two", b"three"]))
    assert (await served.poll(sid)).packets == [b"4one"]
    wire = await upgrade(served, sid)
    await wire.say("5")

    await wire.expect_text("4two")
    await wire.expect_text("4three")
    await wire.expect_echo("4hello")


async def test_posts_while_probing(start: Any, upgrade: Any) -> None:
    """What is posted before the move is heard before what comes over the WebSocket."""
    served = await start()
    sid = await served.open()
    wire = await upgrade(served, sid)
    await served.post(sid, b"4one")
    await wire.say("5")
    await wire.say("4two")
    await wire.expect_text("4one")
    await wire.expect_text("4two")

    assert served.last.heard == [b"one", b"two"]


@pytest.mark.parametrize("how", ["left", "cut", "wrong"])
@pytest.mark.parametrize("probe", [True, False])
async def test_abandoned_upgrade(start: Any, upgrade: Any, how: str, probe: bool) -> None:
    """When the WebSocket ends before the session has moved, the client goes on polling, and may try again."""
    served = await start()
    sid = await served.open()
    wire = await upgrade(served, sid, probe=probe)
    match how:
        case "left":
            await wire.close()
            await wire.expect_close(1000)
        case "cut":
            await trio.aclose_forcefully(wire.stream)
        case _:
            await wire.say("4too early")
            await wire.expect_close(1002)
    await wait_for(lambda: served.last.link._probe is None)
    answer = await served.start_poll(sid)
    await served.post(sid, b"4hello")

    assert (await answer()).packets == [b"4hello"]
    assert not served.last.closed
    wire = await upgrade(served, sid)
    await wire.say("5")
    await wire.expect_echo("4again")


async def test_upgrade_without_probe(start: Any, upgrade: Any) -> None:
    """A session does not move to a WebSocket that was not tried."""
    served = await start()
    sid = await served.open()
    wire = await upgrade(served, sid, probe=False)
    await wire.say("5")
    await wire.expect_close(1002)

    assert served.last.link.transport == "polling"


async def test_upgrade_timeout(start: Any, upgrade: Any) -> None:
    """A client that tries a WebSocket and never moves loses that WebSocket only. Takes the timeout."""
    served = await start(upgrade_timeout=0.1)
    sid = await served.open()
    wire = await upgrade(served, sid)
    await wire.expect_close(1002)
    await served.post(sid, b"4hello")

    assert (await served.poll(sid)).packets == [b"4hello"]


async def test_second_websocket(start: Any, upgrade: Any) -> None:
    """A second WebSocket for a session is closed, whether the first one is being tried or carries it."""
    served = await start()
    sid = await served.open()
    wire = await upgrade(served, sid)
    second = await upgrade(served, sid, probe=False)
    await second.expect_close(1002)
    await wire.say("5")
    await wire.expect_echo("4hello")
    third = await upgrade(served, sid, probe=False)
    await third.expect_close(1002)

    await wire.expect_echo("4still here")


async def test_end_while_probing(start: Any, upgrade: Any) -> None:
    """A session that ends before it has moved takes the WebSocket with it."""
    served = await start()
    sid = await served.open()
    wire = await upgrade(served, sid)
    await served.post(sid, b"1")

    await wire.expect_close(1000)
    await served.last.expect_over()


async def test_end_after_upgrade(start: Any, upgrade: Any) -> None:
    """A session that has moved ends with its WebSocket, its tasks first."""
    served = await start()
    sid = await served.open()
    await served.post(sid, b"4task")
    wire = await upgrade(served, sid)
    await wire.say("5")
    await wire.expect_echo("4hello")
    await wire.close()
    await served.last.expect_over()

    assert served.last.ended == ["task", "closed"]
    assert not served.engine.sessions


# --- a client that shares no code with us


@pytest.mark.parametrize("packet", ["3", "6"], ids=["pongs", "noops"])
async def test_floods_of_packets_that_say_nothing(start: Any, dial: Any, packet: str) -> None:
    """Who sends hundreds of pongs or noops at once has to come back, over a WebSocket."""
    served = await start()
    wire = await dial_websocket(dial, served)
    await wire.send(Frame(Opcode.TEXT, packet.encode()).serialize(mask=True) * 257)

    await wire.expect_close(CloseCode.RATE_LIMITED)
