"""A stage performs scripts on real rooms, and writes down what came of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from trio_chat import (
    Accepted,
    Changed,
    Closed,
    Expired,
    Lobby,
    MemoryArchive,
    MemoryHotStore,
    Presence,
    Settings,
)
from trio_chat.errors import Unavailable
from trio_chat.mail import Done, Joined, ReadMark, Typing, View
from trio_chat.testing import (
    SMALL,
    AnyCommand,
    Break,
    Crash,
    Delete,
    Down,
    Edit,
    Ended,
    Freeze,
    Join,
    Kill,
    Leave,
    Look,
    LoseData,
    Mend,
    Mended,
    Post,
    Read,
    Record,
    Restart,
    Resume,
    Sleep,
    Together,
    Trouble,
    Type,
    Up,
    Vanished,
    open_stage,
    play,
)


def answers(record: Record) -> list[Any]:
    """Return every answer."""
    return [answer for _, answer in record.answered(object)]


def last(record: Record) -> Any:
    """Return the last answer."""
    return answers(record)[-1]


def heard(record: Record, kind: type[Any]) -> list[tuple[str, float]]:
    """Return who heard something of a kind, and when."""
    return [(entry.who, entry.at) for entry, _ in record.heard(kind)]


def test_messages_are_posted_edited_and_deleted() -> None:
    """`nth` counts back the messages that were acknowledged."""
    record = play([Post("ann", "a"), Post("ann", "b"), Edit("ann", "c", nth=1), Delete("ann"), Look()])

    assert [message.content for message in last(record).messages] == ["c"]


def test_message_that_is_not_there_is_not_found() -> None:
    """The room says so."""
    assert last(play([Edit("ann", "x", nth=3)])).code == "not_found"


def test_everybody_hears_what_happens() -> None:
    """Of two clients of one user each hears it."""
    record = play([Join("ann"), Join("ann@phone"), Post("bob", "x"), Type("bob"), Read("bob")])

    assert heard(record, Changed) == [("ann", 0), ("ann@phone", 0)]
    assert len(heard(record, Typing)) == 2
    assert len(heard(record, ReadMark)) == 2
    assert heard(record, Presence) == []


def test_leaving_ends_a_visit() -> None:
    """So does a connection that breaks; to leave a room one is not in does nothing."""
    record = play([Join("ann"), Join("bob"), Leave("ann"), Break("bob"), Leave("eve"), Post("eve", "x")])

    assert heard(record, Changed) == []
    assert [type(answer) for answer in answers(record)] == [Joined, Joined, Done, Done, Accepted]


def test_joining_again_does_nothing() -> None:
    """A client is in a room once."""
    assert len(answers(play([Join("ann"), Join("ann")]))) == 1


def test_resuming_goes_on_from_what_was_heard() -> None:
    """Or from so many events before that."""
    record = play(
        [
            Join("ann"),
            Post("bob", "x"),
            Post("bob", "y"),
            Break("ann"),
            Post("bob", "z"),
            Resume("ann", back=1),
        ]
    )
    entry, joined = list(record.answered(Joined))[-1]

    assert entry.resume is not None
    assert entry.resume.seq == 1
    assert [event.seq for event in joined.changes] == [2, 3]


def test_resuming_a_visit_ends_it() -> None:
    """What follows is heard once."""
    record = play([Join("ann"), Resume("ann"), Post("bob", "x")])

    assert [entry.visit for entry, _ in record.heard(Changed)] == [2]


def test_requests_together_are_one_turn() -> None:
    """The hot store sees one write."""
    hot = MemoryHotStore(durability="redis")
    calls: list[str] = []

    async def main() -> None:
        async with open_stage(hot=hot) as stage:
            await stage.perform(Together((Post("ann", "a"), Post("bob", "b"), Look())))
            calls.extend(stage.faults["hot"].calls.elements())

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    assert calls.count("append") == 1


def test_time_passes_in_sleep() -> None:
    """And is virtual: nobody waits."""
    record = play([Join("ann"), Post("ann", "x"), Sleep(61)])

    assert heard(record, Expired) == [("ann", 60.0)]


def test_process_that_stops_archives_what_it_has() -> None:
    """The next one finds its sessions."""
    record = play([Post("ann", "x"), Restart(), Look()])
    [ended, _] = [entry for entry in record.entries if isinstance(entry, Ended)]

    assert not ended.killed
    assert len(record.archive.sessions) == 1
    assert len(last(record).messages) == 1


def test_process_without_patience_is_cancelled() -> None:
    """It may not wait for the archive then."""
    record = play([Post("ann", "x"), Freeze("archive"), Restart(patience=1.0)])
    ended = next(entry for entry in record.entries if isinstance(entry, Ended))

    assert 1.0 <= ended.took <= 6.0


def test_killed_process_does_no_more() -> None:
    """Its clients are gone, the stores keep what they have."""
    archive = MemoryArchive()
    record = play([Join("ann"), Post("ann", "x"), Kill(), Post("bob", "y")], archive=archive)
    ended = next(entry for entry in record.entries if isinstance(entry, Ended))

    assert ended.killed
    assert (ended.took, ended.tasks) == (0, 0)
    assert len(heard(record, Changed)) == 1
    assert last(record).seq == 2


@pytest.mark.parametrize("where", ["deciding", "writing", "written", "telling changes", "telling others"])
def test_actor_crashes_where_it_is_told(where: Any) -> None:
    """And is back in a moment."""

    async def main() -> int:
        async with open_stage() as stage:
            await stage.perform(Join("ann"), Crash(where), Post("ann", "x"), Type("bob"), Sleep(5), Look())
            return stage.lobby.statistics().crashes

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == 1


@pytest.mark.parametrize(
    ("trouble", "durability"),
    [
        (Down("hot"), "memory"),
        (Freeze("hot"), "memory"),
        (Trouble("hot", ("refuse",)), "memory"),
        (Trouble("hot", ("late",)), "redis"),
        (Down("archive"), "redis"),
    ],
)
def test_stores_fail(trouble: AnyCommand, durability: str) -> None:
    """As the ack tells."""
    [ack] = [
        answer
        for answer in answers(play([Look(), trouble, Post("ann", "x"), Sleep(5)]))
        if isinstance(answer, Accepted)
    ]

    assert ack.durability == durability


def test_store_that_is_up_is_well() -> None:
    """Whatever was the matter with it."""
    record = play([Down("hot"), Freeze("hot"), Up("hot"), Post("ann", "x")])

    assert last(record).durability == "redis"


def test_hot_store_loses_data() -> None:
    """A live room gives it back; what nobody alive remembers is gone."""
    record = play([Post("ann", "x"), LoseData(), Look(), Kill(), LoseData(tail=1), Look()])
    views = [answer for answer in answers(record) if isinstance(answer, View)]

    assert [len(view.messages) for view in views] == [1, 0]


def test_losing_what_is_not_there_does_nothing() -> None:
    """There is no session to lose something of."""
    assert answers(play([LoseData(tail=2, room="elsewhere")])) == []


def test_mending_gives_everybody_time() -> None:
    """Then nothing is left to do."""
    record = play([Down("hot"), Down("archive"), Post("ann", "x"), Mend()])
    mended = next(entry for entry in record.entries if isinstance(entry, Mended))

    assert (mended.dirty, mended.unsaved) == ([], {})
    assert len(record.archive.sessions) == 1


def test_sessions_that_the_hot_store_lets_go_of_are_noted() -> None:
    """With what the archive has of them; those that were lost are not."""
    record = play([Post("ann", "x"), Sleep(61), Post("ann", "y"), LoseData()])
    [vanished, *_] = [entry for entry in record.entries if isinstance(entry, Vanished)]

    assert (vanished.at, vanished.top, vanished.archived) == (60.0, 1, 1)


def test_commands_may_name_a_room() -> None:
    """Each is another one."""
    record = play([Post("ann", "x", room="a"), Look(room="b"), Look(room="a")])
    views = [answer for answer in answers(record) if isinstance(answer, View)]

    assert [len(view.messages) for view in views] == [0, 1]


def test_room_that_refuses_mail_answers_with_the_error() -> None:
    """As it does when the id is malformed."""
    assert last(play([Post("ann", "x", room="no such id!")])).code == "bad_request"


def test_settings_are_those_of_the_rooms() -> None:
    """Small ones by default."""
    record = play([Post("ann", str(number)) for number in range(9)] + [Look()])
    large = play([Post("ann", str(number)) for number in range(9)] + [Look()], settings=Settings())

    assert len(last(record).messages) == SMALL.max_messages_per_session == 5
    assert len(last(large).messages) == 9


def test_bot_runs_beside_in_every_process() -> None:
    """It is gone before the process stops."""
    lobbies: list[Lobby] = []
    stopped: list[bool] = []

    async def bot(lobby: Lobby) -> None:
        lobbies.append(lobby)
        try:
            async with lobby.join("den", user="bot"):
                await trio.sleep_forever()
        finally:
            stopped.append(True)

    record = play([Restart(), Join("ann")], beside=bot)

    assert len(set(lobbies)) == len(stopped) == 2
    assert [who.user for who in last(record).presence] == ["bot", "ann"]


def test_bot_that_fails_fails_the_script() -> None:
    """Its error is not lost."""

    async def bot(_lobby: Lobby) -> None:
        raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        play([Sleep(1)], beside=bot)


async def test_stage_goes_with_the_clock_of_its_run(autojump_clock: trio.testing.MockClock) -> None:
    """For tests that are async already."""
    async with open_stage() as stage:
        before = stage.now()
        await stage.perform(Join("ann"), Sleep(30))

        assert (stage.now() - before).total_seconds() == 30
        assert stage.lobby.statistics().members == 1
        assert "present=1" in repr(stage)


def test_story_tells_everything_in_order() -> None:
    """With times; answers and hearings stand below what was asked."""
    script = [Join("ann"), Sleep(1), Post("bob", "x", key="k"), Crash("written"), Post("bob", "y")]
    lines = play(script).story().splitlines()

    assert lines[0] == "    0.00 #1 Join(who='ann')"
    assert "    1.00 #3 Post(who='bob', content='x', key='k')" in lines
    assert any("ann in den hears post 'k' at " in line for line in lines)
    assert any("#3 -> Accepted 'k' " in line for line in lines)
    assert "Unavailable(" in "".join(lines)


def test_unknown_changes_are_those_without_a_plain_answer() -> None:
    """A refusal is plain; a request that a crash or a kill took along is not."""
    lost, found = Post("ann", "lost"), Post("ann", "found")
    record = play([Edit("ann", "x"), Freeze("hot"), lost, Kill(), Up("hot"), Crash("written"), found])

    assert [entry.command for entry in record.unknown()] == [lost, found]


def test_closed_room_puts_its_clients_out() -> None:
    """They can come again."""
    crashes: list[AnyCommand] = [part for _ in range(5) for part in (Crash("deciding"), Sleep(2))]
    record = play([Join("ann"), *crashes, Join("ann"), Post("ann", "x")])

    assert heard(record, Closed) == [("ann", 8.0)]
    assert len(heard(record, Changed)) == 1
    assert not any(isinstance(answer, Unavailable) for answer in answers(record))
