"""Settings: where they come from, what is refused, and what is never shown."""

from __future__ import annotations

import argparse
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.errors import SettingsError
from trio_chat.settings import PRESETS, SETTINGS, Settings, add_arguments, documentation, mask_url

SECRET = "a-secret-of-more-than-thirty-two-bytes"


def load(**environ: str) -> Settings:
    return Settings.load({}, environ)


def problems(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(**environ)
    return caught.value.problems


# Where values come from


def test_defaults_need_nothing() -> None:
    """A program and a server without any configuration get the same settings."""
    settings = Settings()

    assert settings == load()
    assert (settings.redis_url, settings.database_url, settings.auth_secret) == (None, None, None)
    assert (settings.host, settings.port, settings.auth_mode) == ("127.0.0.1", 8000, "token")
    assert (settings.session_expiry_seconds, settings.max_messages_per_session) == (1200.0, 1000)


def test_settings_cannot_be_changed() -> None:
    """Settings are frozen; a changed copy is checked like a new one."""
    settings = Settings()

    for field in fields(settings):
        with pytest.raises(FrozenInstanceError):
            setattr(settings, field.name, None)
    with pytest.raises(SettingsError):
        replace(settings, port=-1)


def test_flags_win_over_the_environment_over_the_preset_over_defaults() -> None:
    """The nearer source wins, field by field."""
    settings = Settings.load(
        {"max_connections": "7", "host": None},
        {"PRESET": "standard", "MAX_CONNECTIONS": "8", "MAX_CONNECTIONS_PER_USER": "9", "HOST": "::1"},
    )

    assert settings.max_connections == 7
    assert settings.max_connections_per_user == 9
    assert settings.max_rooms_per_connection == 0
    assert settings.request_burst == 40
    assert settings.host == "::1"


def test_an_empty_text_is_not_given() -> None:
    """A variable that is set to nothing leaves the default, as does a flag."""
    settings = Settings.load({"port": ""}, {"REDIS_URL": "", "PORT": " ", "AUTH_SECRET": ""})

    assert settings == Settings()


def test_foreign_keys_are_ignored() -> None:
    """What else the command line and the environment hold is nobody's business here."""
    assert Settings.load({"command": "serve"}, {"PATH": "/bin", "REDIS_URI": "x"}) == Settings()


def test_every_kind_of_text_is_read(tmp_path: Path) -> None:
    """Numbers, switches, paths, lists and choices become values of their own types."""
    settings = load(
        REDIS_TIMEOUT="0.25",
        SESSION_EXPIRY_SECONDS=" 60 ",
        RATE_LIMITS="Off",
        ALLOWED_ORIGINS="https://A.example, http://localhost:3000",
        LOG_LEVEL="DEBUG",
        DATA_DIR=str(tmp_path),
        AUTH_SECRET=SECRET,
    )

    assert (settings.redis_timeout, settings.session_expiry_seconds) == (0.25, 60)
    assert settings.rate_limits is False
    assert settings.allowed_origins == ("https://a.example", "http://localhost:3000")
    assert (settings.log_level, settings.data_dir, settings.auth_secret) == ("debug", tmp_path, SECRET)


def test_a_secret_is_taken_as_it_is() -> None:
    """Blanks around a secret belong to it: whoever else uses it does not strip it either."""
    assert load(AUTH_SECRET=f" {SECRET} ").auth_secret == f" {SECRET} "


def test_secrets_are_not_read_from_the_command_line() -> None:
    """Everybody on the machine can read a command line, so a secret there is not taken."""
    assert Settings.load({"auth_secret": SECRET}, {}).auth_secret is None


def test_the_data_directory_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_DATA_HOME counts if it is absolute, else the home; ``~`` is expanded."""
    monkeypatch.setenv("HOME", str(tmp_path))

    assert load(XDG_DATA_HOME=str(tmp_path)).data_dir == tmp_path / "trio-chat"
    assert load(XDG_DATA_HOME="relative").data_dir == tmp_path / ".local/share/trio-chat"
    assert load(DATA_DIR="~/here").data_dir == tmp_path / "here"
    assert load(DATA_DIR="here").data_dir.is_absolute()


# Presets


def test_the_standard_preset_limits_neither_rates_nor_numbers() -> None:
    """PRESET=standard turns the rate limit and the caps off."""
    settings = load(PRESET="standard")

    assert settings == Settings(**PRESETS["standard"])
    assert settings.request_rate == 0
    assert (settings.max_rooms_per_connection, settings.max_connections_per_user) == (0, 0)


@pytest.mark.parametrize(
    ("environ", "rate"),
    [
        ({}, 20),
        ({"REQUESTS_PER_SECOND": "0"}, 0),
        ({"RATE_LIMITS": "off"}, 0),
        ({"REQUESTS_PER_SECOND": "0.5"}, 0.5),
    ],
)
def test_the_request_rate_is_zero_whichever_setting_turns_it_off(
    environ: dict[str, str], rate: float
) -> None:
    """One number answers how fast a connection may be, 0 for any."""
    assert load(**environ).request_rate == rate


# What is refused


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SESSION_EXPIRY_SECONDS", "abc", "a whole number of seconds, at least 1"),
        ("SESSION_EXPIRY_SECONDS", "0", "a whole number of seconds, at least 1"),
        ("SESSION_EXPIRY_SECONDS", "2.5", "a whole number of seconds, at least 1"),
        ("SESSION_EXPIRY_SECONDS", "-1", "a whole number of seconds, at least 1"),
        ("SESSION_EXPIRY_SECONDS", "9999999999", "a whole number of seconds, at least 1"),
        ("SESSION_EXPIRY_SECONDS", "\u0661", "a whole number of seconds, at least 1"),
        ("REDIS_TIMEOUT", "0", "a number of seconds, above 0"),
        ("REDIS_TIMEOUT", "inf", "a number of seconds, above 0"),
        ("REDIS_TIMEOUT", "nan", "a number of seconds, above 0"),
        ("REDIS_TIMEOUT", "1e3", "a number of seconds, above 0"),
        ("PORT", "65536", "a whole number, 0 to 65535"),
        ("PORT", "8_000", "a whole number, 0 to 65535"),
        ("MAX_MESSAGES_PER_SESSION", "0", "a whole number, at least 1"),
        ("REQUEST_BURST", "0", "a whole number, at least 1"),
        ("MAX_CONNECTIONS", "-1", "a whole number, 0 for no limit"),
        ("REQUESTS_PER_SECOND", "fast", "a number, 0 for no limit"),
        ("RATE_LIMITS", "perhaps", "on or off"),
        ("PRESET", "fastest", "one of optimized, standard"),
        ("AUTH_MODE", "none", "one of token, insecure"),
        ("LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("REDIS_PREFIX", "a{b}", "1-32 characters of A-Z a-z 0-9 _ . : -"),
        ("REDIS_PREFIX", "x" * 33, "1-32 characters of A-Z a-z 0-9 _ . : -"),
        ("HOST", "a b", "a host name or an address"),
        ("AUTH_ISSUER", "a b", "a text without spaces"),
        ("REDIS_URL", "http://h", "redis://, rediss:// or unix:// and a place"),
        ("REDIS_URL", "redis://", "redis://, rediss:// or unix:// and a place"),
        ("REDIS_URL", "redis://h:99999", "redis://, rediss:// or unix:// and a place"),
        ("REDIS_URL", "redis://h/one", "redis://, rediss:// or unix:// and a place"),
        ("REDIS_URL", "unix://", "redis://, rediss:// or unix:// and a place"),
        ("DATABASE_URL", "mysql://h/db", "postgresql:// and a place"),
        ("DATABASE_URL", "postgresql://", "postgresql:// and a place"),
        ("ALLOWED_ORIGINS", "*", "origins like https://chat.example.com, with commas between"),
        (
            "ALLOWED_ORIGINS",
            "https://a.example/path",
            "origins like https://chat.example.com, with commas between",
        ),
        ("ALLOWED_ORIGINS", ",", "origins like https://chat.example.com, with commas between"),
        ("TLS_CERT", "/nowhere/cert.pem", "a file that can be read"),
        ("AUTH_KEY_FILE", "/", "a file that can be read"),
        ("AUTH_JWKS_FILE", "x" * 5000, "a file that can be read"),
        ("DATA_DIR", "/dev/null", "a directory, or a path where one can be made"),
        ("DATA_DIR", "~nobody-of-that-name/x", "a directory, or a path where one can be made"),
        ("UPSTASH_REDIS_PORT", "0", "a whole number, 1 to 65535"),
    ],
)
def test_a_text_that_does_not_fit_is_refused(name: str, value: str, expected: str) -> None:
    """The problem names the variable and what was expected."""
    (problem,) = problems(**{name: value})

    assert problem.startswith(f"{name}=")
    assert problem.endswith(f": expected {expected}")


def test_a_problem_shows_what_was_given() -> None:
    """The sentence repeats the value, as the variable or the flag it came from."""
    assert problems(SESSION_EXPIRY_SECONDS="abc") == [
        "SESSION_EXPIRY_SECONDS=abc: expected a whole number of seconds, at least 1"
    ]
    with pytest.raises(SettingsError, match=r"^--port=abc: expected a whole number, 0 to 65535$"):
        Settings.load({"port": "abc"}, {"PORT": "1"})


def test_a_problem_is_one_short_line() -> None:
    """Control characters are escaped and long values cut."""
    (problem,) = problems(REDIS_PREFIX="a\nb\x1b" + "x" * 1000)

    assert problem.startswith(r"REDIS_PREFIX='a\nb\x1bxxx")
    assert problem.isprintable()
    assert len(problem) < 200


def test_all_problems_are_reported_together() -> None:
    """One start shows every mistake: of texts, between settings, from flags and environment."""
    with pytest.raises(SettingsError) as caught:
        Settings.load(
            {"port": "x"},
            {
                "SESSION_EXPIRY_SECONDS": "abc",
                "REDIS_URL": "nonsense",
                "AUTH_SECRET": "short",
                "PING_TIMEOUT_SECONDS": "30",
                "TLS_KEY": __file__,
            },
        )

    assert sorted(caught.value.problems) == [
        "--port=x: expected a whole number, 0 to 65535",
        "AUTH_SECRET=***: expected at least 32 bytes of printable text",
        "PING_TIMEOUT_SECONDS=30: expected at most PING_INTERVAL_SECONDS=25",
        "REDIS_URL=***: expected redis://, rediss:// or unix:// and a place",
        "SESSION_EXPIRY_SECONDS=abc: expected a whole number of seconds, at least 1",
        "TLS_CERT, TLS_KEY: expected both or neither",
    ]


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"TLS_CERT": __file__}, "TLS_CERT, TLS_KEY: expected both or neither"),
        (
            {"AUTH_SECRET": SECRET, "AUTH_KEY_FILE": __file__},
            "AUTH_SECRET, AUTH_KEY_FILE, AUTH_JWKS_FILE: expected at most one of them",
        ),
        (
            {"PING_INTERVAL_SECONDS": "0.5"},
            "PING_TIMEOUT_SECONDS=10: expected at most PING_INTERVAL_SECONDS=0.5",
        ),
        ({"OUTBOX_BYTES": "1024"}, "OUTBOX_BYTES=1024: expected at least twice MAX_MESSAGE_BYTES=65536"),
        ({"BACKLOG_LIMIT": "10"}, "BACKLOG_LIMIT=10: expected at least SYNC_AFTER_EVENTS=500"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(environ: dict[str, str], problem: str) -> None:
    """What must hold between settings is checked like each of them."""
    assert problems(**environ) == [problem]


def test_a_broken_setting_causes_no_second_problem() -> None:
    """Rules between settings wait until each of them is sound."""
    assert len(problems(TLS_CERT="/nowhere", TLS_KEY=__file__)) == 1


def test_a_program_gives_durations_as_fractions() -> None:
    """Values are checked, not texts: a float is as good as a whole number."""
    assert Settings(session_expiry_seconds=2.5, redis_timeout=1).session_expiry_seconds == 2.5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("session_expiry_seconds", 0.5),
        ("session_expiry_seconds", float("inf")),
        ("session_expiry_seconds", float("nan")),
        ("session_expiry_seconds", True),
        ("session_expiry_seconds", "60"),
        ("port", "8000"),
        ("port", True),
        ("port", 80.0),
        ("port", None),
        ("rate_limits", 1),
        ("tls_cert", __file__),
        ("data_dir", "/tmp"),
        ("data_dir", Path("~/unexpanded")),
        ("allowed_origins", ["https://a.example"]),
        ("allowed_origins", ()),
        ("auth_mode", "Token"),
        ("auth_secret", b"x" * 40),
        ("auth_secret", "\udc80" * 40),
        ("auth_secret", "x" * 40 + "\n"),
        ("redis_url", 5),
        ("redis_url", "redis://h\n"),
        ("database_url", "postgres://h/a b"),
        ("host", ""),
    ],
)
def test_a_value_that_does_not_fit_is_refused(field: str, value: Any) -> None:
    """No settings exist that are not valid, whoever built them."""
    with pytest.raises(SettingsError, match=f"^{field.upper()}="):
        Settings(**{field: value})


def test_a_program_gets_all_problems_too() -> None:
    """Building settings reports every field and every rule at once."""
    with pytest.raises(SettingsError) as caught:
        Settings(port=-1, request_burst=0, ping_timeout_seconds=60)

    assert len(caught.value.problems) == 3


def test_without_a_home_the_data_directory_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """No directory called ``~`` comes into being where nobody has a home."""

    def homeless(self: Path) -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "expanduser", homeless)

    assert problems()[0].startswith("DATA_DIR=~/.local/share/trio-chat: expected a directory")
    assert load(XDG_DATA_HOME="/data").data_dir == Path("/data/trio-chat")


# Stores


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://u:p%40@h:6380/1",
        "rediss://:p@[::1]:6379",
        "unix:///run/x.sock?db=1",
        "redis://h?a=b",
    ],
)
def test_redis_urls_are_taken(url: str) -> None:
    """TCP, TLS and unix sockets are all fine."""
    assert load(REDIS_URL=url).redis_url == url


@pytest.mark.parametrize(
    "url", ["postgres://h/db", "postgresql://u:p@h1:1,h2:2/db", "postgresql:///db?host=/run/postgresql"]
)
def test_postgres_urls_are_taken(url: str) -> None:
    """Either scheme, several hosts and sockets are all fine."""
    assert load(DATABASE_URL=url).database_url == url


UPSTASH = {"UPSTASH_REDIS_REST_URL": "https://eu1-x.upstash.io", "UPSTASH_REDIS_REST_TOKEN": "A/b+c="}


def test_an_upstash_database_becomes_a_redis_url() -> None:
    """The token is the password, quoted, and Redis speaks TLS on the same host."""
    assert load(**UPSTASH).redis_url == "rediss://default:A%2Fb%2Bc%3D@eu1-x.upstash.io:6379"


def test_upstash_port_and_password_can_be_given() -> None:
    """UPSTASH_REDIS_PORT and UPSTASH_REDIS_PASSWORD win over what the REST pair implies."""
    settings = load(**UPSTASH, UPSTASH_REDIS_PORT="6380", UPSTASH_REDIS_PASSWORD="p@ss")

    assert settings.redis_url == "rediss://default:p%40ss@eu1-x.upstash.io:6380"


@pytest.mark.parametrize("name", UPSTASH)
def test_half_an_upstash_database_is_refused(name: str) -> None:
    """The URL needs the token and the token the URL."""
    assert problems(**{name: UPSTASH[name]}) == [
        "UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN: expected both or neither"
    ]


def test_an_upstash_url_is_https() -> None:
    """Anything else is no REST URL of a database there."""
    assert problems(UPSTASH_REDIS_REST_URL="http://u:pw@x", UPSTASH_REDIS_REST_TOKEN="t") == [
        "UPSTASH_REDIS_REST_URL=http://u:***@x: expected https:// and a host"
    ]


def test_redis_url_wins_over_upstash() -> None:
    """Hosts set the Upstash variables for everything they run; who names a REDIS_URL means that one."""
    environ = {**UPSTASH, "UPSTASH_REDIS_PORT": "nonsense"}

    assert load(**environ, REDIS_URL="redis://h").redis_url == "redis://h"
    assert Settings.load({"redis_url": "redis://h"}, environ).redis_url == "redis://h"


# What is never shown


def test_secrets_are_never_shown() -> None:
    """Neither `repr` nor `describe` holds a secret or a URL's password."""
    settings = Settings(
        auth_secret=SECRET, redis_url="redis://u:hunter2@h", database_url="postgres://u:hunter2@h/d"
    )

    shown = f"{settings!r} {settings} {settings.describe()}"

    assert SECRET not in shown
    assert "hunter2" not in shown
    assert repr(settings) == (
        "Settings(redis_url=redis://u:***@h, database_url=postgres://u:***@h/d, auth_secret=***)"
    )


def test_problems_never_show_secrets() -> None:
    """A secret that does not fit is not repeated, nor is a URL's password."""
    texts = problems(
        AUTH_SECRET="hunter2",
        REDIS_URL="redis:/hunter2",
        DATABASE_URL="mysql://u:hunter2@h",
        UPSTASH_REDIS_REST_TOKEN="hunter2",
    )

    assert len(texts) == 3
    assert "hunter2" not in "\n".join(texts)


def test_describe_shows_every_setting() -> None:
    """Each field is there by its variable, as text; what is absent says what holds instead."""
    shown = Settings(port=0).describe()

    assert set(shown) == {item.name.upper() for item in fields(Settings)}
    assert (shown["PORT"], shown["SESSION_EXPIRY_SECONDS"], shown["RATE_LIMITS"]) == ("0", "1200", "on")
    assert shown["REDIS_URL"] == "a private Valkey in DATA_DIR"


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://user@h", "redis://user@h"),
        ("redis://:pw@h", "redis://:***@h"),
        ("rediss://u:p@ss:w/rd@h:1/0", "rediss://u:***@h:1/0"),
        ("postgres://h/db?sslmode=require&password=pw", "postgres://h/db?sslmode=require&password=***"),
        ("unix:///run/x.sock?db=1&PASSWORD=pw&a=b", "unix:///run/x.sock?db=1&PASSWORD=***&a=b"),
        ("localhost:6379", "***"),
        ("", "***"),
    ],
)
def test_mask_url(url: str, masked: str) -> None:
    """Passwords read ``***``; what is no URL is masked whole."""
    assert mask_url(url) == masked


