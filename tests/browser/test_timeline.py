"""The timeline in a real browser: what it draws of what really happened, and how a person moves it."""

from __future__ import annotations

import re

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from mock_server.testing import Server
from tests.browser.fixtures import OpenPage
from tests.browser.harness.chromium import Chromium
from tests.browser.harness.notes_page import NotesPage

VIEW = "#timeline-view"
# A headless browser does not scroll by touch. What it would not scroll for is what somebody has prevented.
TAKEN_FROM_THE_BROWSER = """
    const [target] = arguments;
    const at = (clientY) => [new Touch({identifier: 1, target, clientX: 200, clientY})];
    return [["touchstart", 200], ["touchmove", 150], ["touchmove", 100], ["touchend", 100]].filter(([kind, y]) => {
        const touches = kind === "touchend" ? [] : at(y);
        const event = new TouchEvent(kind, {touches, changedTouches: at(y), bubbles: true, cancelable: true});
        return !target.dispatchEvent(event);
    });
"""
PAINTED = """
    const canvas = document.querySelector("#timeline-canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, index) => index % 4 === 3 && value > 0).length;
"""


@pytest.fixture
def page(open_page: OpenPage) -> NotesPage:
    """A window in which ada is signed in, with the timeline in view and nothing going on."""
    page = open_page().sign_in()
    page.until(lambda: page.find("#timeline-panel").is_displayed(), "the timeline")
    page.script("document.querySelector('#timeline-panel').scrollIntoView({ block: 'center' })")
    page.until(lambda: drawn(page, "lanes") == made(page) and "under way" not in said(page), "its first lanes")
    return page


def said(page: NotesPage) -> str:
    """Return the summary."""
    return page.seen("#timeline-summary")


def made(page: NotesPage) -> int:
    """Return how many requests the summary speaks of."""
    found = re.match(r"(\d+) request", said(page))
    return int(found[1]) if found else 0


def drawn(page: NotesPage, what: str) -> float:
    """Return how many lanes or bands are drawn, or from when to when."""
    return float(page.find(VIEW).get_attribute(f"data-{what}") or -1)


def view(page: NotesPage) -> tuple[float, float]:
    """Return the stretch of time that is shown."""
    return drawn(page, "from"), drawn(page, "to")


def span(page: NotesPage) -> float:
    """Return how many seconds are shown."""
    return drawn(page, "to") - drawn(page, "from")


def near(seconds: float) -> object:
    """Return what compares equal to about so many seconds, as precisely as the view tells them."""
    return pytest.approx(seconds, abs=0.001)


def burst(page: NotesPage, size: int) -> None:
    """Send so many requests at once, and wait for their fate."""
    page.type("#burst-size", str(size))
    page.press("#burst")
    page.until(lambda: f"{size} requests, " in page.seen("#burst-result"), "the burst")


def test_a_burst_on_a_dead_token_is_fifty_lanes_and_one_band(page: NotesPage, server: Server) -> None:
    """Each request has its lane, the refresh its band; the server has all fifty, and says so beside it."""
    before = made(page)
    server.expire()
    burst(page, 50)
    page.script(f"document.querySelector('{VIEW}').scrollIntoView({{ block: 'center' }})")
    page.press("#timeline-all")
    page.until(lambda: said(page) == f"{before + 50} requests, 6 answered 401, 1 refresh, 0 failed.", "the summary")
    page.until(lambda: (drawn(page, "lanes"), drawn(page, "bands")) == (before + 50, 1), "fifty lanes and one band")
    assert page.script(PAINTED) > 10_000
    page.script("document.querySelector('#server-panel').scrollIntoView()")
    verdict = f"Of {before + 50} requests this page made: {before + 50} answered, 0 lost, 0 done twice."
    page.until(lambda: verdict in page.seen("#server-verdict"), verdict)
    page.open()
    page.script("document.querySelector('#server-panel').scrollIntoView()")
    page.until(lambda: page.seen("#server-requests") == str(made(page)) != "0", "the first request to be counted")


def test_what_the_server_never_answered_is_called_lost(page: NotesPage, server: Server) -> None:
    """Three of ten connections are dropped: three are lost; a fourth, for a note, is tried again and is not."""
    rule = server.fault(path="/api/data/*", kind="drop_before", times=3)
    burst(page, 10)
    server.fault(path="/api/notes/*", kind="drop_before", times=1)
    page.add_note("tried again")
    page.wait_for_note("tried again")
    page.script("document.querySelector('#server-panel').scrollIntoView()")
    page.until(lambda: "1 failed and tried again, 3 lost" in page.seen("#server-verdict"), "the verdict")
    assert page.seen("#server-lost") == "3"
    assert rule


def test_paused_it_does_not_move(page: NotesPage) -> None:
    """A note is saved meanwhile, and its lane is there when the person goes back to live."""
    page.press("#timeline-live")
    page.until(lambda: page.seen("#timeline-live") == "Go live", "the pause")
    before = view(page)
    page.add_note("not seen yet")
    page.wait_for_note("not seen yet")
    page.until(lambda: page.find("#timeline-live").get_attribute("data-news") == "true", "word that there is more")
    assert view(page) == before
    page.script(f"document.querySelector('{VIEW}').scrollIntoView({{ block: 'center' }})")
    page.press("#timeline-live")
    page.until(lambda: drawn(page, "to") > before[1], "the view to follow")
    assert page.find("#timeline-live").get_attribute("data-news") is None


