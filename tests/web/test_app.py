"""What is answered over HTTP: the files of the page, with the headers that keep it safe."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from trio_chat.app import App, open_app
from trio_chat.clients.auth import Authenticator, with_secret
from trio_chat.settings import Settings
from trio_chat.web.assets import accepts_gzip, load_assets, make_asset, modules_of
from trio_chat.web.headers import HEADERS, POLICY
from trio_chat.web.link import dashboard_link, page_link

STATIC = Path(__file__).parent.parent.parent / "trio_chat" / "web" / "static"
VENDOR = STATIC / "vendor"
PAGE = "http://127.0.0.1:8000/"


@pytest.fixture
def settings(tmp_path: Path, valkey_server: str, postgres_server: str) -> Settings:
    """Those of a server on the session's stores."""
    return Settings(
        redis_url=valkey_server, redis_prefix="web", database_url=postgres_server, data_dir=tmp_path, port=0
    )


class Answer:
    """An answer over HTTP."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()


async def ask(app: App, target: str, method: str = "GET", **headers: str) -> Answer:
    """Make a request on a connection of its own."""

    def talk() -> Answer:
        client = http.client.HTTPConnection("127.0.0.1", app.port, timeout=5)
        try:
            client.request(
                method, target, headers={name.replace("_", "-"): text for name, text in headers.items()}
            )
            return Answer(client.getresponse())
        finally:
            client.close()

    return await trio.to_thread.run_sync(talk)


async def test_the_pages_and_all_they_need_are_served(settings: Settings) -> None:
    """Everything that a file of a page names is there, under its kind; the chat page knows the mode."""
    async with open_app(settings) as app:
        pages = [await ask(app, path) for path in ("/", "/admin")]
        texts = [page.body.decode() for page in pages]
        needed = set(re.findall(r'(?:href|src)="(static/[^"]+)"', "".join(texts)))
        files = {path: await ask(app, f"/{path}") for path in needed}

    assert {(page.status, page.headers["content-type"]) for page in pages} == {
        (200, "text/html; charset=utf-8")
    }
    assert 'data-auth="token"' in texts[0]
    assert {one.status for one in files.values()} == {200}
    assert {f"static/{path.relative_to(STATIC)}" for path in STATIC.rglob("*.js")} <= needed
    assert files["static/main.js"].headers["content-type"] == "text/javascript; charset=utf-8"
    assert files["static/main.js"].body == (STATIC / "main.js").read_bytes()


def test_a_page_fetches_the_modules_it_runs_and_no_others() -> None:
    """Those that it names, what these import, and so on."""
    contents = {
        "page": b'<script type="module" src="static/a/main.js"></script>',
        "a/main.js": b'import { x } from "./x.js";\nimport "../y.js";\nimport {\n  z,\n} from "../y.js";\n',
        "a/x.js": b'import { y } from "../y.js";\n// import "./other.js";\n',
        "y.js": b'import { x } from "./a/x.js";\n',
        "a/other.js": b"",
    }

    assert modules_of("page", contents) == ["a/main.js", "a/x.js", "y.js"]


@pytest.mark.parametrize(
    "target", ["/", "/admin", "/static/main.js", "/nowhere", "/static/../app.py", "/static/%2e%2e/app.py"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_every_answer_has_the_headers(settings: Settings, target: str, method: str) -> None:
    """Also one that says that nothing is there."""
    async with open_app(settings) as app:
        answer = await ask(app, target, method)

    expected = (
        404 if "." in target.removesuffix(".js") or target == "/nowhere" else 405 if method == "POST" else 200
    )
    assert answer.status == expected
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


async def test_a_browser_asks_whether_it_has_the_newest(settings: Settings) -> None:
    """What it has under the same tag is not sent again; compressed and plain have tags of their own."""
    async with open_app(settings) as app:
        plain = await ask(app, "/static/main.js")
        packed = await ask(app, "/static/main.js", accept_encoding="gzip, br")
        again = await ask(app, "/static/main.js", if_none_match=f'"old", W/{plain.headers["etag"]}')
        other = await ask(app, "/static/main.js", if_none_match=packed.headers["etag"])

    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["content-encoding"] == "gzip"
    assert (again.status, again.body) == (304, b"")
    assert other.status == 200
    assert plain.headers["cache-control"] == "no-cache"


async def test_a_websocket_at_the_wrong_path_gets_no_page(settings: Settings) -> None:
    """It is told that nothing is there."""
    handshake = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13"}
    async with open_app(settings) as app:
        answer = await ask(app, "/", **handshake, sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==")

    assert (answer.status, answer.body) == (404, b"Nothing is here.\n")


def test_the_policy_lets_nothing_in() -> None:
    """Neither scripts nor anything else from elsewhere or from within a text."""
    assert POLICY.startswith("default-src 'none'; ")
    assert "unsafe" not in POLICY
    assert re.search(r"https?:|\*", POLICY) is None


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("br;q=1.0, GZIP;q=0.8", True),
        ("gzip ; q=0.001", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0", False),
        ("br, deflate", False),
        ("", False),
    ],
)
def test_who_cannot_unpack_gets_it_unpacked(header: str, accepted: bool) -> None:
    """As the header says."""
    assert accepts_gzip(header) is accepted


def test_what_is_small_is_not_compressed() -> None:
    """It would be no smaller."""
    assert make_asset("a.svg", b"<svg/>").packed is None


def rows() -> Iterator[tuple[str, str]]:
    """Yield name and sum of each library, as its README has them."""
    yield from re.findall(
        r"^\| `([\w.]+)` \| .* `([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.MULTILINE
    )


def test_libraries_are_what_their_readme_says() -> None:
    """Unchanged files, all of them named, each with a licence."""
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.glob("*.js")}

    assert dict(rows()) == sums
    assert len(list(VENDOR.glob("LICENSE.*"))) == len(sums)


def test_the_page_asks_nobody_else() -> None:
    """No file of ours names another host, but for the name of SVG itself."""
    for path, body in load_assets().items():
        if not path.startswith("vendor/"):
            found = re.findall(r"(?:https?:)?//[\w-]+\.[\w.-]+", body.decode())
            assert set(found) <= {"http://www.w3.org"}, path


# The link


def test_the_default_link_is_a_way_in(tmp_path: Path) -> None:
    """It holds a token of whoever runs the server, who could make one anyway."""
    link = page_link(Settings(data_dir=tmp_path), PAGE)

    assert re.fullmatch(rf"{PAGE}#token=[\w-]+\.[\w-]+\.[\w-]+&room=team-42/general", link)


def test_the_default_link_of_the_dashboard_is_a_way_in(tmp_path: Path) -> None:
    """Its token is that of an operator."""
    settings = Settings(data_dir=tmp_path)
    address, _, token = dashboard_link(settings, PAGE).partition("#token=")

    assert address == f"{PAGE}admin"
    assert Authenticator(with_secret(settings)).authenticate(token).may_administer


@pytest.mark.parametrize(
    "given",
    [
        {"auth_mode": "insecure"},
        {"host": "0.0.0.0"},
        {"host": "192.0.2.1"},
        {"host": "chat.example.com"},
        {"host": "::"},
        {"auth_secret": "a-secret-of-more-than-thirty-two-bytes"},
        {"redis_url": "redis://127.0.0.1"},
        {"database_url": "postgresql://127.0.0.1"},
    ],
    ids=lambda given: "-".join(given.values())[:20],
)
def test_any_other_link_holds_no_token(tmp_path: Path, given: dict[str, Any]) -> None:
    """Where others can connect, or other people's secrets are used, or nobody needs one."""
    settings = Settings(data_dir=tmp_path, **given)

    assert page_link(settings, PAGE) == f"{PAGE}#room=team-42/general"
    assert dashboard_link(settings, PAGE) == f"{PAGE}admin"


@pytest.mark.parametrize("account", ["", "a\nb", "x" * 200])
def test_an_account_without_a_proper_name_gets_a_link_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: str
) -> None:
    """Containers have such accounts."""
    monkeypatch.setattr("getpass.getuser", lambda: account)

    assert "#token=" in page_link(Settings(data_dir=tmp_path), PAGE)
