"""Messages, events, epochs, and every limit a text must keep."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from trio_chat.errors import BadRequest, ReplyCode
from trio_chat.message import (
    MAX_INTEGER,
    Deleted,
    Edited,
    Event,
    Message,
    Posted,
    Receipt,
    check_content,
    check_id,
    check_metadata,
    check_role,
    check_room,
    check_text,
    epoch_started,
    is_epoch,
    new_epoch,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def message(**changes: Any) -> Message:
    """Make a message; what the test does not say is of no importance to it."""
    fields: dict[str, Any] = {
        "id": "m1",
        "role": "user",
        "content": "hi",
        "timestamp": NOON,
        "metadata": {},
        "user_id": "ann",
        "seq": 3,
        "rev": 7,
    }
    return Message(**{**fields, **changes})


# --- structs


def test_message_speaks_the_fields_words() -> None:
    """A message as JSON has the names its clients use."""
    fields = msgspec.json.decode(msgspec.json.encode(message()))

    assert fields == {
        "id": "m1",
        "role": "user",
        "content": "hi",
        "timestamp": "2026-03-01T12:00:00Z",
        "metadata": {},
        "userId": "ann",
        "seq": 3,
        "rev": 7,
    }


def test_message_is_frozen() -> None:
    """Nobody changes a message; a change is an event."""
    for name in Message.__struct_fields__:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(message(), name, None)


@pytest.mark.parametrize("event", [Posted(message()), Edited(message(), NOON), Deleted(message(), NOON)])
def test_seq_of_an_event_is_the_rev_of_its_message(event: Event) -> None:
    """An event's number is the revision it brings its message to."""
    assert event.seq == 7


@pytest.mark.parametrize(
    ("event", "kind"),
    [(Posted(message()), "post"), (Edited(message(), NOON), "edit"), (Deleted(message(), NOON), "delete")],
)
def test_events_come_back_as_what_they_were(event: Event, kind: str) -> None:
    """An event says in JSON of which kind it is, and is read back as the same."""
    text = msgspec.json.encode(event)

    assert msgspec.json.decode(text)["kind"] == kind
    assert msgspec.json.decode(text, type=Posted | Edited | Deleted) == event


def test_receipt_speaks_the_fields_words() -> None:
    """A receipt as JSON names the message as its clients do."""
    assert msgspec.json.encode(Receipt("m1", NOON)) == (
        b'{"lastReadMessageId":"m1","timestamp":"2026-03-01T12:00:00Z"}'
    )


# --- epochs


def test_epoch_is_a_uuid_of_version_seven() -> None:
    """An epoch has version 7 and the variant of RFC 9562."""
    pattern = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"

    assert all(re.fullmatch(pattern, new_epoch(NOON)) for _ in range(50))


def test_epochs_differ() -> None:
    """Two epochs of the same millisecond differ."""
    assert len({new_epoch(NOON) for _ in range(100)}) == 100


def test_epochs_sort_by_time() -> None:
    """An epoch made a millisecond later sorts behind."""
    assert new_epoch(NOON) < new_epoch(NOON + timedelta(milliseconds=1))


def test_epoch_sorts_behind_its_predecessor_in_the_same_millisecond() -> None:
    """A session that follows another at once sorts behind it."""
    old = new_epoch(NOON)

    assert all(new_epoch(NOON, old) > old for _ in range(50))


def test_epoch_sorts_behind_its_predecessor_though_the_clock_went_back() -> None:
    """A clock that was set back an hour does not put a session before the one it follows."""
    old = new_epoch(NOON)

    assert new_epoch(NOON - timedelta(hours=1), old) > old


def test_epoch_follows_the_clock_where_it_can() -> None:
    """An epoch with an older predecessor carries the time of the clock."""
    old = new_epoch(NOON)

    assert epoch_started(new_epoch(NOON + timedelta(hours=1), old)) == NOON + timedelta(hours=1)


def test_epoch_tells_when_it_was_made() -> None:
    """The time of an epoch can be read from it, to the millisecond."""
    moment = NOON + timedelta(milliseconds=1234)

    assert epoch_started(new_epoch(moment)) == moment


def test_epoch_has_the_shape_of_an_epoch() -> None:
    """What `new_epoch` makes `is_epoch` knows."""
    assert is_epoch(new_epoch(NOON))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "019ca8f8-6c00-4abc-8def-0123456789ab",  # version 4
        "019ca8f8-6c00-7abc-cdef-0123456789ab",  # another variant
        "019CA8F8-6C00-7ABC-8DEF-0123456789AB",
        "019ca8f86c007abc8def0123456789ab",
        "019ca8f8-6c00-7abc-8def-0123456789ab\n",
    ],
)
def test_other_texts_are_no_epochs(text: str) -> None:
    """Another UUID, another spelling, another text: no epoch."""
    assert not is_epoch(text)


