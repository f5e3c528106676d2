"""What comes of a verdict."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import msgspec
from typing_extensions import override

Kind: TypeAlias = Literal[
    "lost", "phantom", "duplicate", "agreement", "order", "isolation", "window", "liveness"
]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Finding(msgspec.Struct, frozen=True):
    """Something that must not be. `at` is when it was seen, or the end of the log.

    `late` says that it is wrong only in how long it took: sooner, the same would have been right. On a clock that
    others share, the machine may be to blame.
    """

    kind: Kind
    at: float
    what: str
    late: bool = False

    @override
    def __str__(self) -> str:
        return f"{self.at:8.3f} {self.kind}: {self.what}"


class Verdict(msgspec.Struct, frozen=True):
    """What was found, and how much was looked at: a verdict on nothing is no verdict.

    Attributes:
        findings: what is wrong; empty if all is well.
        looked: how many there were: acks, heard changes, windows compared, windows that could not be; and of what is
            excused: acknowledged changes that are gone, messages that are in several sessions.
    """

    findings: tuple[Finding, ...]
    looked: dict[str, int]

    def kinds(self) -> set[Kind]:
        """Return the kinds of what is wrong."""
        return {finding.kind for finding in self.findings}

    def count(self, kind: Kind) -> int:
        """Return how many findings of a kind there are."""
        return sum(finding.kind == kind for finding in self.findings)
