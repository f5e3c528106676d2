"""The client against a real server, which is paused, killed, filled and hidden behind a bad network.

A real clock. Timeouts are shortened; where a test takes longer than a quarter of a second, it waits for a server to
start, for a timeout to pass, or for the pause before the next connection.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
import trio.testing

from trio_chat.errors import Misconfigured, Unavailable
from trio_chat.stores.embedded import EmbeddedValkey
from trio_chat.stores.resp import Limits, ReplyError, Resp, open_resp
from trio_chat.stores.resp_connect import Server
from trio_chat.stores.resp_script import Script

from .conftest import Console

QUICK = Limits(timeout=0.2, stale=2)
open_quickly = partial(open_resp, limits=QUICK, interval=0.1)


@pytest.fixture
async def resp(valkey_process: EmbeddedValkey) -> AsyncIterator[Resp]:
    """A client of the session's server."""
    async with open_resp(valkey_process.url) as resp:
        yield resp


@pytest.fixture
async def own_resp(own_valkey: EmbeddedValkey) -> AsyncIterator[Resp]:
    """A client of the test's own server, with short timeouts."""
    async with open_quickly(own_valkey.url) as resp:
        yield resp


async def until(resp: Resp, healthy: bool, seconds: float = 5) -> None:
    """Wait for the flag."""
    with trio.fail_after(seconds):
        await resp.wait_health(healthy)


async def eventually(check: Callable[[], Awaitable[bool]], seconds: float = 3) -> None:
    """Look again and again until it is so: for what nobody announces."""
    with trio.fail_after(seconds):
        while True:
            if await check():
                return
            await trio.sleep(0.02)


# Calls.


async def test_reply_types(resp: Resp, prefix: str) -> None:
    """Replies are bytes, ints, None and lists."""
    assert await resp.call("GET", prefix) is None
    assert await resp.call("RPUSH", prefix, "a", b"\x00\xff", 3) == 3
    assert await resp.call("LRANGE", prefix, 0, -1) == [b"a", b"\x00\xff", b"3"]


async def test_every_task_gets_its_own_replies(resp: Resp) -> None:
    """A hundred tasks share the connection, with replies of all sizes, some of them cancelled."""
    dice = random.Random(1)

    async def talk(number: int) -> None:
        for turn in range(30):
            text = f"{number}/{turn}/" + "x" * dice.choice([0, 1, 100, 10_000])
            with trio.move_on_after(dice.choice([0, 0.0005, 5, 5, 5])):
                assert await resp.call("ECHO", text) == text.encode()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(talk, number)

    assert resp.healthy
    assert resp.statistics().connects == 1


async def test_pipeline_stays_together(resp: Resp, prefix: str) -> None:
    """No other task's command comes between those of a pipeline."""

    async def twice(number: int) -> None:
        replies = await resp.pipeline([("SET", prefix, number), ("GET", prefix)])
        assert replies == [b"OK", str(number).encode()]

    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(twice, number)


async def test_pipeline_returns_errors_as_values(resp: Resp, prefix: str) -> None:
    """One command's error leaves the others alone, also within a transaction."""
    one, error, two = await resp.pipeline([("SET", prefix, 1), ("LPUSH", prefix, 1), ("GET", prefix)])
    assert (one, two) == (b"OK", b"1")
    assert isinstance(error, ReplyError)

    *_, executed = await resp.pipeline([("MULTI",), ("GET", prefix), ("LLEN", prefix), ("EXEC",)])
    assert executed[0] == b"1"
    assert isinstance(executed[1], ReplyError)
    assert executed[1].code == "WRONGTYPE"


async def test_empty_pipeline(resp: Resp) -> None:
    """Nothing asked, nothing answered."""
    assert await resp.pipeline([]) == []


async def test_error_reply_is_raised(resp: Resp, prefix: str) -> None:
    """An error that is about the call leaves the client healthy."""
    await resp.call("SET", prefix, "text")
    with pytest.raises(ReplyError) as caught:
        await resp.call("HGET", prefix, "field")

    assert caught.value.code == "WRONGTYPE"
    assert resp.healthy


async def test_scripts_are_told_when_they_are_forgotten(resp: Resp) -> None:
    """A server that forgot a script is told it again, and the caller notices nothing."""
    script = Script("return {KEYS[1], ARGV[1]}")
    for text in ("one", "two"):
        await resp.call("SCRIPT", "FLUSH")
        assert await script.run(resp, ["k"], [text]) == [b"k", text.encode()]

    assert await script.run_all(resp, [(["k"], ["1"]), (["l"], ["2"])]) == [[b"k", b"1"], [b"l", b"2"]]
    assert await script.run_all(resp, []) == []


