"""What the tests of this folder are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    pass

from .house import Scene


@pytest.fixture
async def scene() -> Scene:
    return Scene()
