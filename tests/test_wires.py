"""What a client may rely on, whatever its wire: one text for all of them, over real stores and sockets."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from trio_chat.app import open_app
from trio_chat.clients import registry
from trio_chat.clients.auth import make_token
from trio_chat.settings import Settings
from trio_chat.stores.embedded import EmbeddedPostgres

from .wires import CLIENTS, Client, Refused

_numbers = itertools.count()


class Site:
    """A running server, and whoever is connected to it. Lives as long as a test."""

    def __init__(self, settings: Settings, port: int, wire: str) -> None:
        self.wire = wire
        self._settings = settings
        self._port = port
        self._clients: list[Client] = []

    def token(self, user: str, *, rooms: tuple[str, ...] = ("*",), **claims: Any) -> str:
        """Make a token, by default for all rooms."""
        return make_token(self._settings, user, rooms, **claims)

    async def connect(self, user: str, *, wire: str | None = None, **claims: Any) -> Client:
        """Return a connected client."""
        client = CLIENTS[wire or self.wire](user, str(self._port), self.token(user, **claims))
        self._clients.append(client)
        await client.connect()
        return client

    async def members(self, room: str, *users: str, **options: Any) -> list[Client]:
        """Return connected clients in a room, who have all heard that the others are there."""
        here: list[Client] = []
        for user in users:
            client = await self.connect(user, **options)
            await client.join(room)
            for other in here:
                await other.expect_presence(room, user)
            here.append(client)
        return here

    async def close(self) -> None:
        """Let everybody go, so that the server need not wait for those who poll."""
        for client in self._clients:
            await client.close()

    def drop(self) -> None:
        """Cut everybody."""
        for client in self._clients:
            client.drop()


Serve = Callable[..., Any]

POLLING_TOO = pytest.mark.parametrize("wire", list(CLIENTS))
"""For what could depend on how requests come and answers go."""


@pytest.fixture(params=["native", "socketio"])
def wire(request: pytest.FixtureRequest) -> str:
    """How clients speak."""
    return str(request.param)


@pytest.fixture
def room() -> str:
    """A room that no other test is in: they share an archive."""
    return f"team-{next(_numbers)}/general"


@pytest.fixture(scope="module")
def archive_url(postgres_process: EmbeddedPostgres, psql: Callable[..., str]) -> str:
    """The URL of a database for all of these tests; each has a room of its own."""
    psql(postgres_process.url, "create database wires")
    return postgres_process.url.replace("/postgres?", "/wires?")


@pytest.fixture
def settings(tmp_path: Path, valkey_server: str, archive_url: str) -> Settings:
    """Settings for a server on a free port that wants tokens."""
    return Settings(
        port=0,
        data_dir=tmp_path,
        redis_url=valkey_server,
        redis_prefix=f"wires-{next(_numbers)}",
        database_url=archive_url,
        auth_secret="a secret for the tests of the wires",
    )


@asynccontextmanager
async def serving(settings: Settings, wire: str, **changes: Any) -> AsyncIterator[Site]:
    """Run a server for as long as the block."""
    async with open_app(replace(settings, **changes)) as app:
        site = Site(settings, app.port, wire)
        try:
            yield site
            await site.close()
        finally:
            site.drop()


@pytest.fixture
def serve(settings: Settings, wire: str) -> Serve:
    """Run a server with some settings of its own."""
    return partial(serving, settings, wire)


@pytest.fixture
async def site(settings: Settings, wire: str) -> AsyncIterator[Site]:
    """A server with the usual settings."""
    async with serving(settings, wire) as site:
        yield site


def numbers(*bounds: int) -> list[str]:
    """Return contents to tell apart."""
    return [f"number {number}" for number in range(*bounds)]


async def send_all(client: Client, room: str, contents: list[str]) -> list[str]:
    """Send messages and return their ids."""
    return [(await client.send(room, content))["id"] for content in contents]


async def hear_all(client: Client, room: str, contents: list[str]) -> None:
    """Expect messages, in this order and nothing between them."""
    for content in contents:
        await client.expect_message(room, content)


# Joining and leaving


@POLLING_TOO
async def test_an_empty_room_has_only_oneself(site: Site, room: str) -> None:
    """It needs no creating."""
    ada = await site.connect("ada")
    entered = await ada.join(room)
    await ada.expect_nothing()

    assert (entered.seq, entered.recovered, entered.durability) == (0, False, "redis")
    assert (entered.messages, entered.members, entered.receipts) == ([], ["ada"], {})


@POLLING_TOO
async def test_who_joins_gets_the_window_as_it_reads_now(site: Site, room: str) -> None:
    """Edited, without what was deleted, and the position of all that."""
    (ada,) = await site.members(room, "ada")
    first, second, _ = await send_all(ada, room, numbers(3))
    await ada.edit(room, first, "edited")
    ack = await ada.delete(room, second)
    bob = await site.connect("bob")
    entered = await bob.join(room)
    await bob.expect_nothing()

    assert entered.contents == ["edited", "number 2"]
    assert (entered.epoch, entered.seq) == (ack["epoch"], ack["seq"]) == (ack["epoch"], 5)


@POLLING_TOO
async def test_a_message_has_the_same_parts_everywhere(site: Site, room: str) -> None:
    """Told to its sender and to others, in the window and on a page."""
    ada, bob = await site.members(room, "ada", "bob")
    await ada.send(room, "héllo \u2028", id="m-1", metadata={"mood": ["good", {"deep": None}]})
    heard = [await client.expect_message(room, "héllo \u2028") for client in (ada, bob)]
    eve = await site.connect("eve")
    (kept,) = (await eve.join(room)).messages
    (paged,) = (await eve.page(room))["messages"]
    paged.pop("epoch")

    assert heard == [kept, kept]
    assert paged == kept
    assert (kept["id"], kept["user"], kept["role"]) == ("m-1", "ada", "user")
    assert kept["metadata"] == {"mood": ["good", {"deep": None}]}


@POLLING_TOO
async def test_who_has_left_hears_nothing_more(site: Site, room: str) -> None:
    """And may come again."""
    ada, bob = await site.members(room, "ada", "bob")
    await bob.leave(room)
    await ada.expect_presence(room, "bob", active=False)
    await ada.send(room, "meanwhile")
    await bob.expect_nothing()
    entered = await bob.join(room)

    assert entered.contents == ["meanwhile"]
    assert entered.recovered is False


async def test_rooms_do_not_hear_each_other(site: Site, room: str) -> None:
    """A client in two rooms hears both, and each by its name."""
    ada, bob = await site.members(room, "ada", "bob")
    await bob.join(f"{room}/aside")
    await bob.send(f"{room}/aside", "aside")
    await ada.send(room, "general")
    await bob.expect_message(f"{room}/aside", "aside")
    await bob.expect_message(room, "general")
    await ada.expect_message(room, "general")

    await ada.expect_nothing()


# Messages


@POLLING_TOO
async def test_a_sender_hears_the_message_and_then_the_ack(site: Site, room: str) -> None:
    """So a front end need not show what it has sent until it is told."""
    (ada,) = await site.members(room, "ada")
    await ada.send(room, "hello")
    await ada.expect_message(room, "hello", user="ada")

    assert ada.order[-2:] == ["message", "answer"]


@POLLING_TOO
async def test_an_ack_says_which_event_it_was_and_how_safe_it_is(site: Site, room: str) -> None:
    """Seqs go up by one in one epoch, for edits and deletions too."""
    (ada,) = await site.members(room, "ada")
    sent = await ada.send(room, "hello", id="m-1")
    edited = await ada.edit(room, "m-1", "hello, all")
    deleted = await ada.delete(room, "m-1")

    assert [ack["id"] for ack in (sent, edited, deleted)] == ["m-1"] * 3
    assert [ack["seq"] for ack in (sent, edited, deleted)] == [1, 2, 3]
    assert {(ack["durability"], ack["duplicate"]) for ack in (sent, edited, deleted)} == {("redis", False)}
    assert len({ack["epoch"] for ack in (sent, edited, deleted)}) == 1


@POLLING_TOO
async def test_everybody_hears_two_senders_in_one_order(site: Site, room: str) -> None:
    """Each sender's messages in the order of sending."""
    ada, bob = await site.members(room, "ada", "bob")
    async with trio.open_nursery() as nursery:
        for client in (ada, bob):
            nursery.start_soon(send_all, client, room, [f"{client.user} {number}" for number in range(10)])
    heard = [[(await client.hear()).about["content"] for _ in range(20)] for client in (ada, bob)]

    assert heard[0] == heard[1]
    for user in ("ada", "bob"):
        assert [one for one in heard[0] if one.startswith(user)] == [
            f"{user} {number}" for number in range(10)
        ]


