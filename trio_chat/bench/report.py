"""What a run has measured, for people and for programs, and what to make of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from rich import box
from rich.table import Table

from trio_chat.bench.latency import Summary
from trio_chat.bench.tally import Verdict
from trio_chat.errors import ReplyCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_chat.bench.plan import Plan
    from trio_chat.place import Ended

_BUSY = 0.9
_LATE_MS = 100.0
_MORE = "use more members, or start the server with RATE_LIMITS=off or PRESET=standard"


class Stage(msgspec.Struct, frozen=True):
    """How long all connections together took for something."""

    seconds: float
    per_second: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has measured. Times are seconds, or milliseconds where the name says so.

    Attributes:
        seconds: from the start of posting until the last answer or delivery.
        acked: messages, by the durability that the acknowledgement said.
        refused: messages, by code.
        lost: connections that ended before the run did, by how.
        limited: whether one of them ended for asking too much.
        late_ms: how much too late, at most, a message was sent that was due at a time.
        client_cpu: the share of one core that the bench itself has used.
        limits: what the server says it allows each connection.
    """

    url: str
    wire: str
    rooms: int
    members: int
    rate: float | None
    window: int | None
    size: int
    interrupted: bool
    connected: Stage
    joined: Stage
    seconds: float
    sent: int
    acked: dict[str, int]
    refused: dict[str, int]
    deliveries: int
    delivery_ms: Summary | None
    ack_ms: Summary | None
    verdict: Verdict
    lost: dict[str, int]
    limited: bool
    late_ms: float
    client_cpu: float
    limits: Mapping[str, float]

    @property
    def messages_per_second(self) -> float:
        """How many messages were acknowledged in a second."""
        return round(sum(self.acked.values()) / self.seconds, 1) if self.seconds else 0.0

    @property
    def deliveries_per_second(self) -> float:
        """How many messages arrived somewhere in a second."""
        return round(self.deliveries / self.seconds, 1) if self.seconds else 0.0

    @property
    def passed(self) -> bool:
        """Whether something was measured, everything adds up and everybody was there all the time."""
        return bool(self.acked) and self.verdict.well and not self.lost

    def to_json(self) -> bytes:
        """Return everything as one JSON object."""
        more = {
            "messages_per_second": self.messages_per_second,
            "deliveries_per_second": self.deliveries_per_second,
            "passed": self.passed,
            "notes": list(self.notes()),
        }
        return msgspec.json.format(msgspec.json.encode(msgspec.structs.asdict(self) | more), indent=2) + b"\n"

    def notes(self) -> Iterator[str]:
        """Say what somebody should know who reads the figures, what is wrong first."""
        yield from self._faults()
        if ReplyCode.RATE_LIMITED in self.refused or self.limited:
            limit, burst = self.limits.get("requestsPerSecond", 0), self.limits.get("requestBurst", 0)
            yield (
                f"rate_limited: the server allows each connection {limit:g} requests a second, {burst:g} at once; "
                f"the figures are of that limit. To go beyond, {_MORE}."
            )
        if self.interrupted:
            missing = (
                "" if self.verdict.well else " What was still under way counts as missing or unanswered."
            )
            yield f"Interrupted: these are the figures of what was done until then.{missing}"
        if self.late_ms > _LATE_MS:
            yield (
                f"Messages were sent up to {self.late_ms:,.0f} ms after they were due, which their latencies "
                "contain: this rate is more than the server and this client can do together."
            )
        if self.client_cpu > _BUSY:
            yield (
                f"The bench itself has used {self.client_cpu:.0%} of a core: the figures are the limit of this "
                "client, not of the server. Run several, from other machines too."
            )
        else:
            yield (
                f"The bench is Python, on this machine, and has used {self.client_cpu:.0%} of a core; its own work "
                "is part of every latency."
            )

    def _faults(self) -> Iterator[str]:
        verdict = self.verdict
        if verdict.missing:
            yield f"MISSING: {verdict.missing:,} deliveries did not happen."
        if verdict.repeated:
            yield f"REPEATED: {verdict.repeated:,} deliveries or acknowledgements came again."
        if verdict.misplaced:
            yield f"OUT OF ORDER: in {verdict.misplaced:,} places members heard messages in another order."
        if verdict.strange:
            yield f"STRANGE: {verdict.strange:,} deliveries were of messages never posted there, or refused."
        if verdict.unanswered:
            yield f"UNANSWERED: {verdict.unanswered:,} messages were neither acknowledged nor refused."
        for text, count in self.lost.items():
            yield f"LOST: {count:,} of {self.rooms * self.members:,} connections: {text}"
        if not self.acked:
            yield "NOTHING was acknowledged."

    def title(self) -> str:
        """Return what was measured, in one line."""
        load = (
            f"{self.rate:g} messages/s" if self.rate is not None else f"{self.window} under way in each room"
        )
        return f"{self.url}, {self.wire}: {_many(self.rooms, 'room')} of {_many(self.members, 'member')}, {load}, {_many(self.size, 'character')} each"

    def table(self) -> Table:
        """Return the figures for people."""
        table = Table(box=box.SIMPLE, show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(style="dim")
        for name, figure, words in self._rows():
            table.add_row(name, figure, words)
        return table

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        for name, stage in (("connected", self.connected), ("joined", self.joined)):
            yield name, f"{stage.seconds:.2f} s", f"{stage.per_second:,.0f} a second"
        yield "sent", f"{self.sent:,}", f"messages, in {self.seconds:.2f} s"
        yield "acknowledged", f"{sum(self.acked.values()):,}", f"stored in {_counted(self.acked)}"
        if self.refused:
            yield "refused", f"{sum(self.refused.values()):,}", _counted(self.refused)
        yield "messages/s", f"{self.messages_per_second:,.1f}", "acknowledged"
        yield "deliveries/s", f"{self.deliveries_per_second:,.1f}", f"{self.deliveries:,} in all"
        for name, summary in (("delivery", self.delivery_ms), ("acknowledgement", self.ack_ms)):
            if summary is not None:
                figure = " / ".join(map(_ms, (summary.p50, summary.p99, summary.max)))
                yield name, figure, "ms: p50 / p99 / max"
        if self.passed:
            yield "verdict", "well", "all arrived, once each, in order"
        else:
            yield "verdict", "NOT WELL", "see below"


def _ms(figure: float) -> str:
    return f"{figure:,.2f}" if figure < 100 else f"{figure:,.0f}"  # noqa: PLR2004 - three digits will do


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in sorted(counts.items()))


def warnings_for(plan: Plan, limits: Mapping[str, Any]) -> Iterator[str]:
    """Say what of the plan the server will not let happen."""
    limit = limits.get("requestsPerSecond", 0)
    share = (plan.rate or 0) / plan.connections
    if limit and share > limit:
        yield (
            f"{share:g} messages a second on each connection, and the server allows {limit:g}: the rest will be "
            f"refused as rate_limited, and who goes on is disconnected; {_MORE}"
        )


def advice_to_enter(ended: Ended, plan: Plan) -> str:
    """Return what to do about a connection that was not let in; empty if nobody knows."""
    if ended.code == ReplyCode.UNAUTHORIZED and "user" in plan.hello(0):
        return "; give the AUTH_SECRET or the DATA_DIR of the server, or --token-file"
    if ended.code == ReplyCode.TOO_MANY_CONNECTIONS and plan.connections > 1:
        return "; give a token for each connection by --token-file, or start the server with PRESET=standard"
    return ""
