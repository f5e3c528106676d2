"""An append, as `go_on.lua` and `append.lua` take it and answer it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trio_chat.stores.base import Append, Conflict
from trio_chat.stores.entries import encode
from trio_chat.stores.redis_mending import session_script
from trio_chat.stores.redis_records import encode_receipt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trio_chat.message import Receipt
    from trio_chat.stores.resp import Argument

APPEND: Final = session_script("go_on.lua", "append.lua")


def append_arguments(write: Append, incarnation: str, lifetime: int) -> list[Argument]:
    """Return the arguments behind the names of the room.

    Args:
        write: what to append.
        incarnation: what to trust the session's tail by.
        lifetime: how long a clean session stays, in milliseconds.
    """
    arguments: list[Argument] = [
        *(write.expect, write.top, write.first, write.floor, write.token),
        *(incarnation, write.remember, lifetime),
        *(len(write.events), len(write.superseded), len(write.keys), len(write.carried)),
    ]
    for event in write.events:
        arguments += (event.seq, encode(event))
    if not (write.superseded or write.keys or write.carried or write.receipts):
        return arguments
    arguments += write.superseded
    arguments += [f"{seq} {name}" for name, seq in write.keys]
    arguments += receipt_arguments(write.carried)
    arguments += receipt_arguments(write.receipts)
    return arguments


def receipt_arguments(receipts: Mapping[str, Receipt]) -> Iterator[Argument]:
    """Yield users and their read marks, as all scripts want them."""
    for user, receipt in receipts.items():
        yield user
        yield encode_receipt(receipt)


def conflict_of(reply: Any) -> Conflict | None:
    """Return what an append answered."""
    if reply is None:
        return None
    epoch, top, token = reply
    return Conflict(epoch.decode(errors="replace") or None, int(top), token.decode(errors="replace"))
