"""Lua scripts, called by their hash; the server is told the text when it does not know it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from trio_chat.stores.resp_wire import Argument, ReplyError, pack_one

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trio_chat.stores.resp import Resp


class PackedCall:
    """A command whose beginning is packed once, for all the calls that begin so."""

    __slots__ = ("_head", "_size")

    def __init__(self, begin: Sequence[Argument]) -> None:
        self._size = len(begin)
        self._head = _without_count(begin)

    def with_arguments(self, arguments: Sequence[Argument]) -> bytes:
        """Return the whole command, packed."""
        count = self._size + len(arguments)
        return b"*%d\r\n%b%b" % (count, self._head, _without_count(arguments))


def _without_count(arguments: Sequence[Argument]) -> bytes:
    packed = pack_one(tuple(arguments))
    return packed[packed.index(b"\n") + 1 :]


class Script:
    """A Lua script the server runs as one atomic step. Lives for ever; knows no server.

    Args:
        source: its text.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        # Not for security: it is how the server names scripts.
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    @override
    def __repr__(self) -> str:
        return f"<Script {self.sha[:8]}>"

    def packed(self, keys: Sequence[Argument], arguments: Sequence[Argument]) -> PackedCall:
        """Return the beginning of many a call: everything that stays the same."""
        return PackedCall(("EVALSHA", self.sha, len(keys), *keys, *arguments))

    async def run(self, resp: Resp, keys: Sequence[Argument], arguments: Iterable[Argument] = ()) -> Any:
        """Run it and return its reply. Raises and is cancelled as `Resp.call`."""
        [reply] = await self.run_all(resp, [(keys, arguments)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def run_all(
        self, resp: Resp, runs: Sequence[tuple[Sequence[Argument], Iterable[Argument]]]
    ) -> list[Any]:
        """Run it many times in one round trip, each run for itself. Errors are values, as in `Resp.pipeline`."""
        tails = [(len(keys), *keys, *arguments) for keys, arguments in runs]
        replies = await resp.pipeline([("EVALSHA", self.sha, *tail) for tail in tails])
        # A server that does not know the script has run nothing. EVAL runs it and makes it known, in one command.
        unknown = [place for place, reply in enumerate(replies) if _is_unknown_script(reply)]
        if unknown:
            again = await resp.pipeline([("EVAL", self.source, *tails[place]) for place in unknown])
            for place, reply in zip(unknown, again, strict=True):
                replies[place] = reply
        return replies


def _is_unknown_script(reply: object) -> bool:
    return isinstance(reply, ReplyError) and reply.code == "NOSCRIPT"
