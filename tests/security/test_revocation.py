"""A user's access is withdrawn: every connection ends, and tokens made until then are void."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
import trio
from websockets.exceptions import InvalidState

from tests.waiting import wait_for
from tests.wires.carriers import Ended
from tests.wires.client import Client, Refused
from tests.wires.clients import CLIENTS
from trio_chat.clients import recovery
from trio_chat.clients.auth import REFUSED, Authenticator, Identity, make_token
from trio_chat.clients.registry import Registry
from trio_chat.errors import BadRequest
from trio_chat.settings import Settings

Place = Any

SETTINGS = Settings(auth_secret="a secret for revocations, 32 bytes and more")


async def test_every_connection_of_the_user_ends(place: Place) -> None:
    """On every wire, with a code that says not to come back as one is; other users notice nothing."""
    mallory = [await place.member(wire, "mallory", "room") for wire in CLIENTS]
    ada = await place.member("native", "ada", "room")

    assert place.app.revoke("mallory") == len(mallory)
    for client in mallory:
        await client.expect_end(4501)
    await ada.expect_presence("room", "mallory", active=False)
    await ada.send("room", "she is gone")
    await ada.expect_message("room", "she is gone")
    assert place.app.registry.statistics().users == 1


async def test_the_same_token_is_not_accepted_again(place: Place, wire: str) -> None:
    """Neither to connect nor to come back; whoever tries reads what everybody reads."""
    mallory = await place.member(wire, "mallory", "room")
    place.app.revoke("mallory")
    await mallory.expect_end(4501)
    with pytest.raises(Refused) as refused:
        await mallory.come_back()

    assert (refused.value.code, refused.value.text) == ("unauthorized", REFUSED)


async def test_whoever_asks_for_nothing_is_gone_too(place: Place, wire: str) -> None:
    """The user has left every room at once, without a word of the client's.

    Takes a second over polling, for as long as the server waits at its end for a client that fetches nothing.
    """
    mallory = await place.member(wire, "mallory", "room")
    mallory.forsake()
    place.app.revoke("mallory")
    await wait_for(lambda: not place.app.lobby.statistics().members)

    assert place.app.registry.statistics().connections == 0


async def test_messages_flow_on_while_a_user_is_revoked(serve: Any, wire: str) -> None:
    """The user's messages stop there: what was acknowledged is told once and in order. Others' messages go on."""
    async with serve(rate_limits=False) as place:
        mallory = await place.member(wire, "mallory", "room")
        ada, bob, cleo = [await place.member("native", name, "room") for name in ("ada", "bob", "cleo")]
        heard: list[str] = []
        async with trio.open_nursery() as nursery:
            hers = await nursery.start(_talk, mallory)
            others = await nursery.start(_talk, ada)
            await _hear_some(bob, heard, "mallory")
            place.app.revoke("mallory")
            await _hear_some(bob, heard, "ada")
            place.app.revoke("ada")
        await cleo.send("room", "the last")
        await _hear_some(bob, heard, "the last", 1)

    for user, acknowledged in (("mallory", hers), ("ada", others)):
        told = [text for text in heard if user in text]
        assert told[: len(acknowledged)] == acknowledged
        # The ack of the last one may have been cut off with the connection.
        assert len(told) - len(acknowledged) in {0, 1}


async def _talk(client: Client, *, task_status: trio.TaskStatus[list[str]]) -> None:
    """Post one message after the other until the server ends the connection. Starts with what is acknowledged."""
    acknowledged: list[str] = []
    task_status.started(acknowledged)
    with suppress(Ended, InvalidState):
        while True:
            text = f"{client.user} {len(acknowledged)}"
            await client.send("room", text)
            acknowledged.append(text)
    await client.cut()


async def _hear_some(client: Client, heard: list[str], word: str, count: int = 10) -> None:
    """Hear messages until so many more have this word."""
    while count:
        one = await client.hear()
        if one.kind == "message":
            heard.append(one.about["content"])
            count -= word in heard[-1]


async def test_a_token_made_later_is_accepted(place: Place, wire: str) -> None:
    """Revoking takes back what was given, not what will be given."""
    place.app.revoke("ada")
    later = time.time() + 2
    ada = CLIENTS[wire]("ada", str(place.app.port), place.token("ada", clock=lambda: later))
    await ada.connect()
    entered = await ada.join("room")
    await ada.close()

    assert entered.members == ["ada"]


async def test_nobody_is_a_user_like_any_other(place: Place) -> None:
    """Somebody who is not here can be revoked all the same, and a client without a name is nobody."""
    ada = await place.connect("native", "ada")

    assert place.app.revoke("mallory") == 0
    assert place.app.revoke("") == 0
    await ada.expect_nothing()


async def test_names_are_compared_whole(place: Place) -> None:
    """Users whose names look alike, or hold one another, are others."""
    others = [
        await place.connect("native", name) for name in ("mallory:1", "Mallory", "mallor", "*", "mallory ")
    ]
    mallory = await place.connect("native", "mallory")

    assert place.app.revoke("mallory") == 1
    await mallory.expect_end(4501)
    for other in others:
        await other.expect_nothing()


def test_only_older_tokens_are_void() -> None:
    """A token counts from the second after the revocation on; one that does not say when it was made, never."""
    now = [1000.5]
    auth = Authenticator(SETTINGS, lambda: now[0])
    tokens = [
        make_token(SETTINGS, "ada", ["*"], expires_in=900, clock=lambda at=at: at) for at in (200, 1000, 1001)
    ]
    auth.revoke("ada")
    now[0] = 1002.0

    for token in tokens[:2]:
        with pytest.raises(BadRequest):
            auth.authenticate(token)
    assert auth.authenticate(tokens[2]).user == "ada"
    assert auth.authenticate(make_token(SETTINGS, "bob", [], clock=lambda: 900.0)).user == "bob"
    assert auth.is_revoked(Identity(user="ada", expires_at=5000.0))


def test_where_no_token_was_needed_none_is_void() -> None:
    """Names that nobody checked are not judged by when their tokens were made."""
    auth = Authenticator(Settings(auth_mode="insecure"))
    auth.revoke("ada")

    assert auth.insecure("ada").user == "ada"
    assert not auth.is_revoked(auth.insecure("ada"))


class Guest:
    """A connection that knows how it ended, and leaves when it does."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.ends: list[str] = []

    def token_expired(self) -> None:
        """Note it, and leave."""
        self.ends.append("expired")
        self.registry.leave("ada", self)

    def token_revoked(self) -> None:
        """Note it, and leave."""
        self.ends.append("revoked")
        self.registry.leave("ada", self)


