"""What the tests of this folder are given."""

from __future__ import annotations

import pytest

from .house import Scene


@pytest.fixture
async def scene() -> Scene:
    return Scene()
