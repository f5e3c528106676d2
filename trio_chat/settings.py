"""Every setting of the server and the library, in one frozen object.

1. A `Settings` that exists is valid: building one raises `SettingsError` with every problem at once.
2. `Settings.load` reads texts. Flags win over the environment, the environment over the preset, the preset over
   the defaults. An empty text counts as not given.
3. `SETTINGS` is the table behind it, a row a setting: parsing, `--help` and the documentation come from there.
4. Secrets are read from the environment only, since everybody on the machine can read a command line. Neither
   `repr`, `describe` nor a problem shows one; URLs are shown without their password.
"""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlsplit

from typing_extensions import override

from trio_chat.errors import SettingsError
from trio_chat.settings_kinds import MIN_SECRET_BYTES
from trio_chat.settings_table import PRESETS, ROWS, Setting, conflicts
from trio_chat.settings_texts import mask_url

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "MIN_SECRET_BYTES",
    "PRESETS",
    "SETTINGS",
    "Settings",
    "add_arguments",
    "documentation",
    "mask_url",
]


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
    durability: Literal["redis", "replicated"] = "redis"
    replica_timeout: float = 0.25

    host: str = "127.0.0.1"
    port: int = 8000
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allowed_origins: tuple[str, ...] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"

    metrics_token: str | None = None
    sync_lag_seconds: float | None = None
    otel_traces: bool = False

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
    watchdog_seconds: float = 1.0

    def __post_init__(self) -> None:
        """Check every field, then what must hold between them."""
        values = self._values()
        misfits = {
            row.field: row.kind.problem(row.name, values[row.field], row.kind.expected)
            for row in SETTINGS
            if row.field in values and not row.accepts(values[row.field])
        }
        if problems := [*misfits.values(), *conflicts(values, misfits.keys())]:
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

    @property
    def longest_sync_lag(self) -> float:
        """How many seconds the archive may be behind before the server is not ready."""
        return self.sync_lag_seconds or 3 * self.session_sync_interval_seconds

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
        if texts := [*problems.values(), *conflicts(merged, problems.keys())]:
            raise SettingsError(texts)
        if "upstash_redis_rest_url" in given:
            merged["redis_url"] = _upstash_to_redis(given)
        return cls(**{name: merged[name] for name in _DEFAULTS})


def add_arguments(parser: argparse.ArgumentParser, shown: Collection[str] | None = None) -> None:
    """Add every flag, by group. With `shown` only those of some fields are in the help; all of them are taken.

    Values stay texts, None if not given: `Settings.load` reads them.
    """
    for title in dict.fromkeys(row.group for row in SETTINGS):
        rows = [row for row in SETTINGS if row.group == title]
        told = [row for row in rows if shown is None or row.field in shown]
        unflagged = ", ".join(row.name for row in told if not row.flag)
        group = parser.add_argument_group(title, f"environment only: {unflagged}" if unflagged else None)
        for row in rows:
            if row.flag:
                text = f"{row.text} [{row.name}; default: {row.default}]".replace("%", "%%")
                shows = text if row in told else argparse.SUPPRESS
                group.add_argument(row.flag, dest=row.field, metavar=row.kind.unit, help=shows)


def documentation() -> list[tuple[str, str, str, str, str]]:
    """Return group, environment variable, flag, default and text of every setting, for a table."""
    return [(row.group, row.name, row.flag, row.default, row.text) for row in SETTINGS]


_DEFAULTS: dict[str, Any] = {item.name: item.default for item in fields(Settings)} | {
    "data_dir": _data_home()
}


def _complete(row: Setting) -> Setting:
    """Return the row of the table with what the field's own default says."""
    default = _DEFAULTS.get(row.field)
    optional = row.field in _DEFAULTS and default is None
    return row._replace(default=row.default or row.kind.show(default), optional=optional)


SETTINGS: tuple[Setting, ...] = tuple(map(_complete, ROWS))
"""The table, by group."""


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
