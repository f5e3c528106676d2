"""The chat page in a real browser on a real server, as people use it. A page takes half a second to open."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from .talking import expect_messages, message, write

if TYPE_CHECKING:
    from .conftest import Site, Visitors


def test_two_people_and_an_assistant_talk(visit: Visitors, site: Site, room: str) -> None:
    """Everybody sees the same, and who is there; an assistant's Markdown is shown as it is meant."""
    ada = visit(site.address, "ada", room)
    bob = visit(site.address, "bob", room)
    with site.somebody("helper", room) as helper:
        write(ada, "hello, bob")
        write(bob, "see https://example.com/a?b=1, ada")
        expect(message(ada, "see https")).to_be_visible()
        helper.say("**Both** of you:\n\n- one\n- two", role="assistant")

        for page in (ada, bob):
            expect(page.locator(".row .name")).to_have_text(["ada", "bob", "helper"])
            expect(page.locator("#people-list .name")).to_have_text(["ada", "bob", "helper"])
            answer = message(page, "Both")
            expect(answer.locator("strong")).to_have_text("Both")
            expect(answer.locator("li")).to_have_text(["one", "two"])
            expect(answer.locator(".badge")).to_have_text("assistant")
            link = message(page, "see").locator("a")
            expect(link).to_have_attribute("href", "https://example.com/a?b=1")
            assert "noopener" in str(link.get_attribute("rel"))


def test_a_message_says_how_far_it_is_kept(visit: Visitors, site: Site, room: str) -> None:
    """It is there at once, on its way; then stored."""
    ada = visit(site.address, "ada", room)
    ada.evaluate(
        """() => {
            window.states = [];
            new MutationObserver(() => {
                const state = document.querySelector(".row .state")?.textContent;
                if (state && window.states.at(-1) !== state) window.states.push(state);
            }).observe(document.querySelector("#log"), { childList: true, subtree: true });
        }"""
    )
    write(ada, "hello")
    expect(message(ada, "hello").locator(".state")).to_have_text("Stored")

    assert ada.evaluate("window.states") == ["Sending", "Stored"]


def test_the_history_is_there_after_a_reload(visit: Visitors, site: Site, room: str) -> None:
    """And one is who one was, in the rooms one was in."""
    ada = visit(site.address, "ada", room)
    write(ada, "one")
    write(ada, "two")
    expect(ada.locator(".row.stored")).to_have_count(2)
    ada.get_by_label("Join a room").fill("elsewhere")
    ada.keyboard.press("Enter")
    expect(ada.locator("#room-title")).to_have_text("elsewhere")
    ada.reload()
    ada.locator("#room-list").get_by_role("button", name=room, exact=True).click()

    expect_messages(ada, "one", "two")
    expect(ada.locator("#me-name")).to_have_text("ada")
    expect(ada.locator("#room-list .room")).to_have_text([room, "elsewhere"])


def test_it_goes_on_after_the_server_was_killed(visit: Visitors, mortal: Site, room: str) -> None:
    """What was missed is there, what was said meanwhile is sent, everything once. The server needs a second to start."""
    ada = visit(mortal.address, "ada", room)
    said: list[dict[str, Any]] = []
    ada.on("websocket", lambda socket: socket.on("framereceived", lambda text: said.append(json.loads(text))))
    write(ada, "before")
    expect(ada.locator(".row.stored")).to_have_count(1)
    mortal.served.kill()
    expect(ada.locator("#connection")).to_contain_text("Connection lost")
    write(ada, "meanwhile")
    expect(message(ada, "meanwhile").locator(".state")).to_have_text("Sending")
    mortal.served.start()
    expect(ada.locator("#me-state")).to_have_text("Connected")
    expect(ada.locator(".row.stored")).to_have_count(2)
    with mortal.somebody("bob", room) as bob:
        bob.say("after")

        expect_messages(ada, "before", "meanwhile", "after")
    assert ada.locator("#connection").inner_text() == ""
    assert [one["recovered"] for one in said if one["type"] == "room:joined"] == [True]


