"""Requests and their answers; and who sends nonsense, or too much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.clients.bucket import Bucket
from trio_chat.errors import CloseCode, ReplyCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock


from .house import House

# --- Requests


async def test_every_request_is_answered_with_its_ref(house: House) -> None:
    """A reply can be told from all others, whatever was asked."""
    client = await house.greet()

    client.say("room:join", room="r", ref=1)
    await client.expect("room:joined", ref=1)
    await client.skip()
    client.say("message:send", room="r", id="m", content="c", ref="two")
    await client.expect("message:new")
    await client.expect("ack", ref="two", id="m", seq=1, durability="redis", duplicate=False)
    client.say("message:edit", room="r", id="m", content="d", ref=3)
    await client.expect("message:update")
    await client.expect("ack", ref=3, id="m", seq=2)
    client.say("typing:start", room="r", ref=4)
    await client.expect("ack", ref=4, room="r")
    client.say("typing:stop", room="r", ref=5)
    await client.expect("ack", ref=5, room="r")
    client.say("receipt:update", room="r", lastReadMessageId="m", ref=6)
    await client.expect("ack", ref=6, room="r")
    await client.expect("receipt:update")
    client.say("history:get", room="r", ref=7)
    await client.expect("history:page", ref=7)
    client.say("message:delete", room="r", id="m", ref=8)
    await client.expect("message:delete")
    await client.expect("ack", ref=8, id="m", seq=3)
    client.say("heartbeat", ref=9)
    await client.expect("heartbeat", ref=9)
    client.say("room:leave", room="r", ref=10)
    await client.expect("room:left", ref=10, room="r")


async def test_a_sender_hears_the_message_before_its_ack(house: House) -> None:
    """By the time a client may believe its message is kept, it has its place in the order."""
    client = await house.greet()
    await client.join()

    client.say("message:send", room="r", content="c")

    new = await client.expect("message:new")
    ack = await client.expect("ack")
    assert (new["message"]["id"], new["epoch"], new["seq"]) == (ack["id"], ack["epoch"], ack["seq"])


async def test_a_message_and_its_ack_go_out_in_one_piece(house: House) -> None:
    """They are ready in the same moment, and a send costs more than all else that is done for a message."""
    client = await house.greet()
    await client.join()
    before = client.link.pieces

    client.say("message:send", room="r", content="c")

    await client.expect("message:new")
    await client.expect("ack")
    assert client.link.pieces == before + 1


async def test_the_same_id_gives_the_same_ack(house: House) -> None:
    """Sent again, a message is acknowledged again, and nobody hears it twice."""
    client = await house.greet()
    await client.join()
    first = await client.send(id="m")

    client.say("message:send", room="r", content="hello", id="m")
    again = await client.expect("ack")

    assert again == first | {"duplicate": True}


async def test_errors_carry_ref_and_room(house: House) -> None:
    """A refusal names what it refuses."""
    client = await house.greet()
    await client.join()

    client.say("message:edit", room="r", id="nothing", content="c", ref=1)
    await client.expect_refused(ReplyCode.NOT_FOUND, ref=1, room="r")
    client.say("message:send", room="r", content="", ref=2)
    await client.expect_refused(ReplyCode.BAD_REQUEST, ref=2, room="r")
    client.say("receipt:update", room="r", lastReadMessageId="nothing", ref=3)
    await client.expect_refused(ReplyCode.NOT_FOUND, ref=3, room="r")
    client.say_text(b'{"type":"nonsense","ref":4}')
    await client.expect_refused(ReplyCode.BAD_REQUEST, ref=4)


async def test_a_request_before_the_end_of_a_write_waits_for_it(house: House) -> None:
    """What the hot store does not have yet is neither acknowledged nor heard."""
    gate = trio.Event()

    async def interfere(name: str, moment: str) -> None:
        if (name, moment) == ("append", "before"):
            await gate.wait()

    client = await house.greet()
    await client.join()
    house.hot.interfere = interfere

    client.say("message:send", room="r", content="c")
    await client.expect_nothing()
    gate.set()

    await client.expect("message:new")
    await client.expect("ack", durability="redis")


async def test_degraded_acks_say_so(house: House) -> None:
    """While Redis is away messages flow, and their acks promise no more than memory."""
    client = await house.greet()
    await client.join()
    house.hot.set_healthy(False)

    ack = await client.send()

    assert ack["durability"] == "memory"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"content": "x" * 65_537}, ReplyCode.BAD_REQUEST),
        ({"content": "\u20ac" * 21_846}, ReplyCode.BAD_REQUEST),
        ({"content": "a\x00b"}, ReplyCode.BAD_REQUEST),
        ({"content": "c", "role": "admin"}, ReplyCode.BAD_REQUEST),
        ({"content": "c", "metadata": {"a": "\x00"}}, ReplyCode.BAD_REQUEST),
        ({"content": "c", "metadata": {"a": 2**53}}, ReplyCode.BAD_REQUEST),
        ({"content": "c", "metadata": {"a": "x" * 65_536}}, ReplyCode.BAD_REQUEST),
    ],
)
async def test_what_cannot_be_stored_for_everybody_is_refused(
    house: House, fields: dict[str, Any], code: ReplyCode
) -> None:
    """Nothing of it reaches the room."""
    client = await house.greet()
    await client.join()

    client.say("message:send", room="r", ref=1, **fields)

    await client.expect_refused(code, ref=1)
    assert house.lobby.rooms["r"].statistics().top == 0


# --- Who sends nonsense, or too much


async def test_five_bad_requests_in_ten_seconds_end_the_connection(house: House) -> None:
    """Four are answered and forgiven."""
    client = await house.greet()

    for _ in range(4):
        client.say_text(b"nonsense")
        await client.expect_refused(ReplyCode.BAD_REQUEST)
    assert client.link.closed is None
    client.say_text(b"nonsense")

    await client.expect_refused(ReplyCode.BAD_REQUEST)
    await client.expect_closed(CloseCode.BAD_REQUESTS)


async def test_bad_requests_now_and_then_are_forgiven(autojump_clock: MockClock, house: House) -> None:
    """One every three seconds makes four in ten."""
    client = await house.greet()

    for _ in range(20):
        client.say_text(b"nonsense")
        await trio.sleep(3)

    assert client.link.closed is None


async def test_honest_refusals_do_not_count_as_nonsense(house: House) -> None:
    """Not found, not joined and the like end no connection."""
    client = await house.greet()
    await client.join()

    for _ in range(20):
        client.say("message:delete", room="r", id="nothing")
        await client.expect_refused(ReplyCode.NOT_FOUND)
        client.say("typing:start", room="elsewhere")
        await client.expect_refused(ReplyCode.NOT_JOINED)

    assert client.link.closed is None


async def test_too_fast_is_refused_and_far_too_fast_is_the_end(
    autojump_clock: MockClock,
    build: Callable[..., Awaitable[House]],
) -> None:
    """A burst is carried out, as much again is refused, then the connection ends."""
    house = await build(rate_limits=True)
    client = await house.greet()

    for _ in range(40):
        client.say("heartbeat")
        await client.expect("heartbeat")
    for _ in range(39):
        client.say("heartbeat", ref=1)
        await client.expect_refused(ReplyCode.RATE_LIMITED, ref=1)
    assert client.link.closed is None
    client.say("heartbeat")

    assert "resume" in await client.expect_closed(CloseCode.RATE_LIMITED)


async def test_who_waits_may_go_on(autojump_clock: MockClock, build: Callable[..., Awaitable[House]]) -> None:
    """The rate is given back with time: twenty a second."""
    house = await build(rate_limits=True)
    client = await house.greet()
    for _ in range(45):
        client.say("heartbeat")
    await client.skip()

    await trio.sleep(0.31)
    client.say("heartbeat")
    await client.expect("heartbeat")
    client.say("heartbeat")

    await client.expect_refused(ReplyCode.RATE_LIMITED)


async def test_a_refused_request_is_not_carried_out(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """What was too fast has left no trace."""
    house = await build(rate_limits=True, request_burst=1)
    client = await house.greet()

    client.say("room:join", room="r")
    client.say("room:join", room="s")

    await wait_all_tasks_blocked()
    assert list(house.lobby.rooms) == ["r"]


async def test_a_bucket_saves_up_no_more_than_its_burst(autojump_clock: MockClock) -> None:
    """A long silence buys one burst, not two."""
    bucket = Bucket(10, 5)
    await trio.sleep(1000)

    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]
    assert repr(bucket) == "<Bucket -1 of 5, 10 a second>"
