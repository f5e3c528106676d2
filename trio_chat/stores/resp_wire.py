"""The bytes of RESP, through hiredis, and what an error reply means for the caller.

An error reply says by its first word who has to do what:

1. *Refused*: the server is there and did not do it. The same call may succeed later.
2. *Elsewhere*: another server would do it. The connection is given up, so that the next one finds that server.
3. *Denied*: this server will not do it for us. Only an operator can change that.
4. Anything else is about the call itself or the data it met: a `ReplyError`.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import hiredis

from trio_chat.errors import Misconfigured, TrioChatError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Argument: TypeAlias = str | bytes | int | float
"""What a command is made of. Texts are sent as UTF-8."""

ErrorReply = hiredis.ReplyError
ProtocolError = hiredis.ProtocolError

_MORE: Final = object()
# The annotations of hiredis speak of a tuple of exactly one item and say nothing of what comes back.
pack_one = cast("Callable[[tuple[Argument, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]
"""Returns the bytes of one command."""


def pack(commands: Iterable[Sequence[Argument]]) -> bytes:
    """Return the bytes of some commands, one behind the other."""
    return b"".join([pack_one(tuple(command)) for command in commands])


class Replies:
    """Takes bytes as they come, gives replies when they are whole. Lives as long as its stream."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(notEnoughData=_MORE)

    def feed(self, data: bytes | bytearray) -> Iterator[Any]:
        """Take bytes and yield the replies that are whole now. Error replies are `ErrorReply` values.

        Raises:
            ProtocolError: this is not RESP.
        """
        reader = self._reader
        reader.feed(bytes(data))
        while (reply := reader.gets()) is not _MORE:
            yield reply


class Meaning(Enum):
    """What to make of an error reply."""

    REFUSED = "refused"
    ELSEWHERE = "elsewhere"
    DENIED = "denied"
    OTHER = "other"


_MEANINGS: Final = {
    **dict.fromkeys(
        (
            "LOADING",
            "BUSY",
            "TRYAGAIN",
            "CLUSTERDOWN",
            "MASTERDOWN",
            "NOREPLICAS",
            "OOM",
            "MISCONF",
        ),
        Meaning.REFUSED,
    ),
    **dict.fromkeys(("READONLY", "MOVED", "ASK"), Meaning.ELSEWHERE),
    **dict.fromkeys(("NOAUTH", "WRONGPASS", "NOPERM", "DENIED"), Meaning.DENIED),
}
_HINTS: Final = {
    "NOAUTH": "the server wants a password; put it into the URL: redis://:password@host",
    "WRONGPASS": "the server does not know this user and password",
    "NOPERM": "this user may not run a command or use a key that is needed",
    "DENIED": "the server is in protected mode and takes no connections from other machines",
}
# Servers before Redis 7 wrap the error of a call inside a script.
_IN_SCRIPT = re.compile(r"@user_script: ?\d+: -?([A-Z]+) ")
_LONGEST = 200


class ReplyError(TrioChatError):
    """The server is well and refused this very call: a key of the wrong type, an error inside a script.

    Args:
        code: the reply's first word, such as ``WRONGTYPE``; ``ERR`` if it has no better one.
        text: the whole reply, cut.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text[:_LONGEST])
        self.code = code


def code_of(text: str) -> str:
    """Return the code of an error reply: its first word, or that of the error inside a script."""
    if (wrapped := _IN_SCRIPT.search(text)) is not None:
        return wrapped[1]
    return text.partition(" ")[0]


def meaning_of(text: str) -> Meaning:
    """Return what an error reply means."""
    if text.startswith("ERR max number of clients"):
        return Meaning.REFUSED
    return _MEANINGS.get(code_of(text), Meaning.OTHER)


def as_exception(text: str) -> Unavailable | Misconfigured | ReplyError:
    """Return the exception a caller gets for an error reply. None of them was applied, but for a `ReplyError`."""
    code = code_of(text)
    text = text.partition(", with args beginning with")[0]  # they may be somebody's words
    match meaning_of(text):
        case Meaning.REFUSED | Meaning.ELSEWHERE:
            return Unavailable(f"Redis refused: {text[:_LONGEST]}")
        case Meaning.DENIED:
            return Misconfigured(f"Redis refused ({code}): {_HINTS[code]}")
        case Meaning.OTHER:
            return ReplyError(code, text)