def test_nothing_is_lost_or_there_twice(visit: Visitors, mortal: Site, room: str) -> None:
    """Whenever the server is killed, also between a message and its ack. Three starts take as many seconds."""
    ada = visit(mortal.address, "ada", room)
    ada.evaluate(
        """() => {
            let number = 0;
            const field = document.querySelector("#message");
            const timer = setInterval(() => {
                field.value = `number ${number}`;
                field.form.requestSubmit();
                if (++number === 100) clearInterval(timer);
            }, 25);
        }"""
    )
    for count in (5, 30):
        expect(ada.locator(".row.stored").nth(count)).to_be_attached()
        mortal.served.kill()
        mortal.served.start()
    expect(ada.locator(".row.stored")).to_have_count(100)
    ada.reload()

    expect_messages(ada, *(f"number {number}" for number in range(100)))


def test_ones_own_messages_can_be_changed_and_deleted(visit: Visitors, site: Site, room: str) -> None:
    """With the mouse; others see it; those of others cannot be."""
    ada = visit(site.address, "ada", room)
    bob = visit(site.address, "bob", room)
    for text in ("helo", "wrong"):
        write(ada, text)
    write(bob, "mine")
    expect(ada.locator(".row")).to_have_count(3)

    message(ada, "helo").hover()
    message(ada, "helo").get_by_role("button", name="Edit").click()
    ada.get_by_label("Edit your message").fill("hello")
    ada.get_by_role("button", name="Save").click()
    expect(message(bob, "hello").locator(".edited")).to_have_text("edited")
    message(ada, "wrong").hover()
    message(ada, "wrong").get_by_role("button", name="Delete").click()
    ada.get_by_role("dialog").get_by_role("button", name="Delete").click()

    for page in (ada, bob):
        expect_messages(page, "hello", "mine")
    expect(message(ada, "mine").locator(".tools")).to_have_count(0)


def test_everything_can_be_done_with_the_keyboard(visit: Visitors, site: Site, room: str) -> None:
    """The up arrow edits the newest message, or walks through them; Escape gives up."""
    ada = visit(site.address, "ada", room)
    for text in ("one", "two"):
        write(ada, text)
    expect(ada.locator(".row.stored")).to_have_count(2)
    ada.keyboard.press("ArrowUp")
    expect(ada.get_by_label("Edit your message")).to_be_focused()
    ada.keyboard.press("Escape")
    expect(ada.locator("#message")).to_be_focused()
    ada.keyboard.press("ArrowUp")
    ada.keyboard.type(" and a half")
    ada.keyboard.press("Enter")
    expect_messages(ada, "one", "two and a half")

    ada.locator("#log").focus()
    for key in ("ArrowUp", "ArrowUp", "Tab", "Tab", "Enter"):
        ada.keyboard.press(key)
    expect(ada.get_by_role("dialog").get_by_role("button", name="Cancel")).to_be_focused()
    ada.keyboard.press("Tab")
    ada.keyboard.press("Enter")

    expect_messages(ada, "two and a half")
    expect(ada.locator("#message")).to_be_focused()


def test_one_scrolls_back_into_the_archive(visit: Visitors, site: Site, room: str) -> None:
    """Page by page, to where the room begins; what one was looking at stays where it is. 200 messages take a second."""
    texts = [f"message {number}" for number in range(200)]
    with site.somebody("bob", room) as bob:
        for text in texts:
            bob.say(text)
    ada = visit(site.address, "ada", room)
    log = ada.locator("#log")
    expect(ada.locator(".row").last).to_contain_text("message 199")
    before = ada.locator(".row").count()
    seen = ada.locator(".row").first
    first = seen.inner_text()
    log.evaluate("log => log.scrollTop = 0")
    expect(ada.locator(".row")).not_to_have_count(before)
    at = message(ada, first.splitlines()[-1]).first.bounding_box()
    assert at is not None
    assert 0 <= at["y"] < 400

    for _ in range(10):
        log.evaluate("log => log.scrollTop = 0")
        ada.wait_for_timeout(50)
    expect(ada.get_by_text("This is where the room begins.")).to_be_visible()
    expect_messages(ada, *texts)

    ada.get_by_role("button", name="Newest").click()
    expect(ada.locator(".row").last).to_be_in_viewport()
    expect(ada.locator("#jump")).to_be_hidden()


