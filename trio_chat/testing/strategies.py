"""Hypothesis strategies for everything a room is told: values first, then commands and scripts.

They shrink towards short, plain examples; the hostile ones are legal and must come back byte for byte.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

try:
    from hypothesis import register_random
    from hypothesis import strategies as st
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "trio_chat.testing needs Hypothesis: pip install 'trio-chat[testing]'", name="hypothesis"
    ) from None

from trio_chat.jitter import CHANCE
from trio_chat.message import MAX_INTEGER, ROLES, Deleted, Edited, Message, Posted
from trio_chat.testing import script as do

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import SearchStrategy

    from trio_chat.message import Event, Role

# An example that fails has to fail again.
register_random(CHANCE)

HOSTILE = (
    "\u202eright to left\u202c",
    "مرحبا بالعالم",
    "\U0001f469\u200d\U0001f52c \U0001f1e9\U0001f1ea",
    "e\u0301\u0301\u0301",
    "\ufeffbom",
    "\u2028\u2029\u0085\r\n\t",
    "\x01\x1b[31m\x7f",
    "\"'`\\\"\\'\\\\",
    "\\u0000 \\x00 %00 %s %n {0} ${x} {{x}}",
    "</script><script>alert(1)</script>",
    "<!--[CDATA[&amp;&#0;]]>",
    "'); DROP TABLE messages; --",
    '{"type":"message:send","content":"x"}',
    '42["message:new",{}]',
    "*3\r\n$8\r\nFLUSHALL\r\n",
    "{tag} [a-z]* ?",
    " ",
    "x" * 600,
)
"""Texts that break programs which put texts together: every one is a legal content."""


def rooms() -> SearchStrategy[str]:
    """Return room ids, also such as look like keys, paths, patterns and addresses."""
    tricky = st.sampled_from(["a:b", "a", "a/b", "..", "-", "tc:dirty", "team-42/general", "x" * 128])
    return st.from_regex(r"[A-Za-z0-9_.:/@-]{1,12}", fullmatch=True) | tricky


def users() -> SearchStrategy[str]:
    """Return user ids: short names, and texts of any kind but control characters."""
    return st.sampled_from(["ann", "bob", "eve"]) | ids()


def ids() -> SearchStrategy[str]:
    """Return ids of messages and users, as clients may choose them: 1-128 characters, none of them a control."""
    return st.text(
        st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]),
        min_size=1,
        max_size=128,
    )


def contents() -> SearchStrategy[str]:
    """Return contents, hostile ones among them."""
    return texts(min_size=1) | st.sampled_from(HOSTILE)


def texts(*, min_size: int = 0) -> SearchStrategy[str]:
    """Return texts that both stores can keep: without U+0000 and lone surrogates."""
    characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.text(characters, min_size=min_size, max_size=40)


def metadata() -> SearchStrategy[dict[str, Any]]:
    """Return JSON objects within the limits of metadata."""
    integers = st.integers(-MAX_INTEGER, MAX_INTEGER)
    floats = st.floats(allow_nan=False, allow_infinity=False, width=32)
    leaves = st.none() | st.booleans() | integers | floats | texts()
    values = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(), inner, max_size=3),
        max_leaves=5,
    )
    return st.dictionaries(texts(), values, max_size=3)


def roles() -> SearchStrategy[Role]:
    """Return roles."""
    return st.sampled_from(ROLES)


def times() -> SearchStrategy[datetime]:
    """Return moments of this century, in UTC, to the microsecond."""
    first, last = datetime(2001, 1, 1), datetime(2099, 1, 1)  # noqa: DTZ001 - the zone is drawn beside them
    return st.datetimes(first, last, timezones=st.just(UTC))


def epochs() -> SearchStrategy[str]:
    """Return ids of sessions; larger ones for later sessions."""
    return st.integers(0, 2**16 - 1).map(lambda number: f"019b76da-{number:04x}-7000-8000-000000000000")


def messages(*, seq: int = 1, rev: int | None = None) -> SearchStrategy[Message]:
    """Return messages with these numbers."""
    return st.builds(
        Message,
        id=ids(),
        role=roles(),
        content=contents(),
        timestamp=times(),
        metadata=metadata(),
        user_id=users(),
        seq=st.just(seq),
        rev=st.just(seq if rev is None else rev),
    )


def events(*, seq: int = 1) -> SearchStrategy[Event]:
    """Return events of this seq, about a message posted by it or before."""
    posted = messages(seq=seq).map(Posted)
    if seq == 1:
        return posted
    earlier = st.integers(1, seq - 1)
    edited = earlier.flatmap(lambda own: st.builds(Edited, messages(seq=own, rev=seq), times()))
    deleted = earlier.flatmap(lambda own: st.builds(Deleted, messages(seq=own, rev=seq), times()))
    return posted | edited | deleted


# --- commands

CLIENTS = ("ann", "bob", "ann@phone")


def changes(
    *,
    clients: Sequence[str] = CLIENTS,
    room: str = do.ROOM,
    keys: Sequence[str] = ("k1", "k2", "k3"),
    contents: SearchStrategy[str] | None = None,
) -> SearchStrategy[do.AnyCommand]:
    """Return posts, with and without ids of the client's own, edits and deletes."""
    who = st.sampled_from(clients)
    text = st.sampled_from("abc") if contents is None else contents
    key = st.none() | st.none() | st.sampled_from(keys)
    nth = st.integers(0, 6)
    post = st.builds(do.Post, who, text, key=key, room=st.just(room))
    edit = st.builds(do.Edit, who, text, nth=nth, moderator=st.booleans(), room=st.just(room))
    delete = st.builds(do.Delete, who, nth=nth, moderator=st.booleans(), room=st.just(room))
    return post | post | post | edit | delete


