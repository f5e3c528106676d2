"""R1: the Redis store and the memory store answer any sequence of calls alike.

The memory store stands in for Redis in all other properties; this is what makes that worth something.
"""

from __future__ import annotations

import itertools
import secrets
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from trio_chat.message import Deleted, Edited, Event, Message, Posted, Receipt
from trio_chat.stores.base import Append, Session, Stored
from trio_chat.stores.memory import MemoryHotStore
from trio_chat.stores.redis import open_redis
from trio_chat.testing import Steps, contents, metadata, users

if TYPE_CHECKING:
    from trio_chat.stores.base import HotStore

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
# Ids that would collide if a store put them together carelessly, and patterns of the kind Redis knows.
ROOMS = ("a", "a:b", "a:b:c", "@a/-")
EPOCHS = tuple(f"019b76da-000{number}-7000-8000-000000000000" for number in range(4))
NOTES = st.sampled_from(["a", "A", "b", "a-b", "note"])


class Change(msgspec.Struct, frozen=True):
    """An event to be made: how many seqs it leaves out, what it does and to which message, counted back."""

    skip: int
    kind: Literal["post", "edit", "delete"]
    back: int
    user: str
    content: str
    metadata: dict[str, Any]

    def event(self, after: int) -> Event:
        """Make the event that follows the seq `after`."""
        rev = after + 1 + self.skip
        kind = self.kind if rev > 1 else "post"  # before the first event there is nothing to edit
        seq = rev if kind == "post" else max(1, rev - 1 - self.back)
        time = NOON + timedelta(milliseconds=rev)
        text, data = ("", {}) if kind == "delete" else (self.content, self.metadata)
        message = Message(
            id=f"m{seq}",
            role="user",
            content=text,
            timestamp=NOON,
            metadata=data,
            user_id=self.user,
            seq=seq,
            rev=rev,
        )
        match kind:
            case "post":
                return Posted(message)
            case "edit":
                return Edited(message, time)
            case "delete":
                return Deleted(message, time)


def sessions() -> st.SearchStrategy[Session]:
    return st.builds(Session, st.sampled_from(ROOMS), st.sampled_from(EPOCHS))


def event_changes() -> st.SearchStrategy[list[Change]]:
    change = st.builds(
        Change,
        skip=st.sampled_from([0, 0, 0, 1, 3]),
        kind=st.sampled_from(["post", "post", "edit", "delete"]),
        back=st.integers(0, 5),
        user=users(),
        content=contents(),
        metadata=metadata(),
    )
    return st.lists(change, max_size=6)


