"""What must hold, and what does not: see `fault` for *wrong* and *late*."""

from __future__ import annotations

from typing_extensions import override

from trio_chat.testing.battery.fault import Complaint


class Demands:
    """Complaints and notes of one fault. Lives as long as its scene.

    Attributes:
        complaints: what does not hold.
        notes: what was measured.
    """

    def __init__(self) -> None:
        self.complaints: list[Complaint] = []
        self.notes: list[str] = []

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} complaints={len(self.complaints)}>"

    def require(self, holds: bool, what: str, *, late: bool = False) -> None:
        """Complain unless something holds. `late`: whether what is wrong is only how long it took."""
        if not holds:
            self.complaints.append(Complaint(what, late))

    def require_at_most(self, bound: float, measured: float, what: str) -> None:
        """Complain, of something late, unless a time that was measured is within its bound."""
        self.require(measured <= bound, f"{what}: {measured:.2f}, expected at most {bound:g}", late=True)

    def require_at_least(self, bound: float, measured: float, what: str) -> None:
        """Complain, of something late, unless there was enough of something in the time it had."""
        self.require(measured >= bound, f"{what}: {measured:g}, expected at least {bound:g}", late=True)

    def note(self, what: str) -> None:
        """Note something that was measured."""
        self.notes.append(what)
