"""The AsyncAPI document says what is so: a server says over a WebSocket what it describes, and takes what it describes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import trio

from tests.chat_client import Chat, connect
from trio_chat.clients.native_requests import decode
from trio_chat.clients.vocabulary import REQUESTS
from trio_chat.errors import BadRequest
from trio_chat.web import said
from trio_chat.web.asyncapi import make_asyncapi

from .conftest import PATIENCE, ROOM, Site, serving

DOCUMENT = make_asyncapi()
SCHEMAS = DOCUMENT["components"]["schemas"]
MESSAGES = DOCUMENT["components"]["messages"]


def validator(name: str) -> jsonschema.Draft202012Validator:
    """Return what checks a message of this name, strictly: what is not described is wrong."""
    root = json.loads(json.dumps({"components": {"schemas": SCHEMAS}}))
    for schema in root["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return jsonschema.Draft202012Validator({**root, "$ref": f"#/components/schemas/{name}"})


SAID = {kind.__name__: validator(kind.__name__) for kind in said.SAID}


def names_of(message: dict[str, Any]) -> list[str]:
    """Return the described messages that this can be."""
    return [name for name, one in SAID.items() if one.is_valid(message)]


# --- what the server says


async def converse(site: Site, heard: list[dict[str, Any]]) -> None:
    """Say everything there is to say, so that the server does."""
    url = f"ws://127.0.0.1:{site.port}/ws"

    async def come(client: Chat, user: str) -> None:
        await client.say("hello", token=site.token(user), ref="hello")
        heard.append(await client.expect("welcome"))
        await client.say("room:join", room=ROOM, ref="join")
        await until(client, "presence:list")

    async def until(client: Chat, kind: str, **fields: Any) -> dict[str, Any]:
        while True:
            heard.append(message := await client.hear())
            if message["type"] == kind and {name: message.get(name) for name in fields} == fields:
                return message

    async def ask(client: Chat, kind: str, answer: str = "ack", **fields: Any) -> dict[str, Any]:
        await client.say(kind, room=ROOM, ref=7, **fields)
        return await until(client, answer, ref=7)

    async with connect(url) as ada, connect(url) as bob:
        await come(ada, "ada")
        first = await ask(
            ada, "message:send", id="m-1", content="hello", metadata={"mood": ["good", 1, None]}
        )
        await come(bob, "bob")
        await until(ada, "presence:update")
        await ask(bob, "receipt:update", lastReadMessageId="m-1")
        await ask(ada, "typing:start")
        await until(bob, "typing:start")
        await ask(ada, "typing:stop")
        await until(bob, "typing:stop")
        await ask(ada, "presence:heartbeat")
        await ask(ada, "message:edit", id="m-1", content="hello, all")
        await ask(bob, "history:get", answer="history:page", limit=1)
        await ask(ada, "message:send", content="and more")
        await ask(bob, "history:get", answer="history:page", limit=1)
        await ask(bob, "room:leave", answer="room:left")
        await ask(ada, "message:delete", id="m-1")
        resume = {"epoch": first["epoch"], "seq": first["seq"]}
        await bob.say("room:join", room=ROOM, resume=resume)
        await until(bob, "room:live")
        await until(bob, "presence:list")
        await ada.say("heartbeat", ref="beat")
        await until(ada, "heartbeat")
        await ada.say("heartbeat")
        await until(ada, "heartbeat")
        await ada.say("token:refresh", token=site.token("ada"), ref=9)
        await until(ada, "token:refreshed")
        await ada.say("nonsense")
        await until(ada, "error")
        await ask(ada, "message:edit", answer="error", id="nobody's", content="x")
        await until(ada, "session:expired")
        site.lobby.rooms[ROOM].close("closed")
        await until(ada, "error", code="room_closed")


@pytest.fixture(scope="module")
def heard() -> list[dict[str, Any]]:
    """Everything a server has said in a conversation; its session takes a second to expire."""
    found: list[dict[str, Any]] = []

    async def main() -> None:
        async with serving(session_expiry_seconds=1.0) as site:
            with trio.fail_after(PATIENCE):
                await converse(site, found)

    trio.run(main)
    return found


def test_what_the_server_says_is_described(heard: list[dict[str, Any]]) -> None:
    """Each message is exactly one of those described, with no field more."""
    strange = [message for message in heard if len(names_of(message)) != 1]

    assert strange == []


def test_what_is_described_is_said(heard: list[dict[str, Any]]) -> None:
    """Nothing is described that no server says."""
    assert {name for message in heard for name in names_of(message)} == SAID.keys()


def test_each_field_that_may_be_left_out_is(heard: list[dict[str, Any]]) -> None:
    """And is there at other times."""
    for name in SAID:
        optional = SCHEMAS[name]["properties"].keys() - set(SCHEMAS[name]["required"])
        ones = [message for message in heard if names_of(message) == [name]]
        for field in optional:
            assert {field in message for message in ones} >= {True}, (name, field)


# --- what clients may ask


def examples() -> Iterator[Any]:
    """Yield each example of a request, with the name of its schema."""
    for name, message in MESSAGES.items():
        for number, example in enumerate(message.get("examples", [])):
            yield pytest.param(name, example["payload"], id=f"{name}-{number}")


EXAMPLES = list(examples())


def test_every_request_has_an_example() -> None:
    """Every field of it is in one."""
    shown: dict[str, set[str]] = {}
    for param in EXAMPLES:
        name, example = param.values
        shown.setdefault(name, set()).update(example)
    described = {
        f"Ask{kind.__name__}": SCHEMAS[f"Ask{kind.__name__}"]["properties"].keys() for kind in REQUESTS
    }

    assert {
        name: described[name] - fields - {"ref"}
        for name, fields in shown.items()
        if described[name] - fields - {"ref"}
    } == {}
    assert shown.keys() == described.keys()


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_what_is_described_is_taken(name: str, example: dict[str, Any]) -> None:
    """The wire decodes each example, and the document agrees with itself."""
    validator(name).validate(example)

    assert decode(json.dumps(example).encode()) is not None


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_what_is_not_described_is_refused(name: str, example: dict[str, Any]) -> None:
    """By the document as by the wire: a field more, or one that is required and missing."""
    required = list(SCHEMAS[name]["required"])
    wrong = [
        {**example, "extra": 1},
        *({k: v for k, v in example.items() if k != field} for field in required),
    ]

    for message in wrong:
        assert not validator(name).is_valid(message)
        with pytest.raises(BadRequest):
            decode(json.dumps(message).encode())


LONG = "x" * 129
WRONG: dict[str, list[Any]] = {
    "room": ["", LONG, "a b", "é", 1, None],
    "id": ["", LONG, "a\nb", 1],
    "lastReadMessageId": ["", LONG, "a\x7f", 1],
    "ref": [LONG, 2**53, -(2**53), 1.5, {}, True],
    "limit": [0, 201, "1", 1.5],
    "before": [{"epoch": "x", "seq": 1}, {"epoch": "", "seq": 1}, "x", {"seq": 1}],
    "resume": [{"epoch": "x", "seq": 1}, {"epoch": 1, "seq": 1}, "x", {}],
    "metadata": [[], "x", 1],
    "content": [1, None],
    "type": ["", "nonsense", None],
    "token": [1],
    "user": [1],
}


def take(message: dict[str, Any]) -> None:
    """Do with a message what the wire does, up to the room."""
    request: Any = decode(json.dumps(message).encode())
    for place in (getattr(request, "before", None), getattr(request, "resume", None)):
        if place is not None:
            place.position()


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_limits_of_the_document_are_those_of_the_wire(name: str, example: dict[str, Any]) -> None:
    """A value that the document refuses the wire refuses, too, when it reads or when it resumes."""
    for field in example.keys() & WRONG.keys():
        for value in WRONG[field]:
            message = {**example, field: value}
            assert not validator(name).is_valid(message), message
            with pytest.raises(BadRequest):
                take(message)


# --- the document


def test_references_lead_somewhere() -> None:
    """Each names something that is there."""
    text = json.dumps(DOCUMENT)

    for part in text.split('"$ref": "#/')[1:]:
        found: Any = DOCUMENT
        for step in part.partition('"')[0].split("/"):
            found = found[step]


def test_every_message_belongs_to_an_operation() -> None:
    """Either it is asked, or it answers, or it is told unasked."""
    text = json.dumps(DOCUMENT["operations"])

    assert [name for name in MESSAGES if f'/messages/{name}"' not in text] == []


async def test_the_document_is_served(site: Site) -> None:
    """As it was made."""
    assert (await site.ask("GET", "/asyncapi.json", token=None)).said == DOCUMENT