async def test_the_same_id_twice_is_one_message(site: Site, room: str) -> None:
    """The second ack is that of the first, but says so; it is heard once."""
    ada, bob = await site.members(room, "ada", "bob")
    first = await ada.send(room, "hello", id="m-1")
    again = await ada.send(room, "hello", id="m-1")
    await bob.expect_message(room, "hello")
    await bob.expect_nothing()

    assert {**first, "duplicate": True, "ref": None} == {**again, "ref": None}


async def test_an_id_belongs_to_whoever_used_it_first(site: Site, room: str) -> None:
    """Somebody else's message cannot be taken for one's own."""
    ada, bob = await site.members(room, "ada", "bob")
    await ada.send(room, "hello", id="m-1")

    await bob.expect_refused("conflict", bob.send(room, "mine", id="m-1"))


async def test_an_author_edits(site: Site, room: str) -> None:
    """Everybody is told; metadata stay unless there are new ones; the same again is a duplicate."""
    ada, bob = await site.members(room, "ada", "bob")
    await ada.send(room, "hello", id="m-1", metadata={"mood": "good"})
    await ada.edit(room, "m-1", "hello, all")
    again = await ada.edit(room, "m-1", "hello, all")
    await ada.edit(room, "m-1", "hello, all", metadata={})
    for client in (ada, bob):
        await client.expect_message(room, "hello")
        await client.expect_update(room, "m-1", "hello, all", metadata={"mood": "good"})
        await client.expect_update(room, "m-1", "hello, all", metadata={})
        await client.expect_nothing()

    assert (again["seq"], again["duplicate"]) == (2, True)


