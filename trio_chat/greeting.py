"""What `trio-chat serve` says when it is there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from trio_chat.settings import Settings
from trio_chat.web.link import dashboard_link, page_link

if TYPE_CHECKING:
    from trio_chat.app import App
    from trio_chat.stores.base import Archive, HotStore

logger = logging.getLogger("trio_chat")


def announce(app: App, settings: Settings) -> None:
    """Say where it listens: in the log, if that is for programs, since all that is written may end there; or to people.

    Args:
        app: what runs.
        settings: as they were given; those of the app are completed, and do not show what was left to the defaults.
    """
    if settings.auth_mode == "insecure":
        logger.warning("AUTH_MODE=insecure: anybody who can connect may say who they are")
    if settings.log_format == "json":
        # Without the links, which may hold a token.
        logger.info(
            "listening on %s, live in %s, archived in %s",
            app.url,
            app.stores.hot_place,
            app.stores.archive_place,
            extra={"event": "listening", "url": app.url, "page": app.page_url},
        )
    else:
        _introduce(app, page_link(settings, app.page_url), dashboard_link(settings, app.page_url))


def _introduce(app: App, page: str, dashboard: str) -> None:
    """Say where it listens, what it uses, and how to try it."""
    settings = app.settings
    if settings.auth_mode == "insecure":
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
