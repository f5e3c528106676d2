"""A client of the Socket.IO wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from .carriers import Ended
from .client import Client, Entered, Refused
from .forms import as_json, message_of, presence_of, receipt_of


class SocketIO(Client):
    """A client of the Socket.IO wire, which comes back as socket.io-client does."""

    _pid = ""
    _offset = ""
    _entry: dict[str, Any] | Refused | None = None

    @override
    async def connect(self) -> None:
        """See `Client`."""
        await self._open()
        await self._greet({})

    async def _greet(self, back: Mapping[str, str]) -> bool:
        """Connect to the namespace; return whether the server has put this client back into its rooms."""
        self._entry = None
        await self._packet(f"40{as_json({'token': self.token, **back})}")
        await self._until(lambda: self._entry is not None)
        if isinstance(self._entry, Refused):
            raise self._entry
        assert self._entry is not None
        pid, self._pid = self._pid, self._entry["pid"]
        return pid == self._pid

    @override
    async def come_back(self) -> dict[str, Entered]:
        """See `Client`."""
        await self.cut()
        await self._open()
        if not await self._greet({"pid": self._pid, "offset": self._offset}):
            return {room: await self._enter(room) for room in self.rooms}
        for room in self.rooms:
            self._know(room).recovered = True
        return {room: await self._entered(room) for room in self.rooms}

    @override
    async def close(self) -> None:
        """See `Client`."""
        if self._carrier is not None:
            await self._packet("41")
            await self.cut()

    @override
    async def _say(self, kind: str, fields: dict[str, Any], ref: int | None) -> None:
        await self._packet(f"42{'' if ref is None else ref}{as_json([kind, *_arguments(kind, fields)])}")

    async def _packet(self, text: str) -> None:
        if self._carrier is not None:
            await self._carrier.send(text)

    @override
    async def _take(self, text: str) -> None:
        match text[:1], text[1:2]:
            case "1", _:
                raise Ended(None)
            case "2", _:
                await self._packet("3")
            case "4", "0":
                self._entry = json.loads(text[2:])
            case "4", "4":
                error = json.loads(text[2:])
                self._entry = Refused(error["data"]["code"], error["message"], error["data"]["temporary"])
            case "4", "3":
                start = text.index("[")
                self._acknowledged(int(text[2:start]), *json.loads(text[start:]))
            case "4", "2":
                name, *args = json.loads(text[2:])
                self._event(name, args)
            case (("0" | "6"), _):
                pass
            case _:
                raise AssertionError(f"{self.user} heard {text}")

    def _acknowledged(self, ref: int, answer: dict[str, Any]) -> None:
        if answer["ok"]:
            messages = list(map(_socketio_message, answer.get("messages", ())))
            self._answer(ref, {**answer, "messages": messages})
        else:
            error = answer["error"]
            self._answer(ref, Refused(error["code"], error["message"], error["temporary"]))

    def _event(self, name: str, args: list[Any]) -> None:
        if args and isinstance(args[-1], str):
            self._offset = args.pop()
        if name in {"messages:history", "receipt:list", "presence:list"}:
            self._learn(name, args[1]["teamId"], args[0])
        elif name == "message:delete":
            for shown in self._shown.values():
                shown.pop(args[0], None)
            self._hear("delete", "", id=args[0])
        elif name == "room:error":
            detail = args[1]
            self._hear("error", detail.get("teamId", ""), code=detail["code"], temporary=detail["temporary"])
        elif name not in {"welcome", "room:left"}:
            self._follow(name, args[0]["teamId"], args[0])

    def _learn(self, name: str, room: str, about: Any) -> None:
        known = self._know(room)
        match name:
            case "messages:history":
                known.messages = list(map(_socketio_message, about))
                self._shown[room] = {message["id"]: message for message in known.messages}
            case "receipt:list":
                known.receipts = {user: receipt_of(user, one) for user, one in about.items()}
            case _:
                known.presence = {user: presence_of({"userId": user, **one}) for user, one in about.items()}

    def _follow(self, name: str, room: str, about: dict[str, Any]) -> None:
        match name:
            case "message:new":
                message = _socketio_message(about)
                if message["id"] in self._shown[room]:
                    raise AssertionError(f"{self.user} was told twice of {message}")
                self._shown[room][message["id"]] = message
                self._hear("message", room, **message)
            case "message:update":
                change = {name: about[name] for name in ("id", "content", "metadata")}
                self._shown[room][about["id"]] |= change
                self._hear("update", room, **change)
            case "typing:start" | "typing:stop":
                self._hear("typing", room, user=about["userId"], active=name == "typing:start")
            case "receipt:update":
                self._hear("receipt", room, **receipt_of(about["userId"], about))
            case "presence:update":
                self._hear("presence", room, **presence_of(about))
            case "session:expired":
                self._shown[room].clear()
                self._hear("expired", room, epoch=about["epoch"])
            case _:
                raise AssertionError(f"{self.user} heard {name} {about}")


def _arguments(kind: str, fields: dict[str, Any]) -> list[Any]:
    """Return what a request takes over Socket.IO."""
    named = {{"room": "teamId", "role": "type"}.get(name, name): value for name, value in fields.items()}
    match kind:
        case "message:send" | "receipt:update" | "history:get":
            return [named]
        case "message:edit":
            return [named["id"], named["content"], *([named["metadata"]] if "metadata" in named else [])]
        case "message:delete":
            return [named["id"]]
        case "heartbeat":
            return []
        case "token:refresh":
            return [named["token"]]
        case _:
            return [named["teamId"]]


def _socketio_message(said: dict[str, Any]) -> dict[str, Any]:
    return {**message_of(said), "role": said["type"]}
