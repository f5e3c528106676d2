"""Messages, older ones too, and the end of a session."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from .house import POLLING_TOO, Serve, Site, numbers, send_all

# --- Messages


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


# --- Older messages


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


# --- Sessions


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
