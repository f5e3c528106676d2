"""Simulations as a tool: the same plan is the same run, plans become smaller, and what they stand on works."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from trio_chat.history import History
from trio_chat.message import Message, Posted
from trio_chat.stores.base import Append, Session
from trio_chat.testing import simulate
from trio_chat.testing.simulation import Plan, plan_of, run_plan, shrink
from trio_chat.testing.simulation import plan as do
from trio_chat.testing.simulation.many import Failed, failures
from trio_chat.testing.simulation.network import Connection, Network
from trio_chat.testing.simulation.store import RestartingHotStore
from trio_chat.testing.verdict import log as it

QUIET = Plan(
    seed=1, expiry=10, limit=10, guests=(do.Guest("ann", ("den",)), do.Guest("bob", ("den",))), items=()
)


def with_items(*items: do.Item) -> Plan:
    return msgspec.structs.replace(QUIET, items=items)


@pytest.mark.parametrize("seed", range(4))
def test_same_plan_is_the_same_run(seed: int) -> None:
    """Two runs of a seed have the same log, entry by entry, and the same stores."""
    one, other = run_plan(plan_of(seed)), run_plan(plan_of(seed))

    assert one.log == other.log
    assert one.contents == other.contents


def test_different_seeds_are_different_runs() -> None:
    """A seed decides what happens."""
    assert plan_of(1) != plan_of(2)
    assert run_plan(plan_of(1)).log != run_plan(plan_of(2)).log


def test_seed_decides_the_order_of_tasks() -> None:
    """The same items under another seed happen in another order, where nothing else decides it."""
    items = [do.Send(1.0, client, "den", 3) for client in (0, 1, 0, 1)]
    logs = {run_plan(msgspec.structs.replace(with_items(*items), seed=seed)).log for seed in range(4)}

    assert len(logs) > 1


def test_plan_survives_being_written_down() -> None:
    """A plan that was kept is the plan."""
    plan = plan_of(3)

    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


def test_clients_talk_and_come_back() -> None:
    """A client that is cut resumes, and hears what it missed; all of it is archived."""
    outcome = run_plan(
        with_items(
            do.Send(1.0, 0, "den", 2), do.Cut(2.0, 1, 1.0), do.Send(2.5, 0, "den"), do.Edit(5.0, 1, "den")
        )
    )
    back = [entry for entry in outcome.log if isinstance(entry, it.Join) and entry.recovered]
    [rows] = outcome.contents.archive.values()

    assert outcome.findings == ()
    assert [(entry.client, entry.seq) for entry in back] == [("c1", 3)]
    assert [row.message.rev for row in rows] == [1, 2, 4]


def test_unknown_is_asked_again() -> None:
    """What a connection's end left open is sent again with the same id, and is there once."""
    outcome = run_plan(with_items(do.Slow(0.5, "hot", 2.0, 0.3), do.Send(1.0, 0, "den"), do.Cut(1.1, 0, 0.5)))
    sends = [entry for entry in outcome.log if isinstance(entry, it.Invoke) and entry.act == "send"]
    acks = [entry for entry in outcome.log if isinstance(entry, it.Ok)]

    assert outcome.findings == ()
    assert [entry.id for entry in sends] == ["ann.c0.1", "ann.c0.1"]
    assert [(entry.seq, entry.duplicate) for entry in acks] == [(1, True)]


@pytest.mark.parametrize(
    "trouble",
    [
        do.Kill(1.2, 0.5),
        do.Stop(1.2, 0.5),
        do.Flush(1.2),
        do.Relapse(1.2, 0.5, age=0.3),
        do.Away(1.2, "hot", 2.0, frozen=True),
        do.Away(1.2, "archive", 5.0),
        do.Trouble(0.9, "hot", ("lose answer", "late", "refuse")),
        do.Fail(1.2, room="den"),
        do.Fail(0.9, call=("hot", "append", "after")),
        do.Fail(0.9, call=("archive", "write", "before")),
        do.Stall(1.05, 1, 2.0),
        do.Jump(1.2, "loop", 1.5),
        do.Jump(1.2, "wall", -3600.0),
        do.Jump(1.2, "store", 7200.0),
        do.Leave(1.2, 1, "den", 1.0, fresh=True),
    ],
    ids=repr,
)
def test_single_trouble_is_bearable(trouble: do.Item) -> None:
    """Each kind of trouble alone, in the middle of talk, does no harm."""
    talk = [do.Send(1.0 + step / 10, step % 2, "den", 2) for step in range(20)]
    items = sorted([*talk, trouble], key=lambda item: item.at)
    outcome = run_plan(with_items(*items))

    assert outcome.findings == (), outcome.story()