def test_what_is_new_is_counted(visit: Visitors, site: Site, room: str) -> None:
    """In the list and in the title, until one looks; then a line says where it begins."""
    ada = visit(site.address, "ada", room)
    write(ada, "hello")
    ada.get_by_label("Join a room").fill(f"{room}/aside")
    ada.keyboard.press("Enter")
    with site.somebody("bob", room) as bob:
        for text in ("one", "two"):
            bob.say(text)
        unread = ada.locator("#room-list li").filter(has_text="unread").locator(".count")
        expect(unread).to_have_text("2")
        expect(ada).to_have_title(re.compile(r"^\(2\) "))
        ada.locator("#room-list li").first.get_by_role("button").first.click()

        expect(unread).to_have_count(0)
        expect(ada.locator(".day.new + .row")).to_contain_text("one")
        assert bob.until("receipt:update", userId="ada")["lastReadMessageId"]


def test_one_sees_who_writes_and_who_has_read(visit: Visitors, site: Site, room: str) -> None:
    """While they do, and up to where."""
    ada = visit(site.address, "ada", room)
    bob = visit(site.address, "bob", room)
    write(ada, "hello")
    expect(message(ada, "hello").locator(".readers")).to_contain_text("Read by bob")
    bob.locator("#message").press_sequentially("hm")
    expect(ada.locator("#typing")).to_have_text("bob is writing…")
    bob.locator("#message").fill("")

    expect(ada.locator("#typing")).to_have_text("")


def test_the_printed_link_is_enough(visit: Visitors, with_tokens: Site) -> None:
    """By default it holds a token, which leaves the address at once and comes back with a reload of the tab only."""
    link = with_tokens.link
    ada = visit(link)
    expect(ada.locator("#me-state")).to_have_text("Connected")
    expect(ada.locator("#room-title")).to_have_text("team-42/general")
    assert "token" in link
    assert "token" not in ada.url
    write(ada, "hello")
    expect(ada.locator(".row.stored")).to_have_count(1)
    ada.reload()
    expect_messages(ada, "hello")

    other = ada.context.new_page()
    other.goto(with_tokens.address)
    expect(other.get_by_label("Your token")).to_be_visible()


def test_a_token_can_be_pasted(visit: Visitors, with_tokens: Site) -> None:
    """What is none is said to be none, what is not accepted is asked for again; what it does not open is said."""
    page = visit(with_tokens.address)
    field, enter = page.get_by_label("Your token"), page.get_by_role("button", name="Come in")
    problem = page.locator("#entry-problem")
    field.fill("hello")
    enter.click()
    expect(problem).to_contain_text("This is no token")
    field.fill("aaaa.bbbb.cccc")
    enter.click()
    expect(problem).to_contain_text("does not accept this token")
    field.fill(with_tokens.served.run("token", "bob", "--room", "team-1/*").stdout)
    enter.click()
    expect(page.locator("#me-name")).to_have_text("bob")
    page.get_by_role("button", name="team-42/general").click()

    expect(page.locator("#room-problem")).to_contain_text("Your token does not open this room")


def test_names_that_cannot_be_are_explained(visit: Visitors, site: Site) -> None:
    """Before anything is asked of the server."""
    page = visit(site.address)
    page.get_by_role("button", name="Come in").click()
    expect(page.locator("#entry-problem")).to_contain_text("Type a name")
    page.get_by_label("Your name").fill("ada")
    page.keyboard.press("Enter")
    page.get_by_label("Join a room").fill("a room")
    page.keyboard.press("Enter")

    expect(page.locator("#join-problem")).to_contain_text("without spaces")
    expect(page.get_by_label("Join a room")).to_be_focused()


def test_what_the_server_would_not_take_is_not_sent(visit: Visitors, site: Site, room: str) -> None:
    """It is kept, with the reason, until one gives it up. The text is large."""
    ada = visit(site.address, "ada", room)
    write(ada, "ä" * 40_000)
    expect(ada.locator(".failure")).to_contain_text("This is too long")
    ada.get_by_role("button", name="Discard").click()
    write(ada, "short")

    expect_messages(ada, "short")


def test_a_session_that_ends_is_archived(
    visit: Visitors, tmp_path_factory: pytest.TempPathFactory, chromium: str, room: str
) -> None:
    """What was said stays in sight, says that it is archived, and can be changed no more. The end comes after a second."""
    from .conftest import opened

    with opened(tmp_path_factory, AUTH_MODE="insecure", SESSION_EXPIRY_SECONDS="1") as site:
        ada = visit(site.address, "ada", room)
        write(ada, "hello")
        expect(message(ada, "hello").locator(".state")).to_have_text("Archived")
        expect(ada.locator(".tools")).to_have_count(0)
        write(ada, "again")

        expect_messages(ada, "hello", "again")


