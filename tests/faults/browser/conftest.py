"""What tests of faults in a browser are given: tabs that are watched from outside, and the ten invariants at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mock_server.testing import Server
from tests.browser.harness.chromium import Chromium
from tests.browser.harness.tab import Tab
from tests.faults.browser.evidence import gather
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
        self.all: list[Tab] = []

    def blank(self) -> Tab:
        """Open a window that is watched, with nothing in it."""
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
        tab.run(SESSION.format(settings=settings))
        return tab

    def signed_in(self, number: int, *, settings: str = "") -> list[Tab]:
        """Open some tabs with a session each, ada signed in."""
        tabs = [self.open(settings=settings) for _ in range(number)]
        tabs[0].run("await sign_in(session)")
        for tab in tabs[1:]:
            tab.run("await until(lambda: session.state is freshfetch.State.SIGNED_IN)")
        return tabs


@pytest.fixture
def tabs(browser: Chromium, server: Server) -> Iterator[Tabs]:
    """Give tabs on a strict server: rotation, no grace. Afterwards check I1 to I10."""
    server.settings(grace=0)
    tabs = Tabs(browser, server)
    yield tabs
    evidence = gather(tabs.all, server.journal(), allowed_origins=[server.url])
    for tab in tabs.all:
        tab.wire.close()
    check_all(evidence)
