"""One Socket.IO client: its connect, its requests, its coming back. Over a link that only takes notes.

The client's side is python-socketio's reader and what `socket.io-client` does with pid and offset. Where time passes,
it is virtual.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import socketio.packet
import trio
from socketio.packet import Packet as TheirPacket
from trio.testing import wait_all_tasks_blocked

from trio_chat.clients import offsets, packets
from trio_chat.clients.auth import Authenticator, make_token
from trio_chat.clients.frames import text_frame
from trio_chat.clients.handshake import Request
from trio_chat.clients.offsets import read_offset
from trio_chat.clients.patience import Patience
from trio_chat.clients.recovery import Recoveries, RecoveryStatistics
from trio_chat.clients.registry import Registry
from trio_chat.clients.socketio_conversation import Hall, SocketIOConversation
from trio_chat.errors import CloseCode, ReplyCode, Unavailable
from trio_chat.lobby import open_lobby
from trio_chat.mail import Join, Mail
from trio_chat.settings import Settings
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock

    from trio_chat.clients.engine.terms import Parcel
    from trio_chat.lobby import Lobby
    from trio_chat.stores.memory import Moment

SECRET = "a-secret-of-more-than-thirty-two-bytes"
LISTS = ["receipt:list", "presence:list"]
TOO_DEEP = "2" + "[" * 50 + "]" * 50


class FakeLink:
    """A session's link that takes everything, notes it, and ends the talk as the real one does: later, by a task."""

    def __init__(self, nursery: trio.Nursery, query: str, headers: dict[bytes, bytes]) -> None:
        self.request = Request("/socket.io/", query, headers, "somebody", False)
        self.said: deque[TheirPacket] = deque()
        self.droppable: list[bool] = []
        self.closed: tuple[int, str] | None = None
        self.behind = False
        self.send_frames = None
        self.conversation: SocketIOConversation | None = None
        self._nursery = nursery
        self._tasks: set[trio.CancelScope] = set()

    def __repr__(self) -> str:
        return "<FakeLink>"

    def offer(self, parcel: Parcel, droppable: bool = False, exempt: bool = False) -> None:
        """Note what is sent."""
        assert b"".join(map(text_frame, parcel.packets)) == parcel.frames
        if self.closed is None:
            for packet in parcel.packets:
                assert packet[:1] == b"4"
                self.said.append(TheirPacket(encoded_packet=packet[1:].decode()))
                self.droppable.append(droppable)

    def close(self, code: int, reason: str = "") -> None:
        """Note why it ends, and end its tasks."""
        if self.closed is None:
            self.closed = (code, reason)
            for scope in self._tasks:
                scope.cancel()
            if not self._tasks:
                self._nursery.start_soon(self._tell)

    async def _tell(self) -> None:
        assert self.conversation is not None
        self.conversation.on_closed()

    def start_soon(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        """Start a task of the session."""
        if self.closed is None:
            scope = trio.CancelScope()
            self._tasks.add(scope)
            self._nursery.start_soon(self._contain, scope, fn, args)

    async def _contain(self, scope: trio.CancelScope, fn: Any, args: tuple[object, ...]) -> None:
        with scope:
            await fn(*args)
        self._tasks.discard(scope)
        if self.closed is not None and not self._tasks:
            await self._tell()


class Client:
    """A client as `socket.io-client` is one: it keeps its pid and the last offset through reconnects.

    Everything is settled before it listens. It has *heard* what a test has taken from its link, and no more.
    """

    def __init__(self, house: House, query: str, headers: dict[bytes, bytes], auth: dict[str, Any]) -> None:
        self.auth = auth
        self.plain = False
        """Whether it is one that keeps neither pid nor offset."""
        self.pid: str | None = None
        self.offset: str | None = None
        self.recovered = False
        self._house = house
        self._query = query
        self._headers = headers
        self.dial()

    def dial(self) -> FakeLink:
        """Begin a session without a word. Returns its link; the one before is left as it is."""
        self.link = FakeLink(self._house.nursery, self._query, self._headers)
        self.conversation = SocketIOConversation(self.link, self._house.hall)  # type: ignore[arg-type] # it is a fake
        self.link.conversation = self.conversation
        return self.link

    def say(self, text: str) -> None:
        """Send a packet."""
        if self.link.closed is None:
            self.conversation.on_text(text.encode())

    def ask_to_connect(self) -> None:
        """Send CONNECT."""
        back = {"pid": self.pid, "offset": self.offset} if self.pid is not None else {}
        auth = {name: value for name, value in (back | self.auth).items() if value is not None}
        self.say("0" + (json.dumps(auth) if auth else ""))

    def emit(self, name: str, *args: Any, ack: int | None = None) -> None:
        """Send an event."""
        self.say(packets.event(name, *map(msgspec.json.encode, args), ack=ack).decode())

    async def next(self, packet_type: int) -> TheirPacket:
        """Return the next packet, which is of this type."""
        await wait_all_tasks_blocked()
        assert self.link.said, f"heard nothing; closed: {self.link.closed}"
        packet = self.link.said.popleft()
        assert packet.packet_type == packet_type, packet.encode()
        if packet_type == socketio.packet.EVENT and isinstance(packet.data[-1], str):
            self.offset = packet.data[-1]
        return packet

    async def expect(self, name: str, *args: Any) -> list[Any]:
        """Return the arguments of the next event, which has this name and begins with these arguments."""
        packet = await self.next(socketio.packet.EVENT)
        assert packet.data[: 1 + len(args)] == [name, *args]
        said: list[Any] = packet.data[1:]
        return said

    async def expect_ack(self, number: int, **fields: Any) -> dict[str, Any]:
        """Return what the next acknowledgement says, which has this number and these fields."""
        packet = await self.next(socketio.packet.ACK)
        assert packet.id == number
        (answer,) = packet.data
        assert {name: answer.get(name) for name in fields} == fields
        return dict(answer)

    async def expect_refused(self, number: int, code: ReplyCode) -> None:
        """Expect an acknowledgement that says no."""
        answer = await self.expect_ack(number, ok=False)
        assert answer["error"]["code"] == code
        assert answer["error"]["temporary"] is code.temporary
        assert answer["error"]["message"]

    async def expect_connected(self) -> None:
        """Expect the answer to CONNECT."""
        said = (await self.next(socketio.packet.CONNECT)).data
        if self.plain:
            assert list(said) == ["sid"]
            return
        assert said["sid"] != said["pid"]
        self.recovered = self.pid == said["pid"]
        self.pid = said["pid"]

    async def expect_connect_error(self, code: ReplyCode, namespace: str = "/") -> str:
        """Expect CONNECT to be refused; return the text."""
        packet = await self.next(socketio.packet.CONNECT_ERROR)
        assert (packet.namespace or "/") == namespace
        assert packet.data["data"] == {"code": code, "temporary": code.temporary}
        text: str = packet.data["message"]
        return text

    async def expect_nothing(self) -> None:
        """Expect silence."""
        await wait_all_tasks_blocked()
        assert [packet.data for packet in self.link.said] == []

    async def expect_closed(self, code: CloseCode) -> None:
        """Expect the session to end."""
        await wait_all_tasks_blocked()
        assert self.link.closed is not None, self.link.said
        assert self.link.closed[0] == code, self.link.closed

    async def connect(self) -> Client:
        """Connect as somebody new."""
        self.ask_to_connect()
        await self.expect_connected()
        assert not self.recovered
        await self.expect("welcome")
        return self

    async def join(self, room: str = "r") -> list[dict[str, Any]]:
        """Join and hear everything that comes with it; return the messages."""
        self.emit("room:join", room)
        messages: list[dict[str, Any]] = (await self.expect("messages:history"))[0]
        for name in LISTS:
            await self.expect(name)
        return messages

    async def hear(self) -> list[tuple[str, Any]]:
        """Hear everything there is, and return the names of events and their first arguments."""
        await wait_all_tasks_blocked()
        heard: list[tuple[str, Any]] = []
        while self.link.said:
            if self.link.said[0].packet_type == socketio.packet.EVENT:
                packet = await self.next(socketio.packet.EVENT)
                heard.append((packet.data[0], packet.data[1]))
            else:
                heard.append(("ack", self.link.said.popleft().data[0]))
        return heard

    async def texts(self) -> list[str]:
        """Hear everything there is, and return the new messages' texts."""
        return [said["content"] for name, said in await self.hear() if name == "message:new"]

    async def hang_up(self) -> None:
        """Lose the connection: what was not heard yet never arrives."""
        self.link.close(1006)
        self.link.said.clear()
        await wait_all_tasks_blocked()

    def come_back(self) -> FakeLink:
        """Ask to connect on a new session, as the client that was there before. Returns the old link."""
        old = self.link
        self.dial()
        self.ask_to_connect()
        return old

    async def recover(self) -> list[tuple[str, Any]]:
        """Lose the connection, come back, be recovered; return what was heard."""
        await self.hang_up()
        self.come_back()
        await self.expect_connected()
        assert self.recovered
        return await self.hear()

    @property
    def places(self) -> dict[str, int]:
        """Where the client is in its rooms, by its offset."""
        there = read_offset(self.offset or "")
        assert there is not None
        places = {room: place.seq for room in "arst" if (place := there.place(room)) is not None}
        assert there.names(places)
        return places


class House:
    """A server without its sockets, over memory stores that outlive it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.hot = MemoryHotStore(durability="redis")
        self.archive = MemoryArchive()
        self.nursery = nursery

    async def open(self, **changes: Any) -> House:
        """Open it, with these settings."""
        fields: dict[str, Any] = {"auth_mode": "insecure", "rate_limits": False} | changes
        self.settings = Settings(**fields)
        await self.start()
        return self

    async def start(self) -> None:
        """Begin a process."""
        self._scope = trio.CancelScope()
        self.lobby: Lobby = await self.nursery.start(self._keep_open)
        self.registry = Registry(self.settings.max_connections_per_user, clock=trio.current_time)
        self.recoveries = Recoveries(self.hot, self.settings.session_expiry_seconds)
        patience = Patience(self.settings.hello_timeout)
        self.nursery.start_soon(patience.run)
        authenticator = Authenticator(self.settings, clock=trio.current_time)
        self.hall = Hall(self.lobby, authenticator, self.registry, self.recoveries, patience)

    async def _keep_open(self, task_status: trio.TaskStatus[Lobby]) -> None:
        with self._scope:
            async with open_lobby(hot=self.hot, archive=self.archive, settings=self.settings) as lobby:
                task_status.started(lobby)
                await trio.sleep_forever()

    async def restart(self) -> None:
        """Kill the process and begin another over the same stores. Its clients hear nothing of it."""
        self._scope.cancel()
        await wait_all_tasks_blocked()
        await self.start()

    def call(self, auth: dict[str, Any] | None = None, query: str = "", **headers: str) -> Client:
        """Begin a session without a word."""
        named = {name.lower().replace("_", "-").encode(): text.encode() for name, text in headers.items()}
        return Client(self, query, named, auth or {})

    def call_plain(self, user: str = "ada") -> Client:
        """Begin a session of a client that cannot come back."""
        client = self.call({"userId": user}, "EIO=4&recovery=0")
        client.plain = True
        return client

    async def connect(self, user: str = "ada", *rooms: str) -> Client:
        """Connect a client, and let it join rooms."""
        client = await self.call({"userId": user}).connect()
        for room in rooms:
            await client.join(room)
        return client

    def token(self, user: str = "ada", rooms: tuple[str, ...] = ("*",), **options: Any) -> str:
        """Make a token by the clock of the test."""
        return make_token(self.settings, user, rooms, clock=trio.current_time, **options)

    async def post(self, *texts: str, room: str = "r", user: str = "bob") -> None:
        """Post messages as somebody who comes in for that and goes again."""
        async with self.lobby.join(room, user=user) as seat:
            for text in texts:
                await seat.post(text)

    def users_in(self, room: str) -> set[str]:
        """Return who is in a room."""
        found = self.lobby.rooms.get(room)
        return {member.user for member in found.audience} if found else set()

    def members_of(self, room: str) -> int:
        """Return how many members a room has."""
        return len(self.lobby.rooms[room].audience)


class Gate:
    """Lets the first call of a name to a store wait until it is opened."""

    def __init__(self, store: Any, name: str) -> None:
        self.reached = False
        self._opened = trio.Event()
        self._name: str | None = name
        store.interfere = self._interfere

    async def _interfere(self, name: str, moment: Moment) -> None:
        await trio.lowlevel.checkpoint()
        if name == self._name and moment == "before":
            self._name = None
            self.reached = True
            await self._opened.wait()

    def open(self) -> None:
        """Let it go on."""
        self._opened.set()


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


# Connecting


async def test_a_connect_is_answered_with_names_and_a_welcome(house: House) -> None:
    """The welcome has the user, the durability, the limits, and the offset of somebody in no room."""
    client = house.call({"userId": "ada"})

    client.ask_to_connect()
    await client.expect_connected()
    detail, offset = await client.expect("welcome")

    assert client.pid
    assert offset == "0"
    assert (detail["user"], detail["durability"]) == ("ada", "redis")
    assert detail["limits"] == {
        "messageBytes": 65536,
        "rooms": 64,
        "requestsPerSecond": 0,
        "requestBurst": 40,
        "window": 1000,
        "sessionExpirySeconds": 1200,
        "pingIntervalSeconds": 25,
    }


async def test_two_connections_have_two_names(house: House) -> None:
    """The secret one is a client's own, even for one user."""
    one, two = await house.connect(), await house.connect()

    assert one.pid != two.pid


async def test_a_token_says_who_one_is(guarded: House) -> None:
    """The user is the token's, whatever else the client says."""
    client = guarded.call({"token": guarded.token("ada"), "userId": "bob"})
    client.ask_to_connect()

    await client.expect_connected()
    assert (await client.expect("welcome"))[0]["user"] == "ada"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_a_header_may_bring_the_token(guarded: House, scheme: str) -> None:
    """For clients that cannot say it in CONNECT; still they have to connect."""
    client = guarded.call(Authorization=f"{scheme} {guarded.token('ada')}")
    await client.expect_nothing()

    await client.connect()

    assert guarded.registry.statistics().users == 1


async def test_the_token_in_connect_counts_more_than_the_header(guarded: House) -> None:
    """A proxy may add one of its own; a bad one in CONNECT is not made up for."""
    client = guarded.call({"token": "x.y.z"}, Authorization=f"Bearer {guarded.token('ada')}")
    client.ask_to_connect()

    await client.expect_connect_error(ReplyCode.UNAUTHORIZED)


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {"token": ""},
        {"token": "x.y.z"},
        {"token": 1},
        {"token": ["x"]},
        {"token": {}},
        {"userId": "ada"},
        {"pid": "x", "offset": "0"},
    ],
)
async def test_without_a_good_token_nobody_comes_in(guarded: House, auth: dict[str, Any]) -> None:
    """One text for every reason, and a code for programs."""
    client = guarded.call(auth)
    client.ask_to_connect()

    text = await client.expect_connect_error(ReplyCode.UNAUTHORIZED)

    assert text == "token: not accepted; connect with a new one"
    assert guarded.registry.statistics().connections == 0
    assert guarded.recoveries.statistics().held == 0


