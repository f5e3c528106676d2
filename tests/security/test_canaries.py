"""No token, secret, password or word that anybody says reaches the log, at any level, whatever goes wrong.

A real server process is started with secrets that are easy to recognise, at `LOG_LEVEL=debug`; things are said to it and
done to it; then its whole output is searched.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from tests.battery.bad_input.peer import PATHS, Native, Peer, SocketIO, frame, handshake, text
from tests.chat_client import Served, run
from tests.waiting import wait_until
from trio_chat.clients.auth import make_token
from trio_chat.settings import Settings

SECRET = "canary-secret-of-more-than-32-bytes"
REDIS_PASSWORD = "canary-redis-password"
POSTGRES_PASSWORD = "canary-postgres-password"
WORD = "canary-said"
SIGNS = ("canary-", base64.urlsafe_b64encode(b"canary").decode()[:7])
"""How anything that must not be logged begins, as it is and within a token."""


@pytest.fixture
def console(valkey_server: str) -> Iterator[redis.Redis]:
    """A connection to Redis that has made an account with a password."""
    with redis.Redis.from_url(valkey_server) as console:
        console.acl_setuser(
            "canary",
            enabled=True,
            passwords=[f"+{REDIS_PASSWORD}"],
            keys=["*"],
            channels=["*"],
            categories=["+@all"],
        )
        yield console
        console.acl_deluser("canary")


@pytest.fixture
def served(
    tmp_path: Path, valkey_server: str, postgres_server: str, console: redis.Redis
) -> Iterator[Served]:
    """A server that logs everything it ever does."""
    place = quote(valkey_server.removeprefix("unix://"), safe="/%")
    served = Served(
        tmp_path,
        LOG_LEVEL="debug",
        AUTH_SECRET=SECRET,
        REDIS_URL=f"unix://canary:{REDIS_PASSWORD}@{place}",
        REDIS_PREFIX="canaries",
        DATABASE_URL=postgres_server.replace("postgres@", f"postgres:{POSTGRES_PASSWORD}@"),
        SESSION_SYNC_INTERVAL_SECONDS="1",
        HELLO_TIMEOUT="0.3",
    )
    served.start()
    yield served
    if served.running:
        served.kill()


def output_of(served: Served) -> str:
    """Return everything it has said."""
    return served.log + (served.directory / "stdout").read_text()


def expect_silence(said: str) -> None:
    """Expect no sign of anything that must not be said."""
    found = [line for line in said.splitlines() if any(sign in line for sign in SIGNS)]

    assert found == []


class Speaker:
    """Somebody who says canaries, right and wrong."""

    def __init__(self, served: Served) -> None:
        self.port = int(served.url.rpartition(":")[2].partition("/")[0])
        self._settings = Settings(auth_secret=SECRET)

    def token(self, user: str = "ada") -> str:
        """Make a token. Its payload and header show no canary as they are, so the signature counts, too."""
        return make_token(self._settings, user, ["*", f"{WORD}-room-nobody-enters"])

    def talk(self) -> None:
        """Say, change and delete messages on both wires."""
        with Native(self.port) as ada, SocketIO(self.port) as bob:
            ada.enter(self.token(), "room")
            bob.enter(self.token("bob"), "room")
            message = {
                "type": "message:send",
                "room": "room",
                "content": WORD,
                "id": "m",
                "metadata": {WORD: [WORD]},
            }
            ada.say(message)
            ada.expect("ack")
            ada.say({"type": "message:edit", "room": "room", "id": "m", "content": f"{WORD} again"})
            ada.expect("ack")
            bob.say(
                "421"
                + json.dumps(["message:send", {"teamId": "room", "content": WORD, "metadata": {"x": WORD}}])
            )
            bob.answer(1)
            for request in ("typing:start", "history:get", "presence:heartbeat"):
                ada.say({"type": request, "room": "room"})
            ada.say({"type": "token:refresh", "token": self.token()})
            ada.expect("token:refreshed")
            bob.say("422" + json.dumps(["token:refresh", self.token("bob")]))
            bob.answer(2)

    def visit(self, room: str) -> None:
        """Join a room, whatever state it is in."""
        with Native(self.port) as eve:
            eve.enter(self.token("eve"))
            eve.say({"type": "room:join", "room": room})
            eve.hear(within=8)

    def stammer(self) -> None:
        """Say what is wrong, in every way, with a canary in it."""
        bad = [
            handshake(f"/{WORD}"),
            handshake(f"/ws?token={self.token()}", Cookie=WORD, Origin=WORD, Sec_WebSocket_Key=WORD),
            handshake(Authorization=f"Bearer {WORD}"),
            handshake(Authorization=f"Bearer {self.token()}x"),
            f"{WORD}\r\n\r\n".encode(),
            handshake(f"/socket.io/?EIO=4&transport=polling&sid={WORD}", Upgrade=None),
            handshake(f"/socket.io/?EIO={WORD}&transport={WORD}", Upgrade=None),
        ]
        hello = text({"type": "hello", "token": self.token()})
        bad += [
            handshake() + hello + text(said) for said in (WORD, f'{{"type": "{WORD}"}}', f'{{"{WORD}": 1}}')
        ]
        bad += [
            handshake() + text({"type": "hello", "token": WORD, "user": WORD}),
            handshake() + text({"type": "hello", "token": self.token()[:-2]}),
            handshake() + hello + frame(0x82, WORD.encode()),
            handshake() + hello + frame(0x01, WORD.encode()) + frame(0x80, b"\xff"),
            handshake() + hello + frame(0x88, b"\x03\xe8" + WORD.encode()),
            handshake() + hello + frame(0x89, WORD.encode()) + b"\xff",
            handshake() + hello + text({"type": "token:refresh", "token": WORD}),
            handshake(PATHS["socketio"])
            + text("40" + json.dumps({"token": WORD, "pid": WORD, "offset": WORD})),
            handshake(PATHS["socketio"])
            + text("40" + json.dumps({"token": self.token(), "pid": WORD, "offset": ""})),
            handshake(PATHS["socketio"]) + text(WORD),
            handshake(PATHS["socketio"]) + text(f"40/{WORD}," + json.dumps({"token": self.token()})),
        ]
        for said in bad:
            with Peer(self.port) as peer:
                peer.send(said)
                peer.send_eof()
                peer.rest(within=5)


def test_nothing_that_is_said_is_logged(served: Served, console: redis.Redis) -> None:
    """Neither by those who are right nor by those who are wrong, nor when stores fail with words in their hands.

    Takes some seconds, as processes and failures do.
    """
    speaker = Speaker(served)
    speaker.talk()
    speaker.stammer()
    # A key of a wrong type; a Redis that throws everybody out; an entry that cannot be read, found by the next process.
    for key in console.keys("canaries:{room}:keys:*"):
        console.delete(key)
        console.set(key, WORD)
    speaker.talk()
    console.client_kill_filter(user="canary")
    wait_until(lambda: "is in trouble" in served.log)
    speaker.talk()
    said = output_of(served)
    served.kill()
    (log,) = console.keys("canaries:{room}:log:*")
    console.xadd(log, {"": f"[{WORD}"}, id="99-0")
    served.start()
    speaker = Speaker(served)
    speaker.visit("room")
    speaker.stammer()
    served.stop()
    said += output_of(served)

    for expected in ("a token was refused", "mended the key", "in trouble", "DEBUG", "unreadable entries"):
        assert expected in said
    expect_silence(said)


def test_a_wrong_password_is_not_told(served: Served) -> None:
    """A server that Redis does not let in ends at once, and says so without saying by what."""
    wrong = served.environment["REDIS_URL"].replace(REDIS_PASSWORD, "canary-wrong-password")
    for command in ("serve", "check"):
        done = run(command, environment={**served.environment, "REDIS_URL": wrong})

        assert done.returncode == 1
        assert done.stdout or done.stderr
        expect_silence(done.stdout + done.stderr)


def test_settings_are_printed_without_secrets(served: Served) -> None:
    """`check` shows where everything is, and no password."""
    done = served.run("check")

    assert done.returncode == 0, done.stderr
    assert "***" in done.stdout
    expect_silence(done.stdout + done.stderr)


@pytest.mark.parametrize("name", ["AUTH_SECRET", "REDIS_URL", "DATABASE_URL", "AUTH_MODE"])
def test_a_setting_that_cannot_be_used_is_not_quoted_if_it_may_be_secret(tmp_path: Path, name: str) -> None:
    """Secrets end up in the wrong places; a mistake must not put them into a log as well."""
    value = "canary-short" if name != "AUTH_MODE" else "tokens"
    done = run("serve", environment={"DATA_DIR": str(tmp_path), name: value})

    assert done.returncode == 1
    assert name in done.stderr
    expect_silence(done.stdout + done.stderr)


def test_the_process_list_shows_no_secret(served: Served) -> None:
    """Secrets come by the environment; what others on the machine can see has none of them."""
    assert served._process is not None
    listed = subprocess.run(
        ["ps", "-o", "args=", "-p", str(served._process.pid)], capture_output=True, text=True, check=False
    ).stdout

    expect_silence(listed)
