"""Check what rooms said against the model: numbers, windows, resumes, order, repeated ids.

Each check takes a `Record` and raises `Violation` with the whole story. They suppose that every message was posted by
the script; `check_order` and `check_agreement` hold for any record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.mail import Accepted, Changed, Joined, View
from trio_chat.stores.base import Session
from trio_chat.testing import script as do
from trio_chat.testing.model import Model, caught_up, line_of, window_of
from trio_chat.testing.record import Answered, Asked, Ended, Heard, PutOut, Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_chat.message import Message

Change = do.Post | do.Edit | do.Delete


class Violation(AssertionError):
    """Something happened that must not."""

    def __init__(self, what: str, record: Record) -> None:
        super().__init__(f"{what}\n{record.story()}")


def acknowledged(record: Record) -> Iterator[tuple[Session, Answered, Change, Accepted]]:
    """Yield every change that was acknowledged for the first time, in the order of the acks."""
    for entry, ack in record.answered(Accepted):
        if isinstance(entry.command, Change) and not ack.duplicate:
            yield Session(entry.command.room, ack.epoch), entry, entry.command, ack


def check_numbers(record: Record) -> None:
    """W2: the seqs of a session are 1, 2, 3 ... without repeats, and without holes but for unanswered changes."""
    found: dict[Session, set[int]] = {}
    for session, _, command, ack in acknowledged(record):
        seqs = found.setdefault(session, set())
        if ack.seq in seqs:
            raise Violation(f"seq {ack.seq} was given twice, at last to {command}", record)
        seqs.add(ack.seq)
    holes = sum(max(seqs) - len(seqs) for seqs in found.values())
    if holes > len(record.unknown()):
        raise Violation(f"{holes} seqs went to nobody", record)


def models(record: Record) -> dict[Session, Model]:
    """Return the model of each session, as far as its changes are known from their acks without a hole."""
    known: dict[Session, dict[int, tuple[Change, Accepted]]] = {}
    for session, _, command, ack in acknowledged(record):
        known.setdefault(session, {})[ack.seq] = command, ack
    return {session: _model(record, acks) for session, acks in known.items()}


def _model(record: Record, acks: dict[int, tuple[Change, Accepted]]) -> Model:
    model = Model(record.settings.max_messages_per_session)
    while (found := acks.get(model.top + 1)) is not None:
        command, ack = found
        try:
            _tell(model, command, ack.id)
        except KeyError:
            raise Violation(f"{command} was accepted, but {ack.id!r} was not in the window", record) from None
    return model


def _tell(model: Model, command: Change, message_id: str) -> None:
    match command:
        case do.Post():
            user = do.user_of(command.who)
            model.post(message_id, user, command.role, command.content, command.metadata)
        case do.Edit():
            model.edit(message_id, command.content, command.metadata)
        case do.Delete():
            model.delete(message_id)


def check_windows(record: Record) -> None:
    """W1, W3, W4: every window is that of the model, and every resume leads to it or says that it cannot."""
    known = models(record)
    nothing = Model(record.settings.max_messages_per_session)
    for entry, answer in record.windows():
        model = known.get(Session(entry.command.room, answer.epoch), nothing)
        if answer.seq <= model.top:
            _check_window(record, model, entry, answer)
        elif not record.unknown():
            raise Violation(f"#{entry.step} knows of events that nobody caused", record)


def _check_window(record: Record, model: Model, entry: Answered, answer: Joined | View) -> None:
    resume = entry.resume
    same = isinstance(answer, Joined) and resume is not None and resume.epoch == answer.epoch
    recovers = same and resume is not None and model.floors[answer.seq] <= resume.seq <= answer.seq
    if isinstance(answer, Joined) and answer.recovered is not recovers:
        raise Violation(f"#{entry.step}: expected recovered={recovers} from {resume}", record)
    if isinstance(answer, Joined) and answer.recovered and resume is not None:
        shown = caught_up(model.windows[resume.seq], answer.changes, answer.first)
    else:
        shown = window_of(answer.messages)
    if shown != model.windows[answer.seq]:
        raise Violation(f"#{entry.step} shows {shown}, expected {model.windows[answer.seq]}", record)


def check_order(record: Record) -> None:
    """W5: every visit is told a contiguous run of events of a session, then perhaps of the next one from 1 on.

    Behind a crash a member is told how things are now: then an event may be left out if a later one that it hears is
    about the same message.
    """
    seen = {(session, message.rev): message for session, message in _sightings(record)}
    crashed = any(record.asked(do.Crash))
    for told in record.visits().values():
        left_out = list(_left_out(record, told))
        if left_out and not crashed:
            raise Violation(f"{_who(told)} did not hear {left_out}", record)
        for session, seq in left_out:
            message = seen.get((session, seq))
            if message is not None and not _hears_later(told, session, message):
                raise Violation(f"{_who(told)} never learns of {message}", record)


def check_told(record: Record) -> None:  # noqa: C901 - one case a kind of entry
    """W5: when a change is acknowledged, everybody who is in the room has been told of it."""
    here: dict[int, tuple[tuple[str, str], tuple[str, int]]] = {}
    gone: dict[tuple[str, str], int] = {}
    for entry in record.entries:
        match entry:
            case Asked(command=do.Leave() | do.Break() | do.Resume() as command):
                gone[command.who, command.room] = entry.step
                here = {visit: known for visit, known in here.items() if gone.get(known[0], 0) <= visit}
            case Answered(command=do.Join() | do.Resume() as command, answer=Joined() as answer):
                if gone.get((command.who, command.room), 0) <= entry.step:
                    here[entry.step] = (command.who, command.room), _position(answer)
            case Heard(hearing=Changed(epoch=epoch, event=event)) if entry.visit in here:
                here[entry.visit] = here[entry.visit][0], (epoch, event.seq)
            case PutOut():
                here.pop(entry.visit, None)
            case Ended():
                here.clear()
            case Answered(command=command, answer=Accepted(duplicate=False) as ack):
                for (who, room), known in here.values():
                    if room == command.room and known < (ack.epoch, ack.seq):
                        raise Violation(f"{who} was not told of {ack} before its ack", record)
            case _:
                pass


def _position(joined: Joined) -> tuple[str, int]:
    """Return where a visit begins. A session without an event is none: perhaps an older one is found later."""
    return (joined.epoch, joined.seq) if joined.seq else ("", 0)


def _who(told: list[Answered | Heard]) -> str:
    return told[0].who if isinstance(told[0], Heard) else str(told[0].command)


def _left_out(record: Record, told: list[Answered | Heard]) -> Iterator[tuple[Session, int]]:
    first = told[0]
    if isinstance(first, Heard) or not isinstance(first.answer, Joined):
        raise Violation(f"{_who(told)} hears something before it is in", record)
    room, (epoch, seq) = first.command.room, _position(first.answer)
    for entry in told[1:]:
        if isinstance(entry, Heard) and isinstance(changed := entry.hearing, Changed):
            if (changed.epoch, changed.event.seq) <= (epoch, seq):
                raise Violation(f"{entry.who} hears {changed} after {epoch}:{seq}", record)
            seq = seq if changed.epoch == epoch else 0
            epoch = changed.epoch
            yield from ((Session(room, epoch), missing) for missing in range(seq + 1, changed.event.seq))
            seq = changed.event.seq


def _hears_later(told: list[Answered | Heard], session: Session, message: Message) -> bool:
    return any(
        isinstance(entry, Heard)
        and isinstance(changed := entry.hearing, Changed)
        and (changed.epoch, changed.event.message.id) == (session.epoch, message.id)
        and changed.event.seq > message.rev
        for entry in told
    )


def check_agreement(record: Record) -> None:
    """W5: everybody who sees an event of a session sees the same one, and it is the one that was asked for."""
    seen: dict[tuple[Session, int], Message] = {}
    known = models(record)
    for session, message in _sightings(record):
        first = seen.setdefault((session, message.rev), message)
        model = known.get(session)
        line = None if model is None else model.lines.get(message.rev)
        if message != first:
            raise Violation(
                f"{session} event {message.rev} is {first} to some and {message} to others", record
            )
        if line is not None and line != line_of(message):
            raise Violation(f"{session} event {message.rev} is {message}, expected {line}", record)


def _sightings(record: Record) -> Iterator[tuple[Session, Message]]:
    for heard, changed in record.heard(Changed):
        yield Session(heard.room, changed.epoch), changed.event.message
    for entry, answer in record.windows():
        shown = list(answer.messages)
        if isinstance(answer, Joined):
            shown += [event.message for event in answer.changes]
        for message in shown:
            yield Session(entry.command.room, answer.epoch), message
    for session in record.archive.sessions:
        for event in record.archive.rows(session).values():
            yield session, event.message


def check_keys(record: Record) -> None:
    """W6: the same id posted again in a session is the same event with the same ack."""
    given: dict[tuple[Session, str], Accepted] = {}
    for entry, ack in record.answered(Accepted):
        if not isinstance(entry.command, do.Post) or entry.command.key is None:
            continue
        session = Session(entry.command.room, ack.epoch)
        first = given.setdefault((session, entry.command.key), ack)
        if (ack.id, ack.seq) != (entry.command.key, first.seq):
            raise Violation(f"{entry.command} got {ack}, expected {first}", record)
        if ack is not first and not ack.duplicate:
            raise Violation(f"{entry.command} was carried out twice", record)
