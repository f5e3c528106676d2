"""What the tests of this folder are given."""

from __future__ import annotations

import pytest

from .house import Stores


@pytest.fixture
async def stores() -> Stores:
    return Stores()
