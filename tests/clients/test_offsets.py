"""Offsets: where a client is in its rooms, as a string it hands back."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_chat.clients.offsets import NOWHERE, offset_of, place_of, read_offset
from trio_chat.message import MAX_INTEGER, Position
from trio_chat.testing import strategies

EPOCH = "01890a5d-ac96-774b-bcce-b302099a8057"

positions = st.builds(Position, strategies.epochs() | st.just(EPOCH), st.integers(0, MAX_INTEGER))


@given(st.dictionaries(strategies.rooms(), positions, max_size=5))
def test_what_is_written_is_read(places: dict[str, Position]) -> None:
    """A client that hands its offset back is where it was, in each of its rooms."""
    offset = offset_of(place_of(room, place.epoch, place.seq) for room, place in places.items())

    assert read_offset(offset.decode()) == places


def test_an_offset_is_short_and_needs_no_escapes() -> None:
    """It goes with every event: the epoch takes 22 characters, and JSON and URLs leave all of it as it is."""
    assert place_of("r", EPOCH, 7) == b"r=AYkKXayWd0u8zrMCCZqAVw.7"


def test_in_no_room_one_is_nowhere() -> None:
    """That is an offset too: it replaces the one of an earlier connection."""
    assert offset_of([]) == NOWHERE
    assert read_offset(NOWHERE.decode()) == {}


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


hostile = st.text(st.sampled_from("r=,.07AYkKXayWd0u8zrMCCZqAVw-_+ é\ud83d٣"), max_size=60)


@given(
    st.text() | hostile | hostile.map(f"{GOOD},{{}}".format) | st.text(max_size=4).map(f"{GOOD}{{}}".format)
)
@example(f"={GOOD.partition('=')[2]}")
def test_any_text_can_be_handed_back(offset: str) -> None:
    """Nothing a client says raises, and what is read is a position."""
    places = read_offset(offset)

    for place in (places or {}).values():
        assert 0 <= place.seq <= MAX_INTEGER
        assert place_of("r", place.epoch, place.seq)
