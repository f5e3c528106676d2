"""Sessions that are behind, and the mark on disk that outlives the process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from trio_chat.stores.base import Session
from trio_chat.stores.behind import Behind

from .hot_contract.house import EPOCH, NEWER, OLDER, SESSION

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


# The orderly end


def ended(directory: Path, *behind: Session) -> None:
    """Let a process end in order, with these sessions behind."""
    process = Behind(directory)
    for session in behind:
        process.note(session, True)
    process.close()


def test_process_that_ended_in_order_names_what_is_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next one does not trust these sessions, nor older ones of their rooms, and all others as before."""
    ended(tmp_path, SESSION, Session("other", OLDER))

    behind = Behind(tmp_path)

    assert behind.generation == ""
    assert {SESSION, Session(SESSION.room, OLDER), Session("other", OLDER)} == {
        Session(room, epoch)
        for room in (SESSION.room, "other", "third")
        for epoch in (OLDER, EPOCH, NEWER)
        if Session(room, epoch) in behind
    }
    assert [record.message for record in caplog.records] == [
        "Redis was away when the process before this one ended: rooms that begin a new session: 2"
    ]


def test_process_that_ended_with_nothing_behind_leaves_no_file(tmp_path: Path) -> None:
    """Whatever there was meanwhile."""
    process = Behind(tmp_path)
    process.note(SESSION, True)
    process.note(SESSION, False)
    process.close()

    assert not (tmp_path / "tc.behind").exists()


def test_of_two_sessions_of_a_room_the_newer_is_named(tmp_path: Path) -> None:
    """In whatever order they were noted, and whichever process did it."""
    ended(tmp_path, Session("one", NEWER), Session("one", EPOCH), Session("two", NEWER))
    ended(tmp_path, Session("two", OLDER))

    behind = Behind(tmp_path)

    assert Session("one", NEWER) in behind
    assert Session("two", NEWER) in behind


def test_named_session_stays_named_over_processes_that_do_not_meet_it(tmp_path: Path) -> None:
    """However they end. A session of another room that is behind no longer leaves it there, too."""
    ended(tmp_path, SESSION)
    for _ in range(2):
        Behind(tmp_path)
        ended(tmp_path)
    process = Behind(tmp_path)
    process.note(OTHER, True)
    process.note(OTHER, False)

    assert SESSION in Behind(tmp_path)


@pytest.mark.parametrize("epoch", [OLDER, EPOCH])
def test_session_is_named_while_the_store_may_come_to_it(tmp_path: Path, epoch: str) -> None:
    """It holds an older one, or this very one."""
    ended(tmp_path, SESSION)
    process = Behind(tmp_path)
    process.note_current(Session(SESSION.room, epoch))
    process.note_current(Session("other", NEWER))
    process.close()

    assert SESSION in Behind(tmp_path)


@pytest.mark.parametrize("how", ["ended", "followed"])
def test_session_is_named_until_the_store_cannot_come_back_to_it(tmp_path: Path, how: str) -> None:
    """It was ended there, or the store holds a newer one."""
    ended(tmp_path, SESSION)
    process = Behind(tmp_path)
    if how == "ended":
        process.note(SESSION, False)
    else:
        process.note_current(Session(SESSION.room, NEWER))
    process.close()

    assert not (tmp_path / "tc.behind").exists()


def test_process_that_died_behind_is_noticed_though_sessions_were_named(tmp_path: Path) -> None:
    """The mark takes the place of the names, and the next process begins a new generation."""
    ended(tmp_path, SESSION)
    Behind(tmp_path).note(OTHER, True)

    assert Behind(tmp_path).generation != ""


def test_more_sessions_than_the_file_names_begin_a_new_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the file does not grow for ever."""
    monkeypatch.setattr("trio_chat.stores.behind._MOST", 2)
    ended(tmp_path, *(Session(f"room{number}", EPOCH) for number in range(3)))

    assert Behind(tmp_path).generation != ""


@pytest.mark.parametrize("text", ["{", "[]", '{"room": 1}', '{"room": "x"}', "{}"])
def test_file_that_cannot_be_read_counts_as_the_mark(tmp_path: Path, text: str) -> None:
    """Rather too many new sessions than one number twice."""
    (tmp_path / "tc.behind").write_text(text)

    assert Behind(tmp_path).generation != ""


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
    assert repr(behind) == "<Behind left=0 sessions=1 generation=first>"

    behind.close()

    assert repr(behind) == "<Behind left=1 sessions=0 generation=first>"


def test_directory_that_cannot_be_written_is_named_at_start(
    readonly: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning says what is not protected; the end says no more."""
    Behind(readonly).close()

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