async def test_an_author_deletes(site: Site, room: str) -> None:
    """Everybody is told once; deleting it again is a duplicate, and editing it finds nothing."""
    ada, bob = await site.members(room, "ada", "bob")
    await ada.send(room, "hello", id="m-1")
    deleted = await ada.delete(room, "m-1")
    again = await ada.delete(room, "m-1")
    await ada.expect_refused("not_found", ada.edit(room, "m-1", "hello?"))
    for client in (ada, bob):
        await client.expect_message(room, "hello")
        await client.expect_delete(room, "m-1")
        await client.expect_nothing()

    assert (again["seq"], again["duplicate"]) == (deleted["seq"], True)
    assert bob.shown(room) == []


async def test_a_message_is_its_authors(site: Site, room: str) -> None:
    """Nobody else may edit or delete it, and nobody hears of the attempt."""
    ada, bob = await site.members(room, "ada", "bob")
    await ada.send(room, "hello", id="m-1")
    await ada.expect_message(room, "hello")
    await bob.expect_refused("forbidden", bob.edit(room, "m-1", "nonsense"))
    await bob.expect_refused("forbidden", bob.delete(room, "m-1"))

    await ada.expect_nothing()


async def test_a_moderator_changes_everybodys_messages(site: Site, room: str) -> None:
    """They stay their author's."""
    (ada,) = await site.members(room, "ada")
    first, second = await send_all(ada, room, numbers(2))
    mod = await site.connect("mod", roles=["moderator"])
    await mod.join(room)
    await mod.edit(room, first, "moderated")
    await mod.delete(room, second)
    page = await mod.page(room)

    assert [(one["content"], one["user"]) for one in page["messages"]] == [("moderated", "ada")]


