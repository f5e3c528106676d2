"""The embedded servers: real ones, killed and frozen for real, on a real clock.

Starting a Valkey takes a twentieth of a second and making a Postgres half a second, so these tests take what they take.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from redis import Redis

from trio_chat.errors import Misconfigured, SettingsError
from trio_chat.stores.embedded import EmbeddedPostgres, EmbeddedValkey
from trio_chat.stores.supervision import serving, supervised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trio_chat.stores.child import ChildServer

    Psql = Callable[[str, str], str]

# A program that runs both servers and says where, for tests that kill it.
PROGRAM = """
import sys, trio
from pathlib import Path
from trio_chat.stores.embedded import EmbeddedPostgres, EmbeddedValkey
from trio_chat.stores.supervision import supervised

async def main():
    directory = Path(sys.argv[1])
    async with supervised(EmbeddedValkey(directory)) as valkey, supervised(EmbeddedPostgres(directory)) as postgres:
        print(valkey.incarnation, valkey.url, postgres.url, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A data directory that does not exist yet."""
    return tmp_path / "data"


@pytest.fixture
def program(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs both servers in `directory`."""
    command = [sys.executable, "-c", PROGRAM, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def ask_valkey(url: str, *words: str) -> object:
    """Run one command on a connection of its own."""
    with Redis.from_url(url, decode_responses=True, socket_timeout=5) as client:
        return client.execute_command(*words)


def alive(pid: int) -> bool:
    """Whether a process runs: exists, and is not merely waiting to be reaped."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def wait_gone(server: ChildServer) -> None:
    """Return when no process of the server's is left, so that none holds its lock."""
    with (server.directory / "server.lock").open() as file:
        while True:
            await trio.sleep(0.01)
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return


async def wait_restarted(server: ChildServer) -> None:
    """Return when the server answers after its second start."""
    while True:
        await trio.sleep(0.01)
        if server.statistics().starts == 2 and server.ready():
            return


# -- data ---------------------------------------------------------------------------------------------------------


async def test_both_keep_their_data(directory: Path, psql: Psql) -> None:
    """What was written in one run is there in the next, at the same URLs."""
    async with (
        supervised(EmbeddedValkey(directory)) as valkey,
        supervised(EmbeddedPostgres(directory)) as postgres,
    ):
        urls = valkey.url, postgres.url
        ask_valkey(valkey.url, "SET", "key", "value")
        psql(postgres.url, "create table kept (word text); insert into kept values ('value')")

    async with (
        supervised(EmbeddedValkey(directory)) as valkey,
        supervised(EmbeddedPostgres(directory)) as postgres,
    ):
        assert (valkey.url, postgres.url) == urls
        assert ask_valkey(valkey.url, "GET", "key") == "value"
        assert psql(postgres.url, "select word from kept") == "value"


def test_valkey_is_set_up_to_keep(valkey_server: str) -> None:
    """It writes everything to a file, evicts nothing, takes no snapshots and listens on no port."""
    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
        "port": "0",
    }

    assert {name: ask_valkey(valkey_server, "CONFIG GET", name) for name in wanted} == {
        name: {name: value} for name, value in wanted.items()
    }


def test_postgres_is_set_up_to_keep(postgres_server: str, psql: Psql) -> None:
    """It speaks UTF-8, checks its pages, and listens on no port."""
    assert (
        psql(postgres_server, "show server_encoding; show data_checksums; show listen_addresses")
        == "UTF8\non"
    )


def test_directories_are_private_and_parents_untouched(tmp_path: Path) -> None:
    """Ours are for this user alone; what was there before keeps its permissions."""
    tmp_path.chmod(0o751)
    with serving(EmbeddedValkey(tmp_path / "new" / "data")) as server:
        modes = [path.stat().st_mode & 0o777 for path in (server.directory, server.socket, tmp_path)]

    assert modes == [0o700, 0o700, 0o751]


def test_database_is_made_whole_or_not_at_all(directory: Path, psql: Psql) -> None:
    """What an interrupted `initdb` left is thrown away."""
    half = directory / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")

    with serving(EmbeddedPostgres(directory)) as server:
        assert psql(server.url, "select 1") == "1"
    assert not half.exists()


@pytest.mark.parametrize("name", ["ümläut 100 %? #&=", "x" * 120, "a,b"], ids=["odd", "long", "comma"])
def test_directory_may_have_any_name(tmp_path: Path, name: str, psql: Psql) -> None:
    """Names are quoted in URLs; a socket whose path nobody would take lies in another directory for a while."""
    directory = tmp_path / name
    with serving(EmbeddedValkey(directory)) as valkey, serving(EmbeddedPostgres(directory)) as postgres:
        sockets = {valkey.sockets, postgres.sockets}
        assert ask_valkey(valkey.url, "PING") is True
        assert psql(postgres.url, "select 1") == "1"

    assert [path.exists() for path in sockets] == [name.startswith("ü")] * 2


# -- incarnation ----------------------------------------------------------------------------------------------------


def test_incarnation_outlives_clean_ends(directory: Path) -> None:
    """It stays the same while no write can be missing."""
    with serving(EmbeddedValkey(directory)) as valkey:
        first = valkey.incarnation
        valkey.stop()
        valkey.start()
        assert valkey.incarnation == first

    with serving(EmbeddedValkey(directory)) as valkey:
        assert valkey.incarnation == first


def test_incarnation_changes_after_a_crash(own_valkey: EmbeddedValkey) -> None:
    """An end that may have cost writes begins a new history, and so does the loss of what tells how it ended."""
    seen = [own_valkey.incarnation]
    own_valkey.kill()
    own_valkey.start()
    seen.append(own_valkey.incarnation)
    own_valkey.stop()
    own_valkey.log.unlink()
    own_valkey.start()
    seen.append(own_valkey.incarnation)

    assert len(set(seen)) == 3
    assert (own_valkey.directory / "incarnation").read_text() == seen[-1]


def test_valkey_loses_nothing_when_killed(own_valkey: EmbeddedValkey) -> None:
    """What it acknowledged before a crash of its process is there after it."""
    ask_valkey(own_valkey.url, "SET", "key", "value")
    own_valkey.kill()
    own_valkey.start()

    assert ask_valkey(own_valkey.url, "GET", "key") == "value"


# -- life and death -------------------------------------------------------------------------------------------------


async def test_dead_servers_are_started_again(directory: Path, psql: Psql) -> None:
    """A server that crashes is back at the same URL, Valkey with a new incarnation."""
    with trio.fail_after(20):
        async with (
            supervised(EmbeddedValkey(directory)) as valkey,
            supervised(EmbeddedPostgres(directory)) as postgres,
        ):
            incarnation = valkey.incarnation
            psql(postgres.url, "create table kept ()")
            for server in (valkey, postgres):
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
                await wait_restarted(server)

            assert ask_valkey(valkey.url, "PING") is True
            assert valkey.incarnation != incarnation
            assert psql(postgres.url, "select count(*) from kept") == "0"


async def test_killed_program_takes_its_servers_down_cleanly(
    directory: Path, program: subprocess.Popen[str], psql: Psql
) -> None:
    """After kill -9 of the program both servers end as if asked to, so nothing is lost and nothing begins anew."""
    with trio.fail_after(30):
        assert program.stdout is not None
        incarnation, valkey_url, postgres_url = (
            await trio.to_thread.run_sync(program.stdout.readline)
        ).split()
        ask_valkey(valkey_url, "SET", "key", "value")
        psql(postgres_url, "create table kept ()")
        program.kill()
        await wait_gone(EmbeddedValkey(directory))
        await wait_gone(EmbeddedPostgres(directory))

        assert "database system is shut down" in EmbeddedPostgres(directory).log.read_text()
        async with (
            supervised(EmbeddedValkey(directory)) as valkey,
            supervised(EmbeddedPostgres(directory)) as postgres,
        ):
            assert valkey.incarnation == incarnation
            assert ask_valkey(valkey.url, "GET", "key") == "value"
            assert psql(postgres.url, "select count(*) from kept") == "0"


async def test_next_program_waits_for_the_servers_of_a_killed_one(
    directory: Path, program: subprocess.Popen[str]
) -> None:
    """A start that comes before the old servers have ended waits for them, and is no crash to Valkey."""
    with trio.fail_after(30):
        assert program.stdout is not None
        line = await trio.to_thread.run_sync(program.stdout.readline)
        program.kill()
        program.wait()
        async with (
            supervised(EmbeddedValkey(directory)) as valkey,
            supervised(EmbeddedPostgres(directory)) as postgres,
        ):
            assert line.split() == [valkey.incarnation, valkey.url, postgres.url]


async def test_servers_are_out_of_reach_of_ctrl_c(directory: Path) -> None:
    """They are in a session of their own: a Ctrl-C is for the program, which still has something to store."""
    async with supervised(EmbeddedValkey(directory)) as valkey:
        assert valkey.pid is not None
        assert os.getsid(valkey.pid) == valkey.pid != os.getsid(0)


async def test_cancelled_start_leaves_nothing(directory: Path) -> None:
    """A start that is cancelled half-way ends what it began, and the next one succeeds."""
    for seconds in (0.0, 0.02, 0.1, 0.3):
        with trio.move_on_after(seconds):
            async with supervised(EmbeddedPostgres(directory)):
                pass

    async with supervised(EmbeddedPostgres(directory)) as server:
        assert server.pid is not None
        assert alive(server.pid)
    assert not alive(server.pid if server.pid is not None else 2**22)


async def test_error_of_the_block_comes_out_as_it_is(directory: Path) -> None:
    """An exception in the context is not wrapped in a group, and ends the server gently."""
    with pytest.raises(KeyError):
        async with supervised(EmbeddedValkey(directory)) as server:
            raise KeyError

    assert server.pid is None
    assert "bye bye" in server.log.read_text()


def test_paused_server_can_be_stopped(own_valkey: EmbeddedValkey) -> None:
    """A frozen process is woken up to end."""
    own_valkey.pause()
    own_valkey.stop()

    assert own_valkey.pid is None
    assert "bye bye" in own_valkey.log.read_text()


def test_killed_postgres_starts_again_at_once(own_postgres: EmbeddedPostgres, psql: Psql) -> None:
    """Its orphaned children are waited for; what was committed is there."""
    psql(own_postgres.url, "create table kept ()")
    own_postgres.kill()
    own_postgres.start()

    assert psql(own_postgres.url, "select count(*) from kept") == "0"


def test_pid_of_a_killed_postgres_may_be_used_by_another(own_postgres: EmbeddedPostgres, psql: Psql) -> None:
    """A pid file that names a process which is no Postgres does not keep it from starting."""
    own_postgres.kill()
    for file in (own_postgres.data / "postmaster.pid", own_postgres.socket.with_name(".s.PGSQL.5432.lock")):
        lines = file.read_text().splitlines()
        file.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
    own_postgres.start()

    assert psql(own_postgres.url, "select 1") == "1"


def test_tcp_port_is_for_those_who_ask(directory: Path, free_port: int, psql: Psql) -> None:
    """With a port, a server listens there, on loopback."""
    with serving(EmbeddedValkey(directory, port=free_port)) as valkey:
        assert valkey.url == f"redis://127.0.0.1:{free_port}"
        assert ask_valkey(valkey.url, "PING") is True
    with serving(EmbeddedPostgres(directory, port=free_port)) as postgres:
        assert f"127.0.0.1:{free_port}" in postgres.url
        assert psql(postgres.url, "select 1") == "1"


# -- what goes wrong ------------------------------------------------------------------------------------------------


async def test_directory_in_use_is_said_at_once(directory: Path) -> None:
    """A second program is told that, and where, the directory is in use."""
    async with supervised(EmbeddedValkey(directory)):
        with trio.fail_after(5), pytest.raises(SettingsError, match=f"DATA_DIR={directory}: in use"):
            async with supervised(EmbeddedValkey(directory)):
                pass


def test_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A file where the directory should be is an error that names the setting."""
    (tmp_path / "file").touch()

    with (
        pytest.raises(SettingsError, match=r"DATA_DIR=.*Not a directory"),
        serving(EmbeddedValkey(tmp_path / "file")),
    ):
        pass


@pytest.mark.parametrize(
    ("server", "setting"), [(EmbeddedValkey, "REDIS_URL"), (EmbeddedPostgres, "DATABASE_URL")]
)
def test_missing_wheel_is_said_with_its_remedies(
    server: type[ChildServer], setting: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the wheel the error says what to install and what to set instead."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    with pytest.raises(SettingsError, match=rf"{setting}: .*pip install 'trio-chat\[embedded\]'"):
        with serving(server(directory)):
            pass


def test_server_that_does_not_start_quotes_its_log(directory: Path) -> None:
    """The error has the server's own words."""
    with pytest.raises(Misconfigured, match="unrecognized configuration parameter") as caught:
        with serving(EmbeddedPostgres(directory, settings={"no_such_setting": "1"})):
            pass
    assert "exit code 1" in str(caught.value)

    with pytest.raises(Misconfigured, match="Bad directive"):
        with serving(EmbeddedValkey(directory, settings={"no-such-setting": "1"})):
            pass


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare(1) makes the surroundings of this test")
def test_root_without_user_namespaces_is_told_what_to_do(directory: Path) -> None:
    """Where Postgres would be root and may not be anybody else, the error names the setting and the way out."""
    within = (
        "import sys; from pathlib import Path; from trio_chat.stores.supervision import serving\n"
        "from trio_chat.stores.embedded import EmbeddedPostgres\n"
        "Path('/proc/sys/user/max_user_namespaces').write_text('0')\n"
        "with serving(EmbeddedPostgres(Path(sys.argv[1]))): pass"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", within, str(directory)],
        check=False,
        capture_output=True,
        text=True,
    )
    if "unshare:" in done.stderr:
        pytest.skip("user namespaces are not to be had here at all")

    assert "SettingsError: DATABASE_URL: not set" in done.stderr


def test_repr_and_statistics_say_how_it_is(own_valkey: EmbeddedValkey) -> None:
    """One line for people, one struct for programs."""
    assert repr(own_valkey) == f"<Valkey pid={own_valkey.pid} starts=1 {own_valkey.directory}>"

    own_valkey.stop()
    assert own_valkey.statistics().pid is None
    assert own_valkey.statistics().starts == 1
