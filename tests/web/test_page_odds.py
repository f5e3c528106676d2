"""The chat page where things are not as they usually are: browsers, tabs, lines and people of another kind."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

from playwright.sync_api import WebSocketRoute, expect

from .talking import expect_messages, message, write

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from .conftest import Site, Visitors

NOTHING_IS_KEPT = """
for (const place of ["localStorage", "sessionStorage"]) {
    Object.defineProperty(window, place, { get() { throw new DOMException("denied", "SecurityError"); } });
}
"""

COUNT_MOVES = """() => {
    const rows = new Set(document.querySelectorAll(".row"));
    window.moved = 0;
    new MutationObserver((records) => {
        for (const { addedNodes } of records) for (const node of addedNodes) window.moved += rows.has(node);
    }).observe(document.querySelector("#log"), { childList: true });
}"""


def token(site: Site, user: str, *options: str) -> str:
    """Make a token."""
    return site.served.run("token", user, *options).stdout.strip()


def test_what_one_reads_is_left_alone(visit: Visitors, site: Site, room: str) -> None:
    """Whatever comes above or between: what is moved costs time, the focus, and what was selected."""
    with site.somebody("bob", room) as bob:
        for number in range(90):
            bob.say(f"message {number}")
        ada = visit(site.address, "ada", room)
        expect(ada.locator(".row").last).to_contain_text("message 89")
        ada.evaluate(COUNT_MOVES)
        known = ada.locator(".row").count()
        ada.locator("#log").evaluate("log => log.scrollTop = 0")
        expect(ada.locator(".row").nth(known)).to_be_attached()
        write(ada, "hello")
        expect(message(ada, "hello").locator(".state")).to_have_text("Stored")

        assert ada.evaluate("moved") == 0


def test_older_messages_are_read_with_the_keyboard(visit: Visitors, site: Site, room: str) -> None:
    """Whoever asks for them goes on from there: what has the focus may be drawn anew, but nobody is sent away."""
    with site.somebody("bob", room) as bob:
        for number in range(90):
            bob.say(f"message {number}")
    ada = visit(site.address, "ada", room)
    expect(ada.locator(".row").last).to_contain_text("message 89")
    known = ada.locator(".row").count()
    ada.get_by_role("button", name="Older messages").evaluate(
        "button => button.focus({ preventScroll: true })"
    )
    ada.keyboard.press("Enter")
    expect(ada.locator(".row").nth(known)).to_be_attached()
    expect(ada.get_by_text("This is where the room begins.")).to_be_visible()

    assert ada.evaluate("document.querySelector('#log').contains(document.activeElement)")


def test_reading_along_asks_little_of_the_server(visit: Visitors, site: Site, room: str) -> None:
    """However much is said, how far one has read is told once a second, and in the end it is known. That takes one."""
    ada = visit(site.address, "ada", room)
    told: list[str] = []
    ada.on("websocket", lambda socket: socket.on("framesent", lambda text: told.append(str(text))))
    ada.reload()
    expect(ada.locator("#log")).to_have_attribute("aria-busy", "false")
    with site.somebody("bob", room) as bob:
        for number in range(30):
            last = bob.say(str(number))
            expect(ada.locator(".row")).to_have_count(number + 1)
        bob.until("receipt:update", userId="ada", lastReadMessageId=last)

    assert 1 <= sum('"receipt:update"' in text for text in told) <= 10


def test_another_token_is_another_user(visit: Visitors, with_tokens: Site, room: str) -> None:
    """Who comes in in the same tab finds nothing of the last one, and is heard."""
    ada, bob = token(with_tokens, "ada"), token(with_tokens, "bob")
    page = visit(f"{with_tokens.address}#token={bob}&room={room}")
    expect(page.locator("#me-name")).to_have_text("bob")
    page.evaluate(f"location.hash = '#token={ada}&room={room}'")
    expect(page.locator("#me-name")).to_have_text("ada")
    write(page, "hello")
    expect(page.locator(".row.mine.stored")).to_have_count(1)
    page.locator("#message").fill("a secret")
    page.evaluate(f"location.hash = '#token={bob}'")
    expect(page.locator("#me-name")).to_have_text("bob")
    expect(page.locator("#room-title")).to_have_text(room)

    expect(page.locator("#message")).to_have_value("")
    write(page, "hello, ada")
    expect(page.locator(".row.mine.stored .body")).to_have_text(["hello, ada"])
    expect_messages(page, "hello", "hello, ada")


def test_it_works_where_nothing_is_kept(visit: Visitors, site: Site, room: str) -> None:
    """Some browsers refuse: then one says again who one is when one comes back, and all else is the same."""
    page = visit(site.address)
    page.add_init_script(NOTHING_IS_KEPT)
    page.goto(f"{site.address}?again#room={room}")
    page.get_by_label("Your name").fill("ada")
    page.keyboard.press("Enter")
    write(page, "hello")
    expect(page.locator(".row.stored")).to_have_count(1)
    page.get_by_role("button", name="Dark mode").click()

    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_what_is_kept_may_be_anything(visit: Visitors, site: Site, room: str) -> None:
    """It is as if nothing were."""
    page = visit(site.address)
    page.evaluate(
        """() => {
            for (const key of ["trio-chat.rooms ada", "trio-chat.theme"]) localStorage.setItem(key, "{oops");
            for (const key of ["trio-chat.identity", "trio-chat.drafts", "trio-chat.edits"]) sessionStorage.setItem(key, "7");
        }"""
    )
    page.goto(f"{site.address}?again#room={room}")
    page.get_by_label("Your name").fill("ada")
    page.keyboard.press("Enter")

    expect(page.locator("#room-title")).to_have_text(room)


def test_two_tabs_keep_the_rooms_of_both(visit: Visitors, site: Site, room: str) -> None:
    """And leaving one takes away that one."""
    first = visit(site.address, "ada-of-two-tabs", room)
    second = first.context.new_page()
    second.goto(f"{site.address}#room={room}")
    second.get_by_label("Your name").fill("ada-of-two-tabs")
    second.keyboard.press("Enter")
    for page, name in ((first, "left"), (second, "right"), (first, "gone")):
        page.get_by_label("Join a room").fill(name)
        page.keyboard.press("Enter")
        expect(page.locator("#room-title")).to_have_text(name)
    first.get_by_role("button", name="Leave gone").click()
    first.reload()

    expect(first.locator("#room-list .room")).to_have_text([room, "left", "right"])


def test_a_room_that_is_left_at_once_is_left(visit: Visitors, site: Site, room: str) -> None:
    """Also before the server has said that one is in it; and one may come back."""
    ada = visit(site.address, "ada", room)
    held: list[Any] = []

    def hold(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        server.on_message(
            lambda text: held.append((socket, text)) if f"{room}/aside" in text else socket.send(text)
        )

    ada.route_web_socket("**/ws", hold)
    ada.reload()
    expect(ada.locator("#me-state")).to_have_text("Connected")
    ada.get_by_label("Join a room").fill(f"{room}/aside")
    ada.keyboard.press("Enter")
    ada.get_by_role("button", name=f"Leave {room}/aside").click()
    bob = visit(site.address, "bob", f"{room}/aside")
    here = bob.locator("#people-list .name")
    expect(here).to_have_text(["ada", "bob"])
    for socket, text in held:
        socket.send(text)

    expect(here).to_have_text(["bob"])


def test_a_draft_outlives_the_page(visit: Visitors, site: Site, room: str) -> None:
    """In this tab, for this user, until one signs out."""
    ada = visit(site.address, "ada", room)
    ada.locator("#message").fill("what I was about to say")
    ada.reload()
    expect(ada.locator("#message")).to_have_value("what I was about to say")

    for name in ("bob", "ada"):
        ada.get_by_role("button", name="Sign out").click()
        ada.get_by_label("Your name").fill(name)
        ada.keyboard.press("Enter")
        ada.get_by_label("Join a room").fill(room)
        ada.keyboard.press("Enter")
        expect(ada.locator("#room-title")).to_have_text(room)
        expect(ada.locator("#message")).to_have_value("")


def begin_a_change(page: Page) -> Locator:
    """Write a message and begin to make another one of it. Returns where one edits."""
    write(page, "helo")
    expect(page.locator(".row.stored")).to_have_count(1)
    page.keyboard.press("ArrowUp")
    editor = page.get_by_label("Edit your message")
    editor.fill("hello, and what else")
    return editor


def test_a_change_that_was_begun_waits_in_its_room(visit: Visitors, site: Site, room: str) -> None:
    """One may look into another room, or ask to edit it once more; Escape gives it up for good."""
    ada = visit(site.address, "ada", room)
    editor = begin_a_change(ada)
    ada.get_by_label("Join a room").fill(f"{room}/aside")
    ada.keyboard.press("Enter")
    expect(ada.locator("#room-title")).to_have_text(f"{room}/aside")
    expect(editor).to_have_count(0)
    ada.locator("#room-list .room").first.click()
    expect(editor).to_have_value("hello, and what else")
    ada.locator("#message").press("ArrowUp")
    expect(editor).to_be_focused()
    ada.keyboard.type(" there was")
    ada.keyboard.press("Enter")
    expect_messages(ada, "hello, and what else there was")
    expect(ada.locator(".row.stored .edited")).to_have_count(1)

    ada.keyboard.press("ArrowUp")
    editor.fill("never mind")
    ada.keyboard.press("Escape")
    ada.keyboard.press("ArrowUp")
    expect(editor).to_have_value("hello, and what else there was")


def test_a_change_that_was_begun_outlives_the_page(visit: Visitors, site: Site, room: str) -> None:
    """As a draft does: in this tab, for this user, until one signs out."""
    ada = visit(site.address, "ada", room)
    editor = begin_a_change(ada)
    ada.reload()
    expect(editor).to_have_value("hello, and what else")
    editor.press("Enter")
    expect_messages(ada, "hello, and what else")
    expect(ada.locator(".row.stored .edited")).to_have_count(1)

    ada.locator("#message").press("ArrowUp")
    editor.fill("never mind")
    ada.get_by_role("button", name="Sign out").click()
    ada.get_by_label("Your name").fill("ada")
    ada.keyboard.press("Enter")
    expect(ada.locator("#me-state")).to_have_text("Connected")
    ada.get_by_label("Join a room").fill(room)
    ada.keyboard.press("Enter")
    expect_messages(ada, "hello, and what else")
    expect(editor).to_have_count(0)


def test_the_address_stays_that_of_the_room(visit: Visitors, site: Site, room: str) -> None:
    """Whoever skips to writing, or follows a link to what is no room, still has a link to where they are."""
    ada = visit(site.address, "ada", room)
    ada.reload()
    expect(ada.locator("#me-state")).to_have_text("Connected")
    ada.keyboard.press("Tab")
    ada.keyboard.press("Enter")
    expect(ada.locator("#message")).to_be_focused()
    assert ada.url.endswith(f"#room={room}")

    ada.evaluate("location.hash = '#room=no room'")
    expect(ada.locator("#notices")).to_contain_text("cannot be entered")
    assert ada.url.endswith(f"#room={room}")


def test_a_room_that_is_closed_is_entered_again(visit: Visitors, with_tokens: Site, room: str) -> None:
    """Which takes five seconds; meanwhile nobody is told that the connection were gone."""
    page = visit(f"{with_tokens.address}#token={token(with_tokens, 'ada')}&room={room}")
    write(page, "hello")
    expect(page.locator(".row.stored")).to_have_count(1)
    root = token(with_tokens, "root", "--role", "admin")
    quoted = room.replace("/", "%2F")
    close = f"{with_tokens.address}api/v1/rooms/{quoted}/close"
    asked = urllib.request.Request(close, method="POST", headers={"Authorization": f"Bearer {root}"})
    with urllib.request.urlopen(asked) as answer:
        assert json.load(answer) == {"members": 1}

    expect(page.locator("#log .top")).to_have_text("Entering the room…")
    write(page, "again")
    expect(page.locator(".row.stored")).to_have_count(2)


def test_moderators_delete_what_others_have_said(visit: Visitors, with_tokens: Site, room: str) -> None:
    """But edit only what is theirs; without the role nobody is offered either."""
    pages = [
        visit(f"{with_tokens.address}#token={token(with_tokens, *who)}&room={room}")
        for who in (("ada", "--role", "moderator"), ("bob",))
    ]
    ada, bob = pages
    write(bob, "rude")
    write(ada, "please")
    for page in pages:
        expect(page.locator(".row.stored")).to_have_count(2)
    expect(message(bob, "please").locator(".tools")).to_have_count(0)
    rude = message(ada, "rude")
    rude.hover()
    expect(rude.get_by_role("button")).to_have_accessible_name("Delete")
    rude.get_by_role("button", name="Delete").click()
    ada.get_by_role("dialog").get_by_role("button", name="Delete").click()

    for page in pages:
        expect_messages(page, "please")
