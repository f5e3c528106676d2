"""Take the pictures of the chat page and the dashboard that are in docs/images: `python docs/screenshots.py`.

Starts a server of its own, lets some people and an assistant talk, and photographs what one of them sees. What the
dashboard shows is made up, since it takes five minutes to fill and more rooms than that. Needs the
package's `dev` extra, a Chromium (CHROMIUM names it, otherwise the one on the PATH is taken) and, to keep the pictures
small, `pngquant` if it is there.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import Browser, Page, Route, WebSocketRoute, sync_playwright
from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = Path(__file__).parent / "images"
ROOM = "team-42/general"
ANSWER = """\
Two things changed between Friday and today:

1. `REDIS_TIMEOUT` went from **1 s** to **250 ms**.
2. The nightly backup now runs *during* the morning peak.

| hour | p50 | p99 |
|---|---|---|
| 08:00 | 1.1 ms | 4 ms |
| 09:00 | 1.3 ms | 240 ms |

Moving the backup is the smaller step:

```sh
crontab -l | sed 's/^0 9/0 3/' | crontab -
```
"""
TALK = (
    ("bob", "user", "Morning! Acks were slow around nine. Did anybody else see that?"),
    (
        "Chidi Okafor",
        "user",
        "Yes, for about ten minutes. Nothing was lost, rooms just said “kept in memory only”.",
    ),
    ("Chidi Okafor", "user", "The dashboard from then: https://status.example.com/d/rooms"),
    ("ada", "user", "helper, what is different from Friday?"),
    ("helper", "assistant", ANSWER),
    ("bob", "user", "That explains it."),
    ("ada", "user", "I'll move the backup now."),
)
TIMES = (81, 78, 77, 21, 20, 17, 16)
"""How many minutes ago each of it was said."""
NOW = datetime.now().astimezone().replace(hour=10, minute=42, second=0)


@contextmanager
def server() -> Iterator[str]:
    """Run a server; yield its host and port."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "AUTH_MODE": "insecure",
            "PORT": "0",
            "DATA_DIR": folder,
            "LOG_LEVEL": "error",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "trio_chat", "serve"], env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if "listens on" in line)
            yield line.partition("ws://")[2].partition("/ws")[0]
        finally:
            process.terminate()
            process.wait()


def until(client: ClientConnection, kind: str) -> dict[str, Any]:
    """Return the next thing of a kind that a client hears."""
    while (said := json.loads(client.recv()))["type"] != kind:
        pass
    return said


@contextmanager
def enter(address: str, user: str, *rooms: str) -> Iterator[ClientConnection]:
    """Come in as somebody."""
    with connect(f"ws://{address}/ws") as client:
        introduce(client, user, *rooms)
        yield client


def introduce(client: ClientConnection, user: str, *rooms: str) -> None:
    """Say hello and join rooms."""
    client.send(json.dumps({"type": "hello", "user": user}))
    for room in rooms:
        client.send(json.dumps({"type": "room:join", "room": room}))
        until(client, "presence:list")


def say(client: ClientConnection, **fields: str) -> str:
    """Post something; return its id."""
    client.send(json.dumps({"type": "message:send", "ref": 1, "room": ROOM, **fields}))
    found: str = until(client, "ack")["id"]
    return found


def spread_out(route: WebSocketRoute) -> None:
    """Let what was said in a second have taken some minutes."""
    server = route.connect_to_server()

    def pass_on(text: str | bytes) -> None:
        said = json.loads(text)
        for at, message in zip(TIMES, said.get("messages", ()), strict=False):
            message["timestamp"] = (NOW - timedelta(minutes=at)).isoformat()
        for one in (said, *said.get("members", ())):
            if isinstance(one, dict) and "lastActiveAt" in one:
                one["lastActiveAt"] = NOW.isoformat()
        route.send(json.dumps(said))

    server.on_message(pass_on)


def prepare(page: Page, address: str) -> None:
    """Come in as ada."""
    page.clock.set_fixed_time(NOW)
    page.route_web_socket(re.compile("/ws$"), spread_out)
    page.goto(f"http://{address}/#room={ROOM}")
    page.fill("#name", "ada")
    page.keyboard.press("Enter")
    page.wait_for_selector(".row >> nth=6")