@pytest.mark.parametrize("user", ["", "a\nb", "a" * 129])
async def test_an_insecure_server_still_checks_the_name(house: House, user: str) -> None:
    """A user id is a text that can be one."""
    client = house.call({"userId": user})
    client.ask_to_connect()

    await client.expect_connect_error(ReplyCode.BAD_REQUEST)


@pytest.mark.parametrize("auth", ["", "{}", '{"userId":1}', '{"userId":null}', '{"userId":["ada"]}'])
async def test_an_insecure_server_says_how_to_name_oneself(house: House, auth: str) -> None:
    """It wants no token: whoever tries it out learns what to say instead."""
    client = house.call()
    client.say(f"0{auth}")

    text = await client.expect_connect_error(ReplyCode.UNAUTHORIZED)

    assert text == "auth.userId: expected the user's id, a string"


async def test_a_name_counts_more_than_a_token_where_names_do(house: House) -> None:
    """A front end that always has a token, perhaps an empty one, works on an insecure server too."""
    client = house.call({"userId": "ada", "token": "x.y.z"})
    client.ask_to_connect()

    await client.expect_connected()


async def test_who_was_refused_may_try_again(guarded: House) -> None:
    """With a fresh token, on the same session."""
    client = guarded.call({"token": "x.y.z"})
    client.ask_to_connect()
    await client.expect_connect_error(ReplyCode.UNAUTHORIZED)

    client.auth = {"token": guarded.token()}

    await client.connect()


async def test_who_is_refused_five_times_is_disconnected(guarded: House) -> None:
    """Each refusal is said, the last one too."""
    client = guarded.call({"token": "x.y.z"})

    for _ in range(5):
        assert client.link.closed is None
        client.ask_to_connect()
        await client.expect_connect_error(ReplyCode.UNAUTHORIZED)

    await client.expect_closed(CloseCode.UNAUTHORIZED)


@pytest.mark.parametrize("packet", ["0/admin", "0/admin,", '0/admin,{"userId":"ada"}'])
async def test_other_namespaces_do_not_exist(house: House, packet: str) -> None:
    """That is said in the namespace, in the reference's words; the main one is not affected."""
    client = await house.connect()
    client.say(packet)

    assert await client.expect_connect_error(ReplyCode.BAD_REQUEST, "/admin") == "Invalid namespace"
    client.emit("heartbeat", ack=1)
    await client.expect_ack(1, ok=True)


async def test_a_user_may_connect_as_often_as_allowed(build: Callable[..., Awaitable[House]]) -> None:
    """One more is refused for now; when one has left there is a place again."""
    house = await build(max_connections_per_user=2)
    first = await house.connect()
    await house.connect()
    client = house.call({"userId": "ada"})
    client.ask_to_connect()
    await client.expect_connect_error(ReplyCode.TOO_MANY_CONNECTIONS)

    first.say("1")

    await client.connect()
    assert house.recoveries.statistics() == RecoveryStatistics(held=2, away=0, unwritten=0)


@pytest.mark.parametrize(
    "packet",
    [
        '2["heartbeat"]',
        '2/admin,["heartbeat"]',
        "hello",
        '51-["x",{"_placeholder":true,"num":0}]',
        "",
        "4{}",
        TOO_DEEP,
        f'0{{"a":{TOO_DEEP[1:]}}}',
    ],
)
async def test_anything_before_connect_ends_the_session(house: House, packet: str) -> None:
    """As it does with the reference server."""
    client = house.call({"userId": "ada"})
    client.say(packet)

    await client.expect_closed(CloseCode.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "packet",
    [
        "0",
        '0{"userId":"ada"}',
        '2/admin,["heartbeat"]',
        '51-["x",{"_placeholder":true,"num":0}]',
        "61-[]",
        '4{"message":"no"}',
        '2["connect"]',
        "2[]",
        "9",
    ],
)
async def test_what_breaks_the_protocol_ends_the_session(house: House, packet: str) -> None:
    """A second CONNECT, binary packets, and what is none; the user is gone from the room."""
    client = await house.connect("ada", "r")
    client.say(packet)

    await client.expect_closed(CloseCode.PROTOCOL_ERROR)
    assert house.users_in("r") == set()


async def test_an_acknowledgement_nobody_asked_for_is_overlooked(house: House) -> None:
    """Clients may answer whatever they like."""
    client = await house.connect()
    client.say("37[]")

    await client.expect_nothing()
    assert client.link.closed is None


