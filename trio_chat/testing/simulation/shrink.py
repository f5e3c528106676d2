"""Make a failing plan smaller: leave out what the failure does not need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.testing.simulation.plan import Plan

ATTEMPTS = 400
"""How many smaller plans are tried at most."""


def shrink(plan: Plan, fails: Callable[[Plan], bool], *, attempts: int = ATTEMPTS) -> Plan:
    """Return a plan with fewer items that still fails.

    Larger parts are left out first, then smaller ones, at last single items, until none of them can be spared.

    Args:
        plan: one that fails.
        fails: whether a plan still fails in that way.
        attempts: how many plans to try.
    """
    items = plan.items
    size = max(len(items) // 2, 1)
    while attempts > 0:
        before = len(items)
        at = 0
        while at < len(items) and attempts > 0:
            fewer = items[:at] + items[at + size :]
            attempts -= 1
            if fails(msgspec.structs.replace(plan, items=fewer)):
                items = fewer
            else:
                at += size
        if size == 1 and len(items) == before:
            break
        # Single items all over again: what could not be spared before, perhaps can be now.
        size = max(size // 2, 1)
    return msgspec.structs.replace(plan, items=items)
