"""The whole server: `trio-chat serve` as a process, real stores, and clients that share no code with it.

Most tests share one server, each in rooms of its own. They take seconds rather than milliseconds: processes start,
sessions expire and stores come back in real time.
"""

from __future__ import annotations

import shutil
import signal
import ssl
import subprocess
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import redis
import trio
import trustme

from trio_chat.clients.auth import make_token, with_secret
from trio_chat.settings import Settings
from trio_chat.stores.embedded import EmbeddedPostgres, EmbeddedValkey
from trio_chat.stores.supervision import serving

from .chat_client import Chat, Served, Turned, connect, run, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    Psql = Callable[[str, str], str]

HOSTILE = "'); drop table messages; -- \"\\ \\u0000 %s {0} \u202e\ufeff\u2028\U0001f600 \x1b[2J e\u0301 </script>\ttab"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server as a newcomer starts it: private stores, and tokens signed with a secret it has made itself."""
    with started(tmp_path_factory.mktemp("d")) as server:
        yield server


def token_of(served: Served, user: str, *rooms: str, **options: Any) -> str:
    """Make a token as `trio-chat token` does."""
    return make_token(with_secret(Settings(data_dir=served.directory)), user, rooms or ("*",), **options)


def archived(psql: Psql, url: str, room: str) -> list[str]:
    """Return what the archive has of a room, in order."""
    order = f"select content from messages where room = '{room}' and deleted_at is null order by epoch, seq"
    found = psql(url, order)
    return found.split("\n") if found else []


def archive_of(served: Served) -> str:
    return EmbeddedPostgres(served.directory).url


# A long conversation


async def test_who_comes_sees_the_newest_thousand_and_who_comes_back_what_has_changed(served: Served) -> None:
    """Two talk, 50 messages at a time; a third sees all of the window, a fourth exactly what has changed since."""
    room = "long/talk"
    async with AsyncExitStack() as stack:
        ada, bob, eve, dan = [
            await stack.enter_async_context(connect(served.url, token=token_of(served, name)))
            for name in ("ada", "bob", "eve", "dan")
        ]
        await ada.join(room)
        await bob.join(room)
        said: dict[int, str] = {}
        async with trio.open_nursery() as nursery:
            for name, chat in (("ada", ada), ("bob", bob)):
                nursery.start_soon(_say_much, chat, room, name, said)
        joined, window = await eve.join(room)

        assert sorted(said) == list(range(1, 1101))
        assert (joined["seq"], joined["recovered"]) == (1100, False)
        assert [(one["seq"], one["content"]) for one in window] == [
            (seq, said[seq]) for seq in range(101, 1101)
        ]

        mine = [one for one in window if one["userId"] == "ada"]
        await ada.say("message:edit", room=room, id=mine[200]["id"], content="on second thoughts")
        await ada.say("message:delete", room=room, id=mine[100]["id"])
        await ada.send_many(room, [f"more {number}" for number in range(10)])
        joined, changes = await dan.join(room, resume={"epoch": joined["epoch"], "seq": 1100})
        late = await stack.enter_async_context(connect(served.url, token=token_of(served, "late")))
        _, fresh = await late.join(room)

        assert (joined["recovered"], joined["seq"]) == (True, 1112)
        assert [(one["type"], one["seq"]) for one in changes] == [
            ("message:update", 1101),
            ("message:delete", 1102),
            *(("message:new", seq) for seq in range(1103, 1113)),
        ]
        assert _applied(window, changes, joined["first"]) == fresh


async def _say_much(chat: Chat, room: str, name: str, said: dict[int, str]) -> None:
    contents = [f"{name} {number}" for number in range(550)]
    acks = await chat.send_many(room, contents)
    assert {ack["durability"] for ack in acks} == {"redis"}
    said.update(zip((ack["seq"] for ack in acks), contents, strict=True))


def _applied(window: list[dict[str, Any]], changes: list[dict[str, Any]], first: int) -> list[dict[str, Any]]:
    """Bring a window up to date, as the protocol tells clients to."""
    messages = {one["id"]: one for one in window}
    for change in changes:
        if change["type"] == "message:delete":
            del messages[change["id"]]
        else:
            messages[change["message"]["id"]] = change["message"]
    return [one for one in messages.values() if one["seq"] >= first]


# Crashes


async def test_a_killed_server_has_kept_everything_it_acknowledged(served: Served, psql: Psql) -> None:
    """The next process on the same data has the same session, and archives it: each message exactly once."""
    room, contents = "killed", [f"number {number}" for number in range(60)]
    async with connect(served.url, token=token_of(served, "ada")) as ada:
        await ada.join(room)
        acks = await ada.send_many(room, contents)
        await ada.say("message:edit", room=room, id=acks[0]["id"], content="edited")
        last = await ada.until("ack")
        served.kill()
        assert (await ada.expect_close()).code == 1006

    await trio.to_thread.run_sync(served.start)
    async with connect(served.url, token=token_of(served, "ada")) as ada:
        joined, changes = await ada.join(room, resume={"epoch": last["epoch"], "seq": last["seq"]})
        assert (joined["recovered"], changes, joined["epoch"]) == (True, [], last["epoch"])
        async with connect(served.url, token=token_of(served, "bob")) as bob:
            _, window = await bob.join(room)
            assert [one["content"] for one in window] == ["edited", *contents[1:]]
        await ada.send(room, "afterwards")

        done = await trio.to_thread.run_sync(served.run, "sync")
        assert done.returncode == 0, done.stderr
        assert archived(psql, archive_of(served), room) == ["edited", *contents[1:], "afterwards"]


async def test_a_stopped_server_tells_its_clients_and_has_archived_everything(
    tmp_path: Path, valkey_server: str, postgres_server: str, psql: Psql
) -> None:
    """SIGTERM: close code 1012, a last sync, exit status 0; nothing is archived before it is time."""
    stores = {"REDIS_URL": valkey_server, "DATABASE_URL": postgres_server, "REDIS_PREFIX": "stop"}
    with started(tmp_path, AUTH_MODE="insecure", **stores) as server:
        async with connect(server.url, user="ada") as ada:
            await ada.join("stop")
            await ada.send_many("stop", ["one", "two", "three"])
            before = archived(psql, postgres_server, "stop")
            server.signal_stop()
            close = await ada.expect_close()
        status = await trio.to_thread.run_sync(server.wait)

        assert close.code == 1012
        assert status == 0, server.log
        assert before == []
        assert archived(psql, postgres_server, "stop") == ["one", "two", "three"]


# Expiry


async def test_a_session_expires_on_time_and_the_next_message_begins_another(
    tmp_path: Path, valkey_server: str, postgres_server: str, psql: Psql
) -> None:
    """Two seconds after the last activity: told, archived, gone from Redis; pages read back over both.

    What people write comes back as it was, however hostile.
    """
    stores = {"REDIS_URL": valkey_server, "DATABASE_URL": postgres_server, "REDIS_PREFIX": "expiry"}
    with started(tmp_path, AUTH_MODE="insecure", SESSION_EXPIRY_SECONDS="2", **stores) as server:
        async with connect(server.url, user="ada") as ada:
            await ada.join("room")
            hostile = {"content": HOSTILE, "metadata": {HOSTILE: [HOSTILE, 1e300, -0.5, None]}}
            old = [await ada.send("room", "old 0"), await ada.send("room", **hostile)]
            old.append(await ada.send("room", "old 2"))
            since = time.monotonic()
            await ada.until("session:expired", room="room", epoch=old[0]["epoch"])
            took = time.monotonic() - since
            with redis.Redis.from_url(valkey_server) as hot:
                left = hot.keys("expiry*")
            rows = archived(psql, postgres_server, "room")
            new = await ada.send("room", "new")
            await ada.say("history:get", room="room", limit=2)
            first = await ada.until("history:page")
            await ada.say("history:get", room="room", limit=2, before=first["before"])
            second = await ada.until("history:page")

        assert 1.9 < took < 3
        assert left == []
        assert rows == ["old 0", HOSTILE, "old 2"]
        assert (new["seq"], new["epoch"] > old[0]["epoch"]) == (1, True)
        assert [[one["content"] for one in page["messages"]] for page in (first, second)] == [
            ["old 2", "new"],
            ["old 0", HOSTILE],
        ]
        assert second["messages"][1]["metadata"] == hostile["metadata"]
        assert [(page["source"], page["more"]) for page in (first, second)] == [
            ("window+archive", True),
            ("archive", False),
        ]


# Redis goes away


class Talker:
    """Says something 50 times a second, and fails if it is ever disconnected or refused."""

    def __init__(self, name: str) -> None:
        self.acks: list[dict[str, Any]] = []
        self._name = name
        self._acknowledged = trio.Event()

    async def talk(self, url: str, task_status: trio.TaskStatus[None]) -> None:
        """Talk until cancelled."""
        async with connect(url, user=self._name) as chat:
            await chat.join("room")
            task_status.started()
            while True:
                self.acks.append(await chat.send("room", f"{self._name} {len(self.acks)}"))
                self._acknowledged.set()
                self._acknowledged = trio.Event()
                await trio.sleep(0.02)

    async def wait_for(self, durability: str) -> None:
        """Return when the newest ack says this."""
        with trio.fail_after(10):
            while not self.acks or self.acks[-1]["durability"] != durability:
                await self._acknowledged.wait()


async def test_redis_may_go_and_come_back_even_empty(
    tmp_path: Path, free_port: int, postgres_server: str, psql: Psql
) -> None:
    """Nobody is disconnected, messages flow and say "memory"; afterwards nothing is missing anywhere."""
    talkers = [Talker("ada"), Talker("bob")]
    with serving(EmbeddedValkey(tmp_path, port=free_port)) as valkey:
        stores = {"REDIS_URL": valkey.url, "DATABASE_URL": postgres_server}
        with started(tmp_path, AUTH_MODE="insecure", **stores) as server:
            async with trio.open_nursery() as talking:
                for talker in talkers:
                    await talking.start(talker.talk, server.url)
                for wipe in (False, True):
                    await _all_hear(talkers, "redis")
                    valkey.kill()
                    await _all_hear(talkers, "memory")
                    await trio.sleep(1.5)
                    if wipe:
                        shutil.rmtree(valkey.directory / "appendonlydir")
                    # Blocking, and in this thread: a server dies with the thread that started it.
                    valkey.start()
                    await _all_hear(talkers, "redis")
                talking.cancel_scope.cancel()
            async with connect(server.url, user="eve") as eve:
                _, window = await eve.join("room")
            status = await trio.to_thread.run_sync(server.stop)

        acks = [ack for talker in talkers for ack in talker.acks]
        kept = psql(postgres_server, "select seq from messages order by seq").splitlines()
        seen = {one["seq"]: one["id"] for one in window}
        assert status == 0, server.log
        assert {ack["durability"] for ack in acks} >= {"redis", "memory"}
        assert len({ack["epoch"] for ack in acks}) == 1
        assert len({ack["seq"] for ack in acks}) == len(acks)
        assert {ack["seq"]: ack["id"] for ack in acks}.items() <= seen.items()
        assert list(map(int, kept)) == sorted(seen)
        assert "refilled" in server.log


async def _all_hear(talkers: list[Talker], durability: str) -> None:
    for talker in talkers:
        await talker.wait_for(durability)


async def test_no_number_is_given_out_twice_after_a_kill_while_redis_was_away(
    tmp_path: Path, free_port: int, postgres_server: str, psql: Psql
) -> None:
    """The very Redis comes back, and does not have what members were told: the room begins a new session.

    So the next process says to those who come back; everything that Redis had is archived, and nothing is refused.
    """
    with serving(EmbeddedValkey(tmp_path, port=free_port)) as valkey:
        stores = {"REDIS_URL": valkey.url, "DATABASE_URL": postgres_server, "REDIS_TIMEOUT": "0.2"}
        with started(tmp_path, AUTH_MODE="insecure", **stores) as server:
            async with connect(server.url, user="ada") as ada:
                await ada.join("room")
                kept = [await ada.send("room", f"kept {number}") for number in range(10)]
                valkey.pause()
                told = [await ada.send("room", f"told {number}") for number in range(5)]
                server.kill()
            valkey.resume()
            await trio.to_thread.run_sync(server.start)
            complaint = server.log
            async with connect(server.url, user="ada") as ada:
                position = {"epoch": told[-1]["epoch"], "seq": told[-1]["seq"]}
                joined, window = await ada.join("room", resume=position)
                new = [await ada.send("room", f"new {number}") for number in range(7)]
                server.kill()
            await trio.to_thread.run_sync(server.start)
            async with connect(server.url, user="ada") as ada:
                position = {"epoch": new[-1]["epoch"], "seq": new[-1]["seq"]}
                again, _ = await ada.join("room", resume=position)
            status = await trio.to_thread.run_sync(server.stop)

    assert [ack["durability"] for ack in (kept[-1], told[0])] == ["redis", "memory"]
    assert "died while Redis was away" in complaint
    assert (joined["recovered"], joined["seq"], window) == (False, 0, [])
    assert joined["epoch"] > told[-1]["epoch"]
    assert {(ack["epoch"], ack["seq"]) for ack in told}.isdisjoint((ack["epoch"], ack["seq"]) for ack in new)
    assert (again["recovered"], again["epoch"]) == (True, joined["epoch"])
    assert status == 0, server.log
    assert archived(psql, postgres_server, "room") == [
        *(f"kept {number}" for number in range(10)),
        "told 0",  # was on its way when Redis was paused
        *(f"new {number}" for number in range(7)),
    ]


async def test_a_kill_after_redis_had_caught_up_costs_no_session(
    tmp_path: Path, free_port: int, postgres_server: str
) -> None:
    """Once Redis has everything again, the next process continues where this one was."""
    with serving(EmbeddedValkey(tmp_path, port=free_port)) as valkey:
        stores = {"REDIS_URL": valkey.url, "DATABASE_URL": postgres_server, "REDIS_TIMEOUT": "0.2"}
        with started(tmp_path, AUTH_MODE="insecure", **stores) as server:
            talker = Talker("bob")
            async with trio.open_nursery() as talking:
                await talking.start(talker.talk, server.url)
                valkey.pause()
                await talker.wait_for("memory")
                valkey.resume()
                await talker.wait_for("redis")
                talking.cancel_scope.cancel()
            async with connect(server.url, user="ada") as ada:
                await ada.join("room")
                last = await ada.send("room", "last")
            server.kill()
            await trio.to_thread.run_sync(server.start)
            async with connect(server.url, user="ada") as ada:
                position = {"epoch": last["epoch"], "seq": last["seq"]}
                joined, changes = await ada.join("room", resume=position)

    assert (joined["recovered"], joined["seq"], changes) == (True, last["seq"], [])


@pytest.mark.parametrize("archive", ["there", "away"])
async def test_a_stop_while_redis_is_away_costs_the_sessions_that_were_behind_and_no_other(
    tmp_path: Path, free_port: int, own_postgres: EmbeddedPostgres, psql: Psql, archive: str
) -> None:
    """What was on its way is acknowledged and archived; its numbers are not given out again. Another room goes on.

    So it is whether or not the archive is there at the next start: nothing else than the file says what was behind.
    """
    with serving(EmbeddedValkey(tmp_path, port=free_port)) as valkey:
        stores = {"REDIS_URL": valkey.url, "DATABASE_URL": own_postgres.url, "REDIS_TIMEOUT": "0.5"}
        with started(tmp_path, AUTH_MODE="insecure", **stores) as server:
            async with connect(server.url, user="ada") as ada:
                for room in ("quiet", "busy"):
                    await ada.join(room)
                quiet = await ada.send("quiet", "q", id="q1")
                await ada.send("busy", "before")
                valkey.pause()
                for number in range(3):
                    await ada.say("message:send", room="busy", content=f"last {number}", id=f"b{number}")
                await trio.sleep(0.1)
                server.signal_stop()
                last = [await ada.until("ack") for _ in range(3)]
                close = await ada.expect_close()
            status = await trio.to_thread.run_sync(server.wait)
            if archive == "away":
                own_postgres.pause()
            valkey.resume()
            await trio.to_thread.run_sync(server.start)
            complaint = server.log
            async with connect(server.url, user="ada") as ada:
                position = {"epoch": quiet["epoch"], "seq": quiet["seq"]}
                gone_on, _ = await ada.join("quiet", resume=position)
                again = await ada.send("quiet", "q", id="q1")
                position = {"epoch": last[-1]["epoch"], "seq": last[-1]["seq"]}
                begun, _ = await ada.join("busy", resume=position)
                new = [await ada.send("busy", f"new {number}") for number in range(5)]
            if archive == "away":
                own_postgres.resume()
            ended = await trio.to_thread.run_sync(server.stop)

    assert (close.code, status, ended) == (1012, 0, 0), server.log
    assert [ack["durability"] for ack in last] == ["memory"] * 3
    assert "rooms that begin a new session: 1" in complaint
    assert (gone_on["recovered"], again["duplicate"], again["seq"]) == (True, True, quiet["seq"])
    assert (begun["recovered"], begun["epoch"] > last[-1]["epoch"]) == (False, True)
    assert {(ack["epoch"], ack["seq"]) for ack in last}.isdisjoint((ack["epoch"], ack["seq"]) for ack in new)
    assert not (tmp_path / "tc.behind").exists()
    assert archived(psql, own_postgres.url, "busy") == [
        "before",
        *(f"last {number}" for number in range(3)),
        *(f"new {number}" for number in range(5)),
    ]


# Who may come in


async def test_tokens_say_who_comes_in_and_where(served: Served) -> None:
    """Rooms, roles, the Authorization header, and a refusal that tells nothing."""
    narrow = token_of(served, "ada", "team-42/*")
    async with connect(served.url, token=narrow) as ada:
        await ada.say("room:join", room="team-43/general", ref=1)
        await ada.expect("error", ref=1, code="forbidden", temporary=False)
        await ada.join("team-42/general")
        await ada.say("message:send", room="team-42/general", content="I am", role="assistant", ref=2)
        await ada.expect("error", ref=2, code="forbidden")
    header = {"Authorization": f"Bearer {token_of(served, 'bot', roles=['assistant'])}"}
    async with connect(served.url, headers=header) as bot:
        await bot.expect("welcome", user="bot")
        await bot.join("team-42/general")
        await bot.say("message:send", room="team-42/general", content="I am", role="assistant")
        assert (await bot.until("message:new"))["message"]["role"] == "assistant"
    for refused in ("nonsense", token_of(served, "ada", expires_in=0.001), narrow[:-2]):
        async with connect(served.url) as nobody:
            await nobody.say("hello", token=refused)
            await nobody.expect(
                "error", code="unauthorized", message="token: not accepted; connect with a new one"
            )
            assert (await nobody.expect_close()).code == 4501


async def test_a_page_of_any_origin_may_come_with_a_token_but_not_as_anybody(
    served: Served, tmp_path: Path, valkey_server: str, postgres_server: str
) -> None:
    """Where no token is needed, a foreign page must not use its visitor's network."""
    foreign = {"Origin": "https://elsewhere.example"}
    async with connect(served.url, headers=foreign, token=token_of(served, "ada")):
        pass
    stores = {"REDIS_URL": valkey_server, "DATABASE_URL": postgres_server, "REDIS_PREFIX": "origin"}
    with started(tmp_path, AUTH_MODE="insecure", **stores) as server:
        own = {"Origin": server.url.replace("ws://", "http://").removesuffix("/ws")}
        async with connect(server.url, headers=own, user="ada"):
            pass
        with pytest.raises(Turned) as turned:
            async with connect(server.url, headers=foreign, user="ada"):
                pass
        assert turned.value.status == 403


