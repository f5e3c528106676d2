"""The clients of npm's `socket.io-client` find what every client does, and connection state recovery.

Nothing but Node and npm is needed: the package is installed once a session, outside the tree.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
import trio
from typing_extensions import override

from trio_chat.stores.embedded import EmbeddedValkey
from trio_chat.stores.redis_records import Names

from .client_contract import ClientContract, members, native, numbers, shown
from .drivers import patience

if TYPE_CHECKING:
    from .conftest import Site
    from .drivers import Client, Driver
    from .network import Network


class TestNodeClient(ClientContract):
    """The contract, for `socket.io-client`, and what it finds beyond that."""

    @pytest.fixture
    def command(self, node_driver: Path) -> list[str]:
        """What runs the driver."""
        return ["node", str(node_driver)]

    @override
    async def back(self, client: Client, *rooms: str) -> None:
        before = {room: shown(client, room) for room in rooms}
        state = (await client.until("connect")).about
        await client.settled()

        assert state["recovered"] is True
        for room in rooms:
            # Only who has nothing yet may get a history instead of what it has missed.
            histories = [one for one in client.all("messages:history") if one.args[1]["teamId"] == room]
            assert len(histories) == 1 or before[room] == []

    @override
    async def known(self, site: Site, client: Client, *rooms: str) -> None:
        name = Names("tc").note((await client.state())["pid"])
        socket = EmbeddedValkey(site.served.directory).socket
        with redis.Redis(unix_socket_path=str(socket)) as hot, patience(client, name):
            while set(rooms) != set(json.loads(hot.get(name) or "{}").get("rooms", [])):  # noqa: ASYNC110 - Redis tells nobody
                await trio.sleep(0.01)

    @pytest.mark.parametrize("old", [numbers(10), []], ids=["said-much", "said-nothing"])
    async def test_a_client_that_only_listened_is_recovered(
        self, mortal: Site, driver: Driver, room: str, old: list[str]
    ) -> None:
        """It had heard nothing but the history of its room when the server was killed.

        It is told who is there and who has read what: that may have changed without a message.
        """
        async with native(mortal, "bob", room) as bob:
            await bob.send_many(room, old)
        (ada,) = await members(driver, mortal, room, "ada")
        was = await ada.state()
        await self.known(mortal, ada, room)
        mortal.served.kill()
        await trio.to_thread.run_sync(mortal.served.start)
        async with native(mortal, "bob", room) as bob:
            await bob.send_many(room, numbers(10, 20))
            await ada.until("disconnect")
            await self.back(ada, room)
            await bob.send(room, "the end")
        await ada.until_told(room, "the end")
        state = await ada.state()

        assert (state["recovered"], state["pid"]) == (True, was["pid"])
        assert state["id"] != was["id"]
        assert shown(ada, room) == [*old, *numbers(10, 20), "the end"]
        assert [len(ada.all(kind)) for kind in ("receipt:list", "presence:list")] == [2, 2]
        assert ada.all("presence:list")[1].about.keys() == {"ada", "bob"}

    async def test_there_is_one_namespace(self, site: Site, driver: Driver) -> None:
        """Another one is refused as the reference server does it."""
        refused = await driver.client("ada").open(f"{site.url}/admin", **site.auth("ada"))

        assert refused.event == "connect_error"
        assert refused.about["message"] == "Invalid namespace"

    @pytest.mark.parametrize("old", [numbers(1), []], ids=["said-much", "said-nothing"])
    async def test_a_client_is_in_all_its_rooms_or_knows_that_it_is_not(
        self, mortal: Site, driver: Driver, room: str, old: list[str]
    ) -> None:
        """The server may be killed before it has noted the newest room; recovered means that nothing is missing."""
        aside = f"{room}/aside"
        async with native(mortal, "bob", room, aside) as bob:
            for one in (room, aside):
                await bob.send_many(one, old)
        (ada,) = await members(driver, mortal, room, "ada")
        await self.known(mortal, ada, room)
        await ada.join(aside)
        mortal.served.kill()
        await trio.to_thread.run_sync(mortal.served.start)
        await ada.until("disconnect")
        state = (await ada.until("connect")).about
        async with native(mortal, "bob", aside) as bob:
            await bob.send(aside, "hello")
        await ada.settled()

        assert ada.told(aside) == (["hello"] if state["recovered"] else [])

    async def test_a_client_the_server_still_believes_in_is_recovered(
        self, site: Site, network: tuple[Network, str], driver: Driver, room: str
    ) -> None:
        """A network may vanish without a word: then two connections are the one client for a while."""
        wires, url = network
        (bob,) = await members(driver, site, room, "bob")
        ada = driver.client("ada")
        await ada.open(url, **site.auth("ada"))
        await ada.join(room)
        await bob.send_many(room, numbers(10))
        wires.vanish()
        await bob.send_many(room, numbers(10, 20))
        await ada.until("disconnect")
        await self.back(ada, room)
        await bob.send(room, "the end")
        await ada.until_told(room, "the end")
        await bob.settled()

        assert shown(ada, room) == [*numbers(20), "the end"]
        assert bob.all("presence:update", userId="ada")[-1].about["isActive"] is True

    async def test_who_never_got_a_history_gets_it_on_coming_back(
        self, site: Site, network: tuple[Network, str], driver: Driver, room: str
    ) -> None:
        """The client had joined a second room, but the answer was lost with the connection."""
        wires, url = network
        rooms = [room, f"{room}/aside"]
        (bob,) = await members(driver, site, room, "bob")
        await bob.join(rooms[1])
        for one in rooms:
            await bob.send_many(one, numbers(10))
        ada = driver.client("ada")
        await ada.open(url, **site.auth("ada"))
        await ada.first("upgrade")
        await ada.join(room)
        wires.mute()
        await ada.emit("room:join", rooms[1])
        await bob.until("presence:update", teamId=rooms[1], userId="ada", isActive=True)
        for one in rooms:
            await bob.send(one, "number 10")
        wires.cut()
        state = (await ada.until("connect")).about
        for one in rooms:
            await bob.send(one, "the end")
            await ada.first("message:new", teamId=one, content="the end")

        assert state["recovered"] is True
        assert [shown(ada, one) for one in rooms] == [[*numbers(11), "the end"]] * 2
        assert [one.args[1]["teamId"] for one in ada.all("messages:history")] == rooms

    async def test_who_disconnects_on_purpose_comes_back_as_somebody_new(
        self, site: Site, driver: Driver, room: str
    ) -> None:
        """In no room, and with nothing to recover."""
        ada, bob = await members(driver, site, room, "ada", "bob")
        await bob.send(room, "hello")
        await ada.until_told(room, "hello")
        was = await ada.state()
        await ada.close()
        await bob.until("presence:update", userId="ada", isActive=False)
        state = (await ada.reopen()).about
        await bob.send(room, "unheard")
        refused = await ada.send(room, "unsaid")

        assert state["recovered"] is False
        assert state["pid"] != was["pid"]
        assert refused["error"]["code"] == "not_joined"
        assert ada.told(room) == ["hello"]
