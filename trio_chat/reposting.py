"""What members were told of a session that another server has taken: posted again in the one that follows."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from trio_chat.errors import BadRequest
from trio_chat.history import key_name
from trio_chat.message import Deleted

if TYPE_CHECKING:
    from trio_chat.history import History

logger = logging.getLogger(__name__)


def repost(room: str, before: History, safe: int, into: History) -> list[tuple[str, int]]:
    """Post in a session what was posted in the one before and nobody else has, and log how much that was.

    Args:
        room: the room of both.
        before: the session before.
        safe: the seq above which its numbers are another's.
        into: the session that follows.

    Returns:
        The ids (`key_name`) the messages keep, and the seq each one got.
    """
    kept: list[tuple[str, int]] = []
    lost = 0
    for event in sorted(before.entries(safe), key=lambda event: event.message.seq):
        message = event.message
        try:
            if message.seq <= safe:
                lost += 1  # it changes what is not here
            elif not isinstance(event, Deleted):
                seq = into.post_again(message).seq
                kept.append((key_name(message.id, message.user_id), seq))
        except BadRequest:
            lost += 1
    where = {"room": room, "session": before.epoch}
    logger.warning(
        "room %s: another server wrote to session %s; %d messages that only this one had are posted again in %s",
        room, before.epoch, len(kept), into.epoch,
        extra={"event": "posted again", **where},
    )  # fmt: skip
    if lost:
        logger.error(
            "room %s: another server wrote to session %s; %d changes that only this one had are lost",
            room, before.epoch, lost,
            extra={"event": "lost", **where},
        )  # fmt: skip
    return kept
