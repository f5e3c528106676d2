"""The clients of the `python-socketio` package find what every client does.

They know no connection state recovery: who is back joins again, and merges the history by id.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from typing_extensions import override

from .client_contract import ClientContract

if TYPE_CHECKING:
    from .drivers import Client


class TestPythonClient(ClientContract):
    """The contract, for `socketio.Client`."""

    recovers: ClassVar[bool] = False

    @pytest.fixture
    def command(self) -> list[str]:
        """What runs the driver."""
        return [sys.executable, str(Path(__file__).with_name("driver.py"))]

    @override
    async def back(self, client: Client, *rooms: str) -> None:
        await client.until("connect")
        for room in rooms:
            await client.join(room)