async def test_error_in_a_script_is_the_caller_s(resp: Resp, prefix: str) -> None:
    """A script's error has the code of the call that failed in it."""
    await resp.call("SET", prefix, "text")
    with pytest.raises(ReplyError) as caught:
        await Script("return redis.call('LPUSH', KEYS[1], 1)").run(resp, [prefix])

    assert caught.value.code == "WRONGTYPE"


# Opening and closing.


async def test_nobody_there_at_start(free_port: int) -> None:
    """A server that must be there and is not is an error at once."""
    with trio.fail_after(2), pytest.raises(Unavailable, match="no Redis at"):
        async with open_resp(f"redis://127.0.0.1:{free_port}"):
            pass


async def test_starting_without_a_server(own_valkey: EmbeddedValkey) -> None:
    """A client that does not insist starts unhealthy, refuses calls at once, and connects when it can."""
    own_valkey.kill()
    async with open_quickly(own_valkey.url, require=False) as resp:
        assert not resp.healthy
        with trio.fail_after(0.1), pytest.raises(Unavailable, match="no Redis at"):
            await resp.call("PING")

        own_valkey.start()
        await until(resp, True)
        assert await resp.call("PING") == b"PONG"


async def test_wrong_credentials_at_start(own_valkey: EmbeddedValkey) -> None:
    """A server that is there and will not have us is an error, however patient the client is."""
    with trio.fail_after(2), pytest.raises(Misconfigured, match="WRONGPASS"):
        async with open_resp(f"unix://bob:pw@{own_valkey.socket}", require=False):
            pass


async def test_server_that_is_not_wanted(valkey_process: EmbeddedValkey) -> None:
    """The program has the last word on whom it connects to."""

    def refuse(server: Server) -> None:
        raise Misconfigured(f"not {server.mode}")

    with pytest.raises(Misconfigured, match="not standalone"):
        async with open_resp(valkey_process.url, accept=refuse):
            pass


async def test_closing_tells_who_still_waits(own_valkey: EmbeddedValkey) -> None:
    """A call that outlives the client's block fails, as does one that comes later."""
    failures: list[Unavailable] = []

    async def wait(resp: Resp) -> None:
        with pytest.raises(Unavailable) as caught:
            await resp.call("BLPOP", "nothing", 0)
        failures.append(caught.value)

    async with trio.open_nursery() as nursery:
        async with open_resp(own_valkey.url) as resp:
            nursery.start_soon(wait, resp)  # noqa: ASYNC111 - it shall outlive the client
            await trio.testing.wait_all_tasks_blocked(0.01)

    with pytest.raises(Unavailable, match="closed"):
        await resp.call("PING")
    assert [str(failure) for failure in failures] == ["the connection to Redis was closed"]


async def test_block_s_own_error_comes_out_bare(valkey_process: EmbeddedValkey) -> None:
    """What goes wrong inside the block is not wrapped in a group."""
    with pytest.raises(KeyError):
        async with open_resp(valkey_process.url):
            raise KeyError


# A server in trouble.


async def test_paused_server(own_valkey: EmbeddedValkey, own_resp: Resp) -> None:
    """Calls fail in time, then at once; after the pause the same connection works and no reply is mixed up."""
    own_valkey.pause()
    start = trio.current_time()
    with pytest.raises(Unavailable, match="in time"):
        await own_resp.call("ECHO", "late")
    assert 0.15 < trio.current_time() - start < 1
    assert not own_resp.healthy
    with trio.fail_after(0.1), pytest.raises(Unavailable, match="does not answer"):
        await own_resp.call("ECHO", "later")

    own_valkey.resume()
    await until(own_resp, True)
    for number in range(20):
        assert await own_resp.call("ECHO", number) == str(number).encode()
    assert own_resp.statistics().connects == 1


async def test_short_pause_is_not_noticed(own_valkey: EmbeddedValkey) -> None:
    """Below the timeout a pause is just a slow answer."""
    async with open_resp(own_valkey.url, interval=0.05) as resp:
        own_valkey.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(resp.call, "PING")
            await trio.sleep(0.3)
            own_valkey.resume()

        assert resp.healthy


async def test_pause_is_noticed_without_calls(own_valkey: EmbeddedValkey, own_resp: Resp) -> None:
    """The client looks for itself when nobody calls."""
    own_valkey.pause()
    await until(own_resp, False, 2)

    own_valkey.resume()
    await until(own_resp, True)


async def test_long_pause_ends_the_connection(own_valkey: EmbeddedValkey) -> None:
    """A connection that has not answered for too long is given up; the next one works after the pause."""
    limits = Limits(timeout=0.1, stale=0.3)
    async with open_resp(own_valkey.url, limits=limits, interval=0.1, connect_timeout=0.2) as resp:
        own_valkey.pause()
        await until(resp, False)
        await eventually(partial(is_disconnected, resp))
        own_valkey.resume()
        await until(resp, True)

        assert await resp.call("ECHO", "there") == b"there"
        assert resp.statistics().connects == 2


