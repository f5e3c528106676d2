"""The AsyncAPI 3 document of the native wire, made of what clients may ask (`vocabulary`) and the server says (`said`).

The wire decodes requests by their structs and then checks what a struct does not say; that is added here by the names of
the fields.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trio_chat.clients import vocabulary as asked
from trio_chat.errors import CloseCode
from trio_chat.message import MAX_ID, MAX_INTEGER, ROLES
from trio_chat.paging import MAX_PAGE
from trio_chat.web import said
from trio_chat.web.api.shapes import EPOCH, Content, Id, Metadata, RoomId
from trio_chat.web.schemas import components, reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trio_chat.web.said import Said

ADDRESS: Final = "/ws"
_EPOCH: Final = "01a2040e-2752-7451-8379-c1deda24b42e"
_ROOM: Final = "team-42/general"
_PLACE: Final = asked.Place(_EPOCH, 3)

EXAMPLES: Final[tuple[asked.Request, ...]] = (
    asked.Hello(token="eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...", ref="hello-1"),  # noqa: S106 - what one looks like
    asked.Hello(user="ada"),
    asked.RefreshToken(token="eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...", ref="refresh-1"),  # noqa: S106 - the same
    asked.JoinRoom(room=_ROOM, ref=1),
    asked.JoinRoom(room=_ROOM, resume=_PLACE),
    asked.LeaveRoom(room=_ROOM, ref=2),
    asked.SendMessage(room=_ROOM, content="hello", id="m-1", ref=3),
    asked.SendMessage(room=_ROOM, content="A summary.", role="assistant", metadata={"model": "small"}),
    asked.EditMessage(room=_ROOM, id="m-1", content="hello, all", metadata={"mood": "good"}, ref=4),
    asked.DeleteMessage(room=_ROOM, id="m-1", ref=5),
    asked.StartTyping(room=_ROOM),
    asked.StopTyping(room=_ROOM),
    asked.UpdateReceipt(room=_ROOM, message_id="m-1", ref=6),
    asked.TouchPresence(room=_ROOM),
    asked.GetHistory(room=_ROOM, before=_PLACE, limit=20, ref=7),
    asked.Heartbeat(ref=8),
)
REPLIES: Final[Mapping[Any, Sequence[Said]]] = {
    asked.Hello: (said.Welcome,),
    asked.RefreshToken: (said.TokenRefreshed,),
    asked.JoinRoom: (
        said.RoomJoined,
        said.MessagesHistory,
        said.RoomLive,
        said.ReceiptList,
        said.PresenceListed,
    ),
    asked.LeaveRoom: (said.RoomLeft,),
    asked.SendMessage: (said.Ack,),
    asked.EditMessage: (said.Ack,),
    asked.DeleteMessage: (said.Ack,),
    asked.StartTyping: (said.Done,),
    asked.StopTyping: (said.Done,),
    asked.UpdateReceipt: (said.Done,),
    asked.TouchPresence: (said.Done,),
    asked.GetHistory: (said.HistoryPage,),
    asked.Heartbeat: (said.Heartbeat,),
}
"""What answers a request that is granted."""
_ANSWERS: Final = frozenset(kind for replies in REPLIES.values() for kind in replies)

_REFS: Final = {
    "description": "Of the client's own; its answer carries it.",
    "anyOf": [
        {"type": "string", "maxLength": MAX_ID},
        {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER},
        {"type": "null"},
    ],
}
_CHECKED: Final[Mapping[str, Mapping[str, Any]]] = {
    "ref": _REFS,
    "room": msgspec.json.schema(RoomId),
    "id": msgspec.json.schema(Id),
    "lastReadMessageId": msgspec.json.schema(Id),
    "content": msgspec.json.schema(Content),
    "metadata": msgspec.json.schema(Metadata),
    "role": {"enum": list(ROLES)},
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE},
    "epoch": {"type": "string", "pattern": f"^{EPOCH}$"},
    "seq": {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER},
}
"""What `vocabulary.check`, and the room's own checks, ask of a field of that name."""


def make_asyncapi() -> dict[str, Any]:
    """Return the document."""
    schemas, messages, operations = _describe_all()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "trio-chat, the native wire",
            "version": "1",
            "description": f"One JSON object a WebSocket text frame. Close codes: {_close_codes()}.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "wire": {
                "address": ADDRESS,
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
            }
        },
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _describe_all() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return schemas, messages and operations by name."""
    requests = components(asked.REQUESTS, "Ask")
    for schema in requests.values():
        _check_fields(schema)
    messages = {f"Ask{kind.__name__}": _message(f"Ask{kind.__name__}", kind) for kind in asked.REQUESTS}
    for example in EXAMPLES:
        messages[f"Ask{type(example).__name__}"].setdefault("examples", []).append(
            {"payload": payload(example)}
        )
    messages |= {kind.__name__: _message(kind.__name__, kind) for kind in said.SAID}
    return requests | components(said.SAID), messages, _operations()


def _check_fields(schema: dict[str, Any]) -> None:
    """Add to a request what is checked of its fields beyond their types."""
    properties = schema.get("properties", {})
    for name in properties.keys() & _CHECKED.keys():
        given = {key: properties[name][key] for key in ("default",) if key in properties[name]}
        rule = _CHECKED[name]
        nullable = "default" in given and given["default"] is None and name != "ref"
        properties[name] = {"anyOf": [rule, {"type": "null"}], **given} if nullable else {**rule, **given}


def _message(name: str, kind: type) -> dict[str, Any]:
    """Describe one message; its name is its type on the wire."""
    config: Any = getattr(kind, "__struct_config__", None)
    return {
        "name": str(config.tag),
        "summary": " ".join((inspect.getdoc(kind) or "").split()),
        "payload": reference(name),
    }


def _operations() -> dict[str, Any]:
    """Describe what can be asked, each with its answers, and what is said unasked."""
    operations: dict[str, Any] = {}
    for kind, replies in REPLIES.items():
        name: str = kind.__name__
        operations[name[0].lower() + name[1:]] = {
            "action": "receive",
            "channel": {"$ref": "#/channels/wire"},
            "messages": [_mention(f"Ask{name}")],
            "reply": {
                "channel": {"$ref": "#/channels/wire"},
                "messages": [*(_mention(one.__name__) for one in replies), _mention(said.Failure.__name__)],
            },
        }
    unasked = [kind for kind in said.SAID if kind not in _ANSWERS]
    operations["tell"] = {
        "action": "send",
        "channel": {"$ref": "#/channels/wire"},
        "messages": [_mention(kind.__name__) for kind in unasked],
    }
    return operations


def _mention(name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/wire/messages/{name}"}


def payload(request: asked.Request) -> dict[str, Any]:
    """Return a request as a client writes it, without what it leaves out."""
    written: dict[str, Any] = msgspec.to_builtins(request)
    return {name: value for name, value in written.items() if value is not None}


def _close_codes() -> str:
    return ", ".join(f"{code.value} {code.name}" for code in CloseCode)
