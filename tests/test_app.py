"""The server, wired together: over real stores and real sockets, in this process."""

from __future__ import annotations

import os
import signal
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from trio_chat.app import App, _check_origin, _limits, load_tls, open_app, url_of
from trio_chat.clients.auth import make_token, with_secret
from trio_chat.clients.handshake import Refused, Request
from trio_chat.errors import Misconfigured, SettingsError
from trio_chat.settings import Settings
from trio_chat.stores.places import open_hot, open_stores
from trio_chat.stores.redis import RedisHotStore

from .chat_client import Turned, connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trio_chat.stores.embedded import EmbeddedValkey


@pytest.fixture
def settings(tmp_path: Path, valkey_server: str, postgres_server: str) -> Settings:
    """Settings for a server on a free port, over the session's stores."""
    return Settings(
        port=0,
        data_dir=tmp_path,
        redis_url=valkey_server,
        redis_prefix=f"app-{tmp_path.name[:20]}",
        database_url=postgres_server,
        auth_mode="insecure",
    )


# Running


async def test_plain_settings_are_enough(settings: Settings) -> None:
    """Without a mode and a key it asks for tokens, and makes the secret that they are signed with."""
    plain = replace(settings, auth_mode="token")

    async with open_app(plain) as app:
        token = make_token(with_secret(plain), "ada", ["*"])
        async with connect(app.url, token=token) as ada:
            joined, _ = await ada.join("room")

    assert joined["members"] == ["ada"]
    assert stat.S_IMODE((plain.data_dir / "auth-secret").stat().st_mode) == 0o600


async def test_it_accepts_clients_as_soon_as_the_block_begins(settings: Settings) -> None:
    """The URL names the port that was free."""
    async with open_app(settings) as app:
        async with connect(app.url, user="ada") as ada:
            ack = await ada_says(ada, "hello")

        assert app.url == f"ws://127.0.0.1:{app.port}/ws"
        assert ack["durability"] == "redis"


async def ada_says(ada: Any, *contents: str) -> dict[str, Any]:
    await ada.join("room")
    return [await ada.send("room", content) for content in contents][-1]


async def _keep_open(
    settings: Settings, enough: trio.Event, task_status: trio.TaskStatus[App] = trio.TASK_STATUS_IGNORED
) -> None:
    async with open_app(settings) as app:
        task_status.started(app)
        await enough.wait()


async def test_leaving_the_block_tells_the_clients_and_archives_everything(
    settings: Settings, psql: Callable[[str, str], str]
) -> None:
    """In this order, so that what a client said last is archived too."""
    enough = trio.Event()
    async with trio.open_nursery() as nursery:
        app: App = await nursery.start(_keep_open, settings, enough)
        async with connect(app.url, user="ada") as ada:
            await ada_says(ada, "one", "two")
            enough.set()
            close = await ada.expect_close()

    assert close.code == 1012
    assert psql(str(settings.database_url), "select content from messages order by seq") == "one\ntwo"


async def test_who_waits_for_an_answer_gets_it_before_the_goodbye(
    settings: Settings, own_valkey: EmbeddedValkey, psql: Callable[[str, str], str]
) -> None:
    """Redis does not answer. What was said is acknowledged all the same, and nothing that is said after that.

    Takes as long as Redis may take to answer.
    """
    enough = trio.Event()
    settings = replace(settings, redis_url=own_valkey.url, redis_timeout=0.5)
    async with trio.open_nursery() as nursery:
        app: App = await nursery.start(_keep_open, settings, enough)
        async with connect(app.url, user="ada") as ada:
            await ada_says(ada, "one")
            own_valkey.pause()
            try:
                for number in (2, 3):
                    await ada.say("message:send", room="room", content=f"number {number}", ref=number)
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert app.lobby.rooms["room"].ledger.backlog
                enough.set()
                await trio.testing.wait_all_tasks_blocked()
                await ada.say("message:send", room="room", content="too late", ref=4)
                with pytest.raises(Turned) as turned:
                    async with connect(app.url, user="bob"):
                        pass
                refused = await ada.expect("error", ref=4, code="unavailable")
                acks = [await ada.until("ack") for _ in range(2)]
                close = await ada.expect_close()
            finally:
                own_valkey.resume()

    assert turned.value.status == 503
    assert "stopping" in refused["message"]
    assert [(ack["ref"], ack["durability"]) for ack in acks] == [(2, "memory"), (3, "memory")]
    assert close.code == 1012
    assert psql(str(settings.database_url), "select content from messages order by seq").splitlines() == [
        "one",
        "number 2",
        "number 3",
    ]


