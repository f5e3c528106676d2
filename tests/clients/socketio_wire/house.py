"""What the Socket.IO wire says, read by python-socketio and by `json`. Pure, and no clock but that of typing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import socketio.packet
from socketio.packet import Packet as TheirPacket

from trio_chat.clients.frames import text_frame
from trio_chat.clients.offsets import place_of, read_offset
from trio_chat.clients.socketio import SOCKET_IO
from trio_chat.mail import Joined, Presence
from trio_chat.message import Message, Position, Receipt

if TYPE_CHECKING:
    from trio_chat.clients.engine.terms import Parcel


EPOCH = "01890a5d-ac96-774b-bcce-b302099a8057"
LATER = "01890a5d-ffff-774b-bcce-b302099a8057"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MESSAGE = Message(
    id="m",
    role="assistant",
    content="hé\u2028\x1e",
    timestamp=NOON,
    metadata={"a": [1, None]},
    user_id="ada",
    seq=7,
    rev=7,
)

DELETED = msgspec.structs.replace(MESSAGE, content="", metadata={}, rev=9)


def read(parcel: Parcel) -> list[TheirPacket]:
    """Return the packets of a parcel as python-socketio reads them, having compared all there is to compare."""
    assert b"".join(map(text_frame, parcel.packets)) == parcel.frames
    packets: list[TheirPacket] = []
    for packet in parcel.packets:
        assert packet[:1] == b"4"
        assert b"\x1e" not in packet
        theirs = TheirPacket(encoded_packet=packet[1:].decode())
        assert theirs.namespace in {None, "/"}
        head = b"%d" % theirs.packet_type + (b"" if theirs.id is None else b"%d" % theirs.id)
        assert packet[1:].startswith(head)
        assert json.loads(packet[1 + len(head) :]) == theirs.data
        packets.append(theirs)
    return packets


def events(parcel: Parcel) -> list[list[Any]]:
    """Return the events of a parcel, each as its name and its arguments."""
    packets = read(parcel)
    assert {(packet.packet_type, packet.id) for packet in packets} <= {(socketio.packet.EVENT, None)}
    return [packet.data for packet in packets]


def one(parcel: Parcel) -> list[Any]:
    """Return the only event of a parcel."""
    (event,) = events(parcel)
    return event


def acked(parcel: Parcel, number: int) -> dict[str, Any]:
    """Return the only argument of the only acknowledgement of a parcel."""
    (packet,) = read(parcel)
    assert (packet.packet_type, packet.id) == (socketio.packet.ACK, number)
    (answer,) = packet.data
    assert isinstance(answer, dict)
    return answer


def offset(seq: int, epoch: str = EPOCH, room: str = "r") -> str:
    return place_of(room, epoch, seq).decode()


def places_of(offset: str) -> dict[str, Position]:
    """Return the places of an offset, of the rooms "a", "b" and "r"."""
    there = read_offset(offset)
    assert there is not None
    places = {room: place for room in ("a", "b", "r") if (place := there.place(room)) is not None}
    assert there.names(places)
    return places


def joined_at(seq: int = 6, **changes: Any) -> Joined:
    """Return the answer to a join of a room with one message, and ada in it."""
    fields: dict[str, Any] = {
        "epoch": EPOCH,
        "seq": seq,
        "recovered": False,
        "first": 1,
        "changes": (),
        "messages": (MESSAGE,),
        "presence": (Presence("ada", True, NOON),),
        "receipts": {"bob": Receipt("m", NOON)},
        "durability": "redis",
        "voice": SOCKET_IO.voice("r"),
    }
    return Joined(**(fields | changes))