async def test_killed_server(own_valkey: EmbeddedValkey, own_resp: Resp) -> None:
    """Who waits learns at once; calls fail at once while nobody is there; then the client connects by itself."""
    history = own_resp.server.history
    failures: list[Unavailable] = []

    async def wait() -> None:
        with pytest.raises(Unavailable) as caught:
            await own_resp.call("BLPOP", "nothing", 0)
        failures.append(caught.value)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked(0.01)
        own_valkey.kill()
    assert len(failures) == 5
    assert not own_resp.healthy
    with trio.fail_after(0.1), pytest.raises(Unavailable):
        await own_resp.call("PING")

    own_valkey.start()
    await until(own_resp, True)
    assert await own_resp.call("PING") == b"PONG"
    assert own_resp.server.history != history


async def test_credentials_changed_while_away(own_valkey: EmbeddedValkey, own_console: Console) -> None:
    """What would be an error at start degrades later, and heals when it is set right."""
    own_console("ACL", "SETUSER", "ann", "on", ">old", "~*", "+@all")
    async with open_quickly(f"unix://ann:old@{own_valkey.socket}") as resp:
        own_console("ACL", "SETUSER", "ann", "resetpass", ">new")
        own_console("CLIENT", "KILL", "USER", "ann")
        await until(resp, False)
        await eventually(partial(fails_with, resp, "WRONGPASS"))

        own_console("ACL", "SETUSER", "ann", ">old")
        await until(resp, True)


async def is_disconnected(resp: Resp) -> bool:
    """Whether there is no link."""
    await trio.lowlevel.checkpoint()
    return not resp.statistics().connected


async def fails_with(resp: Resp, code: str) -> bool:
    """Whether a call fails for this reason."""
    with pytest.raises((Unavailable, Misconfigured)) as caught:
        await resp.call("PING")
    return code in str(caught.value)


async def test_server_out_of_memory(own_valkey: EmbeddedValkey, own_console: Console, own_resp: Resp) -> None:
    """A refused write is unavailable and unhealthy; reads go on; all is well when there is memory again."""
    await own_resp.call("SET", "k", "v")
    own_console("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(Unavailable, match="OOM"):
        await own_resp.call("SET", "l", "v")
    assert not own_resp.healthy
    assert await own_resp.call("GET", "k") == b"v"

    own_console("CONFIG", "SET", "maxmemory", 0)
    await until(own_resp, True)
    await own_resp.call("SET", "l", "v")
    assert own_resp.statistics().refused == 1


async def test_busy_server(own_valkey: EmbeddedValkey, own_console: Console, own_resp: Resp) -> None:
    """A script that does not end makes the server refuse everybody, until somebody ends it."""
    own_console("CONFIG", "SET", "busy-reply-threshold", 10)
    async with open_quickly(own_valkey.url) as other:
        with pytest.raises(Unavailable):
            await other.call("EVAL", "while true do end", 0)
        with pytest.raises(Unavailable, match="BUSY"):
            await own_resp.call("GET", "k")
        assert not own_resp.healthy

        own_console("SCRIPT", "KILL")
        await until(own_resp, True)
        await until(other, True)
        assert await other.call("ECHO", "again") == b"again"


async def test_server_that_may_not_write(
    own_valkey: EmbeddedValkey, own_console: Console, own_resp: Resp
) -> None:
    """A replica sends us elsewhere: the client connects anew, and writes when it finds a server that may."""
    own_console("REPLICAOF", "127.0.0.1", 1)
    with pytest.raises(Unavailable, match="READONLY"):
        await own_resp.call("SET", "k", "v")
    assert not own_resp.healthy

    own_console("REPLICAOF", "NO", "ONE")
    await until(own_resp, True)
    await own_resp.call("SET", "k", "v")
    assert own_resp.statistics().connects == 2


async def test_permission_that_is_missing(own_valkey: EmbeddedValkey, own_console: Console) -> None:
    """A command that our user may not run is an operator's matter."""
    own_console("ACL", "SETUSER", "ann", "on", ">pw", "~tc:*", "+@all", "-flushall")
    async with open_resp(f"unix://ann:pw@{own_valkey.socket}") as resp:
        for command in (("FLUSHALL",), ("SET", "other", "v")):
            with pytest.raises(Misconfigured, match="NOPERM"):
                await resp.call(*command)

        assert await resp.call("SET", "tc:k", "v") == b"OK"


# A bad network between.

Pump = Callable[[trio.abc.ReceiveStream, trio.abc.SendStream], Awaitable[None]]


@asynccontextmanager
async def proxied(valkey: EmbeddedValkey, pump: Pump) -> AsyncIterator[str]:
    """Put something between the client and the server that passes on, in its own way, what the server says."""

    async def forward(outside: trio.SocketStream) -> None:
        await trio.lowlevel.checkpoint()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with outside, await trio.open_unix_socket(str(valkey.socket)) as inside:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(until_end, pump, inside, outside, nursery.cancel_scope)
                    nursery.start_soon(until_end, copy, outside, inside, nursery.cancel_scope)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, forward, 0, host="127.0.0.1"))
        yield f"redis://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def until_end(
    pump: Pump, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope
) -> None:
    """Pump until one side has ended, then end both."""
    await trio.lowlevel.checkpoint()
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await pump(source, sink)
    scope.cancel()


