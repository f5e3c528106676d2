"""What is refused, and who is disconnected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.wires.client import Client, Refused

from .carriers import Ended
from .house import POLLING_TOO, Serve, Site


@pytest.mark.parametrize(
    "request_of",
    [
        lambda ada, room: ada.send(room, "hello"),
        lambda ada, room: ada.type(room),
        lambda ada, room: ada.type(room, active=False),
        lambda ada, room: ada.read(room, "m-1"),
        lambda ada, room: ada.touch(room),
        lambda ada, room: ada.page(room),
        lambda ada, room: ada.leave(room),
    ],
    ids=["send", "type", "stop typing", "read", "touch", "page", "leave"],
)
async def test_a_room_is_to_be_joined_first(
    site: Site, request_of: Callable[[Client, str], Any], room: str
) -> None:
    """Whatever one wants there, and whether or not somebody else is in it."""
    ada = await site.connect("ada")
    refused = await ada.expect_refused("not_joined", request_of(ada, room))

    assert refused.temporary is False


async def test_an_unknown_message_is_not_found(site: Site, room: str) -> None:
    """Neither to be changed nor to be read up to."""
    (ada,) = await site.members(room, "ada")

    await ada.expect_refused("not_found", ada.edit(room, "m-1", "hello"))
    await ada.expect_refused("not_found", ada.delete(room, "m-1"))
    await ada.expect_refused("not_found", ada.read(room, "m-1"))


@pytest.mark.parametrize(
    "fields",
    [
        {"content": ""},
        {"content": "a\x00b"},
        {"content": 1},
        {"content": "hello", "id": ""},
        {"content": "hello", "id": "x" * 129},
        {"content": "hello", "metadata": {"a\x00b": 1}},
        {"content": "hello", "metadata": {"number": 2**53}},
        {"content": "hello", "metadata": [1]},
    ],
    ids=str,
)
async def test_what_cannot_be_kept_is_a_bad_request(site: Site, fields: dict[str, Any], room: str) -> None:
    """It is refused, heard by nobody, and one can go on."""
    ada, bob = await site.members(room, "ada", "bob")
    await ada.expect_refused("bad_request", ada.send(room, **fields))
    await ada.send(room, "hello")
    await bob.expect_message(room, "hello")

    await bob.expect_nothing()


async def test_a_message_may_have_nearly_the_size_of_a_request(serve: Serve, room: str) -> None:
    """The limit is in bytes of the request, all of it."""
    async with serve(max_message_bytes=1024) as site:
        ada, bob = await site.members(room, "ada", "bob")
        await ada.send(room, "é" * 400)
        await bob.expect_message(room, "é" * 400)


@POLLING_TOO
async def test_a_request_that_is_too_large_ends_the_connection(serve: Serve, room: str) -> None:
    """Nobody hears it; the client may come back and has lost nothing."""
    async with serve(max_message_bytes=1024) as site:
        ada, bob = await site.members(room, "ada", "bob")
        await ada.say("message:send", room=room, content="x" * 1024)
        await ada.expect_end(1009)
        await bob.expect_presence(room, "ada", active=False)
        entered = (await ada.come_back())[room]

        assert entered.recovered
        assert ada.shown(room) == []


@pytest.mark.parametrize("room", ["", "no spaces", "x" * 129, "ü", "a,b", "a=b"])
async def test_a_room_has_a_proper_name(site: Site, room: str) -> None:
    """1-128 characters of a few kinds."""
    ada = await site.connect("ada")

    await ada.expect_refused("bad_request", ada.join(room))


async def test_a_token_opens_some_rooms_only(site: Site, room: str) -> None:
    """Whether or not a room is there, nobody learns."""
    await site.members(room, "bob")
    ada = await site.connect("ada", rooms=("team-7/*",))
    refused = await ada.expect_refused("forbidden", ada.join(room))
    of_none = await ada.expect_refused("forbidden", ada.join("team-0/nowhere"))
    await ada.join("team-7/general")

    assert refused.text == of_none.text


async def test_one_may_be_in_so_many_rooms(serve: Serve) -> None:
    """Who leaves one may join another."""
    async with serve(max_rooms_per_connection=2) as site:
        ada = await site.connect("ada")
        for name in ("a", "b"):
            await ada.join(name)
        await ada.expect_refused("too_many_rooms", ada.join("c"))
        await ada.leave("a")
        await ada.join("c")


@POLLING_TOO
async def test_a_refusal_nobody_waits_for_is_told_still(site: Site, room: str) -> None:
    """With its room and its code."""
    ada = await site.connect("ada")
    await ada.say("message:send", room=room, content="hello")

    await ada.expect("error", room, code="not_joined", temporary=False)


@POLLING_TOO
async def test_a_client_that_makes_no_sense_is_disconnected(site: Site, room: str) -> None:
    """After five malformed requests in a row."""
    (ada,) = await site.members(room, "ada")
    for _ in range(5):
        await ada.say("message:send", room=room, content="")

    await ada.expect_end(4500)


@POLLING_TOO
async def test_too_fast_is_refused_and_then_the_end(serve: Serve, room: str) -> None:
    """What is refused may be repeated later; who goes on regardless is disconnected."""
    async with serve(requests_per_second=0.1, request_burst=5) as site:
        (ada,) = await site.members(room, "ada")
        # Connecting is a request on one wire, and none on the other.
        for _ in range(3):
            await ada.heartbeat()
        refused = await ada.expect_refused("rate_limited", _beat_twice(ada))
        for _ in range(5):
            await ada.say("heartbeat")
        await ada.expect_end(4429)

        assert refused.temporary is True


@POLLING_TOO
async def test_coming_back_makes_nobody_faster(serve: Serve, room: str) -> None:
    """Who has been disconnected for being too fast, and comes back, is so still; others are not."""
    async with serve(requests_per_second=0.1, request_burst=5, max_connections_per_user=1) as site:
        ada, bob = await site.members(room, "ada", "bob")
        for _ in range(10):
            await ada.say("typing:stop", room=room)
        await ada.expect_end(4429)
        await _connect_again(ada)

        await ada.expect_refused("rate_limited", ada.heartbeat())
        await bob.heartbeat()


async def _connect_again(client: Client) -> None:
    """Connect, once the connection before has ended for the server, too."""
    while True:
        try:
            return await client.connect()
        except Refused as refused:
            if refused.code != "too_many_connections":
                raise
        except Ended as ended:
            if ended.code != 4529:
                raise


async def _beat_twice(client: Client) -> None:
    await client.heartbeat()
    await client.heartbeat()


@POLLING_TOO
async def test_a_wrong_token_is_told_no_more_than_that(site: Site) -> None:
    """Whatever is wrong with it."""
    texts: set[str] = set()
    for token in ("nonsense", site.token("ada", expires_in=0.001), site.token("ada")[:-2]):
        ada = await site.connect("ada")
        ada.token = token
        with pytest.raises(Refused) as refused:
            await ada.connect()
        texts.add(refused.value.text)
        assert refused.value.code == "unauthorized"

    assert len(texts) == 1
