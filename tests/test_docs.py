"""The documentation says what is so.

Python in it runs, JSON in it is what the wire takes and what a server sends, tables in it are those of the code, and
links in it lead somewhere. `python tests/test_docs.py` writes what is generated.
"""

from __future__ import annotations

import ast
import base64
import inspect
import json
import random
import re
import tomllib
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_chat import MemoryArchive, MemoryHotStore, Settings, open_lobby
from trio_chat.cli import main
from trio_chat.clients.auth import Authenticator, make_token
from trio_chat.clients.handshake import Request
from trio_chat.clients.native import decode
from trio_chat.clients.native_connection import NativeConnection
from trio_chat.clients.patience import Patience
from trio_chat.clients.registry import Registry
from trio_chat.clients.vocabulary import REQUESTS
from trio_chat.errors import CloseCode, ReplyCode
from trio_chat.settings import documentation
from trio_chat.stores.base import Session
from trio_chat.stores.migrations import known
from trio_chat.stores.redis_records import Names

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PROTOCOL = DOCS / "protocol.md"
OPERATIONS = DOCS / "operations.md"
EMBEDDING = DOCS / "embedding.md"
DESIGN = DOCS / "design.md"
SOCKETIO = DOCS / "socketio.md"
QUICKSTART = DOCS / "quickstart.md"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *DOCS.glob("*.md")])
ROOM = "team-42/general"


class Block(NamedTuple):
    """A fenced block: what stands behind its fence, and its text."""

    page: Path
    info: str
    text: str

    @property
    def name(self) -> str:
        """What a test calls it."""
        return f"{self.page.name}: {self.text.splitlines()[0][:60]}"