# --- rooms, ids, roles


@pytest.mark.parametrize("room", ["a", "team-42/general", "A.z_0:9@x", "r" * 128, "..", "/"])
def test_room_within_the_limits(room: str) -> None:
    """A room id of 1-128 characters of the alphabet is returned as it is."""
    assert check_room(room) == room


@pytest.mark.parametrize(
    "room", ["", "r" * 129, "a b", "a\n", "ä", "a{b}", "a*", "a?", "a\x00", "a%", "a,b", "a+b", "a\\b"]
)
def test_room_outside_the_limits(room: str) -> None:
    """Any other room id is refused."""
    with pytest.raises(BadRequest, match="room: expected 1-128 characters") as caught:
        check_room(room)

    assert caught.value.code is ReplyCode.BAD_REQUEST


@pytest.mark.parametrize("text", ["a", "x" * 128, "ä€😀", "a b", "' OR 1=1 --", "<script>", "日" * 128])
def test_id_within_the_limits(text: str) -> None:
    """An id of 1-128 characters is returned as it is."""
    assert check_id("id", text) == text


@pytest.mark.parametrize(
    "text",
    ["", "x" * 129, "a\x00", "a\n", "\t", "\x1f", "\x7f", "a\x85ERROR b", "\x9b31m", "\u2028", "\u2029"],
)
def test_id_outside_the_limits(text: str) -> None:
    """An id that is empty, too long or has control characters is refused."""
    with pytest.raises(BadRequest, match="user: expected 1-128 characters without control"):
        check_id("user", text)


def test_id_with_a_lone_surrogate() -> None:
    """An id that cannot be encoded is refused: no store could keep it."""
    with pytest.raises(BadRequest, match="id: "):
        check_id("id", "a\ud800")


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_known_roles(role: str) -> None:
    """The three roles are returned as they are."""
    assert check_role(role) == role


@pytest.mark.parametrize("role", ["", "User", "tool", "user "])
def test_unknown_roles(role: str) -> None:
    """Any other role is refused, with the three it might be."""
    with pytest.raises(BadRequest, match="role: expected one of user, assistant, system"):
        check_role(role)


# --- content


@pytest.mark.parametrize("text", ["a", " ", "\n\t\r", "ä€😀", "\u200b", "\ufeff", "\x01\x7f", "\u202e"])
def test_content_is_kept_as_it_is(text: str) -> None:
    """Any text but the empty one is a content; hostile ones too."""
    assert check_content(text, 100) == text


def test_empty_content() -> None:
    """A message says something."""
    with pytest.raises(BadRequest, match="content: expected a text, got an empty one"):
        check_content("", 100)


@pytest.mark.parametrize("text", ["a" * 100, "ä" * 50, "€" * 33 + "a", "😀" * 25])
def test_content_of_exactly_the_limit(text: str) -> None:
    """The limit counts bytes of UTF-8, and may be reached."""
    assert len(text.encode()) == 100
    assert check_content(text, 100) == text


@pytest.mark.parametrize("text", ["a" * 101, "ä" * 50 + "a", "€" * 34, "😀" * 25 + "a"])
def test_content_above_the_limit(text: str) -> None:
    """One byte more is refused."""
    with pytest.raises(BadRequest, match="content: expected at most 100 bytes of UTF-8"):
        check_content(text, 100)


def test_content_with_a_nul() -> None:
    """Postgres stores no U+0000."""
    with pytest.raises(BadRequest, match=r"content: the character U\+0000"):
        check_content("a\x00b", 100)


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\ude00\ud83d"])
def test_content_with_a_lone_surrogate(text: str) -> None:
    """Half of a pair is not a character."""
    with pytest.raises(BadRequest, match="content: a lone surrogate"):
        check_content(text, 100)


def test_text_that_can_be_kept() -> None:
    """A text within the limits passes without a word."""
    check_text("name", "ä€😀")


# --- metadata


def nested(depth: int) -> dict[str, Any]:
    """Make an object of this depth, the outermost being 1."""
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"x": value}
    return value


def test_no_metadata() -> None:
    """Empty metadata is an empty object."""
    assert check_metadata({}, 10) == {}


@pytest.mark.parametrize(
    "metadata",
    [
        {"null": None, "yes": True, "no": False},
        {"text": "ä€😀", "": "empty key"},
        {"int": MAX_INTEGER, "negative": -MAX_INTEGER, "float": 1.5, "tiny": 5e-324, "huge": 1e308},
        {"list": [1, [2, {"a": []}]], "object": {"b": {}}},
        {"__proto__": 1, "$where": 2, "a.b": 3},
    ],
)
def test_metadata_of_every_kind(metadata: dict[str, Any]) -> None:
    """Every JSON value is kept as it is."""
    assert check_metadata(metadata, 1000) == metadata


