"""A token that ends while a message is on its way: half of it is here, or it waits for Redis."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import trio

from tests.chat_client import connect

Place = Any

POST = json.dumps({"type": "message:send", "room": "room", "content": "never"})


@pytest.mark.parametrize("way", ["a frame", "fragments"])
async def test_a_token_that_ends_in_mid_message(place: Place, way: str) -> None:
    """The connection ends as always, and the rest of the message changes nothing. Takes as long as the token."""
    witness = await place.member("native", "witness", "room")
    async with connect(place.app.url, token=place.token("ada", "room", expires_in=0.4)) as ada:
        await ada.join("room")
        if way == "a frame":
            ada._protocol.send_text(POST.encode())
            whole = b"".join(ada._protocol.data_to_send())
        else:
            ada._protocol.send_text(POST[:20].encode(), fin=False)
            whole = b"".join(ada._protocol.data_to_send())
            ada._protocol.send_continuation(POST[20:].encode(), fin=True)
            whole += b"".join(ada._protocol.data_to_send())
        await ada._stream.send_all(whole[:40])
        close = await ada.expect_close()
        with suppress(trio.BrokenResourceError):
            await ada._stream.send_all(whole[40:])
    await witness.send("room", "only this")
    entered = await (await place.connect("native", "bob", "room")).join("room")

    assert close.code == 4401
    assert entered.contents == ["only this"]


async def test_a_token_that_ends_while_its_message_waits_for_redis(place: Place, monkeypatch: Any) -> None:
    """What was asked in time is carried out, once; who asked it comes back and hears so. Takes as long as the token."""
    async with connect(place.app.url, token=place.token("ada", "room", expires_in=0.4)) as ada:
        await ada.join("room")
        hot = place.app.lobby.rooms["room"].ledger._hot
        submit = hot.submit
        held: list[Any] = []

        def hold(write: Any, done: Any) -> bool:
            return bool(submit(write, lambda outcome: held.append((done, outcome))))

        monkeypatch.setattr(hot, "submit", hold)
        await ada.say("message:send", room="room", content="in time", id="k", ref=1)
        close = await ada.expect_close()
        monkeypatch.setattr(hot, "submit", submit)
        for done, outcome in held:
            done(outcome)
    async with connect(place.app.url, token=place.token("ada", "room")) as ada:
        _, window = await ada.join("room")
        again = await ada.send("room", "in time", id="k")

    assert close.code == 4401
    assert [message["content"] for message in window] == ["in time"]
    assert again["duplicate"] is True
