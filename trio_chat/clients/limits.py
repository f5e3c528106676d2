"""What a client may cost."""

from __future__ import annotations

import msgspec


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """See the module. Times are in seconds, sizes in bytes; None or 0 turns the marked (*) ones off.

    Attributes:
        handshake_timeout: for the TLS handshake and the head of the request.
        request_head: the size of that head.
        message_bytes: the size of a message.
        fragments: how many fragments a message may have.
        frame_timeout: (*) how long a frame may stay unfinished.
        outbox_bytes: how much may wait to be sent, without exempt bytes.
        outbox_stall: (*) how long what waits may make no progress.
        ping_interval: (*) after how much silence the client is pinged.
        ping_timeout: how long it may stay silent then.
        close_timeout: how long a goodbye may take.
        connections: (*) how many clients may be connected.
    """

    handshake_timeout: float = 5.0
    request_head: int = 16_384
    message_bytes: int = 65_536
    fragments: int = 128
    frame_timeout: float | None = 15.0
    outbox_bytes: int = 1_048_576
    outbox_stall: float | None = 10.0
    ping_interval: float | None = 25.0
    ping_timeout: float = 10.0
    close_timeout: float = 2.0
    connections: int | None = None
