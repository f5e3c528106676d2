"""One client's conversation, over a link that only takes notes. Where time passes, it is virtual."""

from __future__ import annotations

import json
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.clients.auth import Authenticator, make_token
from trio_chat.clients.bucket import Bucket
from trio_chat.clients.handshake import Request
from trio_chat.clients.native import NativeVoice
from trio_chat.clients.native_connection import NativeConnection
from trio_chat.clients.patience import Patience
from trio_chat.clients.registry import Registry, RegistryStatistics
from trio_chat.errors import CloseCode, Misconfigured, ReplyCode
from trio_chat.lobby import open_lobby
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from trio_chat.lobby import Lobby

SECRET = "a-secret-of-more-than-thirty-two-bytes"
EPOCH = "01890a5d-ac96-774b-bcce-b302099a8057"


class FakeLink:
    """A link that takes everything, notes it, and ends the talk as a real one does."""

    def __init__(self, nursery: trio.Nursery, headers: dict[bytes, bytes]) -> None:
        self.request = Request("/ws", "", headers, "somebody", False)
        self.heard: deque[dict[str, Any]] = deque()
        self.droppable: list[bool] = []
        self.closed: tuple[int, str] | None = None
        self.behind = False
        self.pieces = 0
        self._held = False
        self.conversation: NativeConnection | None = None
        self._nursery = nursery
        self._tasks: set[trio.CancelScope] = set()

    @property
    def tasks(self) -> int:
        """How many tasks the connection has."""
        return len(self._tasks)

    @property
    def outlet(self) -> FakeLink:
        """What is held and let go."""
        return self

    def hold(self) -> None:
        """Count what is offered from now on as one piece."""
        self._held = True

    def let_go(self) -> None:
        """Count that piece."""
        self._held = False
        self.pieces += 1

    def limit_messages(self, size: int) -> None:
        """Note how much is taken."""
        self.limit = size

    def offer(self, frames: bytes, droppable: bool = False, exempt: bool = False) -> None:
        """Note what is sent."""
        self.pieces += not self._held
        if self.closed is None:
            for text in _texts(frames):
                self.heard.append(json.loads(text))
                self.droppable.append(droppable)

    def close(self, code: int, reason: str = "") -> None:
        """Note why it ends, and end its tasks."""
        if self.closed is None:
            self.closed = (code, reason)
            for scope in self._tasks:
                scope.cancel()

    def start_soon(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task of the connection."""

        async def run() -> None:
            with trio.CancelScope() as scope:
                self._tasks.add(scope)
                await fn(*args)
            self._tasks.discard(scope)

        if self.closed is None:
            self._nursery.start_soon(run)


def _texts(frames: bytes) -> list[bytes]:
    """Take unmasked text frames apart."""
    texts: list[bytes] = []
    while frames:
        size, start = frames[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(frames[2:start], "big")
        texts.append(frames[start : start + size])
        frames = frames[start + size :]
    return texts


class Client:
    """What a client says and gets to hear. Everything is settled before it listens."""

    def __init__(self, link: FakeLink, connection: NativeConnection) -> None:
        self.link = link
        self.connection = connection

    def say(self, kind: str, **fields: Any) -> None:
        """Send a request."""
        self.say_text(json.dumps({"type": kind, **fields}).encode())

    def say_text(self, text: bytes) -> None:
        """Send a text."""
        if self.link.closed is None:
            self.connection.on_text(text)

    async def expect(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Return the next thing heard, which has this type and these fields."""
        await wait_all_tasks_blocked()
        assert self.link.heard, f"expected {kind}, heard nothing; closed: {self.link.closed}"
        said = self.link.heard.popleft()
        assert said["type"] == kind, said
        assert {name: said.get(name) for name in fields} == fields
        return said

    async def expect_refused(self, code: ReplyCode, **fields: Any) -> dict[str, Any]:
        """Expect an error of this code."""
        said = await self.expect("error", code=code, **fields)
        assert said["temporary"] is code.temporary
        return said

    async def expect_nothing(self) -> None:
        """Expect silence."""
        await wait_all_tasks_blocked()
        assert list(self.link.heard) == []

    async def expect_closed(self, code: CloseCode) -> str:
        """Expect to be disconnected; return the reason."""
        await wait_all_tasks_blocked()
        assert self.link.closed is not None, self.link.heard
        assert self.link.closed[0] == code, self.link.closed
        return self.link.closed[1]

    async def join(self, room: str = "r", **fields: Any) -> dict[str, Any]:
        """Join and hear everything that comes with it; return the answer."""
        self.say("room:join", room=room, **fields)
        joined = await self.expect("room:joined", room=room)
        await self.expect("room:live" if joined["recovered"] else "messages:history")
        await self.expect("receipt:list")
        await self.expect("presence:list")
        return joined

    async def send(self, content: str = "hello", room: str = "r", **fields: Any) -> dict[str, Any]:
        """Send a message, hear it and its ack; return the ack."""
        self.say("message:send", room=room, content=content, **fields)
        await self.expect("message:new")
        return await self.expect("ack")

    async def skip(self) -> None:
        """Let everything that was heard so far be."""
        await wait_all_tasks_blocked()
        self.link.heard.clear()

    def hang_up(self) -> None:
        """Be gone, as the link says it to the connection."""
        self.link.close(1006)
        self.connection.on_closed()


class House:
    """A lobby over memory stores, and doors into it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.hot = MemoryHotStore(durability="redis")
        self.archive = MemoryArchive()
        self._nursery = nursery

    async def open(self, **changes: Any) -> House:
        """Open the lobby, with these settings."""
        fields: dict[str, Any] = {"auth_mode": "insecure", "rate_limits": False} | changes
        self.settings = Settings(**fields)
        self.lobby: Lobby = await self._nursery.start(self._keep_open)
        self.registry = Registry(self.settings.max_connections_per_user, clock=trio.current_time)
        self.authenticator = Authenticator(self.settings, clock=trio.current_time)
        self.patience = Patience(self.settings.hello_timeout)
        self._nursery.start_soon(self.patience.run)
        return self

    async def _keep_open(self, task_status: trio.TaskStatus[Lobby]) -> None:
        async with open_lobby(hot=self.hot, archive=self.archive, settings=self.settings) as lobby:
            task_status.started(lobby)
            await trio.sleep_forever()

    def connect(self, **headers: str) -> Client:
        """Connect without a word."""
        link = FakeLink(
            self._nursery, {name.lower().encode(): text.encode() for name, text in headers.items()}
        )
        connection = NativeConnection(
            link,  # type: ignore[arg-type]  # it is a fake
            self.lobby,
            self.authenticator,
            self.registry,
            self.patience,
        )
        return Client(link, connection)

    async def greet(self, user: str = "ada") -> Client:
        """Connect and say hello."""
        client = self.connect()
        client.say("hello", user=user)
        await client.expect("welcome", user=user)
        return client

    def token(self, user: str = "ada", rooms: tuple[str, ...] = ("*",), **options: Any) -> str:
        """Make a token by the clock of the test."""
        return make_token(self.settings, user, rooms, clock=trio.current_time, **options)

    async def greet_with_token(self, **options: Any) -> Client:
        """Connect and say hello with a token of these options."""
        client = self.connect()
        client.say("hello", token=self.token(**options))
        await client.expect("welcome")
        return client


@pytest.fixture
def build(nursery: trio.Nursery) -> Callable[..., Awaitable[House]]:
    """Opens a house with other settings; to be awaited."""
    return lambda **changes: House(nursery).open(**changes)


@pytest.fixture
async def house(build: Callable[..., Awaitable[House]]) -> House:
    return await build()


@pytest.fixture
async def guarded(build: Callable[..., Awaitable[House]]) -> House:
    """A house that asks for tokens."""
    return await build(auth_mode="token", auth_secret=SECRET)


# Hello


async def test_hello_is_answered_with_who_one_is_and_what_one_may(house: House) -> None:
    """A welcome names the user, the connection, the durability of acks and the limits."""
    client = house.connect()

    client.say("hello", user="ada", ref="h")
    welcome = await client.expect("welcome", ref="h", user="ada", durability="redis")

    assert welcome["connection"]
    assert welcome["limits"] == {
        "messageBytes": 65536,
        "rooms": 64,
        "requestsPerSecond": 0,
        "requestBurst": 40,
        "window": 1000,
        "sessionExpirySeconds": 1200,
        "pingIntervalSeconds": 25,
    }


async def test_two_connections_have_two_names(house: House) -> None:
    """The connection's name is its own, even for one user."""
    one, two = house.connect(), house.connect()
    one.say("hello", user="ada")
    two.say("hello", user="ada")

    first, second = await one.expect("welcome"), await two.expect("welcome")

    assert first["connection"] != second["connection"]


async def test_while_redis_is_away_the_welcome_promises_memory(house: House) -> None:
    """Whoever comes in learns what an ack is worth at the moment."""
    house.hot.set_healthy(False)
    client = house.connect()

    client.say("hello", user="ada")

    await client.expect("welcome", durability="memory")


async def test_who_says_nothing_is_disconnected_after_the_time_for_hello(
    autojump_clock: MockClock, house: House
) -> None:
    """Five seconds of silence, not less."""
    client = house.connect()

    await trio.sleep(4.9)
    assert client.link.closed is None
    await trio.sleep(0.2)

    await client.expect_closed(CloseCode.HELLO_TIMEOUT)


async def test_who_has_said_hello_may_be_silent(autojump_clock: MockClock, house: House) -> None:
    """The time for hello ends with hello."""
    client = await house.greet()

    await trio.sleep(60)

    assert client.link.closed is None


@pytest.mark.parametrize(
    "request_",
    [
        {"type": "room:join", "room": "r", "ref": 1},
        {"type": "message:send", "room": "r", "content": "c", "ref": 1},
        {"type": "history:get", "room": "r", "ref": 1},
        {"type": "heartbeat", "ref": 1},
    ],
)
async def test_before_hello_nothing_is_done(house: House, request_: dict[str, Any]) -> None:
    """Any request before hello is refused, and no room begins."""
    client = house.connect()

    client.say(request_.pop("type"), **request_)

    await client.expect_refused(ReplyCode.UNAUTHORIZED, ref=1)
    assert not house.lobby.rooms


async def test_who_goes_on_without_hello_is_disconnected(house: House) -> None:
    """Five requests that are not hello are enough."""
    client = house.connect()

    for _ in range(5):
        client.say("heartbeat")

    await client.expect_closed(CloseCode.BAD_REQUESTS)


async def test_before_hello_little_is_read(house: House) -> None:
    """Nothing larger than any hello is taken, until somebody has said who they are."""
    client = house.connect()
    before = client.link.limit

    client.say("hello", user="ada")
    await client.expect("welcome")

    assert (before, client.link.limit) == (16_384, house.lobby.settings.max_message_bytes)


async def test_hello_is_said_once(house: House) -> None:
    """A second hello is refused; the connection stays what it was."""
    client = await house.greet("ada")

    client.say("hello", user="bob", ref=2)

    await client.expect_refused(ReplyCode.BAD_REQUEST, ref=2)
    assert client.connection.user == "ada"


async def test_a_name_that_cannot_be_one_is_refused(house: House) -> None:
    """An insecure server still checks what a user id may hold."""
    client = house.connect()

    client.say("hello", user="a\nb", ref=1)

    await client.expect_refused(ReplyCode.BAD_REQUEST, ref=1)
    await client.expect_closed(CloseCode.UNAUTHORIZED)


async def test_a_token_says_who_one_is(guarded: House) -> None:
    """The user is the token's, whatever else hello says."""
    client = guarded.connect()

    client.say("hello", token=guarded.token("ada"), user="bob")

    await client.expect("welcome", user="ada")


@pytest.mark.parametrize("hello", [{}, {"token": "x.y.z"}, {"user": "ada"}, {"token": None, "user": "ada"}])
async def test_without_a_good_token_nobody_comes_in(guarded: House, hello: dict[str, Any]) -> None:
    """One text for every reason, and a close code that says: do not come back like this."""
    client = guarded.connect()

    client.say("hello", ref=1, **hello)

    refusal = await client.expect_refused(ReplyCode.UNAUTHORIZED, ref=1)
    assert refusal["message"] == "token: not accepted; connect with a new one"
    await client.expect_closed(CloseCode.UNAUTHORIZED)
    assert guarded.registry.statistics().connections == 0


async def test_an_expired_token_is_refused(autojump_clock: MockClock, guarded: House) -> None:
    """It was good once."""
    token = guarded.token(expires_in=10)
    await trio.sleep(10)
    client = guarded.connect()

    client.say("hello", token=token)

    await client.expect_refused(ReplyCode.UNAUTHORIZED)
    await client.expect_closed(CloseCode.UNAUTHORIZED)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_an_authorization_header_is_a_hello(
    autojump_clock: MockClock, guarded: House, scheme: str
) -> None:
    """Whoever brings a token in the handshake is welcome at once, and needs no hello."""
    client = guarded.connect(Authorization=f"{scheme} {guarded.token('ada')}")

    await client.expect("welcome", user="ada")
    await trio.sleep(10)

    assert client.link.closed is None


async def test_a_bad_authorization_header_is_refused_at_once(guarded: House) -> None:
    """It is not overlooked in the hope of a better hello."""
    client = guarded.connect(Authorization="Bearer x.y.z")

    await client.expect_refused(ReplyCode.UNAUTHORIZED)
    await client.expect_closed(CloseCode.UNAUTHORIZED)


async def test_another_kind_of_authorization_is_none_of_ours(guarded: House) -> None:
    """A proxy's password is not looked at; hello is awaited as usual."""
    client = guarded.connect(Authorization="Basic YWRhOmFkYQ==")

    client.say("hello", token=guarded.token("ada"))

    await client.expect("welcome", user="ada")


async def test_a_user_may_connect_as_often_as_allowed(build: Callable[..., Awaitable[House]]) -> None:
    """One more is sent away; when one has left there is a place again."""
    house = await build(max_connections_per_user=2)
    first, _ = await house.greet(), await house.greet()

    third = house.connect()
    third.say("hello", user="ada")
    await third.expect_closed(CloseCode.TOO_MANY_CONNECTIONS)
    third.connection.on_closed()
    first.hang_up()

    await house.greet()


async def test_a_connection_ends_with_its_token(
    autojump_clock: MockClock, guarded: House, nursery: trio.Nursery
) -> None:
    """The close code tells to come back with a fresh one and resume."""
    nursery.start_soon(guarded.registry.watch)
    client = await guarded.greet_with_token(expires_in=60)

    await trio.sleep(59)
    assert client.link.closed is None
    await trio.sleep(6.5)

    assert "resume" in await client.expect_closed(CloseCode.TOKEN_EXPIRED)


# Requests


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


# Who sends nonsense, or too much


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


# Rooms


async def test_nothing_can_be_asked_of_a_room_that_is_not_joined(house: House) -> None:
    """Being somebody is not enough; each request needs the membership."""
    client = await house.greet()
    where = {"room": "r", "ref": 1}

    for kind, fields in [
        ("room:leave", {}),
        ("message:send", {"content": "c"}),
        ("message:edit", {"id": "m", "content": "c"}),
        ("message:delete", {"id": "m"}),
        ("typing:start", {}),
        ("typing:stop", {}),
        ("receipt:update", {"lastReadMessageId": "m"}),
        ("history:get", {}),
    ]:
        client.say(kind, **where, **fields)
        await client.expect_refused(ReplyCode.NOT_JOINED, ref=1, room="r")
    assert not house.lobby.rooms


async def test_a_room_that_was_left_is_not_joined(house: House) -> None:
    """After leaving, nothing is heard and nothing can be said."""
    ada, bob = await house.greet("ada"), await house.greet("bob")
    await ada.join()
    await bob.join()
    ada.say("room:leave", room="r")
    await ada.skip()

    await bob.skip()
    await bob.send()
    ada.say("message:send", room="r", content="c")

    await ada.expect_refused(ReplyCode.NOT_JOINED)
    await ada.expect_nothing()


async def test_a_room_is_joined_once(house: House) -> None:
    """A second join is refused, even before the first is answered."""
    client = await house.greet()

    client.say("room:join", room="r", ref=1)
    client.say("room:join", room="r", ref=2)

    await client.expect_refused(ReplyCode.ALREADY_JOINED, ref=2)
    await client.expect("room:joined", ref=1)


async def test_join_leave_and_join_in_one_breath(autojump_clock: MockClock, house: House) -> None:
    """Requests that were sent together are carried out in order: in the end one is in, once."""
    client = await house.greet()

    client.say("room:join", room="r", ref=1)
    client.say("room:leave", room="r", ref=2)
    client.say("room:join", room="r", ref=3)
    await wait_all_tasks_blocked()
    answers = [said["ref"] for said in client.link.heard if "ref" in said]
    client.link.heard.clear()

    assert answers == [1, 2, 3]
    assert house.lobby.rooms["r"].statistics().members == 1
    await client.send()


async def test_join_and_leave_in_one_breath(autojump_clock: MockClock, house: House) -> None:
    """Who leaves right after joining is out."""
    client = await house.greet()

    client.say("room:join", room="r")
    client.say("room:leave", room="r")
    await wait_all_tasks_blocked()

    assert house.lobby.rooms["r"].statistics().members == 0


async def test_join_and_hang_up_in_one_breath(autojump_clock: MockClock, house: House) -> None:
    """A connection that breaks while its join is on the way leaves nobody behind."""
    client = await house.greet()

    client.say("room:join", room="r")
    client.hang_up()
    await wait_all_tasks_blocked()

    assert house.lobby.rooms["r"].statistics().members == 0


async def test_a_connection_is_in_as_many_rooms_as_allowed(build: Callable[..., Awaitable[House]]) -> None:
    """One more is refused until one is left."""
    house = await build(max_rooms_per_connection=2)
    client = await house.greet()
    await client.join("a")
    await client.join("b")

    client.say("room:join", room="c", ref=1)
    await client.expect_refused(ReplyCode.TOO_MANY_ROOMS, ref=1, room="c")
    client.say("room:leave", room="a")
    await client.expect("room:left")

    await client.join("c")


async def test_a_token_opens_its_rooms_only(guarded: House) -> None:
    """A foreign room is refused alike, whether or not it exists."""
    somebody = await guarded.greet_with_token(user="bob")
    await somebody.join("other/here")
    client = await guarded.greet_with_token(rooms=("team/*",))

    for room in ("other/here", "other/nowhere"):
        client.say("room:join", room=room, ref=1)
        refusal = await client.expect_refused(ReplyCode.FORBIDDEN, ref=1, room=room)
        assert refusal["message"] == "room: not yours to join"
    await client.join("team/general")
    assert set(guarded.lobby.rooms) == {"other/here", "team/general"}


@pytest.mark.parametrize(
    ("roles", "role", "allowed"),
    [
        ((), "user", True),
        ((), "assistant", False),
        ((), "system", False),
        (("assistant",), "assistant", True),
        (("assistant",), "system", False),
        (("system",), "system", True),
        (("admin", "moderator"), "assistant", False),
    ],
)
async def test_a_token_says_as_what_one_may_speak(
    guarded: House, roles: tuple[str, ...], role: str, allowed: bool
) -> None:
    """Everybody is a user; assistants and systems need the role."""
    client = await guarded.greet_with_token(roles=roles)
    await client.join()

    client.say("message:send", room="r", content="c", role=role, ref=1)

    if allowed:
        new = await client.expect("message:new")
        assert new["message"]["role"] == role
    else:
        await client.expect_refused(ReplyCode.FORBIDDEN, ref=1)


async def test_only_moderators_touch_other_peoples_messages(guarded: House) -> None:
    """The author and a moderator may edit and delete; nobody else."""
    author = await guarded.greet_with_token(user="ada")
    other = await guarded.greet_with_token(user="bob", roles=["admin", "assistant"])
    moderator = await guarded.greet_with_token(user="eve", roles=["moderator"])
    for client in (author, other, moderator):
        await client.join()
    await author.skip()
    ack = await author.send()
    await other.skip()
    await moderator.skip()

    other.say("message:edit", room="r", id=ack["id"], content="d")
    await other.expect_refused(ReplyCode.FORBIDDEN)
    other.say("message:delete", room="r", id=ack["id"])
    await other.expect_refused(ReplyCode.FORBIDDEN)
    moderator.say("message:edit", room="r", id=ack["id"], content="d")
    update = await moderator.expect("message:update")
    await moderator.expect("ack", seq=2)
    moderator.say("message:delete", room="r", id=ack["id"])
    await moderator.expect("message:delete", id=ack["id"])

    assert (update["message"]["userId"], update["message"]["content"]) == ("ada", "d")


async def test_a_full_room_refuses_for_now(build: Callable[..., Awaitable[House]]) -> None:
    """One message is taken at once and two may wait; what is more is refused as temporary, with its ref."""
    house = await build(mailbox_limit=2)
    client = await house.greet()
    await client.join()

    for ref in range(5):
        client.say("message:send", room="r", content="c", ref=ref)

    await client.expect_refused(ReplyCode.OVERLOADED, ref=3, room="r")
    await client.expect_refused(ReplyCode.OVERLOADED, ref=4, room="r")


async def test_a_closed_room_puts_its_members_out(house: House) -> None:
    """They are told once, and may join again later."""
    client = await house.greet()
    await client.join()

    house.lobby.rooms["r"].close("it failed")
    await client.expect_refused(ReplyCode.ROOM_CLOSED, room="r")
    client.say("message:send", room="r", content="c")
    await client.expect_refused(ReplyCode.NOT_JOINED)

    await client.join()


async def test_who_cannot_be_told_that_a_room_is_closed_is_disconnected(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that would believe itself in the room for ever has to come back."""
    client = await house.greet()
    await client.join()

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(NativeVoice, "tell", _fail)
        house.lobby.rooms["r"].close("it failed")

    assert "come back and resume" in await client.expect_closed(CloseCode.INTERNAL_ERROR)
    assert "could not be told" in caplog.text


def _fail(*_: object) -> None:
    raise RuntimeError("a voice that fails")


async def test_a_join_that_fails_is_no_membership(autojump_clock: MockClock, house: House) -> None:
    """The room may be joined again after the error."""
    client = await house.greet()
    house.hot.interfere = _block
    client.say("room:join", room="r", ref=1)
    await wait_all_tasks_blocked()

    house.lobby.rooms["r"].close("it failed")
    await client.expect_refused(ReplyCode.ROOM_CLOSED, ref=1, room="r")
    house.hot.interfere = None

    await client.join()


async def test_a_leave_that_meets_the_end_of_its_room_is_answered(
    autojump_clock: MockClock, house: House
) -> None:
    """With the error: one is out either way."""
    client = await house.greet()
    await client.join()
    house.hot.interfere = _block
    client.say("message:send", room="r", content="c")
    await wait_all_tasks_blocked()

    client.say("room:leave", room="r", ref=1)
    house.lobby.rooms["r"].close("it failed")

    await client.expect_refused(ReplyCode.ROOM_CLOSED)
    await client.expect_refused(ReplyCode.ROOM_CLOSED, ref=1, room="r")


async def _block(name: str, moment: str) -> None:
    await trio.sleep(3600)


async def test_who_is_gone_has_left_every_room(house: House) -> None:
    """The others learn it, the registry forgets it, and nothing is heard any more."""
    ada, bob = await house.greet("ada"), await house.greet("bob")
    for room in ("a", "b"):
        await ada.join(room)
        await bob.join(room)
        await ada.skip()

    ada.hang_up()

    left = [await bob.expect("presence:update", userId="ada", isActive=False) for _ in range(2)]
    assert {said["room"] for said in left} == {"a", "b"}
    assert house.registry.statistics() == RegistryStatistics(users=1, connections=1)
    assert {room.statistics().members for room in house.lobby.rooms.values()} == {1}


# Among others


async def test_everybody_hears_every_change_in_one_order(autojump_clock: MockClock, house: House) -> None:
    """The sender too."""
    ada, bob = await house.greet("ada"), await house.greet("bob")
    await ada.join()
    await bob.join()
    await ada.skip()

    ada.say("message:send", room="r", content="1", id="m")
    bob.say("message:send", room="r", content="2")
    ada.say("message:edit", room="r", content="3", id="m")
    await wait_all_tasks_blocked()

    for client in (ada, bob):
        heard = [(said["type"], said["seq"]) for said in client.link.heard if said["type"] != "ack"]
        assert heard == [("message:new", 1), ("message:new", 2), ("message:update", 3)]


async def test_typing_is_told_to_the_others(house: House) -> None:
    """Who types does not hear of it, on no connection; what is told may be dropped for a slow reader."""
    ada, too, bob = await house.greet("ada"), await house.greet("ada"), await house.greet("bob")
    for client in (ada, too, bob):
        await client.join()
    for client in (ada, too, bob):
        await client.skip()

    ada.say("typing:start", room="r")
    ada.say("typing:stop", room="r")

    await bob.expect("typing:start", room="r", userId="ada")
    await bob.expect("typing:stop", room="r", userId="ada")
    assert bob.link.droppable[-2:] == [True, True]
    await ada.expect_nothing()
    await too.expect_nothing()


async def test_receipts_are_told_to_all_and_to_those_who_come(house: House) -> None:
    """How far somebody has read only ever moves forward."""
    ada, bob = await house.greet("ada"), await house.greet("bob")
    await ada.join()
    await ada.send(id="m1")
    await ada.send(id="m2")

    ada.say("receipt:update", room="r", lastReadMessageId="m2")
    mark = await ada.expect("receipt:update", room="r", userId="ada", lastReadMessageId="m2")
    ada.say("receipt:update", room="r", lastReadMessageId="m1")
    await ada.expect_nothing()
    bob.say("room:join", room="r")
    await bob.expect("room:joined")
    await bob.expect("messages:history")

    receipts = await bob.expect("receipt:list")
    assert receipts["receipts"] == {"ada": {"lastReadMessageId": "m2", "timestamp": mark["timestamp"]}}


async def test_presence_is_per_user(house: House) -> None:
    """A user comes with the first connection and is gone with the last."""
    bob = await house.greet("bob")
    await bob.join()
    one, two = await house.greet("ada"), await house.greet("ada")

    await one.join()
    await bob.expect("presence:update", userId="ada", isActive=True)
    joined = await two.join()
    await bob.expect_nothing()
    one.hang_up()
    await bob.expect_nothing()
    two.say("room:leave", room="r")

    await bob.expect("presence:update", userId="ada", isActive=False)
    assert joined["members"] == ["bob", "ada"]


# Coming back


async def test_who_comes_back_gets_what_changed(house: House) -> None:
    """A resume in the window brings the changes, in order, and says that they are complete."""
    ada, bob = await house.greet("ada"), await house.greet("bob")
    await ada.join()
    place = await ada.send(id="m1")
    await ada.send(id="m2")
    ada.say("message:delete", room="r", id="m1")
    await ada.skip()

    bob.say("room:join", room="r", resume={"epoch": place["epoch"], "seq": place["seq"]})

    await bob.expect("room:joined", recovered=True, seq=3)
    await bob.expect("message:new", seq=2)
    await bob.expect("message:delete", seq=3, id="m1")
    await bob.expect("room:live", epoch=place["epoch"], seq=3)


@pytest.mark.parametrize("seq", [0, 5])
async def test_a_position_of_no_session_brings_the_window(house: House, seq: int) -> None:
    """Another epoch, or more than there ever was, is no position here."""
    client = await house.greet()
    await client.join()
    ack = await client.send()
    client.say("room:leave", room="r")
    await client.skip()

    epoch = EPOCH if seq == 0 else ack["epoch"]
    client.say("room:join", room="r", resume={"epoch": epoch, "seq": seq})

    await client.expect("room:joined", recovered=False, seq=1)
    history = await client.expect("messages:history")
    assert [one["id"] for one in history["messages"]] == [ack["id"]]


async def test_a_resume_that_is_no_position_is_refused(house: House) -> None:
    """Nothing is joined."""
    client = await house.greet()

    client.say("room:join", room="r", resume={"epoch": "", "seq": 1}, ref=1)

    await client.expect_refused(ReplyCode.BAD_REQUEST, ref=1)
    assert not house.lobby.rooms


async def test_an_expired_session_is_told_and_the_next_message_begins_another(
    autojump_clock: MockClock, house: House
) -> None:
    """Twenty minutes after the last activity; heartbeats are none."""
    client = await house.greet()
    await client.join()
    first = await client.send()

    for _ in range(11):
        await trio.sleep(100)
        client.say("heartbeat")
    await client.skip()
    await trio.sleep(99)
    await client.expect_nothing()
    await trio.sleep(2)

    await client.expect("session:expired", room="r", epoch=first["epoch"])
    second = await client.send()
    assert second["seq"] == 1
    assert second["epoch"] > first["epoch"]


# Reading backwards


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
    house.hot.interfere = _block
    client.say("message:send", room="r", content="c")
    await wait_all_tasks_blocked()
    client.say("message:send", room="r", content="c")

    client.say("history:get", room="r", ref=1)

    await client.expect_refused(ReplyCode.OVERLOADED, ref=1, room="r")


async def test_who_hangs_up_waits_for_no_page(autojump_clock: MockClock, house: House) -> None:
    """The reading ends with the connection."""
    client = await house.greet()
    await client.join()
    house.archive.interfere = _block
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