def test_metadata_is_copied() -> None:
    """What the caller does to its dictionary later does not change the message."""
    metadata = {"a": 1}
    kept = check_metadata(metadata, 100)
    metadata["a"] = 2

    assert kept == {"a": 1}


def test_nested_metadata_is_copied() -> None:
    """What the caller does inside its dictionary later does not change the message either."""
    metadata = {"tags": ["a"]}
    kept = check_metadata(metadata, 100)
    metadata["tags"].append("b")

    assert kept == {"tags": ["a"]}


def test_metadata_reads_before_a_store_as_it_does_after() -> None:
    """A tuple is a list of JSON from the beginning, so that a restart of the room changes nothing."""
    kept = check_metadata({"pair": (1, 2)}, 100)

    assert kept == msgspec.json.decode(msgspec.json.encode(kept))


def test_metadata_of_another_mapping() -> None:
    """Any mapping is taken, at every depth, and kept as plain dictionaries."""
    kept = check_metadata(MappingProxyType({"a": MappingProxyType({"b": 1})}), 100)

    assert kept == {"a": {"b": 1}}


def test_metadata_of_exactly_the_limit() -> None:
    """The limit counts bytes of JSON, and may be reached."""
    metadata = {"a": "x" * 92}

    assert len(msgspec.json.encode(metadata)) == 100
    assert check_metadata(metadata, 100) == metadata


def test_metadata_above_the_limit() -> None:
    """One byte more is refused."""
    with pytest.raises(BadRequest, match="metadata: expected at most 100 bytes of JSON"):
        check_metadata({"a": "x" * 93}, 100)


def test_metadata_as_deep_as_may_be() -> None:
    """An object of 32 levels is kept, a value in the innermost would be one more."""
    assert check_metadata(nested(32), 1000) == nested(32)


@pytest.mark.parametrize("metadata", [nested(33), nested(10_000), {"a": [[nested(31)]]}])
def test_metadata_too_deep(metadata: dict[str, Any]) -> None:
    """Whatever is nested deeper is refused, without running out of stack."""
    with pytest.raises(BadRequest, match="metadata: nested deeper than 32 levels"):
        check_metadata(metadata, 10**6)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_metadata_with_numbers_that_are_none(number: float) -> None:
    """JSON has no such numbers."""
    with pytest.raises(BadRequest, match="metadata: numbers must be finite"):
        check_metadata({"a": [number]}, 100)


@pytest.mark.parametrize("number", [MAX_INTEGER + 1, -MAX_INTEGER - 1, 10**30])
def test_metadata_with_integers_beyond_53_bits(number: int) -> None:
    """Clients would read these differently."""
    with pytest.raises(BadRequest, match="metadata: integers beyond 53 bits"):
        check_metadata({"a": number}, 100)


def test_metadata_with_an_integer_no_float_can_hold() -> None:
    """An integer of 401 digits is refused like any other that is too large; JSON can carry it."""
    with pytest.raises(BadRequest, match="metadata: integers beyond 53 bits"):
        check_metadata(msgspec.json.decode(b'{"a":1' + b"0" * 400 + b"}"), 1000)


@pytest.mark.parametrize("metadata", [{"a": "\x00"}, {"\x00": 1}, {"a": [{"b": "x\x00"}]}])
def test_metadata_with_a_nul(metadata: dict[str, Any]) -> None:
    """Neither keys nor texts may have U+0000."""
    with pytest.raises(BadRequest, match=r"metadata: the character U\+0000"):
        check_metadata(metadata, 100)


@pytest.mark.parametrize("metadata", [{"a": "\ud800"}, {"\udfff": 1}])
def test_metadata_with_a_lone_surrogate(metadata: dict[str, Any]) -> None:
    """Neither keys nor texts may have half a character."""
    with pytest.raises(BadRequest, match="metadata: a lone surrogate"):
        check_metadata(metadata, 100)


@pytest.mark.parametrize("value", [b"bytes", object(), {1, 2}, NOON, 1j])
def test_metadata_that_is_not_json(value: object) -> None:
    """A value JSON does not know is refused, and named by its type."""
    with pytest.raises(BadRequest, match=rf"metadata: {type(value).__name__} is not JSON"):
        check_metadata({"a": value}, 100)


@pytest.mark.parametrize("metadata", [{1: "a"}, {"a": {None: 1}}])
def test_metadata_with_keys_that_are_no_texts(metadata: dict[Any, Any]) -> None:
    """The keys of a JSON object are texts."""
    with pytest.raises(BadRequest, match="metadata: the keys of a JSON object are texts"):
        check_metadata(metadata, 100)
