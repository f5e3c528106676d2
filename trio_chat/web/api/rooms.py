"""What anybody may do whose token opens the room: post, change, read, see who is here.

Nobody joins for it: a request is one mail to the room's actor, as a member's is, and counts as activity. A client that
hangs up meanwhile changes nothing about it: the room carries it out, and nobody hears the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from trio_chat.mail import Accepted, Delete, Edit, Post
from trio_chat.message import check_content, check_id, check_metadata
from trio_chat.web.api.calls import Call, Operation, Reply
from trio_chat.web.api.problems import forbidden
from trio_chat.web.api.shapes import (
    Before,
    Here,
    MessagePage,
    NewContent,
    NewMessage,
    OldMessage,
    PresenceList,
    read_cursor,
    write_cursor,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


async def post_message(call: Call) -> Reply:
    """Post a message.

    Cancelling leaves the outcome unknown; with an `id` of one's own it is safe to post again.
    """
    room, new = call.room(), _body(call, NewMessage)
    if not call.identity.may_post_as(new.role):
        raise forbidden(f"role: this token may not post as {new.role}")
    key = None if new.id is None else check_id("id", new.id)
    content, metadata = _checked(call, new)
    accepted = await call.change(
        room, lambda answer: Post(call.identity.user, new.role, content, metadata or {}, key, answer)
    )
    return Reply(200 if accepted.duplicate else 201, accepted)


async def edit_message(call: Call) -> Reply:
    """Change a message of one's own, or anybody's with the role `moderator`.

    Cancelling leaves the outcome unknown; it is safe to repeat.
    """
    room, name, new = call.room(), call.id("id"), _body(call, NewContent)
    content, metadata = _checked(call, new)
    identity = call.identity
    accepted = await call.change(
        room, lambda answer: Edit(identity.user, identity.may_moderate, name, content, metadata, answer)
    )
    return Reply(200, accepted)


async def delete_message(call: Call) -> Reply:
    """Delete a message of one's own, or anybody's with the role `moderator`.

    Cancelling leaves the outcome unknown; it is safe to repeat.
    """
    room, name, identity = call.room(), call.id("id"), call.identity
    accepted = await call.change(
        room, lambda answer: Delete(identity.user, identity.may_moderate, name, answer)
    )
    return Reply(200, accepted)


async def read_messages(call: Call) -> Reply:
    """Read a room backwards: the window of its session, then the archive of this and earlier ones.

    Cancelling is safe.
    """
    room, asked = call.room(), call.query
    assert isinstance(asked, Before)  # noqa: S101 - the operation says so
    before = None if asked.before is None else read_cursor(asked.before)
    page = await call.server.lobby.history(room, before, asked.limit)
    messages = [OldMessage(epoch=one.epoch, **msgspec.structs.asdict(one.message)) for one in page.messages]
    older = None if page.before is None else write_cursor(page.before)
    return Reply(200, MessagePage(messages, page.source, page.more, older))


async def list_presence(call: Call) -> Reply:
    """List who is in a room over a connection. It is nobody if the room is not in memory."""
    room = call.server.lobby.rooms.get(call.room())
    members = () if room is None else room.audience.presence()
    return Reply(200, PresenceList([Here(one.user, one.active, one.last_active) for one in members]))


def _body(call: Call, kind: type[Any]) -> Any:
    assert isinstance(call.body, kind)  # noqa: S101 - the operation says so
    return call.body


def _checked(call: Call, new: NewMessage | NewContent) -> tuple[str, dict[str, Any] | None]:
    """Return content and metadata, or refuse what a schema cannot say of them."""
    limit = call.server.lobby.settings.max_message_bytes
    metadata = None if new.metadata is None else check_metadata(new.metadata, limit)
    return check_content(new.content, limit), metadata


OPERATIONS: Final[Sequence[Operation]] = (
    Operation(
        method="POST",
        path="/rooms/{room}/messages",
        handler=post_message,
        body=NewMessage,
        answers={201: Accepted, 200: Accepted},
        problems=frozenset({409}),
    ),
    Operation(
        method="GET",
        path="/rooms/{room}/messages",
        handler=read_messages,
        query=Before,
        answers={200: MessagePage},
    ),
    Operation(
        method="PATCH",
        path="/rooms/{room}/messages/{id}",
        handler=edit_message,
        body=NewContent,
        answers={200: Accepted},
        problems=frozenset({404, 410}),
    ),
    Operation(
        method="DELETE",
        path="/rooms/{room}/messages/{id}",
        handler=delete_message,
        answers={200: Accepted},
        problems=frozenset({404}),
    ),
    Operation(
        method="GET",
        path="/rooms/{room}/presence",
        handler=list_presence,
        answers={200: PresenceList},
    ),
)
