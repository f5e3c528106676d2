"""What mail a request for a room becomes: checked against the client's rights and the server's limits. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, assert_never

from trio_chat.clients.vocabulary import (
    DeleteMessage,
    EditMessage,
    SendMessage,
    StartTyping,
    StopTyping,
    TouchPresence,
    UpdateReceipt,
)
from trio_chat.errors import BadRequest, ReplyCode
from trio_chat.mail import Delete, Edit, Post, Read, Touch, Type
from trio_chat.message import check_content, check_metadata, check_role

if TYPE_CHECKING:
    from trio_chat.clients.identity import Identity
    from trio_chat.mail import Answering, Mail, Outlet

Letter: TypeAlias = (
    SendMessage | EditMessage | DeleteMessage | StartTyping | StopTyping | UpdateReceipt | TouchPresence
)
"""A request that is one mail to the room, which answers that it is done."""


def mail_of(
    request: Letter, identity: Identity, limit: int, done: Answering, outlet: Outlet | None = None
) -> Mail:
    """Return the mail a request becomes.

    Args:
        request: what the client asks.
        identity: who it is.
        limit: how many bytes a content may have, and metadata.
        done: told the room's answer.
        outlet: the way to who gets a message and that answer.

    Raises:
        BadRequest: the client may not, or asked in a wrong way.
    """
    user = identity.user
    match request:
        case SendMessage():
            role = check_role(request.role)
            if not identity.may_post_as(role):
                raise BadRequest(f"role: this token may not post as {role}", ReplyCode.FORBIDDEN)
            return Post(
                user=user,
                role=role,
                content=check_content(request.content, limit),
                metadata={} if request.metadata is None else check_metadata(request.metadata, limit),
                key=request.id,
                answer=done,
                outlet=outlet,
            )
        case EditMessage(id=name):
            content = check_content(request.content, limit)
            metadata = None if request.metadata is None else check_metadata(request.metadata, limit)
            return Edit(user, identity.may_moderate, name, content, metadata, done)
        case DeleteMessage(id=name):
            return Delete(user, identity.may_moderate, name, done)
        case StartTyping() | StopTyping():
            return Type(user, isinstance(request, StartTyping), done)
        case UpdateReceipt():
            return Read(user, request.message_id, done)
        case TouchPresence():
            return Touch(user, done)
        case _:
            assert_never(request)
