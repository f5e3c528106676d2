"""Everything at once, from seeds: no seed finds a mistake, and each mistake that is planted is found by one.

``TRIO_CHAT_SEEDS`` says how many seeds are tried; they begin with 0.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from trio_chat.clients.native_connection import NativeConnection
from trio_chat.errors import TrioChatError
from trio_chat.history import History
from trio_chat.ledger import Ledger
from trio_chat.lobby import Lobby
from trio_chat.mail import Join, Leave
from trio_chat.refusals import Refusals
from trio_chat.room import Room
from trio_chat.stores.memory import MemoryHotStore
from trio_chat.stores.memory.session import KeptSession
from trio_chat.testing.simulation import plan_of, run_plan
from trio_chat.testing.simulation.many import failures
from trio_chat.turn import Turn

if TYPE_CHECKING:
    from trio_chat.testing.simulation import Outcome

SEEDS = int(os.environ.get("TRIO_CHAT_SEEDS", "2000"))

Patch = pytest.MonkeyPatch
PLANTS: dict[str, Callable[[Patch], None]] = {}


def plant(bug: Callable[[Patch], None]) -> Callable[[Patch], None]:
    """Register a bug: a function that replaces something by something that is almost right."""
    PLANTS[bug.__name__] = bug
    return bug


def first_failure(seeds: range) -> Outcome | None:
    """Return what the first seed that fails found."""
    for seed in seeds:
        outcome = run_plan(plan_of(seed))
        if outcome.findings:
            return outcome
    return None


# --- the output gate


@plant
def ack_before_append(patch: Patch) -> None:
    begin = Room._begin_turn

    def at_once(self: Room) -> None:
        begin(self)
        if self._turn is not None and not self._turn.undecided:
            self._let_out(self._turn)

    patch.setattr(Room, "_begin_turn", at_once)
    patch.setattr(Ledger, "durability", lambda self, seq: self._hot.durability)


@plant
def told_before_append(patch: Patch) -> None:
    begin = Room._begin_turn

    def at_once(self: Room) -> None:
        begin(self)
        if self._turn is not None:
            self._turn.tell_changes()

    patch.setattr(Room, "_begin_turn", at_once)


@plant
def ack_says_more_than_is_true(patch: Patch) -> None:
    patch.setattr(Ledger, "durability", lambda self, seq: self._hot.durability)


# --- joining and resuming


@plant
def snapshot_before_membership(patch: Patch) -> None:
    admit = Turn._admit

    def late(self: Turn, join: Any) -> Any:
        joined = admit(self, join)
        if len(self.audience) > 1:
            # In again with the next turn's changes told.
            self.audience.remove(join.member)
            tell = self.audience.tell

            def tell_and_add(hearings: Any, **options: Any) -> None:
                tell(hearings, **options)
                self.audience.tell = tell
                self.audience.add(join.member, self._now)

            self.audience.tell = tell_and_add
        return joined

    patch.setattr(Turn, "_admit", late)


@plant
def membership_before_snapshot(patch: Patch) -> None:
    tell_changes = Turn.tell_changes

    def early(self: Turn) -> None:
        for mail, _ in self._results:
            if isinstance(mail, Join):
                self.audience.add(mail.member, self._now)
        tell_changes(self)

    patch.setattr(Turn, "tell_changes", early)


@plant
def resume_without_epoch_check(patch: Patch) -> None:
    def resumed(self: Turn, resume: Any) -> Any:
        found = None if resume is None else self.history.since(resume.seq)
        return None if found is None else found.events

    patch.setattr(Turn, "_resumed", resumed)


@plant
def floor_not_raised(patch: Patch) -> None:
    leave = History._leave

    def lower(self: History, event: Any) -> None:
        floor = self.floor
        leave(self, event)
        self.floor = floor

    patch.setattr(History, "_leave", lower)


@plant
def floor_not_restored(patch: Patch) -> None:
    restore = History.restore.__func__

    def forgetful(cls: Any, epoch: str, limit: int, **kept: Any) -> History:
        return restore(cls, epoch, limit, **{**kept, "floor": 0})

    patch.setattr(History, "restore", classmethod(forgetful))


@plant
def tombstones_not_restored(patch: Patch) -> None:
    put_back = History._put_back

    def without(self: History, event: Any, first: int) -> None:
        if not hasattr(event, "at") or event.message.content:
            put_back(self, event, first)

    patch.setattr(History, "_put_back", without)


@plant
def window_one_too_large(patch: Patch) -> None:
    push_out = History._push_out

    def later(self: History) -> None:
        if len(self._window) > self.limit + 1:
            push_out(self)

    patch.setattr(History, "_push_out", later)


@plant
def slow_reader_misses_messages(patch: Patch) -> None:
    def hear(self: NativeConnection, parcel: bytes, _: bool) -> None:
        self._link.offer(parcel, droppable=True)

    patch.setattr(NativeConnection, "hear", hear)


@plant
def nobody_told_after_crash(patch: Patch) -> None:
    def keep_quiet(self: Room) -> None:
        self._told = (self.ledger.history.epoch, self.ledger.history.top)

    patch.setattr(Room, "_catch_up", keep_quiet)


@plant
def crashed_turn_carried_out_again(patch: Patch) -> None:
    def recover(self: Room, error: TrioChatError) -> None:
        self._failure, self._on_its_way = None, False
        if self._turn is not None:
            self._mailbox.extendleft(reversed([*self._turn.decided, *self._turn.undecided]))
            self._turn = None

    patch.setattr(Room, "recover", recover)


# --- sessions


@plant
def expiry_of_a_dirty_session(patch: Patch) -> None:
    patch.setattr(MemoryHotStore, "_close", lambda self, kept: self._remove(kept.session))


@plant
def seqs_used_again_after_expiry(patch: Patch) -> None:
    patch.setattr(
        Ledger, "begin_anew", lambda self: self._adopt(History(self.history.epoch, self.history.limit))
    )


@plant
def ended_session_comes_back(patch: Patch) -> None:
    def without_note(self: Ledger) -> None:
        self._begin(self.history.epoch)

    patch.setattr(Ledger, "begin_anew", without_note)


@plant
def untrusted_tail_continued(patch: Patch) -> None:
    unfit = Ledger._unfit

    def trusting(self: Ledger, stored: Any) -> str | None:
        why = unfit(self, stored)
        return None if why and "restarted" in why else why

    patch.setattr(Ledger, "_unfit", trusting)


@plant
def keys_not_written(patch: Patch) -> None:
    patch.setattr(Ledger, "remember_key", lambda self, name, seq: None)


@plant
def lost_answer_taken_for_lost_write(patch: Patch) -> None:
    reconcile = Ledger._reconcile

    def anew(self: Ledger, conflict: Any) -> None:
        top = self.history.top
        reconcile(self, conflict)
        if conflict.epoch == self.history.epoch and conflict.top == top:
            self._begin(self.history.epoch)

    patch.setattr(Ledger, "_reconcile", anew)


@plant
def lost_store_not_refilled(patch: Patch) -> None:
    def reconcile(self: Ledger, conflict: Any) -> None:
        self.written = conflict.top if conflict.epoch == self.history.epoch else 0
        self.history.forget(self.history.top, 0)
        self._superseded.clear()
        self.history._left.clear()
        self.history._log = {
            seq: event for seq, event in self.history._log.items() if seq == self.history.top
        }

    patch.setattr(Ledger, "_reconcile", reconcile)


@plant
def mail_forgotten_when_a_room_retires(patch: Patch) -> None:
    retire = Room._retire

    def forget(self: Room) -> None:
        self._mailbox.clear()
        retire(self)

    patch.setattr(Room, "_retire", forget)

    expire = Room._expire

    async def careless(self: Room) -> None:
        await expire(self)
        if not self.retired and len(self.audience) == 0:
            self._retire()

    patch.setattr(Room, "_expire", careless)


# --- the archive


@plant
def trim_before_sync(patch: Patch) -> None:
    def trim(self: Any) -> None:
        for seq in [seq for seq in self.log if seq < self.first]:
            del self.log[seq]

    patch.setattr(KeptSession, "trim", trim)


@plant
def marked_though_not_archived(patch: Patch) -> None:
    write = Refusals.write

    async def careless(self: Refusals, batches: Any) -> int:
        try:
            return await write(self, batches)
        except TrioChatError:
            return 0

    patch.setattr(Refusals, "write", careless)


# --- isolation


@plant
def rooms_by_half_their_name(patch: Patch) -> None:
    mail = Lobby.mail

    def half(self: Lobby, room: str, post: Any) -> None:
        mail(self, room.partition(":")[0], post)

    patch.setattr(Lobby, "mail", half)


@plant
def leaving_is_forgotten(patch: Patch) -> None:
    dismiss = Turn._dismiss

    def stay(self: Turn, leave: Leave) -> None:
        if not leave.activity:
            dismiss(self, leave)

    patch.setattr(Turn, "_dismiss", stay)


@pytest.mark.parametrize("bug", PLANTS.values(), ids=PLANTS.keys())
def test_planted_bug_is_found(bug: Callable[[Patch], None], monkeypatch: Patch) -> None:
    """A mistake of this kind is found by one of the seeds. Some need hundreds of them, which take a while."""
    bug(monkeypatch)

    assert first_failure(range(2_000)) is not None


def test_no_seed_finds_anything() -> None:
    """Whatever goes wrong: nothing is lost, doubled, mixed up or forgotten. It takes minutes."""
    found = [f"seed {one.seed}: {one.findings[0]}" for one in failures(range(SEEDS))]

    assert not found, "\n".join(found)
