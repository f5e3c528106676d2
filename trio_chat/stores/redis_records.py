"""What the hot store keeps in Redis besides the events: names of keys, and how their values read. No I/O.

Values come from a server that others can write to, so every one is checked; what cannot be read is `None` or left
out, never an exception.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trio_chat.errors import Misconfigured
from trio_chat.message import Event, Receipt, is_epoch
from trio_chat.stores.base import Session, Stored
from trio_chat.stores.entries import Unreadable, decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_PREFIX = re.compile(r"[A-Za-z0-9_.:/@-]{1,64}")
_WHOLE = re.compile(rb"[0-9]{1,16}")
_ENTRY = re.compile(rb"([1-9][0-9]{0,15})-0")
_GLOB = re.compile(r"([*?\[\]\\])")

_receipts = msgspec.json.Decoder(Receipt)
encode_receipt = msgspec.json.Encoder().encode


class Names:
    """The names of all keys below a prefix. The room is in braces, so a room's own keys share a cluster slot."""

    def __init__(self, prefix: str) -> None:
        if _PREFIX.fullmatch(prefix) is None:
            raise Misconfigured(f"the prefix {prefix!r} must be 1-64 characters of A-Z a-z 0-9 _ . : / @ -")
        self.dirty: Final = f"{prefix}:dirty"
        self._prefix = prefix
        self._meta = re.compile(re.escape(prefix) + r":\{(.*)\}:meta:(.*)")

    def room(self, room: str) -> str:
        """Return what the names of all keys of a room begin with."""
        return f"{self._prefix}:{{{room}}}"

    def note(self, name: str) -> str:
        """Return the key of a note."""
        return f"{self._prefix}:note:{name}"

    def now(self, room: str) -> str:
        """Return the key that names the room's current session."""
        return f"{self.room(room)}:now"

    def quarantine(self, room: str) -> str:
        """Return the key of the entries set aside."""
        return f"{self.room(room)}:quarantine"

    def session(self, session: Session) -> list[str]:
        """Return the keys of a session in the order the scripts want them, see `lib.lua`."""
        room = self.room(session.room)
        own = [f"{room}:{kind}:{session.epoch}" for kind in ("meta", "log", "keys", "read", "pending")]
        return [f"{room}:now", *own, self.dirty, f"{room}:quarantine"]

    def metas(self) -> str:
        """Return the pattern of the meta keys of all sessions, for SCAN."""
        return _GLOB.sub(r"\\\1", f"{self._prefix}:{{") + "*}:meta:*"

    def session_of_meta(self, key: bytes) -> Session | None:
        """Return whose meta key this is."""
        found = self._meta.fullmatch(key.decode(errors="replace"))
        return Session(found[1], found[2]) if found is not None and is_epoch(found[2]) else None


def member_of(session: Session) -> str:
    """Return how the set of dirty sessions names one."""
    return f"{session.room} {session.epoch}"


def session_of(member: bytes) -> Session | None:
    """Return the session that a member of the set of dirty sessions names, or None."""
    room, _, epoch = member.decode(errors="replace").partition(" ")
    return Session(room, epoch) if room and is_epoch(epoch) else None


class Meta(msgspec.Struct, frozen=True):
    """A session's meta. `active` is in ms by the server's clock."""

    top: int
    synced: int
    floor: int
    first: int
    active: int
    incarnation: str


def read_meta(pairs: Sequence[bytes]) -> Meta | None:
    """Return the meta that a hash says, or None if it is not whole."""
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    numbers = [read_whole(fields.get(name)) for name in (b"top", b"synced", b"floor", b"first", b"active")]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers) or known[1] > known[0]:
        return None
    top, synced, floor, first, active = known
    return Meta(top, synced, floor, first, active, fields.get(b"incarnation", b"").decode(errors="replace"))


def read_whole(text: bytes | None) -> int | None:
    """Return the whole number that a text of at most 16 digits says, or None."""
    if text is None or _WHOLE.fullmatch(text) is None:
        return None
    return int(text)


class Entries(msgspec.Struct, frozen=True):
    """Entries of a log, read.

    Attributes:
        events: those that hold one, in order.
        unreadable: the ids of the others, and why.
    """

    events: tuple[Event, ...]
    unreadable: tuple[tuple[bytes, str], ...]


def read_entries(entries: Iterable[Sequence[Any]]) -> Entries:
    """Read what XRANGE returned."""
    events: list[Event] = []
    unreadable: list[tuple[bytes, str]] = []
    for name, fields in entries:
        try:
            events.append(_read_entry(name, fields))
        except Unreadable as error:
            unreadable.append((name, str(error)))
    return Entries(tuple(events), tuple(unreadable))