class StoresAlike(RuleBasedStateMachine):
    """Both stores, asked the same. Every rule that changes something looks at the room afterwards."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.memory = MemoryHotStore()
        self.steps = Steps()
        self.steps.start()
        self.redis = self.steps.enter(open_redis(url, prefix=f"alike-{secrets.token_hex(8)}"))
        self.writes: list[Append] = []
        self.numbers = itertools.count()
        self.remember = 1000

    @initialize(remember=st.sampled_from([1000, 1000, 4]))
    def set_remember(self, remember: int) -> None:
        """Decide how many keys are remembered."""
        self.remember = remember

    def teardown(self) -> None:
        """Close the connection."""
        self.steps.stop()

    def both(self, call: str, *arguments: object) -> list[Any]:
        """Return both stores' answers."""
        stores: list[HotStore] = [self.memory, self.redis]
        return [self.steps.run(partial(getattr(store, call), *arguments)) for store in stores]

    def alike(self, call: str, *arguments: object) -> Any:
        """Return both stores' answer."""
        ours, theirs = map(comparable, self.both(call, *arguments))
        assert ours == theirs, f"{call}{arguments}: memory says {ours}, Redis says {theirs}"
        return ours

    def top(self, session: Session) -> int:
        """Return the top of a session; 0 if there is no such session."""
        return self.memory.sessions().get(session, (0, 0))[0]

    @rule(
        session=sessions(),
        expect=st.sampled_from(["top", "top", "top", "nothing", "less", "more"]),
        changes=event_changes(),
        window=st.integers(0, 8),
        superseded=st.lists(st.integers(1, 12), max_size=3),
        keys=st.integers(0, 3),
        readers=st.lists(users(), max_size=2),
        earlier=st.lists(users(), max_size=2),
        ahead=st.sampled_from([0, 0, 2]),
    )
    def append(
        self,
        session: Session,
        expect: str,
        changes: list[Change],
        window: int,
        superseded: list[int],
        keys: int,
        readers: list[str],
        earlier: list[str],
        ahead: int,
    ) -> None:
        """Write to a session as its writer would, or as one that is wrong about its top."""
        top = self.top(session)
        expected = {"top": top, "nothing": 0, "less": max(top - 1, 0), "more": top + 1}[expect]
        events: list[Event] = []
        for change in changes:
            events.append(change.event(events[-1].seq if events else expected))
        new_top = max(expected, events[-1].seq if events else 0) + ahead
        assume(new_top > 0)
        receipt = Receipt(f"m{new_top}", NOON)
        write = Append(
            session=session,
            expect=expected,
            top=new_top,
            first=max(1, new_top - window),
            floor=max(0, new_top - 2 * window),
            events=tuple(events),
            superseded=tuple(seq for seq in superseded if seq <= expected),
            keys=tuple((f"key {next(self.numbers)}", new_top) for _ in range(keys)),
            receipts=dict.fromkeys(readers, receipt),
            carried=dict.fromkeys(earlier, Receipt("earlier", NOON)),
            token=f"writer:{next(self.numbers)}",
            remember=self.remember,
        )
        self.writes.append(write)
        self.alike("append", write)
        self.alike("load", session.room)

    # Redis counts a key twice that is written twice, which shows only while it remembers few.
    @precondition(lambda self: self.writes and self.remember == 1000)
    @rule(back=st.integers(0, 3))
    def append_again(self, back: int) -> None:
        """Repeat a write, as one does whose answer was lost."""
        write = self.writes[-1 - back % len(self.writes)]
        self.alike("append", write)
        self.alike("load", write.session.room)

    @rule(marks=st.lists(st.tuples(sessions(), st.integers(0, 12)), min_size=1, max_size=4))
    def mark_synced(self, marks: list[tuple[Session, int]]) -> None:
        """Say what the archive has, of several sessions, some of them unknown."""
        self.alike("mark_synced", marks)
        for session, _ in marks:
            self.alike("load", session.room)

    @rule(session=sessions(), late=st.booleans())
    def mark_all_synced(self, session: Session, late: bool) -> None:
        """Say that the archive has all of a session, but for its read marks if they changed since."""
        receipts = dict(self.memory.pending(session))
        if late:
            receipts = dict.fromkeys(receipts, Receipt("before", NOON))
        self.alike("mark_synced", [(session, self.top(session))], {session: receipts})
        self.alike("load", session.room)
        self.alike("unsynced", session, 1000)

    @rule(session=sessions(), right=st.booleans(), idle=st.sampled_from([0.0, 0.0, 0.0, 3600.0]))
    def end(self, session: Session, right: bool, idle: float) -> None:
        """End a session."""
        self.alike("end", session, self.top(session) + (not right), idle)
        self.alike("load", session.room)

    @rule(session=sessions(), limit=st.sampled_from([1, 2, 5, 1000]))
    def unsynced(self, session: Session, limit: int) -> None:
        """Ask what the archive lacks."""
        self.alike("unsynced", session, limit)

    @rule(session=sessions(), seq=st.integers(1, 12))
    def quarantine(self, session: Session, seq: int) -> None:
        """Set an entry aside."""
        self.alike("quarantine", session, seq, "the archive refuses it")
        self.alike("load", session.room)

    @rule()
    def dirty(self) -> None:
        """Ask which sessions are dirty. Redis may name more, of which the archive lacks nothing."""
        ours, theirs = map(set, self.both("dirty"))
        assert ours <= theirs
        for session in theirs - ours:
            found = self.alike("unsynced", session, 1000)
            assert found is None or (found.synced == found.top and not found.receipts)

    @rule(notes=st.dictionaries(NOTES, st.tuples(st.binary(max_size=40), st.just(3600.0)), max_size=3))
    def keep(self, notes: dict[str, tuple[bytes, float]]) -> None:
        """Keep notes."""
        self.alike("keep", notes)

    @rule(name=NOTES)
    def discard(self, name: str) -> None:
        """Discard a note."""
        self.alike("discard", name)

    @rule(name=NOTES)
    def kept(self, name: str) -> None:
        """Look at a note."""
        self.alike("kept", name)


def comparable(answer: object) -> object:
    """Return the answer without what tells the time."""
    if not isinstance(answer, Stored):
        return answer
    plain = {"keys": dict(answer.keys), "receipts": dict(answer.receipts), "idle": 0.0}
    return msgspec.structs.replace(answer, **plain)


def check_alike(url: str, **changes: Any) -> None:
    run_state_machine_as_test(lambda: StoresAlike(url), settings=settings(stateful_step_count=30, **changes))


def test_r1_stores_alike(valkey_url: str) -> None:
    """R1: whatever they are asked, and in whatever order, both stores answer alike."""
    check_alike(valkey_url, max_examples=max(30, settings.default.max_examples // 4))
