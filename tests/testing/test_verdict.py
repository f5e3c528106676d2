"""The verdict on histories that are written down by hand: a clean one passes, and each mistake is found."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from trio_chat.message import Position
from trio_chat.stores.base import Session
from trio_chat.testing.verdict import Contents, Entry, Kept, Row, Seen, Verdict, judge
from trio_chat.testing.verdict import log as it

EPOCH = "019b76da-a800-7000-8000-000000000001"
LATER = "019b76da-a800-7000-8000-000000000002"
DEN = Session("den", EPOCH)
LIMIT = 3


class History:
    """A history in the making. Time passes by a tenth of a second with each entry."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.ops = 0
        self.now = 0.0

    def add(self, kind: Any, *values: Any, **named: Any) -> None:
        self.now += 0.1
        self.log.append(kind(self.now, *values, **named))

    def join(
        self,
        client: str,
        *window: Seen,
        room: str = "den",
        epoch: str = EPOCH,
        seq: int | None = None,
        resume: Position | None = None,
        first: int = 1,
    ) -> None:
        """Let a client join, and be shown a window; or resume, and be told the position alone."""
        self.ops += 1
        at = len(window) if seq is None else seq
        self.add(it.Invoke, client, self.ops, "join", room, client, resume=resume)
        self.add(it.Join, client, self.ops, room, epoch, at, resume is not None, first)
        if resume is None:
            self.add(it.Window, client, room, epoch, at, window)

    def ask(
        self, client: str, text: str, *, act: Any = "send", room: str = "den", name: str | None = None
    ) -> int:
        """Let a client ask for a change; a message's id is its content unless it is named."""
        self.ops += 1
        content = None if act == "delete" else text
        self.add(it.Invoke, client, self.ops, act, room, client, name or text, content)
        return self.ops

    def hear(self, seen: Seen, *clients: str, room: str = "den", epoch: str = EPOCH) -> None:
        """Let clients hear a message."""
        for client in clients:
            self.add(it.Recv, client, room, epoch, seen.rev, seen)

    def ack(
        self, op: int, seen: Seen, *, epoch: str = EPOCH, durability: Any = "redis", again: bool = False
    ) -> None:
        """Acknowledge a change."""
        self.add(it.Ok, op, seen.id, epoch, seen.rev, durability, again)

    def post(self, client: str, text: str, seq: int, *clients: str, room: str = "den") -> Seen:
        """Let a client post something that these clients hear, and that is acknowledged."""
        op = self.ask(client, text, room=room)
        seen = message(text, seq, client)
        self.hear(seen, *clients, room=room)
        self.ack(op, seen)
        return seen

    def judge(
        self, *rows: Seen, hot: tuple[Kept, ...] = (), deleted: tuple[Row, ...] = (), **how: Any
    ) -> Verdict:
        """Judge it, with these messages in the archive."""
        archive = {DEN: (*map(Row, rows), *deleted)}
        return judge(self.log, Contents(archive, hot), limit=LIMIT, **how)


def findings(verdict: Verdict) -> set[tuple[str, bool]]:
    """What was found: of which kinds, and whether it is late."""
    return {(finding.kind, finding.late) for finding in verdict.findings}


def message(text: str, seq: int, user: str = "ann", rev: int | None = None, name: str | None = None) -> Seen:
    return Seen(name or text, user, text, seq, seq if rev is None else rev)


def talk() -> tuple[History, list[Seen]]:
    """Return a history of two clients in a room, and what they said."""
    history = History()
    history.join("ann")
    history.join("bob")
    said = [history.post("ann", text, seq, "ann", "bob") for seq, text in enumerate("abcd", 1)]
    return history, said


def test_clean_history_passes() -> None:
    """Posts, an edit, a deletion, a resume, a duplicate and an expiry, all as they should be."""
    history, said = talk()
    history.add(it.Close, "bob")
    edit = history.ask("ann", "e", act="edit", name="d")
    edited = message("e", 4, rev=5, name="d")
    history.hear(edited, "ann")
    history.ack(edit, edited)
    delete = history.ask("ann", "", act="delete", name="c")
    history.add(it.Recv, "ann", "den", EPOCH, 6, None, "c")
    history.add(it.Ok, delete, "c", EPOCH, 6, "redis")
    history.join("bob", seq=6, resume=Position(EPOCH, 4), first=2)
    history.hear(edited, "bob")
    history.add(it.Recv, "bob", "den", EPOCH, 6, None, "c")
    history.add(it.Live, "bob", "den", EPOCH, 6)
    history.ack(history.ask("ann", "a"), said[0], again=True)
    for client in ("ann", "bob"):
        history.add(it.Expired, client, "den", EPOCH)
    verdict = history.judge(said[0], said[1], edited, deleted=(Row(replace(said[2], rev=6), True),))

    assert verdict.findings == ()
    assert verdict.looked["acks"] == 7
    assert "windows not known" not in verdict.looked


