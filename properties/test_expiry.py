"""E1 and E2: when a session expires, to the second, on virtual time."""

from __future__ import annotations

import json
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from trio_chat import MemoryArchive, MemoryHotStore, Settings, open_lobby
from trio_chat.clients.auth import Authenticator
from trio_chat.clients.handshake import Request
from trio_chat.clients.native_connection import NativeConnection
from trio_chat.clients.patience import Patience
from trio_chat.clients.registry import Registry
from trio_chat.testing import (
    Down,
    Join,
    Post,
    Script,
    Sleep,
    Up,
    changes,
    check_expiry,
    pauses,
    play,
    scripts,
    small_talk,
    together,
    visits,
)

CLIENTS = ("ann", "bob")
GOING = visits(clients=CLIENTS)
TALK = (changes(clients=CLIENTS), GOING, small_talk(clients=CLIENTS), together(changes() | GOING))
# As many as everything else: only what happens alone shows whether it moves the deadline.
PAUSES = (pauses(30.0), pauses(0.125, 59.875, 60.125), pauses(59.875), pauses())


@given(scripts(*TALK, *PAUSES))
def test_e1_expiry(script: Script) -> None:
    """E1: a session expires exactly its time after the last activity, and is another one afterwards."""
    check_expiry(play(script))


@given(scripts(changes(clients=CLIENTS), GOING, GOING, small_talk(), pauses(20.0), pauses(59.875)))
def test_e2_activity(script: Script) -> None:
    """E2: whatever a client sends moves the deadline; that its connection breaks does not, as others hear."""
    others: Script = [Join("somebody"), Post("somebody", "a beginning")]

    check_expiry(play([*others, *script, Sleep(90)]))


@given(scripts(*TALK, *PAUSES, st.sampled_from([Down("archive"), Up("archive")])))
def test_e1_without_archive(script: Script) -> None:
    """E1: an archive that is away does not keep a session alive."""
    check_expiry(play(script))


class Listener:
    """A link without a socket that notes when it is told that a session expired."""

    behind = False
    outlet = None

    def __init__(self, nursery: trio.Nursery) -> None:
        self.request = Request("/ws", "", {}, "a listener", False)
        self.start_soon = nursery.start_soon
        self.expired: list[float] = []

    def limit_messages(self, size: int) -> None:
        """Take whatever comes."""

    def offer(self, frames: bytes, *_: object, **__: object) -> None:
        """Take what the server says."""
        if b"session:expired" in frames:
            self.expired.append(trio.current_time())


@given(st.lists(st.sampled_from([0.0, 5.0, 19.0, 29.875]), max_size=8))
def test_e2_heartbeats(waits: list[float]) -> None:
    """E2: a client may send as many heartbeats as it likes: the session expires as if it had sent none."""
    settings = Settings(session_expiry_seconds=60, auth_mode="insecure", auth_secret="s" * 32)

    async def expired() -> list[float]:
        async with (
            open_lobby(hot=MemoryHotStore(), archive=MemoryArchive(), settings=settings) as lobby,
            trio.open_nursery() as nursery,
        ):
            link: Any = Listener(nursery)
            connection = NativeConnection(link, lobby, Authenticator(settings), Registry(10), Patience(5))
            for request in (
                {"type": "hello", "user": "ann"},
                {"type": "room:join", "room": "den"},
                {"type": "message:send", "room": "den", "content": "x"},
            ):
                connection.on_text(json.dumps(request).encode())
            for wait in waits:
                await trio.sleep(wait)
                connection.on_text(b'{"type": "heartbeat"}')
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
        found: list[float] = link.expired
        return found

    assert trio.run(expired, clock=MockClock(autojump_threshold=0)) == [60.0]
