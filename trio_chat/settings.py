"""Every setting of the server and the library, in one frozen object.

1. A `Settings` that exists is valid: building one raises `SettingsError` with every problem at once.
2. `Settings.load` reads texts. Flags win over the environment, the environment over the preset, the preset over
   the defaults. An empty text counts as not given.
3. `SETTINGS` is the table behind it, a row a setting: parsing, `--help` and the documentation come from there.
4. Secrets are read from the environment only, since everybody on the machine can read a command line. Neither
   `repr`, `describe` nor a problem shows one; URLs are shown without their password.
"""

from __future__ import annotations

import operator
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast
from urllib.parse import quote, urlsplit

from typing_extensions import override

from trio_chat.errors import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

MIN_SECRET_BYTES = 32
"""An HS256 key has at least the size of its hash (RFC 7518, section 3.2)."""

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "optimized": {},
        "standard": {
            "rate_limits": False,
            "max_rooms_per_connection": 0,
            "max_connections_per_user": 0,
            "max_connections": 0,
        },
    }
)
"""What `PRESET` puts in place of the defaults. In a program: ``Settings(**PRESETS["standard"])``."""

# Well inside what milliseconds in a store and Python's dates can hold.
_LONGEST_SECONDS = 1e9
_LARGEST_NUMBER = 10**12
_LONGEST_SHOWN = 100


def _data_home(environ: Mapping[str, str] = os.environ) -> Path:
    home = Path(environ.get("XDG_DATA_HOME", ""))
    # A relative one is to be ignored (XDG Base Directory Specification).
    if not home.is_absolute():
        home = Path("~/.local/share")
        with suppress(RuntimeError):  # nobody's home: the "~" stays, and `_is_directory` refuses it
            home = home.expanduser()
    return home / "trio-chat"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """All settings, checked; `SETTINGS` says what each one does. Durations are seconds and may be fractions.

    Raises:
        SettingsError: with every problem.
    """

    redis_url: str | None = None
    database_url: str | None = None
    data_dir: Path = field(default_factory=_data_home)
    redis_prefix: str = "tc"
    redis_timeout: float = 1.0
    database_timeout: float = 5.0

    host: str = "127.0.0.1"
    port: int = 8000
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allowed_origins: tuple[str, ...] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    auth_mode: Literal["token", "insecure"] = "token"
    auth_secret: str | None = None
    auth_key_file: Path | None = None
    auth_jwks_file: Path | None = None
    auth_issuer: str | None = None
    auth_audience: str | None = None

    session_expiry_seconds: float = 1200.0
    max_messages_per_session: int = 1000
    session_sync_interval_seconds: float = 300.0
    sync_after_events: int = 500
    mailbox_limit: int = 1024
    backlog_limit: int = 10_000

    rate_limits: bool = True
    requests_per_second: float = 20.0
    request_burst: int = 40
    request_head_bytes: int = 16_384
    max_message_bytes: int = 65_536
    max_fragments: int = 128
    max_rooms_per_connection: int = 64
    max_connections_per_user: int = 10
    max_connections: int = 0
    outbox_bytes: int = 1_048_576

    handshake_timeout: float = 5.0
    hello_timeout: float = 5.0
    frame_timeout: float = 15.0
    outbox_stall_seconds: float = 10.0
    ping_interval_seconds: float = 25.0
    ping_timeout_seconds: float = 10.0
    close_timeout_seconds: float = 2.0
    shutdown_timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Check every field, then what must hold between them."""
        values = self._values()
        misfits = {
            row.field: row.kind.problem(row.name, values[row.field], row.kind.expected)
            for row in SETTINGS
            if row.field in values and not row.accepts(values[row.field])
        }
        if problems := [*misfits.values(), *_conflicts(values, misfits.keys())]:
            raise SettingsError(problems)

    @override
    def __repr__(self) -> str:
        """Show what differs from the defaults, without secrets."""
        changed = [name for name, value in self._values().items() if value != _DEFAULTS[name]]
        shown = self.describe()
        return f"Settings({', '.join(f'{name}={shown[name.upper()]}' for name in changed)})"

    @property
    def request_rate(self) -> float:
        """How many requests a second a connection may make; 0 for no limit, whichever setting says so."""
        return self.requests_per_second if self.rate_limits else 0.0

    def describe(self) -> dict[str, str]:
        """Return every setting by its environment variable, as it may be shown: without secrets."""
        values = self._values()
        return {row.name: row.show(values[row.field]) for row in SETTINGS if row.field in values}

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _DEFAULTS}

    @classmethod
    def load(cls, argv_values: Mapping[str, str | None], environ: Mapping[str, str]) -> Settings:
        """Merge flags over environment over preset over defaults.

        Args:
            argv_values: texts by field, as `add_arguments` leaves them: None if not given. Other keys are ignored.
            environ: the environment variables.

        Raises:
            SettingsError: with every problem.
        """
        given, problems = _read(argv_values, environ)
        merged: dict[str, Any] = dict(_DEFAULTS, data_dir=_data_home(environ))
        merged.update(PRESETS[given.get("preset", "optimized")])
        merged.update(given)
        if texts := [*problems.values(), *_conflicts(merged, problems.keys())]:
            raise SettingsError(texts)
        if "upstash_redis_rest_url" in given:
            merged["redis_url"] = _upstash_to_redis(given)
        return cls(**{name: merged[name] for name in _DEFAULTS})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add every flag, by group. Values stay texts, None if not given: `Settings.load` reads them."""
    for title in dict.fromkeys(row.group for row in SETTINGS):
        rows = [row for row in SETTINGS if row.group == title]
        unflagged = ", ".join(row.name for row in rows if not row.flag)
        group = parser.add_argument_group(title, f"environment only: {unflagged}" if unflagged else None)
        for row in rows:
            if row.flag:
                text = f"{row.text} [{row.name}; default: {row.default}]".replace("%", "%%")
                group.add_argument(row.flag, dest=row.field, metavar=row.kind.unit, help=text)