async def test_who_does_not_connect_is_disconnected(autojump_clock: MockClock, guarded: House) -> None:
    """Five seconds, not less; refusals do not prolong them."""
    client = guarded.call({"token": "x.y.z"})
    await trio.sleep(4.9)
    client.ask_to_connect()
    await client.expect_connect_error(ReplyCode.UNAUTHORIZED)

    await trio.sleep(0.2)

    await client.expect_closed(CloseCode.HELLO_TIMEOUT)


async def test_who_is_connected_may_be_silent(autojump_clock: MockClock, house: House) -> None:
    """The time to connect ends with it."""
    client = await house.connect()

    await trio.sleep(60)

    assert client.link.closed is None


async def test_who_comes_back_one_too_many_has_to_connect_in_time(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """A session that is refused after its rooms were looked up is as unconnected as any."""
    house = await build(max_connections_per_user=1)
    await house.connect()
    client = house.call({"userId": "ada", "pid": "somebody"})
    client.ask_to_connect()
    await client.expect_connect_error(ReplyCode.TOO_MANY_CONNECTIONS)

    await trio.sleep(5.1)

    await client.expect_closed(CloseCode.HELLO_TIMEOUT)


async def test_a_connection_ends_with_its_token(autojump_clock: MockClock, guarded: House) -> None:
    """The client may come back with a fresh one, and is put back into its rooms."""
    client = await guarded.call({"token": guarded.token(expires_in=60)}).connect()
    await client.join()
    guarded.nursery.start_soon(guarded.registry.watch)

    await trio.sleep(66)
    await client.expect_closed(CloseCode.TOKEN_EXPIRED)
    client.auth = {"token": guarded.token()}
    client.come_back()

    await client.expect_connected()
    assert client.recovered


# Disconnecting


async def test_who_disconnects_leaves_every_room(house: House) -> None:
    """The others learn of it, and the session lives on."""
    bob = await house.connect("bob", "r")
    client = await house.connect("ada", "r", "s")
    await bob.hear()

    client.say("1")

    heard = await bob.hear()
    assert [(name, said["isActive"]) for name, said in heard] == [("presence:update", False)]
    assert house.registry.statistics().users == 1
    assert client.link.closed is None
    await client.expect_nothing()


async def test_who_disconnected_may_connect_again(house: House) -> None:
    """On the same session, as somebody new, in no room."""
    client = await house.connect("ada", "r")
    first = client.pid
    client.say("1")
    client.pid = client.offset = None

    await client.connect()

    assert client.pid != first
    await client.join()
    assert house.members_of("r") == 1


async def test_who_disconnected_and_does_not_connect_is_disconnected(
    autojump_clock: MockClock, house: House
) -> None:
    """There is as much time as in the beginning."""
    client = await house.connect()
    await trio.sleep(60)
    client.say("1")
    await trio.sleep(4.9)
    assert client.link.closed is None

    await trio.sleep(0.2)

    await client.expect_closed(CloseCode.HELLO_TIMEOUT)


async def test_after_disconnecting_nothing_is_said(house: House) -> None:
    """Neither what rooms still answer nor what they say."""
    client = await house.connect("ada", "r")
    gate = Gate(house.hot, "append")
    client.emit("message:send", {"teamId": "r", "content": "c"}, ack=1)
    await wait_all_tasks_blocked()
    client.emit("history:get", {"teamId": "r"}, ack=2)
    client.emit("room:join", "s", ack=3)

    client.say("1")
    gate.open()

    await client.expect_nothing()
    assert house.users_in("s") == set()


@pytest.mark.parametrize("packet", ["1", "1/admin,"])
async def test_leaving_where_one_is_not_changes_nothing(house: House, packet: str) -> None:
    """Somebody who is not connected cannot disconnect, and other namespaces have nobody in them."""
    client = house.call({"userId": "ada"})
    client.say(packet)
    await client.connect()
    client.say("1/admin,")

    client.emit("heartbeat", ack=1)

    await client.expect_ack(1, ok=True)


async def test_who_hangs_up_leaves_every_room(house: House) -> None:
    """The others learn of it; the client may come back."""
    bob = await house.connect("bob", "r")
    client = await house.connect("ada", "r")
    await bob.hear()

    await client.hang_up()

    heard = await bob.hear()
    assert [(name, said["isActive"]) for name, said in heard] == [("presence:update", False)]
    assert house.recoveries.statistics().away == 1


# Requests

REQUESTS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("room:join", ("r",), {"seq": 1, "recovered": False, "durability": "redis", "members": ["ada", "bob"]}),
    ("room:leave", ("r",), {}),
    (
        "message:send",
        ({"teamId": "r", "content": "c", "id": "n"},),
        {"id": "n", "seq": 2, "duplicate": False},
    ),
    ("message:edit", ("m", "new"), {"id": "m", "seq": 2, "durability": "redis", "duplicate": False}),
    ("message:delete", ("m",), {"id": "m", "seq": 2, "durability": "redis", "duplicate": False}),
    ("typing:start", ("r",), {}),
    ("typing:stop", ("r",), {}),
    ("receipt:update", ({"teamId": "r", "lastReadMessageId": "m"},), {}),
    ("presence:heartbeat", ("r",), {}),
    ("history:get", ({"teamId": "r"},), {"teamId": "r", "source": "window", "more": False, "before": None}),
    ("heartbeat", (), {}),
]
BAD_REQUEST = {"code": "bad_request", "temporary": False}
ANSWERS: dict[str, list[str]] = {
    "room:join": ["messages:history", *LISTS],
    "room:leave": ["room:left"],
    "message:send": ["message:new"],
    "message:edit": ["message:update"],
    "message:delete": ["message:delete"],
    "receipt:update": ["receipt:update"],
}
OTHERS: dict[str, list[str]] = {
    "room:leave": ["presence:update"],
    "message:send": ["message:new"],
    "message:edit": ["message:update"],
    "message:delete": ["message:delete"],
    "typing:start": ["typing:start"],
    "receipt:update": ["receipt:update"],
    "presence:heartbeat": ["presence:update"],
}


async def in_a_room(house: House) -> tuple[Client, Client]:
    """Return ada and bob, who are in a room with a message of ada's and have heard everything."""
    ada, bob = await house.connect("ada", "r"), await house.connect("bob", "r")
    ada.emit("message:send", {"teamId": "r", "content": "c", "id": "m"})
    await ada.hear()
    await bob.hear()
    return ada, bob


@pytest.mark.parametrize(("name", "args", "answer"), REQUESTS)
async def test_each_event_is_carried_out_and_acknowledged(
    house: House, name: str, args: tuple[Any, ...], answer: dict[str, Any]
) -> None:
    """With an acknowledgement, if the client waits for one; everybody hears what concerns them."""
    ada, bob = await in_a_room(house)

    ada.emit(name, *args, ack=0)

    heard = await ada.hear()
    (given,) = [said for kind, said in heard if kind == "ack"]
    assert given["ok"] is True
    assert {field: given[field] for field in answer} == answer
    assert [kind for kind, _ in heard if kind != "ack"] == ANSWERS.get(name, [])
    assert [kind for kind, _ in await bob.hear()] == OTHERS.get(name, [])


@pytest.mark.parametrize(("name", "args", "answer"), REQUESTS)
async def test_each_event_is_carried_out_without_an_acknowledgement(
    house: House, name: str, args: tuple[Any, ...], answer: dict[str, Any]
) -> None:
    """A client that does not wait for one gets events only."""
    ada, bob = await in_a_room(house)

    ada.emit(name, *args)

    heard = [kind for kind, _ in await ada.hear()]
    assert heard == ANSWERS.get(
        name, {"heartbeat": ["heartbeat"], "history:get": ["history:page"]}.get(name, [])
    )
    assert [kind for kind, _ in await bob.hear()] == OTHERS.get(name, [])


@pytest.mark.parametrize(
    ("name", "args", "code"),
    [
        ("room:join", ("ä",), ReplyCode.BAD_REQUEST),
        ("room:leave", ("s",), ReplyCode.NOT_JOINED),
        ("message:send", ({"teamId": "s", "content": "c"},), ReplyCode.NOT_JOINED),
        ("message:send", ({"teamId": "r", "content": ""},), ReplyCode.BAD_REQUEST),
        ("message:send", ({"teamId": "r", "content": "c", "type": "robot"},), ReplyCode.BAD_REQUEST),
        ("message:edit", ("x", "c"), ReplyCode.NOT_FOUND),
        ("message:delete", ("x",), ReplyCode.NOT_FOUND),
        ("receipt:update", ({"teamId": "r", "lastReadMessageId": "x"},), ReplyCode.NOT_FOUND),
        ("presence:heartbeat", ("s",), ReplyCode.NOT_JOINED),
        ("history:get", ({"teamId": "r", "before": {"epoch": "x", "seq": 1}},), ReplyCode.BAD_REQUEST),
    ],
)
async def test_what_cannot_be_granted_is_refused(
    house: House, name: str, args: tuple[Any, ...], code: ReplyCode
) -> None:
    """In the acknowledgement, or in an event that says in which room if that could be read."""
    ada, bob = await in_a_room(house)

    ada.emit(name, *args, ack=1)
    await ada.expect_refused(1, code)
    ada.emit(name, *args)
    text, detail = await ada.expect("room:error")

    assert text
    assert (detail["code"], detail["temporary"]) == (code, code.temporary)
    await ada.expect_nothing()
    await bob.expect_nothing()


async def test_a_refusal_names_the_room(house: House) -> None:
    """A front end with several of them knows where to show it."""
    ada, _ = await in_a_room(house)

    ada.emit("message:send", {"teamId": "r", "content": ""})

    _, detail = await ada.expect("room:error")
    assert detail == {"code": "bad_request", "temporary": False, "teamId": "r"}


