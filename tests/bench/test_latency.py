"""Latencies, counted by size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.bench.latency import Latencies, Summary


def counted(*seconds: float) -> Latencies:
    latencies = Latencies()
    for one in seconds:
        latencies.add(one)
    return latencies


def test_of_none_there_is_nothing_to_say() -> None:
    """No zeros that could be taken for a result."""
    assert counted().summary() is None
    assert counted().percentile(99) == 0


def test_the_summary_is_in_milliseconds() -> None:
    """The median, what one in a hundred exceeds, and the longest."""
    summary = counted(*[number / 1000 for number in range(1, 201)]).summary()

    assert summary is not None
    assert (summary.p50, summary.p99) == pytest.approx((100, 198), rel=0.002)
    assert summary.max == 200


def test_a_clock_that_seems_to_go_back_is_a_latency_of_zero() -> None:
    """Times are taken at two ends and rounded."""
    assert counted(-0.001).summary() == Summary(0, 0, 0)


@given(st.lists(st.floats(0, 1000), min_size=1), st.floats(1, 100))
def test_a_percentile_is_one_of_the_latencies_to_three_digits(seconds: list[float], percent: float) -> None:
    """The nearest-rank one, however different they are."""
    found = counted(*seconds).percentile(percent)

    exact = sorted(seconds)[max(0, -int(-len(seconds) * percent // 100) - 1)]
    assert found <= max(seconds)
    assert found == pytest.approx(exact, rel=0.002, abs=1e-6)
    assert counted(*seconds).percentile(100) == pytest.approx(max(seconds), rel=0.002, abs=1e-6)


def test_it_says_in_short_what_it_is() -> None:
    """For a debugger."""
    assert repr(counted(1, 2)) == "<Latencies 2 longest=2 s>"