def _read_entry(name: bytes, fields: Sequence[bytes]) -> Event:
    numbered = _ENTRY.fullmatch(name)
    if numbered is None:
        raise Unreadable("not numbered as an event")
    match fields:
        case [b"e", entry]:
            return decode(entry, int(numbered[1]))
        case _:
            raise Unreadable("not the one field that an entry has")


def seq_of(name: bytes) -> int:
    """Return the seq that an entry's id begins with."""
    return int(name.partition(b"-")[0])


def read_keys(texts: Iterable[bytes]) -> dict[str, int]:
    """Return the seq that each client-chosen id got; of two with the same id the newer."""
    keys: dict[str, int] = {}
    for text in texts:
        number, _, name = text.partition(b" ")
        seq = read_whole(number)
        if seq is not None and name:
            keys[name.decode(errors="replace")] = seq
    return keys


def read_receipts(pairs: Sequence[bytes]) -> dict[str, Receipt]:
    """Return the read marks that can be read."""
    receipts: dict[str, Receipt] = {}
    for user, text in zip(pairs[::2], pairs[1::2], strict=True):
        try:
            receipt: Receipt = _receipts.decode(text)
        except ValueError:
            continue
        if receipt.timestamp.tzinfo is not None:
            receipts[user.decode(errors="replace")] = receipt
    return receipts


def strange_receipts(pairs: Sequence[bytes], read: Mapping[str, Receipt]) -> list[bytes]:
    """Return those of the pairs of which `read_receipts` does not say what we would have written."""
    strange: list[bytes] = []
    for user, text in zip(pairs[::2], pairs[1::2], strict=True):
        name = user.decode(errors="replace")
        receipt = read.get(name)
        if receipt is None or encode_receipt(receipt) != text or name.encode() != user:
            strange += (user, text)
    return strange


class View(msgspec.Struct, frozen=True):
    """All of a current session as it was at one moment.

    Attributes:
        meta: its meta.
        now: the server's clock, in ms.
        logged: the seq that the log has come to, were its entries gone since; 0 if there is none.
        entries: the log.
        keys: see `Stored.keys`.
        receipts: see `Stored.receipts`.
    """

    meta: Meta
    now: int
    logged: int
    entries: Entries
    keys: dict[str, int]
    receipts: dict[str, Receipt]

    def stored(self, epoch: str, incarnation: str) -> Stored:
        """Return it as the contract wants it, for a store that trusts this incarnation of the server."""
        meta = self.meta
        return Stored(
            epoch=epoch,
            top=meta.top,
            synced=meta.synced,
            floor=meta.floor,
            first=meta.first,
            # If the log has not come to the top somebody took it, or put an older one in its place.
            trusted=meta.incarnation == incarnation and self.logged >= meta.top,
            events=self.entries.events,
            keys=self.keys,
            receipts=self.receipts,
            unreadable=len(self.entries.unreadable),
            idle=max(0, self.now - meta.active) / 1000,
        )


def look_at(session: Session, names: Names) -> list[tuple[str, ...]]:
    """Return the commands that look at all of a session at one moment. The last reply is for `read_view`."""
    now, meta, log, keys, read, *_ = names.session(session)
    return [
        ("MULTI",),
        ("GET", now),
        ("TIME",),
        ("HGETALL", meta),
        ("XINFO", "STREAM", log),
        ("XRANGE", log, "-", "+"),
        ("LRANGE", keys, "0", "-1"),
        ("HGETALL", read),
        ("EXEC",),
    ]


def _logged_upto(info: Sequence[Any] | Exception) -> int:
    if isinstance(info, Exception):
        return 0
    return seq_of(dict(zip(info[::2], info[1::2], strict=True))[b"last-generated-id"])


def read_view(replies: Sequence[Any]) -> View | None:
    """Read what `look_at` returned, or return None if the session needs repair."""
    *others, entries, keys, receipts = replies
    _, (seconds, microseconds), pairs, info = others
    # That there is no log is an error to XINFO alone.
    if any(isinstance(reply, Exception) for reply in (pairs, entries, keys, receipts)):
        return None
    meta = read_meta(pairs)
    if meta is None:
        return None
    now = int(seconds) * 1000 + int(microseconds) // 1000
    return View(
        meta, now, _logged_upto(info), read_entries(entries), read_keys(keys), read_receipts(receipts)
    )
