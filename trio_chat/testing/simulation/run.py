"""Run plans: the same plan is the same run, to the last entry of its log."""

from __future__ import annotations

import logging
import random
import secrets
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import msgspec
import trio
import trio._core._run as trio_run
from trio.testing import MockClock

from trio_chat.jitter import CHANCE
from trio_chat.testing.simulation.plan import END, Plan
from trio_chat.testing.simulation.world import World
from trio_chat.testing.verdict import Contents, Entry, Finding, judge

if TYPE_CHECKING:
    from collections.abc import Generator


class Outcome(msgspec.Struct, frozen=True):
    """What became of a plan.

    Attributes:
        plan: the plan.
        log: what the clients saw.
        contents: what the stores held in the end.
        findings: what is wrong with that; empty if all is well.
        looked: how much the checker has looked at.
    """

    plan: Plan
    log: tuple[Entry, ...]
    contents: Contents
    findings: tuple[Finding, ...]
    looked: dict[str, int]

    def story(self) -> str:
        """Return what happened, and what is wrong with it, for people."""
        lines = [f"{entry.at:8.3f} {entry}" for entry in self.log]
        return "\n".join([*lines, "", *map(str, self.findings)])


def run_plan(plan: Plan, *, excuse_reuse: bool = True) -> Outcome:
    """Let a plan happen in a Trio run of its own, and judge it. Not to be called inside a Trio run.

    Args:
        plan: what happens.
        excuse_reuse: see `World`.
    """
    clock = MockClock(autojump_threshold=0)
    world = World(plan, clock, excuse_reuse=excuse_reuse)
    findings: tuple[Finding, ...] = ()
    with repeatable(plan.seed), _silent():
        try:
            trio.run(world.run, clock=clock)
        except* Exception as escaped:  # noqa: BLE001 - it is what a simulation is there to find
            findings += (Finding("liveness", END, f"an exception escaped: {_trace(escaped)}"),)
    contents = world.stores.contents()
    verdict = judge(world.log.entries, contents, limit=plan.limit)
    return Outcome(plan, tuple(world.log.entries), contents, findings + verdict.findings, verdict.looked)


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


@contextmanager
def repeatable(seed: int) -> Generator[None]:
    """Let everything that is left to chance come from a seed: the order of tasks, jitter, the noise of ids.

    Trio has a switch for that, which Hypothesis and pytest-trio use, too, and no public name for it.
    """
    names: Any = vars(trio_run)
    switch, order = names["_ALLOW_DETERMINISTIC_SCHEDULING"], names["_r"]
    draw = random.Random(seed)  # noqa: S311 - no secret
    before = order.getstate(), random.getstate(), CHANCE.getstate()
    names["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    order.seed(seed)
    random.seed(seed)
    CHANCE.seed(seed)

    def token_hex(size: int = 32) -> str:
        return draw.randbytes(size).hex()

    try:
        with (
            patch.object(secrets, "randbits", draw.getrandbits),
            patch.object(secrets, "token_hex", token_hex),
        ):
            yield
    finally:
        names["_ALLOW_DETERMINISTIC_SCHEDULING"] = switch
        order.setstate(before[0])
        random.setstate(before[1])
        CHANCE.setstate(before[2])


@contextmanager
def _silent() -> Generator[None]:
    """Let nobody write down what is made to fail; handlers of the single loggers still hear of it."""
    logger = logging.getLogger("trio_chat")
    before = logger.propagate, logging.root.manager.disable
    nothing = logging.NullHandler()
    logger.propagate = False
    logger.addHandler(nothing)
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(nothing)
        logger.propagate = before[0]
        logging.disable(before[1])