async def test_an_event_of_another_protocol_is_none_of_ours(house: House) -> None:
    """Nothing is said about it, and however many there are, nobody is disconnected."""
    client = await house.connect()

    for _ in range(20):
        client.emit("agent:status", {"busy": True})

    await client.expect_nothing()
    assert client.link.closed is None


async def test_who_waits_for_an_unknown_event_is_told(house: House) -> None:
    """And told again, without being disconnected."""
    client = await house.connect()

    for number in range(20):
        client.emit("agent:status", ack=number)
        await client.expect_refused(number, ReplyCode.BAD_REQUEST)

    assert client.link.closed is None


async def test_who_keeps_sending_nonsense_is_disconnected(house: House) -> None:
    """Five malformed requests are enough."""
    client = await house.connect("ada", "r")

    for _ in range(5):
        client.emit("message:send", "r", "c")

    await client.expect_closed(CloseCode.BAD_REQUESTS)


async def test_an_event_that_is_too_deep_is_refused(house: House) -> None:
    """It is well-formed, and its sender learns what was wrong; nobody else does."""
    ada, bob = await in_a_room(house)

    ada.say(TOO_DEEP.replace("2", "27"))
    await ada.expect_refused(7, ReplyCode.BAD_REQUEST)
    ada.say(TOO_DEEP)
    await ada.expect("room:error", "expected JSON nested at most 33 levels", BAD_REQUEST)

    ada.emit("heartbeat", ack=8)
    await ada.expect_ack(8, ok=True)
    await bob.expect_nothing()


@pytest.mark.parametrize(("seconds", "ends"), [(2.4, True), (2.6, False)])
async def test_who_keeps_sending_what_is_too_deep_is_disconnected(
    autojump_clock: MockClock, house: House, seconds: float, ends: bool
) -> None:
    """Five within ten seconds are malformed requests like others."""
    client = await house.connect("ada", "r")

    for number in range(5):
        assert client.link.closed is None
        client.say(TOO_DEEP)
        await client.expect("room:error")
        await trio.sleep(seconds if number < 4 else 0)

    assert (client.link.closed is not None) is ends
    if ends:
        await client.expect_closed(CloseCode.BAD_REQUESTS)


async def test_who_is_too_fast_is_refused_then_disconnected(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """Events of any name cost the same."""
    house = await build(rate_limits=True, requests_per_second=1, request_burst=3)
    client = await house.connect()
    client.emit("agent:status")
    client.emit("heartbeat", ack=0)
    await client.expect_ack(0, ok=True)

    client.emit("heartbeat", ack=1)
    await client.expect_refused(1, ReplyCode.RATE_LIMITED)
    for _ in range(50):
        client.emit("agent:status")

    await client.expect_closed(CloseCode.RATE_LIMITED)


@pytest.mark.parametrize("packet", ["37[]", "1/other,"], ids=["acknowledgement", "disconnect elsewhere"])
async def test_what_is_ignored_costs_as_much(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]], packet: str
) -> None:
    """Who keeps sending packets that mean nothing is disconnected."""
    house = await build(rate_limits=True, requests_per_second=1, request_burst=3)
    client = await house.connect()
    for _ in range(6):
        client.say(packet)

    await client.expect_closed(CloseCode.RATE_LIMITED)


