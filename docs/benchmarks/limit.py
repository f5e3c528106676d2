"""The socket's own limit, and how near a server comes to it.

A room of N members costs a server N sends a message, whatever else it does. `limit.c` does nothing but these sends:
it is compiled, run in both its modes, and its deliveries a second are printed.

  free            the sender goes on as fast as the sockets take it
  one-at-a-time   the next message goes out when everybody has the last one, as in a room where people take turns

    python limit.py                                   the limit of this machine
    python limit.py --beside 'COMMAND'                and a server's figure beside it

COMMAND measures a server, and prints somewhere `deliveries_per_s` and then a number (as JSON, or in a table); the
last one counts. It takes turns with the program, so that what else happens on the machine happens to both; the
ratio of the medians is what to quote.

What goes out each time is 394 bytes: what a member of a room gets over Socket.IO for a message of 200 characters.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from harness import parser, progress, report

MODES = ("free", "one-at-a-time")
SOURCE = Path(__file__).with_name("limit.c")


def build(directory: str) -> Path:
    """Compile the program, and return where it is."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("limit: no C compiler (cc) on this machine")
    binary = Path(directory) / "limit"
    subprocess.run([compiler, "-O2", "-o", binary, SOURCE], check=True)
    return binary


def run(binary: Path, mode: str, options: list[str]) -> dict[str, Any]:
    """Run the program once, and return what it says."""
    done = subprocess.run([binary, mode, *options], check=True, capture_output=True, text=True, timeout=120)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def measure_beside(command: str) -> float:
    """Run a command once, and return the deliveries a second it says."""
    done = subprocess.run(shlex.split(command), check=True, stdout=subprocess.PIPE, text=True)
    found = re.findall(r"deliveries_per_s[^\d\n]*([\d,.]+)", done.stdout)
    if not found:
        raise SystemExit(f"limit: `{command}` printed no deliveries_per_s")
    return float(found[-1].rstrip(".,").replace(",", ""))


def main() -> None:
    """Take turns, and print medians."""
    arguments = parser(__doc__)
    arguments.add_argument("--members", type=int, default=200, help="[200]")
    arguments.add_argument("--messages", type=int, default=2000, help="[2000]")
    arguments.add_argument("--bytes", type=int, default=394, help="of one frame [394]")
    arguments.add_argument("--runs", type=int, default=5, help="how often everything is run [5]")
    arguments.add_argument("--beside", metavar="COMMAND", help="a command that measures a server")
    chosen = arguments.parse_args()
    options = [f"{name}={getattr(chosen, name)}" for name in ("members", "messages", "bytes")]
    said: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
    beside: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        binary = build(directory)
        for number in range(chosen.runs):
            progress(f"run {number + 1} of {chosen.runs}")
            for mode in MODES:
                said[mode].append(run(binary, mode, options))
            if chosen.beside:
                beside.append(measure_beside(chosen.beside))
    rows = [median(mode, said[mode]) for mode in MODES]
    if beside:
        served = statistics.median(beside)
        rows = [
            row | {"server_per_s": served, "server / limit": served / row["deliveries_per_s"]} for row in rows
        ]
    report(rows, chosen.json)


def median(mode: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of some runs."""
    figures = {
        name: float(statistics.median(one[name] for one in runs))
        for name in ("deliveries_per_s", "sender_us")
    }
    return {"mode": mode, **figures}


if __name__ == "__main__":
    main()
