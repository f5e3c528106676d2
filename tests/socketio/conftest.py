"""What the tests with other people's Socket.IO clients share: servers, a network that can fail, and the clients."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.chat_client import Served, started
from trio_chat.clients.auth import make_token, with_secret
from trio_chat.settings import Settings

from .drivers import Driver, driving
from .network import Network, network_to

pytest.register_assert_rewrite("tests.socketio.client_contract")

HERE = Path(__file__).parent
INSTALL = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline"]

_numbers = itertools.count()


class Site:
    """A server, as clients of Socket.IO and of the native wire find it."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._tokens = served.environment["AUTH_MODE"] == "token"

    @property
    def url(self) -> str:
        """For clients of Socket.IO."""
        return f"http://{urlsplit(self.served.url).netloc}"

    @property
    def native_url(self) -> str:
        """For clients of the native wire."""
        return f"ws://{urlsplit(self.served.url).netloc}/ws"

    def auth(self, user: str) -> dict[str, str]:
        """Return what a client says to come in as this user, over Socket.IO."""
        return {"token": self._token(user)} if self._tokens else {"userId": user}

    def hello(self, user: str) -> dict[str, str]:
        """Return what a client says to come in as this user, over the native wire."""
        return {"token": self._token(user)} if self._tokens else {"user": user}

    def _token(self, user: str) -> str:
        settings = with_secret(Settings(data_dir=self.served.directory))
        return make_token(settings, user, ("*",))


@contextmanager
def _opened(factory: pytest.TempPathFactory, **settings: str) -> Iterator[Site]:
    with started(factory.mktemp("d"), **settings) as served:
        yield Site(served)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with private stores that lets anybody in. Not to be killed; `mortal` is."""
    with _opened(tmp_path_factory, AUTH_MODE="insecure") as site:
        yield site


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with private stores that wants tokens, and is on the same port when it is started again."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with _opened(tmp_path_factory, AUTH_MODE="token", PORT=str(port)) as site:
        yield site


@pytest.fixture
async def network(site: Site) -> AsyncIterator[tuple[Network, str]]:
    """A network to `site` that can fail, and its URL."""
    async with network_to(site.url) as found:
        yield found


@pytest.fixture
async def driver(command: list[str]) -> AsyncIterator[Driver]:
    """A process for the clients of a test."""
    async with driving(*command) as driver:
        yield driver


@pytest.fixture
def room() -> str:
    """A room that no other test is in."""
    return f"team-{next(_numbers)}/general"


@pytest.fixture(scope="session")
def node_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver, in a folder with the packages it needs."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed; with it, npm's socket.io-client is tested too")
    assert shutil.which("npm") is not None, "node is there but npm is not, which installs socket.io-client"
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "driver.mjs"):
        shutil.copy(HERE / name, folder)
    done = subprocess.run(INSTALL, cwd=folder, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder / "driver.mjs"
