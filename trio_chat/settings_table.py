"""The table of all settings: a row a setting, and what must hold between them.

It names the fields of `Settings` without knowing that class; `settings` puts the two together.
"""

from __future__ import annotations

import operator
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from trio_chat.settings_kinds import (
    BYTES,
    CAP,
    COUNT,
    DIRECTORY,
    FILE,
    HOST,
    KEY,
    NAME,
    ORIGINS,
    POSTGRES,
    PREFIX,
    RATE,
    REDIS,
    SECONDS,
    SECRET,
    SWITCH,
    UPSTASH,
    WHOLE_SECONDS,
    Kind,
    choice,
    whole,
)
from trio_chat.settings_texts import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

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


class Setting(NamedTuple):
    """A row of the table.

    Attributes:
        group: the heading it belongs under.
        field: of `Settings`, or the key of a text that only `Settings.load` knows.
        kind: what its values are; `kind.unit` is what to call one.
        text: what it does.
        default: as text; empty in `ROWS` where it is the field's own.
        optional: whether the field may be None, which stands for the default.
    """

    group: str
    field: str
    kind: Kind
    text: str
    default: str = ""
    optional: bool = False

    @property
    def name(self) -> str:
        """The environment variable."""
        return self.field.upper()

    @property
    def flag(self) -> str:
        """The flag of the command line; empty for what is read from the environment only."""
        unflagged = self.kind.secret or self.field.startswith("upstash_")
        return "" if unflagged else f"--{self.field.replace('_', '-')}"

    def show(self, value: object) -> str:
        """Return the value as it may be shown."""
        return self.default if value is None else self.kind.show(value)

    def accepts(self, value: object) -> bool:
        """Whether the field may have this value."""
        return (value is None and self.optional) or self.kind.accepts(value)

    def given(
        self, argv_values: Mapping[str, str | None], environ: Mapping[str, str]
    ) -> tuple[str, str] | None:
        """Return what to call the setting and its text, or None if nobody gave it."""
        if self.flag and (text := (argv_values.get(self.field) or "").strip()):
            return self.flag, text
        text = environ.get(self.name, "")
        # A secret is taken as it is: whoever else uses it does not strip it either.
        text = text if self.kind.secret else text.strip()
        return (self.name, text) if text else None


def _group(title: str, *rows: tuple[str, Kind, str] | tuple[str, Kind, str, str]) -> list[Setting]:
    return [Setting(title, name, kind, text, "".join(default)) for name, kind, text, *default in rows]


