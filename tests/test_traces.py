"""What is traced, as an exporter of OpenTelemetry sees it."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from trio.testing import MockClock

from tests.chat_client import PATIENCE
from trio_chat import MemoryArchive, MemoryHotStore, Settings, open_lobby
from trio_chat.app import open_app
from trio_chat.errors import SettingsError, Unavailable
from trio_chat.stores.traced import traced
from trio_chat.testing.faults import Faults
from trio_chat.traces import Traces, open_traces, span

ROOM = "team-42/general"


class Seen:
    """Traces, and the spans that have ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.traces = Traces(self.provider.get_tracer("test"))

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those that have ended, in that order."""
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of one name."""
        return [one for one in self.spans if one.name == name]


@pytest.fixture
def seen() -> Iterator[Seen]:
    """Traces that nobody else has."""
    seen = Seen()
    yield seen
    seen.provider.shutdown()


def of(one: ReadableSpan) -> Mapping[str, Any]:
    """Return the attributes of a span."""
    return dict(one.attributes or {})


async def test_the_way_of_a_message_is_traced(seen: Seen, autojump_clock: MockClock) -> None:
    """The room begins, its turn is written, the archive gets it; spans of one round belong together."""
    hot, archive = traced(MemoryHotStore(), MemoryArchive(), seen.traces)
    async with open_lobby(hot=hot, archive=archive, traces=seen.traces) as lobby:
        async with lobby.join(ROOM, user="ada") as seat:
            await seat.post("a secret")
            await lobby.syncer.sync_all()
            await lobby.history(ROOM)

    assert {"room.activate", "session.load", "turn.write", "sync.round", "archive.write", "history.page"} <= {
        one.name for one in seen.spans
    }
    [activation] = seen.named("room.activate")
    assert of(activation) == {"trio_chat.room": ROOM}
    loads = [one.parent.span_id for one in seen.named("session.load") if one.parent is not None]
    assert activation.context.span_id in loads
    [write] = seen.named("archive.write")
    assert write.parent is not None
    assert write.parent.span_id in {one.context.span_id for one in seen.named("sync.round")}
    assert "secret" not in "".join(one.to_json() for one in seen.spans)


async def test_each_turn_has_a_span_of_its_own(seen: Seen, autojump_clock: MockClock) -> None:
    """Also those that are submitted and written while the room rests."""
    hot, archive = traced(MemoryHotStore(), MemoryArchive(), seen.traces)
    async with open_lobby(hot=hot, archive=archive, traces=seen.traces) as lobby:
        async with lobby.join(ROOM, user="ada") as seat:
            for number in range(3):
                await seat.post(str(number))

    assert [of(one)["trio_chat.events"] for one in seen.named("turn.write")] == [1, 1, 1]


async def test_a_failure_is_the_spans_too(seen: Seen, autojump_clock: MockClock) -> None:
    """With its kind, and what we say of it."""
    memory = MemoryHotStore()
    hot, archive = traced(memory, MemoryArchive(), seen.traces)
    Faults(memory).fail("append")
    async with open_lobby(hot=hot, archive=archive, traces=seen.traces) as lobby:
        async with lobby.join(ROOM, user="ada") as seat:
            await seat.post("x")

    [failed] = [one for one in seen.named("turn.write") if one.status.status_code is StatusCode.ERROR]
    assert of(failed)["error.type"] == "Unavailable"
    assert failed.status.description == "the store was made to fail"


def test_a_foreign_exception_is_not_quoted(seen: Seen) -> None:
    """It may say what somebody has said."""
    with pytest.raises(ValueError, match="a secret"), span(seen.traces, "some"):
        raise ValueError("a secret")

    assert "secret" not in seen.spans[0].to_json()
    assert (seen.spans[0].status.description or "").startswith("ValueError at test_traces.py")


@pytest.mark.parametrize("outcome", [None, Unavailable("away")])
def test_a_span_ends_before_whoever_waits_is_told(seen: Seen, outcome: Exception | None) -> None:
    """What comes then is not part of it."""
    told: list[tuple[object, int]] = []
    seen.traces.until("some", {}, lambda given: told.append((given, len(seen.spans))))(outcome)

    assert told == [(outcome, 1)]
    assert seen.spans[0].status.is_ok is (outcome is None)


def test_without_traces_the_stores_are_the_stores() -> None:
    """Nothing stands between a turn and its write."""
    hot, archive = MemoryHotStore(), MemoryArchive()

    assert traced(hot, archive, None) == (hot, archive)


async def test_without_the_setting_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the packages need not be there."""
    monkeypatch.setattr(builtins, "__import__", without_opentelemetry(builtins.__import__))
    async with open_traces(Settings()) as traces:
        assert traces is None


async def test_a_missing_package_is_a_mistake_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants traces is told what to install."""
    monkeypatch.setattr(builtins, "__import__", without_opentelemetry(builtins.__import__))
    with pytest.raises(SettingsError, match=r"OTEL_TRACES=on: .*trio-chat\[otel\]"):
        async with open_traces(Settings(otel_traces=True)):
            pass


def without_opentelemetry(real: Callable[..., ModuleType]) -> Callable[..., ModuleType]:
    """Return an import that does not find it."""

    def find(name: str, *rest: Any, **more: Any) -> ModuleType:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *rest, **more)

    return find


async def test_a_server_sends_its_traces(
    tmp_path: Path, valkey_server: str, postgres_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over HTTP, where the standard variable says, at the latest at its end; real stores take a moment to open."""
    bodies: list[bytes] = []

    async def collect(stream: trio.SocketStream) -> None:
        received = b""
        async with stream:
            while data := await stream.receive_some():
                received += data
                head, _, body = received.partition(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                if length and len(body) >= int(length[0].partition(b":")[2]):
                    bodies.append(body)
                    await stream.send_all(
                        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    )
                    return

    settings = Settings(
        redis_url=valkey_server, redis_prefix="otel", database_url=postgres_server, data_dir=tmp_path,
        port=0, otel_traces=True,
    )  # fmt: skip
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listener.socket.getsockname()[1]
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
            nursery.start_soon(trio.serve_listeners, collect, [listener])
            async with open_app(settings) as app, app.lobby.join(ROOM, user="ada") as seat:
                await seat.post("x")
            nursery.cancel_scope.cancel()

    sent = b"".join(bodies)
    assert b"turn.write" in sent
    assert b"trio-chat" in sent
