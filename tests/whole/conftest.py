"""What the tests of this folder are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chat_client import Served, started

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server as a newcomer starts it: private stores, and tokens signed with a secret it has made itself."""
    with started(tmp_path_factory.mktemp("d")) as server:
        yield server
