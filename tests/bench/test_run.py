"""Whole runs, over real sockets and stores, in this process."""

from __future__ import annotations

import io
import os
import signal
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import trio
import trio.testing
from rich.console import Console
from typing_extensions import override

from tests.chat_client import connect
from trio_chat.app import App
from trio_chat.bench import poster
from trio_chat.bench import run as running
from trio_chat.bench.plan import Plan
from trio_chat.bench.run import measure
from trio_chat.bench.tally import Verdict
from trio_chat.bench.wire import WIRES, WireName
from trio_chat.clients.auth import make_token
from trio_chat.clients.native import NativeVoice
from trio_chat.errors import BadRequest
from trio_chat.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_chat.bench.report import Report
    from trio_chat.mail import Hearing

PATIENCE = 20
SECRET = "a-secret-of-more-than-thirty-two-bytes"

Serving: TypeAlias = "Callable[..., AbstractAsyncContextManager[App]]"


def plan_for(url: str, **changes: Any) -> Plan:
    """Return a small plan."""
    load: dict[str, Any] = {"rooms": 2, "members": 3, "hello": lambda number: {"user": f"u{number}"}}
    if not {"rate", "window"} & changes.keys():
        load["window"] = 2
    if not {"messages", "seconds"} & changes.keys():
        load["messages"] = 20
    return Plan(**{"url": url} | load | changes)


async def run(url: str, screen: Screen | None = None, **changes: Any) -> Report:
    """Measure a server."""
    with trio.fail_after(PATIENCE), screen or Screen(Console(file=io.StringIO())) as shown:
        return await measure(plan_for(url, **changes), shown)


# Measuring


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("load", [{"window": 2}, {"rate": 400.0}])
async def test_everything_posted_arrives_at_every_member(
    serving: Serving, wire: WireName, load: dict[str, Any]
) -> None:
    """On either wire, one after the other or at a rate; every figure adds up."""
    async with serving() as app:
        report = await run(app.url, wire=wire, messages=20, **load)

    assert report.passed
    assert report.verdict == Verdict()
    assert (report.sent, report.acked, report.refused) == (20, {"redis": 20}, {})
    assert report.deliveries == 20 * 3
    assert report.delivery_ms is not None
    assert report.ack_ms is not None
    assert 0 < report.delivery_ms.p50 <= report.delivery_ms.p99 <= report.delivery_ms.max
    assert report.messages_per_second > 0
    assert report.limits["requestsPerSecond"] == 20


@pytest.mark.parametrize("load", [{"window": 1}, {"rate": 200.0}])
async def test_time_ends_a_run_as_well(serving: Serving, load: dict[str, Any]) -> None:
    """What is under way then still arrives."""
    async with serving(rate_limits=False) as app:
        report = await run(app.url, seconds=0.1, **load)

    assert report.passed
    assert report.deliveries == 3 * report.sent > 0


async def test_messages_have_the_size_that_was_asked_for(serving: Serving) -> None:
    """In characters, in the rooms of the run, from each member in turn."""
    plan = plan_for("", size=321, rooms=1, messages=3)
    async with serving() as app:
        await run(app.url, size=321, rooms=1, messages=3, run=plan.run)
        async with connect(app.url, user="ada") as ada:
            _, messages = await ada.join(plan.room(0))

    assert [len(message["content"]) for message in messages] == [321] * 3
    assert [message["userId"] for message in messages] == ["u0", "u1", "u2"]


@pytest.mark.parametrize("wire", WIRES)
async def test_tokens_let_it_in(serving: Serving, wire: WireName) -> None:
    """Where names alone do not."""
    async with serving(auth_mode="token", auth_secret=SECRET) as app:

        def hello(number: int) -> dict[str, str]:
            return {"user": "somebody", "token": make_token(app.settings, f"u{number}", ["bench/*"])}

        report = await run(app.url, wire=wire, hello=hello)

    assert report.passed


async def test_nobody_is_left_behind(serving: Serving) -> None:
    """Connections end with the run; Socket.IO clients do not leave a place to come back to."""
    async with serving() as app:
        for wire in WIRES:
            await run(app.url, wire=wire)
        await trio.testing.wait_all_tasks_blocked(0.01)

        assert app.lobby.statistics().members == 0


