"""S1, S2, S3 and E3: what was acknowledged reaches the archive once, whatever happens on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from trio_chat import testing as do
from trio_chat.mail import Accepted, Done, Joined, ReadMark, View
from trio_chat.message import Deleted
from trio_chat.stores.memory import MemoryArchive
from trio_chat.testing import (
    CLIENTS,
    Answered,
    Record,
    Script,
    changes,
    check_archived,
    check_dirty_kept,
    crashes,
    kills,
    losses,
    pauses,
    play,
    restarts,
    scripts,
    small_talk,
    together,
    troubles,
    visits,
)
from trio_chat.testing.stepper import START

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.stores.base import Batch, Session

TALK = (changes(), together(changes()), visits())
PAUSES = pauses(0.5, 20.0, 60.0)
BOTH: tuple[do.StoreName, ...] = ("hot", "archive")


def check(record: Record) -> None:
    check_archived(record)
    check_dirty_kept(record)


@given(scripts(*TALK, PAUSES, troubles(), outages=BOTH))
def test_s1_e3_over_outages(script: Script) -> None:
    """S1, E3: stores that fail in any order lose nothing."""
    check(play([*script, do.Mend()]))


@given(scripts(*TALK, PAUSES, crashes(), crashes(), troubles(), outages=BOTH))
def test_s1_e3_over_crashes(script: Script) -> None:
    """S1, E3: nor do actors that crash meanwhile."""
    check(play([*script, do.Mend()]))


# What an edit supersedes that nobody was told of is archived from the hot store, not left out.
@example(
    [
        do.Post("ann", "a1"),
        do.Post("ann", "a2"),
        do.Trouble("hot", ("well", "refuse", "late")),
        do.Post("ann", "a3"),
        do.Together((do.Post("ann", "a4"), do.Edit("ann", "a5"))),
        do.Restart(0.0),
    ]
)
@given(scripts(*TALK, PAUSES, restarts(), troubles(), outages=BOTH))
def test_s1_e3_over_restarts(script: Script) -> None:
    """S1, E3: a process that stops, also one that is cancelled, loses nothing but what it says."""
    check(play([*script, do.Mend()]))


@given(scripts(*TALK, PAUSES, kills(), troubles(), outages=BOTH))
def test_s1_e3_over_kills(script: Script) -> None:
    """S1, E3: a process that is killed loses nothing that was acknowledged as `redis`."""
    check(play([*script, do.Mend()]))


@given(scripts(*TALK, PAUSES, losses(), outages=("hot",)))
def test_s1_over_losses(script: Script) -> None:
    """S1: a hot store that lost its data gets it back from the live rooms."""
    check_archived(play([*script, do.Mend()]))


@given(
    scripts(*TALK, small_talk(), small_talk(), PAUSES, crashes(), kills(), restarts(), outages=("archive",))
)
def test_s1_read_marks(script: Script) -> None:
    """S1: nor is a read mark lost that somebody was told of, while the hot store keeps what it has."""
    record = play([*script, do.Mend()])

    check(record)
    for entry, told_mark in record.heard(ReadMark):
        archived = record.archive.marks(entry.room).get(told_mark.user)
        assert archived is not None, f"{told_mark} is lost\n{record.story()}"
        assert archived.timestamp >= told_mark.receipt.timestamp, f"{told_mark} is lost\n{record.story()}"


@pytest.mark.parametrize("end", [do.Kill(), do.Restart()])
def test_s1_number_used_twice(end: do.AnyCommand) -> None:
    """S1: what a degraded room archived from memory keeps its numbers, also when the process ends then."""
    script = [do.Post("ann", "a"), do.Down("hot"), do.Post("ann", "b"), do.Sleep(30), end]

    check_archived(play([*script, do.Up("hot"), do.Post("ann", "c"), do.Mend()]))


# --- S2


@given(scripts(*TALK, changes(), small_talk(), pauses(0.3, 1.1, 97.0), kills(), restarts(), scenes=6))
def test_s2_activation(script: Script) -> None:
    """S2: what clients are told is the same whether the process ended or only their connections did."""
    alone = [part for command in script for part in _connections_lost(command)]

    assert told(play(script)) == told(play(alone))


def _connections_lost(command: do.AnyCommand) -> Sequence[do.AnyCommand]:
    if isinstance(command, do.Restart | do.Kill):
        return [*(do.Break(who) for who in CLIENTS), do.Sleep(START)]
    return [command]


def told(record: Record) -> list[object]:
    """Return every answer to a request, without what differs from run to run."""
    epochs: dict[str, int] = {}
    return [
        _plain(repr(_said(entry)), epochs, answer)
        for entry, answer in record.answered(object)
        if not isinstance(entry.command, do.Break)
    ]


def _said(entry: Answered) -> object:
    match answer := entry.answer:
        case Accepted():
            return answer.id, answer.epoch, answer.seq, answer.duplicate
        case Joined():
            people = sorted(one.user for one in answer.presence)
            # Who resumes where nothing was is shown everything, one way or the other.
            if entry.resume is not None and entry.resume.seq == 0:
                changed = [event.message for event in answer.changes if not isinstance(event, Deleted)]
                shown = sorted([*answer.messages, *changed], key=lambda message: message.seq)
                return answer.seq, shown, people, answer.receipts
            return (
                answer.epoch,
                answer.seq,
                answer.recovered,
                answer.changes,
                answer.messages,
                people,
                answer.receipts,
            )
        case View():
            return answer.epoch, answer.seq, answer.messages
        case Done():
            return "done"
        case _:
            return repr(answer)


def _plain(text: str, epochs: dict[str, int], answer: object) -> str:
    # A session without an event is kept nowhere, and its epoch is nobody's business.
    if isinstance(answer, Accepted | Joined | View) and answer.seq > 0:
        epochs.setdefault(answer.epoch, len(epochs))
    for epoch, number in epochs.items():
        text = text.replace(epoch, f"epoch {number}").replace(epoch[-12:], f"E{number}")
    if isinstance(answer, Joined | View) and answer.seq == 0:
        text = text.replace(answer.epoch, "a fresh epoch")
    return text


# --- S3


class Repeating(MemoryArchive):
    """An archive whose writer repeats itself: each batch again, then one of those before."""

    def __init__(self, choices: Sequence[int]) -> None:
        super().__init__()
        self.written: list[Batch] = []
        self._choices = [*choices]

    async def write(self, batches: Sequence[Batch]) -> int:
        changed = await super().write(batches)
        self.written += batches
        await self.repeat(batches)
        if self._choices and self.written:
            await self.repeat([self.written[self._choices.pop() % len(self.written)]])
        return changed

    async def repeat(self, batches: Sequence[Batch]) -> None:
        before = self.everything()
        assert await super().write(batches) == 0, "a repeated batch changed something"
        assert self.everything() == before

    def everything(self) -> dict[Session, tuple[object, object]]:
        return {session: (dict(self.rows(session)), self.marks(session.room)) for session in self.sessions}


@given(
    scripts(*TALK, small_talk(), PAUSES, kills(), troubles("hot"), outages=BOTH),
    st.lists(st.integers(0, 100)),
)
def test_s3_replays(script: Script, choices: list[int]) -> None:
    """S3: whatever batch is written again, and when, changes nothing; nor does it harm S1."""
    archive = Repeating(choices)

    check(play([*script, do.Mend()], archive=archive))
    trio.run(archive.repeat, archive.written)