@pytest.mark.parametrize("role", ["assistant", "system"])
async def test_only_some_may_speak_in_a_role(site: Site, role: str, room: str) -> None:
    """Those whose token has it."""
    (ada,) = await site.members(room, "ada")
    await ada.expect_refused("forbidden", ada.send(room, "hello", role=role))
    bot = await site.connect("bot", roles=[role])
    await bot.join(room)
    await bot.send(room, "hello", role=role)
    await ada.expect_presence(room, "bot")

    await ada.expect_message(room, "hello", role=role, user="bot")


async def test_a_role_nobody_knows_is_a_bad_request(site: Site, room: str) -> None:
    """Even for somebody with every role there is."""
    (ada,) = await site.members(room, "ada", roles=["assistant", "system", "moderator"])

    await ada.expect_refused("bad_request", ada.send(room, "hello", role="oracle"))


# What is refused


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


# Typing


@POLLING_TOO
async def test_typing_is_told_to_the_others(site: Site, room: str) -> None:
    """That it starts and that it stops, but not to any tab of who types."""
    ada, bob = await site.members(room, "ada", "bob")
    (tab,) = await site.members(room, "ada")
    await ada.type(room)
    await ada.type(room, active=False)
    await bob.expect_typing(room, "ada")
    await bob.expect_typing(room, "ada", active=False)

    for client in (ada, tab, bob):
        await client.expect_nothing()


@POLLING_TOO
@pytest.mark.parametrize("end", ["posting", "leaving", "losing the connection"])
async def test_typing_stops_by_itself(site: Site, end: str, room: str) -> None:
    """When its message has come, or its author has gone. A stop that comes later is told to nobody."""
    ada, bob = await site.members(room, "ada", "bob")
    await ada.type(room)
    await bob.expect_typing(room, "ada")
    if end == "posting":
        await ada.send(room, "hello")
        await ada.type(room, active=False)
        await bob.expect_message(room, "hello")
    else:
        await (ada.leave(room) if end == "leaving" else ada.cut())
        await bob.expect_presence(room, "ada", active=False)

    await bob.expect_typing(room, "ada", active=False)
    await bob.expect_nothing()


async def test_who_comes_late_learns_who_types(site: Site, room: str) -> None:
    """Besides oneself."""
    (ada,) = await site.members(room, "ada")
    await ada.type(room)
    bob = await site.connect("bob")
    await bob.join(room)
    await bob.expect_typing(room, "ada")
    tab = await site.connect("ada")
    await tab.join(room)

    for client in (bob, tab):
        await client.expect_nothing()


# Presence


@POLLING_TOO
async def test_two_tabs_are_one_user(site: Site, room: str) -> None:
    """Who comes with the first and goes with the last."""
    bob, ada = await site.members(room, "bob", "ada")
    tab = await site.connect("ada")
    entered = await tab.join(room)
    await ada.close()
    await tab.send(room, "still here")
    await bob.expect_message(room, "still here")
    await tab.close()
    await bob.expect_presence(room, "ada", active=False)

    await bob.expect_nothing()
    assert sorted(entered.members) == ["ada", "bob"]


async def test_who_joins_learns_who_is_here(site: Site, room: str) -> None:
    """And when they last did something."""
    ada, _ = await site.members(room, "ada", "bob")
    await ada.send(room, "hello")
    said = await ada.expect_message(room, "hello")
    eve = await site.connect("eve")
    entered = await eve.join(room)

    assert sorted(entered.members) == ["ada", "bob", "eve"]
    assert entered.presence is not None
    assert {user: one["active"] for user, one in entered.presence.items()} == dict.fromkeys(
        entered.members, True
    )
    assert entered.presence["ada"]["last_active"] == said["timestamp"]
    assert entered.presence["bob"]["last_active"] < said["timestamp"]


async def test_a_presence_heartbeat_says_that_somebody_is_still_here(site: Site, room: str) -> None:
    """The others hear when; who joins later learns it too."""
    ada, bob = await site.members(room, "ada", "bob")
    await ada.touch(room)
    first = await bob.expect_presence(room, "ada")
    await ada.touch(room)
    second = await bob.expect_presence(room, "ada")
    await ada.expect_nothing()
    eve = await site.connect("eve")
    entered = await eve.join(room)

    assert first < second
    assert entered.presence is not None
    assert entered.presence["ada"]["last_active"] == second


