"""The bytes of RESP and the meaning of error replies."""

from __future__ import annotations

import pytest

from trio_chat.errors import Misconfigured, Unavailable
from trio_chat.stores.resp_wire import ErrorReply, ProtocolError, Replies, ReplyError, as_exception, pack

REFUSED = [
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN The cluster is down",
    "MASTERDOWN Link with MASTER is down",
    "NOREPLICAS Not enough good replicas to write.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk",
    "READONLY You can't write against a read only replica.",
    "MOVED 3999 127.0.0.1:6381",
    "ERR max number of clients reached",
    "ERR Error running script (call to f_1): @user_script:12: -OOM command not allowed",
]
DENIED = [
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair",
    "NOPERM no permissions",
]
OTHER = [
    ("WRONGTYPE Operation against a key holding the wrong kind of value", "WRONGTYPE"),
    ("NOSCRIPT No matching script.", "NOSCRIPT"),
    ("ERR syntax error", "ERR"),
    (
        "ERR Error running script (call to f_1): @user_script: 3: WRONGTYPE Operation against a key",
        "WRONGTYPE",
    ),
    ("", ""),
]


@pytest.mark.parametrize("text", REFUSED)
def test_refusal_may_pass(text: str) -> None:
    """A server that cannot work just now is unavailable."""
    assert isinstance(as_exception(text), Unavailable)


@pytest.mark.parametrize("text", DENIED)
def test_denial_is_for_an_operator(text: str) -> None:
    """A server that will not do it for us is misconfigured, and the text says what to do."""
    error = as_exception(text)

    assert isinstance(error, Misconfigured)
    assert text.split(maxsplit=1)[0] in str(error)


@pytest.mark.parametrize(("text", "code"), OTHER)
def test_other_errors_concern_the_call(text: str, code: str) -> None:
    """Every other error reply is about this very call, and keeps its code."""
    error = as_exception(text)

    assert isinstance(error, ReplyError)
    assert error.code == code


def test_long_error_is_cut() -> None:
    """A server cannot flood the log."""
    assert len(str(as_exception("ERR " + "x" * 5000))) <= 200


def test_commands_are_packed_one_behind_the_other() -> None:
    """Every argument is a bulk string; texts are UTF-8."""
    packed = pack([("SET", "é", b"\r\n"), ("PING",)])

    assert packed == b"*3\r\n$3\r\nSET\r\n$2\r\n\xc3\xa9\r\n$2\r\n\r\n\r\n*1\r\n$4\r\nPING\r\n"


def test_replies_come_when_they_are_whole() -> None:
    """Bytes may be cut anywhere."""
    replies = Replies()
    got: list[object] = []
    for byte in b"*3\r\n$2\r\n\r\n\r\n:42\r\n$-1\r\n+OK\r\n*-1\r\n":
        got += replies.feed(bytes([byte]))

    assert got == [[b"\r\n", 42, None], b"OK", None]


def test_error_replies_are_values() -> None:
    """Also where they are nested in the reply of a transaction."""
    [one, [two, three]] = list(Replies().feed(b"-ERR a\r\n*2\r\n-WRONGTYPE b\r\n:1\r\n"))

    assert isinstance(one, ErrorReply)
    assert isinstance(two, ErrorReply)
    assert three == 1


def test_nonsense_is_an_error() -> None:
    """A server of another protocol is found out by its first bytes."""
    with pytest.raises(ProtocolError):
        list(Replies().feed(b"HTTP/1.1 400 Bad Request\r\n"))
