"""Runs commands on sessions and mends the keys they stumble over.

A script that meets a key of the wrong type or numbers it cannot read ends before its first write, with an error
reply. Then `repair.lua` sets aside or mends what belongs to that session, and the script is run once more. Other
rooms notice nothing.
"""

from __future__ import annotations

import logging
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from trio_chat.errors import Unavailable
from trio_chat.stores.base import Session
from trio_chat.stores.redis_records import Names, member_of
from trio_chat.stores.resp import Argument, ReplyError, Resp
from trio_chat.stores.resp_script import Script

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

_KEEP_ASIDE: Final = 7 * 24 * 3600 * 1000
_log = logging.getLogger("trio_chat.stores.redis")


def session_script(*names: str) -> Script:
    """Return a script of this folder. What all of them share is put in front of its last part."""
    folder = files("trio_chat.stores")
    return Script("".join(folder.joinpath(part).read_text() for part in (*names[:-1], "lib.lua", names[-1])))


_REPAIR: Final = session_script("repair.lua")


def settled(reply: Any) -> Any:
    """Return a reply, or raise it if it is an error. One that mending did not help against is `Unavailable`."""
    if isinstance(reply, ReplyError):
        raise Unavailable(f"Redis cannot do it: {reply}") from reply
    if isinstance(reply, Exception):
        raise reply
    return reply


class Mender:
    """Runs commands on sessions for one store, and lives as long as that.

    Every method is safe to cancel, as the scripts are atomic, and raises `Unavailable` or `Misconfigured`.

    Attributes:
        mended: how many keys were set aside or mended.
    """

    def __init__(self, resp: Resp, names: Names) -> None:
        self.mended = 0
        self._resp = resp
        self._names = names

    @override
    def __repr__(self) -> str:
        return f"<Mender mended={self.mended}>"

    async def run(self, script: Script, session: Session, arguments: Callable[[], Sequence[Argument]]) -> Any:
        """Run a script on a session and return its reply. `arguments` are asked for each time it is sent."""
        return await self._mending(session, lambda: self._send(script, [(session, arguments())]))

    async def run_all(self, script: Script, calls: Sequence[tuple[Session, Sequence[Argument]]]) -> None:
        """Run a script on many sessions in one round trip, each for itself."""
        replies = await self._send(script, calls)
        for (session, arguments), reply in zip(calls, replies, strict=True):
            if isinstance(reply, ReplyError):
                await self.mend(session)
                await self.run(script, session, partial(tuple, arguments))
            else:
                settled(reply)

    async def ask(self, session: Session, command: Sequence[Argument]) -> Any:
        """Run one command on a session's keys and return its reply."""
        return await self._mending(session, lambda: self._resp.pipeline([command]))

    async def _send(self, script: Script, calls: Sequence[tuple[Session, Sequence[Argument]]]) -> list[Any]:
        runs = [
            (self._names.session(session), (session.room, session.epoch, *arguments))
            for session, arguments in calls
        ]
        return await script.run_all(self._resp, runs)

    async def _mending(self, session: Session, send: Callable[[], Awaitable[list[Any]]]) -> Any:
        [reply] = await send()
        if isinstance(reply, ReplyError):
            _log.warning("the keys of room %s cannot be used: %s", session.room, reply)
            await self.mend(session)
            [reply] = await send()
        return settled(reply)

    async def mend(self, session: Session) -> None:
        """Repair a session's keys, and those of the room's current session if it is another one."""
        touched = await self._repair(session)
        current = await self._resp.call("GET", self._names.now(session.room))
        if current is not None and current != session.epoch.encode():
            touched += await self._repair(Session(session.room, current.decode(errors="replace")))
        if self._names.dirty.encode() in touched:
            await self._find_dirty()

    async def _repair(self, session: Session) -> list[bytes]:
        keys = self._names.session(session)
        [reply] = await _REPAIR.run_all(self._resp, [(keys, (session.room, session.epoch, _KEEP_ASIDE))])
        touched: list[bytes] = settled(reply)
        self.mended += len(touched)
        for key in touched:
            _log.warning("mended the key %s", key.decode(errors="replace"))
        return touched

    async def _find_dirty(self) -> None:
        """Fill the set of dirty sessions with all sessions there are: it may have more than it needs."""
        cursor: bytes | int = 0
        while True:
            cursor, keys = await self._resp.call("SCAN", cursor, "MATCH", self._names.metas(), "COUNT", 1000)
            found = [
                member_of(session)
                for session in map(self._names.session_of_meta, keys)
                if session is not None
            ]
            if found:
                scored = [part for member in found for part in (0, member)]
                await self._resp.call("ZADD", self._names.dirty, "NX", *scored)
            if cursor == b"0":
                return
