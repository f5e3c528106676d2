"""Whatever is sent to the API, the answer is a refusal of one shape, nothing happens, and the server goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from .conftest import PATIENCE, ROOM, Answer, Site, at, read_answer, serving

MESSAGES = f"{at(ROOM)}/messages"


@pytest.fixture(autouse=True)
async def unharmed(site: Site) -> Any:
    """See that the server still takes a message afterwards, as the first of its room."""
    yield
    assert (await site.post()).said["seq"] == 1


# --- who asks


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer x", "Basic YTpi", "User ada", "Bearer \xe9", f"Bearer {'x' * 9000}"],
)
async def test_who_has_no_token_is_turned_away(site: Site, header: str) -> None:
    """With one text for all tokens, and the scheme that is expected."""
    given = {"authorization": header} if header else {}
    answer = await site.ask("GET", MESSAGES, token=None, headers=given)

    assert answer.outcome == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer realm=")
    assert ("invalid_token" in answer.headers["www-authenticate"]) == header.startswith("Bearer")


async def test_two_tokens_are_none(site: Site) -> None:
    """A proxy may have looked at the other one."""
    both = {"authorization": f"Bearer {site.token()}", "Authorization": f"Bearer {site.token('eve')}"}

    assert (await site.ask("GET", MESSAGES, token=None, headers=both)).outcome == (401, "unauthorized")


async def test_a_token_in_the_query_is_none(site: Site) -> None:
    """It would be in logs of proxies."""
    answer = await site.ask("GET", f"{MESSAGES}?access_token={site.token()}", token=None)

    assert answer.outcome == (401, "unauthorized")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/messages", {"content": "x"}),
        ("POST", "/messages", {"nonsense": 1}),
        ("GET", "/messages", None),
        ("PATCH", "/messages/m-1", {"content": "x"}),
        ("DELETE", "/messages/m-1", None),
        ("GET", "/presence", None),
        ("GET", "", None),
        ("POST", "/close", None),
    ],
)
async def test_rooms_of_other_tenants_look_alike(site: Site, method: str, path: str, body: Any) -> None:
    """Whether there is such a room, with such a message, or not: byte for byte; and none begins."""
    await site.post(room="team-7/secret", token=site.token("bob", ("team-7/*",)), id="m-1")
    there = await site.ask(method, f"{at('team-7/secret')}{path}", body)
    not_there = await site.ask(method, f"{at('team-7/nobody')}{path}", body)

    def shown(answer: Answer) -> Any:
        headers = {name: text for name, text in answer.headers.items() if name != "date"}
        return answer.status, answer.body, headers

    assert there.outcome == (403, "forbidden")
    assert shown(there) == shown(not_there)
    assert list(site.lobby.rooms) == ["team-7/secret"]


# --- paths


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/rooms/team-42/general/messages", 404),
        ("/rooms/team-42%2Fgeneral/messages/", 405),
        ("/rooms/team-42%2fgeneral//messages", 404),
        ("//rooms", 404),
        ("/../v1/rooms", 404),
        ("/rooms/%2e%2e/messages", 403),
        ("/rooms/team-42%252Fgeneral/messages", 400),
        ("/rooms/team-42%2Fgeneral%00/messages", 400),
        ("/rooms/team-42%2Fgeneral%0d%0aX-Evil:1/messages", 400),
        ("/rooms/team-42%2F%zz/messages", 404),
        ("/rooms/team-42%2F%/messages", 404),
        ("/rooms/%ff/messages", 404),
        ("/rooms/%ed%a0%80/messages", 404),
        ("/rooms/%C3%A9/messages", 400),
        ("/rooms//messages", 400),
        (f"/rooms/{'a' * 129}/messages", 400),
        (f"/rooms/{'a' * 8000}/messages", 400),
        ("/rooms%2Fteam-42%2Fgeneral%2Fmessages", 404),
        ("/rooms/team-42%2Fgeneral/MESSAGES", 404),
        ("/rooms/team-42%2Fgeneral;x=1/messages", 400),
        ("", 404),
        ("/", 404),
    ],
)
async def test_odd_paths_lead_nowhere(site: Site, path: str, status: int) -> None:
    """A path means one thing, and that is what it says byte for byte."""
    answer = await site.ask("GET", path)

    assert answer.status == status
    assert not site.lobby.rooms


@pytest.mark.parametrize(
    "name", ["%00", "%0D%0ASet-Cookie:a=1", "%7F", "x" * 129, "x" * 10_000, "%F0%9F%8E%89" * 129, ""]
)
async def test_ids_that_are_none_are_refused(site: Site, name: str) -> None:
    """Too long, empty, or with control characters; none of them gets into a header."""
    answer = await site.ask("DELETE", f"{MESSAGES}/{name}")

    assert answer.outcome == (400, "bad_request")
    assert "set-cookie" not in answer.headers
    assert len(answer.body) < 500


async def test_what_an_id_says_is_not_a_header(site: Site) -> None:
    """It comes back in JSON only, escaped."""
    name = 'x": 1}<script> Set-Cookie: a=1'
    posted = await site.post(id=name, room="team-42/ids")

    assert posted.said["id"] == name
    assert "set-cookie" not in posted.headers
    assert posted.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("method", ["PUT", "TRACE", "CONNECT", "PATCH"])
async def test_other_methods_are_refused(site: Site, method: str) -> None:
    """With those that are allowed."""
    answer = await site.ask(method, MESSAGES)

    assert answer.outcome == (405, "bad_request")
    assert answer.headers["allow"] == "POST, GET, HEAD, OPTIONS"


async def test_head_is_get_without_a_body(site: Site) -> None:
    """Also of what is refused."""
    found = await site.ask("HEAD", "/openapi.json", token=None)
    refused = await site.ask("HEAD", "/rooms")

    assert (found.status, found.body, refused.status, refused.body) == (200, b"", 403, b"")


# --- queries


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=1.5",
        "limit=x",
        "limit=",
        "limit=null",
        "limit=1&limit=2",
        "limit",
        "nonsense=1",
        "before=",
        "before=1",
        "before=null",
        "before=01a2040e-2752-7451-8379-c1deda24b42e",
        "before=01a2040e-2752-7451-8379-c1deda24b42e:-1",
        "before=01a2040e-2752-7451-8379-c1deda24b42e:9007199254740993",
        "before=01a2040e-2752-4451-8379-c1deda24b42e:1",
        "before=01a2040e-2752-7451-8379-c1deda24b42e:1%0A",
        "before=%ff",
        "before=%zz",
        "&".join(f"x{number}=1" for number in range(100)),
        "limit=" + "9" * 5000,
    ],
)
async def test_queries_are_strict(site: Site, query: str) -> None:
    """Unknown, doubled and malformed parameters are refused."""
    answer = await site.ask("GET", f"{MESSAGES}?{query}")

    assert answer.outcome == (400, "bad_request")
    assert len(answer.body) < 500


# --- bodies

DEEP = b'{"content":"x","metadata":{"a":' + b"[" * 40 + b"]" * 40 + b"}}"


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b"{",
        b"{}",
        b'"content"',
        b'{"content":1}',
        b'{"content":""}',
        b'{"content":null}',
        b'{"content":"x","role":"admin"}',
        b'{"content":"x","room":"team-42/other"}',
        b'{"content":"x","userId":"bob"}',
        b'{"content":"x","content":"y"}',
        b'{"content":"x","cont\\u0065nt":"y"}',
        b'{"content":"x","metadata":{"a":1,"a":2}}',
        b'{"content":"x","metadata":{"a":[{"b":1,"b":2}]}}',
        b'{"content":"x","metadata":[]}',
        b'{"content":"x","metadata":{"a":9007199254740993}}',
        b'{"content":"x","metadata":{"a":1e999}}',
        b'{"content":"x","metadata":{"a":NaN}}',
        b'{"content":"x","metadata":{"\\u0000":1}}',
        b'{"content":"\\u0000"}',
        b'{"content":"\\ud800"}',
        b'{"content":"\xff"}',
        b'{"content":"\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"content":"x"}',
        b'{"content":"x"} {}',
        b'{"content":"x","id":""}',
        b'{"content":"x","id":"a\\nb"}',
        b'{"content":"x","id":"' + b"a" * 129 + b'"}',
        DEEP,
        b"[" * 60_000,
        b'{"content":"x","metadata":' + b'{"a":' * 10_000,
        b'{"content":"x","id":' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_bodies_are_strict(site: Site, body: bytes) -> None:
    """As requests on the native wire: nothing is guessed, and nothing is kept."""
    answer = await site.ask("POST", MESSAGES, raw=body)

    assert answer.outcome == (400, "bad_request")
    assert len(answer.body) < 500
    assert not site.lobby.rooms


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": ""},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-encoding": "gzip"},
    ],
    ids=lambda headers: str(*headers.values()),
)
async def test_only_json_is_taken(site: Site, headers: dict[str, str]) -> None:
    """As it is: what is compressed could be made to explode."""
    answer = await site.ask("POST", MESSAGES, {"content": "x"}, headers=headers)

    assert answer.outcome == (415, "bad_request")


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
async def test_json_has_many_names(site: Site, kind: str) -> None:
    """Upper case and a charset make no difference."""
    body, token = {"content": "x"}, site.token("ada", ("*",))
    answer = await site.ask(
        "POST", f"{at('other')}/messages", body, token=token, headers={"content-type": kind}
    )

    assert answer.status == 201


async def test_half_a_character_is_called_that(site: Site) -> None:
    """JavaScript makes it by cutting an emoji in two."""
    answer = await site.ask("POST", MESSAGES, raw=rb'{"content":"\ud83d"}')

    assert answer.outcome == (400, "bad_request")
    assert "body: half a character (a lone surrogate) is none" in answer.said["message"]


async def test_a_body_where_there_is_none_is_refused(site: Site) -> None:
    """It may have been meant for another path."""
    answer = await site.ask("DELETE", f"{MESSAGES}/m-1", {"content": "x"})

    assert answer.outcome == (400, "bad_request")


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_large_is_refused(site: Site, announced: bool) -> None:
    """Before it was sent, if its size is said; else when it has grown too large."""
    head = f"POST /api/v1{MESSAGES} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {site.token()}\r\n"
    head += "Content-Type: application/json\r\n"
    size = site.settings.max_message_bytes + 1
    async with site.connect() as stream:
        if announced:
            await stream.send_all(f"{head}Content-Length: {size}\r\n\r\n".encode())
        else:
            chunk = f"{size:x}\r\n{'x' * size}\r\n"
            await stream.send_all(f"{head}Transfer-Encoding: chunked\r\n\r\n{chunk}".encode())
        answer = await read_answer(stream)

    assert answer.outcome == (413, "bad_request")


async def test_contents_have_a_size_of_their_own(site: Site) -> None:
    """The largest body that fits is taken."""
    frame = len(json.dumps({"content": ""}))
    content = "x" * (site.settings.max_message_bytes - frame)
    token = site.token("ada", ("*",))

    assert (await site.post(content, room="other", token=token)).status == 201
    assert (await site.post(content + "x", room="other", token=token)).outcome == (413, "bad_request")


async def test_a_slow_body_is_not_waited_for() -> None:
    """It has as long as a message on a WebSocket; the server says so and hangs up."""
    async with serving(frame_timeout=0.05) as site, site.connect() as stream:
        head = f"POST /api/v1{MESSAGES} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {site.token()}\r\n"
        kind = 'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"content":'
        await stream.send_all((head + kind).encode())
        answer = await read_answer(stream)
        over = await stream.receive_some()

    assert answer.outcome == (408, "bad_request")
    assert over == b""


# --- connections


async def test_requests_may_come_in_a_row(site: Site) -> None:
    """Answered one by one, in order, each with its own token."""

    def request(user: str, number: int) -> bytes:
        body = json.dumps({"content": "x", "id": f"m-{number}"})
        token = site.token(user, ("pipe",))
        return (
            f"POST /api/v1/rooms/pipe/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    async with site.connect() as stream:
        rest = b"GET /api/v1/rooms HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        await stream.send_all(request("ada", 1) + request("bob", 1) + request("ada", 2) + rest)
        answers = b""
        with trio.fail_after(PATIENCE):
            while data := await stream.receive_some():
                answers += data

    statuses = [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [201, 409, 201, 401]


async def test_a_body_is_no_request(site: Site) -> None:
    """What a refused request has behind it is not answered as another one."""
    smuggled = f"DELETE /api/v1{MESSAGES}/m-1 HTTP/1.1\r\nHost: x\r\n\r\n"
    head = f"POST /api/v1{MESSAGES} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(smuggled)}\r\n\r\n"
    async with site.connect() as stream:
        await stream.send_all((head + smuggled).encode())
        answers = b""
        with trio.fail_after(PATIENCE):
            while answers.count(b"HTTP/1.1") < 2 and (data := await stream.receive_some()):
                answers += data
                if b"temporary" in answers:
                    await stream.send_eof()

    assert answers.count(b"HTTP/1.1") == 1
    assert b" 401 " in answers


# --- browsers


@pytest.mark.parametrize("origins", [None, ("https://chat.example.com",)])
async def test_a_foreign_page_reads_nothing(origins: tuple[str, ...] | None) -> None:
    """Neither its request nor its preflight gets a header that would let it."""
    async with serving(allowed_origins=origins) as site:
        page = {"origin": "https://evil.example"}
        asked = await site.ask("GET", MESSAGES, headers=page)
        flight = await site.ask(
            "OPTIONS", MESSAGES, token=None, headers={**page, "access-control-request-method": "POST"}
        )

    assert asked.status == (200 if origins is None else 403)
    assert flight.status == (204 if origins is None else 403)
    assert not [name for name in (*asked.headers, *flight.headers) if name.startswith("access-control")]


async def test_a_listed_page_may_ask_and_read() -> None:
    """Exactly that origin, without cookies; refusals, too."""
    page = {"origin": "https://chat.example.com"}
    async with serving(allowed_origins=("https://chat.example.com",)) as site:
        flight = await site.ask(
            "OPTIONS", MESSAGES, token=None, headers={**page, "access-control-request-method": "POST"}
        )
        asked = await site.ask("GET", MESSAGES, headers=page)
        refused = await site.ask("GET", MESSAGES, token=None, headers=page)

    for answer in (flight, asked, refused):
        assert answer.headers["access-control-allow-origin"] == "https://chat.example.com"
        assert "origin" in answer.headers["vary"].lower()
        assert "access-control-allow-credentials" not in answer.headers
    assert (flight.status, asked.status, refused.status) == (204, 200, 401)
    assert flight.headers["access-control-allow-headers"] == "authorization, content-type"


async def test_without_tokens_one_says_who_one_is() -> None:
    """With AUTH_MODE=insecure; a foreign page may not, and nobody is an operator."""
    who = {"authorization": "User %C3%A9va"}
    async with serving(auth_mode="insecure") as site:
        posted = await site.ask(
            "POST", MESSAGES, {"content": "x", "role": "assistant"}, token=None, headers=who
        )
        page = await site.ask("GET", MESSAGES, token=None, headers=who)
        foreign = await site.ask(
            "GET", MESSAGES, token=None, headers={**who, "origin": "https://evil.example"}
        )
        admin = await site.ask("GET", "/rooms", token=None, headers=who)
        nobody = await site.ask("GET", "/rooms", token=None)

    assert posted.status == 201
    assert page.said["messages"][0]["userId"] == "éva"
    assert foreign.outcome == admin.outcome == (403, "forbidden")
    assert nobody.outcome == (401, "unauthorized")


async def test_a_failure_of_ours_says_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One shape and no details; the log has the place, not the text."""

    def fail(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(type(site.lobby), "mail", fail)
    answer = await site.post()
    monkeypatch.undo()

    assert answer.outcome == (500, "unavailable")
    assert b"secret" not in answer.body
