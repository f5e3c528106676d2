"""The limits that are promised hold where nothing is set: loosening one of them is a decision, and not an accident."""

from __future__ import annotations

import pytest

from trio_chat.clients import connection, native_connection
from trio_chat.message import MAX_DEPTH, MAX_ID
from trio_chat.settings import Settings

LIMITS = {
    "handshake_timeout": 5,
    "hello_timeout": 5,
    "request_head_bytes": 16 * 1024,
    "max_message_bytes": 64 * 1024,
    "max_fragments": 128,
    "max_rooms_per_connection": 64,
    "requests_per_second": 20,
    "request_burst": 40,
    "max_connections_per_user": 10,
    "outbox_bytes": 1024 * 1024,
    "outbox_stall_seconds": 10,
    "frame_timeout": 15,
    "ping_interval_seconds": 25,
    "ping_timeout_seconds": 10,
    "close_timeout_seconds": 2,
    "shutdown_timeout_seconds": 10,
    "session_expiry_seconds": 1200,
    "session_sync_interval_seconds": 300,
    "max_messages_per_session": 1000,
}


@pytest.mark.parametrize("name", LIMITS)
def test_default(name: str) -> None:
    """Each is the one that operators and authors of clients are told."""
    assert getattr(Settings(), name) == LIMITS[name]


def test_limits_that_cannot_be_set() -> None:
    """Depth of JSON, lengths of ids, bytes before hello, and requests that make no sense."""
    assert (MAX_DEPTH, MAX_ID) == (32, 128)
    assert native_connection._HELLO_BYTES == 16 * 1024
    assert (connection._BAD_REQUESTS, connection._BAD_SECONDS) == (5, 10.0)
