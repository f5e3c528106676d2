"""Whatever people and assistants say and are called, the page only shows it.

`visit` fails a test when a page complains (a violated policy is a complaint) or asks another host for anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from .conftest import Site, Visitors

# Each would set `window.owned` if anything of it ran, or load something from elsewhere.
HTML = (
    "<script>owned=1</script>",
    "<img src=x onerror=owned=1>",
    "<img src=https://evil.example/pixel.png>",
    "<svg onload=owned=1><use href='https://evil.example/x.svg#x'/></svg>",
    "<iframe srcdoc='<script>parent.owned=1</script>'></iframe>",
    "<a href='javascript:owned=1'>click</a>",
    "<form action=https://evil.example><button>click</button></form>",
    "<style>@import 'https://evil.example/x.css'; body { display: none }</style>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=owned=1&gt;'>",
    "<div id=app name=app style='position:fixed;inset:0'>over everything</div>",
    "<video src=https://evil.example/v onerror=owned=1 autoplay></video>",
    "<!--><img src=x onerror=owned=1>-->",
    "<textarea></textarea><img src=x onerror=owned=1>",
)
MARKDOWN = (
    "[click](javascript:owned=1)",
    "[click](JaVaScRiPt&colon;owned=1)",
    "[click](data:text/html,<script>owned=1</script>)",
    "[click](vbscript:owned=1)",
    "[click](https://bank.example@evil.example/)",
    "![pixel](https://evil.example/pixel.png)",
    '![x](x"onerror="owned=1)',
    "[x]: javascript:owned=1\n\n[x]",
    "<javascript:owned=1>",
    "```html\n<script>owned=1</script>\n```",
    "`<img src=x onerror=owned=1>`",
    "# <img src=x onerror=owned=1>",
    "| <img src=x onerror=owned=1> |\n|---|\n| <script>owned=1</script> |",
    '[a](https://example.com/"onmouseover="owned=1)',
    "[a](https://example.com 'x\" onmouseover=\"owned=1')",
)
NAMES = (
    "<img src=x onerror=owned=1>",
    "\"><script>owned=1</script>",
    "\u202eada",
    "__proto__",
    "x" * 128,
)  # fmt: skip


def expect_unharmed(page: Page) -> None:
    """Expect that nothing has run, nothing has been built that could, and the page still works."""
    assert page.evaluate("window.owned") is None
    found = page.locator("#log").evaluate(
        """log => [...log.querySelectorAll("*")].flatMap((one) => [
            ...(/^(script|img|iframe|object|embed|form|input|style|link|base|meta|video|math)$/i.test(one.tagName)
                ? [one.tagName] : []),
            ...[...one.attributes].filter(({ name }) => /^on|^style$|^src|^srcdoc$/i.test(name)).map(({ name }) => name),
            ...(one.matches("a[href]") && !/^https?:\\/\\/[^@]*$/.test(one.getAttribute("href")) ? [one.href] : []),
        ])"""
    )
    assert found == []
    page.locator("#message").fill("still here")
    page.locator("#message").press("Enter")
    expect(page.locator(".row.stored .body").last).to_have_text("still here")


def click_all(page: Page) -> None:
    """Do what a curious person would do; new windows are of no use to anybody here."""
    page.evaluate("window.open = () => null")
    page.context.route("**/*", lambda route: route.abort())
    page.evaluate(
        """() => {
            for (const one of document.querySelectorAll("#log .body *")) {
                for (const kind of ["mouseover", "focus"]) one.dispatchEvent(new Event(kind, { bubbles: true }));
                if (!one.matches("a[href]")) one.click?.();
            }
        }"""
    )


def test_hostile_texts_are_texts(visit: Visitors, site: Site, room: str) -> None:
    """What a person says is shown letter by letter."""
    with site.somebody("eve", room) as eve:
        for text in (*HTML, *MARKDOWN):
            eve.say(text)
        ada = visit(site.address, "ada", room)

        shown = ada.locator(".row .body").evaluate_all("all => all.map((one) => one.textContent)")
        assert shown == [*HTML, *MARKDOWN]
        click_all(ada)
        expect_unharmed(ada)


def test_hostile_markdown_is_harmless(visit: Visitors, site: Site, room: str) -> None:
    """What an assistant says is Markdown, and nothing in it is more than text, tables and links to the web."""
    ada = visit(site.address, "ada", room)
    with site.somebody("helper", room) as helper:
        for text in (*HTML, *MARKDOWN):
            helper.say(text, role="assistant")
        helper.say("\n\n".join((*HTML, *MARKDOWN)), role="assistant")

        expect(ada.locator(".row")).to_have_count(len(HTML) + len(MARKDOWN) + 1)
        click_all(ada)
        expect_unharmed(ada)


def test_hostile_metadata_changes_nothing(visit: Visitors, site: Site, room: str) -> None:
    """Nor do ids that mean something elsewhere."""
    with site.somebody("eve", room) as eve:
        for number, name in enumerate(("__proto__", "constructor", "app", "<b>", 'a"b')):
            eve.say(f"{number}", id=name, metadata={"__proto__": {"state": "failed"}, "role": "assistant"})
        ada = visit(site.address, "ada", room)

        expect(ada.locator(".row .body")).to_have_text(["0", "1", "2", "3", "4"])
        expect_unharmed(ada)


@pytest.mark.parametrize("name", NAMES, ids=["tag", "quote", "right-to-left", "proto", "long"])
def test_hostile_names_are_names(visit: Visitors, site: Site, room: str, name: str) -> None:
    """In the log, the list of people, what they are doing, and who has read what; nothing gets wider by it."""
    ada = visit(site.address, "ada", room)
    with site.somebody(name, room) as eve:
        said = eve.say("hello")
        eve.ask("receipt:update", lastReadMessageId=said)
        eve.ask("typing:start")

        expect(ada.locator("#typing")).to_contain_text("is writing")
        assert ada.locator(".row .name").text_content() == name
        names = ada.locator("#people-list .name").evaluate_all("all => all.map((one) => one.textContent)")
        assert sorted(names) == sorted(["ada", name])
        assert ada.evaluate("document.documentElement.scrollWidth") == 1180
        expect_unharmed(ada)


@pytest.mark.parametrize(
    "fragment", ["room=<img src=x onerror=owned=1>", "room=%00", "token=<script>", "room", "=", "%"]
)
def test_hostile_links_lead_to_the_page(visit: Visitors, site: Site, fragment: str) -> None:
    """Whatever stands behind the address, it is no room and no token, and it is said so or overlooked."""
    page = visit(f"{site.address}#{fragment}", "ada")
    expect(page.locator("#me-state")).to_have_text("Connected")

    assert page.evaluate("window.owned") is None
    assert page.locator("#room-list li").count() == 0


def test_a_text_cannot_become_html(visit: Visitors, site: Site) -> None:
    """Should the page ever try: Trusted Types are in force, also in what only looks like a test."""
    page = visit(site.address)
    outcome: Any = page.evaluate(
        """() => { try { document.body.innerHTML = "<b>x</b>"; return "made"; } catch (error) { return error.name; } }"""
    )
    visit.trouble.clear()  # the complaint was asked for

    assert outcome == "TypeError"