def test_what_escapes_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that gets out of the server is no reason to stop looking."""

    async def fail(*_: object) -> None:
        raise ValueError("not expected")

    monkeypatch.setattr("trio_chat.testing.simulation.world.Process.stop", fail)
    outcome = run_plan(QUIET)

    assert any("not expected" in finding.what for finding in outcome.findings)


# --- shrinking


def test_shrinking_keeps_what_is_needed() -> None:
    """Of many items only the two remain that it takes together."""
    items = tuple(do.Flush(float(second)) for second in range(20))

    def fails(plan: Plan) -> bool:
        return {3.0, 17.0} <= {item.at for item in plan.items}

    assert [item.at for item in shrink(with_items(*items), fails).items] == [3.0, 17.0]


def test_shrinking_ends() -> None:
    """It tries no more plans than it may."""
    tried: list[Plan] = []

    def fails(plan: Plan) -> bool:
        tried.append(plan)
        return False

    items = tuple(do.Flush(float(second)) for second in range(50))

    assert shrink(with_items(*items), fails, attempts=7).items == items
    assert len(tried) == 7


# --- the command


def break_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rooms show one message less than they have to."""
    snapshot = History.snapshot
    monkeypatch.setattr(History, "snapshot", lambda self: snapshot(self)[1:])


def test_command_finds_shrinks_keeps_and_replays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A seed that fails is printed, made smaller and kept; replayed, it fails again. It runs hundreds of plans."""
    break_rooms(monkeypatch)

    assert simulate.main(["--seeds", "1", "--jobs", "1", "--keep", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    [kept] = tmp_path.iterdir()
    plan = json.loads(kept.read_bytes())

    assert "seed 0 finds:" in said
    assert "window" in said
    assert str(kept) in said
    assert len(plan["items"]) <= 3
    assert simulate.main(["--replay", str(kept)]) == 1
    assert "window" in capsys.readouterr().out


def test_command_succeeds_where_nothing_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Seeds that find nothing are counted, and the status is 0."""
    assert simulate.main(["--seeds", "2", "--first", "5", "--jobs", "1"]) == 0
    assert "2 seeds" in capsys.readouterr().out


def test_seeds_on_several_processes() -> None:
    """Other processes try them, too. It takes as long as it takes to start two."""
    assert list(failures(range(2), jobs=2)) == []


def test_one_is_told_how_far_it_has_got(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each few seeds, and before what they have found is."""
    monkeypatch.setattr(
        "trio_chat.testing.simulation.many.try_seeds", lambda seeds, _: [Failed(seeds[0], ())]
    )
    told: list[int] = []
    told.extend(failure.seed for failure in failures(range(60), jobs=1, watch=told.append))

    assert told == [25, 0, 50, 25, 60, 50]


# --- what it stands on


async def test_cut_lets_some_bytes_arrive() -> None:
    """Of what is under way so much arrives, then the end."""
    connection = Connection(100)
    await connection.stream.send_all(b"abcdef")
    connection.cut(4)

    assert await connection.down.receive() == b"abcd"
    assert await connection.down.receive() == b""
    with pytest.raises(trio.BrokenResourceError):
        await connection.stream.send_all(b"more")
    assert await connection.stream.receive_some() == b""


async def test_sender_waits_for_the_reader(autojump_clock: MockClock) -> None:
    """A connection takes so many bytes, and no more until they are read."""
    connection = Connection(4)
    with trio.move_on_after(1) as patience:
        await connection.stream.send_all(b"abcdef")

    assert patience.cancelled_caught
    assert await connection.down.receive() == b"abcd"


async def test_paused_connection(autojump_clock: MockClock) -> None:
    """Nothing arrives while it is paused, and nothing is lost."""
    connection = Connection(100)
    connection.down.pause(True)
    await connection.stream.send_all(b"abc")
    with trio.move_on_after(1) as patience:
        await connection.down.receive()
    connection.down.pause(False)

    assert patience.cancelled_caught
    assert await connection.down.receive() == b"abc"


async def test_nobody_listens() -> None:
    """Who connects to no process, or is not accepted before it ends, is turned away."""
    network = Network(100)
    assert network.connect() is None
    listener = network.open()
    waiting = network.connect()
    network.shut()
    await listener.aclose()

    assert waiting is not None
    assert await waiting.down.receive() == b""
    assert network.connect() is None


async def test_store_restarts_with_an_older_state(autojump_clock: MockClock) -> None:
    """It has what it had some seconds ago, does not vouch for it, and goes on from there."""
    store = RestartingHotStore(expiry=60, clock=trio.current_time)
    session = Session("den", "019b76da-a800-7000-8000-000000000001")
    for seq in (1, 2):
        await store.append(_post(session, seq))
        store.remember()
        await trio.sleep(1)
    store.relapse(1.5)
    stored = await store.load("den")

    assert stored is not None
    assert (stored.top, stored.trusted) == (1, False)
    assert await store.append(_post(session, 2)) is None
    store.relapse(None)
    assert await store.load("den") is None


def _post(session: Session, seq: int) -> Append:
    fields: dict[str, Any] = {"role": "user", "timestamp": datetime(2026, 1, 1, tzinfo=UTC), "metadata": {}}
    message = Message(id=f"m{seq}", content="x", user_id="ann", seq=seq, rev=seq, **fields)
    return Append(session, seq - 1, seq, 1, 0, (Posted(message),))
