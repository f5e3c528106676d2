"""What the tests of the stores share."""

from __future__ import annotations

import itertools
import socket
from typing import TYPE_CHECKING, Any

import hiredis
import pytest

if TYPE_CHECKING:
    from trio_chat.stores.embedded import EmbeddedValkey

pytest.register_assert_rewrite("tests.stores.hot_contract")

_numbers = itertools.count()


class Console:
    """Talks to a Valkey behind a store's back, one blocking command at a time.

    Args:
        server: the server; it need not run yet.
    """

    def __init__(self, server: EmbeddedValkey) -> None:
        self.server = server

    def __call__(self, *words: str | bytes | int) -> Any:
        """Run one command over a connection of its own and return its reply; an error reply is raised."""
        reader = hiredis.Reader()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(self.server.socket))
            client.sendall(hiredis.pack_command(words))
            while (reply := reader.gets()) is False:
                reader.feed(client.recv(65536))
        if isinstance(reply, Exception):
            raise reply
        return reply

    def keys(self, pattern: str) -> list[str]:
        """Return the names of all keys that match."""
        return sorted(name.decode() for name in self("KEYS", pattern))


@pytest.fixture
def console(valkey_process: EmbeddedValkey) -> Console:
    """A way to look into the session's Valkey."""
    return Console(valkey_process)


@pytest.fixture
def own_console(own_valkey: EmbeddedValkey) -> Console:
    """A way to look into the test's own Valkey."""
    return Console(own_valkey)


@pytest.fixture
def prefix() -> str:
    """What the keys of this test begin with."""
    return f"test{next(_numbers)}"