async def test_connecting_again_does_not_make_one_faster(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """A CONNECT costs as much as an event, and what was spent before it stays spent."""
    house = await build(rate_limits=True, requests_per_second=1, request_burst=6)
    client = await house.connect()
    for number in range(4):
        client.emit("heartbeat", ack=number)
        await client.expect_ack(number, ok=True)
    client.say("1")
    client.pid = client.offset = None
    await client.connect()
    client.emit("heartbeat", ack=5)
    await client.expect_refused(5, ReplyCode.RATE_LIMITED)
    client.say("1")

    client.ask_to_connect()
    await client.expect_connect_error(ReplyCode.RATE_LIMITED)

    await trio.sleep(4)
    client.pid = None
    await client.connect()


@pytest.mark.parametrize("extra", [None, {"mood": "good"}])
async def test_an_edit_may_change_metadata(house: House, extra: dict[str, Any] | None) -> None:
    """Without any they stay."""
    ada, _ = await in_a_room(house)
    ada.emit("message:edit", "m", "new", {"tag": 1})
    await ada.expect("message:update", {"id": "m", "content": "new", "metadata": {"tag": 1}, "teamId": "r"})

    ada.emit("message:edit", "m", "newer", extra)

    (said, _) = await ada.expect("message:update")
    assert said["metadata"] == ({"tag": 1} if extra is None else extra)


async def test_an_edit_finds_its_room(house: House) -> None:
    """The message is in one of those the client has joined, and only that one hears of it."""
    ada = await house.connect("ada", "r", "s", "t")
    ada.emit("message:send", {"teamId": "s", "content": "c", "id": "m"})
    await ada.hear()

    ada.emit("message:edit", "m", "new")
    (said, _) = await ada.expect("message:update")
    ada.emit("message:delete", "m")

    assert said["teamId"] == "s"
    assert await ada.expect("message:delete", "m")
    assert ada.places == {"r": 0, "s": 3, "t": 0}


async def test_an_edit_finds_no_message_of_other_rooms(house: House) -> None:
    """Whoever has not joined the room cannot even learn that it is there."""
    ada, _ = await in_a_room(house)
    eve = await house.connect("ada", "s")

    eve.emit("message:edit", "m", "new", ack=1)

    await eve.expect_refused(1, ReplyCode.NOT_FOUND)
    await ada.expect_nothing()


async def test_an_id_in_two_rooms_is_ambiguous(house: House) -> None:
    """Nothing is changed on a guess; having left one of them it is clear."""
    ada = await house.connect("ada", "r", "s")
    for room in ("r", "s"):
        ada.emit("message:send", {"teamId": room, "content": "c", "id": "m"})
    await ada.hear()

    ada.emit("message:delete", "m", ack=1)
    await ada.expect_refused(1, ReplyCode.CONFLICT)
    ada.emit("room:leave", "r")
    await ada.expect("room:left")
    ada.emit("message:delete", "m")

    await ada.expect("message:delete", "m")
    assert ada.places == {"s": 2}


async def test_deleting_twice_is_acknowledged_twice(house: House) -> None:
    """A client that got no answer asks again, and the answer is the same."""
    ada, bob = await in_a_room(house)

    ada.emit("message:delete", "m", ack=1)
    await ada.expect("message:delete")
    first = await ada.expect_ack(1, ok=True, duplicate=False)
    ada.emit("message:delete", "m", ack=2)

    assert await ada.expect_ack(2) == first | {"duplicate": True}
    assert len(await bob.hear()) == 1


async def test_sending_twice_under_one_id_is_one_message(house: House) -> None:
    """The second acknowledgement says so."""
    ada, bob = await in_a_room(house)

    ada.emit("message:send", {"teamId": "r", "content": "c", "id": "m"}, ack=1)

    await ada.expect_ack(1, ok=True, id="m", seq=1, duplicate=True)
    await bob.expect_nothing()


async def test_somebody_elses_message_is_not_ones_own_to_change(guarded: House) -> None:
    """Nor to delete, without a moderator's token."""
    bob = await guarded.call({"token": guarded.token("bob")}).connect()
    await bob.join("r")
    async with guarded.lobby.join("r", user="ada") as seat:
        await seat.post("c", key="m")
    await bob.hear()

    bob.emit("message:edit", "m", "new", ack=1)
    await bob.expect_refused(1, ReplyCode.FORBIDDEN)
    bob.emit("message:delete", "m", ack=2)

    await bob.expect_refused(2, ReplyCode.FORBIDDEN)


async def test_typing_stops_by_itself(autojump_clock: MockClock, house: House) -> None:
    """After thirty seconds, for the others; who joins meanwhile is told."""
    ada, bob = await in_a_room(house)
    ada.emit("typing:start", "r")
    await bob.expect("typing:start")
    eve = await house.connect("eve", "r")
    (said, _) = await eve.expect("typing:start")
    await bob.hear()

    await trio.sleep(31)

    assert (said["userId"], said["teamId"]) == ("ada", "r")
    await bob.expect("typing:stop")
    await eve.expect("typing:stop")
    assert "typing:stop" not in [name for name, _ in await ada.hear()]


# Rooms


async def test_joining_again_sends_the_history_again(house: House) -> None:
    """A front end that starts over asks for it; nobody else notices."""
    ada, bob = await in_a_room(house)

    ada.emit("room:join", "r", ack=1)

    answer = await ada.expect_ack(1, ok=True, recovered=False, seq=1)
    messages, about, _ = await ada.expect("messages:history")
    assert [message["id"] for message in messages] == ["m"]
    assert about == {"teamId": "r", "epoch": answer["epoch"], "seq": 1}
    for name in LISTS:
        await ada.expect(name)
    assert house.members_of("r") == 2
    await bob.expect_nothing()


async def test_history_is_not_sent_to_who_does_not_read(house: House) -> None:
    """Joining again and again fills nobody's memory."""
    ada, _ = await in_a_room(house)
    ada.link.behind = True

    ada.emit("room:join", "r", ack=1)

    await ada.expect_refused(1, ReplyCode.OVERLOADED)


async def test_only_so_many_joins_wait_for_a_room(house: House) -> None:
    """Each may bring a whole history. When the room has answered there is room for more."""
    ada, bob = await in_a_room(house)
    gate = Gate(house.hot, "append")
    bob.emit("message:send", {"teamId": "r", "content": "c"})
    await wait_all_tasks_blocked()
    for _ in range(4):
        ada.emit("room:join", "r")

    ada.emit("room:join", "r", ack=1)
    await ada.expect_refused(1, ReplyCode.OVERLOADED)
    ada.emit("room:join", "s")
    gate.open()

    names = [name for name, _ in await ada.hear()]
    assert names.count("messages:history") == 5
    await ada.join("r")


async def test_a_token_opens_its_rooms_only(guarded: House) -> None:
    """Whether or not the others exist."""
    client = await guarded.call({"token": guarded.token(rooms=("r",))}).connect()
    client.emit("room:join", "s", ack=1)

    await client.expect_refused(1, ReplyCode.FORBIDDEN)
    await client.join("r")


async def test_a_client_may_be_in_so_many_rooms(build: Callable[..., Awaitable[House]]) -> None:
    """Joining one again is not one more."""
    house = await build(max_rooms_per_connection=2)
    client = await house.connect("ada", "r", "s")
    client.emit("room:join", "t", ack=1)

    await client.expect_refused(1, ReplyCode.TOO_MANY_ROOMS)
    await client.join("s")


async def test_the_offset_has_every_room(house: House) -> None:
    """What any room says leaves the places in the others as they were."""
    ada = await house.connect("ada", "r", "s")
    assert ada.places == {"r": 0, "s": 0}

    await house.post("one", "two", room="r")
    await ada.hear()
    assert ada.places == {"r": 2, "s": 0}
    await house.post("one", room="s")
    await ada.hear()

    assert ada.places == {"r": 2, "s": 1}


async def test_after_leaving_the_offset_has_the_others(house: House) -> None:
    """And in no room it is that of somebody who has left them all."""
    ada = await house.connect("ada", "r", "s")
    await house.post("one", room="s")
    await ada.hear()

    ada.emit("room:leave", "r")
    await ada.expect("room:left", {"teamId": "r"})
    assert ada.places == {"s": 1}
    ada.emit("room:leave", "s", ack=1)
    await ada.expect("room:left", {"teamId": "s"}, "-")

    await ada.expect_ack(1, ok=True)


async def test_in_one_room_all_get_the_same_bytes(house: House) -> None:
    """Encoding a message costs the same for two clients and for two thousand; who is in two rooms is told more."""
    ada, bob, eve = (
        await house.connect("ada", "r"),
        await house.connect("bob", "r"),
        await house.connect("eve", "r", "s"),
    )
    for client in (ada, bob, eve):
        await client.hear()

    await house.post("hi", user="dan")

    said = [(await client.hear())[1] for client in (ada, bob, eve)]
    assert said[0] == said[1] == said[2]
    assert ada.offset == bob.offset != eve.offset
    assert eve.places == ada.places | {"s": 0}


async def test_leaving_and_joining_at_once_ends_inside(house: House) -> None:
    """Requests to a room are carried out in order."""
    ada = await house.connect("ada", "r", "s")
    ada.emit("room:leave", "r")
    ada.emit("room:join", "r")

    assert [name for name, _ in await ada.hear()] == ["room:left", "messages:history", *LISTS]
    assert ada.places == {"r": 0, "s": 0}
    await house.post("hi")
    assert await ada.texts() == ["hi"]


async def test_joining_and_leaving_at_once_ends_outside(house: House) -> None:
    """The offset does not name the room."""
    ada = await house.connect("ada")
    ada.emit("room:join", "r")
    ada.emit("room:leave", "r")
    await ada.hear()

    assert ada.offset == "-"
    assert house.users_in("r") == set()


async def test_a_room_that_is_closed_puts_its_members_out(house: House) -> None:
    """They are told why, and may join again; who comes back is put into the rooms that are left."""
    ada = await house.connect("ada", "r", "s")
    house.lobby.rooms["r"].close("it failed")

    text, detail, _ = await ada.expect("room:error")
    assert (text, detail) == ("it failed", {"code": "room_closed", "temporary": True, "teamId": "r"})
    assert [name for name, _ in await ada.recover()] == LISTS
    assert house.users_in("s") == {"ada"}
    assert house.users_in("r") == set()
    await ada.join("r")


def lose_first_join(house: House) -> deque[Join]:
    """Keep the first join from its room, as the crash of a room does that concerns one mail. Returns where it is."""
    deliver, lost = house.lobby.mail, deque[Join]()

    def mail(room: str, mail: Mail) -> None:
        if isinstance(mail, Join) and not lost:
            lost.append(mail)
        else:
            deliver(room, mail)

    house.lobby.mail = mail  # type: ignore[method-assign] # nothing else makes a room fail on one mail
    return lost


@pytest.mark.parametrize("again", [["room:join"], ["room:leave", "room:join"]])
async def test_a_join_that_fails_before_another_leaves_no_ghost(house: House, again: list[str]) -> None:
    """A room may fail on the first and carry out the second: the client is in, and leaves when it goes."""
    lost = lose_first_join(house)
    ada = await house.connect()
    ada.emit("room:join", "r", ack=1)
    for name in again:
        ada.emit(name, "r")
    lost[0].answer(Unavailable("the room failed on this request"))
    await ada.hear()

    ada.emit("message:send", {"teamId": "r", "content": "c"}, ack=2)
    await ada.expect("message:new")
    await ada.expect_ack(2, ok=True)
    await ada.hang_up()

    assert house.users_in("r") == set()


# Coming back


async def test_who_comes_back_gets_what_was_missed(house: House) -> None:
    """Once, in order, under the same pid, and everything after it too."""
    ada, bob = await house.connect("ada", "r"), await house.connect("bob", "r")
    await house.post("one")
    await ada.hear()
    await ada.hang_up()
    for text in ("two", "three"):
        bob.emit("message:send", {"teamId": "r", "content": text})
    bob.emit("message:send", {"teamId": "r", "content": "four", "id": "m"})
    bob.emit("message:edit", "m", "five")
    await bob.hear()

    ada.come_back()
    await ada.expect_connected()
    heard = await ada.hear()
    await house.post("six")

    assert ada.recovered
    assert [name for name, _ in heard] == ["message:new"] * 3 + ["message:update", *LISTS]
    assert [said["content"] for _, said in heard[:4]] == ["two", "three", "five", "five"]
    assert set(heard[-1][1]) == {"ada", "bob"}
    assert await ada.texts() == ["six"]
    assert ada.places == {"r": 6}


async def test_who_missed_nothing_gets_the_lists(house: House) -> None:
    """And no welcome, which would take the offset away."""
    ada = await house.connect("ada", "r")

    assert [name for name, _ in await ada.recover()] == LISTS
    assert [name for name, _ in await ada.recover()] == LISTS


async def test_what_was_on_its_way_comes_again(house: House) -> None:
    """What the client has not heard it has missed, whatever the server has sent."""
    ada = await house.connect("ada", "r")
    await house.post("one", "two", "three")
    await wait_all_tasks_blocked()
    while ada.offset is None or "one" not in str(ada.link.said[0].data):
        await ada.next(socketio.packet.EVENT)
    await ada.expect("message:new")

    heard = await ada.recover()

    assert [said["content"] for name, said in heard if name == "message:new"] == ["two", "three"]


async def test_a_history_that_did_not_arrive_is_sent_in_the_replay(house: House) -> None:
    """The client has joined, as far as the server knows, and has no place in the room."""
    await house.post("one")
    ada = await house.connect("ada", "s")
    ada.emit("room:join", "r")
    await wait_all_tasks_blocked()

    heard = await ada.recover()

    # Rooms answer in any order.
    assert sorted(name for name, _ in heard) == sorted(["messages:history", *LISTS, *LISTS])
    assert ada.places == {"r": 1, "s": 0}


async def test_a_join_on_its_way_is_carried_out_in_the_replay(house: House) -> None:
    """The room had not even answered when the connection was lost."""
    ada = await house.connect("ada")
    ada.emit("room:join", "r")

    heard = await ada.recover()

    assert [name for name, _ in heard] == ["messages:history", *LISTS]


@pytest.mark.parametrize("offset", [None, 7, ["0"], {}])
async def test_without_an_offset_the_history_comes(house: House, offset: Any) -> None:
    """A client that says nothing about where it is, is nowhere."""
    ada = await house.connect("ada", "r")
    await house.post("one")
    await ada.hang_up()
    ada.offset = None
    ada.auth = ada.auth | {"offset": offset}

    ada.come_back()
    await ada.expect_connected()

    assert ada.recovered
    assert [name for name, _ in await ada.hear()] == ["messages:history", *LISTS]


async def test_a_heartbeat_does_not_take_the_offset(house: House) -> None:
    """A client keeps the last text of any event, its name included."""
    ada = await house.connect("ada", "r")
    ada.emit("heartbeat")
    await ada.expect("heartbeat")

    assert [name for name, _ in await ada.recover()] == LISTS


async def test_who_comes_back_is_put_into_each_room(house: House) -> None:
    """It gets what it missed in each, and hears both from then on."""
    ada = await house.connect("ada", "r", "s")
    await ada.hang_up()
    await house.post("one", "two", room="r")
    await house.post("three", room="s")

    heard = await ada.recover()
    await house.post("four", room="r")
    await house.post("five", room="s")

    missed = [(said["teamId"], said["content"]) for name, said in heard if name == "message:new"]
    assert sorted(missed) == [("r", "one"), ("r", "two"), ("s", "three")]
    assert await ada.texts() == ["four", "five"]
    assert ada.places == {"r": 3, "s": 2}


@pytest.mark.parametrize("heard", range(9))
async def test_a_replay_of_two_rooms_may_be_cut_anywhere(house: House, heard: int) -> None:
    """Whatever part arrived, the rest comes with the next connection: nothing is missed, nothing comes twice."""
    ada = await house.connect("ada", "r", "s")
    await ada.hang_up()
    await house.post("r1", "r2", room="r")
    await house.post("s1", "s2", room="s")
    ada.come_back()
    await ada.expect_connected()
    texts: list[str] = []
    for _ in range(heard):
        if ada.link.said:
            packet = await ada.next(socketio.packet.EVENT)
            texts += [packet.data[1]["content"]] if packet.data[0] == "message:new" else []
    await ada.hang_up()
    await house.post("r3", room="r")
    await house.post("s3", room="s")

    texts += [said["content"] for name, said in await ada.recover() if name == "message:new"]

    assert sorted(texts) == ["r1", "r2", "r3", "s1", "s2", "s3"]
    assert [text for text in texts if text[0] == "r"] == ["r1", "r2", "r3"]
    assert ada.places == {"r": 3, "s": 3}


async def nobody_new(ada: Client, pid: str | None) -> None:
    """Expect to be connected as somebody new, in no room."""
    await ada.expect_connected()
    assert ada.pid != pid
    assert not ada.recovered
    await ada.expect("welcome")
    await ada.expect_nothing()
    assert ada.offset == "0"


async def test_if_one_room_cannot_be_recovered_none_is(build: Callable[..., Awaitable[House]]) -> None:
    """Too much has happened in one of them: the client begins anew, and nobody takes it for a member."""
    house = await build(max_messages_per_session=2)
    bob = await house.connect("bob", "r", "s", "t")
    await house.post("zero", room="s")
    ada = await house.connect("ada", "r", "s", "t")
    await bob.hear()
    await ada.hang_up()
    await house.post("one", "two", "three", room="s", user="eve")
    await bob.hear()
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)
    assert [house.users_in(room) for room in "rst"] == [{"bob"}] * 3
    present = {room: {"bob"} for room in "rst"}
    for name, said in await bob.hear():
        assert name == "presence:update"
        change = set.add if said["isActive"] else set.discard
        change(present[said["teamId"]], said["userId"])
    assert present == {room: {"bob"} for room in "rst"}
    assert house.recoveries.statistics() == RecoveryStatistics(held=2, away=0, unwritten=1)
    assert [message["content"] for message in await ada.join("s")] == ["two", "three"]


