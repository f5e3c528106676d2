"""What those who run the server ask for, over real HTTP on real stores."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from trio_websocket import WebSocketConnection, open_websocket_url, wrap_client_stream

from tests.chat_client import PATIENCE
from trio_chat.app import App, open_app
from trio_chat.message import Position
from trio_chat.settings import SETTINGS, Settings
from trio_chat.stores.embedded import EmbeddedPostgres, EmbeddedValkey
from trio_chat.web.link import is_loopback

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

ROOM = "team-42/general"
TOKEN = "a token of those who watch"
DEPLOY = Path(__file__).parent.parent.parent / "deploy"
HANDSHAKE = b"""\
GET /ws HTTP/1.1\r
Host: 127.0.0.1\r
Connection: Upgrade\r
Upgrade: websocket\r
Sec-WebSocket-Version: 13\r
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
\r
"""
UNITS = ("seconds", "bytes")


@pytest.fixture
def make(tmp_path: Path, valkey_server: str, postgres_server: str) -> Callable[..., Settings]:
    """Makes the settings of a server on the session's stores."""

    def make(**more: Any) -> Settings:
        stores = {"redis_url": valkey_server, "redis_prefix": "ops", "database_url": postgres_server}
        return Settings(**{**stores, "data_dir": tmp_path, "port": 0, "auth_mode": "insecure", **more})

    return make


class Answer:
    """An answer over HTTP."""

    def __init__(self, status: int, headers: Mapping[str, str], body: str) -> None:
        self.status, self.headers, self.body = status, headers, body


async def ask(app: App, target: str, method: str = "GET", **headers: str) -> Answer:
    """Make a request on a connection of its own."""

    def talk() -> Answer:
        client = HTTPConnection("127.0.0.1", app.port, timeout=PATIENCE)
        try:
            client.request(
                method, target, headers={name.replace("_", "-"): text for name, text in headers.items()}
            )
            response = client.getresponse()
            return Answer(response.status, response.headers, response.read().decode())
        finally:
            client.close()

    return await trio.to_thread.run_sync(talk)


async def scrape(app: App, **headers: str) -> dict[str, Metric]:
    """Return the metrics by name."""
    found = list(text_string_to_metric_families((await ask(app, "/metrics", **headers)).body))
    assert len({metric.name for metric in found}) == len(found)
    return {metric.name: metric for metric in found}


def value(metrics: Mapping[str, Metric], name: str, **labels: str) -> float:
    """Return the value of one sample of ours."""
    samples = [sample for metric in metrics.values() for sample in metric.samples]
    [found] = [one.value for one in samples if (one.name, one.labels) == (f"trio_chat_{name}", labels)]
    return found


@asynccontextmanager
async def client(app: App) -> AsyncGenerator[WebSocketConnection, None]:
    """Be a native client."""
    async with open_websocket_url(app.url) as connection:
        yield connection


@asynccontextmanager
async def deaf_client(app: App) -> AsyncGenerator[WebSocketConnection, None]:
    """Be a native client whose socket takes little that nobody reads."""
    plain = trio.socket.socket()
    plain.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
    await plain.connect(("127.0.0.1", app.port))
    async with trio.open_nursery() as nursery, trio.SocketStream(plain) as stream:
        yield await wrap_client_stream(nursery, stream, f"127.0.0.1:{app.port}", "/ws")
        nursery.cancel_scope.cancel()


async def say(connection: WebSocketConnection, kind: str, until: str, **fields: Any) -> dict[str, Any]:
    """Make a request, and wait for a message of some kind."""
    await connection.send_message(json.dumps({"type": kind, **fields}))
    while True:
        said: dict[str, Any] = json.loads(await connection.get_message())
        if said["type"] == until:
            return said


# Alive and ready


@pytest.mark.parametrize("target", ["/healthz", "/readyz", "/metrics"])
async def test_they_are_there_to_be_read(make: Callable[..., Settings], target: str) -> None:
    """By GET and HEAD, and nobody keeps an answer; real stores take a moment to open."""
    async with open_app(make()) as app:
        got, head, posted = [await ask(app, target, method) for method in ("GET", "HEAD", "POST")]

    assert (got.status, head.status, posted.status) == (200, 200, 405)
    assert (got.body != "", head.body) == (True, "")
    assert got.headers["cache-control"] == "no-store"
    assert posted.headers["allow"].replace(" ", "").split(",") in (["GET", "HEAD"], ["HEAD", "GET"])


