"""What a fault is, and what came of it.

What does not hold is of two sorts. *Wrong* is what no machine excuses: it counts, whenever it is seen. *Late* is what is
wrong only in how long it took: on a machine that was busy with something else it says nothing about the server. So an
outcome that is late, and nothing else, is looked at once more, with nothing beside it (`again`), and that one counts.
What never comes at all is not late: it is waited for beyond its bound, and then it is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from trio_chat.testing.verdict import KINDS, Kind, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_chat.testing.battery.scene import Scene


Doing: TypeAlias = "Callable[[Scene], Awaitable[None]]"
Control: TypeAlias = Kind | Literal["late"]


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
        alone: whether it measures so finely that nothing may go on beside it.
        control: what kind of finding there must be, or "late": it shows that the battery finds what there is to find.
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
    alone: bool = False
    control: Control | None = None

    @property
    def load(self) -> str:
        """How much goes on, in a few words."""
        return f"{self.rooms} x {self.clients}, {self.rate:g}/s"


class Complaint(msgspec.Struct, frozen=True):
    """Something that must hold beyond the verdict and does not. `late`: see the module."""

    what: str
    late: bool = False


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
        first: what was late at first, if this is what came of it when it was performed once more.
    """

    code: str
    title: str
    verdict: Verdict
    complaints: tuple[Complaint, ...]
    notes: tuple[str, ...]
    recovery: float
    latency: tuple[float, float, float]
    load: str
    seconds: float
    control: Control | None = None
    first: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        """Whether all is as it must be; a control must not be."""
        if self.control == "late":
            return any(complaint.late for complaint in self.complaints)
        if self.control is not None:
            return self.verdict.count(self.control) > 0
        return not (self.verdict.findings or self.complaints)

    @property
    def late(self) -> bool:
        """Whether something does not hold, and all of it is late. Of a control nothing is."""
        if self.held or self.control is not None:
            return False
        findings = all(finding.late for finding in self.verdict.findings)
        return findings and all(complaint.late for complaint in self.complaints)

    @property
    def summary(self) -> str:
        """The counts of what is wrong, in a line."""
        counts = {kind: self.verdict.count(kind) for kind in KINDS}
        return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "clean"


def again(first: Outcome, second: Outcome) -> Outcome:
    """Return what counts of a fault that was late, and was performed once more: the second, and why there is one."""
    complaints = [complaint.what for complaint in first.complaints]
    findings = [finding.what for finding in first.verdict.findings]
    return msgspec.structs.replace(second, first=(*complaints, *findings))


def unperformed(fault: Fault, what: str, *, late: bool, seconds: float) -> Outcome:
    """Return the outcome of a fault that could not be performed to its end: it does not hold."""
    return Outcome(
        code=fault.code,
        title=fault.title,
        verdict=Verdict((), {}),
        complaints=(Complaint(what, late and fault.control is None),),
        notes=(),
        recovery=0.0,
        latency=(0.0, 0.0, 0.0),
        load=fault.load,
        seconds=seconds,
        control=fault.control,
    )
