"""Back ends post, change and read messages over HTTP, and operators steer the server."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.chat_client import connect
from tests.waiting import wait_for
from trio_chat import MemoryHotStore, Unavailable
from trio_chat.mail import Answer, Changed, Touch

from .conftest import PATIENCE, ROOM, Site, at, serving


def admin(site: Site) -> str:
    """Return an operator's token, which opens no room."""
    return site.token("root", (), "admin")


# --- messages


async def test_a_message_is_posted_once(site: Site) -> None:
    """201 the first time, 200 with the same answer afterwards, and everybody in the room hears it once."""
    async with site.lobby.join(ROOM, user="bob") as bob:
        first = await site.post(id="m-1", metadata={"from": "crm"})
        again = await site.post(id="m-1")
        await site.post("bye")
        heard = bob.events()
        changes = [await anext(heard), await anext(heard)]
        said = [one.event.message for one in changes if isinstance(one, Changed)]

    assert (first.status, again.status) == (201, 200)
    assert first.said == {
        "id": "m-1",
        "epoch": bob.joined.epoch,
        "seq": 1,
        "durability": "redis",
        "duplicate": False,
    }
    assert again.said == first.said | {"duplicate": True}
    assert [(one.content, one.user_id, one.metadata) for one in said] == [
        ("hello", "ada", {"from": "crm"}),
        ("bye", "ada", {}),
    ]


async def test_nobody_joins_by_posting(site: Site) -> None:
    """Whoever is in the room sees no member come."""
    async with site.lobby.join(ROOM, user="bob"):
        await site.post()
        presence = await site.ask("GET", f"{at(ROOM)}/presence")

    assert [one["userId"] for one in presence.said["members"]] == ["bob"]


async def test_presence_of_a_room_that_rests_is_empty_and_does_not_wake_it(site: Site) -> None:
    """Looking costs nothing."""
    answer = await site.ask("GET", f"{at(ROOM)}/presence")

    assert answer.said == {"members": []}
    assert not site.lobby.rooms


@pytest.mark.parametrize("role", ["assistant", "system"])
async def test_a_role_takes_a_token_that_has_it(site: Site, role: str) -> None:
    """As on the wires."""
    refused = await site.post(role=role)
    posted = await site.post(role=role, token=site.token("bot", ("*",), role))
    page = await site.ask("GET", f"{at(ROOM)}/messages")

    assert refused.outcome == (403, "forbidden")
    assert posted.status == 201
    assert [one["role"] for one in page.said["messages"]] == [role]


async def test_messages_are_changed_by_their_author_and_by_moderators(site: Site) -> None:
    """By nobody else; metadata stay unless given."""
    path = f"{at(ROOM)}/messages/m-1"
    await site.post(id="m-1", metadata={"mood": "good"})
    stranger, moderator = site.token("eve"), site.token("mod", ("*",), "moderator")

    edited = await site.ask("PATCH", path, {"content": "hello, all"})
    refused = await site.ask("PATCH", path, {"content": "mine"}, token=stranger)
    page = await site.ask("GET", f"{at(ROOM)}/messages")
    kept = await site.ask("DELETE", path, token=stranger)
    deleted = await site.ask("DELETE", path, token=moderator)
    missing = await site.ask("DELETE", f"{at(ROOM)}/messages/m-2")
    empty = await site.ask("GET", f"{at(ROOM)}/messages")

    assert (edited.status, edited.said["seq"]) == (200, 2)
    assert refused.outcome == kept.outcome == (403, "forbidden")
    [message] = page.said["messages"]
    assert (message["content"], message["metadata"], message["rev"]) == ("hello, all", {"mood": "good"}, 2)
    assert (deleted.status, deleted.said["seq"]) == (200, 3)
    assert missing.outcome == (404, "not_found")
    assert empty.said["messages"] == []


async def test_an_id_of_somebody_else_is_a_conflict(site: Site) -> None:
    """It is not said whose it is."""
    await site.post(id="m-1")

    assert (await site.post(id="m-1", token=site.token("bob"))).outcome == (409, "conflict")


async def test_a_room_is_read_back_across_the_seam() -> None:
    """Page by page, from the window into the archive, each message once."""
    async with serving(max_messages_per_session=10) as site:
        for number in range(25):
            await site.post(f"{number}")
        assert await site.lobby.syncer.sync_all()
        pages: list[dict[str, Any]] = []
        query = "?limit=7"
        while query:
            pages.append((await site.ask("GET", f"{at(ROOM)}/messages{query}")).said)
            query = f"?limit=7&before={pages[-1]['before']}" if pages[-1]["more"] else ""

    read = [int(one["content"]) for page in reversed(pages) for one in page["messages"]]
    assert read == list(range(25))
    assert [page["source"] for page in pages] == ["window", "window+archive", "archive", "archive"]
    assert pages[-1]["before"] is None