async def test_a_ready_server_says_of_each_check_that_it_is_well(make: Callable[..., Settings]) -> None:
    """In JSON, and without a word of where anything is."""
    async with open_app(make()) as app:
        answer = await ask(app, "/readyz")
    said = json.loads(answer.body)

    assert said["ready"] is True
    assert {name: check["ok"] for name, check in said["checks"].items()} == dict.fromkeys(
        ("postgres", "redis", "sync"), True
    )
    assert answer.headers["content-type"] == "application/json"


async def test_a_server_without_redis_is_alive_but_not_ready(
    make: Callable[..., Settings], own_valkey: EmbeddedValkey
) -> None:
    """It says so in the status; stopping a Valkey takes a moment."""
    async with open_app(make(redis_url=own_valkey.url)) as app:
        own_valkey.kill()
        with trio.fail_after(PATIENCE):
            await app.stores.hot.wait_health(False)
        ready, alive, metrics = await ask(app, "/readyz"), await ask(app, "/healthz"), await scrape(app)

    assert (ready.status, alive.status) == (503, 200)
    assert json.loads(ready.body)["checks"]["redis"]["ok"] is False
    assert str(own_valkey.directory) not in ready.body
    assert value(metrics, "store_healthy", store="redis") == 0


async def test_a_server_without_postgres_is_not_ready(
    make: Callable[..., Settings], own_postgres: EmbeddedPostgres
) -> None:
    """Nothing is archived then; making a Postgres takes half a second."""
    async with open_app(make(database_url=own_postgres.url)) as app:
        own_postgres.kill()
        with trio.fail_after(PATIENCE):
            # What it has started notices its end a little later.
            while (ready := await ask(app, "/readyz")).status == 200:
                pass
        metrics = await scrape(app)

    assert ready.status == 503
    assert [name for name, check in json.loads(ready.body)["checks"].items() if not check["ok"]] == [
        "postgres"
    ]
    assert value(metrics, "store_healthy", store="postgres") == 0


# Who may read the metrics


async def test_a_token_opens_the_metrics_and_nothing_else_does(make: Callable[..., Settings]) -> None:
    """Not even being the same machine."""
    async with open_app(make(metrics_token=TOKEN)) as app:
        without = await ask(app, "/metrics")
        wrong = [
            await ask(app, "/metrics", authorization=text)
            for text in ("Bearer", "Bearer x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \xe4")
        ]
        right = [await ask(app, "/metrics", authorization=f"{kind} {TOKEN}") for kind in ("Bearer", "bearer")]

    assert (without.status, without.headers["www-authenticate"]) == (401, "Bearer")
    assert {one.status for one in wrong} == {401}
    assert {one.status for one in right} == {200}


