"""How the log is written."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from typing import Any

import pytest

from trio_chat.logs import JsonFormatter, configure_logging
from trio_chat.settings import Settings


def record(text: str, *arguments: object, **more: Any) -> logging.LogRecord:
    """Make a record."""
    return logging.getLogger("trio_chat.some").makeRecord(
        "trio_chat.some",
        logging.WARNING,
        "file.py",
        1,
        text,
        arguments,
        more.pop("exc_info", None),
        extra=more,
    )


def line(said: logging.LogRecord) -> dict[str, Any]:
    """Return what is written of a record."""
    text = JsonFormatter().format(said)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_record_is_one_object() -> None:
    """With its time in UTC, and what it was given besides its text."""
    said = record("room %s: degraded", "a/b", event="degraded", room="a/b")
    said.created = 1_700_000_000.25

    assert line(said) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "trio_chat.some",
        "message": "room a/b: degraded",
        "event": "degraded",
        "room": "a/b",
    }


@pytest.mark.parametrize("text", ["one\ntwo", "\u2028 \u0085", '"\\', "\x00\x1b[31m", "\ud800", "ö 🎈"])
def test_any_text_is_one_line_that_reads_as_it_was(text: str) -> None:
    """Whatever a name holds that somebody chose."""
    assert line(record("%s", text))["message"] == text


def test_an_exception_is_told_by_its_kind_and_places_only() -> None:
    """What it says may be what somebody has said."""
    try:
        raise ValueError("a secret")  # noqa: TRY301 - it is the point
    except ValueError:
        said = line(record("failed", exc_info=sys.exc_info()))

    assert re.fullmatch(r"ValueError at test_logs.py:\d+ .*", said["exception"])
    assert "secret" not in json.dumps(said)


def test_what_json_does_not_know_is_written_as_text() -> None:
    """A log never fails for that."""
    assert line(record("x", where={1}))["where"] == "{1}"


@pytest.mark.parametrize("chosen", ["text", "json"])
def test_the_format_is_a_setting(
    chosen: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the level, too."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    configure_logging(Settings(log_format=chosen, log_level="warning"))
    # Or pytest's own would not hear of those of the tests after this.
    logging.captureWarnings(capture=False)
    logging.getLogger("trio_chat.some").info("too little")
    logging.getLogger("trio_chat.some").warning("enough")
    said = capsys.readouterr().err.splitlines()

    assert len(said) == 1
    assert said[0].startswith("{") is (chosen == "json")


def test_lines_go_to_what_standard_error_is_now(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A progress bar takes its place while it is drawn, and puts the lines above itself."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    configure_logging(Settings())
    bar = io.StringIO()
    monkeypatch.setattr(sys, "stderr", bar)
    logging.getLogger("trio_chat.some").warning("above the bar")

    assert bar.getvalue().endswith("above the bar\n")
    assert capsys.readouterr().err == ""
