"""Moving a session from polling to a WebSocket. The client tries the WebSocket first, then says that it has moved.

1. ``2probe`` is answered by ``3probe``, and polling requests come back at once from then on, so that the client can
   stop making them. ``5`` moves the session. Anything else ends the WebSocket.
2. Until it has moved, nothing that happens to the WebSocket touches the session: the client goes on polling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from typing_extensions import override

from trio_chat.clients.engineio import Kind, Packet, encode
from trio_chat.clients.frames import text_frame
from trio_chat.errors import CloseCode

if TYPE_CHECKING:
    from trio_chat.clients.engine.session import EngineLink
    from trio_chat.clients.transport import Link

_PROBE: Final = encode(Packet(Kind.PING, b"probe"))
_ANSWER: Final = text_frame(encode(Packet(Kind.PONG, b"probe")))
_UPGRADE: Final = encode(Packet(Kind.UPGRADE))


class Probe:
    """The conversation of a WebSocket that a session may move to. Lives as long as the WebSocket.

    Ended before it began if the session is known no longer, or has moved, or another one is being tried.
    """

    __slots__ = ("_deadline", "_link", "_moved", "_probed", "_session")

    def __init__(self, link: Link, session: EngineLink | None, deadline: float) -> None:
        """Try a WebSocket until `deadline`, by the server's clock."""
        self._link = link
        self._deadline = deadline
        self._probed = False
        self._moved = False
        self._session: EngineLink | None = None
        if session is not None and session.begin_upgrade(self):
            self._session = session
        else:
            link.close(CloseCode.PROTOCOL_ERROR, "this session cannot move to a WebSocket now")

    @override
    def __repr__(self) -> str:
        state = "moved" if self._moved else "probed" if self._probed else "new"
        return f"<Probe {state} {self._session!r}>"

    def on_text(self, payload: bytes) -> None:
        """Take one packet."""
        if self._session is None:
            return
        if self._moved:
            self._session.on_text(payload)
        elif payload == _PROBE:
            self._probed = True
            self._link.offer(_ANSWER)
            self._session.nudge()
        elif payload == _UPGRADE and self._probed:
            self._moved = True
            self._session.upgrade(self._link)
        else:
            self._link.close(CloseCode.PROTOCOL_ERROR, "expected a probe, then the upgrade packet")

    def on_closed(self) -> None:
        """Know that the WebSocket is gone."""
        if self._session is None:
            return
        if self._moved:
            self._session.on_closed()
        else:
            self._session.abandon_upgrade()

    def check(self, now: float) -> None:
        """Give up on a client that does not go on."""
        if now >= self._deadline:
            self._link.close(CloseCode.PROTOCOL_ERROR, "the upgrade packet did not come in time")

    def end(self) -> None:
        """Know that the session has ended before it moved."""
        self._link.close(CloseCode.NORMAL)