async def test_cancelling_cuts_the_clients_and_archives_everything_still(
    settings: Settings, psql: Callable[[str, str], str]
) -> None:
    """A cancel does not wait for anybody's goodbye, but loses nothing."""
    async with trio.open_nursery() as nursery:
        app: App = await nursery.start(_keep_open, settings, trio.Event())
        async with connect(app.url, user="ada") as ada:
            await ada_says(ada, "one")
            nursery.cancel_scope.cancel()

    assert psql(str(settings.database_url), "select content from messages") == "one"


async def test_stores_that_are_away_are_waited_for(tmp_path: Path, free_port: int) -> None:
    """A server starts without them, and says in each ack what that is worth."""
    nowhere = f"127.0.0.1:{free_port}"
    settings = Settings(
        port=0,
        data_dir=tmp_path,
        redis_url=f"redis://{nowhere}",
        database_url=f"postgresql://{nowhere}/x",
        auth_mode="insecure",
    )

    async with open_app(settings) as app:
        async with connect(app.url, user="ada") as ada:
            ack = await ada_says(ada, "hello")

        assert ack["durability"] == "memory"
        assert app.lobby.unsaved() == {"room": 1}


# What is wrong is said at once


@pytest.mark.parametrize("store", ["redis_url", "database_url"])
async def test_a_store_that_will_not_have_us_ends_the_start(settings: Settings, store: str) -> None:
    """Wrong credentials are a mistake to be told, not an outage to be waited for."""
    wrong = {
        "redis_url": str(settings.redis_url).replace("unix://", "unix://:wrong@"),
        "database_url": str(settings.database_url).replace("postgres@", "nobody@"),
    }

    with pytest.raises(Misconfigured):
        async with open_app(replace(settings, **{store: wrong[store]})):
            pass


async def test_an_address_in_use_ends_the_start(settings: Settings) -> None:
    """The error names both settings and the reason."""
    async with open_app(settings) as app:
        taken = replace(settings, port=app.port, redis_prefix="other")

        with pytest.raises(
            SettingsError, match=r"^HOST=127\.0\.0\.1 PORT=\d+: cannot listen there: Address already"
        ):
            async with open_app(taken):
                pass


@pytest.fixture(scope="module")
def certificate() -> trustme.LeafCert:
    return trustme.CA().issue_cert("localhost")


