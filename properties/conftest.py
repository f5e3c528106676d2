"""What all properties share: how many examples, and silence while things are made to fail."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from trio_chat.stores.embedded import EmbeddedValkey
from trio_chat.stores.supervision import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

# Virtual time takes no time, but a first example imports and compiles.
_ALWAYS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("moderate", max_examples=200, **_ALWAYS)
settings.register_profile("thorough", max_examples=3_000, **_ALWAYS)
settings.load_profile(os.environ.get("TRIO_CHAT_PROPERTIES", "moderate"))


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """No logging: formatting the same crashes a thousand times takes longer than the crashes."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """Where a Valkey listens that is there for this session."""
    directory = Path(tempfile.mkdtemp(prefix="tc-properties-"))
    with serving(EmbeddedValkey(directory)) as server:
        yield server.url
    shutil.rmtree(directory)
