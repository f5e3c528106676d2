"""Join a room, print what was said and what is said, say one line, and leave when the room has it.

$ pip install websockets
$ python native_wire.py ws://127.0.0.1:8000/ws ada team-42 "hello, bob"
"""

from __future__ import annotations

import json
import sys
import uuid
from typing import Any

from websockets.sync.client import connect


def talk(url: str, user: str, room: str, line: str) -> str | None:
    """Return when the room has the line; what went wrong, if something did."""
    # A window of long messages is one large text, so no limit on its size.
    with connect(url, max_size=None) as socket:
        requests: list[dict[str, Any]] = [
            # For a server started with AUTH_MODE=insecure. Any other wants `"token": token`.
            {"type": "hello", "user": user},
            {"type": "room:join", "room": room},
            # With an id of its own a message may be sent again, and is there once.
            {"type": "message:send", "room": room, "content": line, "id": str(uuid.uuid4()), "ref": "mine"},
        ]
        # They are carried out in this order; no need to wait for an answer to each.
        for request in requests:
            socket.send(json.dumps(request))
        for text in socket:
            match json.loads(text):
                case {"type": "messages:history", "messages": messages}:
                    for message in messages:
                        show(message)
                case {"type": "message:new", "message": message}:
                    show(message)
                case {"type": "ack", "ref": "mine", "durability": kept}:
                    print(f"(stored in {kept})")
                    return None
                case {"type": "error", "message": reason}:
                    return str(reason)
    return "the server has closed the connection"


def show(message: dict[str, Any]) -> None:
    print(f"{message['userId']}: {message['content']}")


if __name__ == "__main__":
    sys.exit(talk(*sys.argv[1:]))
