"""One turn of a room: mail is decided synchronously, then written by the ledger, then let out synchronously.

1. `decide` changes the history and the audience and keeps every answer and hearing back.
2. `release` lets them out, in the order of the mail: changes to the members first, then each answer, then what may be
   dropped. It runs only when the ledger has written the turn, or has degraded the room.
3. A mail is taken off `undecided` after it was decided, so that after a crash the first one is the culprit.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, assert_never

from trio_chat.errors import BadRequest, ReplyCode, TrioChatError, Unavailable
from trio_chat.failures import describe
from trio_chat.history import Change, key_name
from trio_chat.mail import (
    Accepted,
    Answer,
    Changed,
    Delete,
    Done,
    Edit,
    Hearing,
    Join,
    Joined,
    Leave,
    Look,
    Mail,
    Post,
    Presence,
    Read,
    ReadMark,
    Touch,
    Type,
    Typing,
    View,
)
from trio_chat.message import Receipt

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from trio_chat.audience import Audience
    from trio_chat.counts import TurnCounts
    from trio_chat.ledger import Ledger
    from trio_chat.mail import Outlet
    from trio_chat.message import Event, Position

logger = logging.getLogger(__name__)


class Turn:
    """See the module. Lives from taking the mail to letting out the last answer.

    Args:
        mails: what to decide, in order.
        now: the time of everything that happens in this turn.
        clock: the same on Trio's clock, in seconds.
        backlog_limit: how many events a room may hold that nobody else has.
        counts: told of joins that resume.

    Attributes:
        size: how much mail it took.
        events: how many changes the members were told of.
        edited: how many of them are edits.
        deleted: how many of them delete a message.
        outlets: the ways to all who hear a message of theirs and get an answer to it, to be held meanwhile.
    """

    def __init__(
        self,
        mails: Iterable[Mail],
        ledger: Ledger,
        audience: Audience,
        *,
        now: datetime,
        clock: float,
        backlog_limit: int,
        counts: TurnCounts | None = None,
    ) -> None:
        self.undecided = deque(mails)
        self.size = len(self.undecided)
        self.events = self.edited = self.deleted = 0
        self.outlets: list[Outlet] = []
        self.ledger = ledger
        self.history = ledger.history
        self.audience = audience
        self._now = now
        self._clock = clock
        self._backlog_limit = backlog_limit
        self._counts = counts
        self._results: deque[tuple[Mail, Change | Answer | None]] = deque()
        self._changed: list[Changed] = []
        self._passing: list[tuple[Hearing, str | None]] = []

    @property
    def decided(self) -> list[Mail]:
        """The mail that is decided and not answered yet."""
        return [mail for mail, _ in self._results]

    def decide(self) -> None:
        """Decide all mail."""
        while self.undecided:
            result = self._decide(self.undecided[0])
            self._results.append((self.undecided.popleft(), result))

    def _decide(self, mail: Mail) -> Change | Answer | None:
        try:
            if isinstance(mail, (Post, Edit, Delete)):
                return self._change(mail)
            return self._attend(mail)
        except (BadRequest, Unavailable) as error:
            return error

    def _change(self, mail: Post | Edit | Delete) -> Change:
        if self.ledger.degraded and self.ledger.backlog >= self._backlog_limit:
            raise Unavailable("neither Redis nor Postgres takes messages at the moment", ReplyCode.OVERLOADED)
        self.audience.touch(mail.user, self._now)
        change = self._into_history(mail)
        if change.event is not None:
            self._changed.append(Changed(self.history.epoch, change.event))
        return change

    def _into_history(self, mail: Post | Edit | Delete) -> Change:
        match mail:
            case Post():
                change = self.history.post(
                    key=mail.key,
                    user=mail.user,
                    role=mail.role,
                    content=mail.content,
                    metadata=mail.metadata,
                    now=self._now,
                )
                if mail.key is not None and change.event is not None:
                    self.ledger.remember_key(key_name(mail.key, mail.user), change.seq)
                if mail.outlet is not None:
                    self.outlets.append(mail.outlet)
                return change
            case Edit():
                change = self.history.edit(
                    mail.id,
                    user=mail.user,
                    moderator=mail.moderator,
                    content=mail.content,
                    metadata=mail.metadata,
                    now=self._now,
                )
                self.edited += change.event is not None
                return change
            case Delete():
                change = self.history.delete(mail.id, user=mail.user, moderator=mail.moderator, now=self._now)
                self.deleted += change.event is not None
                return change
            case _:
                assert_never(mail)

    def _attend(self, mail: Join | Leave | Type | Touch | Read | Look) -> Answer | None:
        match mail:
            case Join() | Leave() | Type() | Touch():
                # At the release, in the order of the mail: snapshot and membership are one step behind the changes.
                return None
            case Read():
                self._mark_read(mail)
                return Done()
            case Look():
                return self._view()
            case _:
                assert_never(mail)

    def _mark_read(self, mail: Read) -> None:
        seq = self.history.has(mail.message_id)
        if seq is None:
            raise BadRequest("lastReadMessageId: no such message in the window", ReplyCode.NOT_FOUND)
        self.audience.touch(mail.user, self._now)
        old = self.ledger.receipts.get(mail.user)
        if old is None or seq > (self.history.has(old.message_id) or 0):
            receipt = Receipt(mail.message_id, self._now)
            self.ledger.mark_read(mail.user, receipt)
            self._passing.append((ReadMark(mail.user, receipt), None))

    def _view(self) -> View:
        history = self.history
        return View(
            history.epoch, history.top, history.snapshot(), history.entries(history.synced), history.complete
        )

    def prepare(self) -> None:
        """Let the changes be wrapped while the store writes them. Nobody hears them yet."""
        if self._changed:
            self.audience.prepare(self._changed)

    def tell_changes(self) -> None:
        """Tell the members what has changed: all of it, or nothing if that fails."""
        if self._changed:
            self.audience.tell(self._changed)
            self.events = len(self._changed)
            self._changed = []

    def release(self) -> None:
        """Let everything out. If that fails, what is left can still be abandoned."""
        if self._changed:
            self.tell_changes()
        while self._results:
            mail, result = self._results[0]
            if isinstance(result, Change):
                result = self._acknowledge(mail, result)
            elif isinstance(mail, (Join, Leave, Type, Touch)):
                result = self._appear(mail)
            if result is not None:
                answer(mail, result)
            self._results.popleft()
        for hearing, besides in self._passing:
            self._mention(hearing, besides)
        if self.audience.restless:
            self.audience.tell_due(self._clock)

    def _mention(self, hearing: Hearing, besides: str | None) -> None:
        if not isinstance(hearing, Presence):
            self.audience.tell([hearing], droppable=not isinstance(hearing, ReadMark), besides=besides)
        elif not hearing.active or self.audience.is_here(hearing.user):
            # Else it was put out while others were told, and they have heard that by now.
            self.audience.announce(hearing, self._clock)

    def _acknowledge(self, mail: Mail, change: Change) -> Accepted:
        if isinstance(mail, Post) and change.event is not None:
            self.audience.stop_typing(mail.user)
        durability = self.ledger.durability(change.seq)
        return Accepted(change.id, self.history.epoch, change.seq, durability, change.event is None)

    def _appear(self, mail: Join | Leave | Type | Touch) -> Joined | Done:
        match mail:
            case Join():
                return self._admit(mail)
            case Leave():
                self._dismiss(mail)
            case Type():
                self._type(mail)
            case Touch():
                self._touch(mail)
            case _:
                assert_never(mail)
        return Done()

    def _admit(self, join: Join) -> Joined:
        voice, new = self.audience.add(join.member, self._now)
        if new:
            self._passing.append((Presence(join.member.user, True, self._now), join.member.user))
        history = self.history
        resumed = self._resumed(join.resume)
        if join.resume is not None and self._counts is not None:
            self._counts.note_resume(exact=resumed is not None)
        return Joined(
            epoch=history.epoch,
            seq=history.top,
            recovered=resumed is not None,
            first=history.first,
            changes=resumed or (),
            messages=() if resumed is not None else history.snapshot(),
            presence=self.audience.presence(),
            receipts=dict(self.ledger.receipts),
            durability=self.ledger.promise(),
            voice=voice,
            typing=self.audience.typing(self._clock, besides=join.member.user),
        )

    def _dismiss(self, leave: Leave) -> None:
        if self.audience.remove(leave.member):
            gone = leave.member.user
            self._passing.append((self.audience.presence_of(gone, self._now), gone))

    def _type(self, mail: Type) -> None:
        self.audience.touch(mail.user, self._now)
        if mail.active:
            self.audience.start_typing(mail.user, self._clock)
            self._passing.append((Typing(mail.user, True), mail.user))
        else:
            self.audience.stop_typing(mail.user)

    def _touch(self, mail: Touch) -> None:
        # Nobody can see the end of somebody's presence who is not here.
        if self.audience.is_here(mail.user):
            self.audience.touch(mail.user, self._now)
            self._passing.append((Presence(mail.user, True, self._now), mail.user))

    def _resumed(self, resume: Position | None) -> tuple[Event, ...] | None:
        if resume is None or resume.epoch != self.history.epoch:
            return None
        changes = self.history.since(resume.seq)
        return None if changes is None else changes.events

    def abandon(self, error: TrioChatError) -> list[Leave]:
        """Answer everything that was decided with an error: its outcome is unknown.

        Returns:
            Who leaves, unanswered: that is still to be done, or they would be here for ever.
        """
        leaving: list[Leave] = []
        while self._results:
            mail, _ = self._results.popleft()
            if isinstance(mail, Leave):
                leaving.append(mail)
            else:
                answer(mail, error)
        return leaving


def answer(mail: Mail, given: Answer) -> None:
    """Answer mail. Whoever fails to take an answer fails alone: the room goes on."""
    try:
        mail.answer(given)
    except Exception as failure:  # noqa: BLE001 - it ends here, and is logged
        logger.error("an answer to %s was not taken: %s", type(mail).__name__, describe(failure))  # noqa: TRY400 - it may quote somebody
