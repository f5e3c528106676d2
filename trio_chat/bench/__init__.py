"""`trio-chat bench`: measure a running server from outside, over either wire, and check every message on the way.

Read `run` first, then down: `plan` (what to do), `run` (its stages), `poster` (who posts when), `member` (a
connection), `native` and `socketio` (what it says), `lane` (how it hears), `tally` and `latency` (the accounts), `report`.
"""

from __future__ import annotations

from trio_chat.bench.command import bench
from trio_chat.bench.plan import EPILOG, add_bench_arguments

__all__ = ["EPILOG", "add_bench_arguments", "bench"]
