"""Says when the event loop does not run, and what keeps it from running.

1. A task of the loop *feeds* the dog now and then; a thread *looks* whether it has been fed. Nothing is done per message.
2. A loop that was not fed for too long is reported once, with the places its thread is at, innermost first; when it
   runs again it says for how long it had not. Code that keeps the interpreter to itself shows only then.
3. A process that was stopped, or got no processor, is no blocked loop: the thread notices that it was late itself.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from traceback import walk_stack

import trio
from typing_extensions import override

from trio_chat.failures import describe_places

logger = logging.getLogger(__name__)

_LOOKS = 4
"""How often it is fed, and looked after, in the time that is too long."""


class Watchdog:
    """What is decided, by a clock in seconds. `feed` is for the loop, `look` for the thread.

    Args:
        patience: seconds without being fed that are too long.
        now: the clock.
    """

    def __init__(self, patience: float, now: float) -> None:
        self._patience = patience
        self._fed = self._looked = now
        self._reported = -1.0
        """When it had been fed last before what was reported last."""

    @override
    def __repr__(self) -> str:
        return f"<Watchdog patience={self._patience:g}>"

    @property
    def interval(self) -> float:
        """How often to feed and to look, in seconds."""
        return self._patience / _LOOKS

    def feed(self, now: float) -> float | None:
        """Note that the loop runs. Returns for how long it did not, if that was too long."""
        hungry, self._fed = now - self._fed, now
        return hungry if hungry >= self._patience else None

    def look(self, now: float) -> bool:
        """Return whether the loop does not run, and that is not known yet."""
        late, self._looked = now - self._looked > 2 * self.interval, now
        fed = self._fed
        if late or now - fed < self._patience or fed == self._reported:
            return False
        self._reported = fed
        return True


async def watch(patience: float) -> None:
    """Watch over the loop this runs in, until cancelled. Cancelling is safe, and ends the thread.

    Args:
        patience: seconds for which the loop may not run.
    """
    dog = Watchdog(patience, time.monotonic())
    over = threading.Event()
    loop = threading.get_ident()
    # It must not keep a process alive that ends in another way.
    thread = threading.Thread(target=_look, args=(dog, over, loop), name="watchdog", daemon=True)
    thread.start()
    try:
        while True:
            await trio.sleep(dog.interval)
            hungry = dog.feed(time.monotonic())
            if hungry is not None:
                logger.warning("the event loop runs again; it did not for %.1f s", hungry)
    finally:
        over.set()
        thread.join()


def _look(dog: Watchdog, over: threading.Event, loop: int) -> None:
    while not over.wait(dog.interval):
        if dog.look(time.monotonic()):
            frame = sys._current_frames().get(loop)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - documented, and the only way
            places = "" if frame is None else describe_places(walk_stack(frame))
            del frame
            logger.warning("the event loop does not run, everybody waits: it is at %s", places)
