"""The page for everybody: what axe-core finds, and what it cannot see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from mock_server.testing import Server
from tests.browser.fixtures import OpenPage
from tests.browser.harness import axe
from tests.browser.harness.chromium import Chromium
from tests.browser.harness.looks import Look, each_look, sticks_out, take_off
from tests.browser.harness.notes_page import NotesPage
from tests.browser.harness.walks import ALL

MOVING = "return document.getAnimations().map((each) => each.animationName ?? each.transitionProperty)"
# What has the focus, and whether a person can see any of it.
FOCUSED = """
    const {activeElement: focused} = document, box = focused.getBoundingClientRect();
    const inside = [0.1, 0.5, 0.9].flatMap((x) => [0.1, 0.5, 0.9].map((y) => [x, y]));
    const seen = inside.some(([x, y]) => {
        const top = document.elementFromPoint(box.left + x * box.width, box.top + y * box.height);
        return focused.contains(top) || top?.control === focused;
    });
    return [focused.id || focused.dataset.do || focused.className || focused.tagName, seen];
"""


@pytest.mark.parametrize("walk", ALL)
def test_axe_finds_nothing_in_any_state(
    browser: Chromium, server: Server, walk: Callable[[NotesPage, Server], Iterator[str]]
) -> None:
    """In every state, wide and narrow, light and dark: no violation of WCAG 2.2 A and AA, nor of best practice.

    Nothing moves for somebody who wants it still, and at 320 px nothing sticks out.
    """
    page = NotesPage(browser, server.url + "/")
    found: dict[str, Any] = {}
    for state in walk(page, server):
        for look in each_look(page):
            found[f"{state} {look}"] = axe.violations(page)
            found[f"{state} {look}, moving"] = page.script(MOVING)
        found[f"{state}, sticks out"] = sticks_out(page)
    assert {where: what for where, what in found.items() if what} == {}


def test_everything_can_be_done_with_the_keyboard(open_page: OpenPage) -> None:
    """Sign in, write, delete, undo and sign out without a pointer; after each the focus is where one goes on."""
    page = open_page()
    page.find("#username").click()
    press(page, "ada", Keys.TAB, "lovelace", Keys.ENTER)
    page.until(lambda: focus(page) == "note-text", "the focus in the box")
    press(page, "by hand", Keys.CONTROL + Keys.ENTER)
    page.wait_for_note("by hand")
    assert focus(page) == "note-text"
    press(page, Keys.TAB, Keys.TAB)
    assert focus(page) == "note-text by hand"
    press(page, Keys.TAB)
    assert focus(page) == "delete"
    press(page, Keys.ENTER)
    page.until(lambda: focus(page) == "undo", "the focus on Undo")
    press(page, Keys.ENTER)
    page.until(lambda: focus(page) == "note-text by hand", "the focus in the note")
    walk_back_to(page, "sign-out")
    press(page, Keys.ENTER)
    page.until(lambda: focus(page) == "username", "the focus in the form")


@pytest.mark.parametrize("leave", ["sign in", "not now", "escape"])
def test_the_sign_in_dialog_gives_the_focus_back(open_page: OpenPage, server: Server, leave: str) -> None:
    """It takes the focus to the password and keeps it; afterwards it is where it was, or else where one can write."""
    page = open_page().sign_in()
    server.revoke()
    page.find("#check-now").click()
    page.until(lambda: focus(page) == "password", "the focus in the dialog")
    for _ in range(12):
        press(page, Keys.TAB)
        assert page.script("return document.activeElement.closest('dialog') !== null || !document.hasFocus()"
                           "|| document.activeElement === document.body")  # fmt: skip
    if leave == "sign in":
        page.type("#password", "lovelace")
        press(page, Keys.ENTER)
    elif leave == "not now":
        page.press("#ask-later")
    else:
        page.find("#password").click()
        press(page, Keys.ESCAPE)
    page.until(lambda: not page.find("#sign-in-dialog").is_displayed(), "the dialog to close")
    # The button can be pressed only by somebody who is signed in.
    expected = "check-now" if leave == "sign in" else "note-text"
    page.until(lambda: focus(page) == expected, f"the focus on {expected}")


def test_a_button_that_goes_when_it_is_pressed_leaves_the_focus_near(open_page: OpenPage, server: Server) -> None:
    """OK on a notice, and Try again at a note: the keyboard is where it was before, or at the note."""
    page = open_page().sign_in()
    page.script(
        "const setItem = Storage.prototype.setItem; Storage.prototype.setItem = function (key, value) {"
        " if (key.startsWith('freshfetch.page.draft:')) throw new DOMException('full', 'QuotaExceededError');"
        " return setItem.call(this, key, value); }"
    )
    rule = server.fault(path="/api/notes/*", kind="status", status=400)
    press(page, "kept", Keys.CONTROL + Keys.ENTER)
    page.until(lambda: page.find("#notices [data-notice=drafts] button").is_displayed(), "the notice")
    page.until(lambda: page.find("#notes [data-do=again]").is_displayed(), "Try again")
    page.script("document.querySelector('#notices [data-notice=drafts] button').focus()")
    press(page, Keys.ENTER)
    assert focus(page) == "note-text"
    server.clear_faults()
    page.script("document.querySelector('#notes [data-do=again]').focus()")
    press(page, Keys.ENTER)
    page.wait_for_note("kept")
    assert focus(page) == "note-text kept"
    assert rule


@pytest.mark.parametrize("width", [1280, 390])
def test_what_has_the_focus_is_in_sight(open_page: OpenPage, server: Server, width: int) -> None:
    """With a notice at the foot of the window, and through the whole page forward and back: never wholly covered."""
    page = open_page().sign_in()
    Look(width, "light", height=600).put_on(page)
    server.fault(path="/api/*", kind="status", status=503)
    page.add_note("waits")
    page.until(lambda: page.seen("#notices"), "the notice")
    page.find("#note-text").click()
    hidden = []
    for key in [Keys.TAB] * 25 + [Keys.SHIFT + Keys.TAB] * 25:
        press(page, key)
        name, seen = page.script(FOCUSED)
        if not seen and name != "BODY":
            hidden.append(name)
    take_off(page)
    assert hidden == []


def test_the_tour_comes_once_and_takes_nothing(open_page: OpenPage) -> None:
    """After the first sign-in it is there without the focus, Escape ends it for good, and Tour brings it back."""
    page = open_page().sign_in()
    assert page.find("#tour").is_displayed()
    assert focus(page) == "note-text"
    press(page, "written", Keys.ESCAPE)
    assert not page.find("#tour").is_displayed()
    assert page.find("#note-text").get_attribute("value") == "written"
    page.open()
    page.until(lambda: page.find("#notes-view").is_displayed(), "the notes")
    assert not page.find("#tour").is_displayed()
    page.press("#tour-again")
    assert focus(page) == "tour-next"
    titles = []
    while page.find("#tour").is_displayed():
        titles.append(page.seen("#tour-title"))
        assert page.script(FOCUSED) == ["tour-next", True]
        press(page, Keys.ENTER)
    assert len(set(titles)) == len(titles) == 4
    assert focus(page) == "tour-again"


def test_the_tour_is_not_there_while_somebody_has_to_sign_in(open_page: OpenPage, server: Server) -> None:
    """When the session ends the tour goes; after the sign-in, not having been closed, it is back."""
    page = open_page().sign_in()
    server.revoke()
    page.press("#check-now")
    page.until(lambda: page.find("#sign-in-dialog").is_displayed(), "the dialog")
    assert not page.find("#tour").is_displayed()
    page.sign_in()
    assert page.find("#tour").is_displayed()


def test_title_and_icon_of_the_tab_tell_the_state(open_page: OpenPage, server: Server) -> None:
    """Signed out, signed in, text that is nowhere else, a slow renewal, no answer, and the end of the session."""
    page = open_page()
    assert sign(page) == ("Signed out", "favicon-signed-out.svg")
    page.sign_in()
    page.until(lambda: sign(page) == ("Your notes", "favicon.svg"), "the usual sign")
    page.type("#note-text", "nowhere else")
    page.until(lambda: sign(page) == ("Unsaved text", "favicon-unsaved.svg"), "unsaved text")
    page.press("#add-note")
    page.until(lambda: sign(page) == ("Your notes", "favicon.svg"), "the usual sign again")
    server.fault(path="/api/auth/refresh", kind="drop_before", delay=2)
    server.expire()
    page.press("#refresh-now")
    page.until(lambda: sign(page) == ("Renewing", "favicon-refreshing.svg"), "a slow renewal")
    page.until(lambda: sign(page) == ("No answer", "favicon-offline.svg"), "no answer")
    server.clear_faults()
    page.add_note("written meanwhile")
    page.wait_for_note("written meanwhile")
    page.until(lambda: sign(page) == ("Your notes", "favicon.svg"), "the end of it")
    server.revoke()
    page.press("#check-now")
    page.until(lambda: sign(page) == ("Sign in again", "favicon-sign-in-required.svg"), "the end of the session")
    statuses = "return Promise.all(arguments[0].map((name) => fetch(`app/static/${name}`).then(({status}) => status)))"
    assert page.script(statuses, ["favicon.svg", "favicon-offline.svg"]) == [200, 200]


def test_a_long_name_from_right_to_left_fits(open_page: OpenPage) -> None:
    """At 320 px the name keeps its direction and leaves the buttons in sight; nothing sticks out."""
    page = open_page().sign_in()
    name = " ".join(["משתמשת עם שם ארוך במיוחד"] * 4)
    page.script("for (const id of ['who', 'fact-who']) document.getElementById(id).textContent = arguments[0]", name)
    page.add_note(name)
    page.wait_for_note(name)
    assert not sticks_out(page)
    right_to_left = "return getComputedStyle(document.querySelector(arguments[0])).direction === 'rtl'"
    assert all(page.script(right_to_left, each) for each in ("#who", ".note-text"))


# -- the keyboard --


def press(page: NotesPage, *keys: str) -> None:
    """Press keys, wherever the focus is. One of several characters after a modifier is a chord."""
    chain = ActionChains(page.driver)
    for each in keys:
        if len(each) == 2 and each[0] in (Keys.CONTROL, Keys.SHIFT):
            chain.key_down(each[0]).send_keys(each[1]).key_up(each[0])
        else:
            chain.send_keys(each)
    chain.perform()


def focus(page: NotesPage) -> str:
    """Name what has the focus; a note with its text."""
    return str(
        page.script("""
            const {id, dataset, className, tagName, value} = document.activeElement;
            return id || dataset.do || (className ? `${className} ${value ?? ""}`.trim() : tagName);
        """)
    )


def walk_back_to(page: NotesPage, name: str) -> None:
    """Press Shift and Tab until the focus is there."""
    for _ in range(40):
        if focus(page) == name:
            return
        press(page, Keys.SHIFT + Keys.TAB)
    pytest.fail(f"no way back to {name} with the keyboard")


def sign(page: NotesPage) -> tuple[str, str]:
    """Return the state in the tab's title, and the file of its icon."""
    title, icon = page.script("return [document.title, document.querySelector('link[rel=icon]').href]")
    return title.partition(" · ")[0], icon.rpartition("/")[2]
