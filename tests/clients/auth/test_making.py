"""Making tokens, and the secret of the data directory."""

from __future__ import annotations

import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest

from trio_chat.clients.auth import Authenticator, Identity, load_or_make_secret, make_token, with_secret
from trio_chat.errors import BadRequest, SettingsError
from trio_chat.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

from .house import NOW, SECRET, clock

# --- Making tokens


def test_a_token_we_make_is_accepted() -> None:
    """Everything asked for arrives, issuer and audience included."""
    settings = Settings(auth_secret=SECRET, auth_issuer="me", auth_audience="chat")

    token = make_token(settings, "u1", ["team-42/*"], ["moderator"], 0.5, clock=clock)

    assert Authenticator(settings, clock).authenticate(token) == Identity(
        user="u1",
        rooms=("team-42/*",),
        roles=frozenset({"moderator"}),
        expires_at=NOW + 0.5,
        issued_at=NOW,
    )


def test_tokens_are_made_with_a_secret_only() -> None:
    """A public key checks tokens and cannot make them."""
    with pytest.raises(SettingsError, match=r"^AUTH_SECRET: expected it"):
        make_token(Settings(), "u1", ["*"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("", ["*"]),
        ("u1", ["a b"]),
        ("u1", ["[ab]"]),
        ("u1", [""]),
        ("u1", ["*"], ["user"]),
        ("u1", ["*"], ["root"]),
        ("u1", ["*"], [], 0),
        ("u1", ["*"], [], float("inf")),
        ("u1", ["*"], [], float("nan")),
        ("u1", ["x" * 128] * 100),
    ],
)
def test_a_token_that_nobody_would_accept_is_not_made(arguments: tuple[Any, ...]) -> None:
    """Mistakes are told where they are made."""
    with pytest.raises(BadRequest):
        make_token(Settings(auth_secret=SECRET), *arguments)


# --- The secret of the data directory


def test_the_first_start_makes_a_secret_and_later_ones_keep_it(tmp_path: Path) -> None:
    """It is made once, with the directory, and readable by this account alone."""
    data = tmp_path / "deep" / "data"

    first = load_or_make_secret(data)

    assert load_or_make_secret(data) == first
    assert len(first) >= 32
    assert [path.name for path in data.iterdir()] == ["auth-secret"]
    assert stat.S_IMODE((data / "auth-secret").stat().st_mode) == 0o600
    assert load_or_make_secret(tmp_path / "other") != first


def test_several_makers_agree_on_one_secret(tmp_path: Path) -> None:
    """Whoever makes it first, `serve` and `token` started together use the same one."""
    found: list[str] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        found.append(load_or_make_secret(tmp_path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["auth-secret"]


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 40])
def test_a_secret_that_is_no_good_is_not_used(tmp_path: Path, content: bytes) -> None:
    """A damaged file is told, not replaced: that would end all tokens unasked."""
    (tmp_path / "auth-secret").write_bytes(content)

    with pytest.raises(SettingsError, match="auth-secret: expected at least 32 bytes"):
        load_or_make_secret(tmp_path)

    assert (tmp_path / "auth-secret").read_bytes() == content


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """The problem names the setting and the reason."""
    (tmp_path / "file").touch()

    with pytest.raises(SettingsError, match=r"^DATA_DIR=.*: expected to keep a secret there \(.+\); name"):
        load_or_make_secret(tmp_path / "file" / "data")


def test_the_secret_is_used_where_nothing_else_is_configured(tmp_path: Path) -> None:
    """`serve` and `token` get the same settings of it, and so accept each other's tokens."""
    serve, token = with_secret(Settings(data_dir=tmp_path)), with_secret(Settings(data_dir=tmp_path))

    assert Authenticator(serve).authenticate(make_token(token, "u1", ["*"])).user == "u1"


def test_the_secret_is_not_made_where_none_is_needed(tmp_path: Path) -> None:
    """Any key of the operator's own, and insecure mode, leave the directory alone."""
    path = tmp_path / "key"
    path.touch()
    for settings in (
        Settings(data_dir=tmp_path / "data", auth_secret=SECRET),
        Settings(data_dir=tmp_path / "data", auth_key_file=path),
        Settings(data_dir=tmp_path / "data", auth_jwks_file=path),
        Settings(data_dir=tmp_path / "data", auth_mode="insecure"),
    ):
        assert with_secret(settings) is settings

    assert not (tmp_path / "data").exists()
