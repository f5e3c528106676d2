"""How batches become rows of Postgres: the statements, and what they are given."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import msgspec
import trio

from trio_chat.message import Deleted, Edited, epoch_started
from trio_chat.stores.base import TAKEN, Refused, newer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import datetime

    from trio_chat.message import Event, Receipt
    from trio_chat.stores.base import Batch, Session
    from trio_chat.stores.migrations import Connection

_PIECE = 25  # rows made at a time: a tenth of a millisecond, after which other tasks have their turn

State: TypeAlias = "tuple[Session, Event, datetime | None]"

_WRITE_SESSIONS = """
insert into sessions (epoch, room, top, started_at, ended_at)
select * from unnest($1::uuid[], $2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[])
on conflict (epoch) do update set
    top = greatest(sessions.top, excluded.top),
    ended_at = coalesce(sessions.ended_at, excluded.ended_at)
where sessions.top < excluded.top or (sessions.ended_at is null and excluded.ended_at is not null)
"""

_COLUMNS = (
    *("epoch", "seq", "rev", "room", "id", "role", "user_id", "content", "metadata"),
    *("created_at", "edited_at", "deleted_at"),
)

_WRITE_MESSAGES = """
insert into messages select * from incoming
on conflict (epoch, seq) do update set
    rev = excluded.rev,
    content = excluded.content,
    metadata = excluded.metadata,
    edited_at = coalesce(excluded.edited_at, messages.edited_at),
    deleted_at = excluded.deleted_at
where messages.rev < excluded.rev and messages.id = excluded.id
"""

_FIND_STRANGERS = """
select exists (select from incoming join messages using (epoch, seq) where incoming.id <> messages.id)
"""

_WRITE_RECEIPTS = """
insert into receipts (room, user_id, message_id, at)
select * from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
on conflict (room, user_id) do update set message_id = excluded.message_id, at = excluded.at
where receipts.at < excluded.at
"""


async def write_states(
    connection: Connection, batches: Sequence[Batch], states: Sequence[State], patience: float
) -> int | None:
    """Write in one transaction, in asyncio's world.

    Returns:
        How many messages were new or changed; None if another message has the place of one, and nothing was written.
    """
    limit = int(patience * 1000)
    try:
        # The server gives up when we do, so that a lost connection holds no locks.
        await connection.execute(
            f"begin; set local statement_timeout = {limit}; set local idle_in_transaction_session_timeout = {limit};"
            "create temporary table incoming (like messages) on commit drop"
        )
        await connection.execute(_WRITE_SESSIONS, *_session_columns(batches))
        await connection.copy_records_to_table("incoming", records=_rows(states), columns=_COLUMNS)
        status = await connection.execute(_WRITE_MESSAGES)
        if await connection.fetchval(_FIND_STRANGERS):
            await connection.execute("rollback")
            return None
        if receipts := _receipt_columns(batches):
            await connection.execute(_WRITE_RECEIPTS, *receipts)
        await connection.execute("commit")
    except asyncpg.PostgresError:
        await connection.execute("rollback")  # noqa: ASYNC120 - a cancel here ends the connection
        raise
    return int(status.rpartition(" ")[2])


async def newest_states(batches: Sequence[Batch]) -> list[State]:
    """Reduce events to one state a message, the one with the highest `rev`, in the order of their keys.

    The third part of a state is when the message was last edited, as far as these events know. Others have their turn
    meanwhile.

    Raises:
        Refused: two messages claim one place.
    """
    states: dict[tuple[str, int], State] = {}
    for batch in batches:
        for place, event in enumerate(batch.events):
            if place % _PIECE == 0:
                await trio.lowlevel.checkpoint()
            key = (batch.session.epoch, event.message.seq)
            known = states.get(key)
            if known is not None and known[1].message.id != event.message.id:
                raise Refused(TAKEN)
            if known is None or known[1].seq < event.seq:
                edited = event.at if isinstance(event, Edited) else known[2] if known is not None else None
                states[key] = (batch.session, event, edited)
    return [states[key] for key in sorted(states)]


async def _rows(states: Sequence[State]) -> AsyncGenerator[tuple[object, ...]]:
    """Yield the rows of states, in asyncio's world."""
    for place, state in enumerate(states):
        if place % _PIECE == 0:
            await asyncio.sleep(0)
        yield _row(*state)


def _row(session: Session, event: Event, edited: datetime | None) -> tuple[object, ...]:
    """Return a message's columns, in the order of `_COLUMNS`."""
    message = event.message
    return (
        session.epoch,
        message.seq,
        message.rev,
        session.room,
        message.id,
        message.role,
        message.user_id,
        message.content,
        msgspec.json.encode(message.metadata).decode(),
        message.timestamp,
        edited,
        event.at if isinstance(event, Deleted) else None,
    )


def _session_columns(batches: Sequence[Batch]) -> tuple[list[object], ...]:
    """Return the sessions of all batches, one row each, by columns and in the order of their epochs."""
    rows: dict[str, tuple[str, str, int, datetime, datetime | None]] = {}
    for batch in sorted(batches, key=lambda batch: (batch.session.epoch, batch.top)):
        epoch, known = batch.session.epoch, rows.get(batch.session.epoch)
        ended = batch.ended or (known[-1] if known else None)
        rows[epoch] = (epoch, batch.session.room, batch.top, epoch_started(epoch), ended)
    return tuple(list(column) for column in zip(*rows.values(), strict=True))


def _receipt_columns(batches: Sequence[Batch]) -> tuple[list[object], ...]:
    """Return the newest read mark of each room and user, by columns and in the order of their keys; () if none."""
    marks: dict[tuple[str, str], Receipt] = {}
    for batch in batches:
        for user, receipt in batch.receipts.items():
            key = (batch.session.room, user)
            if newer(receipt, marks.get(key)):
                marks[key] = receipt
    rows = [(*key, marks[key].message_id, marks[key].timestamp) for key in sorted(marks)]
    return tuple(list(column) for column in zip(*rows, strict=True))
