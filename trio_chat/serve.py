"""The server as a program: it says how to reach it, runs until it is told to stop, and says what it left behind."""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING

import trio

from trio_chat.app import App, open_app
from trio_chat.settings import Settings
from trio_chat.watchdog import watch
from trio_chat.web.link import dashboard_link, page_link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio_chat.stores.base import Archive, HotStore

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
                _introduce(app, page_link(settings, app.page_url), dashboard_link(settings, app.page_url))
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


def _introduce(app: App, page: str, dashboard: str) -> None:
    """Say where it listens, what it uses, and how to try it."""
    settings = app.settings
    if settings.auth_mode == "insecure":
        logger.warning("AUTH_MODE=insecure: anybody who can connect may say who they are")
        hello = '{"type":"hello","user":"ada"}'
    else:
        hello = '{"type":"hello","token":"..."}      make one: trio-chat token ada'
    window, expiry = settings.max_messages_per_session, settings.session_expiry_seconds
    print(
        f"""
trio-chat listens on {app.url}

Chat in a browser:
  {page}
and see how the server is:
  {dashboard}

  Socket.IO  clients of that kind connect to {app.socket_io_url}
  sessions   the newest {window} messages, until {expiry:g} s without activity
  live in    {app.stores.hot_place}{_away(app.stores.hot)}
  archived   every {settings.session_sync_interval_seconds:g} s in {app.stores.archive_place}{_away(app.stores.archive)}

Try it with any WebSocket client, for example  pip install websockets && websockets {app.url}
  {hello}
  {{"type":"room:join","room":"team-42/general"}}
  {{"type":"message:send","room":"team-42/general","content":"hello"}}
and watch the room from another terminal:
  {_tail_command(app)}
""",
        flush=True,
    )


def _away(store: HotStore | Archive) -> str:
    return "" if store.healthy else "   (away at the moment)"


def _tail_command(app: App) -> str:
    """Return how to call us so that the server is found again."""
    settings = app.settings
    insecure = "AUTH_MODE=insecure " if settings.auth_mode == "insecure" else ""
    port = f" --port {app.port}" if app.port != Settings().port else ""
    return f"{insecure}trio-chat tail{port} team-42/general"
