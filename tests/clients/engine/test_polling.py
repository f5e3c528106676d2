"""Packets over polling: in order, once, so many and so large, and never for ever."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
import trio
import trio.testing

from tests.waiting import wait_for
from trio_chat.clients.engine.polling import MAX_FETCHED
from trio_chat.clients.engine.server import parcel

from .house import PATH, PATIENCE, dial_websocket

# --- packets over polling


async def test_echo_over_polling(start: Any) -> None:
    """What is posted is heard in order, and what is offered is fetched in order."""
    served = await start()
    sid = await served.open()

    assert (await served.post(sid, b"4one", "4zwei €".encode(), b"4")).body == b"ok"
    assert (await served.poll(sid)).packets == [b"4one", "4zwei €".encode(), b"4"]
    assert served.last.heard == [b"one", "zwei €".encode(), b""]


async def test_waiting_poll(start: Any) -> None:
    """A poll waits until there is something, and gets all there is then."""
    served = await start()
    sid = await served.open()
    answer = await served.start_poll(sid)
    await served.post(sid, b"4one", b"4two")

    assert (await answer()).packets == [b"4one", b"4two"]


async def test_two_polls(start: Any) -> None:
    """A second poll at a time gets 400 and ends the session; the first one is told."""
    served = await start()
    sid = await served.open()
    first = await served.start_poll(sid)
    second = await served.poll(sid)

    assert second.code == (400, 3)
    assert (await first()).packets == [b"1"]
    assert (await served.poll(sid)).code == (400, 1)
    await served.last.expect_over()


async def test_two_posts(start: Any) -> None:
    """A second post at a time gets 400 and ends the session; what the first one brings is not heard."""
    served = await start()
    sid = await served.open()
    stream = await trio.open_tcp_stream("127.0.0.1", served.server.port)
    head = f"POST {PATH}?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: s\r\nContent-Length: 4\r\n\r\n4"
    await stream.send_all(head.encode())
    await wait_for(lambda: served.last.link.posting)

    assert (await served.post(sid, b"4two")).code == (400, 3)
    await stream.send_all(b"one")
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
    await stream.aclose()
    assert served.last.heard == []


async def test_poll_that_is_left(start: Any) -> None:
    """A client that leaves in the middle of a poll has left the session."""
    served = await start()
    sid = await served.open()
    stream = await trio.open_tcp_stream("127.0.0.1", served.server.port)
    await stream.send_all(
        f"GET {PATH}?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: s\r\n\r\n".encode()
    )
    await wait_for(lambda: served.last.link._polling._poll is not None)
    await stream.aclose()
    await served.last.expect_over()

    assert (await served.poll(sid)).code == (400, 1)


@pytest.mark.parametrize("leave", [True, False], ids=["leaves", "stalls"])
async def test_half_a_post(start: Any, leave: bool) -> None:
    """A client that brings half of what it announced, or takes too long, ends the session."""
    served = await start()
    sid = await served.open()
    stream = await trio.open_tcp_stream("127.0.0.1", served.server.port)
    head = f"POST {PATH}?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: s\r\nContent-Length: 9\r\n\r\n4"
    await stream.send_all(head.encode())
    if leave:
        await stream.aclose()
    else:
        with trio.fail_after(PATIENCE):
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 408 ")
        await stream.aclose()
    await served.last.expect_over()

    assert served.last.heard == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"abc",
        b"4one\x1e",
        b"4one\x1eabc",
        b"bAQID",
        b"4\xff",
        b"2",
        b"0{}",
        b"5",
        b"4x\x1e" * 2000 + b"4x",
    ],
)
async def test_bad_packets(start: Any, body: bytes) -> None:
    """A body in which something is no packet of a client gets 400, ends the session, and is not heard."""
    served = await start()
    sid = await served.open()

    assert (await served.post(sid, body)).code == (400, 3)
    assert (await served.poll(sid)).code == (400, 1)
    await served.last.expect_over()
    assert served.last.heard == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_large_post(start: Any, chunked: bool) -> None:
    """A body of `max_payload` is taken; a larger one gets 413, and the session goes on."""
    served = await start(max_payload=1000)
    sid = await served.open()
    query = f"EIO=4&transport=polling&sid={sid}"

    def body(size: int) -> Any:
        return (
            iter([b"4" + b"x" * (size // 2 - 1), b"x" * (size // 2)]) if chunked else b"4" + b"x" * (size - 1)
        )

    assert (await served.ask("POST", query, body(1000))).body == b"ok"
    assert (await served.ask("POST", query, body(1002))).code == (413, 3)
    assert [len(payload) for payload in served.last.heard] == [999]
    assert (await served.poll(sid)).status == 200


async def test_poll_with_a_body(start: Any, dial: Any) -> None:
    """A poll may bring a body that nobody wants, but not an endless one: that gets 413, and ends the session."""
    served = await start()
    sid = await served.open()
    wire = await dial(served, shake=False)
    target = f"GET {PATH}?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: server\r\n".encode()
    await wire.send(target + b"Content-Length: 65536\r\n\r\n" + b"x" * 65_536)
    served.last.link.offer(parcel([b"hello"]))
    with trio.fail_after(PATIENCE):
        while not wire.raw.endswith(b"4hello"):
            wire.raw += await wire.stream.receive_some()
    await wire.send(target + b"Content-Length: 99999999999\r\n\r\n" + b"x" * 65_537)

    await wire.expect_response(413)
    await served.last.expect_over()
    assert not served.engine.sessions


async def test_pipelining_poll_that_is_left(start: Any, dial: Any) -> None:
    """A client that leaves is gone at once, whatever it has sent behind the poll that waits."""
    served = await start()
    sid = await served.open()
    wire = await dial(served, shake=False)
    request = f"GET {PATH}?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: server\r\n\r\n".encode()
    await wire.send(request * 2)
    await wait_for(lambda: served.last.link._polling._poll is not None)
    await wire.stream.aclose()
    await served.last.expect_over()


async def test_large_polls(start: Any) -> None:
    """A poll gets as many packets as fit into `max_payload`, and at least one."""
    served = await start(max_payload=10)
    sid = await served.open()
    for message in (b"12", b"34", b"56", b"a large one, which fits nowhere", b"78"):
        served.last.link.offer(parcel([message]))

    assert (await served.poll(sid)).packets == [b"412", b"434"]
    assert (await served.poll(sid)).packets == [b"456"]
    assert (await served.poll(sid)).packets == [b"4a large one, which fits nowhere"]
    assert (await served.poll(sid)).packets == [b"478"]


async def test_many_packets(start: Any) -> None:
    """A poll gets no more packets than every client understands, and the end counts as one."""
    served = await start()
    sid = await served.open()
    served.last.link.offer(parcel([b"%d" % number for number in range(32)]))
    served.last.link.close(1000)
    polls = [(await served.poll(sid)).packets for _ in range(3)]

    assert [len(packets) for packets in polls] == [MAX_FETCHED, MAX_FETCHED, 1]
    assert [packet for packets in polls for packet in packets] == [
        *(b"4%d" % number for number in range(32)),
        b"1",
    ]
    assert (await served.poll(sid)).code == (400, 1)


async def test_client_leaves_polling(start: Any) -> None:
    """A close packet ends the session; a poll that waits gets a noop."""
    served = await start()
    sid = await served.open()
    answer = await served.start_poll(sid)

    assert (await served.post(sid, b"4quiet", b"1", b"4more")).body == b"ok"
    assert (await answer()).packets == [b"6"]
    assert (await served.poll(sid)).code == (400, 1)
    await served.last.expect_over()
    assert served.last.heard == [b"quiet"]


@pytest.mark.parametrize("waiting", [True, False])
async def test_closing_over_polling(start: Any, waiting: bool) -> None:
    """A session that we end is told at the end of what was offered, whether its client waits or comes later."""
    served = await start()
    sid = await served.open()
    if waiting:
        answer = await served.start_poll(sid)
        await served.post(sid, b"4hello", b"4close")
        packets = (await answer()).packets
    else:
        await served.post(sid, b"4hello", b"4close", b"4more")
        await served.last.expect_over()
        assert (await served.post(sid, b"4after")).body == b"ok"
        packets = (await served.poll(sid)).packets

    assert packets == [b"4hello", b"1"]
    assert (await served.poll(sid)).code == (400, 1)
    assert served.last.closed == 1
    assert served.last.heard == [b"hello", b"close"]


async def test_end_that_nobody_fetches(start: Any) -> None:
    """An end is kept for `close_timeout`. Takes that long."""
    served = await start(ping_interval=0.8)
    sid = await served.open()
    await served.post(sid, b"4close")
    assert served.engine.statistics().polling == 1
    await wait_for(lambda: not served.engine.sessions)

    assert (await served.poll(sid)).code == (400, 1)


async def test_slow_polling(start: Any) -> None:
    """A client that fetches nothing loses droppable messages, then the session; an exempt history costs nothing."""
    served = await start(limits={"outbox_bytes": 100})
    sid = await served.open()
    link = served.last.link
    link.offer(parcel([b"h" * 1000]), exempt=True)
    link.offer(parcel([b"typing"]), droppable=True)
    link.offer(parcel([b"m" * 96]))
    assert (await served.poll(sid)).packets == [b"4" + b"h" * 1000, b"4" + b"m" * 96]
    link.offer(parcel([b"m" * 120]))

    assert link.closing
    assert (await served.poll(sid)).packets == [b"1"]
    await served.last.expect_over()


async def test_endless_histories(start: Any, dial: Any) -> None:
    """A client that asks for much and fetches none of it is behind, and in the end has asked for too much."""
    served = await start(limits={"outbox_bytes": 100})
    await dial_websocket(dial, served)
    assert not served.last.link.behind
    sid = await served.open()
    link = served.last.link
    link.offer(parcel([b"h" * 99]), exempt=True)
    assert not link.behind
    link.offer(parcel([b"h" * 6299]), exempt=True)
    assert link.behind
    assert not link.closing
    link.offer(parcel([b"h"]), exempt=True)

    assert link.closing
    assert (await served.poll(sid)).packets == [b"1"]


async def test_keep_alive(start: Any) -> None:
    """A client may do all of it on one connection."""
    served = await start()

    def talk() -> list[bytes]:
        client = http.client.HTTPConnection("127.0.0.1", served.server.port, timeout=PATIENCE)
        bodies = []
        try:
            client.request("GET", f"{PATH}?EIO=4&transport=polling")
            terms = json.loads(client.getresponse().read()[1:])
            query = f"{PATH}?EIO=4&transport=polling&sid={terms['sid']}"
            for number in range(3):
                client.request("POST", query, b"4%d" % number)
                bodies.append(client.getresponse().read())
                client.request("GET", query)
                bodies.append(client.getresponse().read())
        finally:
            client.close()
        return bodies

    assert await trio.to_thread.run_sync(talk) == [b"ok", b"40", b"ok", b"41", b"ok", b"42"]
    assert served.server.statistics().accepted == 1


# --- a client that shares no code with us


async def test_floods_of_packets_that_say_nothing_over_polling(start: Any) -> None:
    """They end a session that polls, too."""
    served = await start()
    sid = await served.open()
    await served.post(sid, *[b"6"] * 257)

    assert (await served.poll(sid)).packets == [b"1"]
