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
from trio_chat.message import Deleted, Event
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive
from trio_chat.testing.clients import Clients
from trio_chat.testing.faults import Faults
from trio_chat.testing.process import Process
from trio_chat.testing.record import Record
from trio_chat.testing.simulation import plan as do
from trio_chat.testing.simulation.client import Client, Log
from trio_chat.testing.simulation.network import Network
from trio_chat.testing.simulation.store import RestartingHotStore
from trio_chat.testing.verdict import log as it

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    from trio_chat.clients.transport import Link
    from trio_chat.lobby import Lobby
    from trio_chat.mail import Mail
    from trio_chat.stores.base import Session
    from trio_chat.testing.script import StoreName

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
    """

    def __init__(self, plan: do.Plan, clock: MockClock, *, excuse_reuse: bool = True) -> None:
        self.plan = plan
        self.log = Log()
        self._clock = clock
        self._excuse_reuse = excuse_reuse
        self._settings = settings_of(plan)
        self._offsets: dict[do.Clock, float] = {"wall": 0.0, "store": 0.0}
        self._hot = RestartingHotStore(expiry=plan.expiry, clock=self._store_clock)
        self._archive = MemoryArchive()
        self._faults: dict[StoreName, Faults] = {
            "hot": Faults(self._hot, timeout=1.0, seen=self._hot.remember),
            "archive": Faults(self._archive, timeout=5.0),
        }
        self._authenticator = Authenticator(self._settings)
        self._network = Network(_PIPE)
        self._clients = [
            Client(f"c{number}", guest, self._network, self.log) for number, guest in enumerate(plan.guests)
        ]
        self._process: Process | None = None
        self._server: ClientServer | None = None
        self._changing = trio.Lock()
        """Held while a process ends and the next one begins."""
        self._taken: dict[Session, tuple[int, int]] = {}
        """What the hot store was made to lose and a live room may give back: up to which seq, above which."""
        record = Record(self._settings, self._hot, self._archive)
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

    def _store_clock(self) -> float:
        return trio.current_time() + self._offsets["store"]

    def _now(self) -> datetime:
        seconds = trio.current_time() + self._offsets["wall"]
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
        for faults in self._faults.values():
            faults.up()
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
                if not self._is_spared(item.store):
                    self._faults[item.store].plan(item.fates)
            case do.Away():
                meddling.start_soon(self._be_away, item)
            case do.Slow():
                meddling.start_soon(self._be_slow, item)
            case do.Relapse():
                meddling.start_soon(self._relapse, item)
            case do.Flush():
                self._lose(lambda: self._hot.relapse(None))
            case do.Fail():
                self._fail(item)
            case do.Kill() | do.Stop():
                nursery.start_soon(self._end, item, nursery)
            case do.Jump():
                self._jump(item)
            case _:
                assert_never(item)

    # --- stores

    def _is_spared(self, store: StoreName) -> bool:
        """Whether a store is not to fail now: the archive, if it alone has events of a session that may go on.

        A process that begins without the archive would use their seqs again. As long as that is excused, it is not
        provoked.
        """
        if store == "hot" or not self._excuse_reuse:
            return False
        return any(self._archived(session) > top for session, (top, _) in self._hot.sessions().items())

    async def _be_away(self, item: do.Away) -> None:
        if self._is_spared(item.store):
            return
        faults = self._faults[item.store]
        if item.frozen:
            faults.pause()
        else:
            faults.down()
        await trio.sleep(item.seconds)
        if item.frozen:
            faults.resume()
        else:
            faults.store.set_healthy(True)

    async def _be_slow(self, item: do.Slow) -> None:
        if self._is_spared(item.store):
            return
        self._faults[item.store].delay(item.delay)
        await trio.sleep(item.seconds)
        self._faults[item.store].delay(0.0)

    async def _relapse(self, item: do.Relapse) -> None:
        self._hot.set_healthy(False)
        self._lose(lambda: self._hot.relapse(item.age))
        await trio.sleep(item.seconds)
        self._hot.set_healthy(True)

    def _lose(self, lose: Callable[[], None]) -> None:
        """Let the hot store lose something, and note what nobody has any more."""
        before = self._hot.sessions()
        lose()
        after = self._hot.sessions()
        for session, (top, _) in before.items():
            left, _ = after.get(session, (0, 0))
            above = max(left, self._archived(session))
            if top <= above:
                continue
            if self._is_live(session):
                known, low = self._taken.get(session, (0, top))
                self._taken[session] = max(known, top), min(low, above)
            else:
                self.log.add(it.Lost(trio.current_time(), session, above))

    def _archived(self, session: Session) -> int:
        known = self._archive.sessions.get(session)
        return known.top if known is not None else 0

    def _is_live(self, session: Session) -> bool:
        room = self._lobby.rooms.get(session.room) if self._process is not None else None
        return room is not None and room.ledger.session == session

    # --- the process

    async def _begin(self, nursery: trio.Nursery) -> None:
        process = Process(self._serve)
        await nursery.start(process.run, self._hot, self._archive, self._settings, self._now, name="process")
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
        await process.kill(self._faults.values())
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
        if self._is_spared("archive"):
            self._faults["archive"].up()
        for name in process.lobby.unsaved():
            ledger = rooms[name].ledger
            self.log.add(it.Forgot(now, ledger.session, ledger.safe, self._excuse_reuse))
        tops = self._hot.sessions()
        for session, (top, above) in self._taken.items():
            if max(tops.get(session, (0, 0))[0], self._archived(session)) < top:
                self.log.add(it.Lost(now, session, above))
        self._taken.clear()

    def _fail(self, item: do.Fail) -> None:
        if item.room is not None and self._process is not None and not self._changing.locked():
            self._poisoner.poison(item.room)
        if item.call is not None:
            store, call, moment = item.call
            if self._is_spared(store):
                return
            self._faults[store].fail(call, moment=moment, error=RuntimeError)

    def _jump(self, item: do.Jump) -> None:
        if item.clock == "loop":
            self._clock.jump(item.seconds)
        else:
            self._offsets[item.clock] += item.seconds

    # --- the end

    def contents(self) -> it.Contents:
        """Return what both stores hold."""
        archive = {
            session: tuple(map(_row, self._archive.rows(session).values()))
            for session in self._archive.sessions
        }
        hot = tuple(
            it.Kept(session, top, synced, tuple(map(_row, self._hot.log(session))))
            for session, (top, synced) in self._hot.sessions().items()
        )
        return it.Contents(archive, hot)


def _row(event: Event) -> it.Row:
    message = event.message
    seen = it.Seen(message.id, message.user_id, message.content, message.seq, message.rev)
    return it.Row(seen, isinstance(event, Deleted))


class _CrashNotes(logging.Handler):
    """Notes in the log which rooms were loaded anew. A context: outside nothing is noted."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log
        self._logger = logging.getLogger("trio_chat.lobby")

    def __enter__(self) -> None:
        self._logger.addHandler(self)

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        # A word about a room names it first.
        if isinstance(record.args, tuple) and str(record.msg).startswith("room %s"):
            self._log.add(it.Crash(trio.current_time(), str(record.args[0])))
