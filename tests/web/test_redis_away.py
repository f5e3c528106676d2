"""What people and operators see while Redis does not answer: real browsers, a server, and a Valkey that is paused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import Site, Visitors, opened
from .talking import message, write

if TYPE_CHECKING:
    from trio_chat.stores.embedded import EmbeddedValkey

SETTINGS = {"AUTH_MODE": "insecure", "AUTH_SECRET": "a secret of thirty-two bytes, or more"}


@pytest.fixture
def site(
    tmp_path_factory: pytest.TempPathFactory, chromium: str, own_valkey: EmbeddedValkey
) -> Iterator[Site]:
    """A server on a Valkey that may be paused. Making its Postgres takes a second."""
    with opened(tmp_path_factory, REDIS_URL=own_valkey.url, REDIS_TIMEOUT="0.3", **SETTINGS) as site:
        yield site


def mark(page: Page, text: str) -> Locator:
    """Return what a message of one's own says about how far it is kept."""
    return message(page, text).locator(".state")


def test_the_page_says_that_messages_are_in_memory_only(
    visit: Visitors, site: Site, own_valkey: EmbeddedValkey, room: str
) -> None:
    """At the very first that is, and above the room; both go when Redis is back and has everything."""
    page = visit(site.address, "ada", room)
    write(page, "before")
    expect(mark(page, "before")).to_have_text(re.compile("^(Stored|Archived)$"))
    expect(page.locator("#durability")).to_be_hidden()
    own_valkey.pause()
    try:
        write(page, "meanwhile")
        expect(mark(page, "meanwhile")).to_have_text(re.compile("memory only"))
        expect(page.locator("#durability")).to_have_text("kept in memory only")
        expect(page.locator("#durability")).to_have_attribute("role", "status")
    finally:
        own_valkey.resume()
    write(page, "after")

    expect(mark(page, "after")).to_have_text(re.compile("^(Stored|Archived)$"))
    expect(page.locator("#durability")).to_be_hidden()


def test_the_dashboard_says_which_rooms_are_degraded(
    visit: Visitors, site: Site, own_valkey: EmbeddedValkey, room: str
) -> None:
    """And that Redis is away, how long ago the archive had everything, and what it lacks."""
    token = site.served.run("token", "ops", "--role", "admin").stdout.strip()
    page = visit(f"{site.address}admin#token={token}")
    row = page.locator("#rooms-body tr").filter(has=page.get_by_role("button", name=room, exact=True))
    with site.somebody("ada", room) as ada:
        ada.say("before")
        expect(page.locator("#health-degraded")).to_have_text(re.compile("none degraded"))
        expect(page.locator("#health-archive")).to_have_attribute("data-well", "true")
        expect(page.locator("#health-sync")).to_have_text(re.compile(r"complete \d+ .*ago"))
        own_valkey.pause()
        try:
            ada.say("meanwhile")
            expect(page.locator("#health-redis")).to_have_attribute("data-well", "false")
            expect(page.locator("#health-degraded")).to_have_text(re.compile("1 in memory only"))
            expect(row.get_by_text("degraded")).to_be_visible()
        finally:
            own_valkey.resume()

        expect(page.locator("#health-redis")).to_have_attribute("data-well", "true")
        expect(row.get_by_text("degraded")).to_be_hidden()
        tiles = page.locator(".tile")
        expect(tiles.filter(has_text="Not archived yet")).to_contain_text("in 1 dirty room")
        ada.say("after")
        expect(tiles.filter(has_text="Changes in")).to_contain_text("3 since the start")
        expect(tiles.filter(has_text="Redis calls").locator(".note")).to_have_text(re.compile(r"p99 .*\d"))
