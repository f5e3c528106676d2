"""What the two stores do: archive, append, and bring a full room back.

A Valkey and a Postgres of its own are started from their wheels, as `trio-chat serve` does on a machine that has
neither, with their data on disk. Then, one after the other:

  archive     Archive.write of 100 sessions of 1,000 messages, 5,000 rows at a time, as the syncer does while no room is live
  sync        the same 100,000 messages the whole way: read from Valkey, archived, marked as archived
  append      100 rooms append one message at a time, each waiting for its answer; messages a second over all rooms
  append one  a single room does so: how long one durable append takes
  activate    a room of 1,000 messages of 300 characters that nobody had open: from the first join to its answer

    python stores.py
    python stores.py --only activate --json stores.json
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import trio
from filling import fill, new_session, posted, turn
from harness import apart, parser, percentile, progress, report

from trio_chat import Settings, open_lobby
from trio_chat.live_rooms import NoRooms
from trio_chat.stores.base import Archive, Batch, HotStore
from trio_chat.stores.postgres import open_postgres_archive
from trio_chat.stores.redis import open_redis
from trio_chat.syncer import Syncer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Benchmark = Callable[[HotStore, Archive], Awaitable[dict[str, Any]]]

ROOMS, MESSAGES, SIZE = 100, 1000, 200
BATCH_ROWS = 5000
APPENDS = 300
ALONE = 3000
FULL_ROOMS, FULL_SIZE = 200, 300


async def archive_alone(_: HotStore, archive: Archive) -> dict[str, Any]:
    """Write batches as the syncer makes them; building them is not measured."""
    sessions = [new_session(f"archived-{number}") for number in range(ROOMS)]
    batches = [
        Batch(session, MESSAGES, tuple(posted(session, seq, SIZE) for seq in range(1, MESSAGES + 1)))
        for session in sessions
    ]
    at_once = BATCH_ROWS // MESSAGES
    began, written = time.perf_counter(), 0
    for start in range(0, len(batches), at_once):
        written += await archive.write(batches[start : start + at_once])
    return _rate(written, began)


async def sync(hot: HotStore, archive: Archive) -> dict[str, Any]:
    """Fill sessions, then make one round."""
    await fill(hot, [new_session(f"synced-{number}") for number in range(ROOMS)], MESSAGES, SIZE)
    syncer = Syncer(hot, archive, Settings(), NoRooms())
    began = time.perf_counter()
    if not await syncer.sync_all():
        raise SystemExit("the round failed")
    return _rate(syncer.statistics().messages, began)


async def append(hot: HotStore, _: Archive) -> dict[str, Any]:
    """Let many rooms append at the same time."""
    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(ROOMS):
            nursery.start_soon(_append_some, hot, f"busy-{number}", APPENDS, [])
    return _rate(ROOMS * APPENDS, began)


async def append_one(hot: HotStore, _: Archive) -> dict[str, Any]:
    """Let one room append, with the store to itself."""
    took: list[float] = []
    began = time.perf_counter()
    await _append_some(hot, "alone", ALONE, took)
    return _rate(ALONE, began) | _spread(took)


async def _append_some(hot: HotStore, room: str, count: int, took: list[float]) -> None:
    session = new_session(room)
    for seq in range(1, count + 1):
        began = time.perf_counter()
        await hot.append(turn(session, seq, seq, SIZE))
        took.append(time.perf_counter() - began)


async def activate(hot: HotStore, archive: Archive) -> dict[str, Any]:
    """Join rooms that a lobby has never seen, one after the other."""
    rooms = [f"full-{number}" for number in range(FULL_ROOMS)]
    await fill(hot, [new_session(room) for room in rooms], MESSAGES, FULL_SIZE)
    took: list[float] = []
    # A server that has run for a while has archived them, and is not busy with that now.
    await Syncer(hot, archive, Settings(), NoRooms()).sync_all()
    async with open_lobby(hot=hot, archive=archive) as lobby:
        for room in rooms:
            began = time.perf_counter()
            async with lobby.join(room, user="ada") as seat:
                took.append(time.perf_counter() - began)
                if len(seat.messages) != MESSAGES:
                    raise SystemExit(f"{room} has {len(seat.messages)} messages instead of {MESSAGES}")
    return {"count": FULL_ROOMS} | _spread(took)


def _rate(count: int, began: float) -> dict[str, Any]:
    seconds = time.perf_counter() - began
    return {"count": count, "seconds": seconds, "per_s": count / seconds}


def _spread(took: list[float]) -> dict[str, float]:
    took = sorted(took)
    return {"p50_ms": percentile(took, 0.5) * 1000, "p99_ms": percentile(took, 0.99) * 1000}


BENCHMARKS: dict[str, Benchmark] = {
    "archive": archive_alone,
    "sync": sync,
    "append": append,
    "append one": append_one,
    "activate": activate,
}


async def run(name: str, environment: dict[str, str]) -> dict[str, Any]:
    """Run one benchmark on stores that are opened for it."""
    progress(name)
    async with AsyncExitStack() as stack:
        hot = await stack.enter_async_context(
            open_redis(environment["REDIS_URL"], prefix=name.replace(" ", "-"), timeout=10)
        )
        archive = await stack.enter_async_context(
            open_postgres_archive(environment["DATABASE_URL"], timeout=60)
        )
        return {"benchmark": name} | await BENCHMARKS[name](hot, archive)


def main() -> None:
    """Run each benchmark on fresh stores."""
    arguments = parser(__doc__)
    arguments.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), metavar="NAME")
    arguments.add_argument("--runs", type=int, default=3, help="the best run of so many counts [3]")
    chosen = arguments.parse_args()
    rows = []
    for name in chosen.only:
        runs = []
        for _ in range(chosen.runs):
            with apart() as environment:
                runs.append(trio.run(run, name, environment))
        rows.append(min(runs, key=lambda row: row.get("p50_ms", row.get("seconds"))))
    report(rows, chosen.json)


if __name__ == "__main__":
    main()
