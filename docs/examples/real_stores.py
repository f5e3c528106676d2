"""The same rooms on the stores that the environment names: REDIS_URL and DATABASE_URL, or private ones."""

from __future__ import annotations

import os

import trio

from trio_chat import Settings, open_lobby
from trio_chat.stores.places import open_stores


async def main() -> None:
    settings = Settings.load({}, os.environ)
    async with (
        open_stores(settings, require=True) as stores,
        open_lobby(hot=stores.hot, archive=stores.archive, settings=settings) as lobby,
        lobby.join("team-42/general", user="ada") as seat,
    ):
        print(f"{len(seat.messages)} messages in the window")
        accepted = await seat.post("kept")
        print(f"message {accepted.seq} is in {accepted.durability}")
        page = await lobby.history("team-42/general", limit=3)
        for archived in page.messages:
            print(f"{archived.message.user_id}: {archived.message.content}")


if __name__ == "__main__":
    trio.run(main)