@given(st.text(min_size=1), st.booleans())
def test_no_password_survives_masking(password: str, quoted: bool) -> None:
    """Whatever a password is made of, quoted or not, the masked URL is the same."""
    url = f"postgres://me:{quote(password, safe='') if quoted else password}@host/db"

    assert mask_url(url) == "postgres://me:***@host/db"


# The table


def test_every_field_has_one_row() -> None:
    """The table knows each field, once, and five texts that are no fields."""
    names = [row.field for row in SETTINGS]

    assert len(names) == len(set(names))
    assert {item.name for item in fields(Settings)} == {
        name for name in names if name != "preset" and not name.startswith("upstash_")
    }


def test_every_default_can_be_given_as_text() -> None:
    """What the documentation calls a default is what the variable takes."""
    defaults = Settings()
    texts = {row.name: row.default for row in SETTINGS if getattr(defaults, row.field, None) is not None}

    assert load(**texts) == defaults


def test_flags_reach_the_settings() -> None:
    """The flags of the parser are the keys that `load` reads."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    given_values = vars(parser.parse_args(["--port", "0", "--preset=standard", "--redis-url", "redis://h"]))

    settings = Settings.load(given_values, {"PORT": "9"})
    assert settings == Settings(port=0, redis_url="redis://h", **PRESETS["standard"])


def test_help_says_variable_and_default() -> None:
    """Each flag explains itself; what only the environment takes is named, without a flag."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    text = " ".join(parser.format_help().split())

    assert "--port PORT The port to listen on; 0 takes a free one. [PORT; default: 8000]" in text
    assert "environment only: AUTH_SECRET" in text
    assert "--auth-secret" not in text


def test_documentation_has_a_line_for_every_setting() -> None:
    """A table can be made of it: group, variable, flag, default, text."""
    lines = documentation()

    assert len(lines) == len(SETTINGS)
    assert ("Listening", "PORT", "--port", "8000", "The port to listen on; 0 takes a free one.") in lines
    assert all(group and name and default and text for group, name, _, default, text in lines)
