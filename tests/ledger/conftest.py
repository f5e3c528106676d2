"""What the tests of this folder are given."""

from __future__ import annotations

import pytest

from .house import AStore


@pytest.fixture
def hot() -> AStore:
    return AStore()
