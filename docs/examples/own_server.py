"""Rooms in a WebSocket server of one's own: plain texts in, plain texts out. `/team/ada` is ada in the room `team`.

$ python own_server.py                                      in one terminal
$ websockets ws://127.0.0.1:8765/team/ada                   in another
"""

from __future__ import annotations

from functools import partial

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from trio_chat import (
    BadRequest,
    Changed,
    Lobby,
    MemoryArchive,
    MemoryHotStore,
    Posted,
    Seat,
    Unavailable,
    open_lobby,
)


async def serve_client(lobby: Lobby, request: WebSocketRequest) -> None:
    """Seat one client. Whatever goes wrong ends this connection only."""
    room, _, user = request.path.strip("/").rpartition("/")
    socket = await request.accept()
    try:
        async with lobby.join(room, user=user) as seat, trio.open_nursery() as nursery:
            nursery.start_soon(tell, seat, socket)
            await listen(seat, socket)
    except* ConnectionClosed:
        pass
    except* (BadRequest, Unavailable) as group:
        await socket.aclose(1011, str(group.exceptions[0])[:120])


async def tell(seat: Seat, socket: WebSocketConnection) -> None:
    """Send the window, then what is posted: the only task that sends, so that nothing is sent in two halves."""
    for message in seat.messages:
        await socket.send_message(f"{message.user_id}: {message.content}")
    async for heard in seat.events():
        match heard:
            case Changed(event=Posted(message)):
                await socket.send_message(f"{message.user_id}: {message.content}")
            case _:
                pass
    await socket.aclose(1012, "the room was closed: come back")


async def listen(seat: Seat, socket: WebSocketConnection) -> None:
    """Post what the client says, until it leaves."""
    while True:
        text = await socket.get_message()
        await seat.post(text if isinstance(text, str) else text.decode(errors="replace"))


async def main(port: int = 8765, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    async with open_lobby(hot=MemoryHotStore(), archive=MemoryArchive()) as lobby:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(
                partial(serve_websocket, partial(serve_client, lobby), "127.0.0.1", port, ssl_context=None)
            )
            task_status.started(server.port)


if __name__ == "__main__":
    trio.run(main)
