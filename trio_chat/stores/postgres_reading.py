"""How rows of Postgres become messages again: the statements, and what they return."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from trio_chat.message import MAX_INTEGER, Message
from trio_chat.stores.base import Archived

if TYPE_CHECKING:
    import asyncpg

PAGE = """
select epoch, seq, rev, id, role, user_id, content, metadata, created_at from messages
where room = $1 and (epoch, seq) < ($2, $3) and deleted_at is null
order by epoch desc, seq desc
limit $4
"""

RECEIPTS = "select user_id, message_id, at from receipts where room = $1 order by at desc limit $2"


def archived(record: asyncpg.Record) -> Archived:
    """Return the message that is in a row of `PAGE`."""
    message = Message(
        id=record["id"],
        role=record["role"],
        content=record["content"],
        timestamp=record["created_at"],
        metadata=json.loads(record["metadata"], parse_int=_number),
        user_id=record["user_id"],
        seq=record["seq"],
        rev=record["rev"],
    )
    return Archived(str(record["epoch"]), message)


def _number(digits: str) -> float:
    """Read back a number that Postgres writes without a point: 1e300 comes as 301 digits."""
    number = int(digits)
    return number if abs(number) <= MAX_INTEGER else float(digits)