# Read marks


@POLLING_TOO
async def test_read_marks_are_told_to_all_and_kept(site: Site, room: str) -> None:
    """To their owner too; who joins later gets a list."""
    ada, bob = await site.members(room, "ada", "bob")
    (first,) = await send_all(ada, room, ["hello"])
    await bob.read(room, first)
    marks: list[dict[str, Any]] = []
    for client in (ada, bob):
        await client.expect_message(room, "hello")
        marks.append(await client.expect_receipt(room, "bob", first))
    eve = await site.connect("eve")
    entered = await eve.join(room)

    assert marks[0] == marks[1]
    assert entered.receipts == {"bob": marks[0]}


async def test_read_marks_never_go_back(site: Site, room: str) -> None:
    """Such a one is taken, and told to nobody."""
    (ada,) = await site.members(room, "ada")
    first, second = await send_all(ada, room, numbers(2))
    await hear_all(ada, room, numbers(2))
    await ada.read(room, second)
    await ada.read(room, first)
    await ada.read(room, second)
    await ada.expect_receipt(room, "ada", second)

    await ada.expect_nothing()


# Older messages


@POLLING_TOO
async def test_pages_cross_from_the_window_into_the_archive(serve: Serve, room: str) -> None:
    """Each says where it came from, and how to go on."""
    async with serve(max_messages_per_session=3) as site:
        (ada,) = await site.members(room, "ada")
        await send_all(ada, room, numbers(7))
        pages = [await ada.page(room, limit=2)]
        while (before := pages[-1]["before"]) is not None:
            pages.append(await ada.page(room, limit=2, before=before))

    said = [[message["content"] for message in page["messages"]] for page in pages]
    assert said == [numbers(5, 7), numbers(3, 5), numbers(1, 3), numbers(1)]
    assert [page["source"] for page in pages] == ["window", "window+archive", "archive", "archive"]
    assert [page["more"] for page in pages] == [True, True, True, False]


async def test_a_page_without_a_place_in_between_is_empty(site: Site, room: str) -> None:
    """There is nothing older."""
    (ada,) = await site.members(room, "ada")
    ack = await ada.send(room, "hello")
    page = await ada.page(room, before={"epoch": ack["epoch"], "seq": 1})

    assert (page["messages"], page["more"], page["before"]) == ([], False, None)


@pytest.mark.parametrize(
    "fields",
    [{"limit": 0}, {"limit": 201}, {"before": {"epoch": "nonsense", "seq": 1}}, {"before": {"seq": 1}}],
    ids=str,
)
async def test_a_page_that_cannot_be_is_a_bad_request(site: Site, fields: dict[str, Any], room: str) -> None:
    """Its size, or its place."""
    (ada,) = await site.members(room, "ada")

    await ada.expect_refused("bad_request", ada.page(room, **fields))


# Sessions


async def test_a_session_ends_in_spite_of_heartbeats_and_the_next_message_begins_another(
    serve: Serve, room: str
) -> None:
    """Takes the second that a session has at least. Members stay; what was said is a page back."""
    async with serve(session_expiry_seconds=1) as site:
        (ada,) = await site.members(room, "ada")
        old = await ada.send(room, "old")
        await ada.expect_message(room, "old")
        with trio.fail_after(5):
            while not ada.heard:
                await ada.heartbeat()
                await trio.sleep(0.05)
        await ada.expect("expired", room, epoch=old["epoch"])
        shown = ada.shown(room)
        new = await ada.send(room, "new")
        await ada.expect_message(room, "new")
        entered = await (await site.connect("bob")).join(room)
        page = await ada.page(room)

        assert shown == []
        assert new["seq"] == 1
        assert new["epoch"] > old["epoch"]
        assert entered.contents == ["new"]
        assert [(one["epoch"], one["content"]) for one in page["messages"]] == [
            (old["epoch"], "old"),
            (new["epoch"], "new"),
        ]