async def copy(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
    """Pass everything on as it comes."""
    await trio.lowlevel.checkpoint()
    async for data in source:
        await sink.send_all(data)


async def echo(resp: Resp, number: int, failures: list[Unavailable]) -> None:
    """See that the reply is the right one, if one comes."""
    await trio.lowlevel.checkpoint()
    text = f"{number}:".encode() * 50
    try:
        assert await resp.call("ECHO", text) == text
    except Unavailable as error:
        failures.append(error)


async def echoes(resp: Resp, count: int) -> list[Unavailable]:
    """Make many calls at once and return those that failed."""
    failures: list[Unavailable] = []
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(echo, resp, number, failures)
    return failures


async def test_replies_in_slices(valkey_process: EmbeddedValkey) -> None:
    """Replies that come byte by byte are put together again."""

    async def slice_up(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
        async for data in source:
            for byte in data:
                await sink.send_all(bytes([byte]))

    async with proxied(valkey_process, slice_up) as url, open_resp(url) as resp:
        assert await echoes(resp, 10) == []


async def test_slow_network(valkey_process: EmbeddedValkey) -> None:
    """Latency delays a call by itself, not by the number of those before it."""

    async def dawdle(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
        async for data in source:
            await trio.sleep(0.1)
            await sink.send_all(data)

    async with proxied(valkey_process, dawdle) as url, open_resp(url) as resp:
        start = trio.current_time()
        assert await echoes(resp, 50) == []
        assert trio.current_time() - start < 1


async def test_late_replies_are_never_mixed_up(valkey_process: EmbeddedValkey) -> None:
    """While replies come just before or after the timeout, each one that arrives is the right one."""
    dice = random.Random(2)

    async def stumble(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
        async for data in source:
            await trio.sleep(dice.choice([0, 0, 0.04, 0.06]))
            await sink.send_all(data)

    limits = Limits(timeout=0.05)
    async with proxied(valkey_process, stumble) as url, open_resp(url, limits=limits, require=True) as resp:
        late = 0
        for _ in range(10):
            late += len(await echoes(resp, 3))
            await until(resp, True)

    assert 0 < late < 30


async def test_connection_cut_in_the_middle_of_replies(valkey_process: EmbeddedValkey) -> None:
    """Whatever came before the cut was right, the rest is unknown, and the client connects again."""
    left = iter([10_000, 300, 700, 10_001, *[1_000_000] * 100])

    async def cut(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
        budget = next(left)
        async for data in source:
            await sink.send_all(data[:budget])
            budget -= len(data)
            if budget <= 0:
                return

    async with proxied(valkey_process, cut) as url, open_quickly(url) as resp:
        failed = 0
        for _ in range(12):
            failed += len(await echoes(resp, 100))
            await until(resp, True)

        assert failed > 0
        assert await echoes(resp, 100) == []


async def test_black_hole(valkey_process: EmbeddedValkey) -> None:
    """A network that swallows everything is noticed, the connection given up, and a new one found afterwards."""
    swallow = trio.Event()

    async def vanish(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
        async for data in source:
            if swallow.is_set():
                await trio.sleep_forever()
            await sink.send_all(data)

    limits = Limits(timeout=0.1, stale=0.3)
    async with proxied(valkey_process, vanish) as url:
        async with open_resp(url, limits=limits, interval=0.05, connect_timeout=0.1) as resp:
            swallow.set()
            await until(resp, False)
            with trio.fail_after(0.05), pytest.raises(Unavailable):
                await resp.call("PING")
            swallow = trio.Event()
            await until(resp, True)

            assert await echoes(resp, 10) == []


async def test_representation_tells_the_state(resp: Resp) -> None:
    """One line for people, the same counts for programs."""
    await resp.call("PING")

    assert "healthy" in repr(resp)
    assert resp.statistics().connected
