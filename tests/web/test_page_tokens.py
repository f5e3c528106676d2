"""The chat page when a token comes to its end: in a real browser, on real servers, which take a second to start."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from playwright.sync_api import Page, expect

from .talking import expect_messages, message, write

if TYPE_CHECKING:
    from .conftest import Site, Visitors

# The page speaks of a token half a minute before its end, and earlier of longer ones.
SOON = ("--expires-in", "25")


def token(site: Site, user: str, *options: str) -> str:
    """Make a token."""
    return site.served.run("token", user, *options).stdout.strip()


def enter_token(page: Page, text: str) -> None:
    """Give the page a token in place of the one it has."""
    page.get_by_label("Fresh token", exact=True).fill(text)
    page.get_by_role("button", name="Go on").click()


def forged(honest: str) -> str:
    """Return the token with a signature that nobody has made."""
    return honest.rpartition(".")[0] + "." + base64.urlsafe_b64encode(b"x" * 32).decode().rstrip("=")


def test_a_fresh_token_is_taken_before_the_old_one_ends(
    visit: Visitors, with_tokens: Site, room: str
) -> None:
    """On the connection that there is; the room and what one has begun to write stay, and a reload knows the new one."""
    page = visit(with_tokens.address)
    said: list[str] = []
    page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda text: said.append(json.loads(text)["type"])),
    )
    page.goto(f"{with_tokens.address}?again#token={token(with_tokens, 'ada', *SOON)}&room={room}")
    write(page, "hello")
    expect(page.locator(".row.stored")).to_have_count(1)
    page.locator("#message").fill("what I was about to say")
    expect(page.locator("#connection")).to_contain_text("Your token expires at")
    page.get_by_role("button", name="Enter a fresh one").click()
    expect(page.get_by_label("Fresh token", exact=True)).to_be_focused()
    problem = page.locator("#renewal-problem")
    enter_token(page, "hello")
    expect(problem).to_contain_text("This is no token")
    enter_token(page, token(with_tokens, "bob"))
    expect(problem).to_have_text("This is no token for ada. To be somebody else, sign out first.")
    fresh = token(with_tokens, "ada")
    enter_token(page, forged(fresh))
    expect(problem).to_contain_text("does not accept this token")
    enter_token(page, f"{with_tokens.address}#token={fresh}&room=elsewhere")

    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#connection")).to_have_text("")
    expect(page.locator("#message")).to_have_value("what I was about to say")
    expect(page.locator("#message")).to_be_focused()
    expect(page.locator("#room-title")).to_have_text(room)
    assert said.count("welcome") == said.count("token:refreshed") == 1
    page.reload()
    expect(page.locator("#me-state")).to_have_text("Connected")
    expect(page.locator("#connection")).to_have_text("")


def test_one_stays_where_one_is_when_a_token_has_expired(
    visit: Visitors, with_tokens: Site, room: str
) -> None:
    """What was begun and what is said meanwhile is kept; with a fresh token it is sent. Expiring takes three seconds."""
    page = visit(f"{with_tokens.address}#token={token(with_tokens, 'ada', '--expires-in', '3')}&room={room}")
    write(page, "before")
    expect(page.locator(".row.stored")).to_have_count(1)
    expect(page.locator("#connection")).to_contain_text("Your token has expired")
    expect_messages(page, "before")
    write(page, "meanwhile")
    expect(message(page, "meanwhile").locator(".state")).to_have_text("Sending")
    page.locator("#message").fill("what I was about to say")
    fresh = token(with_tokens, "ada")
    page.get_by_role("button", name="Enter a fresh token").click()
    enter_token(page, forged(fresh))
    expect(page.locator("#renewal-problem")).to_contain_text("does not accept this token")
    expect(page.locator("#connection")).to_contain_text("Your token has expired")
    enter_token(page, fresh)

    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator(".row.stored")).to_have_count(2)
    expect_messages(page, "before", "meanwhile")
    expect(page.locator("#message")).to_have_value("what I was about to say")


def test_a_page_that_slept_through_the_end_stays_too(visit: Visitors, with_tokens: Site, room: str) -> None:
    """It comes back with what it has, which the server does not accept. Expiring takes three seconds."""
    page = visit(f"{with_tokens.address}#token={token(with_tokens, 'ada', '--expires-in', '3')}&room={room}")
    write(page, "before")
    expect(page.locator(".row.stored")).to_have_count(1)
    page.context.set_offline(True)
    expect(page.locator("#connection")).to_contain_text("Connection lost")
    page.wait_for_timeout(3000)
    page.context.set_offline(False)

    expect(page.locator("#connection")).to_contain_text("Your token has expired")
    expect_messages(page, "before")


def test_a_fresh_token_may_open_other_rooms(visit: Visitors, with_tokens: Site, room: str) -> None:
    """Those it does not open are left, and it is said; those that were closed are entered."""
    other = room.replace("general", "other")
    first = token(with_tokens, "ada", *SOON, "--room", room)
    page = visit(f"{with_tokens.address}#token={first}&room={room}")
    write(page, "hello")
    expect(page.locator(".row.stored")).to_have_count(1)
    page.get_by_label("Join a room").fill(other)
    page.keyboard.press("Enter")
    expect(page.locator("#room-problem")).to_contain_text("does not open this room")
    page.get_by_role("button", name="Enter a fresh one").click()
    enter_token(page, token(with_tokens, "ada", "--room", other))

    expect(page.locator("#room-problem")).to_be_hidden()
    expect(page.locator("#log")).to_have_attribute("aria-busy", "false")
    page.locator("#room-list").get_by_role("button", name=room).first.click()
    expect(page.locator("#room-problem")).to_contain_text("does not open this room")


def test_whose_access_was_withdrawn_is_out(visit: Visitors, with_tokens: Site, room: str) -> None:
    """No fresh token is asked for on the spot, and nothing of the room is left in sight."""
    page = visit(f"{with_tokens.address}#token={token(with_tokens, 'ada')}&room={room}")
    write(page, "hello")
    expect(page.locator(".row.stored")).to_have_count(1)
    page.route_web_socket("**/ws", lambda socket: socket.close(code=4501, reason="access was withdrawn"))
    page.context.set_offline(True)
    page.context.set_offline(False)

    expect(page.locator("#entry-problem")).to_contain_text("does not accept this token")
    expect(page.locator("#log")).to_be_hidden()
