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

    python scale.py --json scale.json                 measure
    python scale.py --plot scale.json scale.svg       draw; needs matplotlib: pip install '.[benchmarks]'
"""

from __future__ import annotations

import json
from pathlib import Path
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


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    """Draw CPU per delivery against rooms and against members."""
    import matplotlib as mpl  # noqa: PLC0415 - who only measures need not have it

    mpl.use("svg")
    # Texts stay texts, and what is drawn twice from the same figures is the same file.
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "trio-chat", "font.size": 11}
    from matplotlib import pyplot as plt  # noqa: PLC0415
    from matplotlib.ticker import ScalarFormatter  # noqa: PLC0415

    by_rooms = [row for row in rows if row["members"] == MEMBERS_OF_A_ROOM]
    by_members = [row for row in rows if row["rooms"] == 1 and row["members"] > MEMBERS_OF_A_ROOM]
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.4), sharey=True)
    sides = (
        (
            axes[0],
            by_rooms,
            "rooms",
            f"more rooms\n({MEMBERS_OF_A_ROOM} members each, {RATE:,.0f} messages/s over all)",
        ),
        (axes[1], by_members, "members", f"a larger room\n({DELIVERIES:,.0f} deliveries/s)"),
    )
    for side, some, name, title in sides:
        across, up = [row[name] for row in some], [row["us/delivery"] for row in some]
        side.plot(across, up, marker="o", color=_LINE, linewidth=2)
        for x, y in zip(across, up, strict=True):
            side.annotate(
                f"{y:.0f}" if y >= _WHOLE_FROM else f"{y:.1f}",
                (x, y),
                (0, 9),
                textcoords="offset points",
                ha="center",
            )
        side.set(
            xscale="log",
            yscale="log",
            xlabel=name,
            title=title,
            xticks=across,
            xticklabels=[f"{x:,}" for x in across],
        )
        side.minorticks_off()
        side.margins(x=0.12, y=0.25)
        side.grid(visible=True, alpha=0.3)
        side.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("microseconds of one core for a delivery")
    axes[0].set_yticks([2, 5, 10, 20, 50, 100])
    axes[0].yaxis.set_major_formatter(ScalarFormatter())
    figure.tight_layout()
    figure.savefig(file, transparent=True, metadata={"Date": None, "Creator": None})
    file.write_text(_for_everybody(file.read_text(), rows))


_LINE = "#0969da"
_WHOLE_FROM = 20
_STYLE = """<style>
   svg { color: #1f2328; background: #ffffff } text { font-family: system-ui, "DejaVu Sans", sans-serif }
   @media (prefers-color-scheme: dark) { svg { color: #e6edf3; background: #0d1117 } }
  </style>"""


def _for_everybody(svg: str, rows: list[dict[str, Any]]) -> str:
    """Give the picture a title and a description, and colours that read in the dark."""
    told = "; ".join(
        f"{row['rooms']:,} rooms of {row['members']:,}: {row['us/delivery']:.1f}" for row in rows
    )
    words = (
        "<title>What a delivery costs as rooms grow in number and in size</title>\n"
        f"  <desc>Microseconds of one core for a delivery. {told}.</desc>\n  {_STYLE}\n"
    )
    start = svg.index(">", svg.index("<svg")) + 1
    body = svg[start:].replace("#000000", "currentColor").replace("#b0b0b0", "currentColor")
    return f"{svg[:start]}\n  {words}{body}"


def main() -> None:
    """Measure, or draw what was measured."""
    arguments = parser(__doc__)
    arguments.add_argument("--wire", choices=("native", "socketio"), default="native", help="[native]")
    arguments.add_argument("--rooms", type=int, nargs="*", default=list(ROOMS), metavar="N")
    arguments.add_argument("--members", type=int, nargs="*", default=list(MEMBERS), metavar="N")
    arguments.add_argument(
        "--plot", nargs="+", type=Path, metavar="FILE", help="draw: results as JSON, the picture last"
    )
    chosen = arguments.parse_args()
    if chosen.plot:
        *results, picture = chosen.plot
        plot([row for file in results for row in json.loads(file.read_text())], picture)
        return
    rows = [measure(count, MEMBERS_OF_A_ROOM, RATE, chosen.wire) for count in chosen.rooms]
    rows += [measure(1, count, max(1.0, DELIVERIES / count), chosen.wire) for count in chosen.members]
    report(rows, chosen.json)


if __name__ == "__main__":
    main()
