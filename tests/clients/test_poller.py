"""`Poller` hands over what comes on many sockets, and keeps their failures apart."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import pytest
import trio
import trio.testing

from trio_chat.clients.poller import RECEIVE, Poller


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection, neither of which blocks."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    """One that runs."""
    with closing(Poller()) as made:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.run)
            yield made
            nursery.cancel_scope.cancel()


class Glass:
    """Takes what is poured, until it is full."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.poured: list[bytes] = []

    def take(self, data: bytes) -> bool:
        """Take a piece; return whether there is room for another."""
        self.poured.append(data)
        return len(self.poured) < self.size


async def test_hands_over_what_comes_until_told_to_stop(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    """What comes afterwards stays in the socket, for whoever asks next."""
    ours, theirs = pair
    glass = Glass(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.pour, ours, glass.take)
        for piece in (b"one", b"two"):
            theirs.send(piece)
            await trio.testing.wait_all_tasks_blocked(0.01)
    theirs.send(b"three")

    assert glass.poured == [b"one", b"two"]
    assert ours.recv(99) == b"three"
    assert repr(poller) == "<Poller sockets=0>"


async def test_the_end_is_handed_over_as_nothing(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    """It ends the pouring, whatever the taker says."""
    ours, theirs = pair
    glass = Glass(9)
    theirs.send(b"last")
    theirs.close()
    with trio.fail_after(5):
        await poller.pour(ours, glass.take)

    assert glass.poured == [b"last", b""]


async def test_a_reset_is_an_end(poller: Poller) -> None:
    """Nothing more will come, for whatever reason."""
    listener = socket.create_server(("127.0.0.1", 0))
    theirs = socket.create_connection(listener.getsockname())
    ours, _ = listener.accept()
    ours.setblocking(False)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    theirs.close()
    glass = Glass(9)
    with listener, ours, trio.fail_after(5):
        await poller.pour(ours, glass.take)

    assert glass.poured == [b""]


async def test_a_failure_is_raised_where_it_belongs(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    """The others do not notice."""
    ours, theirs = pair
    others, peer = socket.socketpair()
    others.setblocking(False)
    glass = Glass(1)

    def fail(_: bytes) -> bool:
        raise LookupError("not taken")

    with others, peer, trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.pour, others, glass.take)
            theirs.send(b"x")
            with pytest.raises(LookupError, match="not taken"):
                await poller.pour(ours, fail)
            peer.send(b"y")

    assert glass.poured == [b"y"]


async def test_cancelling_loses_nothing(poller: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    """The next pouring of the same socket goes on."""
    ours, theirs = pair
    glass = Glass(1)
    with trio.move_on_after(0.01):
        await poller.pour(ours, glass.take)
    theirs.send(b"later")
    with trio.fail_after(5):
        await poller.pour(ours, glass.take)

    assert glass.poured == [b"later"]


async def test_a_socket_closed_meanwhile_does_no_harm(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    """The kernel forgets it; its number may soon be somebody else's."""
    ours, theirs = pair
    with trio.move_on_after(0.01) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.pour, ours, Glass(9).take)
            await trio.testing.wait_all_tasks_blocked()
            ours.close()
            theirs.close()
            nursery.cancel_scope.cancel()

    assert not scope.cancelled_caught
    assert repr(poller) == "<Poller sockets=0>"


async def test_much_from_one_does_not_keep_another_waiting(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Each is read once a round."""
    ours, theirs = pair
    others, peer = socket.socketpair()
    others.setblocking(False)
    order: list[str] = []

    def much(_: bytes) -> bool:
        order.append("much")
        return len(order) < 4

    def little(_: bytes) -> bool:
        order.append("little")
        return False

    theirs.send(bytes(3 * RECEIVE))
    peer.send(b"x")
    with others, peer, trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.pour, ours, much)
            nursery.start_soon(poller.pour, others, little)

    assert order.index("little") < 2
