"""What tests of faults in a browser are given: tabs that are watched from outside, and the invariants at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from mock_server.testing import Server
from tests.browser.harness.chromium import Chromium
from tests.browser.harness.tab import Tab
from tests.faults.browser.evidence import KEY, REFRESH, gather
from tests.faults.invariants import check_all

SESSION = """
    import asyncio, json
    import freshfetch, js
    from tests.browser.inpage.witness import ask, connect, outcome, sign_in, sign_out, until

    session = connect({settings})
    await session.__aenter__()
    None
"""


class Tabs:
    """The tabs of one test, each in a window and a process of its own, in which Python runs."""

    def __init__(self, browser: Chromium, server: Server) -> None:
        self.browser = browser
        self.server = server
        self.home = browser.driver.current_window_handle
        """A window that outlives what happens to the others: the driver loses its footing with a tab that crashed."""
        self.all: list[Tab] = []
        self.stolen: list[float] = []
        """When a thief used a refresh token."""

    def use(self, browser: Chromium) -> None:
        """Open tabs in another browser from now on."""
        self.browser, self.home = browser, browser.driver.current_window_handle

    def blank(self) -> Tab:
        """Open a window that is watched, with nothing in it."""
        self.browser.driver.switch_to.window(self.home)
        self.browser.driver.switch_to.new_window("window")
        tab = Tab(self.browser, self.browser.driver.current_window_handle, self.server.url)
        self.all.append(tab)
        return tab

    def open(self, *, settings: str = "", before: str = "") -> Tab:
        """Open a tab with a session in it. ``before`` is JavaScript that runs before anything of the page."""
        tab = self.blank()
        if before:
            tab.before_load(before)
        tab.load()
        return self.enter(tab, settings)

    def enter(self, tab: Tab, settings: str = "") -> Tab:
        """Make a session in a page, and enter it."""
        tab.run(SESSION.format(settings=settings))
        return tab

    def signed_in(self, number: int, *, settings: str = "") -> list[Tab]:
        """Open some tabs with a session each, ada signed in."""
        tabs = [self.open(settings=settings) for _ in range(number)]
        tabs[0].run("await sign_in(session)")
        for tab in tabs[1:]:
            tab.run("await until(lambda: session.state is freshfetch.State.SIGNED_IN)")
        return tabs

    def close(self) -> None:
        """Hang up, and clear away what crashed, with which the driver could do nothing more."""
        driver = self.browser.driver
        driver.switch_to.window(self.home)
        for tab in self.all:
            tab.wire.close()
            if tab.handle in driver.window_handles and tab.testimony.killed is not None:
                driver.execute_cdp_cmd("Target.closeTarget", {"targetId": tab.handle})


def stored(tab: Tab) -> dict[str, Any] | None:
    """Return the session record in localStorage."""
    text = tab.script("return localStorage.getItem(arguments[0])", KEY)
    record: dict[str, Any] | None = json.loads(text) if text else None
    return record


def works_in_memory(tab: Tab, server: Server) -> None:
    """Check that a session without storage says so, and signs in, refreshes and signs out."""
    assert "refuse" in tab.run("session.snapshot().storage_problem")
    tab.run("await sign_in(session)")
    server.expire()
    assert tab.run("await outcome(ask(session, '/api/data'))") == 200
    refreshes = [entry for entry in server.journal(REFRESH) if entry["method"] == "POST"]
    assert [entry["effects"] for entry in refreshes] == [["refreshed"]]
    assert "refuse" in tab.run("session.snapshot().storage_problem")
    tab.run("await sign_out(session)")
    assert tab.run("session.state.name") == "SIGNED_OUT"


@pytest.fixture
def tabs(browser: Chromium, server: Server) -> Iterator[Tabs]:
    """Give tabs on a strict server: rotation, no grace. Afterwards check I1 to I10."""
    server.settings(grace=0)
    tabs = Tabs(browser, server)
    yield tabs
    evidence = gather(tabs.all, server.journal(), stolen=tabs.stolen, allowed_origins=[server.url])
    tabs.close()
    check_all(evidence)
