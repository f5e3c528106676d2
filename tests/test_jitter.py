"""Pauses take their chance from a generator of their own."""

from __future__ import annotations

import random

from trio_chat.jitter import between


def test_any_number_between() -> None:
    """All of the range is used, and nothing else."""
    drawn = [between(2, 3) for _ in range(1000)]

    assert 2 <= min(drawn) < 2.1
    assert 2.9 < max(drawn) <= 3


def test_the_generator_that_all_share_stays_as_it_is() -> None:
    """Who seeds it, as tests do, gets what they expect."""
    before = random.getstate()
    between(0, 1)

    assert random.getstate() == before
