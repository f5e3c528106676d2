"""One task that waits for the sockets of all connections, and hands each what has come.

1. A socket is registered with the kernel once and stays so. A task of its own would register anew, and be switched to, for
   every message.
2. What comes is handed over synchronously. Whoever takes it must not wait; what it raises ends its own pouring only.
3. A socket is read once a round, so that nobody who sends much keeps the others waiting.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Final

import outcome
import trio
from typing_extensions import override

from trio_chat.gathering import Gathering

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

RECEIVE: Final = 16384
"""How many bytes are read at once."""

_MOST: Final = 32
"""How many sockets are read in one go: while the store works on what they said, the next ones are read."""


class _Pouring:
    """A socket that is read, who takes what comes, and the task that waits for the end of it."""

    __slots__ = ("receive", "take", "task")

    def __init__(self, receive: Callable[[int], bytes], take: Callable[[bytes], bool]) -> None:
        self.receive = receive
        self.take = take
        self.task: trio.lowlevel.Task | None = trio.lowlevel.current_task()

    def end(self, result: outcome.Outcome[None]) -> None:
        """Let the task go on."""
        task, self.task = self.task, None
        if task is not None:
            trio.lowlevel.reschedule(task, result)

    def abort(self, _: Callable[[], object]) -> trio.lowlevel.Abort:
        """Let the task be cancelled."""
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED


class Poller:
    """See the module. Lives until it is closed, which the connections must not outlive.

    Args:
        gathering: lasts while the sockets that have something are read.
    """

    def __init__(self, gathering: Gathering | None = None) -> None:
        self._epoll = select.epoll()
        self._gathering = gathering or Gathering()
        self._pourings: dict[int, _Pouring] = {}

    @override
    def __repr__(self) -> str:
        return f"<Poller sockets={len(self._pourings)}>"

    def close(self) -> None:
        """Let go of the kernel's part. Nothing is poured any more."""
        self._epoll.close()

    async def run(self) -> None:
        """Hand over what comes, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            self._pour_all()

    def _pour_all(self) -> None:
        # Not in the loop above, whose variables would keep the last connection in memory after its end.
        self._gathering.begin()
        try:
            for descriptor, _ in self._epoll.poll(0, _MOST):
                pouring = self._pourings.get(descriptor)
                if pouring is not None and pouring.task is not None:
                    _pour(pouring)
        finally:
            self._gathering.end()

    async def pour(self, sock: socket.socket, take: Callable[[bytes], bool]) -> None:
        """Call `take` with what comes, until it returns False; with b"" if nothing will come, for whatever reason.

        Cancelling is safe. What `take` raises is raised here.
        """
        descriptor = sock.fileno()
        pouring = _Pouring(sock.recv, take)
        self._epoll.register(descriptor, select.EPOLLIN)
        self._pourings[descriptor] = pouring
        try:
            await trio.lowlevel.wait_task_rescheduled(pouring.abort)
        finally:
            # A socket that was closed is forgotten by the kernel, and its number may be another's by now.
            if self._pourings.get(descriptor) is pouring:
                del self._pourings[descriptor]
            if sock.fileno() >= 0:
                self._epoll.unregister(descriptor)


def _pour(pouring: _Pouring) -> None:
    """Read a socket once, and hand over what has come."""
    try:
        data = pouring.receive(RECEIVE)
    except BlockingIOError:
        return  # woken up for nothing
    except OSError:
        data = b""
    try:
        if not pouring.take(data) or not data:
            pouring.end(outcome.Value(None))
    except Exception as failure:  # noqa: BLE001 - raised where the connection's failures end
        pouring.end(outcome.Error(failure))
