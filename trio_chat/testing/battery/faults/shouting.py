"""A user who says far more than anybody may, over as many connections as a user may have, in a room with others."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from typing_extensions import override

from trio_chat.testing.battery.fault import Fault
from trio_chat.testing.battery.faults.intruder import Intruder
from trio_chat.testing.battery.journal import percentile
from trio_chat.testing.battery.waits import p99
from trio_chat.testing.frames import frame
from trio_chat.testing.verdict.log import Fail, Invoke, Ok, Recv, Unknown

if TYPE_CHECKING:
    from trio_chat.testing.battery.journal import Journal
    from trio_chat.testing.battery.scene import Scene

_LONG = 4.0
_ROOM = "room-0"
_USER = "shouter"
"""What the names of those users begin with. It is another one on each wire, since debts outlive connections."""
_CONNECTIONS = 10
"""As many as a user may have (`MAX_CONNECTIONS_PER_USER`)."""
_MANY, _PAUSE = 20, 0.01
"""How many messages are sent at once, and seconds until the next: a hundred times as many as are allowed."""
_RATE, _BURST = 20.0, 40
"""What is allowed (`REQUESTS_PER_SECOND`, `REQUEST_BURST`)."""
_RATE_LIMITED = 4429
_SLOWER = 50.0  # milliseconds

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


async def shouted_at(scene: Scene) -> None:
    """C5: one user sends without end over ten connections, and each that is cut is back 0.1 s later; on either wire.

    What is heard of them is no more than ten connections may say that stay, the rest is refused as `rate_limited`, and each
    connection is cut. All others in the room are refused nothing, lose nothing, and wait hardly longer.
    """
    began = scene.begin()
    before = percentile(scene.journal.waits(until=began), 0.99) * 1000
    scene.note(f"p99 of the others before: {before:.1f} ms")
    ops: set[int] = set()
    for wire in _WIRES:
        meanwhile = await _be_shouted_at(scene, wire, ops)
        scene.note(f"p99 meanwhile: {meanwhile:.1f} ms")
        what = f"milliseconds by which the p99 of the others is longer while there is shouting over {wire}"
        scene.require_at_most(_SLOWER, meanwhile - before, what)
    scene.heal()
    scene.require_no_errors(besides=ops)
    scene.require_calm()


async def _be_shouted_at(scene: Scene, wire: str, ops: set[int]) -> float:
    """Return the p99 of the others' waits meanwhile, in milliseconds. The shouters' operations are added to `ops`."""
    began = trio.current_time()
    shouters = [_WIRES[wire](scene.journal, number) for number in range(_CONNECTIONS)]
    with trio.move_on_after(_LONG):
        async with trio.open_nursery() as nursery:
            for shouter in shouters:
                nursery.start_soon(shouter.run, scene.machine.port)
    over = trio.current_time()
    meanwhile = await p99(scene, began, lambda ack: not ack.id.startswith(_USER))
    told = Counter[str]()
    ends = Counter[int | None]()
    for shouter in shouters:
        told += shouter.told
        ends += shouter.ends
        ops |= shouter.ops
    heard = len(_heard(scene, shouters[0].user))
    scene.note(f"{wire}: {heard} heard, {told['rate_limited']} refused, cut {ends[_RATE_LIMITED]} times")
    # Who is so deep in debt that they may not even join is not in the room.
    as_told = "rate_limited" in told and {*told} <= {"ok", "rate_limited", "not_joined"}
    scene.require(as_told, f"{wire}: was answered {dict(told)}")
    # Who is cut in the middle of sending may not get to hear why.
    said = ends[_RATE_LIMITED] > 0 and {*ends} <= {_RATE_LIMITED, None}
    scene.require(said, f"{wire}: who sent too many was cut with {dict(ends)}")
    # Coming back must not make anybody faster.
    most = _CONNECTIONS * (_BURST + _RATE * (over - began))
    scene.require(0 < heard <= most, f"{wire}: {heard} were heard, expected at most {most:.0f}")
    return meanwhile


def _heard(scene: Scene, user: str) -> set[str]:
    """Return the messages of a user that others were told of."""
    told = (recv.message for recv in scene.journal.of(Recv, since=scene.began))
    return {message.id for message in told if message is not None and message.user == user}


class _Shouter(Intruder):
    """Sends messages to a room, and notes what becomes of each.

    Attributes:
        user: who.
        ops: the operations it has begun.
        told: how many were carried out ("ok"), or refused with which code, as far as it got to hear.
    """

    def __init__(self, path: str, user: str, journal: Journal, number: int) -> None:
        super().__init__(path)
        self.user = user
        self.ops: set[int] = set()
        self.told = Counter[str]()
        self._journal = journal
        self._name = f"{user} {number}"
        self._open: set[int] = set()

    @abstractmethod
    def greeting(self) -> bytes:
        """Return what makes this user be in the room."""

    @abstractmethod
    def message(self, op: int, said: dict[str, str]) -> bytes:
        """Return a request to post a message; `said` has all that both wires name alike."""

    @abstractmethod
    def answer(self, text: bytes) -> tuple[int, dict[str, Any]] | None:
        """Return the operation that is answered here, and what; with a `code` if it is refused. None if none is."""

    @override
    async def pour(self, stream: trio.SocketStream) -> None:
        """Send until cancelled."""
        await stream.send_all(self.greeting())
        while True:
            await stream.send_all(b"".join(self._shout() for _ in range(_MANY)))
            await trio.sleep(_PAUSE)

    def _shout(self) -> bytes:
        op = self._journal.next_op()
        name = f"{self.user}-{op}"
        content = f"{_ROOM}|{name}|"
        self.ops.add(op)
        self._open.add(op)
        self._journal.note(
            Invoke(trio.current_time(), self._name, op, "send", _ROOM, self.user, name, content)
        )
        return self.message(op, {"content": content, "id": name})

    @override
    def hear(self, text: bytes) -> None:
        """Note what became of a message."""
        answered = self.answer(text)
        if answered is None or answered[0] not in self._open:
            return
        (op, said), now = answered, trio.current_time()
        self._open.remove(op)
        self.told[said.get("code", "ok")] += 1
        if "code" in said:
            self._journal.note(Fail(now, op, said["code"]))
            return
        how = said["durability"], said["duplicate"]
        self._journal.note(Ok(now, op, said["id"], said["epoch"], said["seq"], *how))

    @override
    def note_end(self) -> None:
        """Know that nobody will learn what became of the rest."""
        for op in self._open:
            self._journal.note(Unknown(trio.current_time(), op, "closed"))
        self._open.clear()


class _Native(_Shouter):
    """Speaks the native wire."""

    def __init__(self, journal: Journal, number: int) -> None:
        super().__init__("/ws", f"{_USER}-1", journal, number)

    @override
    def greeting(self) -> bytes:
        """See `_Shouter`."""
        asked = {"type": "hello", "user": self.user}, {"type": "room:join", "room": _ROOM}
        return b"".join(frame(_encode(one)) for one in asked)

    @override
    def message(self, op: int, said: dict[str, str]) -> bytes:
        """See `_Shouter`."""
        return frame(_encode({"type": "message:send", "room": _ROOM, "ref": op, **said}))

    @override
    def answer(self, text: bytes) -> tuple[int, dict[str, Any]] | None:
        """See `_Shouter`."""
        said = _decode(text)
        return (said.get("ref", 0), said) if said["type"] in {"ack", "error"} else None


class _SocketIO(_Shouter):
    """Speaks the Socket.IO wire."""

    def __init__(self, journal: Journal, number: int) -> None:
        super().__init__("/socket.io/?EIO=4&transport=websocket", f"{_USER}-2", journal, number)

    @override
    def greeting(self) -> bytes:
        """See `_Shouter`."""
        asked = b"40" + _encode({"userId": self.user}), b"42" + _encode(["room:join", _ROOM])
        return b"".join(map(frame, asked))

    @override
    def message(self, op: int, said: dict[str, str]) -> bytes:
        """See `_Shouter`."""
        return frame(b"42%d%b" % (op, _encode(["message:send", {"teamId": _ROOM, **said}])))

    @override
    def answer(self, text: bytes) -> tuple[int, dict[str, Any]] | None:
        """See `_Shouter`."""
        if not text.startswith(b"43"):
            return None
        start = text.index(b"[")
        (said,) = _decode(text[start:])
        return int(text[2:start]), said if said["ok"] else said["error"]


_WIRES = {"the native wire": _Native, "Socket.IO": _SocketIO}

SHOUTING = (
    Fault(
        "C5", "one user sends far above the limit, on either wire", shouted_at, settings={"rate-limits": "on"}
    ),
)
