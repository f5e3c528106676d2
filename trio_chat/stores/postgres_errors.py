"""Whose fault it is when Postgres, or its driver, says no."""

from __future__ import annotations

import asyncpg
import trio

from trio_chat.errors import Misconfigured, TrioChatError, Unavailable
from trio_chat.stores.base import Refused

DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    UnicodeError,
    OverflowError,
)
"""What calls of the driver raise."""

_UNSENDABLE = (ValueError, OverflowError)  # the driver's own `DataError` is a ValueError
# Classes of SQLSTATE, https://www.postgresql.org/docs/current/errcodes-appendix.html
REFUSED = ("22", "23", "54")
"""What is about a row: data, integrity, program limits."""

_MISCONFIGURED = ("28", "3D", "3F", "42")  # authorization, catalog, schema, syntax and access rights


def translated(error: Exception, timeout: float) -> TrioChatError:
    """Say whose fault it is, in words that quote nobody's message."""
    if isinstance(error, trio.TooSlowError | TimeoutError):
        return Unavailable(f"Postgres: no answer within {timeout:g} s")
    if isinstance(error, asyncpg.ClientConfigurationError):
        return Misconfigured(f"Postgres: {error}")
    if isinstance(error, _UNSENDABLE):
        return Refused(f"Postgres: a row cannot be sent: {type(error).__name__}")
    if not isinstance(error, asyncpg.PostgresError):
        return Unavailable(f"Postgres: {error}")
    state = error.sqlstate or ""
    if state.startswith(REFUSED):
        return Refused(f"Postgres: a row is refused: {type(error).__name__} ({state})")
    text = f"Postgres: {error.args[0]} ({state})"
    return Misconfigured(text) if state.startswith(_MISCONFIGURED) else Unavailable(text)
