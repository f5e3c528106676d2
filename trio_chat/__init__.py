"""Chat rooms as supervised Trio actors: live, written through, archived.

The public names; see `open_lobby` for the library, `trio-chat serve` for the server.
"""

from trio_chat.errors import BadRequest, Misconfigured, SettingsError, TrioChatError, Unavailable
from trio_chat.lobby import Lobby, open_lobby
from trio_chat.mail import (
    Accepted,
    Changed,
    Closed,
    Expired,
    Hearing,
    Joined,
    Presence,
    ReadMark,
    Typing,
)
from trio_chat.message import Deleted, Edited, Event, Message, Position, Posted, Receipt
from trio_chat.paging import Page
from trio_chat.seat import Seat
from trio_chat.settings import Settings
from trio_chat.stores.base import Archive, HotStore
from trio_chat.stores.memory import MemoryArchive, MemoryHotStore

__all__ = [
    "Accepted",
    "Archive",
    "BadRequest",
    "Changed",
    "Closed",
    "Deleted",
    "Edited",
    "Event",
    "Expired",
    "Hearing",
    "HotStore",
    "Joined",
    "Lobby",
    "MemoryArchive",
    "MemoryHotStore",
    "Message",
    "Misconfigured",
    "Page",
    "Position",
    "Posted",
    "Presence",
    "ReadMark",
    "Receipt",
    "Seat",
    "Settings",
    "SettingsError",
    "TrioChatError",
    "Typing",
    "Unavailable",
    "open_lobby",
]