def blocks(page: Path, info: str = "") -> list[Block]:
    """Return the fenced blocks of a page whose info begins with a text."""
    found = re.findall(r"^```(\S[^\n]*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [Block(page, said, text) for said, text in found if said.startswith(info)]


def objects(block: Block) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a block."""
    text, read = block.text.strip(), json.JSONDecoder().raw_decode
    while text:
        value, end = read(text)
        yield value
        text = text[end:].lstrip()


# --- what a server really sends


class RecordingLink:
    """A link that keeps what it is given to send."""

    def __init__(self, nursery: trio.Nursery, headers: Mapping[bytes, bytes]) -> None:
        self.request = Request("/ws", "", headers, "a test", False)
        self.said: list[dict[str, Any]] = []
        self.code: int | None = None
        self.behind = False
        self._nursery = nursery

    def limit_messages(self, size: int) -> None:
        """Take whatever comes."""

    def offer(self, frames: bytes, droppable: bool = False, exempt: bool = False) -> None:
        """Take whole unmasked text frames apart (RFC 6455, section 5.2)."""
        while frames and self.code is None:
            assert frames[0] == 0x81
            size, start = frames[1], 2
            if size >= 126:
                start = 4 if size == 126 else 10
                size = int.from_bytes(frames[2:start], "big")
            self.said.append(json.loads(frames[start : start + size]))
            frames = frames[start + size :]

    def close(self, code: int, reason: str = "") -> None:
        """Keep the first code."""
        self.code = self.code or code

    def start_soon(self, fn: Callable[..., Any], *args: object) -> None:
        """Start a task."""
        self._nursery.start_soon(fn, *args)


class Client:
    """A client on a recording link."""

    def __init__(self, link: RecordingLink, connection: NativeConnection) -> None:
        self.link = link
        self.connection = connection

    @property
    def user(self) -> str:
        """Who this is."""
        return self.connection.user

    @property
    def said(self) -> list[dict[str, Any]]:
        """What the server has said."""
        return self.link.said

    def first(self, kind: str) -> dict[str, Any]:
        """Return the first message of this type."""
        return next(said for said in self.said if said["type"] == kind)

    async def say(self, kind: str, **fields: object) -> None:
        """Ask for something, and wait until the server has no more to say."""
        self.connection.on_text(json.dumps({"type": kind, **fields}).encode())
        await wait_all_tasks_blocked()


class Server:
    """A server without sockets, on memory stores that promise what Redis does."""

    def __init__(self, nursery: trio.Nursery, **settings: Any) -> None:
        self.hot = MemoryHotStore(durability="redis")
        self.archive = MemoryArchive()
        self.settings = Settings(auth_mode="insecure", auth_secret="s" * 32, **settings)
        self.lobby: Any = None
        self.clients: list[Client] = []
        self._nursery = nursery
        self._registry = Registry(self.settings.max_connections_per_user)

    def connect(self, headers: Mapping[bytes, bytes] | None = None) -> Client:
        """Let somebody in who has not said hello, unless by header."""
        link: Any = RecordingLink(self._nursery, headers or {})
        connection = NativeConnection(
            link, self.lobby, Authenticator(self.settings), self._registry, Patience(5)
        )
        self.clients.append(Client(link, connection))
        return self.clients[-1]

    @property
    def said(self) -> list[dict[str, Any]]:
        """Everything it has said to anybody."""
        return [said for client in self.clients for said in client.said]

    async def enter(self, user: str, *, ref: str | None = None, **fields: object) -> Client:
        """Let somebody in, up to the room."""
        client = self.connect()
        await client.say("hello", user=user, **({"ref": ref} if ref else {}))
        await client.say("room:join", room=ROOM, **fields)
        return client


async def converse(server: Server) -> None:
    """Say everything there is to say, so that the server does."""
    ada = await server.enter("ada")
    token = make_token(server.settings, "bob", ["*"])
    bob = server.connect({b"authorization": b"Bearer " + token.encode()})
    await bob.say("room:join", room=ROOM, ref="join-1")
    await ada.say("message:send", room=ROOM, content="hello", id="m-1", ref=1)
    await ada.say("message:send", room=ROOM, content="and more", metadata={"mood": "good"})
    await ada.say("message:edit", room=ROOM, id="m-1", content="hello, all")
    await ada.say("typing:start", room=ROOM)
    await ada.say("typing:stop", room=ROOM)
    await bob.say("receipt:update", room=ROOM, lastReadMessageId="m-1", ref=2)
    await bob.say("history:get", room=ROOM, limit=1, ref=3)
    await bob.say("history:get", room=ROOM, ref=4)
    await ada.say("heartbeat")
    await ada.say("heartbeat", ref=5)
    eve = await server.enter("eve", ref="hello-1")
    await eve.say("room:leave", room=ROOM, ref=6)
    await ada.say("message:delete", room=ROOM, id="m-1", ref=7)
    await eve.say("room:join", room=ROOM, resume={"epoch": eve.first("room:joined")["epoch"], "seq": 3})
    await ada.say("message:edit", room=ROOM, id="nobody's", content="x", ref=8)
    await ada.say("nonsense")
    await bob.say("token:refresh", token=make_token(server.settings, "bob", ["*"]), ref=9)
    await trio.sleep(server.settings.session_expiry_seconds + 1)


@pytest.fixture(scope="module")
def server() -> Server:
    """A server that has said everything it can say."""
    return run_server(converse)


def run_server(talk: Callable[[Server], Any], **settings: Any) -> Server:
    """Run a conversation on virtual time; return the server and everything it said."""

    async def main() -> Server:
        async with trio.open_nursery() as nursery:
            server = Server(nursery, **settings)
            async with open_lobby(
                hot=server.hot, archive=server.archive, settings=server.settings
            ) as server.lobby:
                await talk(server)
                await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return server

    return trio.run(main, clock=MockClock(autojump_threshold=0))


# --- the wire

# These are left out if there is nothing to say.
OPTIONAL = {"welcome": {"ref"}, "heartbeat": {"ref"}, "error": {"ref", "room"}}
# Their names are people's and clients' own.
FREE = {"metadata", "receipts"}


def shape(value: Any, name: str = "") -> Any:
    """Return the types of a JSON value; None in place of what may be anything."""
    match value:
        case dict() if name in FREE:
            kinds = [shape(one) for one in value.values()]
            return ("by name", kinds[0] if name == "receipts" and kinds else None)
        case dict():
            return {key: shape(one, key) for key, one in value.items()}
        case list():
            return ("list", shape(value[0]) if value else None)
        case bool() | None | str():
            return type(value).__name__
        case _:
            return "number"


def fits(one: Any, other: Any) -> bool:
    """Whether two shapes can be the same, where None is any."""
    if one is None or other is None:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(fits(one[key], other[key]) for key in one)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return one[0] == other[0] and fits(one[1], other[1])
    return bool(one == other)


def bare(said: dict[str, Any]) -> Any:
    """Return the shape of what the server says, without what it may leave out."""
    optional = OPTIONAL.get(said["type"], set())
    # A ref is the client's own.
    return {
        key: None if key == "ref" else shape(value, key) for key, value in said.items() if key not in optional
    }


SAID = [(block, said) for block in blocks(PROTOCOL, "json server") for said in objects(block)]
ASKED = [
    (block, asked) for page in PAGES for block in blocks(page, "json client") for asked in objects(block)
]


def named(pairs: list[tuple[Block, dict[str, Any]]]) -> list[Any]:
    """Return the objects as parameters with names."""
    return [pytest.param(one, id=f"{number}-{one['type']}") for number, (_, one) in enumerate(pairs)]


@pytest.mark.parametrize("asked", named(ASKED))
def test_every_request_of_the_page_is_taken(asked: dict[str, Any]) -> None:
    """The wire decodes it."""
    assert decode(json.dumps(asked).encode()) is not None


def test_every_request_is_on_the_page_with_all_its_fields() -> None:
    """Nothing a client may ask is left out."""
    shown: dict[str, set[str]] = defaultdict(set)
    for _, asked in ASKED:
        shown[asked["type"]] |= asked.keys() - {"type"}
    requests: tuple[Any, ...] = REQUESTS
    taken = {
        kind.__struct_config__.tag: {field.encode_name for field in msgspec.structs.fields(kind)}
        for kind in requests
    }

    assert shown.keys() == taken.keys()
    missing = {kind: taken[kind] - shown[kind] - {"ref"} for kind in taken}
    assert not any(missing.values()), missing


@pytest.mark.parametrize("said", named(SAID))
def test_every_message_of_the_page_looks_like_one_that_was_sent(said: dict[str, Any], server: Server) -> None:
    """It has the fields and the types of one that a server really sent."""
    sent = [bare(real) for real in server.said if real["type"] == said["type"]]

    assert any(fits(bare(said), one) for one in sent), sent


def test_every_message_that_was_sent_is_on_the_page(server: Server) -> None:
    """The server says nothing that is not documented."""
    shown = [(said["type"], bare(said)) for _, said in SAID]
    strange = [
        real
        for real in server.said
        if not any(real["type"] == kind and fits(one, bare(real)) for kind, one in shown)
    ]

    assert strange == []


@pytest.mark.parametrize("kind", OPTIONAL)
def test_what_may_be_left_out_is_shown(kind: str) -> None:
    """An optional field is in one example at least."""
    shown: set[str] = set().union(*(said.keys() for _, said in SAID if said["type"] == kind))

    assert shown >= OPTIONAL[kind]


@pytest.mark.parametrize(
    ("info", "recovered"), [("json server window", False), ("json server recovered", True)]
)
def test_frames_at_a_join_come_in_the_order_of_the_page(info: str, recovered: bool, server: Server) -> None:
    """The page shows both answers to a join whole."""
    [block] = blocks(PROTOCOL, info)
    shown = [said["type"] for said in objects(block)]
    eve = [said for client in server.clients if client.user == "eve" for said in client.said]
    start = next(i for i, said in enumerate(eve) if said.get("recovered") is recovered)

    assert [said["type"] for said in eve[start : start + len(shown)]] == shown


def test_the_claims_of_the_page_are_those_of_a_token() -> None:
    """`trio-chat token` makes such a token."""
    [block] = blocks(PROTOCOL, "json token")
    [claims] = objects(block)
    settings = Settings(auth_secret="s" * 32)
    token = make_token(settings, claims["sub"], claims["rooms"], claims["roles"], 3600)
    identity = Authenticator(settings).authenticate(token)

    assert (identity.user, identity.rooms) == (claims["sub"], tuple(claims["rooms"]))
    assert identity.roles == set(claims["roles"])
    payload = token.split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "==")).keys() == claims.keys()


# --- the client of the page


def window_of_the_page() -> Any:
    """Return the class that the page shows."""
    found: dict[str, Any] = {}
    [block] = blocks(PROTOCOL, "python")
    exec(block.text, found)
    return found["Window"]


class Follower:
    """A client that follows the rules of the page, and breaks off and resumes now and then."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._window = window_of_the_page()(server.settings.max_messages_per_session)
        self._client: Client | None = None
        self._heard = 0

    async def follow(self) -> None:
        """Connect and resume, if not connected."""
        if self._client is None:
            resume = {"resume": self._window.position} if self._window.position else {}
            self._client = await self._server.enter("bob", **resume)
            self._heard = 0

    def hear(self, count: int | None = None) -> None:
        """Take in all that was said, or just so many messages of it."""
        if self._client is not None:
            for said in self._client.said[self._heard :][:count]:
                self._window.hear(said)
            self._heard = len(self._client.said)

    def break_off(self) -> None:
        """Lose the connection, and what was not heard yet."""
        if self._client is not None:
            self._client.connection.on_closed()
            self._client = None

    def shown(self) -> list[dict[str, Any]] | None:
        """Return what the client shows; None if it is not connected."""
        return None if self._client is None else self._window.shown()


async def change_something(ada: Client, number: int, dice: random.Random) -> None:
    """Post, edit or delete; what cannot be done is refused."""
    name = f"m-{dice.randrange(max(number - 5, 0), number + 1)}"
    match dice.choice(["send", "send", "send", "edit", "edit", "delete"]):
        case "edit":
            await ada.say("message:edit", room=ROOM, id=name, content=f"edited {number}")
        case "delete":
            await ada.say("message:delete", room=ROOM, id=name)
        case _:
            await ada.say("message:send", room=ROOM, id=f"m-{number}", content=f"{number}")


async def look(server: Server) -> list[dict[str, Any]]:
    """Return the window, as somebody sees it who is new."""
    eve = await server.enter("eve")
    eve.connection.on_closed()
    window: list[dict[str, Any]] = eve.first("messages:history")["messages"]
    return window


@pytest.mark.parametrize("seed", range(6))
def test_a_client_that_follows_the_rules_shows_the_window(seed: int) -> None:
    """Through edits, deletes, lost connections, half heard answers and expired sessions."""
    dice = random.Random(seed)

    async def talk(server: Server) -> None:
        ada = await server.enter("ada")
        bob = Follower(server)
        for number in range(150):
            if dice.random() < 0.25:
                await bob.follow()
            if dice.random() < 0.03:
                await trio.sleep(server.settings.session_expiry_seconds + 1)
            await change_something(ada, number, dice)
            if dice.random() < 0.2:
                bob.hear(dice.randrange(9))
                bob.break_off()
            bob.hear()

            assert bob.shown() in (None, await look(server))

    run_server(talk, max_messages_per_session=5, requests_per_second=0.0)


# --- what is generated


def meanings(of: type) -> dict[str, str]:
    """Return the text below each member of a class, in one line."""
    [body] = ast.parse(inspect.getsource(of)).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    name = ""
    for node in body.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]):
                found[name] = ""
            case ast.Expr(value=ast.Constant(value=str(text))) if name:
                found[name] = " ".join(text.split())
            case _:
                name = ""
    return found


