"""What people do on the chat page, and what they expect to see."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect


def write(page: Page, text: str) -> None:
    """Post a message."""
    field = page.locator("#message")
    field.fill(text)
    field.press("Enter")


def message(page: Page, text: str) -> Locator:
    """Return the message with a text."""
    return page.locator(".row").filter(has_text=text)


def expect_messages(page: Page, *texts: str) -> None:
    """Expect these messages and no others."""
    expect(page.locator(".row .body")).to_have_text(list(texts))
