"""Waits for a replica of Redis to have what was appended, where `DURABILITY=replicated` asks for that.

1. `WAIT` speaks of the connection's own writes, and stops the connection until it is answered. So it is sent together
   with the appends it is for, on the same connection, and there is one at a time: what is to be appended meanwhile
   gathers, and shares the next one. However many rooms there are, a replica that is gone costs all of them one timeout.
2. Once no replica has confirmed in time nobody waits any more, until the server says that it has one that follows.
3. That something is not confirmed is no failure: the server has it, and says so.
"""

from __future__ import annotations

import logging
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio
from typing_extensions import override

from trio_chat.errors import Misconfigured, TrioChatError, Unavailable
from trio_chat.stores.resp import ReplyError, Resp
from trio_chat.stores.resp_wire import pack

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

_LOOK_SECONDS: Final = 1.0
# Replicas say each second how far they are.
_LAG: Final = 1
logger = logging.getLogger("trio_chat.stores.redis")


class Replicas:
    """The replicas of one server. Made by `open_replicas`; lives as long as its block.

    Args:
        resp: the client of the server.
        patience: seconds to wait for a confirmation.

    Attributes:
        follow: whether a replica may be expected to confirm in time.
    """

    def __init__(self, resp: Resp, patience: float) -> None:
        self.follow = False
        self._resp = resp
        self._wait = ("WAIT", 1, max(round(patience * 1000), 1))
        self._packed_wait = pack([self._wait])
        self._gathered: deque[tuple[bytes, Callable[[Any, bool], None]]] = deque()
        self._busy = False
        """Whether a posted WAIT has no answer yet."""
        self._alone = trio.Lock()
        """For those who wait themselves."""

    @override
    def __repr__(self) -> str:
        return f"<Replicas follow={self.follow} gathered={len(self._gathered)}>"

    def post(self, packed: bytes, done: Callable[[Any, bool], None]) -> bool:
        """Send one packed command as `Resp.post`; `done` is also told whether a replica has confirmed it.

        Returns:
            Whether it was sent, or will be. If not, `done` will not be called.
        """
        if self._busy:
            self._gathered.append((packed, done))
            return True
        if not self.follow:
            return self._resp.post(packed, lambda reply: done(reply, False))
        return self._send([(packed, done)])

    def _send(self, batch: list[tuple[bytes, Callable[[Any, bool], None]]]) -> bool:
        def settle(replies: list[Any] | Unavailable) -> None:
            answers = [replies] * (len(batch) + 1) if isinstance(replies, Unavailable) else replies
            self._note(follow=_confirms(answers[-1]))
            for (_, done), answer in zip(batch, answers, strict=False):
                done(answer, self.follow)
            # Not before: what they have led to shares the next WAIT.
            self._busy = False
            self._send_gathered()

        packed = b"".join(packed for packed, _ in batch)
        self._busy = self._resp.post_all(packed + self._packed_wait, len(batch) + 1, settle)
        return self._busy

    def _send_gathered(self) -> None:
        batch, self._gathered = list(self._gathered), deque()
        if not batch:
            return
        if self.follow and self._send(batch):
            return
        for packed, done in batch:
            if not self.post(packed, done):
                done(Unavailable("not connected to Redis"), False)

    async def confirm(self, connects: int) -> bool:
        """Return whether a replica has everything that was written since `Resp.connects` was this.

        Cancelling is safe.
        """
        async with self._alone:
            if not self.follow:
                return False
            try:
                [reply] = await self._resp.pipeline([self._wait])
            except TrioChatError:
                return False
            confirmed = _confirms(reply)
            self._note(follow=confirmed)
            # Of writes over another connection this one knows nothing.
            return confirmed and connects == self._resp.connects

    async def look(self) -> None:
        """Ask the server whether a replica follows. Cancelling is safe. Raises `Unavailable`."""
        [reply] = await self._resp.pipeline([("INFO", "replication")])
        # Who may not ask finds out by waiting.
        self._note(follow=not isinstance(reply, bytes) or _has_follower(reply.decode(errors="replace")))

    async def check(self) -> None:
        """Make sure, at start, that the server lets us wait, and say so if nobody would confirm.

        Raises:
            Misconfigured: it does not.
            Unavailable: it is away.
        """
        [reply] = await self._resp.pipeline([("WAIT", 0, 1)])
        if isinstance(reply, (ReplyError, Misconfigured)):
            raise Misconfigured(f"DURABILITY=replicated: Redis refuses WAIT: {reply}")
        await self.look()
        if not self.follow:
            logger.warning(
                "DURABILITY=replicated, and this Redis has no replica: messages are acknowledged as redis until it has"
            )

    async def watch(self) -> None:
        """Look now and then until cancelled."""
        while True:
            await trio.sleep(_LOOK_SECONDS)
            if self._resp.healthy:
                try:
                    await self.look()
                except Unavailable:
                    self._note(follow=False)

    def _note(self, *, follow: bool) -> None:
        if follow is self.follow:
            return
        self.follow = follow
        if follow:
            logger.info("a replica of Redis follows: messages are acknowledged as replicated")
        elif self._resp.healthy:
            logger.warning("no replica of Redis confirms in time: messages are acknowledged as redis")


def _confirms(reply: object) -> bool:
    return isinstance(reply, int) and reply >= 1


def _has_follower(info: str) -> bool:
    """Whether a replica is connected, has all data, and was heard of lately."""
    for line in info.splitlines():
        name, _, text = line.partition(":")
        if name.removeprefix("slave").removeprefix("replica").isdecimal():
            fields = {key: value for key, _, value in (part.partition("=") for part in text.split(","))}
            lag = fields.get("lag", "0")
            if fields.get("state") == "online" and lag.isdecimal() and int(lag) <= _LAG:
                return True
    return False


@asynccontextmanager
async def open_replicas(resp: Resp, patience: float) -> AsyncGenerator[Replicas]:
    """Watch over a server's replicas for as long as the block. What the block raises comes out as it is.

    Raises:
        Misconfigured: the server does not let us wait for them.
    """
    replicas = Replicas(resp, patience)
    try:
        await replicas.check()
    except Unavailable:
        logger.warning(
            "DURABILITY=replicated: whether this Redis has a replica is found out when it is there"
        )
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replicas.watch, name="replicas")
        try:
            yield replicas
        except Exception as error:  # noqa: BLE001 - raised again below, outside the nursery's group
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
