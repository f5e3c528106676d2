"""A connection goes on with a new token: the same user, other rights, another end."""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio

from tests.wires.client import Refused
from trio_chat.clients.auth import REFUSED

Refresh = Any
Place = Any


async def test_a_refreshed_connection_outlives_its_first_token(
    place: Place, refresh: Refresh, wire: str
) -> None:
    """The end is that of the new token. Takes a second, as the tokens do."""
    ada = await place.member(wire, "ada", "room", expires_in=0.4)
    await refresh(ada, place.token("ada", "room", expires_in=0.9))
    await trio.sleep(0.6)
    await ada.send("room", "still here")
    await ada.expect_message("room", "still here")

    await ada.expect_end(4401)


async def test_a_token_that_ends_sooner_ends_the_connection_sooner(
    place: Place, refresh: Refresh, wire: str
) -> None:
    """The new token replaces the old one, whichever lasts longer. Takes a third of a second."""
    ada = await place.connect(wire, "ada", expires_in=3600)
    await refresh(ada, place.token("ada", expires_in=0.3))

    await ada.expect_end(4401)


async def test_native_clients_are_told_the_new_end(place: Place, refresh: Refresh) -> None:
    """The answer says when the token ends, as the token does."""
    ada = await place.connect("native", "ada")
    answer = await refresh(ada, place.token("ada", expires_in=100, clock=lambda: 3e9))

    assert answer["type"] == "token:refreshed"
    assert answer["exp"] == 3e9 + 100


async def test_a_new_token_opens_more_rooms(place: Place, refresh: Refresh, wire: str) -> None:
    """What was forbidden before is allowed from then on."""
    ada = await place.member(wire, "ada", "one")
    await ada.expect_refused("forbidden", ada.join("two"))
    await refresh(ada, place.token("ada", "*"))
    await ada.join("two")

    assert (await ada.send("two", "hello"))["durability"] == "redis"


async def test_a_room_that_the_new_token_does_not_open_is_left(
    place: Place, refresh: Refresh, wire: str
) -> None:
    """The client is told which and why; the others hear that it went; it hears nothing of the room any more."""
    ada = await place.member(wire, "ada", "one", "two")
    bob = await place.member(wire, "bob", "one", "two")
    for room in ("one", "two"):
        await ada.expect_presence(room, "bob")
    await refresh(ada, place.token("ada", "two"))
    await ada.expect("error", "one", code="forbidden", temporary=False)
    await bob.expect_presence("one", "ada", active=False)

    await bob.send("one", "she is gone")
    await bob.send("two", "she is here")
    await ada.expect_message("two", "she is here")
    await ada.expect_refused("not_joined", ada.send("one", "hello"))
    await ada.expect_refused("forbidden", ada.join("one"))


async def test_it_is_said_in_words_which_room_and_why(place: Place) -> None:
    """Native clients get the answer, then for each room an error that names it, and later that they have left it."""
    ada = await place.member("native", "ada", "one", "two", "three")
    heard: list[dict[str, Any]] = []
    ada._learn = ada._follow = lambda kind, room, said: heard.append(said)
    await ada.say("token:refresh", token=place.token("ada", "two"))
    await ada._until(lambda: len(heard) == 5)

    assert [(said["type"], said.get("room")) for said in heard] == [
        ("token:refreshed", None),
        ("error", "one"),
        ("error", "three"),
        ("room:left", "one"),
        ("room:left", "three"),
    ]
    assert heard[1]["message"] == "room: the new token does not open it, so this connection has left it"


async def test_roles_are_those_of_the_new_token(place: Place, refresh: Refresh, wire: str) -> None:
    """They come and go with it."""
    ada = await place.connect(wire, "ada", roles=["moderator"])
    bob = await place.member(wire, "bob", "room")
    await ada.join("room")
    said = await bob.send("room", "hello")
    await ada.edit("room", said["id"], "hello, moderated")
    await refresh(ada, place.token("ada", roles=["assistant"]))

    await ada.expect_refused("forbidden", ada.edit("room", said["id"], "again"))
    await ada.send("room", "as an assistant", role="assistant")


@pytest.mark.parametrize("kind", ["of somebody else", "expired", "forged", "nonsense", "empty", "too long"])
async def test_a_token_that_is_not_accepted_changes_nothing(
    place: Place, refresh: Refresh, wire: str, kind: str
) -> None:
    """There is one answer for every reason; the connection goes on with what it had, and ends when it would have."""
    ada = await place.member(wire, "ada", "room", expires_in=0.4)
    token = {
        "of somebody else": place.token("bob"),
        "expired": place.token("ada", clock=lambda: time.time() - 7200),
        "forged": place.token("ada")[:-3] + "AAA",
        "nonsense": "nonsense",
        "empty": "",
        "too long": "x" * 9000,
    }[kind]
    with pytest.raises(Refused) as refused:
        await refresh(ada, token)
    await ada.send("room", "still here")

    assert (refused.value.code, refused.value.text) == ("unauthorized", REFUSED)
    await ada.expect_end(4401)


async def test_whoever_was_never_let_in_cannot_refresh(place: Place, refresh: Refresh) -> None:
    """A refresh is no hello."""
    ada = await place.connect("native", "ada")
    await ada._open()
    with pytest.raises(Refused) as refused:
        await refresh(ada, place.token("ada"))

    assert refused.value.code == "unauthorized"


async def test_without_keys_there_is_nothing_to_refresh(serve: Any, refresh: Refresh) -> None:
    """Where anybody may be anybody, a token is checked all the same."""
    async with serve(auth_mode="insecure") as place:
        ada = await place.connect("native", "ada")
        with pytest.raises(Refused) as refused:
            await refresh(ada, place.token("bob"))

        assert refused.value.code == "unauthorized"


async def test_refreshing_costs_as_much_as_any_request(serve: Any, refresh: Refresh) -> None:
    """Nobody may try tokens faster than anything else."""
    async with serve(requests_per_second=1, request_burst=3) as place:
        ada = await place.connect("native", "ada")
        codes = []
        for _ in range(4):
            with pytest.raises(Refused) as refused:
                await refresh(ada, "a guess")
            codes.append(refused.value.code)

        assert codes == ["unauthorized"] * 3 + ["rate_limited"]


async def test_a_refreshed_client_comes_back_with_its_new_rights(
    place: Place, refresh: Refresh, wire: str
) -> None:
    """A room that was left by a refresh is not recovered."""
    ada = await place.member(wire, "ada", "one", "two")
    ada.token = place.token("ada", "two")
    await refresh(ada, ada.token)
    await ada.expect("error", "one")
    ada.rooms.remove("one")
    entered = await ada.come_back()

    assert list(entered) == ["two"]
    assert entered["two"].recovered
    await ada.expect_refused("not_joined", ada.send("one", "hello"))