class Telling:
    """Answers what the dashboard asks, each time two seconds later: a busy morning."""

    ROOMS = (
        ("team-42/general", 21.0, 48), ("support/eu-west", 12.4, 31), ("support/us-east", 7.6, 26),
        ("team-42/incidents", 4.2, 17), ("team-7/design", 1.9, 9), ("release/2.14", 1.1, 12),
        ("ops/alerts", 0.6, 8), ("team-7/standup", 0.2, 6), ("ideas", 0.1, 4),
    )  # fmt: skip
    BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05)

    def __init__(self) -> None:
        self._chance = random.Random(42)
        self._second = 0
        self._events, self._deliveries = 1_284_310.0, 31_020_500.0
        self._calls = [0.0] * 10
        self._written = [0] * 10
        self._tops = [700.0 + 20 * rate for _, rate, _ in self.ROOMS]

    def answer(self, route: Route) -> None:
        """Answer one request for the overview."""
        self._second += 2
        pace = 1 + 0.35 * math.sin(self._second / 45) + self._chance.uniform(-0.12, 0.12)
        for number, (_, rate, members) in enumerate(self.ROOMS):
            new = 2 * rate * pace
            self._tops[number] += new
            self._events += new
            self._deliveries += new * members
        for number, share in enumerate((0, 6, 22, 9, 4, 1.2, 0.4, 0.1, 0, 0)):
            self._calls[number] += share * pace * self._chance.uniform(0.6, 1.4)
        if self._second % 100 == 0:
            self._written = [
                one + new for one, new in zip(self._written, (0,) * 5 + (4, 22, 9, 1, 0), strict=True)
            ]
        route.fulfill(json=self._overview(pace))

    def _overview(self, pace: float) -> dict[str, Any]:
        behind = self._second % 100
        rooms = [
            self._room(number, name, rate, members, behind)
            for number, (name, rate, members) in enumerate(self.ROOMS)
        ]
        return {
            "uptimeSeconds": 270_000 + self._second,
            "users": 74,
            "connections": {"native": 96 + round(9 * pace), "socketio": 41, "polling": 3},
            "rooms": len(rooms),
            "members": sum(room["members"] for room in rooms),
            "messages": sum(room["messages"] for room in rooms),
            "window": 1000,
            "degraded": 0,
            "dirty": sum(room["top"] > room["synced"] for room in rooms),
            "unsynced": sum(room["top"] - room["synced"] for room in rooms),
            "events": self._events,
            "deliveries": self._deliveries,
            "redis": {"healthy": True, "latency": {"bounds": self.BOUNDS, "counts": self._calls}},
            "archive": {
                "healthy": True,
                "latency": {"bounds": self.BOUNDS, "counts": self._written},
            },
            "sync": {
                "lagSeconds": behind, "longestLagSeconds": 900, "failuresInARow": 0,
                "rounds": 900, "messages": 1_283_000, "refused": 0,
            },
            "matching": len(rooms),
            "active": rooms,
        }  # fmt: skip

    def _room(self, number: int, name: str, rate: float, members: int, behind: float) -> dict[str, Any]:
        top = round(self._tops[number])
        return {
            "room": name,
            "members": members,
            "messages": min(round(top * 0.55), 1000),
            "epoch": "01a2040e-2752-7451-8379-c1deda24b42e",
            "top": top,
            "synced": top - round(rate * behind),
            "waiting": 0,
            "degraded": False,
            "idleSeconds": 0.3 / rate,
        }


def photograph_dashboard(browser: Browser, address: str) -> None:
    """Take its pictures, after five minutes that pass at once."""
    page = browser.new_page(viewport={"width": 1180, "height": 860}, color_scheme="light", locale="en-GB")
    page.route("**/api/v1/overview*", Telling().answer)
    page.clock.install(time=NOW)
    page.goto(f"http://{address}/admin#token=made.up.here")
    for _ in range(172):
        with page.expect_response("**/api/v1/overview*"):
            page.clock.run_for(2000)
    photograph(page, "dashboard-light")
    page.emulate_media(color_scheme="dark")
    photograph(page, "dashboard-dark")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 390, "height": 800})
    photograph(page, "dashboard-phone")


def photograph(page: Page, name: str) -> None:
    """Save what is seen."""
    page.wait_for_timeout(300)
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path)
    if shutil.which("pngquant"):
        subprocess.run(["pngquant", "--force", "--output", path, "128", path], check=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Take all of them."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with ExitStack() as stack:
        address = stack.enter_context(server())
        people = {
            name: stack.enter_context(enter(address, name, ROOM, "team-42/incidents"))
            for name in ("bob", "Chidi Okafor", "helper", "ada")
        }
        newest = ""
        for user, role, content in TALK:
            newest = say(people[user], role=role, content=content)
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=chromium)
        stack.callback(browser.close)
        view = {"width": 1180, "height": 840}
        page = browser.new_page(viewport=view, color_scheme="light", locale="en-GB")
        rooms = json.dumps([ROOM, "team-42/incidents", "ideas"])
        page.add_init_script(f"localStorage.setItem('trio-chat.rooms ada', JSON.stringify({rooms}))")
        prepare(page, address)
        for name in ("bob", "Chidi Okafor"):
            mark = {"type": "receipt:update", "room": ROOM, "lastReadMessageId": newest}
            people[name].send(json.dumps(mark))
        for content in ("The pager is quiet again.", "Closing this one."):
            say(people["bob"], room="team-42/incidents", content=content)
        people["bob"].send(json.dumps({"type": "typing:start", "room": ROOM}))
        page.wait_for_selector("#typing:not(:empty)")
        photograph(page, "page-light")
        page.emulate_media(color_scheme="dark")
        photograph(page, "page-dark")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 390, "height": 800})
        photograph(page, "page-phone")
        photograph_dashboard(browser, address)


if __name__ == "__main__":
    main()
