"""What every Socket.IO client finds, whoever made it: the same facts for each.

A test module derives a class from `ClientContract`, gives it a fixture `command`, which is what runs the driver of its
clients, and the hook `back`. Clients have their default options: they poll, upgrade, and come back by themselves.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import trio

from tests.chat_client import Chat, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .conftest import Site
    from .drivers import Client, Driver, Heard
    from .network import Network


def numbers(*bounds: int) -> list[str]:
    """Return contents to tell apart."""
    return [f"number {number}" for number in range(*bounds)]


def ends_with_an_offset(heard: Heard) -> bool:
    """Whether a client is told where it is, for when it comes back."""
    return bool(heard.args) and isinstance(heard.args[-1], str)


def is_of(room: str, history: list[Any]) -> bool:
    """Whether a history is a room's. Clients without recovery are told by the messages in it, if there are any."""
    if len(history) > 1:
        return bool(history[1]["teamId"] == room)
    return all(message["teamId"] == room for message in history[0])


def shown(client: Client, room: str) -> list[str]:
    """Return what a front end shows of a room: the history as it came, then one change after the other."""
    contents: dict[str, str] = {}
    for event, args in client.heard:
        match event:
            case "messages:history" if is_of(room, args):
                contents = {message["id"]: message["content"] for message in args[0]}
            case "message:new" if args[0]["teamId"] == room:
                assert args[0]["id"] not in contents, f"{args} was told twice"
                contents[args[0]["id"]] = args[0]["content"]
            case "message:update" if args[0]["teamId"] == room:
                contents[args[0]["id"]] = args[0]["content"]
            case "message:delete":
                contents.pop(args[0], None)
    return list(contents.values())


async def members(driver: Driver, site: Site, room: str, *names: str) -> list[Client]:
    """Return new clients that have joined the room."""
    clients = [driver.client(name) for name in names]
    for client in clients:
        await client.open(site.url, **site.auth(client.name))
        await client.join(room)
    return clients


@asynccontextmanager
async def native(site: Site, user: str, *rooms: str) -> AsyncIterator[Chat]:
    """Have a client of the native wire in these rooms for as long as the block."""
    async with connect(site.native_url, **site.hello(user)) as chat:
        for room in rooms:
            await chat.join(room)
        yield chat


