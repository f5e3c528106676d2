"""A chat server as one is easily written: the controls of the battery show that it is found out.

``python -m trio_chat.testing.battery.naive serve --redis-url=... --port=...`` speaks as much of the native wire as the
battery's clients need. Two things are wrong with it:

1. The Redis client repeats by itself what got no reply, as drivers do unless told otherwise. So one message whose
   reply was lost is stored several times.
2. Each connection tells the room of its own messages when they are stored. So two that are stored one after the other
   may be told the other way round, and who joins in between may miss one.
"""

from __future__ import annotations

import argparse
import uuid
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import redis
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

_ADD = """
local seq = redis.call('HINCRBY', KEYS[1], 'top', 1)
redis.call('HSETNX', KEYS[1], 'synced', 0)
redis.call('XADD', KEYS[2], seq .. '-0', 'e', (string.gsub(ARGV[1], '"@seq"', tostring(seq))))
return seq
"""


class Naive:
    """The server. Lives as long as the process."""

    def __init__(self, url: str) -> None:
        driver: Any = redis.Redis  # its own types are incomplete
        self._redis = driver.from_url(url, socket_timeout=1)
        self._epochs: dict[str, str] = defaultdict(
            lambda: f"019b76da-{uuid.uuid4().hex[:4]}-7000-8000-000000000000"
        )
        self._members: dict[str, set[WebSocketConnection]] = defaultdict(set)
        self._messages: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)

    async def serve(self, request: WebSocketRequest) -> None:
        """Serve one connection, until it ends."""
        connection = await request.accept()
        user, room = "", ""
        async with trio.open_nursery() as nursery:
            with suppress(ConnectionClosed):
                while True:
                    asked = msgspec.json.decode(await connection.get_message())
                    match asked["type"]:
                        case "hello":
                            user = asked["user"]
                        case "room:join":
                            room = asked["room"]
                            await self._join(connection, room, asked["ref"])
                        case "message:send":
                            nursery.start_soon(self._post, connection, user, asked)
                        case _:
                            pass
            self._members[room].discard(connection)

    async def _join(self, connection: WebSocketConnection, room: str, ref: object) -> None:
        self._members[room].add(connection)
        messages = [message for _, message in sorted(self._messages[room].items())]
        here = {"room": room, "epoch": self._epochs[room], "seq": max(self._messages[room], default=0)}
        await _say(connection, {"type": "room:joined", "ref": ref, "recovered": False, "first": 0, **here})
        await _say(connection, {"type": "messages:history", "messages": messages, **here})

    async def _post(self, connection: WebSocketConnection, user: str, asked: dict[str, Any]) -> None:
        room, epoch = asked["room"], self._epochs[asked["room"]]
        message: dict[str, Any] = {
            "id": asked["id"],
            "role": "user",
            "content": asked["content"],
            "timestamp": datetime.now(UTC),
            "metadata": {},
            "userId": user,
        }
        entry = msgspec.json.encode({"kind": "post", "message": {**message, "seq": "@seq", "rev": "@seq"}})
        keys = [f"tc:{{{room}}}:{kind}:{epoch}" for kind in ("meta", "log")]
        try:
            seq: int = await trio.to_thread.run_sync(partial(self._redis.eval, _ADD, 2, *keys, entry))
        except redis.RedisError:
            await _say(connection, {"type": "error", "ref": asked["ref"], "code": "unavailable"})
            return
        self._messages[room][seq] = {**message, "seq": seq, "rev": seq}
        here = {"room": room, "epoch": epoch, "seq": seq}
        for member in list(self._members[room]):
            await _say(member, {"type": "message:new", "message": self._messages[room][seq], **here})
        ack = {
            "type": "ack",
            "ref": asked["ref"],
            "id": asked["id"],
            "durability": "redis",
            "duplicate": False,
        }
        await _say(connection, {**ack, **here})


async def _say(connection: WebSocketConnection, said: dict[str, Any]) -> None:
    with suppress(ConnectionClosed):
        await connection.send_message(msgspec.json.encode(said).decode())


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--port", type=int, required=True)
    given, _ = parser.parse_known_args()
    print(f"listens on {given.port}", flush=True)  # noqa: T201 - that is what it is started for
    with suppress(KeyboardInterrupt):
        trio.run(partial(serve_websocket, Naive(given.redis_url).serve, "127.0.0.1", given.port, None))


if __name__ == "__main__":
    main()