# Limits and faults


@pytest.mark.parametrize("wire", WIRES)
async def test_refusals_are_counted_by_code(serving: Serving, wire: WireName) -> None:
    """With what to do about a limit. Whoever was refused, refused nobody else."""
    async with serving(requests_per_second=0.1, request_burst=8) as app:
        report = await run(app.url, wire=wire, rooms=1, members=1, rate=1000.0, messages=12)

    assert report.refused["rate_limited"] == 12 - report.acked["redis"] > 0
    assert report.passed
    assert any("rate_limited: the server allows each connection 0.1" in note for note in report.notes())


async def test_whoever_is_refused_rests_before_the_next(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repeating at once ends in a disconnect."""
    monkeypatch.setattr(poster, "_REST_SECONDS", 0.1)
    async with serving(requests_per_second=50, request_burst=2) as app:
        report = await run(app.url, rooms=1, members=1, window=1, messages=4)

    assert not report.lost
    assert report.acked["redis"] + report.refused.get("rate_limited", 0) == 4


@pytest.mark.parametrize("wire", WIRES)
async def test_a_lost_connection_is_said_and_the_rest_goes_on(serving: Serving, wire: WireName) -> None:
    """With how it ended. One who asks too much is disconnected, and then there is nobody left to go on."""
    async with serving(requests_per_second=0.1, request_burst=4) as app:
        report = await run(app.url, wire=wire, rooms=1, members=2, rate=1000.0, seconds=5.0)

    [(text, count)] = report.lost.items()
    assert count == 2
    assert text == "closed by the server with 4429: too many requests: wait, come back and resume"
    assert report.limited
    assert not report.passed


async def test_a_rate_beyond_the_limit_is_said_before(serving: Serving) -> None:
    """On the screen, since the report comes too late for somebody who watches."""
    paper = io.StringIO()
    async with serving(request_burst=40) as app:
        await run(app.url, Screen(Console(file=paper)), rooms=1, members=2, rate=50.0, messages=2)

    assert paper.getvalue().startswith("25 messages a second on each connection, and the server allows 20: ")


async def test_a_delivery_that_comes_twice_is_found(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server repeats itself here."""
    tell = NativeVoice.tell

    def twice(voice: NativeVoice, hearings: Sequence[Hearing]) -> bytes:
        return tell(voice, hearings) * 2

    monkeypatch.setattr(NativeVoice, "tell", twice)
    async with serving() as app:
        report = await run(app.url, messages=4)

    assert report.verdict.repeated > 0
    assert not report.passed


async def test_a_delivery_that_never_comes_is_found(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server keeps everything to itself here. Waiting for it ends."""
    monkeypatch.setattr(NativeVoice, "tell", lambda *_: b"")
    monkeypatch.setattr(running, "_PATIENCE_SECONDS", 0.05)
    async with serving() as app:
        report = await run(app.url, rate=1000.0, messages=4)

    assert report.verdict == Verdict(missing=4 * 3)
    assert report.acked == {"redis": 4}


# Interrupts


class Signaller(Screen):
    """A screen that sends SIGINT, once, when it shows a stage, and words in it."""

    def __init__(self, stage: str, words: str) -> None:
        super().__init__(Console(file=io.StringIO(), force_terminal=True))
        self._wanted = stage, words
        self._sent = False

    @override
    def show(self, stage: str, share: float, words: str) -> None:
        super().show(stage, share, words)
        if not self._sent and stage == self._wanted[0] and self._wanted[1] in words:
            self._sent = True
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let screens be drawn often."""
    monkeypatch.setattr(running, "_DRAW_SECONDS", 0.01)


@pytest.mark.usefixtures("_eager")
@pytest.mark.parametrize("load", [{"window": 1}, {"rate": 100.0}])
async def test_an_interrupt_ends_the_posting_with_a_report(serving: Serving, load: dict[str, Any]) -> None:
    """Of what was done until then, complete."""
    async with serving(rate_limits=False) as app:
        report = await run(app.url, Signaller("posting", "p99"), seconds=60.0, **load)

    assert report.interrupted
    assert report.passed
    assert report.deliveries == 3 * report.sent > 0


@pytest.mark.usefixtures("_eager")
async def test_another_interrupt_ends_the_waiting(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still under way counts as missing."""
    monkeypatch.setattr(NativeVoice, "tell", lambda *_: b"")
    monkeypatch.setattr(running, "_PATIENCE_SECONDS", 60.0)
    async with serving() as app:
        screen = Signaller("waiting for the last ones", "")
        report = await run(app.url, screen, rate=1000.0, messages=2)

    assert report.interrupted
    assert report.verdict == Verdict(missing=6)


@pytest.mark.usefixtures("_eager")
async def test_an_interrupt_before_anything_was_posted_ends_everything(serving: Serving) -> None:
    """There is nothing to report."""
    async with serving() as app:
        with pytest.raises(KeyboardInterrupt):
            await run(app.url, Signaller("connecting", "connections"))


# What cannot be used


async def refusal(url: str, **changes: Any) -> str:
    with pytest.raises(BadRequest) as refused:
        await run(url, **changes)
    return str(refused.value)


async def test_a_server_that_is_not_there_is_said_in_a_line(free_port: int) -> None:
    """With the reason."""
    url = f"ws://127.0.0.1:{free_port}"

    text = await refusal(url)
    assert text.startswith(f"{url}: cannot be reached: ")
    assert "Connection refused" in text


@pytest.mark.parametrize("url", ["http", "ftp://127.0.0.1", "ws://", "ws://[", "ws://127.0.0.1:port"])
async def test_what_is_no_url_is_said_in_a_line(url: str) -> None:
    """With what was expected."""
    assert await refusal(url) == f"{url}: expected ws://HOST:PORT or wss://HOST:PORT"


@pytest.mark.parametrize("wire", WIRES)
async def test_a_place_that_is_no_chat_is_said_in_a_line(serving: Serving, wire: WireName) -> None:
    """With what the server answered."""
    async with serving() as app:
        url = app.url.replace("/ws", "/chat")
        text = await refusal(url, wire=wire)

    assert text == f"{url}: the server answered with HTTP status 404: Nothing is here."


@pytest.mark.parametrize("wire", WIRES)
async def test_a_refused_token_is_said_in_a_line(serving: Serving, wire: WireName) -> None:
    """As the server says it; if the token was ours, with what to do."""
    async with serving(auth_mode="token", auth_secret=SECRET) as app:
        url = app.url
        given = await refusal(url, wire=wire, hello=lambda _: {"token": "x.y.z"})
        made = await refusal(url, wire=wire, hello=lambda _: {"user": "ada", "token": "x.y.z"})

    assert given == f"{url}: token: not accepted; connect with a new one"
    assert made == f"{given}; give the AUTH_SECRET or the DATA_DIR of the server, or --token-file"


@pytest.mark.parametrize("wire", WIRES)
async def test_too_many_connections_of_one_user_are_said_in_a_line(serving: Serving, wire: WireName) -> None:
    """With what to do."""
    async with serving(max_connections_per_user=2) as app:
        text = await refusal(app.url, wire=wire, hello=lambda _: {"user": "ada"})

    assert "this user has as many connections as allowed" in text
    assert text.endswith(
        "; give a token for each connection by --token-file, or start the server with PRESET=standard"
    )


@pytest.mark.parametrize("wire", WIRES)
async def test_a_room_that_is_refused_is_said_in_a_line(serving: Serving, wire: WireName) -> None:
    """A token may be for other rooms."""
    async with serving(auth_mode="token", auth_secret=SECRET) as app:

        def hello(number: int) -> dict[str, str]:
            return {"token": make_token(app.settings, f"u{number}", ["team-42/*"])}

        text = await refusal(app.url, wire=wire, hello=hello)

    assert ": room: " in text


async def test_the_other_wire_is_no_wire(serving: Serving) -> None:
    """Its address, spelled out, is believed."""
    async with serving() as app:
        url = app.url.replace("/ws", "/socket.io/?EIO=4&transport=websocket")
        text = await refusal(url, wire="native")

    assert text.startswith(f"{url}: the server does not speak the native wire: ")
