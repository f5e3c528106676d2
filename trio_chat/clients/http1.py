"""hypercorn's HTTP/1.1, for one request at a time and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h11
from hypercorn.protocol.h11 import H11Protocol
from typing_extensions import override

if TYPE_CHECKING:
    from hypercorn.config import Config


class _OneRequest(h11.Connection):
    """An h11 connection that reads no further than the end of its request.

    Attributes:
        read: whether that was reached.
    """

    read = False

    @override
    def next_event(self) -> Any:
        """Return the next event of the request. Behind its end nothing ever comes."""
        if self.read:
            return h11.NEED_DATA
        event = super().next_event()
        self.read = isinstance(event, h11.EndOfMessage)
        return event


class Http1(H11Protocol):
    """hypercorn's HTTP/1.1 for one request and nothing else: neither HTTP/2 nor its WebSockets."""

    def __init__(self, app: Any, config: Config, *rest: Any) -> None:
        super().__init__(app, config, *rest)
        self._one = _OneRequest(h11.SERVER, max_incomplete_event_size=config.h11_max_incomplete_size)
        self.connection = self._one

    @property
    def ahead(self) -> bytes:
        """What has come behind the request, as far as that was read."""
        return self._one.trailing_data[0] if self._one.read else b""

    @override
    async def _check_protocol(self, event: h11.Request) -> None:
        """Overlook an offer of HTTP/2, whichever way it is made."""

    @override
    async def _create_stream(self, request: h11.Request) -> None:
        """Begin an HTTP request, whatever it would like to become."""
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        await super()._create_stream(
            h11.Request(
                method=request.method,
                target=request.target,
                headers=headers,
                http_version=request.http_version,
            )
        )