def documentation() -> list[tuple[str, str, str, str, str]]:
    """Return group, environment variable, flag, default and text of every setting, for a table."""
    return [(row.group, row.name, row.flag, row.default, row.text) for row in SETTINGS]


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
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@,*]+")


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.15g}"
    return ",".join(map(str, cast("tuple[object, ...]", value))) if isinstance(value, tuple) else str(value)


def _hidden(_: object) -> str:
    return "***"


def _masked(value: object) -> str:
    return mask_url(str(value))


@dataclass(frozen=True, slots=True)
class _Kind:
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
    show: Callable[[object], str] = _plain
    expected_text: str = ""

    def read(self, name: str, text: str) -> object:
        """Return the value of a text. Raises `SettingsError` if it has none."""
        with suppress(ValueError):
            value = self.parse(text)
            if self.accepts(value):
                return value
        raise SettingsError([self.problem(name, text, self.expected_text or self.expected)])

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


def _parse_whole(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,15}", text) is None:
        raise ValueError(text)
    return int(text)


def _parse_number(text: str) -> float:
    if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", text) is None:
        raise ValueError(text)
    return float(text)


def _parse_switch(text: str) -> bool | None:
    return {**dict.fromkeys(_ON, True), **dict.fromkeys(_OFF, False)}.get(text.lower())


_ON = ("on", "true", "yes", "1")
_OFF = ("off", "false", "no", "0")


