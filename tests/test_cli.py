"""The command line: what each command does, says and returns. In this process, unlike in `tests/whole`."""

from __future__ import annotations

import json
import logging
import os
import signal
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio
import trio.testing

from trio_chat.app import App
from trio_chat.cli import main
from trio_chat.clients.auth import Authenticator, with_secret
from trio_chat.errors import SettingsError, Unavailable
from trio_chat.failures import leaves
from trio_chat.serve import serve
from trio_chat.settings import Settings
from trio_chat.stores.postgres import PostgresArchive
from trio_chat.stores.redis import open_redis
from trio_chat.stores.rivals import Rivals, is_served

from .chat_client import connect, run
from .rooms import an_opening
from .waiting import try_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trio_chat.stores.base import Batch

SECRET = "a-secret-of-more-than-thirty-two-bytes"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Nothing of the environment but a data directory of the test's own. Logging stays pytest's."""
    for name in Settings().describe():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    return monkeypatch


@pytest.fixture
def stores(environment: pytest.MonkeyPatch, valkey_server: str, postgres_server: str) -> None:
    """The session's stores."""
    environment.setenv("REDIS_URL", valkey_server)
    environment.setenv("REDIS_PREFIX", "cli")
    environment.setenv("DATABASE_URL", postgres_server)


