"""What the tests of this folder are given."""

from __future__ import annotations

import pytest

from .house import Server, converse, run_server


@pytest.fixture(scope="module")
def server() -> Server:
    """A server that has said everything it can say."""
    return run_server(converse)
