"""Reading backwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.errors import Misconfigured, ReplyCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock


from .house import House, block


async def test_history_pages_backwards_over_all_sessions(autojump_clock: MockClock, house: House) -> None:
    """Page by page, each message once, from the window into the archive; each says its session."""
    client = await house.greet()
    await client.join()
    for number in range(3):
        await client.send(f"old {number}")
    await trio.sleep(1201)
    await client.expect("session:expired")
    for number in range(3):
        await client.send(f"new {number}")

    pages: list[dict[str, Any]] = []
    before = None
    while not pages or before is not None:
        client.say("history:get", room="r", limit=2, **({"before": before} if before else {}))
        pages.append(await client.expect("history:page"))
        before = pages[-1]["before"]

    assert [[one["content"] for one in page["messages"]] for page in pages] == [
        ["new 1", "new 2"],
        ["old 2", "new 0"],
        ["old 0", "old 1"],
    ]
    assert [page["source"] for page in pages] == ["window", "window+archive", "archive"]
    assert [page["more"] for page in pages] == [True, True, False]
    assert len({one["epoch"] for page in pages for one in page["messages"]}) == 2


@pytest.mark.parametrize("limit", [0, -1, 201])
async def test_a_page_of_no_size_is_refused(house: House, limit: int) -> None:
    """At once, as malformed."""
    client = await house.greet()
    await client.join()

    client.say("history:get", room="r", limit=limit, ref=1)

    await client.expect_refused(ReplyCode.BAD_REQUEST, ref=1)


@pytest.mark.parametrize(
    "request_", [{"type": "history:get", "room": "r"}, {"type": "room:join", "room": "s"}]
)
async def test_who_does_not_read_history_gets_no_more(house: House, request_: dict[str, Any]) -> None:
    """Histories do not count as waiting, so they are given one after the other."""
    client = await house.greet()
    await client.join()
    client.link.behind = True

    client.say(request_["type"], room=request_["room"], ref=1)

    await client.expect_refused(ReplyCode.OVERLOADED, ref=1)


async def test_a_page_before_no_position_is_refused(house: House) -> None:
    """At once, as malformed."""
    client = await house.greet()
    await client.join()

    client.say("history:get", room="r", before={"epoch": "x", "seq": 1}, ref=1)

    await client.expect_refused(ReplyCode.BAD_REQUEST, ref=1, room="r")


async def test_four_pages_are_read_at_a_time(house: House) -> None:
    """A fifth is refused for now; when one has come there is room again."""
    gate = trio.Event()

    async def interfere(name: str, moment: str) -> None:
        await gate.wait()

    client = await house.greet()
    await client.join()
    await client.send()
    house.archive.interfere = interfere

    for ref in range(5):
        client.say("history:get", room="r", ref=ref)
    await client.expect_refused(ReplyCode.OVERLOADED, ref=4)
    gate.set()
    for _ in range(4):
        await client.expect("history:page")

    client.say("history:get", room="r", ref=5)
    await client.expect("history:page", ref=5)


@pytest.mark.parametrize("failure", ["down", "misconfigured"])
async def test_a_page_that_cannot_be_read_is_refused_for_now(house: House, failure: str) -> None:
    """The connection goes on, and learns nothing of where the archive is."""

    async def interfere(name: str, moment: str) -> None:
        raise Misconfigured("password authentication failed for user postgres at 10.0.0.1")

    client = await house.greet()
    await client.join()
    if failure == "down":
        house.archive.set_healthy(False)
    else:
        house.archive.interfere = interfere

    client.say("history:get", room="r", ref=1)

    refusal = await client.expect_refused(ReplyCode.UNAVAILABLE, ref=1, room="r")
    assert refusal["message"] == "older messages cannot be read at the moment; try again shortly"
    client.say("heartbeat")
    await client.expect("heartbeat")


async def test_a_full_room_refuses_pages_for_now(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """It says that it is full, not that the archive is away."""
    house = await build(mailbox_limit=1)
    client = await house.greet()
    await client.join()
    house.hot.interfere = block
    client.say("message:send", room="r", content="c")
    await wait_all_tasks_blocked()
    client.say("message:send", room="r", content="c")

    client.say("history:get", room="r", ref=1)

    await client.expect_refused(ReplyCode.OVERLOADED, ref=1, room="r")


async def test_who_hangs_up_waits_for_no_page(autojump_clock: MockClock, house: House) -> None:
    """The reading ends with the connection."""
    client = await house.greet()
    await client.join()
    house.archive.interfere = block
    client.say("history:get", room="r")
    await wait_all_tasks_blocked()
    now = trio.current_time()

    client.hang_up()
    await wait_all_tasks_blocked()

    assert client.link.tasks == 0
    assert trio.current_time() == now


async def test_its_repr_says_who_and_where(house: House) -> None:
    """One line for whoever looks into a running server."""
    client = house.connect()
    assert repr(client.connection).startswith("<NativeConnection of nobody rooms=0 ")
    client.say("hello", user="ada")
    await client.skip()
    await client.join()

    assert repr(client.connection).startswith("<NativeConnection of ada rooms=1 ")
