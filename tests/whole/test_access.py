"""Who comes in, from where, and how: tokens, pages of other origins, TLS."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trio
import trustme

from tests.chat_client import Served, Turned, connect, started

if TYPE_CHECKING:
    from pathlib import Path

from .house import tailing, token_of


async def test_tokens_say_who_comes_in_and_where(served: Served) -> None:
    """Rooms, roles, the Authorization header, and a refusal that tells nothing."""
    narrow = token_of(served, "ada", "team-42/*")
    async with connect(served.url, token=narrow) as ada:
        await ada.say("room:join", room="team-43/general", ref=1)
        await ada.expect("error", ref=1, code="forbidden", temporary=False)
        await ada.join("team-42/general")
        await ada.say("message:send", room="team-42/general", content="I am", role="assistant", ref=2)
        await ada.expect("error", ref=2, code="forbidden")
    header = {"Authorization": f"Bearer {token_of(served, 'bot', roles=['assistant'])}"}
    async with connect(served.url, headers=header) as bot:
        await bot.expect("welcome", user="bot")
        await bot.join("team-42/general")
        await bot.say("message:send", room="team-42/general", content="I am", role="assistant")
        assert (await bot.until("message:new"))["message"]["role"] == "assistant"
    for refused in ("nonsense", token_of(served, "ada", expires_in=0.001), narrow[:-2]):
        async with connect(served.url) as nobody:
            await nobody.say("hello", token=refused)
            await nobody.expect(
                "error", code="unauthorized", message="token: not accepted; connect with a new one"
            )
            assert (await nobody.expect_close()).code == 4501


async def test_a_page_of_any_origin_may_come_with_a_token_but_not_as_anybody(
    served: Served, tmp_path: Path, valkey_server: str, postgres_server: str
) -> None:
    """Where no token is needed, a foreign page must not use its visitor's network."""
    foreign = {"Origin": "https://elsewhere.example"}
    async with connect(served.url, headers=foreign, token=token_of(served, "ada")):
        pass
    stores = {"REDIS_URL": valkey_server, "DATABASE_URL": postgres_server, "REDIS_PREFIX": "origin"}
    with started(tmp_path, AUTH_MODE="insecure", **stores) as server:
        own = {"Origin": server.url.replace("ws://", "http://").removesuffix("/ws")}
        async with connect(server.url, headers=own, user="ada"):
            pass
        with pytest.raises(Turned) as turned:
            async with connect(server.url, headers=foreign, user="ada"):
                pass
        assert turned.value.status == 403


async def test_with_a_certificate_the_port_speaks_tls(
    tmp_path: Path, valkey_server: str, postgres_server: str
) -> None:
    """Clients and `tail` come in over wss; whoever speaks plainly does not."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    stores = {"REDIS_URL": valkey_server, "DATABASE_URL": postgres_server, "REDIS_PREFIX": "tls"}
    files = {"TLS_CERT": str(tmp_path / "cert.pem"), "TLS_KEY": str(tmp_path / "key.pem")}
    with started(tmp_path, AUTH_MODE="insecure", HOST="localhost", **files, **stores) as server:
        assert server.url.startswith("wss://localhost:")
        async with connect(server.url, tls=context, user="ada") as ada:
            await ada.join("room")
            await ada.send("room", "confidential " * 5000)
            async with connect(server.url, tls=context, user="bob") as bob:
                _, window = await bob.join("room")
        with pytest.raises(EOFError):
            async with connect(server.url.replace("wss", "ws"), user="eve"):
                pass
        trust = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        async with tailing(server, "room", "--url", server.url, **trust) as lines:
            line = await lines.message()
        status = await trio.to_thread.run_sync(server.stop)

    assert [one["content"] for one in window] == ["confidential " * 5000]
    assert "ada confidential" in line
    assert status == 0
