"""The battery's own client of the native wire."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from trio_chat.testing.battery.wire import Gone, Wire

_WELCOME = b'{"type":"heartbeat"}'


async def test_what_comes_right_before_the_end_is_heard() -> None:
    """An answer and the Close frame may come in one piece: the answer is returned first."""
    ours, theirs = trio.testing.memory_stream_pair()
    stream: Any = ours
    wire = Wire(stream)
    await theirs.send_all(bytes((0x81, len(_WELCOME))) + _WELCOME + b"\x88\x02\x03\xf4")

    assert await wire.receive() == [{"type": "heartbeat"}]
    with pytest.raises(Gone) as caught:
        await wire.receive()
    assert caught.value.code == 1012
