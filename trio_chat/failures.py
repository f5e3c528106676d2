"""What is in a failure, and what may be told of it: its kind and its places. Its message may quote what people said."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import PurePath
from traceback import walk_tb
from typing import TYPE_CHECKING, cast

from trio_chat.errors import TrioChatError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

_PLACES = 8


def describe(failure: BaseException) -> str:
    """Say what failed, where, and what had called that, in one line and without a word of what was being said.

    ``ValueError at history.py:12 post < turn.py:34 _change``: the innermost place first. What led to the failure comes
    behind ``from``; the failures of a group have commas between.
    """
    if isinstance(failure, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", failure)
        return ", ".join(dict.fromkeys(describe(part) for part in group.exceptions))
    text = _describe_alone(failure)
    cause = failure.__cause__ or (None if failure.__suppress_context__ else failure.__context__)
    return f"{text} from {_describe_alone(cause)}" if cause is not None else text


def explain(failure: BaseException) -> str:
    """Return what an error of ours says, which quotes nobody; `describe` any other."""
    return str(failure) if isinstance(failure, TrioChatError) else describe(failure)


def why_unreachable(failure: BaseException) -> str:
    """Return what the system says of a connection that could not be made: the first thing, if it tried several addresses.

    Of nothing else: it quotes.
    """
    cause = failure.__cause__ or failure
    while isinstance(cause, BaseExceptionGroup):
        cause = cast("BaseExceptionGroup[BaseException]", cause).exceptions[0]
    text: str = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    if isinstance(cause, OSError) and cause.errno is not None:
        # Trio says before that where it tried, which one knows.
        short = os.strerror(cause.errno)
        return short if text.endswith(short) else text
    return text


def describe_places(frames: Iterable[tuple[FrameType, int]]) -> str:
    """Say where some frames are, given with their lines, from the innermost on: the first few of them."""
    return " < ".join(
        f"{PurePath(frame.f_code.co_filename).name}:{line} {frame.f_code.co_name}"
        for frame, line in islice(frames, _PLACES)
    )


def _describe_alone(failure: BaseException) -> str:
    where = describe_places(reversed([*walk_tb(failure.__traceback__)]))
    return f"{type(failure).__qualname__} at {where}" if where else type(failure).__qualname__


def leaves(error: BaseException) -> list[BaseException]:
    """Return the exceptions within groups within groups."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    return [leaf for one in group.exceptions for leaf in leaves(one)]
