"""Everybody can use the page: axe-core finds nothing serious in it. Each look takes it half a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from .conftest import Site, Visitors

ANSWER = "# Title\n\n**Bold** `code` [link](https://example.com)\n\n> quote\n\n```\ncode\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |"
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 640}, "has_touch": True},
    "phone-dark": {"viewport": {"width": 360, "height": 640}, "color_scheme": "dark"},
}


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How the page is looked at."""
    return LOOKS[request.param]


def expect_accessible(page: Page, when: str) -> None:
    """Expect no violation that keeps somebody from using the page."""
    # axe measures what is seen; what is still fading in has colours of its own.
    page.evaluate("Promise.allSettled(document.getAnimations().map((one) => one.finished))")
    found = Axe().run(page).response["violations"]
    serious = [
        f"{one['id']}: {node['html'][:120]} {node['failureSummary']}"
        for one in found
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]

    assert serious == [], when


def test_the_way_in_is_accessible(visit: Visitors, site: Site, look: dict[str, Any]) -> None:
    """Empty, and with a complaint."""
    page = visit(site.address, **look)
    expect_accessible(page, "empty")
    page.get_by_role("button", name="Come in").click()

    expect_accessible(page, "with a complaint")


def test_asking_for_a_fresh_token_is_accessible(
    visit: Visitors, with_tokens: Site, room: str, look: dict[str, Any]
) -> None:
    """The words above the room, and the form with a complaint. The server of its own takes a second to start."""
    token = with_tokens.served.run("token", "ada", "--expires-in", "25").stdout.strip()
    page = visit(f"{with_tokens.address}#token={token}&room={room}", **look)
    expect(page.locator("#connection")).to_contain_text("Your token expires at")
    expect_accessible(page, "soon")
    page.get_by_role("button", name="Enter a fresh one").click()
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#renewal-problem")).to_contain_text("This is no token")

    expect_accessible(page, "with a complaint")


def test_a_room_is_accessible(visit: Visitors, site: Site, room: str, look: dict[str, Any]) -> None:
    """Without a word, with all kinds of messages, while one is edited or deleted, and with its other panes."""
    page = visit(site.address, "ada", room, **look)
    expect_accessible(page, "empty")
    with site.somebody("helper", room) as helper:
        helper.say(ANSWER, role="assistant")
        helper.say("the system", role="system")
        helper.say("a link: https://example.com")
        for text in ("one", "x" * 70_000):
            page.locator("#message").fill(text)
            page.locator("#message").press("Enter")
        expect(page.locator(".failure")).to_be_visible()
        page.evaluate("document.querySelector('.row.failed .body').textContent = 'too long'")
        helper.ask("typing:start")
        expect(page.locator("#typing")).not_to_be_empty()
        expect_accessible(page, "messages")
        page.keyboard.press("ArrowUp")
        expect_accessible(page, "editing")
        page.keyboard.press("Escape")
        expect(page.locator(".editor")).to_have_count(0)
        page.locator(".row.stored").last.focus()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        expect_accessible(page, "deleting")
        page.keyboard.press("Escape")
        if page.locator("#show-people").is_visible():
            page.locator("#show-people").click()
            expect_accessible(page, "people")
            page.locator("#hide-people").click()
            page.locator("#show-rooms").click()
            expect_accessible(page, "rooms")
