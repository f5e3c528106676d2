"""What the tests of this folder are given."""

from __future__ import annotations

import pytest

from tests.clients.lobby_house import house_fixtures

from .house import FakeLink, House

build, house, guarded = house_fixtures(House)


@pytest.fixture(autouse=True, params=["websocket", "polling"])
def carrier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything holds over both transports, which take what rooms say on different ways."""
    kind: str = request.param
    monkeypatch.setattr(FakeLink, "websocket", kind == "websocket")
    return kind