@pytest.mark.parametrize("header", ["forwarded", "x_forwarded_for", "x_real_ip", "via"])
async def test_without_a_token_a_proxy_may_not_ask(make: Callable[..., Settings], header: str) -> None:
    """Who asked it may be anybody."""
    async with open_app(make()) as app:
        answer = await ask(app, "/metrics", **{header: "for=192.0.2.1"})

    assert answer.status == 403
    assert "METRICS_TOKEN" in answer.body


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("2001:db8::1", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_this_machine_has_many_addresses(host: str, local: bool) -> None:
    """IPv4 ones within IPv6 included."""
    assert is_loopback(host) is local


@contextmanager
def frozen(postgres: EmbeddedPostgres, psql: Callable[[str, str], str]) -> Iterator[None]:
    """Stop a Postgres for as long as the block, with whatever serves its clients: it accepts, and never answers."""
    clients = (
        "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
    )
    serving = [int(pid) for pid in psql(postgres.url, clients).split()]
    postgres.pause()
    for pid in serving:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        postgres.resume()
        for pid in serving:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


async def test_a_postgres_that_is_frozen_is_told(
    make: Callable[..., Settings], own_postgres: EmbeddedPostgres, psql: Callable[[str, str], str]
) -> None:
    """Though it takes connections, and nobody has anything to write.

    Whoever asks waits two seconds for it, and who asks next does not; an answer counts for three.
    """
    async with open_app(make(database_url=own_postgres.url)) as app:
        before = await scrape(app)
        with frozen(own_postgres, psql):
            with trio.fail_after(PATIENCE):
                while value(found := await scrape(app), "store_healthy", store="postgres"):
                    pass
            began = trio.current_time()
            again = await scrape(app)
            took = trio.current_time() - began
        with trio.fail_after(PATIENCE):
            while not value(await scrape(app), "store_healthy", store="postgres"):
                pass

    assert value(before, "store_healthy", store="postgres") == 1
    assert value(found, "store_healthy", store="redis") == 1
    assert value(again, "store_healthy", store="postgres") == 0
    assert took < 1


# What the metrics say


async def test_what_happens_is_counted(make: Callable[..., Settings]) -> None:
    """Connections, events and who heard them, acks, turns, stores, rows, resumes; two clients take a moment."""
    async with open_app(make()) as app, client(app) as ada, client(app) as bob:
        for connection, user in ((ada, "ada"), (bob, "bob")):
            await say(connection, "hello", "welcome", user=user)
            joined = await say(connection, "room:join", "room:joined", room=ROOM)
        for number in range(3):
            await say(ada, "message:send", "ack", room=ROOM, content="x", id=f"m{number}")
        for text in ("y", "y"):  # the second changes nothing
            await say(ada, "message:edit", "ack", room=ROOM, id="m1", content=text)
        await say(ada, "message:delete", "ack", room=ROOM, id="m0")
        before = await scrape(app)
        await app.lobby.syncer.sync_all()
        for seq in (2, 9999):
            async with app.lobby.join(ROOM, user="eve", resume=Position(joined["epoch"], seq)):
                pass
        after = await scrape(app)

    assert value(before, "connections", wire="native", transport="websocket") == 2
    assert (value(before, "users"), value(before, "rooms"), value(before, "members")) == (2, 1, 2)
    kinds = {kind: value(before, "events_total", kind=kind) for kind in ("posted", "edited", "deleted")}
    assert kinds == {"posted": 3, "edited": 1, "deleted": 1}
    assert value(before, "acks_total", durability="redis") == 5
    assert value(before, "deliveries_total") == 10
    assert value(before, "turn_size_count") >= 4
    assert value(before, "redis_call_seconds_count") >= 4
    assert (value(before, "dirty_rooms"), value(before, "unarchived_events")) == (1, 5)
    assert (value(after, "dirty_rooms"), value(after, "unarchived_events")) == (0, 0)
    assert value(after, "sync_rows_total") == 3
    assert value(after, "postgres_call_seconds_count") >= 1
    assert value(after, "resumes_total", outcome="exact") == 1
    assert value(after, "resumes_total", outcome="whole") == 1
    assert value(after, "sync_lag_seconds") < PATIENCE


async def test_who_is_cut_is_counted_by_the_reason(make: Callable[..., Settings]) -> None:
    """As the close code has it; the client waits for its time to be up."""
    with trio.fail_after(PATIENCE):
        async with open_app(make(hello_timeout=0.05)) as app:
            async with await trio.open_tcp_stream("127.0.0.1", app.port) as silent:
                await silent.send_all(HANDSHAKE)
                while await silent.receive_some():
                    pass
            metrics = await scrape(app)

    assert value(metrics, "connections_closed_total", reason="hello_timeout") == 1
    assert value(metrics, "connections_closed_total", reason="too_slow") == 0


async def test_who_does_not_read_is_cut_and_counted(make: Callable[..., Settings]) -> None:
    """First the sockets take what comes; then the outbox, until it overflows."""
    least = {"max_message_bytes": 16384, "outbox_bytes": 32768, "rate_limits": False}
    with trio.fail_after(PATIENCE):
        async with (
            open_app(make(**least)) as app,
            client(app) as ada,
            deaf_client(app) as deaf,
        ):
            for connection, user in ((ada, "ada"), (deaf, "bob")):
                await say(connection, "hello", "welcome", user=user)
                await say(connection, "room:join", "room:joined", room=ROOM)
            before = await scrape(app)
            while not value(after := await scrape(app), "slow_consumers_cut_total"):
                for _ in range(50):
                    await say(ada, "message:send", "ack", room=ROOM, content="x" * 8000)

    assert value(before, "slow_consumers_cut_total") == 0
    assert value(after, "slow_consumers_cut_total") == 1
    assert value(after, "connections_closed_total", reason="too_slow") == 1


async def test_nobody_is_named(make: Callable[..., Settings]) -> None:
    """Neither rooms nor users, whose number has no limit."""
    async with open_app(make()) as app, app.lobby.join(ROOM, user="ada-lovelace") as seat:
        await seat.post("a secret")
        text = (await ask(app, "/metrics")).body

    assert not any(word in text for word in (ROOM, "ada-lovelace", "a secret", seat.joined.epoch))


async def test_names_follow_the_conventions(make: Callable[..., Settings]) -> None:
    """Every metric is explained, has one type and base units; what rises ends in `_total`, and nothing else does."""
    async with open_app(make()) as app:
        text = (await ask(app, "/metrics")).body
        metrics = await scrape(app)
    ours = [metric for metric in metrics.values() if not metric.name.startswith("process_")]

    assert all(metric.name.startswith("trio_chat_") for metric in ours)
    assert all(metric.documentation.endswith(".") for metric in ours)
    assert {metric.type for metric in ours} == {"gauge", "counter", "histogram"}
    for metric in ours:
        assert (metric.type == "counter") is (f"# TYPE {metric.name}_total counter" in text.splitlines())
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.name)
        assert not re.search(
            r"_(ms|millis|milliseconds|kb|mb|minutes|percent|count|sum|bucket|info_total)(_|$)", metric.name
        )
        if any(unit in metric.name.split("_") for unit in UNITS):
            assert metric.name.endswith(UNITS)
    assert {"process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"} <= metrics.keys()