def complaints(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what the command complained about."""
    return [line.removeprefix("trio-chat: ") for line in capsys.readouterr().err.splitlines()]


# Settings


def test_every_mistake_is_named_at_once(
    capsys: pytest.CaptureFixture[str], environment: pytest.MonkeyPatch
) -> None:
    """Whoever mends one need not come back for the next."""
    environment.setenv("REDIS_URL", "localhost")
    environment.setenv("PORT", "http")

    status = main(["check", "--max-connections", "many", "--port", "70000"])

    assert status == 1
    assert [line.partition(":")[0] for line in complaints(capsys)] == [
        "REDIS_URL=***",
        "--port=70000",
        "--max-connections=many",
    ]


def test_a_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without one the usage is shown, as for anything unknown."""
    for argv in ([], ["fly"], ["serve", "--fly"]):
        with pytest.raises(SystemExit) as ended:
            main(argv)
        assert ended.value.code == 2
        assert "usage: trio-chat" in capsys.readouterr().err


def test_the_first_help_says_how_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    """One command is enough, and it says what it brings along."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "Start with:   trio-chat serve" in said
    assert all(
        f"\n    {command} " in said for command in ("serve", "check", "token", "sync", "tail", "bench")
    )


@pytest.mark.parametrize("command", ["token", "sync", "tail", "bench"])
def test_help_shows_what_is_the_commands_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Not forty settings of the server; those are taken all the same, since one environment serves all commands."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    said = capsys.readouterr().out

    assert "--data-dir DIR" in said
    assert "--ping-interval-seconds" not in said
    assert "other settings of `trio-chat serve`" in said
    assert "expected" in complaint_of([*COMMANDS[command], "--ping-interval-seconds", "x"], capsys)


COMMANDS = {"token": ["token", "ada"], "sync": ["sync"], "tail": ["tail", "room"], "bench": ["bench"]}


def complaint_of(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one thing that a command complains about."""
    assert main(argv) == 1
    [complaint] = complaints(capsys)
    return complaint


def test_the_usage_of_serve_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Its settings are explained below, group by group."""
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    usage, _, rest = capsys.readouterr().out.partition("\n")

    assert usage == "usage: trio-chat serve [-h] [SETTINGS]"
    assert "--ping-interval-seconds SECONDS" in rest


# token


def test_a_token_opens_what_it_was_made_for(
    capsys: pytest.CaptureFixture[str], environment: pytest.MonkeyPatch
) -> None:
    """It is printed alone, so that it can be put into a variable."""
    environment.setenv("AUTH_SECRET", SECRET)
    arguments = ["--room", "a/*", "--room", "b", "--role", "assistant", "--expires-in", "60"]

    status = main(["token", "bot", *arguments])

    [token] = capsys.readouterr().out.splitlines()
    identity = Authenticator(Settings(auth_secret=SECRET)).authenticate(token)
    assert status == 0
    assert (identity.user, identity.rooms, identity.roles) == ("bot", ("a/*", "b"), {"assistant"})


def test_without_a_secret_it_is_the_one_of_the_data_directory(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The server of the same directory accepts it, whichever of the two was first."""
    main(["token", "ada"])

    [token] = capsys.readouterr().out.splitlines()
    settings = with_secret(Settings(data_dir=tmp_path))
    assert Authenticator(settings).authenticate(token).rooms == ("*",)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["a\nb"], r"USER='a\nb': expected 1-128 characters"),
        (["ada", "--role", "king"], "--role=king: expected any of admin, assistant, moderator, system"),
        (["ada", "--room", "a b"], "--room=a b: expected 1-128 characters"),
        (["ada", "--expires-in", "0"], "expires_in=0: expected"),
    ],
)
def test_a_token_that_nobody_would_accept_is_not_made(
    capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    """The problem says what it was, and what was expected."""
    assert main(["token", *arguments]) == 1
    [complaint] = complaints(capsys)
    assert complaint.startswith(problem)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["bad room"], "ROOM=bad room: expected 1-128 characters of A-Z a-z 0-9 _ . : / @ -"),
        (["room", "--user", ""], "--user=: expected 1-128 characters without control characters"),
        (["x" * 999], "ROOM=xxx"),
    ],
)
def test_nobody_connects_to_follow_what_is_no_room(
    capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    """The problem says what it was, briefly, and what was expected."""
    complaint = complaint_of(["tail", *arguments], capsys)

    assert complaint.startswith(problem)
    assert len(complaint) < 400


# check


def test_check_says_that_all_is_well(capsys: pytest.CaptureFixture[str], stores: None) -> None:
    """Every setting as it is in force, then each store; secrets are not shown."""
    status = main(["check", "--session-expiry-seconds", "60"])

    said = capsys.readouterr().out
    assert status == 0
    assert "  SESSION_EXPIRY_SECONDS=60\n" in said
    assert "  AUTH_SECRET=made once, kept in DATA_DIR\n" in said
    assert [line.partition(",")[0] for line in said.splitlines() if not line.startswith("  ")] == [
        "settings: well",
        "hot store: well",
        "archive: well",
    ]


def test_check_opens_the_files_that_the_settings_name(
    capsys: pytest.CaptureFixture[str], environment: pytest.MonkeyPatch, stores: None, tmp_path: Path
) -> None:
    """A file that exists need not be a key; all of them are tried, and the stores too."""
    (tmp_path / "file").write_text("hello")
    for name in ("TLS_CERT", "TLS_KEY", "AUTH_KEY_FILE"):
        environment.setenv(name, str(tmp_path / "file"))

    status = main(["check"])

    output = capsys.readouterr()
    assert status == 1
    assert [line.partition("=")[0] for line in output.err.splitlines()] == [
        "trio-chat: AUTH_KEY_FILE",
        "trio-chat: TLS_CERT",
    ]
    assert "settings: well" not in output.out
    assert "archive: well" in output.out


# sync


def test_sync_archives_what_a_killed_server_has_left(
    capsys: pytest.CaptureFixture[str],
    stores: None,
    valkey_server: str,
    postgres_server: str,
    psql: Callable[[str, str], str],
) -> None:
    """It says how much that was; again, there is nothing to do."""

    async def leave() -> None:
        async with open_redis(valkey_server, prefix="cli") as hot:
            for number in range(3):
                await hot.append(an_opening(f"room{number}", 10, datetime.now(UTC)))

    trio.run(leave)

    assert main(["sync"]) == 0
    # The bar is for terminals, and beside what may be piped on.
    assert capsys.readouterr().out == "30 messages archived from 3 dirty sessions, 0 set aside\n"
    assert psql(postgres_server, "select count(*) from messages") == "30"
    assert main(["sync"]) == 0
    assert "0 messages archived from 0 dirty sessions, 0 set aside" in capsys.readouterr().out


@pytest.mark.parametrize("beside", [True, False], ids=["beside a server", "alone"])
def test_sync_takes_small_steps_beside_a_server(
    monkeypatch: pytest.MonkeyPatch,
    stores: None,
    valkey_server: str,
    beside: bool,
) -> None:
    """Its people are not to notice."""
    batches: list[int] = []
    write = PostgresArchive.write

    async def note(archive: PostgresArchive, written: Sequence[Batch]) -> int:
        batches.extend(len(batch.events) for batch in written)
        return await write(archive, written)

    async def be_there(done: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        async with open_redis(valkey_server, prefix="cli") as hot, trio.open_nursery() as nursery:
            await hot.append(an_opening("room", 120, datetime.now(UTC)))
            if beside:
                nursery.start_soon(Rivals(hot, "cli").run)
                await try_until(partial(is_served, hot))
            task_status.started()
            await done.wait()
            nursery.cancel_scope.cancel()

    async def both() -> int:
        done = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(be_there, done)
            status = await trio.to_thread.run_sync(main, ["sync"])
            done.set()
        return status

    monkeypatch.setattr(PostgresArchive, "write", note)

    assert trio.run(both) == 0
    assert batches == ([50, 50, 20] if beside else [120])


@pytest.mark.parametrize("store", ["REDIS_URL", "DATABASE_URL"])
def test_sync_needs_both_stores(
    capsys: pytest.CaptureFixture[str],
    environment: pytest.MonkeyPatch,
    stores: None,
    free_port: int,
    store: str,
) -> None:
    """Otherwise it says which one is away."""
    scheme = "redis" if store == "REDIS_URL" else "postgresql"
    environment.setenv(store, f"{scheme}://127.0.0.1:{free_port}")

    assert main(["sync"]) == 1
    [complaint] = complaints(capsys)
    assert str(free_port) in complaint


# bench


@pytest.mark.parametrize("json", [[], ["--json", "-"]])
async def test_bench_measures_a_running_server(nursery: trio.Nursery, stores: None, json: list[str]) -> None:
    """A table on standard output, or one JSON object and nothing else there. A process of its own takes a second."""
    settings = Settings.load({"port": "0", "auth_mode": "insecure"}, os.environ)
    app: App = await nursery.start(serve, settings)
    load = ["--rooms", "1", "--members", "2", "--messages", "3", "--url", app.url]

    environment = {"DATA_DIR": str(settings.data_dir), "AUTH_MODE": "insecure"}
    done = await trio.to_thread.run_sync(partial(run, "bench", *load, *json, environment=environment))

    table = done.stderr if json else done.stdout
    assert done.returncode == 0
    assert "all arrived, once each, in order" in table
    if json:
        said = msgspec.json.decode(done.stdout)
        assert (said["sent"], said["acked"], said["deliveries"], said["passed"]) == (3, {"redis": 3}, 6, True)


def test_bench_writes_its_figures_where_it_can(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, free_port: int
) -> None:
    """That is found out before anything is measured; so is that there is no server. One line each, no table."""
    url = f"ws://127.0.0.1:{free_port}"

    assert main(["bench", "--json", str(tmp_path / "no" / "file")]) == 1
    assert complaints(capsys) == [f"--json {tmp_path}/no/file: cannot be written (No such file or directory)"]
    assert main(["bench", "--url", url]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"trio-chat: {url}: cannot be reached: ")
    assert said.err.count("\n") == 1


def test_the_help_of_bench_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    """Examples, what is counted from when, what rate_limited means, and what the exit status says."""
    with pytest.raises(SystemExit):
        main(["bench", "--help"])

    said = capsys.readouterr().out
    for text in (
        "trio-chat bench --rooms 1 --members 100",
        "--window N",
        "RATE_LIMITS=off",
        "Exit status: 0 if",
    ):
        assert text in said


# serve


async def test_serve_says_where_it_listens_and_how_to_try_it(
    capsys: pytest.CaptureFixture[str], nursery: trio.Nursery, stores: None
) -> None:
    """What it prints can be typed as it is."""
    settings = Settings.load({"port": "0", "auth_mode": "insecure"}, os.environ)

    app: App = await nursery.start(serve, settings)

    said = capsys.readouterr().out
    assert f"trio-chat listens on {app.url}\n" in said
    hello, join, send = [line.strip() for line in said.splitlines() if line.strip().startswith("{")]
    async with connect(app.url) as chat:
        for text in (hello, join, send):
            await chat.say_text(text)
        await chat.until("message:new", room="team-42/general")


async def test_serve_prints_a_link_to_the_page(
    capsys: pytest.CaptureFixture[str], nursery: trio.Nursery, stores: None
) -> None:
    """With stores of one's own it holds no token; `tests/web` opens it."""
    app: App = await nursery.start(serve, Settings.load({"port": "0"}, os.environ))

    assert f"\n  {app.page_url}#room=team-42/general\n" in capsys.readouterr().out


async def test_a_log_for_programs_has_everything_that_is_written(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, nursery: trio.Nursery, stores: None
) -> None:
    """Collectors read both streams: where it listens is a line of the log, and no token is in it."""
    caplog.set_level("INFO")
    app: App = await nursery.start(serve, Settings.load({"port": "0", "log_format": "json"}, os.environ))
    [said] = [vars(record) for record in caplog.records if getattr(record, "event", "") == "listening"]

    assert capsys.readouterr().out == ""
    assert (said["url"], said["page"]) == (app.url, app.page_url)
    assert "token" not in caplog.text


@pytest.mark.parametrize("wrong", [{"PORT": "http"}, {"DATA_DIR": "/proc/nowhere"}])
def test_a_log_for_programs_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], environment: pytest.MonkeyPatch, wrong: dict[str, str]
) -> None:
    """In JSON, too: the settings as well as what comes of them."""
    environment.setattr(logging.getLogger(), "handlers", [])
    environment.setattr(logging.getLogger(), "level", logging.INFO)
    for name, value in {"LOG_FORMAT": "json", **wrong}.items():
        environment.setenv(name, value)
    try:
        status = main(["serve"])
    finally:
        logging.captureWarnings(capture=False)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    assert status == 1
    [said] = [line for line in lines if line["level"] == "critical"]
    assert (said["event"], next(iter(wrong)) in said["message"]) == ("failed", True)


