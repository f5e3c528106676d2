"""A bot that answers messages which begin with "@echo", as an assistant among the members of a room."""

from __future__ import annotations

import trio

from trio_chat import (
    BadRequest,
    Changed,
    Lobby,
    MemoryArchive,
    MemoryHotStore,
    Message,
    Posted,
    Seat,
    Unavailable,
    open_lobby,
)

BOT = "echo-bot"
CALL = "@echo"


async def run_bot(lobby: Lobby, room: str) -> None:
    """Answer until cancelled.

    A session that expires is nothing special: the bot keeps its seat and hears the next one. It sits down again
    if it was put out, because it read too slowly or because the room was closed.
    """
    while True:
        try:
            async with lobby.join(room, user=BOT) as seat:
                for message in seat.messages:
                    await answer(seat, seat.joined.epoch, message)
                async for heard in seat.events():
                    match heard:
                        case Changed(epoch, Posted(message)):
                            await answer(seat, epoch, message)
                        case _:
                            pass
        except Unavailable as error:
            print(f"{BOT}: {error}")
        await trio.sleep(1)


async def answer(seat: Seat, epoch: str, message: Message) -> None:
    """Answer a message that calls the bot, at most once."""
    text = message.content.removeprefix(CALL).strip()
    if message.role == "assistant" or not message.content.startswith(CALL) or not text:
        return
    # Posting the same key again changes nothing. So what a bot that was started anew finds in the window, or a
    # post whose outcome is unknown, may simply be answered again.
    key = f"{BOT}:{epoch}:{message.seq}"
    try:
        await seat.post(text, key=key, role="assistant", metadata={"inReplyTo": message.id})
    except BadRequest as error:
        # Somebody took that key. A message must not be able to stop the bot.
        print(f"{BOT}: {error}")


async def main() -> None:
    async with open_lobby(hot=MemoryHotStore(), archive=MemoryArchive()) as lobby:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_bot, lobby, "team-42/general")
            async with lobby.join("team-42/general", user="ada") as seat:
                await seat.post("hello, everybody")
                await seat.post("@echo is there an echo in here?")
                async for heard in seat.events():
                    match heard:
                        case Changed(_, Posted(message)):
                            print(f"{message.user_id}: {message.content}")
                            if message.user_id == BOT:
                                break
                        case _:
                            pass
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