async def test_with_a_certificate_the_port_speaks_tls(
    tmp_path: Path, valkey_server: str, postgres_server: str
) -> None:
    """Clients and `tail` come in over wss; whoever speaks plainly does not."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    stores = {"REDIS_URL": valkey_server, "DATABASE_URL": postgres_server, "REDIS_PREFIX": "tls"}
    files = {"TLS_CERT": str(tmp_path / "cert.pem"), "TLS_KEY": str(tmp_path / "key.pem")}
    with started(tmp_path, AUTH_MODE="insecure", HOST="localhost", **files, **stores) as server:
        assert server.url.startswith("wss://localhost:")
        async with connect(server.url, tls=context, user="ada") as ada:
            await ada.join("room")
            await ada.send("room", "confidential " * 5000)
            async with connect(server.url, tls=context, user="bob") as bob:
                _, window = await bob.join("room")
        with pytest.raises(EOFError):
            async with connect(server.url.replace("wss", "ws"), user="eve"):
                pass
        trust = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        async with tailing(server, "room", "--url", server.url, **trust) as lines:
            line = await lines.next()
        status = await trio.to_thread.run_sync(server.stop)

    assert [one["content"] for one in window] == ["confidential " * 5000]
    assert "ada confidential" in line
    assert status == 0


# Commands beside a running server


class Lines:
    """What a process prints, line by line."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._rest = b""

    async def next(self) -> str:
        """Wait for a line and return it."""
        while b"\n" not in self._rest:
            part = await self._stream.receive_some()
            if not part:
                raise EOFError(self._rest)
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


