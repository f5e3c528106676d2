"""The native wire, from the client's side: one JSON object a text. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
from typing_extensions import override

from trio_chat.bench.wire import Wire, number_of, numbered
from trio_chat.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trio_chat.bench.wire import Ear


class _Named(msgspec.Struct, gc=False):
    id: str = ""


class _Said(msgspec.Struct, gc=False):
    """What of the server's texts matters here, whatever their type."""

    type: str
    ref: int | str | None = None
    room: str | None = ""
    message: _Named | str = ""
    epoch: str = ""
    seq: int = 0
    durability: str = ""
    code: str = ""
    limits: dict[str, float] = {}


_said = msgspec.json.Decoder(_Said)


class NativeWire(Wire):
    """One connection's. See `Wire`."""

    def __init__(self, hello: Mapping[str, str]) -> None:
        self._hello = hello

    @override
    def begin(self) -> str:
        return json.dumps({"type": "hello", "ref": 0, **self._hello})

    @override
    def join(self, room: str) -> str:
        return json.dumps({"type": "room:join", "ref": 0, "room": room})

    @override
    def sender(self, room: str, content: str) -> Callable[[int], str]:
        fixed = json.dumps({"type": "message:send", "room": room, "content": content})
        return numbered(f'{fixed[:-1]},"ref":', ',"id":"', '"}')

    @override
    def end(self) -> str:
        return ""

    @override
    def read(self, text: bytes, ear: Ear) -> None:
        try:
            said = _said.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadRequest(f"the server does not speak the native wire: {error}") from None
        number = said.ref if isinstance(said.ref, int) else 0
        match said.type:
            case "message:new" if isinstance(said.message, _Named):
                ear.on_message(said.room or "", number_of(said.message.id))
            case "ack":
                ear.on_ack(number, said.epoch, said.seq, said.durability)
            case "error":
                ear.on_refused(number, said.code, str(said.message))
            case "welcome":
                ear.on_welcome(said.limits)
            case "room:joined":
                ear.on_joined()
            case _:
                pass
