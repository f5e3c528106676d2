"""Judge a log: read it once, in order, and then look at what is known altogether."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.testing.verdict.conclusion import Conclusion
from trio_chat.testing.verdict.findings import Verdict
from trio_chat.testing.verdict.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_chat.testing.verdict.log import Contents, Entry


def judge(
    log: Iterable[Entry],
    contents: Contents,
    *,
    limit: int,
    patience: float = 5.0,
    settled: bool = True,
    once: bool = False,
    earlier: Iterable[Contents] = (),
) -> Verdict:
    """Judge a log and what the stores hold behind it.

    Args:
        log: what clients saw, in order.
        contents: what the stores hold.
        limit: how many messages a window has.
        patience: how many seconds an operation may take, and how long after `log.Heal` all must be well.
        settled: whether the archive has had the time to catch up.
        once: whether what was repeated must be there once even across sessions, unless the former session could not be
            continued (`log.Lost`, `log.Forgot`). Otherwise it is a new message of the next session.
        earlier: what the hot store held at other moments, with nobody speaking: nothing may be kept wrongly then, either.
    """
    reading = Reading(limit, patience)
    for entry in log:
        reading.read(entry)
    conclusion = Conclusion(reading, contents, limit, once=once)
    conclusion.draw(settled=settled)
    for look in earlier:
        conclusion.check_keeping(look)
    return Verdict(tuple(reading.findings), dict(reading.looked))