async def test_a_session_that_expired_cannot_be_recovered(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """Its messages are gone from the window: the client begins anew."""
    house = await build(session_expiry_seconds=60)
    ada = await house.connect("ada", "r")
    await house.post("one")
    await ada.hear()
    await trio.sleep(59)
    await ada.hang_up()
    await trio.sleep(30)
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)
    assert await ada.join() == []


async def test_after_a_session_has_expired_its_members_are_recovered_in_the_next(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """Whoever was told of the end and heard a message since is in the new session."""
    house = await build(session_expiry_seconds=60)
    ada = await house.connect("ada", "r")
    await house.post("one")
    await ada.hear()
    await trio.sleep(61)
    await ada.expect("session:expired")
    await house.post("two")
    await ada.hear()
    await ada.hang_up()
    await house.post("three")

    ada.come_back()
    await ada.expect_connected()

    assert ada.recovered
    assert await ada.texts() == ["three"]


async def test_a_session_that_expires_spoils_no_other_room(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """Whoever was told of the end is at the beginning of the next: that room's new window comes in the replay."""
    house = await build(session_expiry_seconds=60)
    ada = await house.connect("ada", "r", "s")
    await house.post("one", room="r")
    await trio.sleep(30)
    await house.post("two", room="s")
    await ada.hear()
    await trio.sleep(31)
    (said, _) = await ada.expect("session:expired")
    assert said["teamId"] == "r"
    assert ada.places == {"r": 0, "s": 1}
    await ada.hang_up()
    await house.post("three", room="s")
    await house.post("four", room="r")

    heard = await ada.recover()

    assert sorted(name for name, _ in heard) == sorted(["message:new", "messages:history", *LISTS, *LISTS])
    assert [said["content"] for name, said in heard if name == "message:new"] == ["three"]
    assert [said[0]["content"] for name, said in heard if name == "messages:history"] == ["four"]
    assert ada.places == {"r": 1, "s": 2}


# What happened while a client was away that had the empty history of a session; and whether it still fits.
SINCE_NOTHING = [
    pytest.param([], True, id="nothing"),
    pytest.param(["post", "post"], True, id="a whole window"),
    pytest.param(["post", "post", "post"], False, id="more than a window"),
    pytest.param(["post", "edit"], False, id="an edit, of which it must learn the number"),
    pytest.param(["post", "delete"], False, id="a deletion"),
]


async def happen(house: House, changes: list[str]) -> None:
    """Let things happen in the room "r"."""
    async with house.lobby.join("r", user="eve") as seat:
        newest = ""
        for change in changes:
            if change == "post":
                newest = (await seat.post("text")).id
            elif change == "edit":
                await seat.edit(newest, "other text")
            else:
                await seat.delete(newest)


@pytest.mark.parametrize(("changes", "recovered"), SINCE_NOTHING)
async def test_who_was_at_the_beginning_is_recovered_in_the_next_session_if_all_is_there(
    autojump_clock: MockClock,
    build: Callable[..., Awaitable[House]],
    changes: list[str],
    recovered: bool,
) -> None:
    """Numbers count from one: as many messages as numbers are all there ever were. Else nobody says "recovered"."""
    house = await build(session_expiry_seconds=60, max_messages_per_session=2)
    ada = await house.connect("ada", "r")
    await house.post("old")
    await ada.hear()
    await trio.sleep(61)
    await ada.expect("session:expired")
    await ada.hang_up()
    await happen(house, changes)
    pid = ada.pid

    ada.come_back()

    if recovered:
        await ada.expect_connected()
        assert ada.recovered
        (name, messages), *_ = await ada.hear()
        assert (name, len(messages)) == ("messages:history", len(changes))
    else:
        await nobody_new(ada, pid)


async def test_who_was_at_the_beginning_has_missed_more_than_a_window(
    build: Callable[..., Awaitable[House]],
) -> None:
    """In the session itself too: what was pushed out of the window meanwhile never comes."""
    house = await build(max_messages_per_session=2)
    await house.connect("bob", "r")
    ada = await house.connect("ada", "r")
    assert ada.places == {"r": 0}
    await ada.hang_up()
    await happen(house, ["post"] * 3)
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)
    assert len(await ada.join("r")) == 2


async def test_who_was_at_the_beginning_gets_every_change(build: Callable[..., Awaitable[House]]) -> None:
    """In the session itself, as at any other place of it."""
    house = await build(max_messages_per_session=2)
    await house.connect("bob", "r")
    ada = await house.connect("ada", "r")
    await ada.hang_up()
    await happen(house, ["post", "edit"])

    heard = await ada.recover()

    assert [name for name, _ in heard] == ["message:new", "message:update", *LISTS]
    assert ada.places == {"r": 2}


async def test_who_is_in_too_many_rooms_begins_anew(monkeypatch: pytest.MonkeyPatch, house: House) -> None:
    """Its offset would not fit into a message: it is told so, and so it tells."""
    ada = await house.connect("ada", "r", "s")
    monkeypatch.setattr(offsets, "MAX_OFFSET", 10)
    await house.post("one")
    await ada.hear()
    await ada.hang_up()
    pid = ada.pid

    assert ada.offset == "*"
    ada.come_back()

    await nobody_new(ada, pid)


async def test_a_token_for_fewer_rooms_recovers_none(guarded: House) -> None:
    """What was allowed once is checked again."""
    ada = await guarded.call({"token": guarded.token()}).connect()
    await ada.join("r")
    await ada.join("s")
    await ada.hang_up()
    pid = ada.pid
    ada.auth = {"token": guarded.token(rooms=("r",))}

    ada.come_back()

    await nobody_new(ada, pid)
    assert guarded.users_in("r") == set()


async def test_a_room_with_too_much_mail_cannot_be_recovered(build: Callable[..., Awaitable[House]]) -> None:
    """The client begins anew, in no room, and is told so."""
    house = await build(mailbox_limit=1)
    ada = await house.connect("ada", "a", "r")
    bob = await house.connect("bob", "r")
    await ada.hang_up()
    gate = Gate(house.hot, "append")
    bob.emit("message:send", {"teamId": "r", "content": "c"})
    await wait_all_tasks_blocked()
    bob.emit("message:send", {"teamId": "r", "content": "c"})
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)
    gate.open()
    await wait_all_tasks_blocked()
    assert house.users_in("a") == set()
    assert house.users_in("r") == {"bob"}


async def test_a_room_that_is_closed_meanwhile_cannot_be_recovered(house: House) -> None:
    """The answer is no history, so the client begins anew."""
    ada = await house.connect("ada", "a", "r")
    bob = await house.connect("bob", "r")
    await ada.hang_up()
    gate = Gate(house.hot, "append")
    bob.emit("message:send", {"teamId": "r", "content": "c"})
    await wait_all_tasks_blocked()
    pid = ada.pid
    ada.come_back()
    await ada.expect_nothing()

    house.lobby.rooms["r"].close("it failed")

    await nobody_new(ada, pid)
    gate.open()
    await wait_all_tasks_blocked()
    assert house.users_in("a") == set()


async def test_another_user_is_not_put_into_the_rooms(house: House) -> None:
    """Whoever knows the secret of somebody else is somebody new, and the other may still come back."""
    ada = await house.connect("ada", "r")
    await ada.hang_up()
    eve = house.call({"userId": "eve", "pid": ada.pid, "offset": ada.offset})
    eve.ask_to_connect()

    await nobody_new(eve, ada.pid)
    assert [name for name, _ in await ada.recover()] == LISTS


async def test_another_user_does_not_end_a_connection(house: House) -> None:
    """Knowing the secret takes nothing from who is connected."""
    ada = await house.connect("ada", "r")
    eve = house.call({"userId": "eve", "pid": ada.pid, "offset": ada.offset})
    eve.ask_to_connect()

    await nobody_new(eve, ada.pid)
    assert ada.link.closed is None


@pytest.mark.parametrize("pid", ["nobody", "", "*", "ä", "x" * 1000])
async def test_an_unknown_pid_is_somebody_new(house: House, pid: str) -> None:
    """Another server's, perhaps."""
    ada = house.call({"userId": "ada", "pid": pid, "offset": "xyz"})
    ada.ask_to_connect()

    await nobody_new(ada, pid)