@asynccontextmanager
async def tailing(served: Served, *arguments: str, **settings: str) -> AsyncIterator[Lines]:
    """Run `trio-chat tail` for as long as the block, which gets its lines. It ends by SIGINT, as people end it."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "trio_chat", "tail", *arguments],
        env={**served.environment, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Who runs the tests in the background of a shell ignores it, and so would all it starts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        with trio.fail_after(15):
            yield Lines(process.stdout)
            process.send_signal(signal.SIGINT)
            complaint = b"".join([part async for part in process.stderr])
            assert await process.wait() == 130, complaint
    finally:
        if process.returncode is None:
            process.kill()
        await process.stdout.aclose()
        await process.stderr.aclose()


async def test_token_tail_and_sync_work_beside_a_running_server(served: Served, psql: Psql) -> None:
    """They find the server's port, secret and private stores by the same settings."""
    place = {"PORT": served.url.partition("://")[2].partition(":")[2].removesuffix("/ws")}
    made = await trio.to_thread.run_sync(partial(served.run, "token", "ada", "--room", "beside/*"))
    async with connect(served.url, token=made.stdout.strip()) as ada:
        await ada.join("beside/room")
        await ada.send("beside/room", "before")
        async with tailing(served, "beside/room", **place) as lines:
            assert (await lines.next()).endswith("ada before")
            await ada.send("beside/room", "meanwhile")
            assert (await lines.next()).endswith("ada meanwhile")
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
    """It says what the command does, how to use it and every setting with its variable and default."""
    done = run(command, "--help", environment={"COLUMNS": "200"})

    assert done.returncode == 0
    assert f"usage: trio-chat {command}" in done.stdout
    assert "--data-dir DIR" in done.stdout
    assert "[SESSION_EXPIRY_SECONDS; default: 1200]" in done.stdout
    assert "environment only: AUTH_SECRET" in done.stdout
    assert any(word in done.stdout for word in ("examples:", "example:", "Exit status:", "Safe at any time"))