def visits(*, clients: Sequence[str] = CLIENTS, room: str = do.ROOM) -> SearchStrategy[do.AnyCommand]:
    """Return joins and resumes, leaves and broken connections."""
    who, here = st.sampled_from(clients), st.just(room)
    resume = st.builds(do.Resume, who, back=st.integers(0, 8), room=here)
    leave = st.builds(do.Leave, who, room=here) | st.builds(do.Break, who, room=here)
    return st.builds(do.Join, who, room=here) | resume | leave


def small_talk(*, clients: Sequence[str] = CLIENTS, room: str = do.ROOM) -> SearchStrategy[do.AnyCommand]:
    """Return what changes no message: typing, reading, looking."""
    who, here = st.sampled_from(clients), st.just(room)
    typing = st.builds(do.Type, who, active=st.booleans(), room=here)
    return typing | st.builds(do.Read, who, nth=st.integers(0, 6), room=here) | st.builds(do.Look, room=here)


def together(requests: SearchStrategy[Any]) -> SearchStrategy[do.AnyCommand]:
    """Return several requests at once."""
    return st.lists(requests, min_size=2, max_size=8).map(lambda found: do.Together(tuple(found)))


def pauses(*seconds: float) -> SearchStrategy[do.AnyCommand]:
    """Return pauses: of these lengths, or such as tell apart what happens within a minute and a half."""
    return st.builds(do.Sleep, st.sampled_from(seconds or (0.5, 5.0, 20.0, 59.5, 60.0, 90.0)))


def troubles(*stores: do.StoreName) -> SearchStrategy[do.AnyCommand]:
    """Return single calls that fail, lose their answer or come late. See `scripts` for outages that last."""
    store = st.sampled_from(stores or ("hot", "archive"))
    fate = st.sampled_from(["well", "refuse", "lose answer", "late"])
    return st.builds(do.Trouble, store, st.lists(fate, min_size=1, max_size=4).map(tuple))


def crashes(*, room: str = do.ROOM) -> SearchStrategy[do.AnyCommand]:
    """Return crashes of the room's actor."""
    return st.builds(do.Crash, st.sampled_from(get_args(do.Place)), room=st.just(room))


def restarts() -> SearchStrategy[do.AnyCommand]:
    """Return processes that stop in order, some of them cancelled on the way."""
    return st.builds(do.Restart, patience=st.sampled_from([None, None, 0.0, 0.5, 4.0]))


def kills() -> SearchStrategy[do.AnyCommand]:
    """Return processes that are killed."""
    return st.builds(do.Kill)


def losses(*, room: str = do.ROOM) -> SearchStrategy[do.AnyCommand]:
    """Return hot stores that lose the newest events of a room, or everything."""
    tail = st.builds(do.LoseData, tail=st.integers(1, 4), room=st.just(room))
    return st.builds(do.LoseData, unnoticed=st.booleans()) | tail


def scripts(
    *commands: SearchStrategy[do.AnyCommand], outages: Sequence[do.StoreName] = (), scenes: int = 4
) -> SearchStrategy[do.Script]:
    """Return scripts of such commands. Every post and edit gets a content of its own, by its place.

    Args:
        commands: what may happen.
        outages: which stores may be away for a scene, or longer.
        scenes: how many scenes a script may have, of up to eight commands each.
    """
    # Chosen in two steps, or a kind with many variants would crowd out the others.
    command = st.sampled_from(range(len(commands))).flatmap(commands.__getitem__)
    # Lists of lists, since Hypothesis makes a single one rarely longer than six.
    scene = st.lists(command, max_size=8)
    if outages:
        scene |= st.builds(_away, st.sampled_from(outages), st.booleans(), st.booleans(), scene)
    return st.lists(scene, min_size=1, max_size=scenes).map(_script)


def _script(found: list[do.Script]) -> do.Script:
    return do.numbered([command for scene in found for command in scene])


def _away(store: do.StoreName, frozen: bool, heals: bool, scene: do.Script) -> do.Script:
    end: do.Script = [do.Up(store)] if heals else []
    return [do.Freeze(store) if frozen else do.Down(store), *scene, *end]