def reply_codes() -> str:
    """Return the table of reply codes."""
    rows = ["| code | temporary | meaning |", "|---|---|---|"]
    texts = meanings(ReplyCode)
    rows += [f"| `{one}` | {'yes' if one.temporary else 'no'} | {texts[one.name]} |" for one in ReplyCode]
    return "\n".join(rows)


def settings_tables() -> str:
    """Return a table for each group of settings."""
    lines: list[str] = []
    for title in dict.fromkeys(group for group, *_ in documentation()):
        lines += [f"### {title}", "", "| variable | flag | default | |", "|---|---|---|---|"]
        for group, name, flag, default, text in documentation():
            if group == title:
                lines.append(f"| `{name}` | {f'`{flag}`' if flag else ''} | {default} | {text} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def filled(page: Path, name: str, table: str) -> str:
    """Return the page with a table in its place."""
    start = f"<!-- {name}: generated -->\n"
    text = page.read_text()

    assert text.count(start) == 1
    before, _, rest = text.partition(start)
    _, end, after = rest.partition("<!-- end -->")
    return f"{before}{start}\n{table}\n\n{end}{after}"


def with_examples(page: Path) -> str:
    """Return the page with each program below the link to its file."""

    def put(found: re.Match[str]) -> str:
        return f"{found[1]}{(page.parent / found[2]).read_text()}```"

    return re.sub(
        r"(\((examples/\w+\.(?:py|mjs))\):\n\n```(?:python|js)\n).*?^```$",
        put,
        page.read_text(),
        flags=re.DOTALL | re.MULTILINE,
    )


GENERATED: dict[Path, Callable[[Path], str]] = {
    PROTOCOL: lambda page: filled(page, "reply codes", reply_codes()),
    OPERATIONS: lambda page: filled(page, "settings", settings_tables()),
    EMBEDDING: with_examples,
    SOCKETIO: with_examples,
    QUICKSTART: with_examples,
}


@pytest.mark.parametrize("page", GENERATED, ids=lambda page: page.name)
def test_generated_pages_are_current(page: Path) -> None:
    """`python tests/test_docs.py` brings them up to date."""
    assert page.read_text() == GENERATED[page](page)


def test_the_table_of_close_codes_is_that_of_the_code() -> None:
    """Every code by number, name and, where the code has one, meaning."""
    text = PROTOCOL.read_text().partition("## Close codes")[2].partition("\n## ")[0]
    shown = {
        name: (int(number), meaning)
        for number, name, meaning in re.findall(r"^\| (\d+) \| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    }
    texts = meanings(CloseCode)

    assert {name: number for name, (number, _) in shown.items()} == {
        code.name: code.value for code in CloseCode
    }
    assert [name for name in shown if not shown[name][1].startswith(texts[name].rstrip("."))] == []


def test_the_limits_of_the_page_are_those_of_the_welcome(server: Server) -> None:
    """Every limit that a welcome names is explained, with its default."""
    text = PROTOCOL.read_text().partition("## Limits")[2]
    shown = {
        name: float(default)
        for name, default in re.findall(r"^\| `(\w+)` \| .* \| (\d+) \|$", text, re.MULTILINE)
    }

    assert shown == server.clients[0].first("welcome")["limits"]


# --- programs


@pytest.mark.parametrize(
    "block", [block for page in PAGES for block in blocks(page, "python")], ids=lambda one: one.name
)
def test_python_on_a_page_compiles(block: Block) -> None:
    """Whatever it is, it is Python."""
    compile(block.text, block.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize(
    "block", [block for page in PAGES for block in blocks(page, "python run")], ids=lambda one: one.name
)
def test_programs_on_a_page_run_and_print_what_it_says(
    block: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    """A block marked `python run` is a program; the block behind it is what it prints."""
    following = blocks(block.page)
    expected = following[following.index(block) + 1]
    exec(block.text, {"__name__": "__main__"})

    assert expected.info == "text"
    assert capsys.readouterr().out == expected.text


def test_every_example_is_on_a_page() -> None:
    """One page links to each file of docs/examples; `test_generated_pages_are_current` sees that what it shows is as it is."""
    named = [name for page in PAGES for name in re.findall(r"\(examples/(\w+\.\w+)\)", page.read_text())]

    assert sorted(named) == sorted(path.name for path in (DOCS / "examples").glob("*.*"))


def test_the_commands_of_the_readme_are_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """The table has every command and no other."""
    shown = re.findall(r"^\| `trio-chat (\w+)[^`]*` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    with pytest.raises(SystemExit):
        main(["--help"])

    assert shown == re.findall(r"^ {4}(\w+)  ", capsys.readouterr().out, re.MULTILINE)


# --- what is kept where


def test_the_page_of_the_design_names_the_keys_there_are() -> None:
    """Every key, and no other."""
    shown = re.findall(r"^\| `(tc:[^`]+)` \|", DESIGN.read_text(), re.MULTILINE)
    keys = Names("tc").session(Session("room", "<epoch>"))

    assert sorted(shown) == sorted(keys)


def test_the_page_of_the_design_shows_the_tables_there_are() -> None:
    """Every migration is on it, verbatim."""
    shown = [block.text for block in blocks(DESIGN, "sql")]

    assert shown == [text for _, text in known().values()]


def test_the_files_that_pages_name_are_there() -> None:
    """A file that was renamed is not forgotten."""
    named = {path for page in PAGES for path in re.findall(r"`(trio_chat/[\w/.*]+)`", page.read_text())}

    assert named
    assert [path for path in sorted(named) if not list(ROOT.glob(path))] == []


# --- links and pictures


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Yield path and fragment of each relative link of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
        link = target[0] or target[1]
        if "://" not in link:
            path, _, fragment = link.partition("#")
            yield path, fragment


def anchors(page: Path) -> set[str]:
    """Return the anchors that the headings of a page get."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    """Each names a file that is there and, if any, a heading in it."""
    for path, fragment in links(page):
        target = (page.parent / path) if path else page

        assert target.exists(), path
        assert not fragment or fragment in anchors(target), f"{path}#{fragment}"


@pytest.mark.parametrize("picture", sorted(DOCS.glob("images/*.svg")), ids=lambda path: path.name)
def test_pictures_are_whole_and_say_what_they_show(picture: Path) -> None:
    """They are XML, have a title and a description, for those who cannot see them, and read in the dark too."""
    root = ET.parse(picture).getroot()

    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert all(root.findtext(f"{{http://www.w3.org/2000/svg}}{name}") for name in ("title", "desc"))
    assert "prefers-color-scheme: dark" in picture.read_text()


def test_every_picture_is_on_a_page() -> None:
    """Nobody finds it otherwise."""
    pages = "".join(page.read_text() for page in PAGES)

    assert [path.name for path in (DOCS / "images").iterdir() if f"images/{path.name}" not in pages] == []


def test_what_pages_install_of_ours_is_this_checkout_with_extras_there_are() -> None:
    """The package is in no index yet, and an extra that is none would only be warned of."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    said = [
        word
        for page in PAGES
        for line in re.findall(r"pip install ((?:(?!&&|#)[^`\n])*)", page.read_text())
        for word in line.split()
    ]
    named = [extra for word in said for extra in re.findall(r"^'\.\[([\w,]+)\]'$", word)]

    assert [word for word in said if word.strip("'").startswith("trio-chat")] == []
    assert {one for extra in named for one in extra.split(",")} <= extras.keys()
    assert "embedded" in named


def test_the_changelog_knows_this_version() -> None:
    """The version of the package has a heading."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


if __name__ == "__main__":
    for written, make in GENERATED.items():
        written.write_text(make(written))
