"""What somebody missed who comes back. A property takes up to a second, for a hundred stories of a room."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trio_chat.clients.offsets import place_of
from trio_chat.clients.socketio import SOCKET_IO
from trio_chat.history import History
from trio_chat.message import Deleted, Position, Posted

from .house import DELETED, EPOCH, LATER, MESSAGE, NOON, events, joined_at, offset, places_of


class Screen:
    """What a client shows, given events, and where that leaves it. It keeps more than the window."""

    def __init__(self, history: History) -> None:
        self.shown = {message.id: (message.content, message.metadata) for message in history.snapshot()}
        self.place = Position(history.epoch, history.top)
        self._told = set(self.shown)

    def take(self, event: list[Any]) -> None:
        """Apply an event as front ends do."""
        name, said = event[0], event[1]
        match name:
            case "message:new":
                assert said["id"] not in self._told, "told twice"
                self._told.add(said["id"])
                self.shown[said["id"]] = (said["content"], said["metadata"])
            case "message:update":
                assert said["id"] in self.shown, "an update of what the client has not"
                self.shown[said["id"]] = (said["content"], said["metadata"])
            case "message:delete":
                self.shown.pop(said, None)
            case _:
                assert name in {"receipt:list", "presence:list"}
        places = places_of(event[-1])
        assert list(places) == ["r"]
        self.place = places["r"]


class Script:
    """A room's history, and what may happen to it by number."""

    def __init__(self, limit: int) -> None:
        self.history = History(EPOCH, limit)
        self.posted: dict[str, int] = {}

    def run(self, steps: list[tuple[str, int]]) -> None:
        """Post, edit and delete; which message, the number says."""
        for what, number in steps:
            window = self.history.snapshot()
            if what == "post" or not window:
                change = self.history.post(
                    key=None, user="ada", role="user", content=f"{number}", metadata={}, now=NOON
                )
                self.posted[change.id] = change.seq
            elif what == "edit":
                self.history.edit(
                    window[number % len(window)].id,
                    user="ada",
                    moderator=False,
                    content=f"edited {self.history.top}",
                    metadata=None,
                    now=NOON,
                )
            else:
                self.history.delete(window[number % len(window)].id, user="ada", moderator=False, now=NOON)

    def missed(self, place: Position) -> list[list[Any]] | None:
        """Return what a client at this place is told that comes back; None if that cannot be told."""
        changes = self.history.since(place.seq)
        if changes is None:
            return None
        answer = joined_at(
            seq=self.history.top,
            recovered=True,
            first=changes.first,
            changes=changes.events,
            messages=(),
        )
        return events(SOCKET_IO.voice("r").joined(answer, b"", place.seq))

    def check(self, screen: Screen) -> None:
        """Compare what a client shows with the window; it may show what was pushed out, but nothing deleted."""
        window = self.history.snapshot()
        first = window[0].seq if window else self.history.top + 1
        shown = {name: text for name, text in screen.shown.items() if self.posted[name] >= first}
        assert list(shown.items()) == [(one.id, (one.content, one.metadata)) for one in window]
        assert screen.place == Position(EPOCH, self.history.top)


steps = st.lists(
    st.tuples(st.sampled_from(["post", "post", "edit", "delete"]), st.integers(0, 20)), max_size=15
)


@given(
    limit=st.sampled_from([2, 5, 100]),
    before=steps,
    missed=steps,
    cut=st.integers(0, 20),
    meanwhile=steps,
)
def test_a_replay_may_be_cut_anywhere(
    limit: int, before: list[Any], missed: list[Any], cut: int, meanwhile: list[Any]
) -> None:
    """Whoever got a part of it and comes back gets the rest: nothing is missed, and no message is new twice."""
    script = Script(limit)
    script.run(before)
    screen = Screen(script.history)
    script.run(missed)
    replay = script.missed(screen.place)
    if replay is None:
        return  # too much has happened: the client gets the history

    for event in replay[:cut]:
        screen.take(event)
    script.run(meanwhile)
    rest = script.missed(screen.place)
    if rest is None:
        return
    for event in rest:
        screen.take(event)

    script.check(screen)


def test_what_was_posted_and_edited_meanwhile_comes_as_it_reads() -> None:
    """It is new at its own place and updated at the update's, so that whoever heard a part knows where it is."""
    script = Script(10)
    script.run([("post", 1)])
    screen = Screen(script.history)
    script.run([("post", 2), ("post", 3), ("edit", 1), ("edit", 0), ("delete", 2)])

    replay = script.missed(screen.place)

    assert replay is not None
    assert [(event[0], event[-1]) for event in replay] == [
        ("message:new", offset(2)),
        ("message:update", offset(4)),
        ("message:update", offset(5)),
        ("message:delete", offset(6)),
        ("receipt:list", offset(6)),
        ("presence:list", offset(6)),
    ]
    assert replay[0][1]["content"] == "edited 3"


def test_who_missed_nothing_gets_the_lists() -> None:
    """And learns by them where it is."""
    script = Script(10)
    script.run([("post", 1)])

    replay = script.missed(Position(EPOCH, 1))

    assert replay is not None
    assert [event[0] for event in replay] == ["receipt:list", "presence:list"]


def test_what_was_missed_names_the_places_in_other_rooms() -> None:
    """They are where the client says it is: what it missed there comes with them in turn."""
    answer = joined_at(seq=9, recovered=True, changes=(Posted(MESSAGE), Deleted(DELETED, NOON)), messages=())

    heard = events(SOCKET_IO.voice("r").joined(answer, place_of("a", LATER, 1), 5))

    assert [event[-1] for event in heard] == [
        f"{offset(1, LATER, 'a')},{offset(seq)}" for seq in (7, 9, 9, 9)
    ]
