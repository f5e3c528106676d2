"""A room that crashes costs its own members a moment, and nobody else anything."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio
from typing_extensions import override

from tests.rooms import crash_at, heard, seqs
from trio_chat.errors import ReplyCode, Unavailable
from trio_chat.ledger import Ledger
from trio_chat.mail import Answer, Closed, Hearing, Join
from trio_chat.seat import PlainWire, Seat, ignore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio.testing import MockClock


from .house import Stores, mail_post


async def test_crash_stays_in_its_room(
    stores: Stores, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender is told, the members stay, the room is back within a second, and other rooms do not notice."""
    crash_at(monkeypatch, "bad")
    async with (
        stores.lobby() as lobby,
        lobby.join("r", user="ann") as ann,
        lobby.join("r", user="bob") as bob,
        lobby.join("other", user="cat") as cat,
    ):
        await ann.post("one")
        with pytest.raises(Unavailable, match="failed on this request"):
            await ann.post("bad")
        began = trio.current_time()
        accepted = await ann.post("two")
        await cat.post("one")

        assert trio.current_time() - began < 1
        assert (accepted.epoch, accepted.seq) == (ann.joined.epoch, 2)
        assert (seqs(heard(bob)), seqs(heard(cat))) == ([1, 2], [1])
        assert lobby.statistics().crashes == 1


async def test_others_mail_of_the_crashed_turn(
    stores: Stores, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others said in the same turn is carried out, once."""
    crash_at(monkeypatch, "bad")
    async with stores.lobby() as lobby, lobby.join("r", user="bob") as bob:
        answers = [mail_post(lobby, content) for content in ("one", "bad", "two")]
        await trio.sleep(1)

        assert [type(answer).__name__ for [answer] in answers] == ["Accepted", "Unavailable", "Accepted"]
        assert seqs(heard(bob)) == [1, 2]


async def test_slow_crashes_do_not_close_a_room(
    stores: Stores, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash now and then is survived for ever."""
    crash_at(monkeypatch, "bad")
    async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
        for _ in range(20):
            with pytest.raises(Unavailable, match="failed on this request"):
                await ann.post("bad")
            await trio.sleep(20)

        assert (await ann.post("one")).seq == 1


async def test_crash_loop_closes_that_room_alone(
    stores: Stores, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After five crashes within a minute the members are put out; the next who comes gets the room as it was."""
    crash_at(monkeypatch, "bad")
    async with (
        stores.lobby() as lobby,
        lobby.join("r", user="ann") as ann,
        lobby.join("other", user="cat") as cat,
    ):
        await ann.post("one")
        codes: list[ReplyCode] = []
        for _ in range(5):
            with pytest.raises(Unavailable) as caught:
                await ann.post("bad")
            codes.append(caught.value.code)

        assert codes == [*[ReplyCode.UNAVAILABLE] * 4, ReplyCode.ROOM_CLOSED]
        assert isinstance(heard(ann)[-1], Closed)
        assert list(lobby.rooms) == ["other"]
        assert (await cat.post("one")).seq == 1
        async with lobby.join("r", user="bob") as bob:
            assert [message.content for message in bob.messages] == ["one"]
            assert (await bob.post("two")).seq == 2


async def test_room_that_cannot_even_begin(
    stores: Stores, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A room that crashes before it takes any mail answers it when it is closed."""

    async def crash(self: Ledger) -> None:
        raise RuntimeError("a planted bug")

    monkeypatch.setattr(Ledger, "open", crash)
    async with stores.lobby() as lobby:
        with pytest.raises(Unavailable, match="failed too often") as caught:
            async with lobby.join("r", user="ann"):
                pytest.fail("nobody can be in there")

        assert caught.value.code is ReplyCode.ROOM_CLOSED


class MuteWire(PlainWire):
    """A wire that cannot wrap anything; its own voice."""

    @override
    def tell(self, hearings: Sequence[Hearing]) -> tuple[Hearing, ...]:
        """Fail."""
        raise RuntimeError("a planted bug")


class MuteSeat(Seat):
    """A seat on such a wire."""

    @property
    @override
    def wire(self) -> PlainWire:
        """Return the wire that fails."""
        return MUTE


MUTE = MuteWire()


async def test_wire_that_fails_at_everything(stores: Stores, autojump_clock: MockClock) -> None:
    """A bug in a wire closes the room in which it is spoken, and no other; nobody waits for ever."""
    async with stores.lobby() as lobby, lobby.join("other", user="cat") as cat:
        seat = MuteSeat("r", "ann", lambda mail: lobby.mail("r", mail), lobby.settings)
        lobby.mail("r", Join(seat, None, ignore))
        answers: list[list[Answer]] = []
        for _ in range(5):
            answers.append(mail_post(lobby))
            await trio.sleep(2)

        assert [len(answer) for answer in answers] == [1] * 5
        assert (await cat.post("hi")).seq == 1
        async with lobby.join("r", user="bob") as bob:
            await bob.post("hi")
            assert len(seqs(heard(bob))) == 1


async def test_crash_is_logged_without_content(
    stores: Stores,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An operator sees where it crashed, and neither what was said nor what the exception says."""
    crash_at(monkeypatch, "a secret text")
    with caplog.at_level(logging.DEBUG):
        async with stores.lobby() as lobby, lobby.join("r", user="ann") as ann:
            with pytest.raises(Unavailable):
                await ann.post("a secret text")

    assert "room r crashed (1 times within a minute)" in caplog.text
    assert "RuntimeError at rooms.py:" in caplog.text
    assert "a planted bug" not in caplog.text
    assert "a secret text" not in caplog.text
