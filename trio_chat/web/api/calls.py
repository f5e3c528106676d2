"""What a handler is given, what it returns, and the table of what can be asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from trio_chat.clients.auth import Authenticator, Identity
from trio_chat.clients.registry import Registry
from trio_chat.lobby import Lobby
from trio_chat.mail import Accepted
from trio_chat.message import check_id, check_room
from trio_chat.room import Room
from trio_chat.seat import ask
from trio_chat.web.api.problems import forbidden
from trio_chat.web.api.shapes import Nothing
from trio_chat.web.moment import Moment

if TYPE_CHECKING:
    from trio_chat.mail import Answering, Mail


Moments: TypeAlias = Callable[[Callable[[Room], None]], Awaitable[Moment]]


class Server(msgspec.Struct, frozen=True):
    """What the API reaches into. Lives as long as the server.

    Attributes:
        moment: returns the statistics of its parts, and shows each room to whoever asks.
        begun: when it began, in seconds of Trio's clock.
    """

    lobby: Lobby
    authenticator: Authenticator
    registry: Registry
    moment: Moments
    begun: float


class Call(msgspec.Struct, frozen=True):
    """One request that may be carried out: its token, rate, query and body were found to be right.

    Attributes:
        server: what to reach into.
        identity: who asks.
        names: what stands in the path for the names of the operation's template, decoded but not checked.
        query: the operation's `query`.
        body: the operation's `body`; None if it has none.
    """

    server: Server
    identity: Identity
    names: Mapping[str, str]
    query: Any
    body: Any

    def room(self) -> str:
        """Return the room of the path.

        Raises:
            BadRequest: it is no room id.
            Refusal: the token does not open it. Nobody has looked whether there is such a room.
        """
        room = check_room(self.names["room"])
        if not self.identity.may_join(room):
            raise forbidden("room: this token does not open it")
        return room

    def id(self, name: str) -> str:
        """Return another id of the path. Raises `BadRequest` if it is none."""
        return check_id(name, self.names[name])

    async def change(self, room: str, make: Callable[[Answering], Mail]) -> Accepted:
        """Mail a change to a room and wait for its answer. Cancelling leaves the outcome unknown."""
        return await ask(partial(self.server.lobby.mail, room), make, Accepted)


class Reply(msgspec.Struct, frozen=True):
    """What is answered: a status, and a struct to be encoded."""

    status: int
    content: msgspec.Struct


Handler: TypeAlias = Callable[[Call], Awaitable[Reply]]

ALWAYS: Final = frozenset({400, 401, 403, 429, 500, 503})
"""What may become of any request."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that can be asked. What it is called and does is in its handler's name and docstring.

    Attributes:
        method: of HTTP.
        path: below `/api/v1`, with names in braces.
        handler: carries it out.
        answers: what it answers, by status.
        query: what its query may say.
        body: what its body is; None if there is none.
        problems: the statuses of refusals, besides those of `ALWAYS`.
        admin: whether it takes a token with the role `admin`.
    """

    method: str
    path: str
    handler: Handler
    answers: Mapping[int, type[Any]]
    query: type[Any] = Nothing
    body: type[Any] | None = None
    problems: frozenset[int] = frozenset()
    admin: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        return getattr(self.handler, "__name__", "")

    @property
    def template(self) -> list[str]:
        """The parts of the path."""
        return self.path.removeprefix("/").split("/")
