"""A room as lines on a console: what is said, when, and what happens besides."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console

from trio_chat.transcript import Transcript

NOON = datetime(2026, 11, 23, 12, 0, 7).astimezone()


def message(content: str, at: datetime = NOON, **fields: Any) -> dict[str, Any]:
    """What the server says of a message."""
    made = {"id": "m", "role": "user", "userId": "ada", "content": content, "timestamp": at.isoformat()}
    return {"type": "message:new", "message": made | fields}


def printed(*said: dict[str, Any], colours: bool = False) -> str:
    """Return what is printed of that, today being the day of `NOON`."""
    paper = io.StringIO()
    console = Console(file=paper, width=80, soft_wrap=True, highlight=False, force_terminal=colours)
    transcript = Transcript(console, NOON.date())
    for one in said:
        transcript.show(one)
    return paper.getvalue()


def test_the_lines_of_a_message_stay_together() -> None:
    """All but the first are below its text, not below other people's times."""
    assert (
        printed(message("one\ntwo\n\nfour")) == "12:00:07 ada one\n         two\n         \n         four\n"
    )


def test_a_day_is_told_when_it_is_another_one() -> None:
    """What was said yesterday does not read as if it was said today."""
    before = NOON - timedelta(days=1)
    lines = printed(message("a", before), message("b", before), message("c"), message("d")).splitlines()

    assert [lines[0], lines[3]] == ["-- Sunday, 22 November 2026", "-- Monday, 23 November 2026"]
    assert [line.split()[-1] for line in lines if not line.startswith("--")] == ["a", "b", "c", "d"]


def test_what_is_deleted_is_told_by_who_said_it_and_when() -> None:
    """An id tells people nothing; it is all there is of what was said long ago."""
    lines = printed(
        message("x"), {"type": "message:delete", "id": "m"}, {"type": "message:delete", "id": "m0"}
    ).splitlines()

    assert lines[1:] == ["-- what ada said at 12:00:07 was deleted", "-- message m0 was deleted"]


def test_each_of_the_people_has_a_colour() -> None:
    """The same one each time, and another one than assistants have."""
    ada, bob, assistant = [
        printed(message("x", userId=user, role=role), colours=True).partition(user)[0]
        for user, role in (("ada", "user"), ("bob", "user"), ("bob", "assistant"))
    ]

    assert ada == printed(message("y"), colours=True).partition("ada")[0]
    assert len({ada, bob, assistant}) == 3
