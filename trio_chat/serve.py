"""The server as a program: it says how to reach it, runs until it is told to stop, and says what it left behind."""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING

import trio

from trio_chat.app import App, open_app
from trio_chat.greeting import announce
from trio_chat.watchdog import watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio_chat.settings import Settings

logger = logging.getLogger("trio_chat")


async def serve(settings: Settings, *, task_status: trio.TaskStatus[App] = trio.TASK_STATUS_IGNORED) -> int:
    """Serve until SIGTERM or SIGINT, then shut down in order. A second signal, or too long a time, ends it at once.

    Returns:
        The exit status: 1 if there are events that neither store has, or if it did not end in order; else 0.
    """
    running: App | None = None
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals, trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, settings.watchdog_seconds, name="watchdog")
            async with open_app(settings) as app:
                running = app
                announce(app, settings)
                task_status.started(app)
                await anext(signals)
                logger.info("stopping: clients are told to come back, then everything is archived")
                scope.deadline = trio.current_time() + settings.shutdown_timeout_seconds
                nursery.start_soon(_end_at_once, signals, scope)
            nursery.cancel_scope.cancel()
    return _take_stock(running, in_order=not scope.cancelled_caught)


def _take_stock(app: App | None, *, in_order: bool) -> int:
    """Say what the stop has left behind, and return the exit status."""
    unsaved = app.lobby.unsaved() if app is not None else {}
    for room, count in unsaved.items():
        logger.error("room %s: %d events were kept in memory only and are lost", room, count)
    if not in_order:
        logger.error("stopped before everything was done; what Redis has is archived at the next start")
    elif not unsaved:
        logger.info("stopped; everything is kept")
    return 1 if unsaved or not in_order else 0


async def _end_at_once(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    logger.warning("stopping at once")
    scope.cancel()