@pytest.mark.parametrize(
    "room",
    ["a", "a/b", "a/messages", "rooms/x/close", "@me", "a:b@c", "..", ".", "/", "//", "a/../b", "-" * 128],
)
async def test_every_room_id_has_a_path(site: Site, room: str) -> None:
    """Slashes are encoded, so that no id can be taken for another path."""
    token = site.token("ada", ("*",))
    posted = await site.post(room=room, token=token)
    page = await site.ask("GET", f"{at(room)}/messages", token=token)

    assert posted.status == 201
    assert list(site.lobby.rooms) == [room]
    assert len(page.said["messages"]) == 1


@pytest.mark.parametrize(
    "name", ["a/b", "%2F", "é", "🎉", "a b", "?x=1#y", '"', "..", "x" * 128, "\\", "messages"]
)
async def test_every_message_id_has_a_path(site: Site, name: str) -> None:
    """Encoded as UTF-8, then by percent signs."""
    await site.post(id=name)
    deleted = await site.ask("DELETE", f"{at(ROOM)}/messages/{quote(name, safe='')}")

    assert (deleted.status, deleted.said["id"]) == (200, name)


async def test_a_client_that_hangs_up_changes_nothing(site: Site) -> None:
    """What it has asked for is done all the same."""
    body = b'{"content":"gone","id":"m-1"}'
    head = f"POST /api/v1{at(ROOM)}/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {site.token()}\r\n"
    kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    async with site.lobby.join(ROOM, user="bob") as bob:
        async with site.connect() as stream:
            await stream.send_all((head + kind).encode() + body)
        with trio.fail_after(PATIENCE):
            said: Any = await anext(bob.events())

    assert said.event.message.content == "gone"
    assert (await site.post("gone", id="m-1")).said["duplicate"]


# --- operators


async def test_operators_see_rooms(site: Site) -> None:
    """Those in memory, in pages, each with its session."""
    for number in range(5):
        await site.post(room=f"team-42/{number}")
    first = await site.ask("GET", "/rooms?limit=3", token=admin(site))
    second = await site.ask("GET", "/rooms?limit=3&after=team-42%2F2", token=admin(site))
    one = await site.ask("GET", at("team-42/0"), token=admin(site))
    none = await site.ask("GET", at("team-42/9"), token=admin(site))

    assert [room["room"] for room in first.said["rooms"]] == ["team-42/0", "team-42/1", "team-42/2"]
    assert first.said["after"] == "team-42/2"
    assert [room["room"] for room in second.said["rooms"]] == ["team-42/3", "team-42/4"]
    assert second.said["after"] is None
    shown = {key: value for key, value in one.said.items() if key not in {"epoch", "idleSeconds"}}
    assert shown == {
        "room": "team-42/0",
        "members": 0,
        "messages": 1,
        "top": 1,
        "synced": 0,
        "waiting": 0,
        "degraded": False,
    }
    assert none.outcome == (404, "not_found")


async def test_the_sessions_of_a_room_are_listed() -> None:
    """Newest first, page by page, and each can be read back by itself. They end after a second, so it takes two."""
    async with serving(session_expiry_seconds=1.0) as site:
        for content in ("one", "two", "three"):
            last = await site.post(content=content)
            if content != "three":
                await wait_for(lambda: not site.lobby.rooms)
        path = f"{at(ROOM)}/sessions"
        first = (await site.ask("GET", f"{path}?limit=2")).said
        rest = (await site.ask("GET", f"{path}?limit=2&before={first['before']}")).said
        end = first["sessions"][1]["end"]
        read = await site.ask("GET", f"{at(ROOM)}/messages?before={end}&limit=1")
        refused = await site.ask("GET", path, token=site.token("eve", ("other",)))

    assert [one["active"] for one in first["sessions"] + rest["sessions"]] == [True, False, False]
    assert first["sessions"][0]["epoch"] == last.said["epoch"]
    assert rest["before"] is None
    assert [one["content"] for one in read.said["messages"]] == ["two"]
    assert refused.outcome == (403, "forbidden")