class Serving:
    """One run of `serve` in a nursery."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.over = trio.Event()

    async def run(self, settings: Settings, task_status: trio.TaskStatus[App]) -> None:  # noqa: ASYNC128 - `serve` gets it, and says when it has started
        """Serve, and note the status. `serve` tells when it has started."""
        self.status = await serve(settings, task_status=task_status)
        self.over.set()


async def test_a_signal_stops_it_in_good_order(nursery: trio.Nursery, stores: None) -> None:
    """Status 0: everything is kept."""
    serving = Serving()
    app: App = await nursery.start(
        serving.run, Settings.load({"port": "0", "auth_mode": "insecure"}, os.environ)
    )
    async with connect(app.url, user="ada") as ada:
        await ada.join("room")
        await ada.send("room", "hello")
        os.kill(os.getpid(), signal.SIGINT)
        close = await ada.expect_close()
    await serving.over.wait()

    assert close.code == 1012
    assert serving.status == 0


async def test_what_could_not_be_kept_is_named(
    nursery: trio.Nursery, tmp_path: Path, free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """With both stores away a stop loses messages: it says of which rooms, and how many. Status 1."""
    serving = Serving()
    nowhere = f"127.0.0.1:{free_port}"
    settings = Settings(
        port=0,
        data_dir=tmp_path,
        auth_mode="insecure",
        redis_url=f"redis://{nowhere}",
        database_url=f"postgresql://{nowhere}/x",
    )
    app: App = await nursery.start(serving.run, settings)
    async with connect(app.url, user="ada") as ada:
        await ada.join("room")
        await ada.send_many("room", ["one", "two"])
        os.kill(os.getpid(), signal.SIGTERM)
        await ada.expect_close()
    await serving.over.wait()

    assert serving.status == 1
    assert "room room: 2 events were kept in memory only and are lost" in caplog.text


@pytest.mark.parametrize("reason", ["a second signal", "too long a time"])
async def test_a_stop_that_takes_too_long_is_cut_short(
    nursery: trio.Nursery, stores: None, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    """By a second signal or by the clock. Status 1, and it says what becomes of the rest."""
    serving = Serving()
    patience = "60" if reason == "a second signal" else "0.05"
    given = {"port": "0", "auth_mode": "insecure", "shutdown_timeout_seconds": patience}
    app: App = await nursery.start(serving.run, Settings.load(given, os.environ))
    # A client that does not read keeps the server waiting for its goodbye, for two seconds at most.
    async with connect(app.url, user="ada"):
        os.kill(os.getpid(), signal.SIGTERM)
        await trio.testing.wait_all_tasks_blocked()
        if reason == "a second signal":
            os.kill(os.getpid(), signal.SIGTERM)
        with trio.fail_after(1.5):
            await serving.over.wait()

    assert serving.status == 1
    assert "stopped before everything was done" in caplog.text


# Errors


def test_what_went_wrong_is_found_in_groups_within_groups() -> None:
    """Nurseries wrap errors; people get to read what is inside."""
    first, second = SettingsError(["a"]), Unavailable("b")

    assert leaves(ExceptionGroup("", [ExceptionGroup("", [first]), second])) == [first, second]
    assert leaves(first) == [first]


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (SettingsError(["A: a", "B: b"]), 1, ["A: a", "B: b"]),
        (ExceptionGroup("", [SettingsError(["A: a"]), Unavailable("away")]), 1, ["A: a", "away"]),
        (KeyboardInterrupt(), 130, []),
        (BaseExceptionGroup("", [KeyboardInterrupt(), Unavailable("away")]), 130, []),
    ],
)
def test_errors_of_ours_are_lines_and_an_interrupt_is_none(
    capsys: pytest.CaptureFixture[str],
    environment: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    said: list[str],
) -> None:
    """Nobody is shown a traceback for a mistake in a setting."""
    environment.setattr("trio_chat.cli._token", lambda *_: _raise(error))

    assert main(["token", "ada"]) == status
    assert complaints(capsys) == said


def test_an_error_nobody_expected_is_shown_whole(environment: pytest.MonkeyPatch) -> None:
    """It is a bug, and its traceback helps to find it."""
    error = ExceptionGroup("", [ValueError("a bug"), Unavailable("away")])
    environment.setattr("trio_chat.cli._token", lambda *_: _raise(error))

    with pytest.RaisesGroup(ValueError, Unavailable):
        main(["token", "ada"])


def _raise(error: BaseException) -> int:
    raise error


def test_frames_are_never_logged(environment: pytest.MonkeyPatch) -> None:
    """Not even where everything is logged: they hold what people say."""
    main(["token", "ada", "--log-level", "debug"])

    assert not logging.getLogger("trio-websocket").isEnabledFor(logging.DEBUG)
