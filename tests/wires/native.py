"""A client of the native wire."""

from __future__ import annotations

import json
from typing import Any

from typing_extensions import override

from .client import Client, Entered, Refused
from .forms import as_json, message_of, presence_of, receipt_of


class Native(Client):
    """A client of the native wire, following the rules of its page."""

    _positions: dict[str, dict[str, Any]]
    _firsts: dict[str, int]
    _welcomed = False

    @override
    async def connect(self) -> None:
        """See `Client`."""
        self._positions, self._firsts = {}, {}
        await self._greet()

    async def _greet(self) -> None:
        self._welcomed = False
        await self._open()
        self._refs += 1
        ref = self._refs
        await self._say("hello", {"token": self.token}, ref)
        await self._until(lambda: self._welcomed or ref in self._answers)
        answer = self._answers.pop(ref, None)
        if isinstance(answer, Refused):
            raise answer

    @override
    async def come_back(self) -> dict[str, Entered]:
        """See `Client`."""
        await self.cut()
        await self._greet()
        return {room: await self._enter(room, resume=self._positions[room]) for room in self.rooms}

    @override
    async def close(self) -> None:
        """See `Client`."""
        await self.cut()

    @override
    async def _say(self, kind: str, fields: dict[str, Any], ref: int | None) -> None:
        if self._carrier is not None:
            said = {"type": kind, **fields} if ref is None else {"type": kind, **fields, "ref": ref}
            await self._carrier.send(as_json(said))

    @override
    async def _take(self, text: str) -> None:
        said = json.loads(text)
        kind, room, ref = said["type"], said.get("room", ""), said.get("ref")
        if kind == "welcome":
            self._welcomed = True
        elif kind == "error" and ref is not None:
            self._answer(ref, Refused(said["code"], said["message"], said["temporary"]))
        elif ref is not None:
            if kind == "room:joined":
                self._firsts[room] = said["first"]
            self._answer(ref, {**said, "messages": list(map(_native_message, said.get("messages", ())))})
        elif kind in {"messages:history", "room:live", "receipt:list", "presence:list"}:
            self._learn(kind, room, said)
        else:
            self._follow(kind, room, said)
        if kind in {"messages:history", "room:live", "message:new", "message:update", "message:delete"}:
            self._positions[room] = {"epoch": said["epoch"], "seq": said["seq"]}

    def _learn(self, kind: str, room: str, said: dict[str, Any]) -> None:
        known = self._know(room)
        match kind:
            case "messages:history":
                known.messages = list(map(_native_message, said["messages"]))
                self._shown[room] = {message["id"]: message for message in known.messages}
            case "room:live":
                for name, message in list(self._shown[room].items()):
                    if message["seq"] < self._firsts[room]:
                        del self._shown[room][name]
            case "receipt:list":
                known.receipts = {user: receipt_of(user, one) for user, one in said["receipts"].items()}
            case _:
                known.presence = {one["userId"]: presence_of(one) for one in said["members"]}

    def _follow(self, kind: str, room: str, said: dict[str, Any]) -> None:
        match kind:
            case "message:new" | "message:update":
                message = _native_message(said["message"])
                shown = {**self._shown[room], message["id"]: message}
                self._shown[room] = dict(sorted(shown.items(), key=lambda one: one[1]["seq"]))
                self._hear("message" if kind == "message:new" else "update", room, **message)
            case "message:delete":
                self._shown[room].pop(said["id"], None)
                self._hear("delete", room, id=said["id"])
            case "typing:start" | "typing:stop":
                self._hear("typing", room, user=said["userId"], active=kind == "typing:start")
            case "receipt:update":
                self._hear("receipt", room, **receipt_of(said["userId"], said))
            case "presence:update":
                self._hear("presence", room, **presence_of(said))
            case "session:expired":
                self._shown[room].clear()
                self._hear("expired", room, epoch=said["epoch"])
            case "error":
                self._hear("error", room, code=said["code"], temporary=said["temporary"])
            case "room:left":
                pass  # the error before it said why
            case _:
                raise AssertionError(f"{self.user} heard {said}")


def _native_message(said: dict[str, Any]) -> dict[str, Any]:
    return {**message_of(said), "role": said["role"], "seq": said["seq"]}