# Coming back


@POLLING_TOO
async def test_who_comes_back_hears_what_was_missed_once_and_in_order(site: Site, room: str) -> None:
    """Nothing of what was heard before, and everything said afterwards."""
    ada, bob = await site.members(room, "ada", "bob")
    await send_all(bob, room, numbers(3))
    await hear_all(ada, room, numbers(3))
    await ada.cut()
    await send_all(bob, room, numbers(3, 6))
    entered = (await ada.come_back())[room]
    await send_all(bob, room, numbers(6, 9))
    await hear_all(ada, room, numbers(3, 9))
    await ada.expect_nothing()

    assert entered.recovered is True
    assert sorted(entered.presence or ()) == ["ada", "bob"]


@POLLING_TOO
async def test_who_comes_back_learns_of_edits_and_deletions(site: Site, room: str) -> None:
    """Of messages that were there before and of those that came meanwhile: both show the same then."""
    ada, bob = await site.members(room, "ada", "bob")
    one, two, _ = await send_all(bob, room, numbers(3))
    await hear_all(ada, room, numbers(3))
    await ada.cut()
    four, five, six = await send_all(bob, room, numbers(3, 6))
    await bob.edit(room, one, "edited")
    await bob.delete(room, two)
    await bob.edit(room, five, "edited too")
    await bob.delete(room, four)
    await bob.read(room, six)
    await bob.edit(room, five, "edited twice")
    await bob.heartbeat()
    entered = (await ada.come_back())[room]

    assert entered.recovered is True
    assert ada.shown(room) == bob.shown(room) == ["edited", "number 2", "edited twice", "number 5"]
    assert [mark["id"] for mark in (entered.receipts or {}).values()] == [six]


@POLLING_TOO
async def test_a_client_may_be_cut_again_and_again(site: Site, room: str) -> None:
    """Each time it goes on where it was."""
    ada, bob = await site.members(room, "ada", "bob")
    for number in range(4):
        await ada.cut()
        await bob.send(room, f"number {number}")
        assert (await ada.come_back())[room].recovered is True
    await hear_all(ada, room, numbers(4))

    await ada.expect_nothing()


@pytest.mark.parametrize("wire", ["socketio", "polling"])
async def test_who_comes_back_takes_the_place_of_a_connection_that_only_seems_to_be_there(
    site: Site, room: str
) -> None:
    """Nobody hears of it, and the old connection does not keep the user in the room."""
    ada, bob = await site.members(room, "ada", "bob")
    ada.forsake()
    await bob.send(room, "meanwhile")
    await bob.expect_message(room, "meanwhile")
    entered = (await ada.come_back())[room]
    await ada.expect_message(room, "meanwhile")
    await bob.expect_nothing()
    await ada.close()
    await bob.expect_presence(room, "ada", active=False)

    assert entered.recovered is True


@POLLING_TOO
async def test_who_comes_back_is_in_all_rooms_again(site: Site, room: str) -> None:
    """What was missed in one is not mistaken for that of another."""
    ada, bob = await site.members(room, "ada", "bob")
    for client in (ada, bob):
        await client.join(f"{room}/aside")
    await ada.expect_presence(f"{room}/aside", "bob")
    for one in (room, f"{room}/aside"):
        await bob.send(one, "before")
        await ada.expect_message(one, "before")
    await ada.cut()
    await bob.send(room, "general")
    await bob.send(f"{room}/aside", "aside")
    entered = await ada.come_back()
    await bob.send(room, "the end")
    heard = [(one.room, one.about["content"]) for one in [await ada.hear() for _ in range(3)]]

    assert [entered[room].recovered for room in (room, f"{room}/aside")] == [True, True]
    assert sorted(heard[:2]) == [(room, "general"), (f"{room}/aside", "aside")]
    assert heard[2] == (room, "the end")
    assert ada.shown(f"{room}/aside") == ["before", "aside"]


