"""The verdict on a log of what clients saw and on what the stores hold in the end. See `log` for what goes in.

What is looked for, and found as a `Finding` of that kind:

- **lost**: acknowledged, and nowhere; or marked as archived, and not in the archive.
- **phantom**: there or seen, though nobody asked for it or it was refused.
- **duplicate**: asked for once, there twice.
- **agreement**: (epoch, seq) is one event, whoever tells of it.
- **order**: a member hears one contiguous run of events, from where it joined; nobody is acknowledged what they have
  not heard.
- **isolation**: something of one room in another, or told to somebody who is not there.
- **window**: what a client shows is exactly the newest messages; the hot store keeps what windows and the archive need.
- **liveness**: each operation is resolved in time; once all is well, changes are carried out and everything is archived.

What may be missing: events that were acknowledged as `memory`, behind `log.Forgot`; and any behind `log.Lost`.
"""

from trio_chat.testing.verdict.findings import KINDS, Finding, Kind, Verdict
from trio_chat.testing.verdict.judge import judge
from trio_chat.testing.verdict.log import Contents, Entry, Kept, Row, Seen

__all__ = ["KINDS", "Contents", "Entry", "Finding", "Kept", "Kind", "Row", "Seen", "Verdict", "judge"]
