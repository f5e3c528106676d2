"""Draw what `scale.py` has measured.

pip install '.[benchmarks]'
python scale.py --json scale.json
python plot_scale.py scale.json scale.svg         results as JSON, one file or more; the picture last
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter
from scale import DELIVERIES, MEMBERS_OF_A_ROOM, RATE

_LINE = "#0969da"
_WHOLE_FROM = 20
_STYLE = """<style>
   svg { color: #1f2328; background: #ffffff } text { font-family: system-ui, "DejaVu Sans", sans-serif }
   @media (prefers-color-scheme: dark) { svg { color: #e6edf3; background: #0d1117 } }
  </style>"""


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    """Draw CPU per delivery against rooms and against members."""
    # Texts stay texts, and what is drawn twice from the same figures is the same file.
    rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "trio-chat", "font.size": 11})
    by_rooms = [row for row in rows if row["members"] == MEMBERS_OF_A_ROOM]
    by_members = [row for row in rows if row["rooms"] == 1 and row["members"] > MEMBERS_OF_A_ROOM]
    figure = Figure(figsize=(9.6, 4.4))
    axes = figure.subplots(1, 2, sharey=True)
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
    """Read the results and draw them."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("results", type=Path, nargs="+", metavar="JSON")
    arguments.add_argument("picture", type=Path, metavar="SVG")
    chosen = arguments.parse_args()
    plot([row for file in chosen.results for row in json.loads(file.read_text())], chosen.picture)


if __name__ == "__main__":
    main()
