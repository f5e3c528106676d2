"""Simulations: the real server over stores and connections in memory, on virtual time, with everything that goes wrong.

A seed makes a *plan*, a plan makes a run, and a run ends with a verdict (`trio_chat.testing.verdict`)::

    outcome = run_plan(plan_of(7))
    assert not outcome.findings, outcome.story()

``python -m trio_chat.testing.simulate --seeds 2000`` tries many. See `docs/testing.md`.
"""

from trio_chat.testing.simulation.plan import Plan
from trio_chat.testing.simulation.planner import plan_of
from trio_chat.testing.simulation.run import Outcome, run_plan
from trio_chat.testing.simulation.shrink import shrink

__all__ = ["Outcome", "Plan", "plan_of", "run_plan", "shrink"]
