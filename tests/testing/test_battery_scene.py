"""How a fault says what does not hold: what comes too late is late, and what never comes is wrong."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from trio_chat.testing.battery.client import Client
from trio_chat.testing.battery.fault import Fault
from trio_chat.testing.battery.load import Load
from trio_chat.testing.battery.scene import GRACE, Scene
from trio_chat.testing.verdict.log import Close, Fail, Unknown


async def nothing(scene: Scene) -> None:
    """A fault that does nothing."""


def somewhere() -> int:
    """A port that nobody connects to."""
    return 1


@pytest.fixture
async def scene(nursery: trio.Nursery) -> Scene:
    """A scene with a load of nobody, and no machine."""
    machine: Any = None
    return Scene(Fault("X", "a fault", nothing), machine, Load(somewhere, 0.0), nursery)


def complaints(scene: Scene) -> list[tuple[str, bool]]:
    """What was complained of, and whether it was late."""
    return [(complaint.what, complaint.late) for complaint in scene.complaints]


async def test_what_comes_in_time_is_no_complaint(
    scene: Scene, autojump_clock: trio.testing.MockClock
) -> None:
    """It was waited for no longer than need be."""
    due = trio.current_time() + 4

    assert await scene.wait_until(lambda: trio.current_time() >= due, 5, "it") == pytest.approx(4, abs=0.1)
    assert scene.complaints == []


async def test_what_comes_later_is_late(scene: Scene, autojump_clock: trio.testing.MockClock) -> None:
    """By how much is said."""
    due = trio.current_time() + 6.99
    await scene.wait_until(lambda: trio.current_time() >= due, 5, "it is there")

    assert complaints(scene) == [("seconds until it is there: 7.00, expected at most 5", True)]


async def test_what_never_comes_is_wrong(scene: Scene, autojump_clock: trio.testing.MockClock) -> None:
    """It had far more time than on the slowest machine."""
    await scene.wait_until(lambda: False, 5, "it is there")

    assert complaints(scene) == [(f"not within {5 + GRACE:g} s: it is there", False)]


async def test_nobody_waits_for_a_control(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """What it never does is known."""
    machine: Any = None
    control = Fault("K", "a control", nothing, control="lost")
    scene = Scene(control, machine, Load(somewhere, 0.0), nursery)
    await scene.wait_until(lambda: False, 5, "it is there")

    assert complaints(scene) == [("not within 5 s: it is there", False)]


async def test_measures_are_late_and_facts_are_not(scene: Scene) -> None:
    """A time that is too long, too little in its time; and what is no matter of time."""
    scene.require_at_most(1, 1.5, "seconds")
    scene.require_at_least(3, 2, "resets")
    scene.require(False, "another epoch")

    assert [late for _, late in complaints(scene)] == [True, True, False]


async def test_a_request_without_an_answer_is_late_and_a_refused_one_is_wrong(scene: Scene) -> None:
    """Where each must be acknowledged at once."""
    scene.begin()
    scene.journal.note(Unknown(trio.current_time(), 1, "timeout"))
    scene.require_no_errors()
    scene.journal.note(Fail(trio.current_time(), 2, "overloaded"))
    scene.require_no_errors()

    assert [late for _, late in complaints(scene)] == [True, False]


async def test_a_connection_that_ended_is_wrong(scene: Scene, nursery: trio.Nursery) -> None:
    """Where nobody may be disconnected."""
    scene.load.start(nursery)
    (client,) = scene.load.add("room", 1)
    scene.begin()
    scene.journal.note(Close(trio.current_time(), client.name, 4408))
    scene.require_calm()
    nursery.cancel_scope.cancel()

    assert complaints(scene) == [("1 connections ended: {4408: 1}", False)]


def test_who_never_got_an_answer_is_not_settled() -> None:
    """Though the message, sent again, was acknowledged: an answer that is lost must not pass for one that is late."""
    load = Load(somewhere, 0.0)
    client = Client("ann", "room", somewhere, load.journal, 1)
    client.live = True
    load.clients.append(client)
    settled = load.unsettled()
    client.unanswered.add(7)

    assert (settled, load.unsettled()) == ([], [client])
