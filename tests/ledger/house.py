"""A ledger over a hot store that notes its calls, and an archive that is asked for read marks."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import trio
from typing_extensions import override

from tests.rooms import NOON, now
from trio_chat.history import key_name
from trio_chat.ledger import Ledger
from trio_chat.message import Message, Posted, Receipt
from trio_chat.settings import Settings
from trio_chat.stores.base import Append, Session, Stored
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

if TYPE_CHECKING:
    from trio_chat.history import Change
    from trio_chat.stores.memory import Moment


class AStore(MemoryHotStore):
    """A hot store that notes its calls, and fails at those it is told to."""

    def __init__(self) -> None:
        super().__init__(durability="redis", interfere=self._meet)
        self.calls: list[str] = []
        self.appended: list[Append] = []
        self.failing: dict[tuple[str, Moment], Exception] = {}

    async def _meet(self, call: str, moment: Moment) -> None:
        if moment == "before":
            self.calls.append(call)
        if (error := self.failing.pop((call, moment), None)) is not None:
            raise error

    @override
    async def append(self, write: Append) -> Any:
        """Append, and note what was to be appended."""
        self.appended.append(write)
        return await super().append(write)


def a_ledger(hot: MemoryHotStore, archive: MemoryArchive | None = None, **settings: Any) -> Ledger:
    return Ledger("r", hot, Settings(**{"max_messages_per_session": 3, **settings}), now, archive=archive)


def post(ledger: Ledger, content: str = "hi", key: str | None = None) -> Change:
    change = ledger.history.post(key=key, user="ann", role="user", content=content, metadata={}, now=now())
    if key is not None:
        ledger.remember_key(key_name(key, "ann"), change.seq)
    return change


async def a_session(hot: MemoryHotStore, count: int = 2) -> Ledger:
    """Open a ledger and write a few messages, with the keys k1, k2, ..."""
    ledger = a_ledger(hot)
    await ledger.open()
    for number in range(1, count + 1):
        post(ledger, f"text {number}", f"k{number}")
    await ledger.write()
    return ledger


async def a_forgetful_session(hot: MemoryHotStore, count: int, backlog_limit: int = 1) -> Ledger:
    """Write a few messages, of which the ledger remembers the newest and as many before it as `backlog_limit` says."""
    ledger = a_ledger(hot, backlog_limit=backlog_limit, sync_after_events=1, max_messages_per_session=1)
    await ledger.open()
    for _ in range(count):
        post(ledger)
    await ledger.write()
    return ledger


class Asked:
    """Counts how often an archive is asked for read marks, and lets that take so many seconds."""

    def __init__(self, archive: MemoryArchive, seconds: float = 0) -> None:
        self.times = 0
        self.seconds = seconds
        archive.interfere = self._meet

    async def _meet(self, call: str, moment: Moment) -> None:
        if (call, moment) == ("receipts", "before"):
            self.times += 1
            await trio.sleep(self.seconds)


def read(message_id: str = "k1", seconds: float = 0) -> Receipt:
    """Make a read mark of so many seconds after noon."""
    return Receipt(message_id, NOON + timedelta(seconds=seconds))


async def stored(hot: MemoryHotStore) -> Stored:
    found = await hot.load("r")
    assert found is not None
    return found


async def append_elsewhere(hot: MemoryHotStore, epoch: str, expect: int, seq: int) -> None:
    """Append one message as another process would."""
    message = Message(
        id=f"other{seq}", role="user", content="elsewhere", timestamp=NOON, metadata={}, user_id="x",
        seq=seq, rev=seq,
    )  # fmt: skip
    write = Append(Session("r", epoch), expect, seq, 1, 0, (Posted(message),), token="other:1")
    assert await hot.append(write) is None
