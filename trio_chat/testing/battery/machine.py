"""A Valkey, a Postgres and trio-chat servers as processes of our own, with a proxy in front of each store.

Everything listens on 127.0.0.1, lives in one directory, and ends with us however we end (`trio_chat.stores.process`).
How the blocks nest is the order of the end: servers, then stores, then proxies.
"""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio
from typing_extensions import override

from trio_chat.stores.embedded import EmbeddedPostgres, EmbeddedValkey
from trio_chat.testing.battery.processes import Server, kill_tree, start
from trio_chat.testing.battery.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from pathlib import Path

    from trio_chat.stores.child import ChildServer

SETTINGS: Mapping[str, str] = {
    "auth-mode": "insecure",
    "rate-limits": "off",
    "session-sync-interval-seconds": "1",
    "session-expiry-seconds": "60",
    "ping-interval-seconds": "2",
    # Long enough for clients that share a busy machine with everything else.
    "ping-timeout-seconds": "2",
}
"""How servers are set up unless a fault wants it otherwise: time passes some hundred times faster."""


_PORTS = range(10_240, 32_768)
"""Below those that Linux gives to clients (`net.ipv4.ip_local_port_range`)."""


class Machine:
    """See the module. Made by `open_machine`; lives as long as its block."""

    def __init__(
        self,
        directory: Path,
        valkey: Mapping[str, str],
        settings: Mapping[str, str],
        program: Sequence[str],
        stack: ExitStack,
    ) -> None:
        redis_port, postgres_port, self.port = free_ports(3)
        self.directory = directory
        fast = {"fsync": "off"}  # what is killed here is a process, not the machine
        self.valkey = EmbeddedValkey(directory, port=redis_port, settings=valkey)
        self.postgres = EmbeddedPostgres(directory, port=postgres_port, settings=fast)
        self.redis_proxy = Proxy(redis_port, seed=1)
        self.postgres_proxy = Proxy(postgres_port, seed=2)
        self.settings = {**SETTINGS, **settings}
        self._program = program
        self._stack = stack
        self.server = Server(directory / "server", ())

    @override
    def __repr__(self) -> str:
        return f"<Machine {self.valkey!r} {self.postgres!r} {self.server!r}>"

    def command(self, name: str, *, postgres: int | None = None, program: Sequence[str] = ()) -> list[str]:
        """Return a command line of trio-chat, on the stores behind the proxies; on another port for Postgres if given."""
        stores = {
            "redis-url": f"redis://127.0.0.1:{self.redis_proxy.port}",
            "database-url": self.postgres.url.replace(
                f":{self.postgres.port}/", f":{postgres or self.postgres_proxy.port}/"
            ),
            "data-dir": str(self.directory / "server"),
            "port": str(self.port),
        }
        flags = [f"--{key}={value}" for key, value in (stores | self.settings).items()]
        return [*(program or self._program), name, *flags]

    async def begin(self) -> None:
        """Start everything. What has started ends with the block."""
        await start(self.valkey)
        await start(self.postgres)
        self.server.command = self.command("serve")
        await self.server.start()

    def own(self, store: ChildServer) -> None:
        """Own a store's directory, and kill the store when the machine ends."""
        self._stack.enter_context(store.owning())
        self._stack.callback(kill_tree, store)

    def wipe_valkey(self) -> None:
        """Kill the Valkey and everything it has on disk."""
        self.valkey.kill()
        for file in (self.valkey.directory / "appendonlydir").glob("*"):
            file.unlink()
        (self.valkey.directory / "dump.rdb").unlink(missing_ok=True)

    async def query(self, statement: str, *, patience: float = 10.0) -> str:
        """Return what Postgres answers, asked by psql and not through the proxy. Cancelling is safe.

        Raises:
            RuntimeError: it does not.
        """
        options = ["-qXAt", "-v", "ON_ERROR_STOP=1", "-d", self.postgres.url]
        with trio.fail_after(patience):
            done = await trio.run_process(
                [self.postgres.program("psql"), *options, "-c", statement],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace"))
        return done.stdout.decode()


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listened on a moment ago.

    They are none that the kernel gives to clients: a server that is away for a while finds its port free again.
    """
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found += {port} - {*found}
    return found


@asynccontextmanager
async def open_machine(
    directory: Path,
    *,
    valkey: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    program: Sequence[str] = ("-m", "trio_chat"),
) -> AsyncGenerator[Machine, None]:
    """Run a machine for as long as the block. Cancelling kills all of it.

    Args:
        directory: where everything is kept; short, since sockets lie in it.
        valkey: settings of the Valkey.
        settings: of the server, by the names of flags.
        program: what of Python's is the server.

    Raises:
        RuntimeError: the server did not start.
    """
    async with trio.open_nursery() as nursery:
        with ExitStack() as owned:
            machine = Machine(directory, valkey or {}, settings or {}, program, owned)
            await nursery.start(machine.redis_proxy.run, name="proxy of Redis")
            await nursery.start(machine.postgres_proxy.run, name="proxy of Postgres")
            machine.own(machine.valkey)
            machine.own(machine.postgres)
            owned.callback(machine.server.kill)
            await machine.begin()
            yield machine
        nursery.cancel_scope.cancel()