def test_a_phone_shows_one_thing_at_a_time(visit: Visitors, site: Site, room: str) -> None:
    """The room, the rooms, or the people; nothing is wider than the screen."""
    ada = visit(site.address, "ada", room, viewport={"width": 360, "height": 640}, has_touch=True)
    write(ada, "hello " + "x" * 300)
    expect(ada.locator(".row.stored")).to_have_count(1)
    expect(ada.locator("#rooms")).to_be_hidden()
    assert ada.evaluate("document.documentElement.scrollWidth") == 360
    assert ada.locator("#log").evaluate("log => log.scrollWidth <= log.clientWidth")

    ada.get_by_role("button", name="People in this room").click()
    expect(ada.locator("#people-list")).to_contain_text("ada")
    ada.get_by_role("button", name="Back to the messages").click()
    ada.get_by_role("button", name="Rooms", exact=True).click()
    expect(ada.locator("#log")).to_be_hidden()
    ada.locator("#room-list .room").click()

    expect(ada.locator("#log")).to_be_visible()


def test_it_is_dark_where_the_system_is_or_one_wants_it(visit: Visitors, site: Site, room: str) -> None:
    """The switch is remembered."""
    ground = "getComputedStyle(document.body).backgroundColor"
    ada = visit(site.address, "ada", room, color_scheme="dark")
    dark = ada.evaluate(ground)
    switch = ada.get_by_role("button", name="Dark mode")
    expect(switch).to_have_attribute("aria-pressed", "true")
    switch.click()
    light = ada.evaluate(ground)
    ada.reload()

    assert light != dark
    assert ada.evaluate(ground) == light
    ada.emulate_media(color_scheme="light")
    ada.get_by_role("button", name="Dark mode").click()
    assert ada.evaluate(ground) == dark


def test_it_works_in_a_network_without_tls(visit: Visitors, site: Site, room: str, chromium: str) -> None:
    """Browsers take some of what they can do away from pages that neither TLS nor this machine vouches for.

    Such an address needs a browser of its own, which takes a second.
    """
    port = site.address.rpartition(":")[2]
    rules = "--host-resolver-rules=MAP chat.test 127.0.0.1"
    browser = visit.browser.browser_type.launch(executable_path=chromium, args=[rules])
    try:
        page = browser.new_page()
        page.goto(f"http://chat.test:{port}#room={room}")
        page.get_by_label("Your name").fill("ada")
        page.keyboard.press("Enter")
        expect(page.locator("#me-state")).to_have_text("Connected")
        write(page, "hello")
        with site.somebody("helper", room) as helper:
            helper.say("**bold**", role="assistant")

        expect(page.locator(".row.mine.stored")).to_have_count(1)
        expect(page.locator(".row strong")).to_have_text("bold")
        assert not page.evaluate("isSecureContext")
    finally:
        browser.close()


def test_too_many_connections_can_be_mended(
    visit: Visitors, tmp_path_factory: pytest.TempPathFactory, chromium: str, room: str
) -> None:
    """It is said, and one tries again when one has closed another tab. The server of its own takes a second."""
    from .conftest import opened

    with opened(tmp_path_factory, AUTH_MODE="insecure", MAX_CONNECTIONS_PER_USER="1") as site:
        first = visit(site.address, "ada", room)
        second = visit(site.address, "ada")
        expect(second.locator("#connection")).to_contain_text("as often as the server allows")
        first.context.close()
        second.get_by_role("button", name="Try now").click()

        expect(second.locator("#me-state")).to_have_text("Connected")


def test_what_happens_is_announced(visit: Visitors, site: Site, room: str) -> None:
    """Screen readers say by themselves what comes in, who writes, and how the connection is."""
    page = visit(site.address, "ada", room)
    log = page.get_by_role("log", name=f"Messages in {room}")
    expect(log).to_have_attribute("aria-live", "polite")
    with site.somebody("bob", room) as bob:
        bob.ask("typing:start")
        expect(page.get_by_role("status").filter(has_text="bob")).to_be_visible()
        bob.say("hello")
        expect(log.get_by_text("hello")).to_be_visible()

    assert page.locator("#connection").get_attribute("role") == "status"
    assert page.locator("#room-problem").get_attribute("role") == "alert"
