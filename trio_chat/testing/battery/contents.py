"""What is where: in Redis, in Postgres, and in the window of somebody who comes anew."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
import redis
import trio

from trio_chat.message import Deleted
from trio_chat.stores.base import Session
from trio_chat.stores.entries import Unreadable, decode
from trio_chat.testing.battery.wire import Gone, Wire
from trio_chat.testing.verdict import Contents, Kept, Row, Seen
from trio_chat.testing.verdict.log import Close, Invoke, Join, Unknown, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trio_chat.testing.battery.journal import Journal
    from trio_chat.testing.battery.machine import Machine

_AS_JSON = "select coalesce(json_agg(one), '[]') from (%s) one"
_PATIENCE = 30.0


async def look(machine: Machine) -> Contents:
    """Read both stores, not through the proxies. What Redis has is read first. Cancelling is safe.

    Raises:
        RuntimeError: Postgres does not answer.
    """
    kept = await trio.to_thread.run_sync(read_redis, machine.valkey.url)
    return Contents(await read_postgres(machine), kept)


def read_redis(url: str, prefix: str = "tc") -> tuple[Kept, ...]:
    """Return the sessions in Redis. Blocks; for a worker thread."""
    driver: Any = redis.Redis  # its own types are incomplete
    with driver.from_url(url, socket_timeout=10) as untyped:
        keys = untyped.scan_iter(f"{prefix}:{{*}}:meta:*", count=1000)
        return tuple(kept for key in keys for kept in _read_session(untyped, key, prefix))


def _read_session(client: Any, key: bytes, prefix: str) -> Iterator[Kept]:
    session = _named(key.decode(errors="replace"))
    log = key.replace(b":meta:", b":log:")
    # At one moment, or a sync in between would look like a fault.
    asked = client.pipeline(transaction=True)
    asked.hgetall(key).xrange(log).ttl(key).ttl(log).get(f"{prefix}:{{{session.room}}}:now")
    try:
        meta, entries, own, its, now = asked.execute()
    except redis.ResponseError:
        return  # something of another type, put there by a fault
    top, synced = (_number(meta.get(name)) for name in (b"top", b"synced"))
    current = now == session.epoch.encode()
    yield Kept(session, top, synced, tuple(_rows(entries)), current, expires=own >= 0 or its >= 0)


def _named(key: str) -> Session:
    room, _, epoch = key.partition("{")[2].rpartition("}:meta:")
    return Session(room, epoch)


def _number(text: bytes | None) -> int:
    return int(text) if text and text.isdigit() else 0


def _rows(entries: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> Iterator[Row]:
    for name, fields in entries:
        try:
            event = decode(fields.get(b"e", b""), int(name.partition(b"-")[0]))
        except Unreadable:
            continue
        message = event.message
        seen = Seen(message.id, message.user_id, sys.intern(message.content), message.seq, message.rev)
        yield Row(seen, isinstance(event, Deleted))


async def read_postgres(machine: Machine) -> dict[Session, tuple[Row, ...]]:
    """Return all rows, in the order of their seqs; none if no server has made the table. Cancelling is safe.

    Raises:
        RuntimeError: it does not answer.
    """
    if (await machine.query("select to_regclass('messages')", patience=30)).strip() == "":
        return {}
    rows = (
        "select room, epoch, seq, rev, id, user_id, content, deleted_at is not null as deleted"
        " from messages order by epoch, seq"
    )
    answer = await machine.query(_AS_JSON % rows, patience=30)
    found: dict[Session, list[Row]] = {}
    for row in msgspec.json.decode(answer):
        seen = Seen(row["id"], row["user_id"], sys.intern(row["content"]), row["seq"], row["rev"])
        found.setdefault(Session(row["room"], row["epoch"]), []).append(Row(seen, row["deleted"]))
    return {session: tuple(rows) for session, rows in found.items()}


async def read_tops(machine: Machine) -> dict[Session, int]:
    """Return up to which seq Postgres has each session. Cancelling is safe.

    Raises:
        RuntimeError: it does not answer.
    """
    rows = "select room, epoch, max(rev) as top from messages group by room, epoch"
    answer = await machine.query(_AS_JSON % rows)
    return {Session(row["room"], row["epoch"]): row["top"] for row in msgspec.json.decode(answer)}


async def see(port: int, room: str, journal: Journal) -> int:
    """Look into a room as somebody new, and note what is seen. Returns how many messages that is.

    Raises:
        Gone: it cannot be entered.
    """
    wire, op = await Wire.open(port), journal.next_op()
    name = f"fresh-{op}"
    journal.note(Invoke(trio.current_time(), name, op, "join", room, name))
    try:
        with trio.fail_after(_PATIENCE):
            await wire.say("hello", user=name)
            await wire.say("room:join", room=room, ref=op)
            return await _be_shown(wire, name, op, journal)
    except (Gone, trio.TooSlowError) as error:
        journal.note(Unknown(trio.current_time(), op, repr(error)))
        raise Gone(1006) from None
    finally:
        journal.note(Close(trio.current_time(), name))
        wire.abort()


async def _be_shown(wire: Wire, name: str, op: int, journal: Journal) -> int:
    while True:
        for said in await wire.receive():
            now = trio.current_time()
            if said["type"] == "room:joined":
                where = said["epoch"], said["seq"], said["recovered"], said["first"]
                journal.note(Join(now, name, op, said["room"], *where))
            elif said["type"] == "messages:history":
                messages = tuple(map(seen_of, said["messages"]))
                journal.note(Window(now, name, said["room"], said["epoch"], said["seq"], messages))
                return len(messages)
            elif said["type"] == "error":
                raise Gone(1006)


def seen_of(message: dict[str, Any]) -> Seen:
    """Return a message as it came over the wire. Equal contents are one string: there are many of each."""
    content = sys.intern(message["content"])
    return Seen(message["id"], message["userId"], content, message["seq"], message["rev"])
