"""What fails, what ends, in which order, and what is left in memory: nothing."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.waiting import wait_for
from trio_chat.clients.engine.server import EngineLink, EngineServer, parcel
from trio_chat.clients.server import serve_clients

from .house import PATH, Answer, Caller, Served, Told, dial_websocket

# --- failures and tasks


@pytest.mark.parametrize("word", [b"fail", b"task fail"])
async def test_failing_conversation(
    start: Any, dial: Any, word: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A conversation or a task that fails ends its session only, and is logged without what was said."""
    served = await start()
    other = await served.open()
    sid = await served.open()
    answer = await served.start_poll(sid)
    await served.post(sid, b"4" + word)
    assert (await answer()).packets == [b"1"]
    wire = await dial_websocket(dial, served)
    await wire.say("4" + word.decode())
    await wire.expect_close(1011)

    assert [told.closed for told in served.told] == [0, 1, 1]
    assert (await served.post(other, b"4hello")).body == b"ok"
    assert "ValueError at house.py:" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("over", ["polling", "websocket"])
async def test_tasks_end_first(start: Any, dial: Any, over: str) -> None:
    """A session's tasks are cancelled when it ends, and the conversation hears of the end after the last one."""
    served = await start()
    if over == "polling":
        sid = await served.open()
        await served.post(sid, b"4task", b"4task", b"1")
    else:
        wire = await dial_websocket(dial, served)
        await wire.say("4task")
        await wire.say("4task")
        await wire.expect_echo("4hello")
        await wire.close()
    await served.last.expect_over()

    assert served.last.ended == ["task", "task", "closed"]
    served.last.link.start_soon(pytest.fail, "started after the end")


async def test_closing_from_a_task(start: Any) -> None:
    """A task may end its own session."""

    class Impatient(Told):
        def __init__(self, link: EngineLink) -> None:
            super().__init__(link)
            link.start_soon(self.give_up)

        async def give_up(self) -> None:
            await trio.lowlevel.checkpoint()
            self.link.close(4400, "too late")
            await trio.sleep_forever()

    served = await start(factory=Impatient)
    sid = await served.open()

    assert (await served.poll(sid)).packets == [b"1"]
    await served.last.expect_over()
    assert served.last.closed == 1


async def test_closed_at_once(start: Any, dial: Any) -> None:
    """A conversation may end its session as it is made."""

    class Unwilling(Told):
        def __init__(self, link: EngineLink) -> None:
            super().__init__(link)
            link.close(4501, "no")

    served = await start(factory=Unwilling)

    assert (await served.ask()).packets[1:] == [b"1"]
    wire = await dial_websocket(dial, served)
    await wire.expect_close(4501)
    for told in served.told:
        await told.expect_over()
    assert not served.engine.sessions


