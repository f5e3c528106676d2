"""Commands: beside a running server, with wrong settings, and what they say of themselves."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import redis
import trio

from tests.chat_client import Served, connect, run, started
from trio_chat.stores.embedded import EmbeddedValkey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Psql = Callable[[str, str], str]

from .house import archive_of, archived, tailing


async def test_token_tail_and_sync_work_beside_a_running_server(served: Served, psql: Psql) -> None:
    """They find the server's port, secret and private stores by the same settings."""
    place = {"PORT": served.url.partition("://")[2].partition(":")[2].removesuffix("/ws")}
    made = await trio.to_thread.run_sync(partial(served.run, "token", "ada", "--room", "beside/*"))
    async with connect(served.url, token=made.stdout.strip()) as ada:
        await ada.join("beside/room")
        await ada.send("beside/room", "before")
        async with tailing(served, "beside/room", **place) as lines:
            assert (await lines.message()).endswith("ada before")
            await ada.send("beside/room", "meanwhile")
            assert (await lines.message()).endswith("ada meanwhile")
        before = archived(psql, archive_of(served), "beside/room")
        synced = await trio.to_thread.run_sync(partial(served.run, "sync"))
        checked = await trio.to_thread.run_sync(partial(served.run, "check"))

    assert (made.returncode, made.stderr) == (0, "")
    assert before == []
    assert synced.returncode == 0, synced.stderr
    assert "messages archived from" in synced.stdout
    assert archived(psql, archive_of(served), "beside/room") == ["before", "meanwhile"]
    assert checked.returncode == 0, checked.stderr
    assert "archive: well, private Postgres" in checked.stdout


def test_a_second_server_on_the_same_data_is_refused(served: Served) -> None:
    """It says who has the directory, and leaves the first one alone."""
    done = served.run("serve")

    assert done.returncode == 1
    assert f"trio-chat: DATA_DIR={served.directory}: in use by another process" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_settings_end_it_at_once_and_are_all_named(tmp_path: Path) -> None:
    """Exit status 1, a line each, and nothing was begun."""
    done = run(
        "serve",
        "--port",
        "http",
        environment={
            "DATA_DIR": str(tmp_path / "data"),
            "SESSION_EXPIRY_SECONDS": "abc",
            "AUTH_SECRET": "short",
            "TLS_CERT": "/nowhere/cert.pem",
        },
    )

    assert done.returncode == 1
    assert [line.partition(": expected")[0] for line in done.stderr.splitlines()] == [
        "trio-chat: --port=http",
        "trio-chat: TLS_CERT=/nowhere/cert.pem",
        "trio-chat: AUTH_SECRET=***",
        "trio-chat: SESSION_EXPIRY_SECONDS=abc",
    ]
    assert not (tmp_path / "data").exists()


def test_a_redis_that_may_lose_messages_is_warned_about(
    tmp_path: Path, own_valkey: EmbeddedValkey, postgres_server: str
) -> None:
    """One line for each setting, which says what to do; and the server runs."""
    with redis.Redis(unix_socket_path=str(own_valkey.socket)) as console:
        console.config_set("appendonly", "no")
        console.config_set("maxmemory-policy", "allkeys-lru")
    stores = {"REDIS_URL": own_valkey.url, "DATABASE_URL": postgres_server}
    with started(tmp_path, **stores) as server:
        warnings = [line for line in server.log.splitlines() if " WARNING " in line]

    assert [line.rpartition("; ")[2].rpartition(": ")[2] for line in warnings] == [
        "set appendonly yes",
        "set maxmemory-policy noeviction, not allkeys-lru",
    ]


@pytest.mark.parametrize("command", ["serve", "sync"])
@pytest.mark.parametrize("wrong", ["REDIS_URL", "DATABASE_URL"])
def test_credentials_that_are_wrong_end_the_start(
    tmp_path: Path, valkey_server: str, postgres_server: str, command: str, wrong: str
) -> None:
    """With exit status 1 and one line that says which store will not have us, and why."""
    stores = {"REDIS_URL": valkey_server, "DATABASE_URL": postgres_server}
    stores[wrong] = (
        stores[wrong].replace("unix://", "unix://ada:hunter2@").replace("postgres@", "nobody:hunter2@")
    )
    done = run(command, environment={"DATA_DIR": str(tmp_path), "PORT": "0", **stores})

    [problem] = [line for line in done.stderr.splitlines() if " INFO " not in line]
    assert done.returncode == 1
    assert problem.startswith("trio-chat: Redis" if wrong == "REDIS_URL" else "trio-chat: Postgres")
    assert "hunter2" not in done.stdout + done.stderr


def test_check_reaches_both_stores_and_says_what_is_wrong_with_each(tmp_path: Path) -> None:
    """Exit status 1, a line a problem, and no password in any of them."""
    done = run(
        "check",
        environment={
            "DATA_DIR": str(tmp_path),
            "REDIS_URL": "redis://:hunter2@127.0.0.1:1",
            "DATABASE_URL": "postgresql://chat:hunter2@127.0.0.1:1/chat",
        },
    )

    problems = [line for line in done.stderr.splitlines() if line.startswith("trio-chat: ")]
    assert done.returncode == 1
    assert [line.split(":")[1] for line in problems] == [" hot store", " archive"]
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "check", "token", "sync", "tail"])
def test_the_help_of_each_command_teaches(command: str) -> None:
    """It says what the command does, how to use it, and its settings with their variables and defaults."""
    done = run(command, "--help", environment={"COLUMNS": "200"})

    assert done.returncode == 0
    assert f"usage: trio-chat {command}" in done.stdout
    assert "--data-dir DIR" in done.stdout
    assert "[DATA_DIR; default: " in done.stdout
    everything = "[SESSION_EXPIRY_SECONDS; default: 1200]" in done.stdout
    assert everything is (command in {"serve", "check"})
    assert ("It takes the other settings of `trio-chat serve`" in done.stdout) is not everything
    assert ("environment only: AUTH_SECRET" in done.stdout) is (command != "sync")
    assert any(word in done.stdout for word in ("examples:", "example:", "Exit status:", "Safe at any time"))
