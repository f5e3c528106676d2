"""A chat in the terminal. A line `name: text` says something; what the room says is printed.

$ python terminal_chat.py
ada: hello, bob
bob: hello, ada
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack

import trio

from trio_chat import (
    BadRequest,
    Changed,
    Deleted,
    Edited,
    Expired,
    Lobby,
    MemoryArchive,
    MemoryHotStore,
    Posted,
    Presence,
    Seat,
    open_lobby,
)

ROOM = "terminal"


async def show(seat: Seat) -> None:
    """Print the window, then everything that happens, until the seat is left."""
    for message in seat.messages:
        print(f"{message.user_id}: {message.content}")
    async for heard in seat.events():
        match heard:
            case Changed(event=Posted(message)):
                print(f"{message.user_id}: {message.content}")
            case Changed(event=Edited(message)):
                print(f"{message.user_id} (edited): {message.content}")
            case Changed(event=Deleted(message)):
                print(f"-- a message of {message.user_id} was deleted")
            case Presence(user, active):
                print(f"-- {user} {'is here' if active else 'has left'}")
            case Expired():
                print("-- nobody spoke for a long time; the next message starts a new session")
            case _:
                pass


async def say_lines(lobby: Lobby) -> None:
    """Say what is typed until the input ends. Everybody who speaks gets a seat of their own."""
    seats: dict[str, Seat] = {}
    async with AsyncExitStack() as stack:
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            name, _, text = line.partition(":")
            try:
                if name not in seats:
                    seats[name] = await stack.enter_async_context(lobby.join(ROOM, user=name))
                await seats[name].post(text.strip())
            except BadRequest as error:
                print(f"-- {error}")


async def chat(lobby: Lobby, nursery: trio.Nursery) -> None:
    """Let people talk, before a screen. When its seat is left, `show` prints the rest and ends."""
    async with lobby.join(ROOM, user="screen") as seat:
        nursery.start_soon(show, seat)
        await say_lines(lobby)


async def main() -> None:
    async with open_lobby(hot=MemoryHotStore(), archive=MemoryArchive()) as lobby:
        async with trio.open_nursery() as nursery:
            await chat(lobby, nursery)


if __name__ == "__main__":
    trio.run(main)
