"""Redis is there, and makes trouble: it freezes, is full, forgets, or holds what nobody can read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import redis
import trio

from trio_chat.testing.battery.fault import Fault
from trio_chat.testing.battery.probe import Probe
from trio_chat.testing.verdict.log import Fail

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.testing.battery.scene import Scene

_SAID = 2
_EPOCH = "019b76da-0001-7000-8000-000000000000"


async def ask(scene: Scene, do: Callable[[Any], object]) -> Any:
    """Do something to Redis itself, in a worker thread. Cancelling waits for it."""

    def work() -> Any:
        driver: Any = redis.Redis  # its own types are incomplete
        with driver.from_url(scene.machine.valkey.url, socket_timeout=10) as client:
            return do(client)

    return await trio.to_thread.run_sync(work)


async def blinking(scene: Scene) -> None:
    """R4: stopped for half a second. Nobody notices."""
    scene.begin()
    scene.machine.valkey.pause()
    await trio.sleep(0.5)
    scene.machine.valkey.resume()
    scene.heal()
    await trio.sleep(3)
    scene.require_no_memory()
    scene.require_no_errors()
    scene.require_calm()


async def frozen(scene: Scene) -> None:
    """R4: stopped for ten seconds."""
    probe = Probe(scene.machine.port)
    await scene.nursery.start(probe.run)
    scene.begin()
    scene.machine.valkey.pause()
    await trio.sleep(10)
    scene.require_talk(until=trio.current_time())
    scene.machine.valkey.resume()
    scene.heal()
    await scene.wait_normal()
    scene.note(f"{probe.answers} heartbeats and {probe.pongs} pings answered")
    # Signs are answered beside texts: the newest may be on its way.
    scene.require(probe.pongs >= probe.answers - 1, "pings were not answered")
    scene.note(f"answered within {probe.longest * 1000:.0f} ms")
    scene.require_at_most(0.5, probe.longest, "seconds until a ping was answered")
    scene.require_calm()


async def full(scene: Scene) -> None:
    """R5: `maxmemory` is reached for four seconds."""
    scene.begin()
    await ask(scene, lambda client: client.config_set("maxmemory", "1mb"))
    await trio.sleep(1)
    seen = await scene.look_into("room-0")
    scene.require(seen > 0, "a room cannot be read while Redis is full")
    await trio.sleep(3)
    affected = [*scene.journal.acks("memory", since=scene.began), *scene.journal.of(Fail, since=scene.began)]
    scene.require(bool(affected), "nobody noticed: Redis was not full")
    codes = {entry.code for entry in affected if isinstance(entry, Fail)}
    scene.require(codes <= {"overloaded"}, f"refused with {sorted(codes)}")
    await ask(scene, lambda client: client.config_set("maxmemory", "0"))
    scene.heal()
    await scene.wait_normal()
    scene.require_calm()


async def forgetful(scene: Scene) -> None:
    """R6: `SCRIPT FLUSH` every 100 ms, for three seconds."""
    scene.begin()
    for _ in range(30):
        await ask(scene, lambda client: client.script_flush())
        await trio.sleep(0.1)
    scene.heal()
    scene.require_no_errors()
    scene.require_calm()


async def flushed(scene: Scene) -> None:
    """R6: `FLUSHALL`."""
    await _wipe(scene, lambda client: client.flushall())


async def deleted(scene: Scene) -> None:
    """R6: all keys of one room are deleted."""
    await _wipe(scene, lambda client: client.delete(*client.keys("tc:{room-7}:*")))


async def _wipe(scene: Scene, do: Callable[[Any], object]) -> None:
    scene.begin()
    before = scene.journal.tops().keys()
    await ask(scene, do)
    over = scene.heal()
    await scene.wait_normal()
    after = scene.journal.tops(since=over).keys()
    scene.require(after == before, "sessions have another epoch than before")
    scene.require_no_errors()
    scene.require_calm()


async def malformed(scene: Scene) -> None:
    """R7: every kind of thing that does not belong there, in rooms that open then, and in rooms that are open."""
    scene.begin()
    rooms = [f"bad-{kind}" for kind in _SPOILING]
    for kind, spoil in _SPOILING.items():
        await ask(scene, partial(spoil, room=f"bad-{kind}", epoch=_EPOCH))
    sessions = sorted(scene.journal.tops())
    bearable = [spoil for kind, spoil in _SPOILING.items() if kind not in _TAKING]
    for session, spoil in zip(sessions, bearable, strict=False):
        await ask(scene, partial(spoil, room=session.room, epoch=session.epoch))
    newcomers = [client for room in rooms for client in scene.load.add(room, 1)]
    await scene.wait_until(lambda: all(client.live for client in newcomers), 5, "all rooms open")
    for client in newcomers:
        for _ in range(_SAID):
            client.speak()
    await scene.wait_until(lambda: all(client.acks == _SAID for client in newcomers), 5, "all rooms work")
    scene.heal()
    aside = await ask(
        scene, lambda client: client.keys("tc:{*}:quarantine") + client.keys("tc:{*}:*:aside:*")
    )
    scene.note(f"{len(_SPOILING)} kinds, {len(aside)} keys in quarantine or set aside")
    scene.require(len(aside) >= len(_SPOILING), "too little was set aside")
    scene.require_calm()


def _spoil(client: Any, *, room: str, epoch: str, key: str, value: str) -> None:
    """Put a plain string where something else belongs."""
    if not client.exists(f"tc:{{{room}}}:now"):
        _found(client, room, epoch)
    client.delete(key.format(room=room, epoch=epoch))
    client.set(key.format(room=room, epoch=epoch), value)


def _add(client: Any, *, room: str, epoch: str, fields: dict[str, bytes], name: str = "*") -> None:
    """Put an entry into a log that is none."""
    if not client.exists(f"tc:{{{room}}}:now"):
        _found(client, room, epoch)
    client.xadd(f"tc:{{{room}}}:log:{epoch}", fields, id=name)


def _found(client: Any, room: str, epoch: str) -> None:
    """Make a session that looks like one."""
    client.set(f"tc:{{{room}}}:now", epoch)
    meta = {"top": 2, "synced": 0, "floor": 0, "first": 1, "active": 0, "incarnation": "x", "token": "x"}
    client.hset(f"tc:{{{room}}}:meta:{epoch}", mapping=meta)
    client.zadd("tc:dirty", {f"{room} {epoch}": 1})


def _lose_meta(client: Any, *, room: str, epoch: str) -> None:
    _add(client, room=room, epoch=epoch, fields={"e": b"{}"})
    client.delete(f"tc:{{{room}}}:meta:{epoch}")


def _lose_log(client: Any, *, room: str, epoch: str) -> None:
    _add(client, room=room, epoch=epoch, fields={"e": b"{}"})
    client.delete(f"tc:{{{room}}}:log:{epoch}")


def _spoil_number(client: Any, *, room: str, epoch: str) -> None:
    _add(client, room=room, epoch=epoch, fields={"e": b"{}"})
    client.hset(f"tc:{{{room}}}:meta:{epoch}", "top", "many")


_SPOILING: dict[str, Callable[..., None]] = {
    "json": partial(_add, fields={"e": b"{"}),
    "bytes": partial(_add, fields={"e": b"\xff\x00\xfe"}),
    "compression": partial(_add, fields={"e": b"\x01garbage"}),
    "fields": partial(_add, fields={"x": b"1", "y": b"2"}),
    "empty": partial(_add, fields={"e": b""}),
    "number": partial(_spoil_number),
    "log-type": partial(_spoil, key="tc:{{{room}}}:log:{epoch}", value="no log"),
    "meta-type": partial(_spoil, key="tc:{{{room}}}:meta:{epoch}", value="no meta"),
    "now-type": partial(_spoil, key="tc:{{{room}}}:now", value="no epoch"),
    "keys-type": partial(_spoil, key="tc:{{{room}}}:keys:{epoch}", value="no keys"),
    "read-type": partial(_spoil, key="tc:{{{room}}}:read:{epoch}", value="no marks"),
    "no-meta": _lose_meta,
    "no-log": _lose_log,
}

_TAKING = {"log-type", "no-log"}
"""What takes events away and leaves the rest as it was: a room that is open does not find out."""

REDIS_TROUBLE = (
    Fault("R4", "Redis: SIGSTOP 0.5 s", blinking),
    Fault("R4b", "Redis: SIGSTOP 10 s", frozen),
    Fault("R5", "Redis: maxmemory reached for 4 s", full),
    Fault("R6", "Redis: SCRIPT FLUSH every 100 ms", forgetful),
    Fault("R6b", "Redis: FLUSHALL", flushed),
    Fault("R6c", "Redis: DEL of one room", deleted),
    Fault("R7", "Redis: malformed keys and entries", malformed),
)
