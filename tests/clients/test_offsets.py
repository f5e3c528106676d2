"""Offsets: where a client is in its rooms, as a string it hands back."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_chat.clients.offsets import (
    FRESH,
    LEFT,
    MAX_OFFSET,
    NOWHERE,
    TOO_MANY,
    Offset,
    join_places,
    label_of,
    offset_of,
    place_of,
    read_offset,
)
from trio_chat.message import MAX_INTEGER, Position
from trio_chat.testing import strategies

EPOCH = "01890a5d-ac96-774b-bcce-b302099a8057"

positions = st.builds(Position, strategies.epochs() | st.just(EPOCH), st.integers(0, MAX_INTEGER))


@given(st.dictionaries(strategies.rooms(), positions, min_size=1, max_size=5))
def test_what_is_written_is_read(places: dict[str, Position]) -> None:
    """A client that hands its offset back is where it was, in each of its rooms."""
    *others, last = [place_of(room, place.epoch, place.seq) for room, place in places.items()]

    offset = read_offset(offset_of(join_places(others), last).decode())

    assert offset is not None
    assert not offset.fresh
    assert {room: offset.place(room) for room in places} == places
    assert offset.names(places)


def test_an_offset_is_short_and_needs_no_escapes() -> None:
    """It goes with every event: the epoch takes 22 characters, and JSON and URLs leave all of it as it is."""
    assert place_of("r", EPOCH, 7) == b"%b=AYkKXayWd0u8zrMCCZqAVw.7" % label_of("r").encode()


@given(strategies.rooms())
def test_a_label_is_short_whatever_the_room_is_called(room: str) -> None:
    """Eight characters, none of which means anything within an offset."""
    assert len(label_of(room)) == 8
    assert label_of(room).replace("-", "").replace("_", "").isalnum()


def test_a_label_stays_the_same() -> None:
    """The next process, and the next release, read what this one has written."""
    assert label_of("team-42/general") == "NLlrUdpx"


def test_a_client_is_in_the_rooms_it_names_and_no_others() -> None:
    """One more or one less is another set of rooms."""
    offset = Offset({label_of(room): Position(EPOCH, 1) for room in ("r", "s")})

    assert offset.names(["s", "r"])
    assert not offset.names(["r"])
    assert not offset.names(["r", "s", "t"])
    assert offset.place("t") is None


@pytest.mark.parametrize(("offset", "fresh"), [(NOWHERE, True), (LEFT, False)])
def test_whom_no_room_has_reached_and_who_left_them_all_are_told_apart(offset: bytes, fresh: bool) -> None:
    """Both are in no room, as far as they know."""
    there = read_offset(offset.decode())

    assert there == Offset(fresh=fresh)
    assert there.names([])
    assert (there == FRESH) is fresh


def many_places(count: int) -> list[bytes]:
    return [place_of(f"room {number}", EPOCH, MAX_INTEGER) for number in range(count)]


def test_an_offset_does_not_grow_beyond_all_bounds() -> None:
    """Of too many rooms it says only that they are too many, which is read as nothing at all."""
    size = len(place_of("r", EPOCH, MAX_INTEGER)) + 1
    most = many_places((MAX_OFFSET + 1) // size)
    joined = join_places(most)
    assert MAX_OFFSET - size < len(joined) <= MAX_OFFSET
    assert read_offset(joined.decode()) is not None

    others = join_places([*most, *many_places(1)])

    assert others == offset_of(others, place_of("r", EPOCH, 1)) == TOO_MANY
    assert read_offset(TOO_MANY.decode()) is None


def test_with_no_other_room_an_offset_is_the_place() -> None:
    """And without any place there is nothing to join."""
    place = place_of("r", EPOCH, 1)

    assert offset_of(join_places([]), place) == join_places([place]) == place
    assert join_places([]) == b""


GOOD = place_of("r", EPOCH, 7).decode()
LARGEST = place_of("r", EPOCH, MAX_INTEGER).decode()


@pytest.mark.parametrize(
    "offset",
    [
        "",
        "1",
        "heartbeat",
        ",",
        f"{GOOD},",
        f"0,{GOOD}",
        f"-,{GOOD}",
        "r",
        "r=",
        "r=.",
        "r=.7",
        GOOD.removesuffix("7"),
        GOOD.replace(".7", ".-1"),
        GOOD.replace(".7", ".x"),
        GOOD.replace(".7", ".7.7"),
        LARGEST.replace(str(MAX_INTEGER), str(MAX_INTEGER + 1)),
        GOOD.replace(".7", "." + "1" * 100_000),
        GOOD.replace("AYk", "AY"),
        GOOD.replace("AYk", "äYk"),
        GOOD.replace("AYk", "\ud83dYk"),
        # Sixteen bytes that are no epoch.
        f"r={'A' * 22}.7",
    ],
)
def test_what_is_no_offset_of_ours_is_none(offset: str) -> None:
    """Other servers have offsets too, and the client keeps the last text it was told."""
    assert read_offset(offset) is None


hostile = st.text(st.sampled_from("r=,.07AYkKXayWd0u8zrMCCZqAVw-_+* é\ud83d٣"), max_size=60)


@given(
    st.text() | hostile | hostile.map(f"{GOOD},{{}}".format) | st.text(max_size=4).map(f"{GOOD}{{}}".format)
)
@example(f"={GOOD.partition('=')[2]}")
def test_any_text_can_be_handed_back(offset: str) -> None:
    """Nothing a client says raises, and what is read is a position."""
    there = read_offset(offset)

    for place in (there.places if there else {}).values():
        assert 0 <= place.seq <= MAX_INTEGER
        assert place_of("r", place.epoch, place.seq)
