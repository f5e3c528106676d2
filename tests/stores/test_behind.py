"""Sessions that are behind, and the mark on disk that outlives the process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from trio_chat.stores.base import Session
from trio_chat.stores.behind import Behind

from .hot_contract import EPOCH, SESSION

if TYPE_CHECKING:
    from pathlib import Path


OTHER = Session("other", EPOCH)


@pytest.fixture
def readonly(tmp_path: Path) -> Path:
    """A directory that cannot be written, whoever we are: a file is in its place."""
    place = tmp_path / "file"
    place.touch()
    return place / "data"


def test_mark_is_there_while_any_session_is_behind(tmp_path: Path) -> None:
    """It comes with the first and goes with the last, however often each is told."""
    behind, seen = Behind(tmp_path), []
    for session, is_behind in [
        (SESSION, True),
        (SESSION, True),
        (OTHER, True),
        (SESSION, False),
        (OTHER, False),
    ]:
        behind.note(session, is_behind)
        seen.append((tmp_path / "tc.behind").exists())

    assert seen == [True, True, True, True, False]
    assert SESSION not in behind


def test_generation_changes_with_a_process_that_died_behind(tmp_path: Path) -> None:
    """Once for each, and it stays over every other end."""
    generations = [Behind(tmp_path).generation]
    for dies in (True, False, True):
        process = Behind(tmp_path)
        process.note(SESSION, True)
        process.note(SESSION, dies)
        generations.append(Behind(tmp_path).generation)

    first, second, third, fourth = generations
    assert first == ""
    assert second == third
    assert len({first, second, fourth}) == 3


def test_names_do_not_touch_each_other(tmp_path: Path) -> None:
    """Servers with prefixes of their own may share a directory."""
    Behind(tmp_path, "one").note(SESSION, True)

    assert Behind(tmp_path, "two").generation == ""
    assert Behind(tmp_path, "one").generation != ""


def test_without_a_directory_only_memory_knows() -> None:
    """A program that wants no files gets none."""
    behind = Behind()
    behind.note(SESSION, True)

    assert SESSION in behind
    assert "sessions=1 generation=first" in repr(behind)


def test_directory_that_cannot_be_written_is_named_at_start(
    readonly: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning says what is not protected."""
    Behind(readonly)

    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert f"DATA_DIR={readonly} cannot be written" in record.message
    assert "numbers of messages may be given out twice" in record.message


def test_mark_that_cannot_be_written_is_an_error_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again with the next session."""
    behind = Behind(tmp_path / "data")
    (tmp_path / "data").rename(tmp_path / "away")
    behind.note(SESSION, True)
    (tmp_path / "away").rename(tmp_path / "data")
    complaints = [record.levelname for record in caplog.records]
    behind.note(OTHER, True)

    assert complaints == ["ERROR"]
    assert (tmp_path / "data" / "tc.behind").exists()
