"""What a client of each wire says and hears, as texts. Pure.

Both are as lean as a bench needs: a delivery is decoded to its room and its number, and to nothing else.
Requests are numbered: 0 is what belongs to no message, from 1 on are messages, whose ids are these numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WireName: TypeAlias = Literal["native", "socketio"]
RESOURCES: Final[Mapping[WireName, str]] = {
    "native": "/ws",
    "socketio": "/socket.io/?EIO=4&transport=websocket",
}
WIRES: Final[tuple[WireName, ...]] = tuple(RESOURCES)


class Ear(Protocol):
    """Who listens to a connection."""

    def on_welcome(self, limits: Mapping[str, float]) -> None:
        """The server knows who this is."""
        ...

    def on_joined(self) -> None:
        """The room has let this client in."""
        ...

    def on_message(self, room: str, number: int) -> None:
        """A message has arrived; 0 if its id is none of ours."""
        ...

    def on_ack(self, number: int, epoch: str, seq: int, durability: str) -> None:
        """A message was accepted."""
        ...

    def on_refused(self, number: int, code: str, text: str) -> None:
        """A request was refused; 0 is none of a message."""
        ...

    def reply(self, text: str) -> None:
        """Have something sent, after what was asked for before."""
        ...


class Wire(Protocol):
    """One connection's side of a wire."""

    def begin(self) -> str:
        """Return what to say first; nothing if empty."""
        ...

    def join(self, room: str) -> str:
        """Return the request to join a room."""
        ...

    def sender(self, room: str, content: str) -> Callable[[int], str]:
        """Return what makes the request to post a message under a number."""
        ...

    def end(self) -> str:
        """Return what to say last; nothing if empty."""
        ...

    def read(self, text: bytes, ear: Ear) -> None:
        """Understand one text of the server.

        Raises:
            BadRequest: it is not of this wire.
        """
        ...


def numbered(before: str, between: str, after: str) -> Callable[[int], str]:
    """Return what makes a text in which a number stands twice."""

    def request(number: int) -> str:
        return f"{before}{number}{between}{number}{after}"

    return request


def number_of(name: str) -> int:
    """Return the number of the message with this id; 0 if it is none of ours."""
    return int(name) if name.isdecimal() and name.isascii() else 0
