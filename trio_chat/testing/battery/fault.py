"""What a fault is, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from trio_chat.testing.verdict import KINDS, Kind, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_chat.testing.battery.scene import Scene


Doing: TypeAlias = "Callable[[Scene], Awaitable[None]]"


class Fault(msgspec.Struct, frozen=True):
    """A fault and the stage it needs. `do` injects it, heals it, and says what else must hold.

    Attributes:
        code: what to call it.
        title: what is done.
        do: does it, in the middle of the load.
        valkey: settings of the Valkey.
        settings: settings of the server.
        program: what of Python's is the server.
        rooms: how many there are,
        clients: with so many in each,
        rate: who send so many messages a second.
        control: what kind of finding there must be: it shows that the battery finds what there is to find.
    """

    code: str
    title: str
    do: Doing
    valkey: Mapping[str, str] = {}
    settings: Mapping[str, str] = {}
    program: Sequence[str] = ("-m", "trio_chat")
    rooms: int = 20
    clients: int = 10
    rate: float = 100.0
    control: Kind | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What came of a fault.

    Attributes:
        verdict: the checker's.
        complaints: what else must hold and does not.
        notes: what was measured.
        recovery: seconds from the end of the fault until everything was as before.
        latency: of acks, in seconds: the median and the 99th percentile before the fault, the longest of all.
        load: how much was going on.
        seconds: how long it took altogether.
    """

    code: str
    title: str
    verdict: Verdict
    complaints: tuple[str, ...]
    notes: tuple[str, ...]
    recovery: float
    latency: tuple[float, float, float]
    load: str
    seconds: float
    control: Kind | None = None

    @property
    def held(self) -> bool:
        """Whether all is as it must be; a control must not be."""
        if self.control is not None:
            return self.verdict.count(self.control) > 0
        return not (self.verdict.findings or self.complaints)

    @property
    def summary(self) -> str:
        """The counts of what is wrong, in a line."""
        counts = {kind: self.verdict.count(kind) for kind in KINDS}
        return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "clean"
