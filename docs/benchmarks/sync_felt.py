"""Whether people notice that the archive is being written.

A server carries a steady load: 1,000 messages a second over 100 rooms of 5 members. Meanwhile 100 other rooms have
1,000 messages each that the archive lacks, and the server's regular round archives them: 100,000 messages from Valkey to
Postgres, through the same event loop that serves the members. Latencies of messages that were due during the
round are put beside those of messages that were due before and after it.

  without   p50, p99, longest latency while no round was on its way
  with      the same during the round
  p99 x     the second over the first

    python sync_felt.py
    python sync_felt.py --rounds 5 --rate 2000

When a round begins and ends is seen from outside, every 20 ms: it begins with asking Valkey for the dirty sessions (the
only ZRANGE the server sends), and ends when none of the prepared rooms is dirty any more.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import hiredis
import trio
from crowd import Crowd
from filling import fill, new_session
from harness import Server, parser, progress, report, running_server

from trio_chat.stores.redis import open_redis

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOMS, MEMBERS = 100, 5
PREPARED, MESSAGES, SIZE = 100, 1000, 200
INTERVAL = 15
# How long the load goes on before and after a round, at least: the latencies to compare with.
_AROUND = 2.0
# What happens this near to the round belongs to neither side.
_MARGIN = 0.1
_LOOK_EVERY = 0.02


class Watch:
    """Says when a round begins and ends. Lives as long as `watching`, in a thread of its own."""

    def __init__(self, url: str) -> None:
        self.begin = self.end = 0.0
        self.stopped = False
        self._reader = hiredis.Reader()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(unquote(urlsplit(url).path))

    def ask(self, *words: str) -> Any:
        """Run one command on the Valkey."""
        self._socket.sendall(hiredis.pack_command(words))
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(65536))
        return reply

    def rounds(self) -> int:
        """Return how many rounds have begun."""
        stats = self.ask("INFO", "commandstats").decode()
        line = next((line for line in stats.splitlines() if line.startswith("cmdstat_zrange:")), "calls=0,")
        return int(line.partition("calls=")[2].partition(",")[0])

    def prepared(self) -> int:
        """Return how many prepared rooms are dirty."""
        return sum(
            member.startswith(b"prepared-")
            for member in self.ask("ZRANGEBYSCORE", "tc:dirty", "-inf", "+inf")
        )

    def run(self) -> None:
        """Look until a round has begun and ended."""
        known = self.rounds()
        while not self.stopped:
            time.sleep(_LOOK_EVERY)  # Redis tells nobody of a round
            if not self.begin and self.rounds() > known:
                self.begin = time.monotonic()
            if self.begin and not self.prepared():
                self.end = time.monotonic()
                return


@contextmanager
def watching(url: str) -> Iterator[Watch]:
    """Watch for one round inside the block."""
    watch = Watch(url)
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stopped = True
        thread.join()


async def prepare(url: str, number: int) -> None:
    """Write what the next round will have to archive."""
    async with open_redis(url, timeout=30) as hot:
        sessions = [new_session(f"prepared-{number}-{room}") for room in range(PREPARED)]
        await fill(hot, sessions, MESSAGES, SIZE)


def measure(server: Server, crowd: Crowd, rate: float, number: int) -> dict[str, Any]:
    """Prepare one round, and carry the load until it is over."""
    url = server.environment["REDIS_URL"]
    trio.run(prepare, url, number)
    speakers = [(crowd.members[room * MEMBERS], f"felt-{room}", MEMBERS) for room in range(ROOMS)]
    with watching(url) as watch:
        began = time.monotonic()

        def enough() -> bool:
            if time.monotonic() - began > 3 * INTERVAL:
                raise SystemExit("no round came, or it did not end")
            return bool(watch.end) and time.monotonic() > watch.end + _AROUND

        heard = crowd.load(speakers, rate, enough=enough)
    if watch.begin - began < _AROUND:
        raise SystemExit(
            "the round began before the load was steady; give SESSION_SYNC_INTERVAL_SECONDS more time"
        )
    before = (began + 1, watch.begin - _MARGIN)
    after = (watch.end + _MARGIN, float("inf"))
    heard_without = [one for one in heard.latencies if before[0] <= one[0] < before[1] or one[0] >= after[0]]
    with_round = heard.spread(watch.begin, watch.end)
    heard.latencies = heard_without
    without = heard.spread()
    return {
        "round": number,
        "round_s": watch.end - watch.begin,
        **{f"without {name}": value for name, value in without.items()},
        **{f"with {name}": value for name, value in with_round.items()},
        "p99 x": with_round["p99_ms"] / without["p99_ms"],
        "client_busy": heard.client_busy,
    }


def main() -> None:
    """Measure some rounds of one server."""
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=3, help="[3]")
    arguments.add_argument("--rate", type=float, default=1000, help="messages a second [1000]")
    chosen = arguments.parse_args()
    rows = []
    with running_server(SESSION_SYNC_INTERVAL_SECONDS=str(INTERVAL)) as server:
        crowd = Crowd(server.port)
        crowd.enter([[f"felt-{number // MEMBERS}"] for number in range(ROOMS * MEMBERS)])
        for number in range(chosen.rounds):
            progress(f"round {number + 1} of {chosen.rounds}")
            rows.append(measure(server, crowd, chosen.rate, number))
        crowd.close()
    report(rows, chosen.json)


if __name__ == "__main__":
    main()
