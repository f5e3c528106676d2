"""Whether a server is one the hot store can live on, and what its operator should know about it."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from trio_chat.errors import Misconfigured

if TYPE_CHECKING:
    from trio_chat.stores.resp import Resp, Server

_OLDEST: Final = (6, 2)
_log = logging.getLogger("trio_chat.stores.redis")


def check_server(server: Server) -> None:
    """Refuse a server that cannot do what the scripts need. One that tells nothing of itself is not refused.

    Raises:
        Misconfigured: its version or mode will not do.
    """
    if server.mode in {"cluster", "sentinel"}:
        raise Misconfigured(f"the Redis server runs in {server.mode} mode; a single server is needed")
    numbers = re.match(r"(\d+)\.(\d+)", server.version)
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < _OLDEST:
        raise Misconfigured(f"the Redis server has version {server.version}; 6.2 or newer is needed")


async def warn_of_settings(resp: Resp) -> None:
    """Log a warning for each setting of the server under which stored messages can be lost.

    Settings that we may not ask for are passed over. Cancelling is safe.

    Raises:
        Unavailable: the server went away.
    """
    persistence, memory, save = await resp.pipeline(
        [("INFO", "persistence"), ("INFO", "memory"), ("CONFIG", "GET", "save")]
    )
    if _field(persistence, "aof_enabled") == "0":
        # Who keeps snapshots has what was there at the last one.
        kept = "nothing" if save == [b"save", b""] else "only snapshots"
        _log.warning(
            "this Redis keeps %s on disk: a restart loses messages that are not archived yet; set appendonly yes",
            kept,
        )
    policy = _field(memory, "maxmemory_policy")
    if policy not in {"", "noeviction"}:
        _log.warning(
            "this Redis may drop messages to free memory: set maxmemory-policy noeviction, not %s", policy
        )


def _field(info: object, name: str) -> str:
    lines = info.decode(errors="replace").splitlines() if isinstance(info, bytes) else []
    return next((line.partition(":")[2] for line in lines if line.startswith(f"{name}:")), "")