def test_lost() -> None:
    """What was acknowledged is in neither store."""
    history, said = talk()

    assert history.judge(*said[:3]).kinds() == {"lost"}


def test_lost_edit() -> None:
    """The message is there, but reads as before its edit."""
    history, said = talk()
    edited = message("e", 4, rev=5, name="d")
    op = history.ask("ann", "e", act="edit", name="d")
    history.hear(edited, "ann", "bob")
    history.ack(op, edited)

    assert history.judge(*said).kinds() == {"lost"}


@pytest.mark.parametrize(("durability", "kinds"), [("memory", set()), ("redis", {"lost"})])
def test_lost_with_the_process(durability: Any, kinds: set[str]) -> None:
    """What only a process had may go with it, unless it had promised more."""
    history = History()
    history.join("ann")
    op, seen = history.ask("ann", "a"), message("a", 1)
    history.hear(seen, "ann")
    history.ack(op, seen, durability=durability)
    history.add(it.Close, "ann")
    history.add(it.Forgot, DEN, 0)
    verdict = history.judge()

    assert verdict.kinds() == kinds
    assert verdict.looked.get("excused", 0) == (durability == "memory")


def test_lost_by_the_store() -> None:
    """What the hot store was made to lose is excused; what is acknowledged afterwards is not."""
    history, said = talk()
    history.add(it.Lost, DEN, 3)

    assert history.judge(*said[:3]).kinds() == set()

    history.post("ann", "e", 5, "ann", "bob")

    assert history.judge(*said[:3]).kinds() == {"lost"}


def test_number_used_again() -> None:
    """Behind a kill a seq may mean something else only where that is excused."""
    for reused, kinds in ((True, set[str]()), (False, {"agreement", "duplicate", "window"})):
        history = History()
        history.join("ann")
        op, old = history.ask("ann", "a"), message("a", 1)
        history.hear(old, "ann")
        history.ack(op, old, durability="memory")
        history.add(it.Close, "ann")
        history.add(it.Forgot, DEN, 0, reused)
        history.join("ann", seq=0)
        new = history.post("ann", "b", 1, "ann")

        assert history.judge(new).kinds() == kinds


def test_phantom_seen() -> None:
    """Somebody hears what nobody asked for."""
    history, said = talk()
    seen = message("x", 5)
    history.hear(seen, "ann", "bob")

    assert history.judge(*said, seen).kinds() == {"phantom"}


def test_phantom_stored() -> None:
    """A store has what was refused."""
    history, said = talk()
    history.add(it.Fail, history.ask("ann", "x"), "overloaded")

    assert "phantom" in history.judge(*said, message("x", 5)).kinds()


def test_duplicate() -> None:
    """A request that was repeated is there twice."""
    history, said = talk()
    history.add(it.Unknown, history.ask("ann", "e"), "unavailable")
    first = message("e", 5)
    history.hear(first, "ann", "bob")
    again = history.post("ann", "e", 6, "ann", "bob")

    assert history.judge(*said, first, again).kinds() == {"duplicate"}


def test_duplicate_without_an_id() -> None:
    """What was asked for once is in two sessions."""
    history, said = talk()
    history.add(it.Expired, "ann", "den", EPOCH)
    seen = message("a", 1)
    history.hear(seen, "ann", epoch=LATER)

    assert history.judge(*said).kinds() == {"duplicate"}


@pytest.mark.parametrize(("once", "kinds"), [(False, set[str]()), (True, {"duplicate"})])
def test_repeated_in_the_next_session(once: bool, kinds: set[str]) -> None:
    """What was repeated is a new message of the next session; whether that may be is the caller's to say."""
    history, said = talk()
    repeat_in_the_next_session(history)

    assert history.judge(*said, once=once).kinds() == kinds


@pytest.mark.parametrize("why", [it.Lost, it.Forgot])
def test_repeated_after_a_broken_session(why: Any) -> None:
    """Where a session could not be continued, what was repeated may be in the next one, too; it is counted."""
    history, said = talk()
    history.add(why, DEN, 4)
    repeat_in_the_next_session(history)
    verdict = history.judge(*said, once=True)

    assert verdict.findings == ()
    assert verdict.looked["repeated"] == 1


