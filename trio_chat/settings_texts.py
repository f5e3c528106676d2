"""Settings as texts: how one is read, how one is shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast


def mask_url(url: str) -> str:
    """Return the URL as it may be shown: a password, also one in the query, reads ``***``.

    A text that is no URL at all is masked whole: it may be a secret that was put in the wrong place.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "***"
    # The last "@": a password that was not quoted may hold one, and its end must not show either.
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    masked = f"{scheme}://{user}{':***' if colon else ''}{at}{place}"
    return _QUERY_SECRET.sub(r"\1***", masked)


_QUERY_SECRET = re.compile(r"(?i)([?&][^=&]*(?:pass|pwd|token|secret)[^=&]*=)[^&]*")


def plain(value: object) -> str:
    """Return the value as people write it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.15g}"
    return ",".join(map(str, cast("tuple[object, ...]", value))) if isinstance(value, tuple) else str(value)


def hidden(_: object) -> str:
    """Return what stands for a secret."""
    return "***"


def masked(value: object) -> str:
    """Return a URL as it may be shown."""
    return mask_url(str(value))


def parse_whole(text: str) -> int:
    """Read a whole number. Raises ValueError."""
    if re.fullmatch(r"[0-9]{1,15}", text) is None:
        raise ValueError(text)
    return int(text)


def parse_number(text: str) -> float:
    """Read a number. Raises ValueError."""
    if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", text) is None:
        raise ValueError(text)
    return float(text)


def parse_switch(text: str) -> bool | None:
    """Read on or off; None if it is neither."""
    return {**dict.fromkeys(_ON, True), **dict.fromkeys(_OFF, False)}.get(text.lower())


_ON = ("on", "true", "yes", "1")
_OFF = ("off", "false", "no", "0")


def parse_path(text: str) -> Path:
    """Read a path, which may begin with ``~``. Raises ValueError."""
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(text) from error


def parse_origins(text: str) -> tuple[str, ...]:
    """Read origins with commas between. They are compared in lower case."""
    return tuple(part.strip().lower() for part in text.split(",") if part.strip())
