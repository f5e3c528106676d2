"""Whether another server works on the same rooms: the same store, and the same prefix of all keys.

1. Two servers do not overwrite each other, but people on one do not hear people on the other. So it is said, not
   prevented: whoever starts first may as well be the wrong one.
2. Each server leaves a note of itself and renews it every few seconds. The note of a process that was killed is never
   renewed: what was there at the start is no sign of life, only what changes afterwards is. No clock is compared.
3. Nothing depends on it. A store that is away has no notes, and is asked again later.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import socket
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import trio
from typing_extensions import override

from trio_chat.errors import TrioChatError
from trio_chat.jitter import between

if TYPE_CHECKING:
    from trio_chat.stores.base import HotStore

logger = logging.getLogger(__name__)

# Longer than what a client may call its own note.
_NAME: Final = "server".ljust(65, "-")
_BEAT_SECONDS: Final = 5.0
_KEPT_SECONDS: Final = 30.0
# How often the same is said again.
_QUIET_SECONDS: Final = 300.0
_ENDING_SECONDS: Final = 1.0
_REMEMBERED: Final = 100


class _Note(msgspec.Struct, frozen=True):
    """A server, as it says itself. What is written to the log must be one word each."""

    name: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    host: Annotated[str, msgspec.Meta(pattern="^[!-~]{1,255}$")]
    pid: int
    beat: int


_decoder = msgspec.json.Decoder(_Note)


async def is_served(hot: HotStore) -> bool:
    """Return whether a server works on these rooms, or did less than half a minute ago. Cancelling is safe.

    Raises `Unavailable` if the store is away.
    """
    return await hot.kept(_NAME) is not None


class Rivals:
    """See the module. One a server; lives as long as it.

    Args:
        hot: where the servers leave their notes.
        prefix: what the keys of both begin with, for the warning.
    """

    def __init__(self, hot: HotStore, prefix: str) -> None:
        self._hot = hot
        self._prefix = prefix
        host = socket.gethostname()
        known = host.isascii() and host.isprintable() and " " not in host and 0 < len(host) < 256  # noqa: PLR2004 - see _Note
        self._own = _Note(secrets.token_hex(8), host if known else "unknown", os.getpid(), 0)
        self._seen: dict[str, int] = {}
        """The beat of each other server that was found last."""
        self._quiet_until = -math.inf

    @override
    def __repr__(self) -> str:
        return f"<Rivals {self._own.name} seen={len(self._seen)}>"

    async def run(self) -> None:
        """Look for others, and let them know of this one. Runs until cancelled; cancelling is safe.

        At the end its own note is taken away, if that takes no longer than a second.
        """
        try:
            while True:
                if self._hot.healthy:
                    await self._beat()
                # Two that beat in step might hide from each other.
                await trio.sleep(_BEAT_SECONDS * between(0.8, 1.2))
        finally:
            if self._hot.healthy:
                with trio.move_on_after(_ENDING_SECONDS, shield=True):
                    await self._leave()

    async def _beat(self) -> None:
        self._own = msgspec.structs.replace(self._own, beat=self._own.beat + 1)
        try:
            self._judge(await self._find())
            await self._hot.keep({_NAME: (msgspec.json.encode(self._own), _KEPT_SECONDS)})
        except TrioChatError as error:
            logger.debug("it cannot be seen whether another server uses this store: %s", error)

    async def _leave(self) -> None:
        try:
            found = await self._find()
            if found is not None and found.name == self._own.name:
                await self._hot.discard(_NAME)
        except TrioChatError as error:
            logger.debug("the note of this server stays for a while: %s", error)

    async def _find(self) -> _Note | None:
        text = await self._hot.kept(_NAME)
        try:
            return None if text is None else _decoder.decode(text)
        except msgspec.MsgspecError:
            return None

    def _judge(self, found: _Note | None) -> None:
        if found is None or found.name == self._own.name:
            return
        lives = self._seen.get(found.name, found.beat) != found.beat
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen[found.name] = found.beat
        now = trio.current_time()
        if lives and now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            logger.warning(
                "another server uses this Redis with REDIS_PREFIX=%s: process %d on %s. Expected one server for each "
                "prefix: people on one do not hear people on the other, and requests fail. Stop one of them, or give "
                "it a REDIS_PREFIX of its own",
                self._prefix, found.pid, found.host,
                extra={"event": "second server"},
            )  # fmt: skip
