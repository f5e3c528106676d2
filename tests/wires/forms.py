"""One form for what the wires say."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any


def message_of(said: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": said["id"],
        "content": said["content"],
        "user": said["userId"],
        "metadata": said["metadata"],
        "timestamp": _time(said["timestamp"]),
        **({"epoch": said["epoch"]} if "epoch" in said else {}),
    }


def receipt_of(user: str, said: dict[str, Any]) -> dict[str, Any]:
    return {"user": user, "id": said["lastReadMessageId"], "timestamp": _time(said["timestamp"])}


def presence_of(said: dict[str, Any]) -> dict[str, Any]:
    return {
        "user": said["userId"],
        "active": said["isActive"],
        "last_active": _time(said["lastActiveAt"]),
    }


_time: Callable[[str], datetime] = partial(datetime.fromisoformat)

as_json: Callable[[object], str] = partial(json.dumps, ensure_ascii=False)
