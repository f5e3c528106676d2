"""The checks say what is wrong with a record: here with records that were made wrong by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest

from trio_chat import Accepted, Changed, Closed, Expired, Message, Position, Posted
from trio_chat.stores.base import Session
from trio_chat.testing import (
    Answered,
    Delete,
    Edit,
    Ended,
    Heard,
    Join,
    Look,
    Mend,
    Mended,
    Post,
    Record,
    Resume,
    Sleep,
    Vanished,
    Violation,
    check_agreement,
    check_archived,
    check_dirty_kept,
    check_ends,
    check_expiry,
    check_keys,
    check_numbers,
    check_order,
    check_told,
    check_windows,
    play,
)
from trio_chat.testing.record import Entry

Check = Callable[[Record], None]
CHECKS: list[Check] = [
    check_agreement,
    check_dirty_kept,
    check_ends,
    check_keys,
    check_numbers,
    check_order,
    check_told,
    check_windows,
]
SCRIPT = [
    Join("ann"),
    Post("ann", "a", key="k"),
    Post("bob", "b"),
    Post("ann", "a", key="k"),
    Edit("ann", "c", nth=1),
]


def record() -> Record:
    """Return a record with nothing wrong in it."""
    return play([*SCRIPT, Delete("bob"), Look(), Resume("ann", back=2), Sleep(61), Mend()])


def changed(check: Callable[[Entry], Entry | None]) -> Record:
    """Return the record with its entries changed, or left out."""
    made = record()
    made.entries = [new for entry in made.entries if (new := check(entry)) is not None]
    return made


def assert_violates(check: Check, made: Record, text: str) -> None:
    """See that a check fails, says why, and tells the story."""
    with pytest.raises(Violation, match=text) as caught:
        check(made)
    assert "#1 Join(who='ann')" in str(caught.value)


def event(epoch: str, seq: int) -> Changed:
    """Make something to hear."""
    message = Message(
        id="x",
        role="user",
        content="x",
        timestamp=datetime.now(UTC),
        metadata={},
        user_id="x",
        seq=seq,
        rev=seq,
    )
    return Changed(epoch, Posted(message))


@pytest.mark.parametrize("check", [*CHECKS, check_archived, check_expiry], ids=lambda check: check.__name__)
def test_nothing_is_wrong(check: Check) -> None:
    """Each check passes where all is well."""
    check(record())


def ack(seq: int, /, **changes: object) -> Callable[[Entry], Entry]:
    """Change the ack of an event."""

    def change(entry: Entry) -> Entry:
        if isinstance(entry, Answered) and isinstance(entry.answer, Accepted) and entry.answer.seq == seq:
            return msgspec.structs.replace(entry, answer=msgspec.structs.replace(entry.answer, **changes))
        return entry

    return change


def test_number_given_twice() -> None:
    """W2."""
    assert_violates(check_numbers, changed(ack(3, seq=2)), "seq 2 was given twice")


def test_number_left_out() -> None:
    """W2."""
    assert_violates(check_numbers, changed(ack(4, seq=5)), "went to nobody")


def test_key_with_another_ack() -> None:
    """W6."""

    def change(entry: Entry) -> Entry:
        again = isinstance(entry, Answered) and isinstance(entry.answer, Accepted) and entry.answer.duplicate
        return ack(1, seq=2)(entry) if again else entry

    assert_violates(check_keys, changed(change), "expected")


def test_key_carried_out_twice() -> None:
    """W6."""
    assert_violates(check_keys, changed(ack(1, duplicate=False)), "carried out twice")


def test_window_with_a_message_missing() -> None:
    """W1."""

    def change(entry: Entry) -> Entry:
        if isinstance(entry, Answered) and isinstance(entry.command, Look):
            return msgspec.structs.replace(entry, answer=msgspec.structs.replace(entry.answer, messages=()))
        return entry

    assert_violates(check_windows, changed(change), "shows")


def resumed(**changes: object) -> Callable[[Entry], Entry]:
    """Change the answer to the resume."""

    def change(entry: Entry) -> Entry:
        if isinstance(entry, Answered) and isinstance(entry.command, Resume):
            return msgspec.structs.replace(entry, answer=msgspec.structs.replace(entry.answer, **changes))
        return entry

    return change


def test_resume_with_a_change_missing() -> None:
    """W3."""
    assert_violates(check_windows, changed(resumed(changes=())), "shows")


def test_resume_that_says_the_opposite() -> None:
    """W4."""
    assert_violates(check_windows, changed(resumed(recovered=False)), "expected recovered=True")


def test_window_of_the_future() -> None:
    """Nobody caused what it shows."""
    assert_violates(check_windows, changed(resumed(seq=9)), "nobody caused")


def heard(seq: int) -> Callable[[Entry], bool]:
    """Find an event that was heard."""
    return lambda entry: (
        isinstance(entry, Heard) and isinstance(entry.hearing, Changed) and entry.hearing.event.seq == seq
    )


def test_event_not_heard() -> None:
    """W5."""
    assert_violates(check_order, changed(lambda entry: None if heard(2)(entry) else entry), "did not hear")


def test_event_heard_twice() -> None:
    """W5."""
    made = record()
    made.entries += list(filter(heard(2), made.entries))

    assert_violates(check_order, made, "hears Changed")


def test_event_heard_from_outside() -> None:
    """W5."""
    made = changed(
        lambda entry: None if isinstance(entry, Answered) and isinstance(entry.command, Join) else entry
    )

    assert_violates(check_order, made, "before it is in")


def test_ack_before_everybody_is_told() -> None:
    """W5."""
    assert_violates(check_told, changed(lambda entry: None if heard(4)(entry) else entry), "before its ack")


def test_different_events_under_one_number() -> None:
    """W5."""
    made = record()
    epoch = next(changed.epoch for _, changed in made.heard(Changed))
    made.add(Heard(0, "bob", "den", 9, event(epoch, 1)))

    assert_violates(check_agreement, made, "to some and")


def test_another_event_than_was_asked_for() -> None:
    """W5."""

    def change(entry: Entry) -> Entry:
        if isinstance(entry, Answered) and isinstance(entry.command, Post):
            return msgspec.structs.replace(entry, command=msgspec.structs.replace(entry.command, content="z"))
        return entry

    assert_violates(check_agreement, changed(change), "expected Line")


def expired(**changes: object) -> Callable[[Entry], Entry]:
    """Change when it was heard that the session expired."""

    def change(entry: Entry) -> Entry:
        is_it = isinstance(entry, Heard) and isinstance(entry.hearing, Expired)
        return msgspec.structs.replace(entry, **changes) if is_it else entry

    return change


def test_session_that_expires_at_another_time() -> None:
    """E1."""
    assert_violates(check_expiry, changed(expired(at=59.0)), "due were")


def test_session_that_expires_twice() -> None:
    """E1."""
    made = record()
    made.entries.insert(-1, next(entry for entry, _ in made.heard(Expired)))

    assert_violates(check_expiry, made, "twice")


def test_session_that_expires_in_silence() -> None:
    """E1."""
    made = changed(
        lambda entry: None if isinstance(entry, Heard) and isinstance(entry.hearing, Expired) else entry
    )

    assert_violates(check_expiry, made, "does not hear")


def test_session_that_is_over_too_early() -> None:
    """E1."""
    assert_violates(check_expiry, changed(ack(4, epoch="zzz")), "somebody was active")


def test_session_that_goes_on_too_long() -> None:
    """E1."""
    made = record()
    look = next(entry for entry, _ in made.windows() if isinstance(entry.command, Look))
    made.entries.insert(-1, msgspec.structs.replace(look, at=100.0))

    assert_violates(check_expiry, made, "went on")


def test_message_lost() -> None:
    """S1."""
    made = record()
    [session] = made.archive.sessions
    made.archive._rows[session].popitem()

    assert_violates(check_archived, made, "the archive has None")


def test_older_state_archived() -> None:
    """S1."""
    made = record()
    [session] = made.archive.sessions
    first = made.archive._rows[session][1]
    made.archive._rows[session][1] = Posted(msgspec.structs.replace(first.message, content="a", rev=1))

    assert_violates(check_archived, made, "the archive has Posted")


def test_message_archived_twice() -> None:
    """S1."""
    made = record()
    [session] = made.archive.sessions
    made.archive._rows[session][7] = made.archive._rows[session][1]

    assert_violates(check_archived, made, "twice")


def test_message_archived_that_nobody_wrote() -> None:
    """S1."""
    made = record()
    made.archive.sessions[Session("den", "z")] = next(iter(made.archive.sessions.values()))
    made.archive._rows[Session("den", "z")] = {1: event("z", 1).event}

    assert_violates(check_archived, made, "asked for 0 times")


def test_something_left_to_archive() -> None:
    """S1."""
    made = record()
    made.add(Mended(0, [Session("den", "z")], {}))

    assert_violates(check_archived, made, "all was well")


def test_what_only_memory_had_may_be_lost_with_it() -> None:
    """S1: the acks said so, and the process was killed."""
    made = changed(lambda entry: ack(3, durability="memory")(ack(1, durability="memory")(entry)))
    [session] = made.archive.sessions
    del made.archive._rows[session][1]
    with pytest.raises(Violation):
        check_archived(made)
    made.add(Ended(9, True, 0, 0, {}))

    check_archived(made)


def test_script_that_does_not_end_with_mending() -> None:
    """There is no telling what would have been archived."""
    with pytest.raises(ValueError, match="Mend"):
        check_archived(play(SCRIPT))


def test_dirty_session_deleted() -> None:
    """E3."""
    made = record()
    made.add(Vanished(0, Session("den", "z"), 3, 2))

    assert_violates(check_dirty_kept, made, "dirty session")


@pytest.mark.parametrize(
    ("end", "text"),
    [(Ended(0, False, 0, 1, {}), "left 1 tasks"), (Ended(0, False, 11, 0, {}), "took 11 s")],
)
def test_process_that_does_not_end_well(end: Ended, text: str) -> None:
    """N1."""
    made = record()
    made.add(end)

    assert_violates(check_ends, made, text)


def test_something_heard_after_goodbye() -> None:
    """N1."""
    made = record()
    made.add(Heard(0, "ann", "den", 1, Closed("enough")))
    made.add(Heard(0, "ann", "den", 1, Closed("enough")))

    assert_violates(check_ends, made, "after goodbye")


def test_change_of_a_message_that_was_not_there() -> None:
    """W1: no room may accept it."""
    assert_violates(check_windows, changed(ack(3, id="nobody's")), "was not in the window")


def test_position_to_resume_at_is_part_of_the_answer() -> None:
    """As the check of resumes needs it."""
    entry = next(entry for entry, _ in record().windows() if isinstance(entry.command, Resume))

    assert isinstance(entry.resume, Position)
