"""What one Socket.IO client gets to hear: acknowledgements, refusals, and the events that are for it alone. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from trio_chat.clients import packets
from trio_chat.clients.engine.terms import Parcel, parcel
from trio_chat.clients.socketio import begun, ended, known
from trio_chat.errors import TrioChatError, code_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.mail import Accepted, Joined
    from trio_chat.paging import Page

_encode = msgspec.json.Encoder().encode


def welcome(user: str, durability: str, limits: Mapping[str, float], offset: bytes | None) -> Parcel:
    """Encode what a client may expect. With `NOWHERE` it also takes any offset of an earlier connection from it."""
    detail = {"user": user, "durability": durability, "limits": limits}
    return parcel([_closed(begun("welcome", _encode(detail)), offset)])


def joined(ref: int, answer: Joined) -> Parcel:
    """Encode the acknowledgement of `room:join`."""
    detail = {
        "ok": True,
        "epoch": answer.epoch,
        "seq": answer.seq,
        "recovered": answer.recovered,
        "durability": answer.durability,
        "members": [one.user for one in answer.presence],
    }
    return parcel([packets.ack(ref, _encode(detail))])


def left(room: str, offset: bytes | None) -> Parcel:
    """Encode that the client has left a room, with its new offset if it keeps one."""
    return parcel([_closed(begun("room:left", _encode({"teamId": room})), offset)])


def _closed(event: bytes, offset: bytes | None) -> bytes:
    return event + b"]" if offset is None else ended(event, offset)


def accepted(ref: int, answer: Accepted) -> Parcel:
    """Encode the acknowledgement of a change."""
    detail = {
        "ok": True,
        "id": answer.id,
        "epoch": answer.epoch,
        "seq": answer.seq,
        "durability": answer.durability,
        "duplicate": answer.duplicate,
    }
    return parcel([packets.ack(ref, _encode(detail))])


def done(ref: int) -> Parcel:
    """Encode the acknowledgement of what is no event, `typing:start` for example."""
    return parcel([packets.ack(ref, b'{"ok":true}')])


def page(ref: int | None, room: str, found: Page) -> Parcel:
    """Encode the answer to `history:get`, as an acknowledgement if the client waits for one. The newest comes last."""
    messages = [
        {"epoch": one.epoch, **msgspec.to_builtins(known(room, one.message))} for one in found.messages
    ]
    detail = {
        "teamId": room,
        "messages": messages,
        "source": found.source,
        "more": found.more,
        "before": found.before,
    }
    if ref is None:
        return parcel([packets.event("history:page", _encode(detail))])
    return parcel([packets.ack(ref, _encode({"ok": True, **detail}))])


def heartbeat(ref: int | None) -> Parcel:
    """Encode the answer to `heartbeat`."""
    # Not without an argument: clients would take the event's name, its last element, for an offset.
    return parcel([packets.event("heartbeat", b"{}")]) if ref is None else done(ref)


def refusal(ref: int | None, room: str | None, failure: TrioChatError, *, plain: bool = False) -> Parcel:
    """Encode a refusal or a failure: as the acknowledgement if the client waits for one, else as `room:error`.

    A `plain` client gets the text alone.
    """
    code = code_of(failure)
    if ref is not None:
        error = {"code": code, "message": str(failure), "temporary": code.temporary}
        return parcel([packets.ack(ref, _encode({"ok": False, "error": error}))])
    detail: dict[str, Any] = {"code": code, "temporary": code.temporary}
    if room is not None:
        detail["teamId"] = room
    pieces = [_encode(str(failure))] if plain else [_encode(str(failure)), _encode(detail)]
    return parcel([packets.event("room:error", *pieces)])
