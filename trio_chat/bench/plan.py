"""What a bench is to do, and the options of the command that say it."""

from __future__ import annotations

import random
import secrets
import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trio_chat.bench.native import NativeWire
from trio_chat.bench.socketio import SocketIOWire
from trio_chat.bench.wire import WIRES
from trio_chat.clients.auth import make_token, with_secret
from trio_chat.errors import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from trio_chat.bench.wire import Wire, WireName
    from trio_chat.settings import Settings

_ROOMS, _MEMBERS, _RATE, _SECONDS, _SIZE = 10, 10, 100.0, 10.0, 100
# What setting up, waiting for the last ones and clocks that differ may take.
_TOKEN_SECONDS = 3600.0

EPILOG = """\
examples:
  trio-chat bench                                        10 rooms of 10, 100 messages a second, for 10 seconds
  trio-chat bench --rooms 1 --members 100 --rate 20      one large room
  trio-chat bench --window 1 --messages 1000             how fast one message after the other is
  trio-chat bench --wire socketio --json result.json     as Socket.IO clients, and the figures for a program
  trio-chat bench --url wss://chat.example.com --token-file tokens.txt

Rooms are new ones, named bench/<random>/0 and so on; what is posted there is archived like everything else. Each
member is a connection and a user of its own.

With --rate, latencies count from when a message was due, however late it was sent. With --window each room has so
many messages under way: the next is posted when one was acknowledged and has arrived at every member.

A server limits what each connection may ask, by default to 20 requests a second. What it refuses is reported as
rate_limited. To measure what lies beyond, use more members, or start the server with RATE_LIMITS=off or with
PRESET=standard, which also lifts the limit of 10 connections a user.

Without --token or --token-file tokens are made with the secret of AUTH_SECRET or DATA_DIR, as `trio-chat token` does;
a server in AUTH_MODE=insecure takes the names in any case.

Exit status: 0 if every message arrived at every member once and in order; 1 if not, if a connection was lost, if
nothing was acknowledged, or if the server could not be used. Ctrl-C ends the run early, with its report.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do. Times are seconds; exactly one of `rate` and `window` is given, and of `messages` and `seconds`.

    Attributes:
        url: where the server is.
        wire: which protocol to speak.
        hello: returns what connection number n says about itself: a `token`, a `user`, or both.
        rooms: how many.
        members: how many each room has.
        rate: messages a second, over all rooms.
        window: messages under way in each room.
        messages: how many to post, over all rooms.
        seconds: how long to post.
        size: the characters of a message.
        run: makes the names of rooms and users unlike those of other runs.

    Raises:
        SettingsError: with every problem.
    """

    url: str
    hello: Callable[[int], Mapping[str, str]] = field(repr=False)
    wire: WireName = "native"
    rooms: int = _ROOMS
    members: int = _MEMBERS
    rate: float | None = None
    window: int | None = None
    messages: int | None = None
    seconds: float | None = None
    size: int = _SIZE
    run: str = field(default_factory=lambda: secrets.token_hex(4))

    def __post_init__(self) -> None:
        """Check what each may be."""
        whole = {name: getattr(self, name) for name in ("rooms", "members", "window", "messages", "size")}
        problems = [
            f"--{name} {value}: expected a whole number, at least 1"
            for name, value in whole.items()
            if value is not None and value < 1
        ]
        problems += [
            f"--{name} {value:g}: expected a number above 0"
            for name, value in (("rate", self.rate), ("seconds", self.seconds))
            if value is not None and not 0 < value < float("inf")
        ]
        for one, other in (("rate", "window"), ("messages", "seconds")):
            if (getattr(self, one) is None) == (getattr(self, other) is None):
                problems.append(f"--{one}, --{other}: expected one of them")
        if problems:
            raise SettingsError(problems)

    @property
    def connections(self) -> int:
        """How many there are in all."""
        return self.rooms * self.members

    def room(self, number: int) -> str:
        """Return a room's id."""
        return f"bench/{self.run}/{number}"

    def wire_of(self, number: int) -> Wire:
        """Return the wire of connection number n."""
        hello = self.hello(number)
        return NativeWire(hello) if self.wire == "native" else SocketIOWire(hello)

    def content(self) -> str:
        """Return what each message says: words, since the stores would shrink anything simpler to nothing."""
        letters = random.Random(self.size).choices(string.ascii_lowercase + "     ", k=self.size)  # noqa: S311 - no secret
        return "".join(letters)