@POLLING_TOO
async def test_nothing_is_lost_or_told_twice_while_others_go_on_talking(site: Site, room: str) -> None:
    """Cut and back four times, in two rooms: what is heard is what was said, in order."""
    rooms = (room, f"{room}/aside")
    ada, bob = await site.members(room, "ada", "bob")
    for client in (ada, bob):
        await client.join(rooms[1])
    said: list[tuple[str, str]] = []
    async with trio.open_nursery() as talking:
        talking.start_soon(_talk, bob, rooms, said)
        for _ in range(4):
            await ada.hear()
            await ada.cut()
            entered = await ada.come_back()
            assert [entered[one].recovered for one in rooms] == [True, True]
        talking.cancel_scope.cancel()
    await ada.heartbeat()
    heard = [(one.room, one.about["content"]) for one in ada.heard if one.kind == "message"]

    for one in rooms:
        contents = [content for where, content in said if where == one]
        assert ada.shown(one) == bob.shown(one) == contents
        told = [content for where, content in heard if where == one]
        assert told == contents[len(contents) - len(told) :]


async def _talk(client: Client, rooms: tuple[str, ...], said: list[tuple[str, str]]) -> None:
    """Go on talking until cancelled, but not in the middle of a message."""
    while True:
        for room in rooms:
            with trio.CancelScope(shield=True):
                await client.send(room, f"number {len(said)}")
            said.append((room, f"number {len(said)}"))
        await trio.lowlevel.checkpoint()


@POLLING_TOO
async def test_who_has_missed_too_much_gets_the_window(serve: Serve, room: str) -> None:
    """And is told that it is not all: there is never a silent hole."""
    async with serve(max_messages_per_session=3) as site:
        ada, bob = await site.members(room, "ada", "bob")
        await bob.send(room, "old")
        await ada.expect_message(room, "old")
        await ada.cut()
        await send_all(bob, room, numbers(5))
        entered = (await ada.come_back())[room]
        await ada.expect_nothing()

        assert entered.recovered is False
        assert entered.contents == ada.shown(room) == numbers(2, 5)


async def test_who_comes_back_after_the_session_begins_anew(serve: Serve, room: str) -> None:
    """Takes the second that a session has at least. Both wires say that nothing was recovered."""
    async with serve(session_expiry_seconds=1) as site:
        ada, bob = await site.members(room, "ada", "bob")
        await bob.send(room, "old")
        await ada.expect_message(room, "old")
        await ada.cut()
        await bob.expect_message(room, "old")
        await bob.expect_presence(room, "ada", active=False)
        await bob.expect("expired", room)
        ack = await bob.send(room, "new")
        entered = (await ada.come_back())[room]

        assert entered.recovered is False
        assert entered.epoch == ack["epoch"]
        assert ada.shown(room) == ["new"]


