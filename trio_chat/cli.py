"""The command line: serve, check, token, sync, tail, bench."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, cast

import trio
from typing_extensions import override

from trio_chat import bench
from trio_chat.app import load_tls, url_of
from trio_chat.clients.auth import Authenticator, make_token, with_secret
from trio_chat.clients.identity import check_pattern, check_token_role, check_user
from trio_chat.clients.native_requests import brief
from trio_chat.errors import BadRequest, SettingsError, TrioChatError
from trio_chat.failures import describe, leaves
from trio_chat.live_rooms import NoRooms
from trio_chat.logs import JsonFormatter, configure_logging
from trio_chat.message import check_room
from trio_chat.screen import Screen
from trio_chat.serve import serve
from trio_chat.settings import Settings, add_arguments
from trio_chat.stores.base import Session
from trio_chat.stores.places import open_archive, open_hot, open_stores
from trio_chat.stores.rivals import is_served
from trio_chat.syncer import Syncer
from trio_chat.tail import follow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence


logger = logging.getLogger("trio_chat")

# As shells count it: 128 and the number of SIGINT.
_INTERRUPTED = 130

_DESCRIPTION = """\
Chat rooms for people and AI assistants: live over WebSocket, written through to Redis, archived in Postgres.

Start with:   trio-chat serve
Without REDIS_URL and DATABASE_URL it brings its own Valkey and Postgres and keeps their data in DATA_DIR.
"""

_EPILOG = {
    "serve": """\
examples:
  trio-chat serve                                      private stores, tokens signed with a generated secret
  AUTH_MODE=insecure trio-chat serve                   anybody may say who they are: for trying things out
  REDIS_URL=redis://... DATABASE_URL=postgresql://... AUTH_SECRET=... trio-chat serve --host 0.0.0.0
""",
    "check": "Exit status: 0 if everything is well, 1 with every problem otherwise.",
    "token": """\
examples:
  trio-chat token ada                                  may join every room, for an hour
  trio-chat token bot --room 'team-42/*' --role assistant --expires-in 86400
  trio-chat token ops --role admin                     may use the dashboard, and steer the server
""",
    "sync": "Safe at any time and beside a running server: what is archived twice is there once.",
    "tail": "example:\n  trio-chat tail team-42/general",
    "bench": bench.EPILOG,
}


# What of the settings the help of a command explains; it takes all of them. None: all.
_STORES = ("redis_url", "database_url", "data_dir", "redis_prefix", "redis_timeout", "database_timeout")
_SERVER = ("host", "port", "tls_cert", "auth_mode", "auth_secret", "data_dir", "log_level", "log_format")
_SHOWN: Mapping[str, Collection[str] | None] = {
    "serve": None,
    "check": None,
    "token": ("data_dir", "auth_secret", "auth_issuer", "auth_audience"),
    "sync": (*_STORES, "log_level", "log_format"),
    "tail": _SERVER,
    "bench": _SERVER,
}
_OTHERS = "It takes the other settings of `trio-chat serve`, too, as flags and from the environment."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        settings = Settings.load(vars(arguments), os.environ)
        configure_logging(settings)
        status: int = arguments.run(arguments, settings)
    except (KeyboardInterrupt, TrioChatError, BaseExceptionGroup) as error:
        found = leaves(cast("BaseException", error))
        if any(isinstance(one, KeyboardInterrupt) for one in found):
            return _INTERRUPTED
        if not all(isinstance(one, TrioChatError) for one in found):
            raise
        problems = [problem for one in found for problem in _problems(one)]
        if _is_log(arguments):
            _log(problems)
        else:
            _complain(problems)
        return 1
    return status


def _is_log(arguments: argparse.Namespace) -> bool:
    """Whether what is written is read by a program. The settings may be what is wrong."""
    chosen = arguments.log_format or os.environ.get("LOG_FORMAT", "")
    return arguments.run is _serve and chosen.strip() == "json"


def _log(problems: Iterable[str]) -> None:
    if not any(isinstance(one.formatter, JsonFormatter) for one in logging.getLogger().handlers):
        configure_logging(Settings(log_format="json"))
    for problem in problems:
        logger.critical(problem, extra={"event": "failed"})


def _problems(error: BaseException) -> list[str]:
    return error.problems if isinstance(error, SettingsError) else [str(error)]


def _complain(problems: Iterable[str]) -> None:
    for problem in problems:
        print(f"trio-chat: {problem}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trio-chat", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"trio-chat {version('trio-chat')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace, Settings], int], text: str
    ) -> argparse.ArgumentParser:
        shown = _SHOWN[name]
        added = commands.add_parser(
            name,
            # Of forty flags the usage would have thirty lines.
            usage="trio-chat " + name + " [-h] [SETTINGS]" if shown is None else None,
            help=text,
            description=text,
            epilog=_EPILOG[name] if shown is None else f"{_EPILOG[name]}\n\n{_OTHERS}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=run)
        return added

    command("serve", _serve, "run the server")
    command("check", _check, "validate the settings and reach the stores")
    token = command("token", _token, "make a token for a user (needs AUTH_SECRET or the server's DATA_DIR)")
    token.add_argument("user")
    token.add_argument(
        "--room", action="append", help="a room, or a pattern like team-42/*; may be repeated [*]"
    )
    token.add_argument(
        "--role", action="append", default=[], help="assistant, system, moderator or admin; may be repeated"
    )
    token.add_argument("--expires-in", type=float, default=3600.0, metavar="SECONDS", help="[3600]")
    command("sync", _sync, "archive everything that is dirty now")
    tail = command("tail", _tail, "follow a room in the terminal")
    tail.add_argument("room")
    tail.add_argument("--url", help="where the server is [ws://HOST:PORT/ws]")
    tail.add_argument("--token", help="a token; by default one is made, as `token` does")
    tail.add_argument("--user", default="tail", help="who to be [tail]")
    bench.add_bench_arguments(command("bench", _bench, "measure a running server, and check every message"))
    for name, added in commands.choices.items():
        add_arguments(added, _SHOWN[name])
    return parser


def _serve(_: argparse.Namespace, settings: Settings) -> int:
    logger.info(
        "settings validated: sessions expire after %g s, windows of %d messages, a sync every %g s",
        settings.session_expiry_seconds,
        settings.max_messages_per_session,
        settings.session_sync_interval_seconds,
    )
    _calm_collector()
    try:
        return trio.run(serve, settings)
    except Exception as failure:
        if all(isinstance(leaf, TrioChatError) for leaf in leaves(failure)):
            raise
        # Not with a traceback, as other commands do: what its exceptions say may quote somebody.
        logger.critical("the server failed in a way nobody expected: %s", describe(failure))
        return 1


def _calm_collector() -> None:
    """Let Python look for cyclic garbage less often.

    There is hardly any, since messages are freed by counting, and each full search goes through every connection:
    measured, the default cost a quarter of a busy server's time and pauses of 200 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