async def test_promtool_finds_nothing_wrong(make: Callable[..., Settings]) -> None:
    """Neither with the metrics nor with the rules that use them."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; with it, metrics and rules are linted")
    async with open_app(make()) as app:
        text = (await ask(app, "/metrics")).body
    rules = DEPLOY / "prometheus-rules.yaml"
    lint = await trio.run_process(
        [promtool, "check", "metrics"], stdin=text.encode(), capture_stderr=True, check=False
    )
    checked = await trio.run_process([promtool, "check", "rules", rules], capture_stdout=True, check=False)

    assert (lint.returncode, lint.stderr) == (0, b"")
    assert checked.returncode == 0, checked.stdout


async def test_ends_of_sessions_and_crashes_are_counted(
    make: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that ends takes its second."""
    async with open_app(make(session_expiry_seconds=1)) as app, client(app) as ada:
        await say(ada, "hello", "welcome", user="ada")
        await say(ada, "room:join", "presence:list", room="r")
        with trio.fail_after(PATIENCE):
            await say(ada, "message:send", "session:expired", room="r", content="hi")
        expired = value(await scrape(app), "sessions_expired_total")
        monkeypatch.setattr(app.lobby.rooms["r"].ledger.history, "post", None)
        with trio.fail_after(PATIENCE):
            await say(ada, "message:send", "error", room="r", content="hi", ref=1)
            while not (crashes := value(await scrape(app), "room_crashes_total")):
                pass

    assert (expired, crashes) == (1, 1)


# What is deployed


def names(text: str) -> set[str]:
    """Return the names of metrics in a query."""
    return set(re.findall(r"\b(?:trio_chat|process)_[a-z_]+", text))