async def test_failing_end(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A conversation that fails at its end is logged, and nothing else comes of it."""

    class Bad(Told):
        def on_closed(self) -> None:
            super().on_closed()
            raise ValueError("a secret that must not be logged")

    served = await start(factory=Bad)
    await served.post(await served.open(), b"1")
    await served.last.expect_over()
    await served.open()

    assert " on_closed < " in caplog.text
    assert "secret" not in caplog.text


# --- memory


class Weak(EngineLink):
    """A session that can be referred to weakly."""

    __slots__ = ("__weakref__",)


@pytest.fixture
def calm() -> Iterator[None]:
    """Keep Python from looking for cycles."""
    gc.disable()
    yield
    gc.enable()


async def give_up(caller: Caller, how: str) -> None:
    """End a session in one of the ways there are."""
    match how:
        case "cut":
            caller.session.cut()
        case "goodbye":
            caller.session.close(1000)
            assert await caller.call() == (200, b"4hello\x1e1")
        case "goodbye unheard":
            caller.session.close(1000)
            await trio.sleep(4)
        case "client":
            await caller.call("POST", b"1")
        case "violation":
            await caller.call("POST", b"what")
        case "stall":
            await trio.sleep(14)
        case _:
            raise AssertionError(how)


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("task", [False, True])
@pytest.mark.parametrize("how", ["cut", "goodbye", "goodbye unheard", "client", "violation", "stall"])
async def test_nothing_stays(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, how: str, task: bool
) -> None:
    """A session that has ended leaves nothing in memory, and that without any search for cycles."""
    engine = EngineServer(Told, path=PATH)
    engine.session_type = Weak
    await nursery.start(engine.run)
    caller = Caller(engine)
    await caller.open()
    if task:
        await caller.call("POST", b"4task")
    caller.session.offer(parcel([b"hello"]))
    left = [weakref.ref(caller.session), weakref.ref(caller.session._conversation)]
    await give_up(caller, how)
    await trio.testing.wait_all_tasks_blocked()

    assert [reference() for reference in left] == [None, None]


@pytest.mark.usefixtures("calm")
async def test_nothing_stays_over_http(start: Any, dial: Any) -> None:
    """Nor does one whose client has left in the middle of a poll, or its connection."""
    served = await start()
    served.engine.session_type = Weak
    sid = await served.open()
    await served.post(sid, b"4quiet")
    await served.start_poll(sid)
    served.last.link.offer(parcel([b"hello"]))
    wire = await dial(served, shake=False)
    await wire.send(f"GET {PATH}?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: server\r\n\r\n".encode())
    await wait_for(lambda: served.last.link._polling._poll is not None)
    left = [weakref.ref(served.last.link), weakref.ref(served.last)]
    await wire.stream.aclose()
    await served.last.expect_over()
    served.told.clear()
    await wait_for(lambda: [reference() for reference in left] == [None, None])


async def test_cut_throws_away(caller: Caller) -> None:
    """What waits for a client is gone as soon as its session is cut, even if something still refers to that."""
    session = caller.session
    session.offer(parcel([b"history"]), exempt=True)
    session.offer(parcel([b"hello"]))
    session.cut()

    assert (session.statistics().waiting, session._polling.exempt) == (0, 0)


# --- the end of the server


async def test_aclose(start: Any, dial: Any) -> None:
    """A server that stops tells everybody, and lets polling clients fetch that. Nobody may come any more."""
    served = await start()
    waiting = await served.open()
    answer = await served.start_poll(waiting)
    late = await served.open()
    wire = await dial_websocket(dial, served)
    late_answer: list[Answer] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.engine.aclose)
        await wait_for(lambda: all(told.closed for told in served.told))
        late_answer.append(await served.poll(late))

    assert (await answer()).packets == [b"1"]
    assert late_answer[0].packets == [b"1"]
    await wire.expect_close(1012)
    assert (await served.ask()).code == (503, 3)
    assert [told.closed for told in served.told] == [1, 1, 1]


async def test_admit_nobody(start: Any, dial: Any) -> None:
    """Sessions that there are go on, over either transport; nobody begins one."""
    served = await start()
    polling = await served.open()
    served.last.link.offer(parcel([b"hello"]))
    wire = await dial_websocket(dial, served)
    served.engine.admit_nobody()
    await wire.say("4hello")

    await wire.expect_echo("4hello")
    assert (await served.poll(polling)).packets == [b"4hello"]
    assert (await served.ask()).code == (503, 3)


async def test_cancelled_server(dial: Any) -> None:
    """Cancelling ends everything: each conversation hears of it once, after its tasks."""
    told: list[Told] = []

    def meet(link: EngineLink) -> Told:
        told.append(Told(link))
        return told[-1]

    engine = EngineServer(meet, path=PATH)
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        server = await nursery.start(
            partial(
                serve_clients,
                await trio.open_tcp_listeners(0, host="127.0.0.1"),
                engine.routes,
                http=engine.http,
                http_paths=engine.routes,
                admit=engine.admit,
            )
        )
        served = Served(engine, server, told, nursery)
        sid = await served.open()
        await served.post(sid, b"4task")
        wire = await dial_websocket(dial, served)
        await wire.say("4task")
        await wire.expect_echo("4hello")
        nursery.cancel_scope.cancel()

    assert [one.ended for one in told] == [["task", "closed"]] * 2
    assert not engine.sessions
    assert repr(engine) == "<EngineServer stopped sessions=0 opened=2>"
