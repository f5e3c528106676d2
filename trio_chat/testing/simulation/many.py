"""Try many seeds, on all cores."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from trio_chat.testing.simulation.planner import plan_of
from trio_chat.testing.simulation.run import run_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

# As many seeds as one process takes at a time.
_CHUNK = 25


class Failed(msgspec.Struct, frozen=True):
    """A seed that found something, and what, for people."""

    seed: int
    findings: tuple[str, ...]


def failures(
    seeds: range,
    *,
    jobs: int | None = None,
    excuse_reuse: bool = True,
    watch: Callable[[int], None] | None = None,
) -> Iterator[Failed]:
    """Yield the seeds that find something, as they are found, in order.

    Args:
        seeds: which to try.
        jobs: how many processes to use; None for as many as there are cores.
        excuse_reuse: see `World`.
        watch: told now and then how many were tried, all of those that found something among them.
    """
    jobs = jobs or os.cpu_count() or 1
    chunks = [seeds[start : start + _CHUNK] for start in range(0, len(seeds), _CHUNK)]
    if jobs == 1:
        yield from _told((try_seeds(chunk, excuse_reuse) for chunk in chunks), chunks, watch)
        return
    # Not forked: the one who asks may have threads, and patches of its own.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        tried = pool.map(try_seeds, chunks, [excuse_reuse] * len(chunks))
        yield from _told(tried, chunks, watch)


def _told(
    tried: Iterable[Sequence[Failed]], chunks: Sequence[range], watch: Callable[[int], None] | None
) -> Iterator[Failed]:
    """Yield what chunks have found, and tell after each how far one has got."""
    done = 0
    for chunk, found in zip(chunks, tried, strict=True):
        done += len(chunk)
        if watch is not None:
            watch(done)
        yield from found


def try_seeds(seeds: range, excuse_reuse: bool) -> Sequence[Failed]:
    """Return those of some seeds that find something."""
    found: list[Failed] = []
    for seed in seeds:
        outcome = run_plan(plan_of(seed), excuse_reuse=excuse_reuse)
        if outcome.findings:
            found.append(Failed(seed, tuple(map(str, outcome.findings))))
    return found
