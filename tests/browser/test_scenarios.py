"""The scenario buttons in a real browser: pressed as a person would, and checked against the server's journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from selenium.webdriver.common.by import By

from mock_server.testing import Server
from tests.browser.fixtures import OpenPage
from tests.browser.harness.notes_page import NotesPage
from tests.browser.harness.scenes import now, over, played, press, ready, told

SECOND_CLICK = """
    const click = new MouseEvent("click", { bubbles: true, detail: 2 });
    document.querySelector("#scene-down button").dispatchEvent(click);
"""


@pytest.fixture
def page(open_page: OpenPage) -> NotesPage:
    """A window in which ada is signed in and nothing is broken so far."""
    page = open_page().sign_in()
    ready(page)
    page.type("#scene-seconds", "1")
    return page


def counted(server: Server, since: int, *, numbered_refreshes: bool = False) -> tuple[int, ...]:
    """Count in the journal what a proof should say; what came by the naive client numbers its refreshes."""
    entries = [entry for entry in server.journal(since=since) if not entry["path"].endswith(("/login", "/heartbeat"))]
    refreshes = [entry for entry in entries if entry["path"].endswith("/refresh")]
    own = [entry for entry in refreshes if bool(entry["requestId"]) is numbered_refreshes]
    asked: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        if entry["path"].startswith(("/api/data/", "/api/echo")):
            asked.setdefault(entry["requestId"], []).append(entry)
    lost = sum(all(entry["status"] != 200 for entry in each) for each in asked.values())
    doubled = sum(sum("echoed" in entry["effects"] for entry in each) > 1 for each in asked.values())
    return len(asked), len(own), lost, doubled


def last(server: Server) -> int:
    """Return the number of the journal's last entry."""
    entries = server.journal()
    return int(entries[-1]["number"]) if entries else 0


def agrees(server: Server, since: int, figures: tuple[int, ...]) -> bool:
    """Tell whether the server's journal says the same."""
    requests, refreshes, retries, lost, doubled = figures
    return counted(server, since) == (requests, refreshes + retries, lost, doubled)


def test_what_is_pressed_in_one_tab_is_survived(page: NotesPage, server: Server) -> None:
    """Expiry, a burst, an outage, a limit and a sleep: nothing lost, and all as it was before.

    The second half of a double click does not stop what the first has started.
    """
    before = server.settings()
    expected = {
        "expire": (10, 1, 0, 0, 0),
        "burst": (200, 1, 0, 0, 0),
        "limit": (20, 1, 1, 0, 0),
        "sleep": (20, 1, 0, 0, 0),
    }
    for name, figures in expected.items():
        since = last(server)
        found = played(page, name)
        assert found == figures, name
        if name != "sleep":  # its first refresh is a part of the preparation
            assert agrees(server, since, found), name
    since = last(server)
    press(page, "down")
    page.until(lambda: page.seen("#scene-down button") == "Stop", "it to run")
    page.script(SECOND_CLICK)
    requests, refreshes, retries, lost, doubled = told(page, "down")
    assert (requests, refreshes, lost, doubled) == (20, 1, 0, 0)
    assert retries >= 1
    assert agrees(server, since, (requests, refreshes, retries, lost, doubled))
    assert server.settings() == before
    assert server.faults() == []
    assert page.state == "signed-in"


def test_signed_out_for_good_a_person_signs_in_and_goes_on(page: NotesPage, server: Server) -> None:
    """The requests that could not be made are made afterwards, each once."""
    since = last(server)
    press(page, "revoke")
    page.until(lambda: page.find("#sign-in-dialog").is_displayed(), "the dialog")
    page.type("#password", "lovelace")
    page.press("#sign-in-button")
    assert told(page, "revoke")[0] == 10
    done = [entry for entry in server.journal(since=since) if entry["status"] == 200]
    paths = [entry["path"] for entry in done if entry["path"].startswith(("/api/data/", "/api/echo"))]
    assert sorted(Counter(paths).values()) == [1] * 8 + [2]  # the two are POSTs, and to one path
    assert sum(entry["effects"] == ["echoed"] for entry in done) == 2
    assert "nothing was lost" in page.seen("#scene-revoke .scene-verdict")


def test_a_second_tab_races_and_somebody_else_signs_in(page: NotesPage, server: Server) -> None:
    """Both in a real second tab, which is closed again; nothing is done in the other person's name."""
    since = last(server)
    found = played(page, "race")
    assert found == (80, 1, 0, 0, 0)
    assert agrees(server, since, found)
    since = last(server)
    played(page, "other")
    assert "20 withheld" in page.seen("#scene-other .scene-line")
    page.script("document.querySelector('#server-panel').scrollIntoView()")
    page.until(
        lambda: "20 withheld since their person was not signed in, 0 lost" in page.seen("#server-verdict"),
        "the verdict",
    )
    asked = [entry for entry in server.journal(path="/api/data/*", since=since) if entry["status"] == 200]
    assert asked
    assert {entry["user"] for entry in asked} == {"grace"}
    assert len(page.driver.window_handles) == 1
    page.until(lambda: page.seen("#who") == "ada", "ada to be signed in again")


