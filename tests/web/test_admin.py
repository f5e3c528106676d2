"""The dashboard in a real browser on a real server, as operators use it. A page takes half a second to open."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import Site, Visitors, opened
from .test_access import LOOKS, expect_accessible

if TYPE_CHECKING:
    from collections.abc import Callable

    Enter = Callable[..., Page]

# Both: anybody may talk under any name, and tokens are checked.
SETTINGS = {"AUTH_MODE": "insecure", "AUTH_SECRET": "a secret of thirty-two bytes, or more"}
NAMES = ("<img src=x onerror=owned=1>", '"><script>owned=1</script>', "\u202eada", "__proto__", "x" * 128)


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[Site]:
    """A server that has an operator. Its stores take a second to be made."""
    with opened(tmp_path_factory, **SETTINGS) as site:
        yield site


def token(site: Site, *options: str) -> str:
    """Make a token, as docs/dashboard.md says."""
    return site.served.run("token", "ops", *options).stdout.strip()


@pytest.fixture(scope="module")
def admin(operated: Site) -> str:
    """A token of an operator."""
    return token(operated, "--role", "admin")


@pytest.fixture
def enter(visit: Visitors, operated: Site, admin: str) -> Enter:
    """Opens the dashboard for an operator."""

    def enter(fragment: str = "", **options: Any) -> Page:
        page = visit(f"{operated.address}admin#token={admin}{fragment}", **options)
        expect(page.locator("#state")).to_have_text("Live")
        return page

    return enter


def row(page: Page, room: str) -> Locator:
    """Return the row of a room."""
    return page.locator("#rooms-body tr").filter(has=page.get_by_role("button", name=room, exact=True))


def look(page: Page, room: str) -> Locator:
    """Look closely at a room; return what is seen of it."""
    page.get_by_role("button", name=room, exact=True).click()
    drawer = page.locator("#room")
    expect(drawer.locator("dd").first).not_to_be_empty()
    return drawer


def confirm(page: Page, deed: str) -> None:
    """Say yes when asked."""
    page.locator("#confirm").get_by_role("button", name=deed).click()


def expect_notice(page: Page, text: str) -> None:
    """Expect to be told what came of something."""
    expect(page.locator(".notice").filter(has_text=text)).to_be_visible()


def test_the_figures_move_while_somebody_talks(operated: Site, enter: Enter, room: str) -> None:
    """Those of the server and those of the room. They come every two seconds."""
    page = enter()
    with operated.somebody("ada", room) as ada, operated.somebody("bob", room):
        tile = page.locator(".tile").filter(has_text="Deliveries out")
        expect(row(page, room).locator(".members")).to_have_text("2")
        for number in range(40):
            ada.say(f"message {number}")

        expect(tile.locator(".figure")).to_have_text(re.compile("[1-9]"))
        expect(tile.get_by_role("img")).to_have_attribute(
            "aria-label", re.compile(r"now \d.*, between 0 and")
        )
        expect(row(page, room).locator(".rate")).to_have_text(re.compile("[1-9]"))
        expect(row(page, room).locator(".fill")).to_have_text("4 %")
        expect(page.locator("#health-redis")).to_have_attribute("data-well", "true")
        line = tile.locator(".l0")
        before = line.get_attribute("d")
        expect(line).not_to_have_attribute("d", str(before))


@pytest.mark.parametrize(
    ("options", "why"),
    [(("--role", "moderator"), "does not have the role admin"), (None, "does not accept this token")],
    ids=["without-the-role", "forged"],
)
def test_a_token_without_the_claim_is_refused(
    visit: Visitors, operated: Site, options: tuple[str, ...] | None, why: str
) -> None:
    """It is told so, and how to make one that is not; another one can be pasted, and gets in."""
    given = "a.b.c" if options is None else token(operated, *options)
    page = visit(f"{operated.address}admin#token={given}")
    expect(page.locator("#entry-problem")).to_contain_text(why)
    expect(page.locator("#entry")).to_contain_text("trio-chat token NAME --role admin")
    visit.trouble.clear()  # the browser notes the refusal
    assert page.locator("#app").is_hidden()
    page.get_by_label("A token with the role admin").fill(token(operated, "--role", "admin"))
    page.keyboard.press("Enter")

    expect(page.locator("#state")).to_have_text("Live")


def test_the_token_is_kept_by_the_tab_and_forgotten_when_asked(operated: Site, enter: Enter) -> None:
    """It is taken out of the address; a reload goes on; to forget it needs one click."""
    page = enter()
    assert page.url == f"{operated.address}admin"
    page.reload()
    expect(page.locator("#state")).to_have_text("Live")
    page.get_by_role("button", name="Forget the token").click()
    page.reload()

    expect(page.locator("#entry")).to_be_visible()
    assert page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])") == "[{},{}]"


def test_a_room_can_be_looked_at_and_closed(operated: Site, enter: Enter, visit: Visitors, room: str) -> None:
    """Its members are put out of it. What is said there is not to be seen. It takes the keyboard alone."""
    with operated.somebody("ada", room) as ada:
        ada.say("a secret")
        page = enter()
        page.get_by_role("button", name=room, exact=True).press("Enter")
        drawer = page.locator("#room")
        expect(drawer.locator("dl")).to_contain_text("Last changeno. 1")
        expect(drawer.locator("#room-people .name")).to_have_text(["ada"])
        expect(page).to_have_url(re.compile(re.escape(f"#room={room}")))
        assert "a secret" not in page.content()
        drawer.get_by_role("button", name="Close the room").press("Enter")
        expect(page.get_by_role("button", name="Cancel")).to_be_focused()
        for key in ("Tab", "Enter"):
            page.keyboard.press(key)

        expect_notice(page, f"Closed {room}: 1 connection was put out of it.")
        assert ada.until("error")["code"] == "room_closed"
        expect(row(page, room)).to_have_count(0)
        expect(drawer).to_be_hidden()
    _forgive_misses(visit)


def test_nothing_is_done_without_a_yes(operated: Site, enter: Enter, room: str) -> None:
    """Escape and Cancel lead back to where one was."""
    with operated.somebody("ada", room) as ada:
        page = enter()
        drawer = look(page, room)
        for key in ("Escape", "Enter"):
            drawer.get_by_role("button", name="Close the room").press("Enter")
            page.keyboard.press(key)
            expect(page.locator("#confirm")).to_be_hidden()
        expect(drawer.get_by_role("button", name="Close the room")).to_be_focused()

        assert ada.say("still here")
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name=room, exact=True)).to_be_focused()


def test_a_user_can_be_disconnected(operated: Site, enter: Enter, room: str) -> None:
    """From the list of a room, where it is said what came of it, or by name."""
    with operated.somebody("mallory", room) as mallory, operated.somebody("trudy", room) as trudy:
        page = enter()
        drawer = look(page, room)
        drawer.get_by_role("button", name="Disconnect mallory").click()
        confirm(page, "Disconnect")
        expect_notice(page, "Disconnected mallory: 1 connection was ended.")
        expect(drawer.locator("#room-people .name")).to_have_text(["trudy"])
        page.keyboard.press("Escape")
        page.get_by_label("User", exact=True).fill("trudy")
        page.keyboard.press("Enter")
        confirm(page, "Disconnect")

        expect_notice(page, "Disconnected trudy: 1 connection was ended.")
        for gone in (mallory, trudy):
            with pytest.raises(Exception, match="4501"):
                gone.until("never")


def test_what_is_not_archived_can_be_archived_now(operated: Site, enter: Enter, room: str) -> None:
    """And then the room is not dirty any more."""
    with operated.somebody("ada", room) as ada:
        page = enter()
        ada.say("hello")
        expect(row(page, room).locator(".unsynced")).to_have_text("1")
        page.get_by_role("button", name="Sync now").click()
        confirm(page, "Sync now")

        expect_notice(page, "Synced: the archive has everything.")
        expect(row(page, room).locator(".unsynced")).to_have_text("0")


def test_rooms_can_be_searched_and_sorted(operated: Site, enter: Enter, room: str) -> None:
    """By any column, with the most first, or the other way round; screen readers are told which."""
    names = [f"{room}/{name}" for name in ("a", "b", "c")]
    with (
        operated.somebody("ada", names[0]),
        operated.somebody("ada", names[1]),
        operated.somebody("bob", names[1]),
    ):
        with operated.somebody("ada", names[2]) as ada:
            ada.say("hello")
            page = enter()
            page.get_by_label("Search for rooms by name").fill(room.upper())
            shown = page.locator("#rooms-body .room-link")
            expect(shown).to_have_count(3)
            expect(page.locator("#rooms-count")).to_have_text("3 rooms found")
            page.get_by_role("button", name="Room", exact=True).click()
            expect(shown).to_have_text(names)
            page.get_by_role("button", name="Room", exact=True).click()
            expect(shown).to_have_text(names[::-1])
            page.get_by_role("button", name="Members").click()
            expect(shown.first).to_have_text(names[1])
            expect(page.get_by_role("columnheader", name="Members")).to_have_attribute(
                "aria-sort", "descending"
            )
            page.get_by_label("Search for rooms by name").fill("nowhere")

            expect(page.locator("#rooms-empty")).to_have_text("No room has this in its name.")


def test_hostile_names_are_names(operated: Site, enter: Enter, room: str) -> None:
    """Of users, in lists, questions and answers; nothing runs, and nothing gets wider by them."""
    page = enter()
    for name in NAMES:
        with operated.somebody(name, room):
            page.reload()
            expect(page.locator("#state")).to_have_text("Live")
            drawer = page.locator("#room")
            if drawer.is_hidden():
                look(page, room)
            shown = drawer.locator("#room-people .name")
            expect(shown).to_have_count(1)
            assert shown.text_content() == name
            drawer.get_by_role("button", name="Disconnect").click()
            assert name in str(page.locator("#confirm-question").text_content())
            confirm(page, "Disconnect")
            expect_notice(page, "1 connection was ended.")
            expect(shown).to_have_count(0)

    assert page.evaluate("window.owned") is None
    assert page.evaluate("document.documentElement.scrollWidth") == 1180
    assert page.locator("[style], img:not([src='static/icon.svg']), iframe, body script").count() == 0


def test_a_hidden_page_asks_for_nothing(enter: Enter) -> None:
    """It goes on when somebody looks again. Polls are two seconds apart, so this takes some."""
    page = enter()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(
        """() => {
            Object.defineProperty(document, "hidden", { get: () => window.away, configurable: true });
            window.away = true;
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    expect(page.locator("#state")).to_have_text("Paused while nobody looks")
    page.wait_for_timeout(3000)
    while_hidden = len(asked)
    page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")
    expect(page.locator("#state")).to_have_text("Live")

    assert while_hidden <= 1  # one may have been on its way
    assert len(asked) > while_hidden


def test_it_goes_on_after_the_server_was_killed(
    visit: Visitors, tmp_path_factory: pytest.TempPathFactory, chromium: str
) -> None:
    """It says so meanwhile, and counts from nothing afterwards. Two starts take as many seconds."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with opened(tmp_path_factory, **SETTINGS, PORT=str(port)) as site:
        page = visit(f"{site.address}admin#token={token(site, '--role', 'admin')}")
        expect(page.locator("#state")).to_have_text("Live")
        site.served.kill()
        expect(page.locator("#state")).to_contain_text("cannot be reached")
        site.served.start()

        expect(page.locator("#state")).to_have_text("Live")


@pytest.mark.parametrize("look_at", LOOKS)
def test_it_is_accessible(visit: Visitors, operated: Site, enter: Enter, room: str, look_at: str) -> None:
    """The way in, the figures, a room, a question, and an answer. Each look at it takes half a second."""
    outside = visit(f"{operated.address}admin", **LOOKS[look_at])
    outside.get_by_role("button", name="Come in").click()
    expect_accessible(outside, "the way in")
    with operated.somebody("ada", room) as ada:
        ada.say("hello")
        page = enter(**LOOKS[look_at])
        expect(row(page, room)).to_be_visible()
        expect_accessible(page, "figures")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        look(page, room)
        expect(page.locator("#room-people .name")).to_have_count(1)
        expect_accessible(page, "a room")
        page.get_by_role("button", name="Disconnect ada").click()
        expect_accessible(page, "a question")
        confirm(page, "Disconnect")
        expect_notice(page, "Disconnected ada")
        expect_accessible(page, "an answer")


def _forgive_misses(visit: Visitors) -> None:
    """A look at a room that was just closed may have been on its way."""
    visit.trouble[:] = [one for one in visit.trouble if "404" not in one]