def test_guests_may_leave_while_they_are_ended() -> None:
    """Each is told once, though the list of them changes meanwhile."""
    registry = Registry(0)
    guests = [Guest(registry) for _ in range(3)]
    for guest in guests:
        registry.enter("ada", guest, None)

    assert registry.revoke("ada") == 3
    assert registry.revoke("ada") == 0
    assert [guest.ends for guest in guests] == [["revoked"]] * 3


def test_only_who_is_here_can_go_on() -> None:
    """A connection that has ended is not noted again by a new token."""
    registry = Registry(0)
    guest = Guest(registry)
    registry.renew("ada", guest, 5.0)

    assert registry.statistics().connections == 0


async def test_a_token_that_becomes_void_while_a_store_is_asked_lets_nobody_in(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Socket.IO client that comes back waits for its rooms to be looked up; who is revoked meanwhile is not let in."""
    mallory = await place.member("socketio", "mallory", "room")
    mallory.forsake()
    asked, answer = trio.Event(), trio.Event()
    find = recovery.Recoveries.find

    async def find_slowly(*args: Any) -> Any:
        asked.set()
        await answer.wait()
        return await find(*args)

    monkeypatch.setattr(recovery.Recoveries, "find", find_slowly)

    async def come_back() -> None:
        with pytest.raises(Ended) as ended:
            await mallory.come_back()
        await mallory.cut()
        assert ended.value.code == 4501

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come_back)
        with trio.fail_after(3):
            await asked.wait()
        place.app.revoke("mallory")
        answer.set()

    assert place.app.registry.statistics().users == 0
