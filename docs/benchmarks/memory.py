"""What waiting costs: memory for each idle connection and each idle room.

  connections  a real server, with members that only sit there, ten to a room. Its resident memory after the first
               connection, at 100 connections and at 4,000; `bytes each` counts from the first one on, and the last row
               says what one more connection costs between 100 and 4,000.
  rooms        a lobby in this process, over a real Valkey, with rooms nobody is in: ones in which nothing was ever
               said, and ones with a short history (10 messages of 200 characters).

    python memory.py
    python memory.py --wire socketio --connections 100 1000 8000

Resident memory is what the kernel counts. Python takes it in blocks and does not always give it back, so figures for
few connections are coarse. Each connection is a descriptor here and one in the server: see `ulimit -n`.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from typing import TYPE_CHECKING, Any

import trio
from crowd import WIRES, Crowd
from harness import apart, parser, progress, report, resident, running_server

from trio_chat import MemoryArchive, open_lobby
from trio_chat.stores.redis import open_redis

if TYPE_CHECKING:
    from collections.abc import Sequence

PER_ROOM = 10
HISTORY = {"silent": 0, "short": 10}
SIZE = 200
_AT_ONCE = 100


def connections(wire: str, counts: Sequence[int]) -> list[dict[str, Any]]:
    """Connect more and more members to a server."""
    rows: list[dict[str, Any]] = []
    with running_server() as server:
        crowd = Crowd(server.port, wire)
        crowd.enter([["first"]])
        crowd.settle()
        first = server.memory()
        for count in sorted(counts):
            progress(f"{wire}: {count} connections")
            crowd.enter([[f"room-{number // PER_ROOM}"] for number in range(len(crowd.members), count)])
            crowd.settle(2.0)
            used = server.memory()
            rows.append(_row(f"{wire} connections", count, used, (used - first) / (count - 1)))
        crowd.close()
    if len(rows) > 1:
        few, many = rows[0], rows[-1]
        more = (many["MiB"] - few["MiB"]) * 2**20 / (many["count"] - few["count"])
        rows.append(_row(f"{wire}, one more", many["count"], 0, more))
    return rows


def _row(what: str, count: int, used: float, each: float) -> dict[str, Any]:
    return {"what": what, "count": count, "MiB": used / 2**20 if used else "", "bytes each": each}


async def rooms(counts: Sequence[int], messages: int, redis_url: str) -> list[dict[str, Any]]:
    """Open more and more rooms in a lobby of this process, and leave them."""
    rows: list[dict[str, Any]] = []
    name = next(name for name, count in HISTORY.items() if count == messages)
    async with open_redis(redis_url, prefix=name, timeout=10) as hot:
        async with open_lobby(hot=hot, archive=MemoryArchive()) as lobby:

            async def visit(room: str) -> None:
                async with lobby.join(room, user="ada") as seat:
                    for number in range(messages):
                        await seat.post(f"{number} in {room}".ljust(SIZE, "x"))

            await visit("first")
            gc.collect()
            before = resident(os.getpid())
            opened = 0
            for count in sorted(counts):
                progress(f"{name} rooms: {count}")
                while opened < count:
                    async with trio.open_nursery() as nursery:
                        for number in range(opened, min(opened + _AT_ONCE, count)):
                            nursery.start_soon(visit, f"{name}-{number}")
                    opened = min(opened + _AT_ONCE, count)
                gc.collect()
                used = resident(os.getpid())
                rows.append(_row(f"{name} rooms", count, used, (used - before) / count))
    return rows


def in_a_child(counts: Sequence[int], messages: int) -> list[dict[str, Any]]:
    """Measure rooms in a process of their own: memory that others have used and freed would hide them."""
    with apart() as environment:
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            return pool.apply(_run_rooms, (counts, messages, environment["REDIS_URL"]))


def _run_rooms(counts: Sequence[int], messages: int, redis_url: str) -> list[dict[str, Any]]:
    return trio.run(rooms, counts, messages, redis_url)


def main() -> None:
    """Measure connections over each wire, then rooms."""
    arguments = parser(__doc__)
    arguments.add_argument("--wire", nargs="*", choices=WIRES, default=list(WIRES))
    arguments.add_argument("--connections", type=int, nargs="+", default=[100, 1000, 4000], metavar="N")
    arguments.add_argument("--rooms", type=int, nargs="+", default=[1000, 10_000], metavar="N")
    chosen = arguments.parse_args()
    rows = []
    for wire in chosen.wire:
        rows += connections(wire, chosen.connections)
    for messages in HISTORY.values():
        rows += in_a_child(chosen.rooms, messages)
    report(rows, chosen.json)


if __name__ == "__main__":
    main()