def _parse_path(text: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(text) from error


def _parse_origins(text: str) -> tuple[str, ...]:
    return tuple(part.strip().lower() for part in text.split(",") if part.strip())


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


def _whole(least: int, most: int = _LARGEST_NUMBER, note: str = "", unit: str = "N") -> _Kind:
    bounds = note or (f"{least} to {most}" if most < _LARGEST_NUMBER else f"at least {least}")

    def fits(value: object) -> bool:
        return isinstance(value, int) and _is_number(value) and least <= value <= most

    return _Kind(unit, f"a whole number, {bounds}", _parse_whole, fits)


def _choice(*names: str) -> _Kind:
    return _Kind("|".join(names), f"one of {', '.join(names)}", str.lower, lambda value: value in names)


def _matching(pattern: str, expected: str, unit: str, show: Callable[[object], str] = _plain) -> _Kind:
    known = re.compile(pattern)
    return _Kind(
        unit, expected, str, lambda value: _is_text(value) and known.fullmatch(value) is not None, show
    )


_COUNT = _whole(1)
_CAP = _whole(0, note="0 for no limit")
_BYTES = _whole(1024, unit="BYTES")
_RATE = _Kind(
    "N",
    "a number, 0 for no limit",
    _parse_number,
    lambda value: _is_number(value) and 0 <= value <= _LARGEST_NUMBER,
)
_SECONDS = _Kind(
    "SECONDS",
    "a number of seconds, above 0",
    _parse_number,
    lambda value: _is_number(value) and 0 < value <= _LONGEST_SECONDS,
)
_WHOLE_SECONDS = _Kind(
    "SECONDS",
    "a number of seconds, at least 1",
    _parse_whole,
    lambda value: _is_number(value) and 1 <= value <= _LONGEST_SECONDS,
    expected_text="a whole number of seconds, at least 1",
)
_SWITCH = _Kind("on|off", "on or off", _parse_switch, lambda value: isinstance(value, bool))
_NAME = _matching(r"\S+", "a text without spaces", "TEXT")
_HOST = _matching(r"[A-Za-z0-9_.:%-]+", "a host name or an address", "HOST")
_PREFIX = _matching(r"[A-Za-z0-9_.:-]{1,32}", "1-32 characters of A-Z a-z 0-9 _ . : -", "TEXT")
_FILE = _Kind("FILE", "a file that can be read", _parse_path, _is_readable_file)
_DIRECTORY = _Kind("DIR", "a directory, or a path where one can be made", _parse_path, _is_directory)
_ORIGINS = _Kind(
    "URLS", "origins like https://chat.example.com, with commas between", _parse_origins, _are_origins
)
_REDIS = _Kind("URL", "redis://, rediss:// or unix:// and a place", str, _is_redis_url, _masked)
_POSTGRES = _matching(r"postgres(ql)?://\S+", "postgresql:// and a place", "URL", _masked)
_UPSTASH = _Kind("URL", "https:// and a host", str, _is_upstash_url, _masked)
_SECRET = _matching(r".+", "a printable text", "TEXT", _hidden)
_KEY = _Kind("TEXT", f"at least {MIN_SECRET_BYTES} bytes of printable text", str, _is_key, _hidden)


class Setting(NamedTuple):
    """A row of the table.

    Attributes:
        group: the heading it belongs under.
        field: of `Settings`, or the key of a text that only `Settings.load` knows.
        kind: what its values are; `kind.unit` is what to call one.
        text: what it does.
        default: as text.
    """

    group: str
    field: str
    kind: _Kind
    text: str
    default: str

    @property
    def name(self) -> str:
        """The environment variable."""
        return self.field.upper()

    @property
    def flag(self) -> str:
        """The flag of the command line; empty for what is read from the environment only."""
        unflagged = self.kind.show is _hidden or self.field.startswith("upstash_")
        return "" if unflagged else f"--{self.field.replace('_', '-')}"

    def show(self, value: object) -> str:
        """Return the value as it may be shown."""
        return self.default if value is None else self.kind.show(value)

    def accepts(self, value: object) -> bool:
        """Whether the field may have this value."""
        return (value is None and _DEFAULTS[self.field] is None) or self.kind.accepts(value)

    def given(
        self, argv_values: Mapping[str, str | None], environ: Mapping[str, str]
    ) -> tuple[str, str] | None:
        """Return what to call the setting and its text, or None if nobody gave it."""
        if self.flag and (text := (argv_values.get(self.field) or "").strip()):
            return self.flag, text
        text = environ.get(self.name, "")
        # A secret is taken as it is: whoever else uses it does not strip it either.
        text = text if self.kind.show is _hidden else text.strip()
        return (self.name, text) if text else None


_DEFAULTS: dict[str, Any] = {item.name: item.default for item in fields(Settings)} | {
    "data_dir": _data_home()
}


def _group(title: str, *rows: tuple[str, _Kind, str] | tuple[str, _Kind, str, str]) -> list[Setting]:
    return [
        Setting(title, name, kind, text, default[0] if default else kind.show(_DEFAULTS[name]))
        for name, kind, text, *default in rows
    ]


SETTINGS: tuple[Setting, ...] = (
    *_group(
        "Stores",
        ("redis_url", _REDIS, "Redis, where sessions live.", "a private Valkey in DATA_DIR"),
        ("upstash_redis_rest_url", _UPSTASH, "A database at Upstash, unless REDIS_URL is given.", "none"),
        ("upstash_redis_rest_token", _SECRET, "Its token.", "none"),
        ("upstash_redis_port", _whole(1, 65535, unit="PORT"), "Its port for Redis.", "6379"),
        ("upstash_redis_password", _SECRET, "Its password for Redis.", "the token"),
        ("database_url", _POSTGRES, "Postgres, where messages are archived.", "a private one in DATA_DIR"),
        ("data_dir", _DIRECTORY, "Where private stores and the secret stay.", "~/.local/share/trio-chat"),
        ("redis_prefix", _PREFIX, "What the name of each key in Redis begins with."),
        ("redis_timeout", _SECONDS, "How long a call to Redis may take."),
        ("database_timeout", _SECONDS, "How long a call to Postgres may take."),
    ),
    *_group(
        "Listening",
        ("host", _HOST, "The address to listen on."),
        ("port", _whole(0, 65535, unit="PORT"), "The port to listen on; 0 takes a free one."),
        ("tls_cert", _FILE, "The certificate chain (PEM). With it the port speaks TLS.", "none"),
        ("tls_key", _FILE, "The private key of the certificate (PEM).", "none"),
        # Safe to leave open in token mode: unlike a cookie, a token is never sent by a foreign page.
        ("allowed_origins", _ORIGINS, "The only web pages that may connect, as exact origins.", "any"),
        ("log_level", _choice("debug", "info", "warning", "error"), "What is worth logging."),
    ),
    *_group(
        "Who may come in",
        ("auth_mode", _choice("token", "insecure"), "insecure lets a client be anybody, to try things out."),
        ("auth_secret", _KEY, "The secret of tokens signed with HS256.", "made once, kept in DATA_DIR"),
        ("auth_key_file", _FILE, "The public key (PEM) of tokens: RSA for RS256, Ed25519 for EdDSA.", "none"),
        ("auth_jwks_file", _FILE, "A JSON Web Key Set with the keys of tokens, found by kid.", "none"),
        ("auth_issuer", _NAME, "The issuer (iss) every token must name.", "not checked"),
        ("auth_audience", _NAME, "The audience (aud) every token must name.", "no token may name one"),
    ),
    *_group(
        "Sessions",
        ("session_expiry_seconds", _WHOLE_SECONDS, "A session ends this long after its last activity."),
        ("max_messages_per_session", _COUNT, "How many messages a room shows to those who join."),
        ("session_sync_interval_seconds", _WHOLE_SECONDS, "How often the archive gets what is new."),
        ("sync_after_events", _COUNT, "How many new events of a session it gets sooner."),
        ("mailbox_limit", _COUNT, "How many requests may wait for a room."),
        ("backlog_limit", _COUNT, "How many events a room holds that neither Redis nor Postgres has."),
    ),
    *_group(
        "Limits",
        ("preset", _choice(*PRESETS), "standard starts without rate limits and caps.", "optimized"),
        ("rate_limits", _SWITCH, "Whether the rate of requests is limited."),
        ("requests_per_second", _RATE, "How many requests a second a connection may make; 0: any."),
        ("request_burst", _COUNT, "How many it may make at once."),
        ("request_head_bytes", _BYTES, "The largest head of an HTTP request."),
        ("max_message_bytes", _BYTES, "The largest WebSocket message."),
        ("max_fragments", _COUNT, "In how many pieces it may come."),
        ("max_rooms_per_connection", _CAP, "How many rooms a connection may be in; 0: any."),
        ("max_connections_per_user", _CAP, "How many connections a user may have; 0: any."),
        ("max_connections", _CAP, "How many connections there may be; 0: any."),
        ("outbox_bytes", _BYTES, "How much may wait for a client that reads slowly."),
    ),
    *_group(
        "Patience",
        ("handshake_timeout", _SECONDS, "How long the WebSocket handshake may take."),
        ("hello_timeout", _SECONDS, "How long a client may take to say hello."),
        ("frame_timeout", _SECONDS, "How long a message may take to arrive."),
        ("outbox_stall_seconds", _SECONDS, "How long a client may read nothing of what waits for it."),
        ("ping_interval_seconds", _SECONDS, "How often a client is asked whether it is there."),
        ("ping_timeout_seconds", _SECONDS, "How long it may take to answer."),
        ("close_timeout_seconds", _SECONDS, "How long it may take to close."),
        ("shutdown_timeout_seconds", _SECONDS, "How long stopping may take, the last sync included."),
    ),
)
"""The table, by group."""


def _both_or_neither(one: object, other: object) -> bool:
    return (one is None) == (other is None)


def _at_most_one(*values: object) -> bool:
    return sum(value is not None for value in values) <= 1


def _twice(larger: int, smaller: int) -> bool:
    return larger >= 2 * smaller


class _Rule(NamedTuple):
    fields: tuple[str, ...]
    holds: Callable[..., bool]
    problem: str


_RULES = (
    _Rule(
        ("upstash_redis_rest_url", "upstash_redis_rest_token"),
        _both_or_neither,
        "UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN: expected both or neither",
    ),
    _Rule(("tls_cert", "tls_key"), _both_or_neither, "TLS_CERT, TLS_KEY: expected both or neither"),
    _Rule(
        ("auth_secret", "auth_key_file", "auth_jwks_file"),
        _at_most_one,
        "AUTH_SECRET, AUTH_KEY_FILE, AUTH_JWKS_FILE: expected at most one of them",
    ),
    _Rule(
        ("ping_timeout_seconds", "ping_interval_seconds"),
        operator.le,
        "PING_TIMEOUT_SECONDS={0}: expected at most PING_INTERVAL_SECONDS={1}",
    ),
    # Or a single message, with what surrounds it, could cut off everybody who reads it.
    _Rule(
        ("outbox_bytes", "max_message_bytes"),
        _twice,
        "OUTBOX_BYTES={0}: expected at least twice MAX_MESSAGE_BYTES={1}",
    ),
    _Rule(
        ("backlog_limit", "sync_after_events"),
        operator.ge,
        "BACKLOG_LIMIT={0}: expected at least SYNC_AFTER_EVENTS={1}",
    ),
)


def _conflicts(values: Mapping[str, Any], broken: AbstractSet[str]) -> list[str]:
    """Return the problems between values, leaving out those of broken ones."""
    problems: list[str] = []
    for rule in _RULES:
        parts = [values.get(name) for name in rule.fields]
        if broken.isdisjoint(rule.fields) and not rule.holds(*parts):
            problems.append(rule.problem.format(*map(_plain, parts)))
    return problems


def _read(
    argv_values: Mapping[str, str | None], environ: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values that were given and the problems with the others, both by field."""
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for row in SETTINGS:
        # Hosts set these for everything they run. Who names a REDIS_URL means that one.
        if row.field.startswith("upstash_") and "redis_url" in {*values, *problems}:
            continue
        if given := row.given(argv_values, environ):
            try:
                values[row.field] = row.kind.read(*given)
            except SettingsError as error:
                problems[row.field] = str(error)
    return values, problems


def _upstash_to_redis(given: Mapping[str, Any]) -> str:
    """Return the Redis URL of a database at Upstash: TLS, on the host of its REST URL."""
    host = urlsplit(str(given["upstash_redis_rest_url"])).hostname
    password = str(given.get("upstash_redis_password", given["upstash_redis_rest_token"]))
    return f"rediss://default:{quote(password, safe='')}@{host}:{given.get('upstash_redis_port', 6379)}"