class ClientContract:
    """What every client finds. All but a few tests take a second: processes start, and clients wait to come back."""

    recovers: ClassVar[bool] = True
    """Whether the client knows connection state recovery; others get the bare arguments."""

    async def back(self, client: Client, *rooms: str) -> None:
        """Wait until a client that was cut off is back in its rooms."""
        raise NotImplementedError

    async def known(self, site: Site, client: Client, *rooms: str) -> None:
        """Wait until the rooms of a client would be known after a kill, if they ever are."""

    # Coming in

    async def test_a_client_polls_first_and_upgrades(self, site: Site, driver: Driver) -> None:
        """As the defaults of all clients have it; it is welcomed on the way."""
        ada = driver.client("ada")
        entered = await ada.open(site.url, **site.auth("ada"))
        upgraded = await ada.first("upgrade")
        welcome = await ada.first("welcome")
        state = await ada.state()

        assert entered.event == "connect"
        assert upgraded.args == ["websocket"]
        assert (state["connected"], state["transport"]) == (True, "websocket")
        assert (welcome.about["user"], welcome.about["durability"]) == ("ada", "redis")
        assert ends_with_an_offset(welcome) is self.recovers

    async def test_a_token_lets_in(self, mortal: Site, driver: Driver, room: str) -> None:
        """It says who one is."""
        (ada,) = await members(driver, mortal, room, "ada")
        await ada.send(room, "hello")

        assert (await ada.until_told(room, "hello")).about["userId"] == "ada"

    @pytest.mark.parametrize("auth", [{}, {"token": "nonsense"}, {"userId": "ada"}])
    async def test_a_client_that_may_not_come_in_is_told_why(
        self, mortal: Site, driver: Driver, auth: dict[str, str]
    ) -> None:
        """The connect error has a text, and a code for programs."""
        refused = await driver.client("ada").open(mortal.url, **auth)

        assert refused.event == "connect_error"
        assert refused.about["message"]
        assert refused.about["data"] == {"code": "unauthorized", "temporary": False}

    @pytest.mark.parametrize("transport", ["websocket", "polling"])
    async def test_one_transport_is_enough(
        self, site: Site, driver: Driver, room: str, transport: str
    ) -> None:
        """Join, talk, leave; whoever left hears nothing more."""
        ada, bob = driver.client("ada"), driver.client("bob")
        for client in (ada, bob):
            await client.open(site.url, [transport], **site.auth(client.name))
            await client.join(room)
        acks = [await ada.send_many(room, numbers(20)), await bob.send_many(room, numbers(20, 40))]
        await ada.until_told(room, "number 39")
        left = await bob.ask("room:leave", room)
        await bob.until("room:left", teamId=room)
        await ada.send(room, "number 40")
        await bob.settled()
        states = [await client.state() for client in (ada, bob)]

        assert [one["seq"] for acks_of_one in acks for one in acks_of_one] == list(range(1, 41))
        assert left == {"ok": True}
        assert shown(ada, room) == numbers(41)
        assert shown(bob, room) == numbers(40)
        assert [state["transport"] for state in states] == [transport, transport]

    async def test_a_client_can_ask_whether_the_server_is_there(self, site: Site, driver: Driver) -> None:
        """In no room yet; the answer is the ack, or an event."""
        ada = driver.client("ada")
        await ada.open(site.url, **site.auth("ada"))
        await ada.emit("heartbeat")
        answered = await ada.until("heartbeat")
        acknowledged = await ada.ask("heartbeat")

        assert answered.args == [{}]
        assert acknowledged == {"ok": True}

    # Talking

    async def test_everybody_gets_every_message_once_and_in_order(
        self, site: Site, driver: Driver, room: str
    ) -> None:
        """A hundred messages for three; somebody who comes late gets them all at once."""
        ada, bob, eve = await members(driver, site, room, "ada", "bob", "eve")
        acks = await ada.send_many(room, numbers(100))
        for client in (ada, bob, eve):
            await client.until_told(room, "number 99")
            await client.settled()
        dan = driver.client("dan")
        await dan.open(site.url, **site.auth("dan"))
        joined, history = await dan.join(room)

        assert [(ack["ok"], ack["seq"], ack["durability"], ack["duplicate"]) for ack in acks] == [
            (True, seq, "redis", False) for seq in range(1, 101)
        ]
        for client in (ada, bob, eve):
            assert client.told(room) == numbers(100)
        assert [message["content"] for message in history] == numbers(100)
        assert [message["id"] for message in history] == [ack["id"] for ack in acks]
        assert (joined["seq"], joined["epoch"], joined["recovered"]) == (100, acks[0]["epoch"], False)
        assert sorted(joined["members"]) == ["ada", "bob", "dan", "eve"]

    async def test_a_message_has_all_its_parts(self, site: Site, driver: Driver, room: str) -> None:
        """New or in the history; and every event of a room ends with its offset."""
        (ada,) = await members(driver, site, room, "ada")
        sent = {
            "teamId": room,
            "content": "hello",
            "metadata": {"mood": ["good"]},
            "type": "user",
            "id": "m-1",
        }
        ack = await ada.ask("message:send", sent)
        again = await ada.ask("message:send", sent)
        new = await ada.until("message:new")
        _, history = await ada.join(room)

        timestamp = new.about["timestamp"]
        assert new.about == {**sent, "userId": "ada", "timestamp": timestamp}
        assert history == [new.about]
        assert (ack["id"], ack["duplicate"], again["seq"], again["duplicate"]) == (
            "m-1",
            False,
            ack["seq"],
            True,
        )
        assert ada.told(room) == ["hello"]
        in_rooms = [one for one in ada.heard if one.event.startswith(("message", "receipt", "presence"))]
        assert all(ends_with_an_offset(one) is self.recovers for one in in_rooms)

    async def test_messages_said_in_haste_stay_in_order(self, site: Site, driver: Driver, room: str) -> None:
        """Twenty at once, without waiting for acks and without asking for any."""
        ada, bob = await members(driver, site, room, "ada", "bob")
        for content in numbers(20):
            await ada.emit("message:send", {"teamId": room, "content": content})
        for client in (ada, bob):
            await client.until_told(room, "number 19")

        assert [client.told(room) for client in (ada, bob)] == [numbers(20), numbers(20)]
        assert ada.all("room:error") == []

    async def test_both_wires_tell_one_story(self, site: Site, driver: Driver, room: str) -> None:
        """A native client and this one, in one room, both talking at once, hear the same in the same order."""
        (ada,) = await members(driver, site, room, "ada")
        async with native(site, "bob", room) as bob, native(site, "eve", room) as eve:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ada.send_many, room, [f"ada {number}" for number in range(100)])
                nursery.start_soon(bob.send_many, room, [f"bob {number}" for number in range(100)], 5)
            heard = [(await eve.until("message:new"))["message"] for _ in range(200)]
        await ada.settled()
        told = [one.about for one in ada.all("message:new")]

        assert [(one["id"], one["content"], one["userId"], one["timestamp"]) for one in told] == [
            (one["id"], one["content"], one["userId"], one["timestamp"]) for one in heard
        ]
        assert [one for one in ada.told(room) if one.startswith("ada")] == [f"ada {n}" for n in range(100)]

    async def test_edits_and_deletions_are_told_and_kept(
        self, mortal: Site, driver: Driver, room: str
    ) -> None:
        """The author's only; who comes late sees what is left."""
        ada, bob = await members(driver, mortal, room, "ada", "bob")
        one, other = await ada.send_many(room, ["one", "other"])
        edited = await ada.ask("message:edit", one["id"], "edited", {"by": "hand"})
        refused = await bob.ask("message:delete", one["id"])
        deleted = await ada.ask("message:delete", other["id"])
        update = await bob.until("message:update")
        await bob.until("message:delete", other["id"])
        (eve,) = await members(driver, mortal, room, "eve")

        assert (edited["ok"], edited["id"], edited["seq"]) == (True, one["id"], 3)
        assert (deleted["ok"], deleted["id"], deleted["seq"]) == (True, other["id"], 4)
        assert (refused["ok"], refused["error"]["code"]) == (False, "forbidden")
        assert update.about == {
            "id": one["id"],
            "content": "edited",
            "metadata": {"by": "hand"},
            "teamId": room,
        }
        assert shown(bob, room) == shown(eve, room) == ["edited"]

    async def test_older_messages_are_read_by_the_page(self, site: Site, driver: Driver, room: str) -> None:
        """With an ack, or told as an event."""
        (ada,) = await members(driver, site, room, "ada")
        await ada.send_many(room, numbers(5))
        newest = await ada.ask("history:get", {"teamId": room, "limit": 3})
        await ada.emit("history:get", {"teamId": room, "limit": 3, "before": newest["before"]})
        older = (await ada.until("history:page")).about

        assert [one["content"] for one in newest["messages"]] == numbers(2, 5)
        assert [one["content"] for one in older["messages"]] == numbers(2)
        assert [(page["source"], page["more"]) for page in (newest, older)] == [
            ("window", True),
            ("window", False),
        ]

    # Typing, read marks, presence

    async def test_typing_is_told_to_the_others(self, site: Site, driver: Driver, room: str) -> None:
        """And that it has stopped."""
        ada, bob = await members(driver, site, room, "ada", "bob")
        await ada.emit("typing:start", room)
        started = await bob.until("typing:start", userId="ada", teamId=room)
        await ada.emit("typing:stop", room)
        await bob.until("typing:stop", userId="ada", teamId=room)
        await ada.settled()

        assert started.about["timestamp"]
        assert ada.all("typing:start") + ada.all("typing:stop") == []

    async def test_read_marks_are_told_and_kept(self, site: Site, driver: Driver, room: str) -> None:
        """To everybody, their owner too, and to who comes late."""
        ada, bob = await members(driver, site, room, "ada", "bob")
        ack = await ada.send(room, "hello")
        await bob.emit("receipt:update", {"teamId": room, "lastReadMessageId": ack["id"]})
        marks = [
            await client.until("receipt:update", userId="bob", lastReadMessageId=ack["id"])
            for client in (ada, bob)
        ]
        (eve,) = await members(driver, site, room, "eve")
        (kept,) = eve.all("receipt:list")

        assert kept.args[1:-1] == ([{"teamId": room}] if self.recovers else [])
        assert kept.about == {
            "bob": {"lastReadMessageId": ack["id"], "timestamp": marks[0].about["timestamp"]}
        }

    async def test_two_tabs_are_one_user(self, site: Site, driver: Driver, room: str) -> None:
        """Who comes with the first and goes with the last."""
        (bob,) = await members(driver, site, room, "bob")
        tabs = [driver.client("a tab"), driver.client("another tab")]
        for tab in tabs:
            await tab.open(site.url, **site.auth("ada"))
            await tab.join(room)
        await tabs[0].close()
        await tabs[1].send(room, "still here")
        await bob.until_told(room, "still here")
        before = [one.about["isActive"] for one in bob.all("presence:update", userId="ada")]
        (listed,) = tabs[1].all("presence:list")
        await tabs[1].close()
        await bob.until("presence:update", userId="ada", teamId=room, isActive=False)

        assert before == [True]
        assert {user: one["isActive"] for user, one in listed.about.items()} == {"ada": True, "bob": True}

    # What is refused

    async def test_an_error_comes_as_the_ack_or_as_an_event(
        self, site: Site, driver: Driver, room: str
    ) -> None:
        """A text for people, which front ends show as it is, and a code."""
        (ada,) = await members(driver, site, room, "ada")
        elsewhere = {"teamId": "elsewhere", "content": "hello"}
        answer = await ada.ask("message:send", elsewhere)
        await ada.emit("message:send", elsewhere)
        text, *details = (await ada.until("room:error")).args
        await ada.send(room, "still here")

        assert answer == {
            "ok": False,
            "error": {"code": "not_joined", "message": text, "temporary": False},
        }
        detail = {"code": "not_joined", "temporary": False, "teamId": "elsewhere"}
        assert details == ([detail] if self.recovers else [])

    # Coming back

    @pytest.mark.parametrize("transports", [None, ["polling"]], ids=["upgraded", "polling"])
    async def test_a_dropped_network_loses_nothing(
        self,
        site: Site,
        network: tuple[Network, str],
        driver: Driver,
        room: str,
        transports: list[str] | None,
    ) -> None:
        """Others talk before, during and after, change what they said, and each thing is told once.

        The server believes that it has told some of it when it has not.
        """
        wires, url = network
        (bob,) = await members(driver, site, room, "bob")
        ada = driver.client("ada")
        await ada.open(url, transports, **site.auth("ada"))
        if transports is None:
            await ada.first("upgrade")
        await ada.join(room)
        said = numbers(40)
        first, second, *_ = await bob.send_many(room, said[:30])
        await ada.until_told(room, "number 29")
        wires.mute()
        await bob.send_many(room, said[30:])
        async with trio.open_nursery() as talking:
            talking.start_soon(_talk, bob, room, said)
            wires.cut()
            await ada.until("disconnect")
            await bob.ask("message:edit", first["id"], "edited")
            await bob.ask("message:delete", second["id"])
            await self.back(ada, room)
            talking.cancel_scope.cancel()
        await bob.send(room, "the end")
        await ada.until_told(room, "the end")

        assert len(said) > 40
        assert shown(ada, room) == ["edited", *said[2:], "the end"]

    async def test_a_killed_server_loses_nothing(self, mortal: Site, driver: Driver, room: str) -> None:
        """Two rooms: what was said before the kill, and before the client was back, is told once."""
        rooms = [room, f"{room}/aside"]
        (ada,) = await members(driver, mortal, room, "ada")
        await ada.join(rooms[1])
        await self.known(mortal, ada, *rooms)
        async with native(mortal, "bob", *rooms) as bob:
            for one in rooms:
                await bob.send_many(one, numbers(40))
            mortal.served.kill()
        await trio.to_thread.run_sync(mortal.served.start)
        async with native(mortal, "bob", *rooms) as bob:
            for one in rooms:
                await bob.send_many(one, numbers(40, 60))
            await ada.until("disconnect")
            await self.back(ada, *rooms)
            for one in rooms:
                await bob.send(one, "the end")
        for one in rooms:
            await ada.first("message:new", teamId=one, content="the end")

        assert [shown(ada, one) for one in rooms] == [[*numbers(60), "the end"]] * 2

    async def test_a_restarted_server_loses_nothing(self, mortal: Site, driver: Driver, room: str) -> None:
        """When it stops in good order it does not tell its clients to stay away."""
        (ada,) = await members(driver, mortal, room, "ada")
        async with native(mortal, "bob", room) as bob:
            await bob.send_many(room, numbers(10))
        status = await trio.to_thread.run_sync(mortal.served.stop)
        await trio.to_thread.run_sync(mortal.served.start)
        async with native(mortal, "bob", room) as bob:
            await bob.send_many(room, numbers(10, 20))
            await ada.until("disconnect")
            await self.back(ada, room)
            await bob.send(room, "the end")
        await ada.until_told(room, "the end")

        assert status == 0, mortal.served.log
        assert shown(ada, room) == [*numbers(20), "the end"]


async def _talk(client: Client, room: str, said: list[str]) -> None:
    """Go on talking until cancelled; `said` has what was acknowledged."""
    while True:
        content = f"number {len(said)}"
        with trio.CancelScope(shield=True):
            await client.send(room, content)
            said.append(content)
        await trio.sleep(0.02)