@POLLING_TOO
async def test_a_token_that_expires_ends_the_connection(
    serve: Serve, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes half a second, as the token does. The client comes back with a fresh one and has missed nothing."""
    monkeypatch.setattr(registry, "_SWEEP_SECONDS", 0.02)
    async with serve() as site:
        (bob,) = await site.members(room, "bob")
        (ada,) = await site.members(room, "ada", expires_in=0.5)
        await ada.expect_end(4401)
        await bob.send(room, "hello")
        ada.token = site.token("ada")
        entered = (await ada.come_back())[room]
        await ada.expect_message(room, "hello")

        assert entered.recovered is True


async def _serve_until(
    settings: Settings, wire: str, enough: trio.Event, task_status: trio.TaskStatus[Site]
) -> None:
    async with open_app(settings) as app:
        task_status.started(Site(settings, app.port, wire))
        await enough.wait()


@POLLING_TOO
async def test_a_server_that_stops_says_goodbye_and_the_next_one_knows_its_clients(
    settings: Settings, wire: str, free_port: int, room: str
) -> None:
    """What others say before they are back is not missed."""
    settings = replace(settings, port=free_port)
    enough = trio.Event()
    async with trio.open_nursery() as nursery:
        site: Site = await nursery.start(_serve_until, settings, wire, enough)
        (ada,) = await site.members(room, "ada")
        await ada.send(room, "before")
        await ada.expect_message(room, "before")
        enough.set()
        await ada.expect_end(1012)
    async with serving(settings, wire) as site:
        (bob,) = await site.members(room, "bob")
        await bob.send(room, "after")
        entered = (await ada.come_back())[room]
        await ada.expect_message(room, "after")
        await ada.expect_nothing()
        await ada.close()

    assert entered.recovered is True
    assert ada.shown(room) == ["before", "after"]


# Several wires in one room

PAIRS = pytest.mark.parametrize(
    ("wire", "other"), [("native", "socketio"), ("socketio", "native"), ("native", "polling")]
)


async def pair(site: Site, room: str, other: str) -> tuple[Client, Client]:
    """Return two members of a room, one of them on another wire."""
    (ada,) = await site.members(room, "ada")
    (bob,) = await site.members(room, "bob", wire=other)
    await ada.expect_presence(room, "bob")
    return ada, bob


@pytest.mark.parametrize("wire", ["native"])
async def test_all_wires_hear_the_same_in_the_same_order(site: Site, room: str) -> None:
    """Six clients that talk at once."""
    clients = [await site.connect(f"{wire} {number}", wire=wire) for wire in CLIENTS for number in range(2)]
    for client in clients:
        await client.join(room)
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(send_all, client, room, [f"{client.user} {number}" for number in range(10)])
    heard: list[list[tuple[Any, ...]]] = []
    for client in clients:
        await client.heartbeat()
        told = [one.about for one in client.heard if one.kind == "message"]
        heard.append([(one["id"], one["content"], one["user"], one["timestamp"]) for one in told])
    shown = [client.shown(room) for client in clients]

    assert len(heard[0]) == 60
    assert heard == [heard[0]] * 6
    assert shown == [shown[0]] * 6


@PAIRS
async def test_changes_cross_the_wires(site: Site, room: str, other: str) -> None:
    """Messages with all their parts, edits and deletions."""
    ada, bob = await pair(site, room, other)
    await ada.send(room, "hello", id="m-1", metadata={"mood": "good"})
    await ada.edit(room, "m-1", "hello, all")
    await ada.delete(room, "m-1")
    heard = [await client.expect_message(room, "hello") for client in (ada, bob)]
    for client in (ada, bob):
        await client.expect_update(room, "m-1", "hello, all", metadata={"mood": "good"})
        await client.expect_delete(room, "m-1")

    for one in heard:
        one.pop("seq", None)
    assert heard[0] == heard[1]


@PAIRS
async def test_typing_crosses_the_wires(site: Site, room: str, other: str) -> None:
    """Both that it starts and that it stops."""
    ada, bob = await pair(site, room, other)
    await ada.type(room)
    await ada.type(room, active=False)
    await bob.expect_typing(room, "ada")

    await bob.expect_typing(room, "ada", active=False)


@PAIRS
async def test_presence_crosses_the_wires(site: Site, room: str, other: str) -> None:
    """And two tabs on two wires are one user."""
    ada, bob = await pair(site, room, other)
    (tab,) = await site.members(room, "ada", wire=other)
    await ada.touch(room)
    seen = await bob.expect_presence(room, "ada")
    await ada.close()
    await bob.expect_nothing()
    entered = await (await site.connect("eve")).join(room)
    await tab.close()
    await bob.expect_presence(room, "eve")
    await bob.expect_presence(room, "ada", active=False)

    assert sorted(entered.members) == ["ada", "bob", "eve"]
    assert entered.presence is not None
    assert entered.presence["ada"]["last_active"] == seen


@PAIRS
async def test_read_marks_cross_the_wires(site: Site, room: str, other: str) -> None:
    """To all members, and into the list of who comes later."""
    ada, bob = await pair(site, room, other)
    (message,) = await send_all(ada, room, ["hello"])
    await ada.read(room, message)
    marks: list[dict[str, Any]] = []
    for client in (ada, bob):
        await client.expect_message(room, "hello")
        marks.append(await client.expect_receipt(room, "ada", message))
    entered = await (await site.connect("eve", wire=other)).join(room)

    assert marks[0] == marks[1]
    assert entered.receipts == {"ada": marks[0]}
