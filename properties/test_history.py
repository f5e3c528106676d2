"""W1 - W4 and W6 on the pure history: whatever is posted, edited and deleted, it shows what the model shows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat import testing as do
from trio_chat.errors import BadRequest, ReplyCode
from trio_chat.history import Change, History
from trio_chat.message import Event
from trio_chat.testing import Line, Model, caught_up, changes, contents, metadata, scripts, window_of
from trio_chat.testing.script import user_of

EPOCH = "019b76da-0000-7000-8000-000000000000"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Twins:
    """A history and its model, told the same. `Restart` puts the history into a store and takes it out again."""

    def __init__(self, limit: int) -> None:
        self.history = History(EPOCH, limit)
        self.model = Model(limit)
        self.posted: list[str] = []
        self.keys: dict[str, Line] = {}
        self.entries: dict[int, Event] = {}
        self.written = 0

    def perform(self, script: do.Script) -> None:
        for command in script:
            match command:
                case do.Post():
                    self.post(command)
                case do.Edit():
                    self.edit(command)
                case do.Delete():
                    self.delete(command)
                case do.Mend():
                    self.history.mark_synced(self.written)
                case do.Restart():
                    self.restart()
                case _:
                    raise TypeError(command)
            assert self.history.top == self.model.top
            assert window_of(self.history.snapshot()) == self.model.window

    def post(self, command: do.Post) -> None:
        user, key = user_of(command.who), command.key
        known = self.keys.get(key or "")

        def ask() -> Change:
            return self.history.post(
                key=key,
                user=user,
                role=command.role,
                content=command.content,
                metadata=command.metadata,
                now=NOW,
            )

        if known is not None and known.user != user:
            self.refused(ReplyCode.CONFLICT, ask)
        elif known is not None:
            assert ask() == Change(known.id, known.seq, None)
        else:
            change = ask()
            line = self.model.post(change.id, user, command.role, command.content, command.metadata)
            self.posted.append(change.id)
            assert change.seq == line.seq
            if key is not None:
                self.keys[key] = line

    def edit(self, command: do.Edit) -> None:
        user, target = user_of(command.who), self.nth(command.nth)

        def ask() -> Change:
            return self.history.edit(
                target,
                user=user,
                moderator=command.moderator,
                content=command.content,
                metadata=command.metadata,
                now=NOW,
            )

        line = self.model.find(target)
        if line is None:
            self.refused(ReplyCode.NOT_FOUND, ask)
        elif line.user != user and not command.moderator:
            self.refused(ReplyCode.FORBIDDEN, ask)
        else:
            kept = line.metadata if command.metadata is None else command.metadata
            if (line.content, line.metadata) == (command.content, kept):
                assert ask() == Change(target, line.rev, None)
            else:
                assert ask().seq == self.model.edit(target, command.content, command.metadata).rev

    def delete(self, command: do.Delete) -> None:
        user, target = user_of(command.who), self.nth(command.nth)

        def ask() -> Change:
            return self.history.delete(target, user=user, moderator=command.moderator, now=NOW)

        line = self.model.find(target)
        if line is None and target in self.model.deleted:
            assert ask() == Change(target, self.model.deleted[target], None)
        elif line is None:
            self.refused(ReplyCode.NOT_FOUND, ask)
        elif line.user != user and not command.moderator:
            self.refused(ReplyCode.FORBIDDEN, ask)
        else:
            assert ask().seq == self.model.delete(target).rev

    def refused(self, code: ReplyCode, ask: object) -> None:
        assert callable(ask)
        with pytest.raises(BadRequest) as caught:
            ask()
        assert caught.value.code is code

    def nth(self, nth: int) -> str:
        return self.posted[-1 - nth] if nth < len(self.posted) else "no such message"

    def restart(self) -> None:
        """Do what a hot store does with an append, then what a room does with what is stored."""
        history = self.history
        for event in history.entries(self.written):
            self.entries[event.seq] = event
        for seq in history.take_superseded():
            self.entries.pop(seq, None)
        keep = min(history.first, history.synced + 1)
        self.entries = {seq: event for seq, event in self.entries.items() if seq >= keep}
        self.written = history.top
        self.history = History.restore(
            EPOCH,
            history.limit,
            top=history.top,
            synced=history.synced,
            floor=history.floor,
            first=history.first,
            events=self.entries.values(),
            keys=history.keys(),
        )


def performed(limit: int, script: do.Script) -> Twins:
    twins = Twins(limit)
    twins.perform(script)
    return twins


def limits() -> st.SearchStrategy[int]:
    return st.integers(1, 6)


def histories() -> st.SearchStrategy[do.Script]:
    """Scripts of what a history is told, now and then archived, and put into a store and taken out again."""
    talk = changes(clients=("ann", "bob"))
    rest = st.sampled_from([do.Restart(), do.Mend()])
    return scripts(talk, talk, talk, rest, scenes=6)


@given(limits(), histories())
def test_w1_window(limit: int, script: do.Script) -> None:
    """W1: the window is exactly the newest messages, in order, at every step."""
    performed(limit, script)


@given(limits(), histories())
def test_w2_numbers(limit: int, script: do.Script) -> None:
    """W2: the seqs are 1 to top, each the number of one event, and the log tells them in that order."""
    history = performed(limit, script).history
    seqs = [event.seq for event in history.entries(0)]

    assert seqs == sorted(set(seqs))
    assert not seqs or seqs[-1] == history.top


@given(limits(), histories())
def test_w3_since(limit: int, script: do.Script) -> None:
    """W3: what a client had at n, plus what has changed since, is the window now, for any n from the floor on."""
    twins = performed(limit, script)
    for seq in range(twins.history.floor, twins.history.top + 1):
        found = twins.history.since(seq)
        assert found is not None

        assert caught_up(twins.model.windows[seq], found.events, found.first) == twins.model.window


@given(limits(), histories())
def test_w4_floor(limit: int, script: do.Script) -> None:
    """W4: below the floor there is no answer, nor above the top; and the floor is no higher than it must be."""
    twins = performed(limit, script)

    assert twins.history.floor == twins.model.floor
    assert all(twins.history.since(seq) is None for seq in range(twins.history.floor))
    assert twins.history.since(twins.history.top + 1) is None


@given(limits(), histories())
def test_w6_keys(limit: int, script: do.Script) -> None:
    """W6: an id that was used gets the same ack again, also after its message has left the window."""
    twins = performed(limit, script)
    for key, line in twins.keys.items():
        again = do.Post(line.user, "something else", key=key)

        twins.perform([again])


@given(st.lists(st.tuples(contents(), metadata()), max_size=8))
def test_hostile(posts: list[tuple[str, dict[str, object]]]) -> None:
    """What was posted reads as it was posted, whatever it is, through a store too."""
    performed(4, [*(do.Post("ann", text, metadata=data) for text, data in posts), do.Restart()])