def repeat_in_the_next_session(history: History) -> None:
    """Let ann say again what is in the session that has ended."""
    history.add(it.Close, "ann")
    history.join("ann", epoch=LATER, seq=0)
    op, seen = history.ask("ann", "d"), message("d", 1)
    history.hear(seen, "ann", epoch=LATER)
    history.ack(op, seen, epoch=LATER, durability="memory")
    history.add(it.Forgot, Session("den", LATER), 0)


def test_carried_out_twice() -> None:
    """Two acks of one event both say that they were the first."""
    history, said = talk()
    history.ack(history.ask("ann", "a"), said[0])

    assert history.judge(*said).kinds() == {"duplicate"}


def test_gap_at_the_join() -> None:
    """An event falls between the window and what is heard behind it."""
    history, said = talk()
    history.join("eve", *said[:3], seq=3)
    said.append(history.post("ann", "e", 5, "ann", "bob", "eve"))

    assert history.judge(*said).kinds() == {"order", "window"}


def test_event_of_the_window_heard_again() -> None:
    """An event is in the window and is heard behind it, too."""
    history, said = talk()
    history.join("eve", *said[1:], seq=4)
    history.hear(said[3], "eve")

    assert "order" in history.judge(*said).kinds()


def test_gap_behind_a_crash() -> None:
    """Who is told how things are after a crash may miss an event only if a later one makes up for it."""
    for heard, kinds in (("d", set[str]()), ("f", {"order"})):
        history, said = talk()
        op = history.ask("ann", "e", act="edit", name="d")
        history.add(it.Unknown, op, "unavailable")
        history.add(it.Crash, "den")
        op = history.ask("ann", "f", act="edit", name=heard) if heard == "d" else history.ask("ann", "f")
        last = message("f", 4, rev=6, name="d") if heard == "d" else message("f", 6)
        history.hear(last, "ann", "bob")
        history.add(it.Close, "bob")
        history.ack(op, last)
        # Somebody else has heard of it.
        history.ops += 1
        fresh = [said[1], said[2], message("e", 4, rev=5, name="d")]
        history.join("eve", *fresh, seq=5)
        rows = [*said[:3], last] if heard == "d" else [*said[:3], fresh[2], last]

        assert history.judge(*rows).kinds() == kinds


def test_order_differs() -> None:
    """Two members hear the same events in another order."""
    history, said = talk()
    ops = [history.ask("ann", text) for text in "ef"]
    one, two = message("e", 5), message("f", 6)
    history.hear(one, "ann")
    history.hear(two, "ann")
    history.hear(two, "bob")
    history.hear(one, "bob")
    history.ack(ops[0], one)
    history.ack(ops[1], two)

    assert "order" in history.judge(*said, one, two).kinds()


def test_reused_seq() -> None:
    """One seq is one thing to ann and another to bob."""
    history, said = talk()
    ops = [history.ask(who, text) for who, text in (("ann", "e"), ("bob", "f"))]
    one, two = message("e", 5), message("f", 5, "bob")
    history.hear(one, "ann")
    history.hear(two, "bob")
    history.ack(ops[0], one)
    history.ack(ops[1], two)

    assert "agreement" in history.judge(*said, one).kinds()


def test_ack_before_its_event() -> None:
    """A member is acknowledged what it has not heard."""
    history, said = talk()
    op, seen = history.ask("ann", "e"), message("e", 5)
    history.ack(op, seen)
    history.hear(seen, "ann", "bob")

    assert history.judge(*said, seen).kinds() == {"order"}


def test_resume_in_another_session() -> None:
    """A client is told that it has recovered, in a session that it has never seen."""
    history, said = talk()
    history.add(it.Close, "bob")
    history.join("bob", epoch=LATER, seq=4, resume=Position(EPOCH, 4))

    assert "order" in history.judge(*said).kinds()


def test_events_of_an_ended_session() -> None:
    """A session goes on for members who have heard that it has ended."""
    history, said = talk()
    history.add(it.Expired, "ann", "den", EPOCH)
    history.add(it.Close, "bob")
    said.append(history.post("ann", "e", 5, "ann"))

    assert "order" in history.judge(*said).kinds()


