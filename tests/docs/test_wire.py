"""JSON on a page is what the wire takes and what a server sends."""

from __future__ import annotations

import base64
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from trio_chat import Settings
from trio_chat.clients.auth import Authenticator, make_token
from trio_chat.clients.native_requests import decode
from trio_chat.clients.vocabulary import REQUESTS

from .house import PAGES, PROTOCOL, Block, Server, blocks, named


def objects(block: Block) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a block."""
    text, read = block.text.strip(), json.JSONDecoder().raw_decode
    while text:
        value, end = read(text)
        yield value
        text = text[end:].lstrip()


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


def test_the_limits_of_the_page_are_those_of_the_welcome(server: Server) -> None:
    """Every limit that a welcome names is explained, with its default."""
    text = PROTOCOL.read_text().partition("## Limits")[2]
    shown = {
        name: float(default)
        for name, default in re.findall(r"^\| `(\w+)` \| .* \| (\d+) \|$", text, re.MULTILINE)
    }

    assert shown == server.clients[0].first("welcome")["limits"]
