"""A real browser and a real mock server for the benches that need them: those of the browser tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mock_server.remote import Server
from tests.browser.harness.chromium import Chromium, Page
from tests.browser.harness.site import HARNESS, write_site
from tests.browser.harness.tab import Tab

LONGEST_LOOK = 60
"""Seconds a page is asked for at a time: Selenium gives up a little later."""


@contextmanager
def running() -> Iterator[tuple[Chromium, Server]]:
    """Give a browser and a server for a while."""
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        site = write_site(folder / "site.zip")
        server = cleanup.enter_context(Server(f"--mount=harness={HARNESS}", f"--mount=site.zip={site}"))
        browser = Chromium(folder)
        cleanup.callback(browser.quit)
        yield browser, server


def open_tab(browser: Chromium, url: str) -> Tab:
    """Open a window that can be frozen and killed, and wait until Python runs in it."""
    browser.driver.switch_to.new_window("window")
    tab = Tab(browser, browser.driver.current_window_handle, url)
    tab.load()
    return tab


def outcome(page: Page, call: str) -> Any:
    """Await a call in the page, for longer than Selenium waits for one."""
    page.run(f"import asyncio; under_way = asyncio.ensure_future({call})")
    while not page.run(f"bool((await asyncio.wait([under_way], timeout={LONGEST_LOOK}))[0])"):
        pass
    return page.run("under_way.result()")