def _check(_: argparse.Namespace, settings: Settings) -> int:
    for name, value in sorted(settings.describe().items()):
        print(f"  {name}={value}")
    problems = [*_try_keys(settings), *trio.run(_reach, settings)]
    _complain(problems)
    return 1 if problems else 0


def _try_keys(settings: Settings) -> list[str]:
    """Load what the settings only name, and return what is wrong with it."""
    problems: list[str] = []
    for load in (lambda: Authenticator(with_secret(settings)), lambda: load_tls(settings)):
        try:
            load()
        except SettingsError as error:
            problems += error.problems
    if not problems:
        print("settings: well")
    return problems


async def _reach(settings: Settings) -> list[str]:
    """Reach both stores, and return what is wrong with each."""
    problems: list[str] = []
    for name, reach in (("hot store", open_hot), ("archive", open_archive)):
        try:
            async with reach(settings, require=True, beside=True) as (store, place):
                await store.probe()
                print(f"{name}: well, {place}")
        except* TrioChatError as failures:
            for error in leaves(failures):
                problems += error.problems if isinstance(error, SettingsError) else [f"{name}: {error}"]
    return problems


def _expect(name: str, value: str, check: Callable[[str], object]) -> None:
    """Have an argument judged. What is said against it shows it, as with settings."""
    try:
        check(value)
    except BadRequest as error:
        shown = brief(value if value.isprintable() else ascii(value))
        expected = str(error).partition(": ")[2]
        raise BadRequest(f"{name}={shown}: {expected}") from None


def _token(arguments: argparse.Namespace, settings: Settings) -> int:
    rooms = arguments.room or ["*"]
    _expect("USER", arguments.user, check_user)
    for room in rooms:
        _expect("--room", room, check_pattern)
    for role in arguments.role:
        _expect("--role", role, check_token_role)
    print(make_token(with_secret(settings), arguments.user, rooms, arguments.role, arguments.expires_in))
    return 0


def _sync(_: argparse.Namespace, settings: Settings) -> int:
    return trio.run(_sync_now, settings)


async def _sync_now(settings: Settings) -> int:
    async with open_stores(settings, require=True, beside=True) as stores:
        dirty = len(await stores.hot.dirty())
        with Screen(alive=True) as screen:
            begun = set[Session]()
            served = await is_served(stores.hot)

            class Watching(NoRooms):
                """No rooms here, but perhaps in a server, and somebody who wants to know."""

                @override
                def busy(self) -> bool:
                    return served

                @override
                def note_synced(self, session: Session, seq: int) -> None:
                    begun.add(session)
                    words = f"{len(begun)} of {dirty} sessions, {syncer.statistics().messages} messages"
                    screen.show("archiving", len(begun) / max(dirty, 1), words)

            syncer = Syncer(stores.hot, stores.archive, settings, Watching())
            done = await syncer.sync_all()
        counts = syncer.statistics()
        print(f"{counts.messages} messages archived from {dirty} dirty sessions, {counts.refused} set aside")
        if not done:
            _complain(["the archive does not have everything yet; what it lacks is still in Redis"])
        return 0 if done else 1


def _tail(arguments: argparse.Namespace, settings: Settings) -> int:
    user, room, token = arguments.user, arguments.room, arguments.token
    _expect("ROOM", room, check_room)
    _expect("--user", user, check_user)
    if token is None and settings.auth_mode == "token":
        settings = with_secret(settings)

    def hello() -> dict[str, str]:
        if token is None and settings.auth_mode == "insecure":
            return {"type": "hello", "user": user}
        # A new one each time: the connection may end because the last one has expired.
        return {"type": "hello", "token": token or make_token(settings, user, [room])}

    trio.run(follow, arguments.url or url_of(settings, settings.port), hello, room)
    return 0


def _bench(arguments: argparse.Namespace, settings: Settings) -> int:
    _calm_collector()
    return bench.bench(arguments, settings, url_of(settings, settings.port))
