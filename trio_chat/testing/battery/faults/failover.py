"""Redis fails over to a replica that lacks what was written last. Behind the proxy nobody sees that it is another one.

1. The replica follows the Valkey, and acks say `replicated` (`DURABILITY`): then it is cut off, as by a network, and
   acks say `redis` again.
2. Two seconds later the Valkey dies, for good, and the replica takes its place with what it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_chat.stores.base import Session
from trio_chat.stores.embedded import EmbeddedValkey
from trio_chat.testing.battery.contents import read_tops
from trio_chat.testing.battery.fault import Fault
from trio_chat.testing.battery.faults.redis_trouble import ask
from trio_chat.testing.battery.machine import free_ports
from trio_chat.testing.battery.processes import start
from trio_chat.testing.battery.proxy import Proxy
from trio_chat.testing.battery.toxics import Toxics
from trio_chat.testing.verdict.log import Lost

if TYPE_CHECKING:
    from trio_chat.testing.battery.scene import Scene

_CUT_OFF = 2.0
_AWAY = 0.5
_SETTINGS = {"durability": "replicated"}


async def failed_over(scene: Scene) -> None:
    """F1: the server lives, so rooms give the replica what it lacks, in the same sessions."""
    replica = await _fall_behind(scene)
    before = scene.journal.tops().keys()
    await _take_over(scene, replica)
    scene.heal()
    await scene.wait_normal()
    after = scene.journal.tops(since=scene.over).keys()
    scene.require(after == before, "sessions have another epoch than before")
    scene.require_calm()


async def failed_over_with_server(scene: Scene) -> None:
    """F1: the server dies, too. What was acknowledged as `redis` after the cut may be lost, and all are told so."""
    machine = scene.machine
    replica = await _fall_behind(scene)
    machine.server.kill()
    await _note_loss(scene)
    before = scene.journal.tops()
    await _take_over(scene, replica)
    await machine.server.start()
    joins = await scene.wait_back(since=scene.heal())
    told = [join for join in joins.values() if join.recovered]
    scene.require(not told, f"{len(told)} were told that nothing is missing")
    same = {join.room for join in joins.values() if Session(join.room, join.epoch) in before}
    scene.require(not same, f"lost sessions go on with their old epoch: {sorted(same)}")


async def _fall_behind(scene: Scene) -> EmbeddedValkey:
    """Return a replica that follows, and then lacks what was written in two seconds."""
    machine, journal = scene.machine, scene.journal
    link = Proxy(machine.valkey.port or 0)
    await scene.nursery.start(link.run)
    settings = {"replicaof": f"127.0.0.1 {link.port}", "repl-diskless-sync-delay": "0"}
    replica = EmbeddedValkey(machine.directory / "replica", port=free_ports(1)[0], settings=settings)
    machine.own(replica)
    await start(replica)
    rooms = {ack.room for ack in journal.acked}
    await scene.wait_until(
        lambda: {ack.room for ack in journal.acks("replicated")} == rooms, 8, "acks say `replicated`"
    )
    link.requests, link.replies = Toxics(hole=True), Toxics(hole=True)
    began = scene.begin()
    await trio.sleep(_CUT_OFF)
    wrong = [ack for ack in journal.acks("replicated") if ack.since > began]
    scene.require(not wrong, f"{len(wrong)} acks say `replicated` of what no replica can have")
    scene.require(
        bool(journal.acks("redis", since=began)), "no ack says `redis` after the replica was cut off"
    )
    return replica


async def _note_loss(scene: Scene) -> None:
    """Note what is sure to be left: what the archive has, and what was acknowledged as `replicated`."""
    await trio.sleep(0.2)
    archived = await read_tops(scene.machine)
    for session in scene.journal.tops():
        replicated = [ack.seq for ack in scene.journal.acks("replicated") if ack.session == session]
        above = max([archived.get(session, 0), *replicated])
        scene.journal.note(Lost(trio.current_time(), session, above))


async def _take_over(scene: Scene, replica: EmbeddedValkey) -> None:
    """Kill the Valkey, and put the replica in its place."""
    machine = scene.machine
    machine.valkey.kill()
    await trio.sleep(_AWAY)
    machine.valkey = replica
    await ask(scene, lambda client: client.replicaof("NO", "ONE"))
    machine.redis_proxy.target = replica.port or 0


FAILOVER = (
    Fault("F1", "Redis: failover to a stale replica", failed_over, settings=_SETTINGS),
    Fault(
        "F1b",
        "failover to a stale replica, server killed",
        failed_over_with_server,
        settings={**_SETTINGS, "session-sync-interval-seconds": "4"},
    ),
)
