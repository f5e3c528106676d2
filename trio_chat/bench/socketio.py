"""Socket.IO 5 over the WebSocket transport of Engine.IO 4, from the client's side. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec
from typing_extensions import override

from trio_chat.bench.wire import Wire, number_of, numbered
from trio_chat.clients import engineio, packets
from trio_chat.errors import BadRequest, ReplyCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trio_chat.bench.wire import Ear


class _Arrived(msgspec.Struct, gc=False):
    id: str
    team_id: str = msgspec.field(name="teamId")


class _New(msgspec.Struct, gc=False, array_like=True):
    """A `message:new`, and nothing of what may follow its first argument."""

    name: str
    message: _Arrived


class _Failure(msgspec.Struct, frozen=True):
    message: str = ""
    code: str = ""


class _Answer(msgspec.Struct):
    """The acknowledgement of any request."""

    ok: bool = False
    epoch: str = ""
    seq: int = 0
    durability: str = ""
    error: _Failure = _Failure()


class _Detail(msgspec.Struct):
    code: str = ""
    limits: dict[str, float] = {}


_new = msgspec.json.Decoder(_New)
_NEW: Final = b'42["message:new",'
_EVENT: Final = 2


class SocketIOWire(Wire):
    """One connection's. See `Wire`."""

    def __init__(self, hello: Mapping[str, str]) -> None:
        names = {"user": "userId"}
        self._auth = {names.get(name, name): text for name, text in hello.items()}

    @override
    def begin(self) -> str:
        return ""

    @override
    def join(self, room: str) -> str:
        return f"420{json.dumps(['room:join', room])}"

    @override
    def sender(self, room: str, content: str) -> Callable[[int], str]:
        said = json.dumps(["message:send", {"teamId": room, "content": content, "type": "user"}])
        return numbered("42", f'{said[:-2]},"id":"', '"}]')

    @override
    def end(self) -> str:
        # Or the server would keep this client's place for it to come back to.
        return "41"

    @override
    def read(self, text: bytes, ear: Ear) -> None:
        try:
            if text.startswith(_NEW):
                message = _new.decode(text[_EVENT:]).message
                ear.on_message(message.team_id, number_of(message.id))
            else:
                self._read(engineio.decode(text), ear)
        except (msgspec.MsgspecError, BadRequest, UnicodeDecodeError) as error:
            raise BadRequest(f"the server does not speak Socket.IO: {error}") from None

    def _read(self, carried: engineio.Packet, ear: Ear) -> None:
        match carried.kind:
            case engineio.Kind.OPEN:
                ear.reply(f"40{json.dumps(self._auth)}")
            case engineio.Kind.PING:
                ear.reply(f"3{carried.data.decode()}")
            case engineio.Kind.MESSAGE:
                self._take(packets.decode(carried.data), ear)
            case _:
                pass

    def _take(self, packet: packets.Packet, ear: Ear) -> None:
        match packet:
            case packets.Ack(number, args):
                self._answer(number, msgspec.convert(args[0] if args else {}, _Answer), ear)
            case packets.Event("welcome", args):
                ear.on_welcome(_detail(args[0] if args else None).limits)
            case packets.Event("room:error", (text, *details)):
                ear.on_refused(0, _detail(details[0] if details else None).code, str(text))
            case packets.ConnectError(data):
                text = data if isinstance(data, str) else str(data.get("message"))
                code = _detail(data.get("data") if isinstance(data, dict) else None).code
                ear.on_refused(0, code or ReplyCode.UNAUTHORIZED, text)
            case packets.Disconnect():
                ear.on_refused(0, ReplyCode.UNAVAILABLE, "the server has disconnected this client")
            case _:
                pass

    def _answer(self, number: int, answer: _Answer, ear: Ear) -> None:
        if not answer.ok:
            ear.on_refused(number, answer.error.code, answer.error.message)
        elif number:
            ear.on_ack(number, answer.epoch, answer.seq, answer.durability)
        else:
            ear.on_joined()


def _detail(value: Any) -> _Detail:
    return msgspec.convert(value, _Detail) if isinstance(value, dict) else _Detail()