async def test_the_dashboard_and_the_rules_name_metrics_that_there_are(make: Callable[..., Settings]) -> None:
    """And labels, too; every metric of ours is on the dashboard or in a rule, or is for closer looks only."""
    async with open_app(make()) as app:
        metrics = await scrape(app)
    there = {sample.name for metric in metrics.values() for sample in metric.samples}
    labels = {label for metric in metrics.values() for sample in metric.samples for label in sample.labels}
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    rules = yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    queries += [one["query"]["query"] for one in dashboard["templating"]["list"][1:]]
    queries += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    used = {name for query in queries for name in names(query)}
    by = {
        label.strip()
        for query in queries
        for group in re.findall(r"by \(([^)]*)\)", query)
        for label in group.split(",")
    }

    assert used <= there
    assert by <= labels | {"job", "instance"}
    unused = {
        name
        for name in there
        if name.startswith("trio_chat_") and not name.endswith(("_bucket", "_sum", "_count"))
    } - used
    assert unused == {
        "trio_chat_sync_failures_in_a_row",  # the lag says it
        "trio_chat_redis_unsent_bytes",
        "trio_chat_postgres_connections",
        "trio_chat_postgres_failures_total",
        "trio_chat_postgres_writes_total",
        "trio_chat_postgres_pages_total",
    }


def test_panels_do_not_overlap() -> None:
    """And no two have one id."""
    panels = json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]
    cells = [
        (place["x"] + x, place["y"] + y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["w"])
        for y in range(place["h"])
    ]

    assert len(set(cells)) == len(cells)
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.parametrize("name", ["trio-chat.service", "Dockerfile", "compose.yaml"])
def test_files_name_settings_that_there_are(name: str) -> None:
    """A misspelt one would be ignored."""
    text = (DEPLOY / name).read_text()
    if name == "compose.yaml":
        found = set(yaml.safe_load(text)["services"]["trio-chat"]["environment"])
    else:
        lines = re.findall(r"^(?:ENV|Environment=)\s*(.*)$", text, re.MULTILINE)
        found = {word.partition("=")[0] for line in lines for word in line.split()}
        found |= set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text))
    known = {row.name for row in SETTINGS} | {"PATH", "PYTHONUNBUFFERED", "AF_UNIX", "AF_INET"}

    assert found
    assert found <= known


def test_containers_stop_in_order() -> None:
    """They have longer than the server takes for that; Redis keeps what it has, and drops nothing."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    grace = float(compose["trio-chat"]["stop_grace_period"].removesuffix("s"))
    unit = (DEPLOY / "trio-chat.service").read_text()
    stop = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    command = " ".join(compose["redis"]["command"])

    assert stop is not None
    assert min(grace, float(stop[1])) > Settings().shutdown_timeout_seconds
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Where it is installed, it is asked; what the unit starts need not be there."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed; with it, the unit is verified")
    text = (DEPLOY / "trio-chat.service").read_text()
    unit = tmp_path / "trio-chat.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('env')}", text, flags=re.MULTILINE))
    done = subprocess.run([analyze, "verify", unit], check=False, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


def test_hadolint_finds_nothing_wrong_with_the_image() -> None:
    """It comes with the extra for development."""
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed; with it, the Dockerfile is linted")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], check=False, capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "")


def test_compose_takes_the_composition() -> None:
    """Where Docker's or another of its kind is installed, it is asked; nothing is started."""
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed; with it, the composition is checked")
    secrets = {"AUTH_SECRET": "x" * 32, "POSTGRES_PASSWORD": "y"}
    command = [compose, "-f", DEPLOY / "compose.yaml", "config", "-q"]
    path = {"PATH": os.environ["PATH"]}
    without = subprocess.run(command, check=False, capture_output=True, env=path)
    taken = subprocess.run(command, check=False, capture_output=True, env={**path, **secrets})

    assert b"POSTGRES_PASSWORD" in without.stderr
    assert (taken.returncode, taken.stderr) == (0, b"")


async def test_the_image_asks_whether_it_is_alive_where_it_listens(make: Callable[..., Settings]) -> None:
    """On the port that PORT says; starting a Python takes a moment."""
    text = (DEPLOY / "Dockerfile").read_text()
    found = re.search(r"^HEALTHCHECK .*?CMD (\[.*?\])$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    [_, *arguments] = json.loads(found[1])
    async with open_app(make()) as app:
        there, elsewhere = [
            await trio.run_process(
                [sys.executable, *arguments],
                check=False,
                capture_stderr=True,
                env={**os.environ, "PORT": str(port)},
            )
            for port in (app.port, 1)
        ]

    assert (there.returncode, elsewhere.returncode) == (0, 1)