@pytest.mark.parametrize(
    ("pid", "offset"), [(7, "0"), (None, "0"), (["x"], "0"), ("x", "heartbeat"), ("x", "")]
)
async def test_what_is_no_way_back_is_overlooked(house: House, pid: Any, offset: Any) -> None:
    """The client is somebody new, whatever it says."""
    ada = house.call()
    ada.say("0" + json.dumps({"userId": "ada", "pid": pid, "offset": offset}))

    await nobody_new(ada, pid)


async def test_who_disconnected_on_purpose_is_somebody_new(house: House) -> None:
    """And nothing is kept of it."""
    ada = await house.connect("ada", "r")
    ada.say("1")
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)
    assert house.users_in("r") == set()


async def test_whose_time_is_up_is_somebody_new(
    autojump_clock: MockClock, build: Callable[..., Awaitable[House]]
) -> None:
    """Although the room's session goes on."""
    house = await build(session_expiry_seconds=60)
    ada = await house.connect("ada", "r")
    await ada.hang_up()
    for _ in range(3):
        await house.post("hi")
        await trio.sleep(20.1)
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)


async def test_who_comes_back_in_no_room_is_somebody_new(house: House) -> None:
    """There is nothing to recover, and the client had better join as it does at first."""
    ada = await house.connect("ada", "r")
    ada.emit("room:leave", "r")
    await ada.hear()
    await ada.hang_up()
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)


async def test_who_is_away_too_often_is_somebody_new(house: House) -> None:
    """A user may have fifty clients away, and this was the first. One that has come back is not away."""
    back = await house.connect("ada", "r")
    await back.recover()
    first = await house.connect("ada", "r")
    second = await house.connect("ada", "r")
    for client in (first, second):
        await client.hang_up()
    for _ in range(49):
        await (await house.connect("ada", "r")).hang_up()
    pid = first.pid

    first.come_back()

    await nobody_new(first, pid)
    assert house.recoveries.statistics() == RecoveryStatistics(held=2, away=50, unwritten=51)
    await second.recover()
    await back.recover()


# Clients that cannot come back


@pytest.mark.parametrize(
    ("query", "agent", "plain"),
    [
        ("", "", False),
        ("", "Mozilla/5.0 (X11; Linux x86_64)", False),
        ("", "Python/3.12 aiohttp/3.11.0", True),
        ("", "python-requests/2.32", True),
        ("", "Dart/3.5 (dart:io)", True),
        ("recovery=0", "Mozilla/5.0", True),
        ("EIO=4&recovery=false&transport=websocket", "", True),
        ("recovery=1", "python-requests/2.32", False),
        ("recovery=1", "Dart/3.5 (dart:io)", False),
        ("recovery=1&recovery=0", "", True),
        ("recovery=", "", False),
        ("recovery", "python", True),
    ],
)
async def test_a_client_says_or_shows_whether_it_can_come_back(
    house: House, query: str, agent: str, plain: bool
) -> None:
    """What it says in the address counts more than what its library is called."""
    client = house.call({"userId": "ada"}, query, User_Agent=agent)
    client.plain = plain
    client.ask_to_connect()
    await client.expect_connected()

    said = await client.expect("welcome")

    assert said[1:] == ([] if plain else ["0"])


async def test_who_cannot_come_back_gets_bare_arguments(house: House) -> None:
    """No event ends with an offset, whatever it is about: a handler may take no more than it expects."""
    pia = await house.call_plain("pia").connect()
    for room in ("r", "s"):
        pia.emit("room:join", room)
    bob = await house.connect("bob", "r")
    pia.emit("message:send", {"teamId": "r", "content": "c", "id": "m"})
    bob.emit("typing:start", "r")
    bob.emit("receipt:update", {"teamId": "r", "lastReadMessageId": "m"})
    pia.emit("message:edit", "m", "new")
    pia.emit("message:delete", "m")
    pia.emit("room:leave", "s")
    await wait_all_tasks_blocked()

    heard = {packet.data[0]: packet.data[1:] for packet in pia.link.said}

    assert {len(args) for args in heard.values()} == {1}
    assert set(heard) == {
        *("messages:history", "receipt:list", "presence:list", "presence:update", "room:left"),
        *("message:new", "message:update", "message:delete", "typing:start", "receipt:update"),
    }


async def test_those_who_can_come_back_and_those_who_cannot_hear_the_same(house: House) -> None:
    """In one room, in one order: but for the offsets, and which room a list is about."""
    ada, pia = await house.connect("ada"), await house.call_plain("pia").connect()
    eve = await house.connect("eve", "r")
    for client, name, *args in [
        (ada, "room:join", "r"),
        (pia, "room:join", "r"),
        (eve, "message:send", {"teamId": "r", "content": "one", "id": "m"}),
        (pia, "message:send", {"teamId": "r", "content": "two"}),
        (ada, "receipt:update", {"teamId": "r", "lastReadMessageId": "m"}),
        (eve, "message:edit", "m", "new"),
        (eve, "message:delete", "m"),
        (eve, "room:leave", "r"),
    ]:
        client.emit(name, *args)
        await wait_all_tasks_blocked()

    ours, theirs = await ada.hear(), await pia.hear()

    joined = ["messages:history", *LISTS]
    changes = ["message:new", "message:new", "receipt:update", "message:update", "message:delete"]
    assert [name for name, _ in theirs] == [*joined, *changes, "presence:update"]
    # Pia came later: ada has heard of it, and her lists are without her.
    assert [name for name, _ in ours] == [*joined, "presence:update", *changes, "presence:update"]
    assert ours[4:] == theirs[3:]
    assert ours[:2] == theirs[:2]


async def test_nothing_is_kept_of_who_cannot_come_back(autojump_clock: MockClock, house: House) -> None:
    """Neither here nor in the hot store."""
    house.nursery.start_soon(house.recoveries.run)
    await trio.sleep(1)
    gate = Gate(house.hot, "keep")  # nobody goes through
    pia = await house.call_plain("pia").connect()
    pia.emit("room:join", "r")
    await pia.hear()
    assert house.recoveries.statistics() == RecoveryStatistics(held=1, away=0, unwritten=0)
    assert not gate.reached

    await pia.hang_up()

    assert house.users_in("r") == set()
    assert house.recoveries.statistics() == RecoveryStatistics(held=0, away=0, unwritten=0)


async def test_who_cannot_come_back_is_somebody_new_with_any_pid(house: House) -> None:
    """Even with a good one, which stays good for whoever can."""
    ada = await house.connect("ada", "r")
    await ada.hang_up()
    again = house.call_plain("ada")
    again.auth |= {"pid": ada.pid, "offset": ada.offset}

    await again.connect()

    assert house.users_in("r") == set()
    assert [name for name, _ in await ada.recover()] == LISTS


# Coming back before the server knows that one was gone


async def test_who_comes_back_takes_the_place_of_its_old_connection(house: House) -> None:
    """The old link ends, the others see no coming and going, and there is one member of it."""
    bob = await house.connect("bob", "r")
    ada = await house.connect("ada", "r")
    await bob.hear()
    await house.post("one")
    await bob.hear()

    old = ada.come_back()
    await ada.expect_connected()
    heard = await ada.hear()

    assert ada.recovered
    assert [name for name, _ in heard] == ["message:new", *LISTS]
    assert old.closed == (CloseCode.NORMAL, "you have come back on another connection")
    await bob.expect_nothing()
    assert house.members_of("r") == 2
    assert house.recoveries.statistics().held == 2


async def test_an_old_connection_says_nothing_more(house: House) -> None:
    """And takes nothing with it when it ends."""
    ada = await house.connect("ada", "r")
    old = ada.come_back()
    await ada.expect_connected()
    await ada.hear()
    old.said.clear()

    await house.post("one")

    assert await ada.texts() == ["one"]
    assert not old.said
    assert [name for name, _ in await ada.recover()] == LISTS


async def test_coming_back_needs_no_further_connection(build: Callable[..., Awaitable[House]]) -> None:
    """The old one counts no longer."""
    house = await build(max_connections_per_user=1)
    ada = await house.connect("ada", "r")

    ada.come_back()
    await ada.expect_connected()

    assert ada.recovered
    await wait_all_tasks_blocked()
    assert house.registry.statistics().connections == 1


async def test_coming_back_in_no_room_needs_no_further_connection(
    build: Callable[..., Awaitable[House]],
) -> None:
    """Although nothing is recovered, the old connection is known to be gone."""
    house = await build(max_connections_per_user=1)
    ada = await house.connect("ada")
    pid = ada.pid

    old = ada.come_back()

    await nobody_new(ada, pid)
    assert old.closed is not None
    assert house.registry.statistics().connections == 1
    assert house.recoveries.statistics() == RecoveryStatistics(held=1, away=0, unwritten=0)


async def test_who_comes_back_twice_at_once_is_there_once(house: House) -> None:
    """The last connection is the client's, although it has not heard what the one before was told."""
    bob = await house.connect("bob", "r")
    ada = await house.connect("ada", "r")
    await bob.hear()
    first = ada.come_back()
    await wait_all_tasks_blocked()
    second = ada.come_back()

    await ada.expect_connected()
    await ada.hear()

    assert first.closed is not None
    assert second.closed is not None
    assert ada.recovered
    assert house.members_of("r") == 2
    await bob.expect_nothing()
    await house.post("one")
    assert await ada.texts() == ["one"]


async def test_who_comes_back_while_coming_back_is_there_once(house: House) -> None:
    """A connection that waits for its rooms gives way as any other does."""
    ada, bob = await house.connect("ada", "a", "r"), await house.connect("bob", "r")
    await ada.hang_up()
    gate = Gate(house.hot, "append")
    bob.emit("message:send", {"teamId": "r", "content": "c"})
    await wait_all_tasks_blocked()
    ada.come_back()
    await ada.expect_nothing()
    first = ada.come_back()
    await ada.expect_nothing()

    gate.open()
    await ada.expect_connected()

    assert ada.recovered
    assert first.closed is not None
    assert not first.said
    assert await ada.texts() == ["c"]
    assert house.members_of("a") == 1
    assert house.members_of("r") == 2


