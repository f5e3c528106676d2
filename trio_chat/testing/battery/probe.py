"""Somebody who does nothing but ask whether the server is there."""

from __future__ import annotations

import trio
from typing_extensions import override

from trio_chat.testing.battery.wire import Gone, Wire

_EVERY = 0.1


class Probe:
    """Pings a server ten times a second over one connection. Lives as long as `run`.

    Attributes:
        answers: how many heartbeats were answered, each of them sent behind a ping.
        pongs: how many pings were answered.
        longest: the longest wait for an answer so far, in seconds; infinite if the connection ended.
    """

    def __init__(self, port: int) -> None:
        self.longest = 0.0
        self.answers = 0
        self.pongs = 0
        self._port = port

    @override
    def __repr__(self) -> str:
        return f"<Probe longest={self.longest:.3f} answers={self.answers}>"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ping until cancelled."""
        try:
            wire = await Wire.open(self._port)
            task_status.started()
            try:
                await self._ask(wire)
            finally:
                wire.abort()
        except Gone:
            self.longest = float("inf")

    async def _ask(self, wire: Wire) -> None:
        await wire.say("hello", user="probe")
        while True:
            asked = trio.current_time()
            await wire.ping()
            await wire.say("heartbeat", ref=self.answers)
            while not any(said.get("ref") == self.answers for said in await wire.receive()):
                self.longest = max(self.longest, trio.current_time() - asked)
            self.longest = max(self.longest, trio.current_time() - asked)
            self.answers += 1
            self.pongs = wire.pongs
            await trio.sleep_until(asked + _EVERY)