def add_bench_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `plan_of` reads."""
    parser.add_argument("--url", help="where the server is; wss:// for TLS [ws://HOST:PORT]")
    parser.add_argument(
        "--wire", choices=WIRES, default="native", help="the protocol of the clients [native]"
    )
    group = parser.add_argument_group("What to do")
    group.add_argument("--rooms", type=int, default=_ROOMS, metavar="N", help=f"[{_ROOMS}]")
    group.add_argument(
        "--members", type=int, default=_MEMBERS, metavar="N", help=f"connections in each room [{_MEMBERS}]"
    )
    group.add_argument(
        "--rate", type=float, metavar="MSGS/S", help=f"messages a second, over all rooms [{_RATE:g}]"
    )
    group.add_argument(
        "--window", type=int, metavar="N", help="instead of a rate: as fast as N under way in each room allow"
    )
    group.add_argument("--messages", type=int, metavar="N", help="how many to post, over all rooms")
    group.add_argument("--seconds", type=float, metavar="S", help=f"or for how long [{_SECONDS:g}]")
    group.add_argument(
        "--size", type=int, default=_SIZE, metavar="CHARACTERS", help=f"of a message [{_SIZE}]"
    )
    group.add_argument("--token", help="the token of all connections")
    group.add_argument("--token-file", metavar="FILE", help="tokens, one a line, used in turn")
    group.add_argument(
        "--json", metavar="FILE", help="write the figures as a JSON object; - for standard output"
    )


def plan_of(arguments: argparse.Namespace, settings: Settings, url: str) -> Plan:
    """Return the plan that the options describe. `url` is the server's if they name none.

    Raises:
        SettingsError: with every problem.
    """
    rate, seconds = arguments.rate, arguments.seconds
    if rate is None and arguments.window is None:
        rate = _RATE
    if seconds is None and arguments.messages is None:
        seconds = _SECONDS
    run = secrets.token_hex(4)
    return Plan(
        url=arguments.url or url,
        hello=_hello(arguments, settings, run, seconds or 0.0),
        wire=arguments.wire,
        rooms=arguments.rooms,
        members=arguments.members,
        rate=rate,
        window=arguments.window,
        messages=arguments.messages,
        seconds=seconds,
        size=arguments.size,
        run=run,
    )


def _hello(
    arguments: argparse.Namespace, settings: Settings, run: str, seconds: float
) -> Callable[[int], Mapping[str, str]]:
    """Return who the connections are."""
    if tokens := _given_tokens(arguments):
        return lambda number: {"token": tokens[number % len(tokens)]}
    if settings.auth_mode == "insecure":
        return lambda number: {"user": f"bench-{run}-{number}"}
    signing = with_secret(settings)
    lifetime = seconds + _TOKEN_SECONDS

    def made(number: int) -> Mapping[str, str]:
        user = f"bench-{run}-{number}"
        token = make_token(signing, user, [f"bench/{run}/*"], expires_in=lifetime)
        # The name is for a server in insecure mode, which then does not look at the token.
        return {"user": user, "token": token}

    return made


def _given_tokens(arguments: argparse.Namespace) -> Sequence[str]:
    path, token = arguments.token_file, arguments.token
    if path is None:
        return [token] if token else []
    if token:
        raise SettingsError(["--token, --token-file: expected at most one of them"])
    try:
        tokens = Path(path).read_text("utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"--token-file {path}: cannot be read ({error})"]) from None
    if not tokens:
        raise SettingsError([f"--token-file {path}: expected a token on each line, found none"])
    return tokens
