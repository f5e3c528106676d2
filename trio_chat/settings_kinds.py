"""The kinds of values settings have: how a text is read, what fits, what the error says, what may be shown."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from trio_chat.errors import SettingsError
from trio_chat.settings_texts import (
    hidden,
    masked,
    parse_number,
    parse_origins,
    parse_path,
    parse_switch,
    parse_whole,
    plain,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_SECRET_BYTES = 32
"""An HS256 key has at least the size of its hash (RFC 7518, section 3.2)."""

# Well inside what milliseconds in a store and Python's dates can hold.
_LONGEST_SECONDS = 1e9
_LARGEST_NUMBER = 10**12
_LONGEST_SHOWN = 100


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@,*]+")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value.

    Attributes:
        unit: what stands for the value in `--help`.
        expected: completes "expected …".
        parse: makes a value of a text; raises ValueError.
        fits: whether something is such a value; may raise ValueError and OSError.
        show: how the value, or a text that is none, may be shown.
        expected_text: completes "expected …" about texts, where they may say less than values can.
    """

    unit: str
    expected: str
    parse: Callable[[str], object]
    fits: Callable[[Any], bool]
    show: Callable[[object], str] = plain
    expected_text: str = ""

    def read(self, name: str, text: str) -> object:
        """Return the value of a text. Raises `SettingsError` if it has none."""
        with suppress(ValueError):
            value = self.parse(text)
            if self.accepts(value):
                return value
        raise SettingsError([self.problem(name, text, self.expected_text or self.expected)])

    @property
    def secret(self) -> bool:
        """Whether values are never shown, and so not taken from a command line either."""
        return self.show is hidden

    def accepts(self, value: object) -> bool:
        """Whether something is such a value."""
        try:
            return self.fits(value)
        except (ValueError, OSError):
            return False

    def problem(self, name: str, value: object, expected: str) -> str:
        """Return the sentence about a value that does not fit."""
        shown = self.show(value)
        shown = shown if shown.isprintable() else ascii(shown)
        shown = shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"
        return f"{name}={shown}: expected {expected}"


def _is_number(value: object) -> bool:
    # Infinity and NaN are numbers too, and inside no bounds.
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    # Control characters are not printable, nor is what a variable that is not UTF-8 turns into.
    return isinstance(value, str) and value != "" and value.isprintable()


def _is_key(value: str) -> bool:
    return _is_text(value) and len(value.encode()) >= MIN_SECRET_BYTES


def _is_redis_url(value: str) -> bool:
    if not _is_text(value) or " " in value:
        return False
    parts = urlsplit(value)
    if parts.scheme == "unix":
        return parts.path != ""
    database = re.fullmatch(r"(/[0-9]*)?", parts.path) is not None
    return parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and parts.port != 0 and database


def _is_upstash_url(value: str) -> bool:
    parts = urlsplit(value)
    return parts.scheme == "https" and bool(parts.hostname) and parts.path in {"", "/"}


def _is_readable_file(value: object) -> bool:
    return isinstance(value, Path) and value.is_file() and os.access(value, os.R_OK)


def _is_directory(value: object) -> bool:
    return (
        isinstance(value, Path) and not str(value).startswith("~") and (value.is_dir() or not value.exists())
    )


def _are_origins(value: object) -> bool:
    if not isinstance(value, tuple) or not value:
        return False
    return all(_ORIGIN.fullmatch(str(item)) for item in cast("tuple[object, ...]", value))


def whole(least: int, most: int = _LARGEST_NUMBER, note: str = "", unit: str = "N") -> Kind:
    """Make the kind of whole numbers between two bounds."""
    bounds = note or (f"{least} to {most}" if most < _LARGEST_NUMBER else f"at least {least}")

    def fits(value: object) -> bool:
        return isinstance(value, int) and _is_number(value) and least <= value <= most

    return Kind(unit, f"a whole number, {bounds}", parse_whole, fits)


def choice(*names: str) -> Kind:
    """Make the kind of a few words."""
    return Kind("|".join(names), f"one of {', '.join(names)}", str.lower, lambda value: value in names)


def _matching(pattern: str, expected: str, unit: str, show: Callable[[object], str] = plain) -> Kind:
    known = re.compile(pattern)
    return Kind(
        unit, expected, str, lambda value: _is_text(value) and known.fullmatch(value) is not None, show
    )


COUNT = whole(1)
CAP = whole(0, note="0 for no limit")
BYTES = whole(1024, unit="BYTES")
RATE = Kind(
    "N",
    "a number, 0 for no limit",
    parse_number,
    lambda value: _is_number(value) and 0 <= value <= _LARGEST_NUMBER,
)
SECONDS = Kind(
    "SECONDS",
    "a number of seconds, above 0",
    parse_number,
    lambda value: _is_number(value) and 0 < value <= _LONGEST_SECONDS,
)
WHOLE_SECONDS = Kind(
    "SECONDS",
    "a number of seconds, at least 1",
    parse_whole,
    lambda value: _is_number(value) and 1 <= value <= _LONGEST_SECONDS,
    expected_text="a whole number of seconds, at least 1",
)
SWITCH = Kind("on|off", "on or off", parse_switch, lambda value: isinstance(value, bool))
NAME = _matching(r"\S+", "a text without spaces", "TEXT")
HOST = _matching(r"[A-Za-z0-9_.:%-]+", "a host name or an address", "HOST")
PREFIX = _matching(r"[A-Za-z0-9_.:-]{1,32}", "1-32 characters of A-Z a-z 0-9 _ . : -", "TEXT")
FILE = Kind("FILE", "a file that can be read", parse_path, _is_readable_file)
DIRECTORY = Kind("DIR", "a directory, or a path where one can be made", parse_path, _is_directory)
ORIGINS = Kind(
    "URLS", "origins like https://chat.example.com, with commas between", parse_origins, _are_origins
)
REDIS = Kind("URL", "redis://, rediss:// or unix:// and a place", str, _is_redis_url, masked)
POSTGRES = _matching(r"postgres(ql)?://\S+", "postgresql:// and a place", "URL", masked)
UPSTASH = Kind("URL", "https:// and a host", str, _is_upstash_url, masked)
SECRET = _matching(r".+", "a printable text", "TEXT", hidden)
KEY = Kind("TEXT", f"at least {MIN_SECRET_BYTES} bytes of printable text", str, _is_key, hidden)
