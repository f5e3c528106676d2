"""A real browser on a real server.

Playwright brings an asyncio loop that belongs to a thread. It gets a thread of its own, and a test that asks for
`visit` runs there, whole: nothing of it is near the thread in which other tests run Trio.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - Playwright's, for its own thread
import json
import os
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright
from websockets.sync.client import ClientConnection, connect

import trio_chat.stores.bridge  # noqa: F401 - trio-asyncio in it makes policies a thread's own
from tests.chat_client import PATIENCE, Served, started

_numbers = count()

# What a browser says of a server that is not there is no fault of the page.
_UNREACHABLE = ("WebSocket connection to", "Failed to load resource: net::ERR_CONNECTION_REFUSED")


class Stage:
    """The browser and its thread. Lives as long as the session."""

    def __init__(self, thread: ThreadPoolExecutor, browser: Browser) -> None:
        self.thread = thread
        self.browser = browser


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that visits the page in the browser's thread."""
    if "visit" not in pyfuncitem.fixturenames:
        return None
    stage: Stage = pyfuncitem.funcargs["stage"]
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    stage.thread.submit(pyfuncitem.obj, **arguments).result()
    return True


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; CHROMIUM names another one than that on the PATH."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if found is None and not os.environ.get("CI"):
        pytest.skip("no Chromium is installed; with it, the chat page is tested in it")
    assert found is not None, "CI tests the chat page, so it has to install a Chromium"
    return found


@pytest.fixture(scope="session")
def stage(chromium: str) -> Iterator[Stage]:
    """The browser. Its start takes a second."""
    with ThreadPoolExecutor(1, "browser", _use_plain_asyncio) as thread:
        playwright = thread.submit(lambda: sync_playwright().start()).result()
        launch = playwright.chromium.launch
        browser = thread.submit(lambda: launch(executable_path=chromium)).result()
        thread.submit(expect.set_options, timeout=PATIENCE * 1000).result()
        yield Stage(thread, browser)
        thread.submit(browser.close).result()
        thread.submit(playwright.stop).result()


def _use_plain_asyncio() -> None:
    """Have this thread use asyncio's own loop: that of trio-asyncio is for Trio programs."""
    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())


class Visitors:
    """Opens the page for people, each in a browser of their own. Nothing may go wrong in any."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self._contexts: list[BrowserContext] = []
        self._origins: set[str] = set()
        self.trouble: list[str] = []

    def __call__(self, address: str, user: str = "", room: str = "", **options: Any) -> Page:
        """Open the page; with a user, come in under that name, and into a room."""
        context = self.browser.new_context(**{"viewport": {"width": 1180, "height": 800}, **options})
        context.set_default_timeout(PATIENCE * 1000)
        self._contexts.append(context)
        page = context.new_page()
        self._watch(page, address)
        page.goto(f"{address}#room={room}" if room else address)
        if user:
            page.get_by_label("Your name").fill(user)
            page.get_by_role("button", name="Come in").click()
        if room:
            expect(page.locator("#room-title")).to_have_text(room)
            expect(page.locator("#log")).to_have_attribute("aria-busy", "false")
        return page

    def close(self) -> None:
        """Send everybody away."""
        for context in self._contexts:
            context.close()

    def _watch(self, page: Page, address: str) -> None:
        host = urlsplit(address).netloc
        page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        page.on("console", self._note)
        page.on(
            "request",
            lambda asked: self.trouble.append(asked.url) if urlsplit(asked.url).netloc != host else None,
        )

    def _note(self, said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"} and not said.text.startswith(_UNREACHABLE):
            self.trouble.append(f"{said.type}: {said.text}")


@pytest.fixture
def visit(stage: Stage) -> Iterator[Visitors]:
    """Opens the page. What a page complains about, or asks another host for, fails the test."""
    visitors = Visitors(stage.browser)
    yield visitors
    stage.thread.submit(visitors.close).result()
    assert visitors.trouble == []


class Site:
    """A server, as people find it."""

    def __init__(self, served: Served) -> None:
        self.served = served

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://{urlsplit(self.served.url).netloc}/"

    @property
    def link(self) -> str:
        """What the server has printed for people to open."""
        said = (self.served.directory / "stdout").read_text()
        return said.partition("Chat in a browser:")[2].split()[0]

    @contextmanager
    def somebody(self, user: str, room: str) -> Iterator[Somebody]:
        """Be in a room as a user without a page."""
        with connect(self.served.url) as client:
            somebody = Somebody(client, room)
            somebody.ask("hello", user=user)
            somebody.ask("room:join")
            somebody.until("presence:list")
            yield somebody


class Somebody:
    """Somebody in a room, without a page: an assistant, or an enemy."""

    def __init__(self, client: ClientConnection, room: str) -> None:
        self._client = client
        self._room = room

    def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Make a request and return its answer."""
        room = {} if kind == "hello" else {"room": self._room}
        self._client.send(json.dumps({"type": kind, "ref": "it", **room, **fields}))
        return self.until(ref="it")

    def say(self, content: str, **fields: Any) -> str:
        """Post a message; return its id."""
        answer = self.ask("message:send", content=content, **fields)
        assert answer["type"] == "ack", answer
        return str(answer["id"])

    def until(self, kind: str = "", **fields: Any) -> dict[str, Any]:
        """Return the next thing that is said of this kind, with these fields."""
        while True:
            said: dict[str, Any] = json.loads(self._client.recv(PATIENCE))
            if kind in {"", said["type"]} and {name: said.get(name) for name in fields} == fields:
                return said


@contextmanager
def opened(factory: pytest.TempPathFactory, **settings: str) -> Iterator[Site]:
    """Run a server with private stores."""
    with started(factory.mktemp("d"), **settings) as served:
        yield Site(served)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[Site]:
    """A server that lets anybody in. Its windows are small, and it archives at once. Not to be killed; `mortal` is."""
    settings = {"MAX_MESSAGES_PER_SESSION": "60", "SYNC_AFTER_EVENTS": "20"}
    with opened(tmp_path_factory, AUTH_MODE="insecure", **settings) as site:
        yield site


@pytest.fixture
def mortal(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[Site]:
    """A server that is on the same port when it is started again. Making its stores takes a second."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with opened(tmp_path_factory, AUTH_MODE="insecure", PORT=str(port)) as site:
        yield site


@pytest.fixture
def with_tokens(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[Site]:
    """A server with everything at its defaults but the port. Making its stores takes a second."""
    with opened(tmp_path_factory) as site:
        yield site


@pytest.fixture
def room() -> str:
    """A room that no other test is in."""
    return f"team-{next(_numbers)}/general"
