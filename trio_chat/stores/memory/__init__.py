"""Both stores in dictionaries: for tests, for programs that need no durability, and as the model of the real ones.

Each has an `interfere` hook, awaited before and after a call takes effect. It may raise, sleep or block, which
stands for a refused connection, a slow network or a lost answer; `trio_chat.testing` has ready-made ones.
"""

from trio_chat.stores.memory.archive import MemoryArchive
from trio_chat.stores.memory.calls import Interfere, Moment
from trio_chat.stores.memory.hot import MemoryHotStore

__all__ = ["Interfere", "MemoryArchive", "MemoryHotStore", "Moment"]