@pytest.fixture
def tls_files(tmp_path: Path, certificate: trustme.LeafCert) -> tuple[Path, Path]:
    """A certificate and its key."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(cert)
    certificate.private_key_pem.write_to_path(key)
    return cert, key


def test_a_certificate_with_its_key_is_loaded(tls_files: tuple[Path, Path]) -> None:
    """Without one there is no TLS."""
    cert, key = tls_files

    assert load_tls(Settings(tls_cert=cert, tls_key=key)) is not None
    assert load_tls(Settings()) is None


@pytest.mark.parametrize("mistake", ["no certificate", "another key", "an encrypted key", "no key"])
def test_a_certificate_that_cannot_be_used_is_refused(
    tls_files: tuple[Path, Path], certificate: trustme.LeafCert, mistake: str
) -> None:
    """The problem names both files. Nobody is asked for a password on the terminal."""
    cert, key = tls_files
    match mistake:
        case "no certificate":
            cert.write_text("hello")
        case "another key":
            trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(key)
        case "an encrypted key":
            secret = load_pem_private_key(certificate.private_key_pem.bytes(), None)
            key.write_bytes(
                secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame"))
            )
        case _:
            key.write_text("")

    with pytest.raises(SettingsError) as refused:
        load_tls(Settings(tls_cert=cert, tls_key=key))

    [problem] = refused.value.problems
    assert problem.startswith(
        f"TLS_CERT={cert} TLS_KEY={key}: expected a certificate and its key as PEM, not encrypted"
    )


async def test_a_bad_certificate_ends_the_start_before_anything_begins(tmp_path: Path) -> None:
    """Nobody waits for a database to be made only to read about a file."""
    bad = tmp_path / "cert.pem"
    bad.write_text("hello")

    with pytest.raises(SettingsError):
        async with open_app(Settings(data_dir=tmp_path / "data", tls_cert=bad, tls_key=bad)):
            pass

    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["auth-secret"]


# Settings and what they become


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({}, "ws://127.0.0.1:8000/ws"),
        ({"host": "::1"}, "ws://[::1]:8000/ws"),
        ({"host": "chat.example"}, "ws://chat.example:8000/ws"),
    ],
)
def test_the_url_is_one_that_clients_understand(changes: dict[str, Any], url: str) -> None:
    """An IPv6 address is written in brackets."""
    assert url_of(Settings(**changes), 8000) == url


def test_limits_reach_the_connections() -> None:
    """Each setting has its place; no limit on connections is none."""
    limits = _limits(
        Settings(
            handshake_timeout=1,
            request_head_bytes=2048,
            max_message_bytes=3000,
            max_fragments=4,
            frame_timeout=5,
            outbox_bytes=6000,
            outbox_stall_seconds=7,
            ping_interval_seconds=9,
            ping_timeout_seconds=8,
            close_timeout_seconds=10,
            max_connections=11,
        )
    )

    assert (limits.handshake_timeout, limits.request_head, limits.message_bytes) == (1, 2048, 3000)
    assert (limits.fragments, limits.frame_timeout, limits.outbox_bytes) == (4, 5, 6000)
    assert (limits.outbox_stall, limits.ping_timeout, limits.ping_interval) == (7, 8, 9)
    assert (limits.close_timeout, limits.connections) == (10, 11)
    assert _limits(Settings()).connections is None


LISTED = {"allowed_origins": ("https://chat.example", "http://Localhost:3000")}


@pytest.mark.parametrize(
    ("changes", "headers", "allowed"),
    [
        # Whoever is no browser names no origin.
        ({}, {}, True),
        ({"auth_mode": "insecure"}, {}, True),
        (LISTED, {}, True),
        # A token is not sent unasked.
        ({}, {"origin": "https://evil.example"}, True),
        ({}, {"origin": "null"}, True),
        # Without tokens only the server's own pages.
        ({"auth_mode": "insecure"}, {"origin": "http://127.0.0.1:8000"}, True),
        ({"auth_mode": "insecure"}, {"origin": "HTTP://Chat.Example", "host": "chat.eXample"}, True),
        ({"auth_mode": "insecure"}, {"origin": "http://127.0.0.1:8001"}, False),
        ({"auth_mode": "insecure"}, {"origin": "http://127.0.0.1"}, False),
        ({"auth_mode": "insecure"}, {"origin": "http://localhost:8000"}, False),
        ({"auth_mode": "insecure"}, {"origin": "https://evil.example"}, False),
        ({"auth_mode": "insecure"}, {"origin": "null"}, False),
        ({"auth_mode": "insecure"}, {"origin": "127.0.0.1:8000"}, False),
        ({"auth_mode": "insecure"}, {"origin": "http://127.0.0.1:8000, https://evil.example"}, False),
        # A list is a list, in either mode.
        (LISTED, {"origin": "https://chat.example"}, True),
        (LISTED, {"origin": "HTTPS://CHAT.example"}, True),
        (LISTED, {"origin": "http://localhost:3000"}, True),
        (LISTED, {"origin": "http://127.0.0.1:8000"}, False),
        (LISTED, {"origin": "https://chat.example.evil.example"}, False),
        (LISTED, {"origin": "http://chat.example"}, False),
        (LISTED | {"auth_mode": "insecure"}, {"origin": "http://127.0.0.1:8000"}, False),
        (LISTED | {"auth_mode": "insecure"}, {"origin": "https://chat.example"}, True),
    ],
)
def test_which_pages_may_connect(changes: dict[str, Any], headers: dict[str, str], allowed: bool) -> None:
    """Origins are compared whole and in lower case; a refusal is a 403 that says what to do."""
    every = {"host": "127.0.0.1:8000"} | headers
    request = Request(
        "/ws", "", {name.encode(): text.encode() for name, text in every.items()}, "somebody", False
    )

    if allowed:
        _check_origin(Settings(**changes), request)
    else:
        with pytest.raises(Refused, match="ALLOWED_ORIGINS") as refused:
            _check_origin(Settings(**changes), request)
        assert refused.value.status == 403


# Where the stores are


async def test_places_are_shown_without_passwords(settings: Settings) -> None:
    """They are for logs and for whoever starts the server."""
    url = str(settings.database_url).replace("postgres@", "postgres:sesame@")

    async with open_stores(replace(settings, database_url=url)) as stores:
        assert stores.hot_place == settings.redis_url
        assert "postgres:***@" in stores.archive_place
        assert "sesame" not in repr(stores)


async def test_a_private_redis_that_crashed_is_another_one(tmp_path: Path) -> None:
    """It is started again, but may have lost its newest writes: no session's tail is trusted unseen."""
    with trio.fail_after(20):
        async with open_hot(Settings(data_dir=tmp_path)) as (hot, place):
            assert isinstance(hot, RedisHotStore)
            before = hot.incarnation
            [_, pid] = (await hot._resp.call("INFO", "server")).split(b"process_id:")
            os.kill(int(pid.split()[0]), signal.SIGKILL)
            await hot.wait_health(False)
            await hot.wait_health(True)

            assert hot.incarnation != before
            assert place == f"private Valkey in {tmp_path / 'valkey'}"


async def test_a_command_uses_the_private_servers_that_run(tmp_path: Path) -> None:
    """Beside a server another process reads the same stores; it starts none and ends none."""
    settings = Settings(data_dir=tmp_path)
    async with open_hot(settings) as (own, _):
        async with open_hot(settings, require=True, beside=True) as (other, _):
            await other.probe()
        await own.probe()

        with pytest.raises(SettingsError, match="in use by another process"):
            async with open_hot(settings):
                pass
