"""What the tests of this folder are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .house import AStore


@pytest.fixture
def hot() -> AStore:
    return AStore()
