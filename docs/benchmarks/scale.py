"""What a message costs as rooms grow in number and in size.

  rooms     1, 10, 100, 1,000 and 10,000 rooms of 4 members, 1,000 messages a second over all of them
  members   10, 100, 1,000 and 4,000 members of one room, 20,000 deliveries a second, or one message a second if that
            is more: a tenth of what the sockets of a machine like ours can do

The server runs on one CPU, everybody else on another. For each row:

  us/message, us/delivery   CPU time of the server alone, in microseconds; a delivery is one message to one member
  core                      how many deliveries a second that is, if one core did nothing else
  p50, p99                  from the moment a message was due until a member's client had it
  client busy               how much of its CPU the client needed: near 1, the latencies are its own
  MiB                       the server's resident memory

With more than 4,000 members in all, a member is in several rooms at once: a connection is a descriptor, and there
is a limit to these.

    python scale.py --json scale.json
    python plot_scale.py scale.json scale.svg         draw what was measured
"""

from __future__ import annotations

from typing import Any

from crowd import Crowd
from harness import parser, progress, report, running_server

ROOMS = (1, 10, 100, 1000, 10_000)
MEMBERS = (10, 100, 1000, 4000)
MEMBERS_OF_A_ROOM = 4
MOST_CONNECTIONS = 4000
RATE = 1000.0
DELIVERIES = 20_000.0
SECONDS = 10


def measure(rooms: int, members: int, rate: float, wire: str) -> dict[str, Any]:
    """Measure one server under one load."""
    progress(f"{rooms:,} rooms of {members:,}, {rate:g} messages a second")
    with running_server() as server:
        crowd = Crowd(server.port, wire)
        places: list[list[str]] = [[] for _ in range(min(rooms * members, MOST_CONNECTIONS))]
        for number in range(rooms * members):
            # Those of one room are neighbours, so that nobody is in a room twice.
            places[number % len(places)].append(f"room-{number // members}")
        crowd.enter(places)
        crowd.settle()
        speakers = [
            (crowd.members[room * members % len(places)], f"room-{room}", members) for room in range(rooms)
        ]
        # Each room speaks once before: opening its session is not what is measured.
        crowd.load(speakers, rate, messages=max(rooms, int(rate)))
        before = server.cpu()
        heard = crowd.load(speakers, rate, messages=int(rate * SECONDS))
        used = (server.cpu() - before) * 1e6
        memory = server.memory()
        crowd.close()
    return {
        "rooms": rooms,
        "members": members,
        "messages/s": heard.messages / heard.seconds,
        "deliveries/s": heard.deliveries / heard.seconds,
        "us/message": used / heard.messages,
        "us/delivery": used / heard.deliveries,
        "core": 1e6 * heard.deliveries / used,
        **{name: value for name, value in heard.spread().items() if name != "max_ms"},
        "client busy": heard.client_busy,
        "MiB": memory / 2**20,
    }


def main() -> None:
    """Measure all rows."""
    arguments = parser(__doc__)
    arguments.add_argument("--wire", choices=("native", "socketio"), default="native", help="[native]")
    arguments.add_argument("--rooms", type=int, nargs="*", default=list(ROOMS), metavar="N")
    arguments.add_argument("--members", type=int, nargs="*", default=list(MEMBERS), metavar="N")
    chosen = arguments.parse_args()
    rows = [measure(count, MEMBERS_OF_A_ROOM, RATE, chosen.wire) for count in chosen.rooms]
    rows += [measure(1, count, max(1.0, DELIVERIES / count), chosen.wire) for count in chosen.members]
    report(rows, chosen.json)


if __name__ == "__main__":
    main()