def test_cross_room_delivery() -> None:
    """Something of one room is heard in another."""
    history, said = talk()
    history.ask("eve", "x", room="attic")
    seen = message("x", 5, "eve")
    history.hear(seen, "ann", "bob")

    assert "isolation" in history.judge(*said, seen).kinds()


def test_told_outside() -> None:
    """Somebody hears of a room that they have left."""
    history, said = talk()
    history.add(it.Left, "bob", "den")
    said.append(history.post("ann", "e", 5, "ann", "bob"))

    assert history.judge(*said).kinds() == {"isolation"}


def test_window_is_not_the_newest() -> None:
    """Who joins is shown the oldest messages."""
    history, said = talk()
    history.join("eve", *said[:3], seq=4)

    assert history.judge(*said).kinds() == {"window"}


def test_resume_leaves_something_out() -> None:
    """Who has recovered shows something else than the window."""
    history, said = talk()
    history.add(it.Close, "bob")
    said += [history.post("ann", text, seq, "ann") for seq, text in ((5, "e"), (6, "f"))]
    history.join("bob", seq=6, resume=Position(EPOCH, 4), first=4)
    history.hear(said[5], "bob")
    history.add(it.Live, "bob", "den", EPOCH, 6)

    assert "window" in history.judge(*said).kinds()


def test_store_trimmed_too_early() -> None:
    """The hot store has dropped what the archive lacks."""
    history, said = talk()
    kept = Kept(DEN, top=4, synced=0, rows=tuple(map(Row, said[1:])))
    kinds = history.judge(*said, hot=(kept,), settled=False).kinds()

    assert kinds == {"window"}


def test_dirty_session_expires() -> None:
    """The hot store is about to delete what the archive lacks."""
    history, said = talk()
    kept = Kept(DEN, top=4, synced=3, rows=tuple(map(Row, said)), expires=True)

    assert history.judge(*said[:3], hot=(kept,), settled=False).kinds() == {"window"}


def test_store_was_wrong_earlier() -> None:
    """In the end all is well, but before that the hot store was about to delete what the archive lacked."""
    history, said = talk()
    kept = Kept(DEN, top=4, synced=3, rows=tuple(map(Row, said)), expires=True)
    earlier = [Contents({}, (kept,))]

    assert history.judge(*said, hot=(replace(kept, synced=4),), earlier=earlier).kinds() == {"window"}


def test_marked_and_not_archived() -> None:
    """The hot store has been told that the archive has something, and it has not."""
    history, said = talk()
    kept = Kept(DEN, top=4, synced=4, rows=tuple(map(Row, said)))

    assert history.judge(*said[:3], hot=(kept,)).kinds() == {"lost"}


def test_archive_behind() -> None:
    """Though all has been well for long the archive lacks something: it is not late, for it will never come."""
    history, said = talk()
    kept = Kept(DEN, top=4, synced=3, rows=tuple(map(Row, said)))

    assert findings(history.judge(*said[:3], hot=(kept,))) == {("liveness", False)}


def test_unresolved() -> None:
    """An operation has no outcome: it is not late, for it will never come."""
    history, said = talk()
    history.ask("ann", "x")

    assert findings(history.judge(*said)) == {("liveness", False)}


def test_slow() -> None:
    """An operation takes longer than it may: it is late."""
    history, said = talk()
    op = history.ask("ann", "x")
    history.now += 5.0
    history.add(it.Fail, op, "overloaded")

    assert findings(history.judge(*said)) == {("liveness", True)}


@pytest.mark.parametrize("outcome", ["unknown", "memory"])
def test_not_well_after_healing(outcome: str) -> None:
    """All has been well for long enough, and a change is not carried out, or kept in memory only: that is late."""
    history, said = talk()
    history.add(it.Heal)
    history.now += 6.0
    op, seen = history.ask("ann", "e"), message("e", 5)
    if outcome == "unknown":
        history.add(it.Unknown, op, "unavailable")
    else:
        history.hear(seen, "ann", "bob")
        history.ack(op, seen, durability="memory")

    assert findings(history.judge(*said, seen)) == {("liveness", True)}


def test_seqs_that_nobody_knows_of() -> None:
    """A session has more events than anybody asked for."""
    history, said = talk()
    history.add(it.Close, "ann")
    history.add(it.Close, "bob")
    history.join("eve", *said[1:], seq=4)
    history.add(it.Close, "eve")
    op = history.ask("eve", "e")
    seen = message("e", 9, "eve")
    history.ack(op, seen)

    assert history.judge(*said, seen).kinds() == {"order"}
