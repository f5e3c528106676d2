"""What the tests of this folder are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trio_chat.clients.auth import Authenticator
from trio_chat.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

from .house import SECRET, clock


@pytest.fixture
def auth() -> Authenticator:
    return Authenticator(Settings(auth_secret=SECRET), clock)


@pytest.fixture
def pem_auth(tmp_path: Path) -> Callable[[bytes], Authenticator]:
    def build(pem: bytes) -> Authenticator:
        path = tmp_path / "key.pem"
        path.write_bytes(pem)
        return Authenticator(Settings(auth_key_file=path), clock)

    return build
