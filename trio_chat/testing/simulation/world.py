"""One simulation: the real server, lobby, rooms and syncer over stores in memory, its clients, and what goes wrong.

1. Everything happens in one Trio run, on virtual time.
2. What the checker must know of the faults goes into the log: that a room was loaded anew, what a process alone had
   when it ended, what the hot store was made to lose while nobody alive had it.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

import trio
from typing_extensions import override

from trio_chat.clients.auth import Authenticator
from trio_chat.clients.limits import ServerLimits
from trio_chat.clients.native_connection import NativeConnection
from trio_chat.clients.patience import Patience
from trio_chat.clients.registry import Registry
from trio_chat.clients.server import ClientServer, serve_clients
from trio_chat.settings import Settings
from trio_chat.testing.clients import Clients
from trio_chat.testing.process import Process
from trio_chat.testing.record import Record
from trio_chat.testing.simulation import plan as do
from trio_chat.testing.simulation.client import Client
from trio_chat.testing.simulation.log import Log
from trio_chat.testing.simulation.network import Network
from trio_chat.testing.simulation.stores import Stores
from trio_chat.testing.verdict import log as it

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_chat.clients.transport import Link
    from trio_chat.lobby import Lobby
    from trio_chat.mail import Mail
    from trio_chat.stores.base import Session

# What a connection takes before the server has to wait, and what the server holds beyond that.
_PIPE = 1024
_OUTBOX = 16_384
# The last look is taken so many seconds before the end.
_LAST_LOOK = 4.0


def settings_of(plan: do.Plan) -> Settings:
    """Return the settings of a plan: everything happens within seconds."""
    return Settings(
        session_expiry_seconds=plan.expiry,
        max_messages_per_session=plan.limit,
        session_sync_interval_seconds=1,
        sync_after_events=8,
        backlog_limit=200,
        rate_limits=False,
        max_connections_per_user=0,
        auth_mode="insecure",
        auth_secret="simulated " * 4,
        max_message_bytes=_OUTBOX // 2,
        outbox_bytes=_OUTBOX,
        outbox_stall_seconds=2.0,
    )


class World:
    """See the module. Lives as long as its Trio run.

    Args:
        plan: what happens.
        clock: the run's clock.
        excuse_reuse: whether a session may go on, and use the same seqs again, after a process has ended that alone had
            events of it.

    Attributes:
        log: what the clients saw.
        stores: what outlives a process.
    """

    def __init__(self, plan: do.Plan, clock: MockClock, *, excuse_reuse: bool = True) -> None:
        self.plan = plan
        self.log = Log()
        self._clock = clock
        self._excuse_reuse = excuse_reuse
        self._settings = settings_of(plan)
        self._ahead = 0.0
        """How far the wall clock is ahead, in seconds."""
        self.stores = Stores(plan.expiry, self.log, self._is_live, excuse_reuse=excuse_reuse)
        self._authenticator = Authenticator(self._settings)
        self._network = Network(_PIPE)
        self._clients = [
            Client(f"c{number}", guest, self._network, self.log) for number, guest in enumerate(plan.guests)
        ]
        self._process: Process | None = None
        self._server: ClientServer | None = None
        self._changing = trio.Lock()
        """Held while a process ends and the next one begins."""
        record = Record(self._settings, self.stores.hot, self.stores.archive)
        self._poisoner = Clients(record, self._mail)

    @override
    def __repr__(self) -> str:
        return f"<World of {self.plan.seed} {self.log!r}>"

    @property
    def _lobby(self) -> Lobby:
        assert self._process is not None  # noqa: S101 - the caller has looked
        return self._process.lobby

    def _mail(self, room: str, mail: Mail) -> None:
        self._lobby.mail(room, mail)

    def _now(self) -> datetime:
        seconds = trio.current_time() + self._ahead
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)

    # --- the course of things

    async def run(self) -> None:
        """Let everything in the plan happen."""
        handler = _CrashNotes(self.log)
        with handler:
            async with trio.open_nursery() as nursery:
                async with self._changing:
                    await self._begin(nursery)
                for client in self._clients:
                    nursery.start_soon(client.run)
                await self._play(nursery)
                nursery.cancel_scope.cancel()

    async def _play(self, nursery: trio.Nursery) -> None:
        async with trio.open_nursery() as meddling:
            healing = [item for item in self.plan.items if item.at >= do.FAULTS]
            for item in self.plan.items:
                if item not in healing:
                    await trio.sleep_until(item.at)
                    self._do(item, nursery, meddling)
            await trio.sleep_until(do.FAULTS)
            meddling.cancel_scope.cancel()
        await self._heal(nursery)
        for item in healing:
            await trio.sleep_until(item.at)
            self._do(item, nursery, nursery)
        await trio.sleep_until(do.END - _LAST_LOOK)
        await self._look(nursery)
        await trio.sleep_until(do.END)
        async with self._changing:
            await self._stop()

    async def _heal(self, nursery: trio.Nursery) -> None:
        self.stores.heal()
        async with self._changing:
            if self._process is None:
                await self._begin(nursery)
        self.log.add(it.Heal(trio.current_time()))

    async def _look(self, nursery: trio.Nursery) -> None:
        """Let somebody new into every room."""
        fresh = Client("fresh", do.Guest("somebody", do.ROOMS), self._network, self.log)
        nursery.start_soon(fresh.run)

    def _do(self, item: do.Item, nursery: trio.Nursery, meddling: trio.Nursery) -> None:  # noqa: C901, PLR0912 - one case a kind of item
        match item:
            case do.Send():
                self._clients[item.client].send(item.room, item.count, keyed=item.keyed, size=item.size)
            case do.Edit():
                self._clients[item.client].edit(item.room, item.nth)
            case do.Delete():
                self._clients[item.client].delete(item.room, item.nth)
            case do.Leave():
                self._clients[item.client].leave(item.room, item.seconds, fresh=item.fresh)
            case do.Cut():
                self._clients[item.client].cut(item.seconds, item.arrive)
            case do.Stall():
                self._clients[item.client].stall(item.seconds)
            case do.Trouble():
                self.stores.trouble(item)
            case do.Away():
                meddling.start_soon(self.stores.be_away, item)
            case do.Slow():
                meddling.start_soon(self.stores.be_slow, item)
            case do.Relapse():
                meddling.start_soon(self.stores.relapse, item)
            case do.Flush():
                self.stores.flush()
            case do.Fail():
                self._fail(item)
            case do.Kill() | do.Stop():
                nursery.start_soon(self._end, item, nursery)
            case do.Jump():
                self._jump(item)
            case _:
                assert_never(item)

    def _is_live(self, session: Session) -> bool:
        room = self._lobby.rooms.get(session.room) if self._process is not None else None
        return room is not None and room.ledger.session == session

    # --- the process

    async def _begin(self, nursery: trio.Nursery) -> None:
        process = Process(self._serve)
        await nursery.start(
            process.run, self.stores.hot, self.stores.archive, self._settings, self._now, name="process"
        )
        self._process = process

    async def _serve(self, lobby: Lobby) -> None:
        """Serve clients as the server does, for as long as the process."""
        settings, registry = self._settings, Registry(0)
        patience = Patience(settings.hello_timeout)

        def converse(link: Link) -> NativeConnection:
            return NativeConnection(link, lobby, self._authenticator, registry, patience)

        limits = ServerLimits(outbox_bytes=settings.outbox_bytes, outbox_stall=settings.outbox_stall_seconds)
        listeners: Any = [self._network.open()]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(patience.run)
            self._server = await nursery.start(
                partial(serve_clients, listeners, {"/ws": converse}, limits=limits)
            )

    async def _end(self, item: do.Kill | do.Stop, nursery: trio.Nursery) -> None:
        """End the process, if there is one, and begin the next."""
        if self._changing.locked() or self._process is None:
            return
        async with self._changing:
            if isinstance(item, do.Kill):
                await self._kill()
            else:
                await self._stop()
            await trio.sleep(item.seconds)
            await self._begin(nursery)

    async def _kill(self) -> None:
        assert self._process is not None  # noqa: S101 - the caller has looked
        process = self._process
        # In one step with the kill: nothing is sent any more, and what was sent arrives.
        self._network.drop()
        await process.kill(self.stores.faults.values())
        self._note_end(process)

    async def _stop(self) -> None:
        assert self._process is not None  # noqa: S101 - the caller has looked
        process = self._process
        self._network.shut()
        if self._server is not None:
            await self._server.aclose()
        await process.stop(None)
        self._note_end(process)

    def _note_end(self, process: Process) -> None:
        """Note what is gone with a process."""
        now, rooms = trio.current_time(), process.lobby.rooms
        self._process = self._server = None
        for name in process.lobby.unsaved():
            ledger = rooms[name].ledger
            self.log.add(it.Forgot(now, ledger.session, ledger.safe, self._excuse_reuse))
        self.stores.note_end()

    def _fail(self, item: do.Fail) -> None:
        if item.room is not None and self._process is not None and not self._changing.locked():
            self._poisoner.poison(item.room)
        if item.call is not None:
            self.stores.fail(item.call)

    def _jump(self, item: do.Jump) -> None:
        match item.clock:
            case "loop":
                self._clock.jump(item.seconds)
            case "store":
                self.stores.offset += item.seconds
            case "wall":
                self._ahead += item.seconds


class _CrashNotes(logging.Handler):
    """Notes in the log which rooms were loaded anew. A context: outside nothing is noted."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log
        self._logger = logging.getLogger("trio_chat.supervision")

    def __enter__(self) -> None:
        self._logger.addHandler(self)

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        # A word about a room names it first.
        if isinstance(record.args, tuple) and str(record.msg).startswith("room %s"):
            self._log.add(it.Crash(trio.current_time(), str(record.args[0])))
