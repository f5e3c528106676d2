"""What the tests of this folder are given."""

from __future__ import annotations

from tests.clients.lobby_house import house_fixtures

from .house import House

build, house, guarded = house_fixtures(House)