def test_a_lost_answer_costs_freshfetch_a_retry_and_the_naive_client_its_session(
    page: NotesPage, server: Server
) -> None:
    """The same for both: an answer thrown away, then a dead token with the grace window closed."""
    page.press("label:has(#naive-too)")
    since = last(server)
    assert played(page, "lost") == (40, 2, 1, 0, 0)
    cells = page.driver.find_elements(By.CSS_SELECTOR, "#scene-lost .scene-table tbody tr")
    shown = {row.text.split(" ")[0]: row.text.split(" ")[-2:] for row in cells}
    assert shown["lost"][0] == "0"
    assert int(shown["lost"][1]) >= 20
    assert shown["retries"] == ["1", "0"]
    assert shown["signed"] == ["no", "yes"]
    naively = server.journal(path="/api/auth/refresh", since=since)
    assert any("reuse_detected" in entry["effects"] for entry in naively if entry["user"] == "grace")
    assert not any("reuse_detected" in entry["effects"] for entry in naively if entry["user"] == "ada")
    assert page.state == "signed-in"
    page.until(lambda: "A naive client: 40 requests" in page.seen("#timeline-summary"), "its lanes on the timeline")


def test_it_can_be_stopped_is_alone_and_leaves_nothing_behind(page: NotesPage, server: Server) -> None:
    """Stopped, signed out, or the page loaded again in the middle: no rule stays, and it is said how it ended."""
    page.type("#scene-seconds", "100")
    press(page, "down")
    page.until(lambda: "Everything answers 503" in now(page, "down"), "the outage")
    assert not page.find("#scene-expire button").is_enabled()
    press(page, "down")
    page.until(lambda: over(page, "down"), "the end")
    assert now(page, "down") == "Stopped. The server is as it was before."
    assert server.faults() == []
    press(page, "limit")
    page.until(server.faults, "a rule")
    page.open()
    page.until(lambda: server.faults() == [], "the next page to put it back")
    page.until(lambda: now(page, "limit").startswith("The page was left in the middle"), "word of it")
    press(page, "down")
    page.until(server.faults, "a rule")
    page.press("#sign-out")
    page.until(lambda: now(page, "down").startswith("You signed out in the middle"), "the end")
    page.until(lambda: over(page, "down") and server.faults() == [], "the buttons and the server to be free")
    press(page, "expire")
    page.until(lambda: now(page, "expire") == "Sign in first, then press again.", "what to do")


def test_somebody_else_who_signs_in_in_the_middle_ends_it(page: NotesPage, server: Server) -> None:
    """Where one was to sign in again: it does not wait for ever for who will not come."""
    press(page, "revoke")
    page.until(lambda: page.find("#sign-in-dialog").is_displayed(), "the dialog")
    page.sign_in("grace", "hopper")
    page.until(lambda: now(page, "revoke").startswith("grace signed in in the middle"), "the end")
    page.until(lambda: over(page, "revoke"), "the buttons to be free")


# A tab that goes says so, and is looked at now and then as well: each of the two has to be enough.
LOOKED_AT = "window.open = window.reallyOpen"
WITHOUT_A_WORD = "addEventListener('pagehide', (event) => event.stopImmediatePropagation(), true); "
NOT_LOOKED_AT = """window.open = (...where) => {
    const tab = window.reallyOpen(...where);
    return {closed: false, performance: {timeOrigin: 1}, close: () => tab.close()};
}"""


def test_a_second_tab_that_is_blocked_closed_or_left_ends_it(page: NotesPage, server: Server) -> None:
    """Each time in words of what to do, and with free buttons; the one that is still there is closed."""
    page.script("window.reallyOpen = window.open; window.open = () => null")
    press(page, "race")
    page.until(lambda: "Allow pop-ups" in now(page, "race"), "what to do")
    assert page.find("#scene-race button").is_enabled()
    server.fault(path="/api/data/*", kind="stall", seconds=60)
    for leave in ("close()", "setTimeout(() => location.assign('about:blank'))"):
        for opening, leaving in ((LOOKED_AT, WITHOUT_A_WORD), (NOT_LOOKED_AT, "")):
            page.script(opening)
            press(page, "race")
            page.until(lambda: now(page, "race").startswith("Both tabs"), "its middle")
            (second,) = set(page.driver.window_handles) - {page.handle}
            page.browser.driver.switch_to.window(second)
            page.browser.driver.execute_script(leaving + leave)
            page.browser.driver.switch_to.window(page.handle)
            page.until(lambda: over(page, "race"), f"the end after {leaving}{leave}")
            assert now(page, "race").startswith("The second tab was closed before it was over. Press again"), leave
            assert page.driver.window_handles == [page.handle]


def test_a_server_out_of_reach_is_said_and_put_back_later(page: NotesPage, server: Server) -> None:
    """At the start nothing is done; in the middle what could not be put back is put back at the next press."""
    before = server.settings()
    with page.blocked("*/mock/*"):
        for name in ("expire", "race"):
            press(page, name)
            page.until(partial(now, page, name), "word of it")
            page.until(partial(over, page, name), "its end")
            assert now(page, name).startswith("The server does not answer")
        assert len(page.driver.window_handles) == 1
    server.fault(path="/api/auth/refresh", kind="stall", seconds=60)
    press(page, "sleep")
    page.until(lambda: server.settings() != before, "short-lived tokens")
    with page.blocked("*/mock/*"):
        press(page, "sleep")
        page.until(lambda: "could not be put back" in now(page, "sleep"), "word of it")
    server.clear_faults()
    requests, _, _, lost, _ = played(page, "expire")
    assert (requests, lost) == (10, 0)
    assert server.settings() == before
