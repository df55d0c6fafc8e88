"""The scenario buttons in a real browser: pressed as a person would, and checked against the server's journal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from selenium.webdriver.common.by import By

from mock_server.testing import Server
from tests.browser.fixtures import OpenPage
from tests.browser.harness.notes_page import NotesPage

FAIR = re.compile(r"(\d+) requests?, (\d+) refresh(?:es)?(?: and (\d+) retr\w+)?, (\d+) lost, (\d+) doubled")


@pytest.fixture
def page(open_page: OpenPage) -> NotesPage:
    """A window in which ada is signed in and nothing is broken so far."""
    page = open_page().sign_in()
    page.until(lambda: page.find("#scenarios").is_displayed(), "the scenarios")
    page.type("#scene-seconds", "1")
    return page


def press(page: NotesPage, name: str) -> None:
    """Press a scenario's button."""
    page.script(f"document.querySelector('#scene-{name}').scrollIntoView({{ block: 'center' }})")
    page.press(f"#scene-{name} button")


def now(page: NotesPage, name: str) -> str:
    """Return what a row says is going on."""
    return str(page.script(f"return document.querySelector('#scene-{name} .scene-now').textContent"))


def over(page: NotesPage, name: str) -> bool:
    """Tell whether a scenario has ended."""
    return page.find(f"#scene-{name}").get_attribute("data-running") == "false"


def played(page: NotesPage, name: str) -> tuple[int, ...]:
    """Press, wait, and return the figures of its proof: requests, refreshes, retries, lost, doubled."""
    press(page, name)
    return told(page, name)


def told(page: NotesPage, name: str) -> tuple[int, ...]:
    """Wait for the end of a scenario and return the figures of its proof."""
    page.until(lambda: over(page, name), f"the end of {name}")
    assert now(page, name) == ""
    found = FAIR.search(page.seen(f"#scene-{name} .scene-line"))
    assert found
    return tuple(int(each or 0) for each in found.groups())


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
    """Expiry, a burst, an outage, a limit and a sleep: nothing lost, and all as it was before."""
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
    requests, refreshes, retries, lost, doubled = played(page, "down")
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
    """Stopped, or the page closed in the middle: no rule stays. Signed out, it says what to do."""
    page.type("#scene-seconds", "100")
    press(page, "down")
    page.until(lambda: "The server is down" in now(page, "down"), "the outage")
    assert not page.find("#scene-expire button").is_enabled()
    press(page, "down")
    page.until(lambda: over(page, "down"), "the end")
    assert now(page, "down").startswith("Stopped")
    assert server.faults() == []
    press(page, "limit")
    page.until(server.faults, "a rule")
    page.open()
    page.until(lambda: server.faults() == [], "the next page to put it back")
    page.press("#sign-out")
    page.until(lambda: page.find("#sign-in-view").is_displayed(), "the form")
    press(page, "expire")
    page.until(lambda: now(page, "expire") == "Sign in first, then press again.", "what to do")