def test_keys_wheel_and_mouse_move_it(page: NotesPage) -> None:
    """Zoomed in and out, moved, read, all of it shown, and back to live: by each way there is."""
    shown = page.find(VIEW)
    whole = span(page)
    shown.send_keys("+")
    page.until(lambda: span(page) == near(whole / 1.5), "zooming in by a key")
    shown.send_keys("-")
    page.until(lambda: span(page) == near(whole), "zooming out by a key")
    page.press("#timeline-in")
    page.until(lambda: span(page) == near(whole / 1.5), "zooming in by a button")
    page.press("#timeline-out")
    page.until(lambda: span(page) == near(whole), "zooming out by a button")
    start = drawn(page, "from")
    page.press("#timeline-later")
    page.until(lambda: drawn(page, "from") == near(start + whole / 5), "moving by a button")
    page.press("#timeline-earlier")
    page.until(lambda: drawn(page, "from") == near(start), "moving back by a button")
    shown.send_keys(Keys.ARROW_RIGHT)
    page.until(lambda: drawn(page, "from") == near(start + whole / 5), "moving by a key")
    shown.send_keys(Keys.ARROW_LEFT)
    page.until(lambda: drawn(page, "from") == near(start), "moving back")
    shown.send_keys(Keys.ARROW_DOWN)
    assert re.fullmatch(r"GET /api/\w+ · sent .+ · answered 200", page.seen("#timeline-readout"))
    wide = page.script("return arguments[0].clientWidth", shown)
    ActionChains(page.driver).drag_and_drop_by_offset(shown, wide // 10, 0).perform()
    page.until(lambda: drawn(page, "from") == pytest.approx(start - whole / 10, abs=whole / 100), "moving by hand")
    page.script("document.activeElement.blur()")
    turn_wheel(page)
    turn_wheel(page, ctrl=True)
    page.until(lambda: span(page) < whole * 0.95, "zooming by the wheel")
    shown.send_keys(Keys.HOME)
    page.until(lambda: drawn(page, "lanes") == made(page), "everything")
    shown.send_keys(Keys.END)
    page.until(lambda: page.seen("#timeline-live") == "Pause", "live")


def test_a_finger_scrolls_over_it_moves_it_sideways_and_reads(page: NotesPage) -> None:
    """Up and down is left to the browser, and the timeline goes on living; sideways it shows what was before.

    A request is read by a tap.
    """
    page.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    page.open()
    page.until(lambda: page.find("#timeline-panel").is_displayed(), "the timeline")
    page.script(f"document.querySelector('{VIEW}').scrollIntoView({{ block: 'center' }})")
    page.until(lambda: drawn(page, "lanes") == made(page) > 0 and "under way" not in said(page), "its first lanes")
    swipe(page, yDistance=-100)
    assert page.script(TAKEN_FROM_THE_BROWSER, page.find(VIEW)) == []
    assert page.seen("#timeline-live") == "Pause"
    page.press("#timeline-all")
    shown = view(page)
    swipe(page, xDistance=100)
    page.until(lambda: drawn(page, "from") < shown[0], "the timeline to move")
    assert span(page) == near(shown[1] - shown[0])
    burst(page, 50)
    page.script(f"document.querySelector('{VIEW}').scrollIntoView({{ block: 'center' }})")
    page.press("#timeline-all")
    page.until(lambda: drawn(page, "lanes") > 50, "the burst to be drawn")
    read = next(text for share in range(40) if (text := tapped(page, share / 40)))
    assert re.fullmatch(r"GET /api/\S+ · .+ · answered 200", read)


def test_the_legend_has_its_colours_where_a_person_has_chosen_theirs(page: NotesPage) -> None:
    """Forced colours would leave nothing of what is told by a background; what is drawn keeps the ink it is said to."""
    forced = {"features": [{"name": "forced-colors", "value": "active"}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", forced)
    colours = page.script("""
        return [...document.querySelectorAll(".swatch")].map((each) => {
            const { backgroundColor, backgroundImage } = getComputedStyle(each);
            return `${backgroundColor} ${backgroundImage}`;
        });
    """)
    assert len(colours) == len(set(colours)) == 9


def swipe(page: NotesPage, **distance: int) -> None:
    """Draw a finger over the middle of the timeline."""
    box = page.script(f"return document.querySelector('{VIEW}').getBoundingClientRect().toJSON()")
    start = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    gesture = {"gestureSourceType": "touch", "preventFling": True, **start, **distance}
    page.driver.execute_cdp_cmd("Input.synthesizeScrollGesture", gesture)


def tapped(page: NotesPage, share: float) -> str:
    """Tap the timeline at half of its height, so far from its left; return what is read then."""
    box = page.script(f"return document.querySelector('{VIEW}').getBoundingClientRect().toJSON()")
    place = {"x": box["x"] + share * box["width"], "y": box["y"] + box["height"] / 2}
    page.driver.execute_cdp_cmd("Input.synthesizeTapGesture", {"gestureSourceType": "touch", **place})
    return page.seen("#timeline-readout")


def turn_wheel(page: NotesPage, *, ctrl: bool = False) -> None:
    """Turn the wheel over the middle of the timeline, towards its details."""
    page.script(f"document.querySelector('{VIEW}').scrollIntoView({{ block: 'center' }})")
    box = page.script(f"return document.querySelector('{VIEW}').getBoundingClientRect().toJSON()")
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    turn = {"type": "mouseWheel", "deltaX": 0, "deltaY": -120, "modifiers": 2 if ctrl else 0, **place}
    page.driver.execute_cdp_cmd("Input.dispatchMouseEvent", turn)


def test_without_its_drawing_library_the_page_works(browser: Chromium, open_page: OpenPage) -> None:
    """A sentence stands in for the drawing, the counts are there, and notes are saved."""
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/vendor/d3/*"]})
    page = open_page().sign_in()
    page.until(lambda: page.find("#timeline-missing").is_displayed(), "the sentence")
    assert not page.find("#timeline-drawing").is_displayed()
    assert made(page) > 0
    page.add_note("all the same")
    page.wait_for_note("all the same")