ROWS: tuple[Setting, ...] = (
    *_group(
        "Stores",
        ("redis_url", REDIS, "Redis, where sessions live.", "a private Valkey in DATA_DIR"),
        ("upstash_redis_rest_url", UPSTASH, "A database at Upstash, unless REDIS_URL is given.", "none"),
        ("upstash_redis_rest_token", SECRET, "Its token.", "none"),
        ("upstash_redis_port", whole(1, 65535, unit="PORT"), "Its port for Redis.", "6379"),
        ("upstash_redis_password", SECRET, "Its password for Redis.", "the token"),
        ("database_url", POSTGRES, "Postgres, where messages are archived.", "a private one in DATA_DIR"),
        ("data_dir", DIRECTORY, "Where private stores and the secret stay.", "~/.local/share/trio-chat"),
        ("redis_prefix", PREFIX, "What the name of each key in Redis begins with."),
        ("redis_timeout", SECONDS, "How long a call to Redis may take."),
        ("database_timeout", SECONDS, "How long a call to Postgres may take."),
        (
            "durability",
            choice("redis", "replicated"),
            "replicated lets an ack wait until a replica of Redis has the message too.",
        ),
        ("replica_timeout", SECONDS, "How long it waits; then the ack says redis. Below REDIS_TIMEOUT."),
    ),
    *_group(
        "Listening",
        ("host", HOST, "The address to listen on."),
        ("port", whole(0, 65535, unit="PORT"), "The port to listen on; 0 takes a free one."),
        ("tls_cert", FILE, "The certificate chain (PEM). With it the port speaks TLS.", "none"),
        ("tls_key", FILE, "The private key of the certificate (PEM).", "none"),
        # Safe to leave open in token mode: unlike a cookie, a token is never sent by a foreign page.
        (
            "allowed_origins",
            ORIGINS,
            "The only web pages that may connect, as exact origins.",
            "any; with AUTH_MODE=insecure only its own",
        ),
        ("log_level", choice("debug", "info", "warning", "error"), "What is worth logging."),
        ("log_format", choice("text", "json"), "json writes a JSON object a line."),
    ),
    *_group(
        "Watching",
        (
            "metrics_token",
            SECRET,
            "What a request for /metrics must bring as a bearer token.",
            "none; only this machine may ask",
        ),
        (
            "sync_lag_seconds",
            SECONDS,
            "How far the archive may be behind before /readyz says so.",
            "three times SESSION_SYNC_INTERVAL_SECONDS",
        ),
        (
            "otel_traces",
            SWITCH,
            "Whether traces are sent as the OTEL_EXPORTER_OTLP_* variables say; needs the extra otel.",
        ),
    ),
    *_group(
        "Who may come in",
        ("auth_mode", choice("token", "insecure"), "insecure lets a client be anybody, to try things out."),
        ("auth_secret", KEY, "The secret of tokens signed with HS256.", "made once, kept in DATA_DIR"),
        ("auth_key_file", FILE, "The public key (PEM) of tokens: RSA for RS256, Ed25519 for EdDSA.", "none"),
        ("auth_jwks_file", FILE, "A JSON Web Key Set with the keys of tokens, found by kid.", "none"),
        ("auth_issuer", NAME, "The issuer (iss) every token must name.", "not checked"),
        ("auth_audience", NAME, "The audience (aud) every token must name.", "no token may name one"),
    ),
    *_group(
        "Sessions",
        ("session_expiry_seconds", WHOLE_SECONDS, "A session ends this long after its last activity."),
        ("max_messages_per_session", COUNT, "How many messages a room shows to those who join."),
        ("session_sync_interval_seconds", WHOLE_SECONDS, "How often the archive gets what is new."),
        ("sync_after_events", COUNT, "How many new events of a session it gets sooner."),
        ("mailbox_limit", COUNT, "How many requests may wait for a room."),
        ("backlog_limit", COUNT, "How many events a room holds that neither Redis nor Postgres has."),
    ),
    *_group(
        "Limits",
        ("preset", choice(*PRESETS), "standard starts without rate limits and caps.", "optimized"),
        ("rate_limits", SWITCH, "Whether the rate of requests is limited."),
        ("requests_per_second", RATE, "How many requests a second a connection may make; 0: any."),
        ("request_burst", COUNT, "How many it may make at once."),
        ("request_head_bytes", BYTES, "The largest head of an HTTP request."),
        ("max_message_bytes", BYTES, "The largest WebSocket message."),
        ("max_fragments", COUNT, "In how many pieces it may come."),
        ("max_rooms_per_connection", CAP, "How many rooms a connection may be in; 0: any."),
        ("max_connections_per_user", CAP, "How many connections a user may have; 0: any."),
        ("max_connections", CAP, "How many connections there may be; 0: any."),
        ("outbox_bytes", BYTES, "How much may wait for a client that reads slowly."),
    ),
    *_group(
        "Patience",
        ("handshake_timeout", SECONDS, "How long the WebSocket handshake may take."),
        ("hello_timeout", SECONDS, "How long a client may take to say hello."),
        ("frame_timeout", SECONDS, "How long a message may take to arrive."),
        ("outbox_stall_seconds", SECONDS, "How long a client may read nothing of what waits for it."),
        ("ping_interval_seconds", SECONDS, "How often a client is asked whether it is there."),
        ("ping_timeout_seconds", SECONDS, "How long it may take to answer."),
        ("close_timeout_seconds", SECONDS, "How long it may take to close."),
        ("shutdown_timeout_seconds", SECONDS, "How long stopping may take, the last sync included."),
        (
            "watchdog_seconds",
            SECONDS,
            "How long the server may be busy with one thing before a warning says with what.",
        ),
    ),
)
"""The table, by group, as far as it goes without `Settings`."""


def _both_or_neither(one: object, other: object) -> bool:
    return (one is None) == (other is None)


def _at_most_one(*values: object) -> bool:
    return sum(value is not None for value in values) <= 1


def _twice(larger: int, smaller: int) -> bool:
    return larger >= 2 * smaller


def _above_if_given(larger: float | None, smaller: float) -> bool:
    return larger is None or larger > smaller


class _Rule(NamedTuple):
    fields: tuple[str, ...]
    holds: Callable[..., bool]
    problem: str


def _below_if_replicated(durability: str, timeout: float, redis_timeout: float) -> bool:
    return durability != "replicated" or timeout < redis_timeout


_RULES = (
    # Or waiting for a replica would be taken for a server that does not answer.
    _Rule(
        ("durability", "replica_timeout", "redis_timeout"),
        _below_if_replicated,
        "REPLICA_TIMEOUT={1}: expected less than REDIS_TIMEOUT={2}",
    ),
    _Rule(
        ("upstash_redis_rest_url", "upstash_redis_rest_token"),
        _both_or_neither,
        "UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN: expected both or neither",
    ),
    # Or a server where all is well would not be ready now and then.
    _Rule(
        ("sync_lag_seconds", "session_sync_interval_seconds"),
        _above_if_given,
        "SYNC_LAG_SECONDS={0}: expected more than SESSION_SYNC_INTERVAL_SECONDS={1}",
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


def conflicts(values: Mapping[str, Any], broken: AbstractSet[str]) -> list[str]:
    """Return the problems between values, leaving out those of broken ones."""
    problems: list[str] = []
    for rule in _RULES:
        parts = [values.get(name) for name in rule.fields]
        if broken.isdisjoint(rule.fields) and not rule.holds(*parts):
            problems.append(rule.problem.format(*map(plain, parts)))
    return problems
