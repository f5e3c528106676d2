"""How log records are written: as text for people, or as JSON for whoever collects them.

A line of JSON has `time` (RFC 3339, UTC), `level`, `logger` and `message`; then what the record was given as `extra`:
`event`, `room` and the like. Of an exception it has the kind and the places, since what one says may quote people.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO

from typing_extensions import override

from trio_chat.failures import describe

if TYPE_CHECKING:
    from trio_chat.settings import Settings

TEXT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

_OWN: Final = frozenset(
    (*vars(logging.makeLogRecord({})), "message", "asctime", "time", "level", "logger", "taskName")
)
"""What every record has, or a line: no field of its own may take its place."""


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON. Lives as long as the program."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((name, value) for name, value in vars(record).items() if name not in _OWN)
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = describe(record.exc_info[1])
        # ASCII only: no reader of lines takes anything in it for the end of one.
        return json.dumps(line, default=str)


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at the moment: a progress bar takes its place, and makes room for lines."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def configure_logging(settings: Settings) -> None:
    """Write the log to standard error, as `LOG_LEVEL` and `LOG_FORMAT` say. Once a program."""
    handler = _Handler()
    if settings.log_format == "json":
        handler.setFormatter(JsonFormatter())
        # They would be lines that are no objects.
        logging.captureWarnings(capture=True)
    else:
        handler.setFormatter(logging.Formatter(TEXT))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    # It logs every frame's text at this level; content must not reach a log.
    logging.getLogger("trio-websocket").setLevel(logging.INFO)
    # It says of every span it sends where that went.
    logging.getLogger("urllib3").setLevel(logging.INFO)