async def test_what_was_deleted_is_gone(site: Site) -> None:
    """Also for whoever posts it again, which changes nothing: it is told from what never was."""
    path = f"{at(ROOM)}/messages/m-1"
    await site.post(id="m-1")
    await site.ask("DELETE", path)
    again = await site.post(id="m-1")
    edited = await site.ask("PATCH", path, {"content": "hello again"})

    assert again.said["duplicate"]
    assert edited.outcome == (410, "not_found")


async def test_operators_close_rooms(site: Site) -> None:
    """Members are told; the session goes on with whoever comes next."""
    first = await site.post(id="m-1")
    async with site.lobby.join(ROOM, user="bob") as bob:
        closed = await site.ask("POST", f"{at(ROOM)}/close", token=admin(site))
        said = [type(one).__name__ async for one in bob.events()]
        again = await site.ask("POST", f"{at(ROOM)}/close", token=admin(site))
    later = await site.post(id="m-1")

    assert closed.said == {"members": 1}
    assert said == ["Closed"]
    assert again.outcome == (404, "not_found")
    assert later.said == first.said | {"duplicate": True}


async def test_a_room_that_holds_messages_alone_is_not_closed() -> None:
    """They would be lost."""
    away = False

    async def interfere(_: str, __: str) -> None:
        if away:
            raise Unavailable("it is away")

    async with serving(hot=MemoryHotStore(interfere=interfere, durability="redis")) as site:
        await site.post()
        away = True
        await site.post()
        answer = await site.ask("POST", f"{at(ROOM)}/close", token=admin(site))
        kept = ROOM in site.lobby.rooms
        away = False

    assert answer.outcome == (503, "unavailable")
    assert kept


async def test_operators_disconnect_users(site: Site) -> None:
    """Their connections end, and so do their tokens."""
    token = site.token("mallory")
    async with connect(f"ws://127.0.0.1:{site.port}/ws", token=token) as client:
        answer = await site.ask("POST", "/users/mallory/disconnect", token=admin(site))
        closed = await client.expect_close()

    assert answer.said == {"connections": 1}
    assert closed.code == 4501
    assert (await site.post(token=token)).outcome == (401, "unauthorized")


async def test_operators_have_everything_archived(site: Site) -> None:
    """Now, not at the next round."""
    await site.post()
    answer = await site.ask("POST", "/sync", token=admin(site))
    shown = await site.ask("GET", at(ROOM), token=admin(site))

    assert answer.said["messages"] == 1
    assert (shown.said["top"], shown.said["synced"]) == (1, 1)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/rooms"),
        ("GET", at(ROOM)),
        ("POST", f"{at(ROOM)}/close"),
        ("POST", "/users/ada/disconnect"),
        ("POST", "/sync"),
    ],
)
async def test_only_operators_may(site: Site, method: str, path: str) -> None:
    """No other role, no pattern of rooms, and no such room, makes a difference."""
    token = site.token("mod", ("*",), "moderator", "assistant", "system")
    await site.post()

    assert (await site.ask(method, path, token=token)).outcome == (403, "forbidden")


async def test_an_operator_enters_no_room(site: Site) -> None:
    """The role opens none: messages, and who is here, take a token for the room."""
    await site.post()

    assert (await site.post(token=admin(site))).outcome == (403, "forbidden")
    for below in ("messages", "presence"):
        read = await site.ask("GET", f"{at(ROOM)}/{below}", token=admin(site))
        assert read.outcome == (403, "forbidden")


# --- pace


async def test_a_user_may_ask_so_fast() -> None:
    """Over all connections together, and others as fast; who waits as long as is said may ask again."""
    async with serving(requests_per_second=2.0, request_burst=3) as site:
        ada, bob = site.token(), site.token("bob")
        statuses = [(await site.post(token=ada)).status for _ in range(3)]
        refused = await site.post(token=ada)
        other = await site.post(token=bob)
        await trio.sleep(float(refused.headers["retry-after"]))  # what the answer asks for
        later = await site.post(token=ada)

    assert statuses == [201, 201, 201]
    assert refused.outcome == (429, "rate_limited")
    assert (refused.headers["retry-after"], refused.said["temporary"]) == ("1", True)
    assert (other.status, later.status) == (201, 201)


async def test_a_room_with_too_much_to_do_says_when_to_come_back() -> None:
    """503 with Retry-After."""
    async with serving(mailbox_limit=1) as site:
        await site.post()
        answers: list[Answer] = []
        room = site.lobby.rooms[ROOM]
        room._mailbox.append(Touch("ada", answers.append))
        answer = await site.post()
        room._mailbox.clear()
        await wait_all_tasks_blocked()

    assert answer.outcome == (503, "overloaded")
    assert answer.headers["retry-after"] == "1"