# Coming back while rooms take their time


async def waiting(house: House) -> tuple[Client, Gate]:
    """Return ada, who comes back to "a", which has answered, and to "r", which has not."""
    ada = await house.connect("ada", "a", "r")
    bob = await house.connect("bob", "r")
    await ada.hear()
    await ada.hang_up()
    await house.post("a1", room="a", user="eve")
    gate = Gate(house.hot, "append")
    bob.emit("message:send", {"teamId": "r", "content": "r1"})
    await wait_all_tasks_blocked()
    ada.come_back()
    await ada.expect_nothing()
    return ada, gate


async def test_what_is_said_until_the_last_room_answers_comes_behind_it(house: House) -> None:
    """Neither lost nor twice, and in the order of each room."""
    ada, gate = await waiting(house)
    await house.post("a2", "a3", room="a", user="eve")
    await ada.expect_nothing()

    gate.open()
    await ada.expect_connected()
    heard = await ada.hear()
    await house.post("r2", user="eve")
    await house.post("a4", room="a", user="eve")

    assert ada.recovered
    texts = [said["content"] for name, said in heard if name == "message:new"]
    assert texts == ["a1", "r1", "a2", "a3"]
    assert await ada.texts() == ["r2", "a4"]
    assert ada.places == {"a": 4, "r": 2}


@pytest.mark.parametrize("count", range(12))
async def test_what_was_held_may_be_cut_anywhere(house: House, count: int) -> None:
    """Each event's offset says what has arrived, of what was missed and of what was held."""
    ada, gate = await waiting(house)
    await house.post("a2", "a3", room="a", user="eve")
    gate.open()
    await ada.expect_connected()
    texts: list[str] = []
    for _ in range(min(count, len(ada.link.said))):
        packet = await ada.next(socketio.packet.EVENT)
        texts += [packet.data[1]["content"]] if packet.data[0] == "message:new" else []

    texts += [said["content"] for name, said in await ada.recover() if name == "message:new"]

    assert sorted(texts) == ["a1", "a2", "a3", "r1"]


async def test_who_hangs_up_while_coming_back_may_come_back(house: House) -> None:
    """It has been told nothing, so it has missed nothing more."""
    ada, gate = await waiting(house)
    await ada.hang_up()
    gate.open()
    await wait_all_tasks_blocked()
    assert house.users_in("a") == set()

    ada.come_back()
    await ada.expect_connected()

    assert ada.recovered
    assert sorted(await ada.texts()) == ["a1", "r1"]


@pytest.mark.parametrize("event", ['2["heartbeat"]', TOO_DEEP])
async def test_an_event_before_the_answer_ends_the_session(house: House, event: str) -> None:
    """A client that comes back is not connected until it is told so."""
    ada, gate = await waiting(house)
    ada.say(event)

    await ada.expect_closed(CloseCode.PROTOCOL_ERROR)
    gate.open()
    await wait_all_tasks_blocked()
    assert house.users_in("a") == set()


async def test_who_disconnects_while_coming_back_is_gone(house: House) -> None:
    """On purpose: it is told nothing, and is nobody when it comes back."""
    ada, gate = await waiting(house)
    ada.say("1")
    gate.open()
    await ada.expect_nothing()
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)
    assert house.users_in("a") == set()
    assert house.users_in("r") == {"bob"}


async def test_a_room_that_puts_one_out_while_coming_back_is_told_of(house: House) -> None:
    """The client hears that it is out, and the offset of what follows does not matter there."""
    ada, gate = await waiting(house)
    house.lobby.rooms["a"].close("it failed")
    gate.open()
    await ada.expect_connected()
    heard = await ada.hear()

    assert ada.recovered
    assert ("room:error", "it failed") in heard
    assert [name for name, _ in await ada.recover()] == LISTS
    assert house.users_in("r") == {"ada", "bob"}


# Coming back to another process


async def test_an_empty_room_does_not_keep_one_from_the_others(
    autojump_clock: MockClock, house: House
) -> None:
    """No store knows a session without a message: after a restart it is another one, whose history comes."""
    house.nursery.start_soon(house.recoveries.run)
    await trio.sleep(1)
    ada = await house.connect("ada", "r", "s")
    await house.post("one")
    await ada.hear()
    await house.restart()
    await house.post("two")
    await house.post("three", room="s")

    ada.come_back()
    await ada.expect_connected()
    heard = await ada.hear()

    assert ada.recovered
    assert sorted(name for name, _ in heard) == sorted(["message:new", "messages:history", *LISTS, *LISTS])
    assert [said["content"] for name, said in heard if name == "message:new"] == ["two"]
    assert [said[0]["content"] for name, said in heard if name == "messages:history"] == ["three"]
    assert ada.places == {"r": 2, "s": 1}


async def test_who_comes_back_after_a_restart_is_recovered(autojump_clock: MockClock, house: House) -> None:
    """The rooms are noted in the hot store: what was missed comes once, as if nothing had happened."""
    house.nursery.start_soon(house.recoveries.run)
    await trio.sleep(1)
    ada = await house.connect("ada", "r", "s")
    await house.post("one", room="r")
    await house.post("two", room="s")
    await ada.hear()
    await house.restart()
    await house.post("three", room="r")
    await house.post("four", room="s")

    ada.come_back()
    await ada.expect_connected()

    assert ada.recovered
    assert sorted(await ada.texts()) == ["four", "three"]
    await house.post("five")
    assert await ada.texts() == ["five"]
    assert ada.places == {"r": 3, "s": 2}


async def test_who_has_no_offset_after_a_restart_gets_the_history(
    autojump_clock: MockClock, house: House
) -> None:
    """Nothing has reached it, so there is nothing that the note could be older than."""
    house.nursery.start_soon(house.recoveries.run)
    await trio.sleep(1)
    ada = await house.connect("ada", "r")
    await house.post("one")
    await ada.hear()
    await house.restart()
    ada.offset = None

    ada.come_back()
    await ada.expect_connected()

    assert ada.recovered
    assert [name for name, _ in await ada.hear()] == ["messages:history", *LISTS]


async def test_who_left_its_rooms_is_not_put_back_by_an_old_note(
    autojump_clock: MockClock, house: House
) -> None:
    """The server was killed before the note was replaced: the client knows better."""
    house.nursery.start_soon(house.recoveries.run)
    await trio.sleep(1)
    ada = await house.connect("ada", "r")
    await ada.hear()
    gate = Gate(house.hot, "keep")
    ada.emit("room:leave", "r")
    await ada.expect("room:left")
    await house.restart()
    pid = ada.pid

    ada.come_back()

    await nobody_new(ada, pid)
    assert house.users_in("r") == set()
    gate.open()


async def test_while_the_store_is_asked_nobody_is_connected(autojump_clock: MockClock, house: House) -> None:
    """A second CONNECT or an event ends the session, as at any time."""
    gate = Gate(house.hot, "kept")
    ada = house.call({"userId": "ada", "pid": "somebody"})
    ada.ask_to_connect()
    await ada.expect_nothing()
    ada.ask_to_connect()
    await ada.expect_closed(CloseCode.PROTOCOL_ERROR)
    gate.open()

    await wait_all_tasks_blocked()
    assert house.registry.statistics().connections == 0


async def test_who_disconnects_while_the_store_is_asked_is_not_connected(
    autojump_clock: MockClock, house: House
) -> None:
    """There is nothing to disconnect yet: that breaks the protocol, and nobody stays behind."""
    gate = Gate(house.hot, "kept")
    ada = house.call({"userId": "ada", "pid": "somebody"})
    ada.ask_to_connect()
    await ada.expect_nothing()
    ada.say("1")
    gate.open()

    await ada.expect_closed(CloseCode.PROTOCOL_ERROR)
    assert house.registry.statistics().connections == 0


async def test_a_store_that_hangs_is_waited_for_a_second(autojump_clock: MockClock, house: House) -> None:
    """Then the client is somebody new."""
    Gate(house.hot, "kept")
    ada = house.call({"userId": "ada", "pid": "somebody"})
    ada.ask_to_connect()
    await ada.expect_nothing()

    await trio.sleep(1.1)

    await nobody_new(ada, "somebody")


async def test_while_the_store_is_away_coming_back_works_here(house: House) -> None:
    """Rooms go on in memory, and so do ways back."""
    ada = await house.connect("ada", "r")
    house.hot.set_healthy(False)
    await house.post("one")
    await ada.hang_up()
    await house.post("two")

    ada.come_back()
    await ada.expect_connected()

    assert ada.recovered
    assert await ada.texts() == ["one", "two"]


# What is to be seen of it


async def test_its_repr_says_who_and_where(house: House) -> None:
    """One line for whoever looks into a running server, and no secret in it."""
    client = house.call({"userId": "ada"})
    assert repr(client.conversation) == "<SocketIOConversation not connected <FakeLink>>"
    await client.connect()
    await client.join()

    assert "of ada rooms=1" in repr(client.conversation)
    assert str(client.pid) not in repr(client.conversation)


async def test_only_what_may_be_dropped_is_droppable(house: House) -> None:
    """Presence and typing are; messages and read marks are not."""
    ada, bob = await in_a_room(house)
    before = len(bob.link.droppable)
    ada.emit("typing:start", "r")
    ada.emit("message:send", {"teamId": "r", "content": "c"})
    ada.emit("receipt:update", {"teamId": "r", "lastReadMessageId": "m"})
    await wait_all_tasks_blocked()

    heard = [packet.data[0] for packet in bob.link.said]
    assert dict(zip(heard, bob.link.droppable[before:], strict=True)) == {
        "typing:start": True,
        "message:new": False,
        "receipt:update": False,
        "typing:stop": True,
    }
