"""The properties have teeth: each finds a mistake of the kind it is there for, planted into the real code.

A planted bug replaces one method; the property, run as it is, must then find an example that fails.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trio
from hypothesis import HealthCheck, Phase, settings

from trio_chat.clients.native_connection import NativeConnection
from trio_chat.errors import TrioChatError
from trio_chat.history import History
from trio_chat.ledger import Ledger
from trio_chat.lobby import Lobby
from trio_chat.mail import Closed, Join, Leave, Look, Type
from trio_chat.message import Deleted
from trio_chat.refusals import Refusals
from trio_chat.room import Room
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore
from trio_chat.stores.memory.session import KeptSession
from trio_chat.syncer import Syncer
from trio_chat.testing import Kill
from trio_chat.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

# As many examples as in a nightly run; the first that fails ends it, and nobody wants to see it small.
settings.register_profile(
    "planted",
    max_examples=3_000,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


class Plant(NamedTuple):
    """A bug: the property that must find it, as file and test, what is replaced and by what."""

    file: str
    test: str
    owner: Any
    name: str
    bug: Any
    arguments: tuple[Any, ...]


PLANTS: list[Plant] = []


def plant(file: str, test: str, owner: Any, name: str, *arguments: Any) -> Callable[[Any], Any]:
    """Register the function as a bug in place of `owner.name`. `arguments` are those of a test without examples."""

    def register(bug: Any) -> Any:
        PLANTS.append(Plant(file, test, owner, name, bug, arguments))
        return bug

    return register


# --- the window

_push_out = History._push_out
_leave = History._leave
_since = History.since
_put_back = History._put_back


@plant("test_history", "test_w1_window", History, "_push_out")
@plant("test_window", "test_w1_to_w6", History, "_push_out")
def window_one_too_large(self: History) -> None:
    if len(self._window) > self.limit + 1:
        _push_out(self)


@plant("test_history", "test_w4_floor", History, "_leave")
@plant("test_window", "test_w1_to_w6", History, "_leave")
def floor_not_raised(self: History, event: Any) -> None:
    floor = self.floor
    _leave(self, event)
    self.floor = floor


@plant("test_history", "test_w3_since", History, "since")
@plant("test_window", "test_w1_to_w6", History, "since")
def since_leaves_out_deletions(self: History, seq: int) -> Any:
    found = _since(self, seq)
    if found is None:
        return None
    return type(found)(tuple(event for event in found.events if not isinstance(event, Deleted)), found.first)


@plant("test_history", "test_w2_numbers", History, "_put_back")
@plant("test_durability", "test_s2_activation", History, "_put_back")
def tombstones_not_restored(self: History, event: Any, first: int) -> None:
    if not isinstance(event, Deleted):
        _put_back(self, event, first)


@plant("test_history", "test_w6_keys", History, "_known")
def key_not_remembered(self: History, key: str, user: str) -> int | None:
    return self._ids.get(key)


@plant("test_window", "test_w1_to_w6", Ledger, "begin_anew")
def seqs_used_again_after_expiry(self: Ledger) -> None:
    self._adopt(History(self.history.epoch, self.history.limit))


@plant("test_window", "test_w1_to_w6", Turn, "_resumed")
def resume_ignores_epoch(self: Turn, resume: Any) -> Any:
    found = None if resume is None else self.history.since(resume.seq)
    return None if found is None else found.events


@plant("test_durability", "test_s2_activation", Ledger, "remember_key")
def key_not_written(self: Ledger, key: str, seq: int) -> None:
    pass


_tell_changes = Turn.tell_changes


@plant("test_window", "test_w1_to_w6", Turn, "tell_changes")
def snapshot_before_membership(self: Turn) -> None:
    for mail, _ in self._results:
        if isinstance(mail, Join):
            self.audience.add(mail.member, self._now)
    _tell_changes(self)


@plant("test_window", "test_w5_over_crashes", Room, "_catch_up")
def nobody_told_after_crash(self: Room) -> None:
    self._told = (self.ledger.history.epoch, self.ledger.history.top)


# --- expiry


@plant("test_expiry", "test_e1_expiry", Room, "_deadline")
def expiry_a_second_early(self: Room) -> float:
    return max(self._active + self._settings.session_expiry_seconds - 1, self._not_before)


_mail = Room.mail
_on_text = NativeConnection.on_text


@plant("test_expiry", "test_e2_activity", Room, "mail")
def broken_connection_is_activity(self: Room, mail: Any) -> None:
    _mail(self, mail)
    if isinstance(mail, Leave):
        self._active = trio.current_time()


@plant("test_expiry", "test_e1_without_archive", Syncer, "flush")
async def flush_waits_for_archive(self: Syncer, session: Any, *, ended: Any = None) -> bool:
    await trio.sleep(1)
    return False


@plant("test_expiry", "test_e2_activity", Room, "mail")
def typing_is_no_activity(self: Room, mail: Any) -> None:
    before = self._active
    _mail(self, mail)
    if isinstance(mail, Type):
        self._active = before


@plant("test_expiry", "test_e2_heartbeats", NativeConnection, "on_text")
def heartbeat_is_activity(self: NativeConnection, payload: bytes) -> None:
    _on_text(self, payload)
    for room in self._rooms if b"heartbeat" in payload else ():
        self._lobby.mail(room, Look(lambda _: None))


# --- isolation

_lobby_mail = Lobby.mail


@plant("test_isolation", "test_i1_rooms", Lobby, "mail")
def rooms_by_half_their_name(self: Lobby, room: str, mail: Any) -> None:
    _lobby_mail(self, room.partition(":")[0], mail)


# --- durability


@plant("test_durability", "test_s1_e3_over_kills", Ledger, "durability")
def ack_says_more_than_is_true(self: Ledger, seq: int) -> str:
    return self._hot.durability


# What the room has is archived from there: a process must have ended.
@plant("test_durability", "test_s1_e3_over_kills", KeptSession, "trim")
def trim_before_sync(self: KeptSession) -> None:
    for seq in [seq for seq in self.log if seq < self.first]:
        del self.log[seq]


@plant("test_durability", "test_s1_e3_over_outages", MemoryHotStore, "_close")
def dirty_session_deleted(self: MemoryHotStore, kept: Any) -> None:
    self._remove(kept.session)


_write = Refusals.write
_mark_synced = MemoryHotStore.mark_synced


@plant("test_durability", "test_s1_read_marks", KeptSession, "clean")
def session_gone_with_its_read_marks(self: KeptSession) -> bool:
    return self.top <= self.synced


@plant("test_durability", "test_s1_e3_over_outages", Refusals, "write")
async def marked_though_not_archived(self: Refusals, batches: Any) -> int:
    try:
        return await _write(self, batches)
    except TrioChatError:
        return 0


@plant("test_durability", "test_s1_e3_over_crashes", Room, "recover")
def carried_out_again_after_crash(self: Room, error: TrioChatError) -> None:
    if self._turn is not None:
        self._mailbox.extendleft(reversed([*self._turn.decided, *self._turn.undecided]))
        self._turn = None


@plant("test_durability", "test_s1_over_losses", Ledger, "_reconcile")
def lost_store_not_refilled(self: Ledger, conflict: Any) -> None:
    self.written = conflict.top if conflict.epoch == self.history.epoch else 0
    self.history.forget(self.history.top, 0)
    self.history.mark_synced(self.written)
    self._superseded.clear()
    self.history._left.clear()
    self.history._log = {seq: event for seq, event in self.history._log.items() if seq == self.history.top}


_open = Ledger.open


@plant("test_durability", "test_s1_number_used_twice", Ledger, "open", Kill())
async def session_not_doubted(self: Ledger) -> None:
    # Neither what the store knows nor what the archive does.
    stored = await self._hot.load(self.room) if self._hot.healthy else None
    if stored is None:
        await _open(self)
    else:
        self._restore(stored)
        self.degraded = False


@plant("test_durability", "test_s3_replays", MemoryArchive, "_store")
def replay_overwrites_newer(self: MemoryArchive, batch: Any) -> int:
    self.sessions[batch.session] = batch
    rows = self._rows.setdefault(batch.session, {})
    rows.update((event.message.seq, event) for event in batch.events)
    return 0


# --- shutdown

_finish = Room.finish
_close = Room.close


@plant("test_shutdown", "test_n1_ends", Room, "finish")
def task_left_running(self: Room) -> None:
    _finish(self)
    trio.lowlevel.spawn_system_task(trio.sleep_forever)


@plant("test_shutdown", "test_n1_goodbyes", Room, "close")
def told_goodbye_twice(self: Room, reason: str) -> None:
    self.audience.tell([Closed(reason)])
    _close(self, reason)


def _load(file: str) -> ModuleType:
    """Import a file of properties anew, under the current profile."""
    spec = importlib.util.spec_from_file_location(f"planted_{file}", Path(__file__).with_name(f"{file}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where the types of its structs are looked up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def load() -> Any:
    """Import files of properties under a profile that looks for one failure."""
    before = settings.get_current_profile_name()
    settings.load_profile("planted")
    yield _load
    settings.load_profile(before)


@pytest.mark.parametrize("bug", PLANTS, ids=lambda bug: f"{bug.bug.__name__}-{bug.test}")
def test_found(bug: Plant, load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    """The property finds the bug."""
    property_ = getattr(load(bug.file), bug.test)
    is_property = isinstance(getattr(bug.owner, bug.name), property)
    monkeypatch.setattr(bug.owner, bug.name, property(bug.bug) if is_property else bug.bug)

    with pytest.raises(AssertionError):
        property_(*bug.arguments)


async def mark_lowered(self: MemoryHotStore, marks: Any, receipts: Mapping[Any, Any] = {}) -> None:
    for session, seq in marks:
        if (kept := self._live(session)) is not None:
            kept.synced = min(seq, kept.top)
            kept.mark(0, receipts.get(session, {}))


async def changed_read_mark_forgotten(
    self: MemoryHotStore, marks: Any, receipts: Mapping[Any, Any] = {}
) -> None:
    await _mark_synced(self, marks, {session: dict(self.pending(session)) for session in receipts})


async def foreign_session_overwritten(self: MemoryHotStore, write: Any) -> None:
    self._open(write.session)
    self._sessions[write.session].add(write, 0.0)
    self._trusted.add(write.session)


@pytest.mark.parametrize(
    ("name", "bug"),
    [
        ("mark_synced", mark_lowered),
        ("mark_synced", changed_read_mark_forgotten),
        ("append", foreign_session_overwritten),
    ],
)
def test_difference_between_stores_found(
    name: str, bug: Any, valkey_url: str, load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """R1 finds a store that answers otherwise."""
    check_alike = load("test_stores_alike").check_alike
    monkeypatch.setattr(MemoryHotStore, name, bug)

    with pytest.raises(AssertionError):
        check_alike(valkey_url)
