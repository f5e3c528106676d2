"""One server a module, and a second client that watches it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .house import ORIGIN, House
from .peer import Native


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """A server that wants tokens, with short patience and without limits for those who are quick."""
    with House(
        allowed_origins=(ORIGIN,),
        handshake_timeout=0.4,
        hello_timeout=0.4,
        frame_timeout=0.4,
        close_timeout_seconds=0.5,
        rate_limits=False,
        max_connections_per_user=0,
    ) as house:
        yield house


@pytest.fixture(scope="module")
def witness(house: House) -> Iterator[Native]:
    """The second client. It is in a room of its own, and hears nothing but what it has asked for."""
    with Native(house.port) as witness:
        witness.enter(house.token("witness"), "gallery")
        yield witness
