"""What the benchmarks share: a server in a process of its own, what it costs, and words about it.

1. The server runs on one CPU, everything else (its Valkey, its Postgres, the clients) on the other, so that what is
   measured is one core's worth of server. With a single CPU everything shares it, and figures mean little.
2. What a server costs is read from `/proc`: CPU time in ticks of 10 ms, memory as pages that are resident. Valkey and
   Postgres are processes of their own and not in it.
3. Progress goes to stderr, results to stdout.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trio_chat.stores.embedded import EmbeddedPostgres, EmbeddedValkey
from trio_chat.stores.supervision import serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SERVER_CPU = 0
OTHER_CPU = 1

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_WHOLE_FROM = 1000


def parser(docstring: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is the docstring of the script, with the option every script has."""
    made = argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    return made


def progress(text: str) -> None:
    """Tell whoever waits what is going on."""
    print(f"  {text}", file=sys.stderr, flush=True)


def report(rows: Sequence[dict[str, Any]], file: Path | None) -> None:
    """Print rows of results as a table, and write them to a file if there is one."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = [names, *([_shown(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    if file is not None:
        file.write_text(json.dumps(rows, indent=1) + "\n")


def _shown(value: object) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= _WHOLE_FROM else f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of sorted values is at or below."""
    return values[int((len(values) - 1) * share)]


def many_descriptors() -> None:
    """Let this process, and those it starts, have as many open sockets as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def on(cpu: int) -> Iterator[None]:
    """Keep this process, and those it starts, on one CPU inside the block, if there is such a CPU."""
    allowed = os.sched_getaffinity(0)
    if cpu in allowed:
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def private_stores() -> Iterator[dict[str, str]]:
    """Run a Valkey and a Postgres with nothing in them on the other CPU; yield the environment that names them."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="trio-chat-benchmark-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        with on(OTHER_CPU):
            valkey = stack.enter_context(serving(EmbeddedValkey(directory)))
            postgres = stack.enter_context(serving(EmbeddedPostgres(directory)))
        yield {"REDIS_URL": valkey.url, "DATABASE_URL": postgres.url, "DATA_DIR": str(directory)}


@contextmanager
def apart() -> Iterator[dict[str, str]]:
    """Run private stores, and the block as if this process were the server: on its CPU, with its garbage collector."""
    with private_stores() as environment, on(SERVER_CPU):
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 10, 10)  # as `trio-chat serve` sets it
        yield environment


class Server:
    """A running server. Made by `running_server`; lives as long as that block."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, environment: dict[str, str]) -> None:
        self.port = port
        self.environment = environment
        self._process = process

    def cpu(self) -> float:
        """Return the CPU seconds it has used so far, in user and system mode."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def memory(self) -> int:
        """Return the bytes of it that are resident."""
        return resident(self._process.pid)


def resident(pid: int) -> int:
    """Return the bytes of a process that are resident."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


@contextmanager
def running_server(**environment: str) -> Iterator[Server]:
    """Run `trio-chat serve` without limits on rates and connections, on stores of its own; see the module."""
    many_descriptors()
    with ExitStack() as stack:
        stores = stack.enter_context(private_stores())
        settings = {"AUTH_MODE": "insecure", "PRESET": "standard", "LOG_LEVEL": "warning"}
        given = {**settings, **stores, **environment}
        port = _free_port()
        log = stack.enter_context((Path(stores["DATA_DIR"]) / "server.log").open("wb"))
        with on(SERVER_CPU):
            process = subprocess.Popen(
                [sys.executable, "-m", "trio_chat", "serve", "--port", str(port)],
                env={**os.environ, **given}, stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        stack.callback(_stop, process)
        stack.enter_context(on(OTHER_CPU))
        try:
            _wait_for(port, process)
            yield Server(process, port, given)
        finally:
            for line in Path(log.name).read_text().splitlines():
                if "AUTH_MODE=insecure" not in line:
                    progress(f"the server said: {line}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes], patience: float = 30.0) -> None:
    until = time.monotonic() + patience
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the server does not listen")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
