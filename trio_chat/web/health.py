"""Whether the server can do its work: a canary goes through Redis and back, the archive answers and is not far behind.

1. Nothing is done until somebody asks. Whoever asks within `_FRESH` seconds of an answer gets that same answer, so that
   strangers cannot make the stores work.
2. A check takes `_PATIENCE` seconds at most: what asks has patience of its own.
3. What is said is for everybody: it names no host, and quotes no store.
4. When it is not ready any more, or is again, the log says so: somebody is about to be woken.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Final

import msgspec
import trio
from typing_extensions import override

from trio_chat.errors import Misconfigured, TrioChatError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_chat.stores.base import Archive, HotStore
    from trio_chat.syncer import Syncer

logger = logging.getLogger(__name__)

_FRESH: Final = 3.0
_PATIENCE: Final = 2.0
# Longer than any name that a Socket.IO client may make the server look up.
_NAME_BYTES: Final = 40
_CANARY_SECONDS: Final = 60.0


class Check(msgspec.Struct, frozen=True):
    """What came of one check.

    Attributes:
        ok: whether it is well.
        detail: in words, for whoever looks.
        seconds: how long the answer took; for `sync`, how far the archive is behind.
    """

    ok: bool
    detail: str
    seconds: float


class Report(msgspec.Struct, frozen=True):
    """What came of all checks."""

    ready: bool
    checks: dict[str, Check]


class Readiness:
    """See the module. Lives as long as the server.

    Args:
        hot: where the canary goes.
        archive: is asked whether it is there.
        syncer: knows how far the archive is behind.
        limit: how many seconds it may be behind.
    """

    def __init__(self, hot: HotStore, archive: Archive, syncer: Syncer, limit: float) -> None:
        self._hot = hot
        self._archive = archive
        self._syncer = syncer
        self._limit = limit
        self._canary = f"canary-{secrets.token_hex(_NAME_BYTES)}"
        self._asking = trio.Lock()
        self._report: Report | None = None
        self._until = 0.0

    @override
    def __repr__(self) -> str:
        return f"<Readiness {'unknown' if self._report is None else self._report.ready}>"

    async def report(self) -> Report:
        """Return how things are, or were a moment ago. Cancelling is safe: whoever waits asks in one's place."""
        async with self._asking:
            if self._report is None or trio.current_time() >= self._until:
                report = await self._ask()
                _tell(report, was_ready=self._report is None or self._report.ready)
                self._report = report
                self._until = trio.current_time() + _FRESH
            return self._report

    async def _ask(self) -> Report:
        checks: dict[str, Check] = {}

        async def check(name: str, ask: Callable[[], Awaitable[None]]) -> None:
            checks[name] = await _timed(ask)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(check, "redis", self._send_canary)
            nursery.start_soon(check, "postgres", self._archive.probe)
        checks["sync"] = self._measure_lag()
        return Report(all(one.ok for one in checks.values()), dict(sorted(checks.items())))

    async def _send_canary(self) -> None:
        word = secrets.token_bytes(8)
        await self._hot.keep({self._canary: (word, _CANARY_SECONDS)})
        if await self._hot.kept(self._canary) != word:
            raise Misconfigured("what was written was not there")

    def _measure_lag(self) -> Check:
        lag = self._syncer.statistics().lag
        well = lag <= self._limit
        detail = "well" if well else f"the archive is more than {self._limit:g} s behind"
        return Check(well, detail, round(lag, 3))


def _tell(report: Report, *, was_ready: bool) -> None:
    """Log that it has changed, if it has."""
    if report.ready and not was_ready:
        logger.info("ready again", extra={"event": "ready"})
    elif was_ready and not report.ready:
        wrong = "; ".join(f"{name}: {check.detail}" for name, check in report.checks.items() if not check.ok)
        logger.warning("not ready: %s", wrong, extra={"event": "not_ready"})


async def _timed(ask: Callable[[], Awaitable[None]]) -> Check:
    begun = trio.current_time()
    detail = f"no answer within {_PATIENCE:g} s"
    with trio.move_on_after(_PATIENCE):
        try:
            await ask()
            detail = ""
        except Misconfigured:
            detail = "it answers, but does not work for us; the log says why"
        except TrioChatError:
            detail = "away"
    return Check(not detail, detail or "well", round(trio.current_time() - begun, 6))
