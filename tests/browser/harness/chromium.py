"""A real, headless Chromium."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.browser.harness.page import GONE, SCRIPT_TIMEOUT, Browser, Page, Running, run_together
from tools.browser import ENGINES

# A test that needs Chromium finds all that it needs here.
__all__ = ["GONE", "SCRIPT_TIMEOUT", "Chromium", "Page", "Running", "run_together"]

REFUSED_BY_POLICY = ("Content Security Policy", "requires 'Trusted")
UNSEEN = "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup,PreloadTopChromeWebUI"
"""Windows of the browser's own that nobody sees here, drawn anew for each address that a page goes to.

They took between a fifth and a half of the machine from the tests.
"""
NOTHING_KEPT = {"profile.default_content_setting_values.cookies": 2}
"""What a person chooses who does not let pages keep anything."""
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    UNSEEN,
    # Chromium 156 crashes now and then when its garbage collector scans the stack while Python runs on one of its own
    # (JSPI): "tab crashed", about once in two hundred pages. So Python has none, here and in the page; what still has
    # one has room to grow, and collects less in the middle of work.
    "--js-flags=--initial-heap-size=512",
)


class Chromium(Browser):
    """One browser with a profile of its own, a new folder below ``profiles``.

    ``flags`` are further ones of the command line, ``preferences`` what a person can set. ``network`` has it write down
    what is asked for.
    """

    driver: webdriver.Chrome

    def __init__(
        self,
        profiles: Path,
        *,
        flags: Sequence[str] = (),
        preferences: Mapping[str, object] | None = None,
        network: bool = False,
    ) -> None:
        self.profiles = profiles
        self.flags = flags
        self.preferences = preferences
        self.logged = {"browser": "ALL", "performance": "ALL"} if network else {"browser": "ALL"}
        self.written: list[str] = []
        self.driver = self._start()

    def _start(self) -> webdriver.Chrome:
        binary, program = ENGINES["chromium"].programs()
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        options.set_capability("goog:loggingPrefs", self.logged)
        if self.preferences is not None:
            options.add_experimental_option("prefs", dict(self.preferences))
        for flag in (*FLAGS, *self.flags, f"--user-data-dir={tempfile.mkdtemp(dir=self.profiles)}", *root_flags()):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(program))
        driver.set_script_timeout(SCRIPT_TIMEOUT)
        return driver

    @property
    def address(self) -> str:
        """Where its DevTools listen."""
        return str(self.driver.capabilities["goog:chromeOptions"]["debuggerAddress"])

    def before_load(self, source: str) -> bool:
        """Run JavaScript in the current window, at each load from now on."""
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
        return True

    def log(self) -> list[str]:
        """Take what the pages wrote to the console since the last call."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        lines = [f"{entry['level']} {entry['message']}" for entry in entries]
        self.written += lines
        return lines

    def asked(self, document: str) -> list[str]:
        """Take the URLs that a document has asked for since the last call, its own among them."""
        entries = self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        events = [json.loads(entry["message"])["message"] for entry in entries]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent if each["documentURL"] == document]

    def refused_by_policy(self) -> list[str]:
        """Return what the console says that a page's Content-Security-Policy refused, in any window of this test."""
        self.log()
        return [line for line in self.written if any(words in line for words in REFUSED_BY_POLICY)]

    def forget(self, origin: str) -> None:
        """Close every page and forget what the origin has stored, so that the next test starts clean."""
        try:
            self._close_pages()
        except GONE:
            # A test may have closed the last window, or crashed one.
            self.quit()
            self.driver = self._start()
        self.driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        self.log()
        self.written.clear()

    def _close_pages(self) -> None:
        # All of them: a page that is still there could write again what is about to be removed.
        self.driver.switch_to.new_window("window")
        blank = self.driver.current_window_handle
        for handle in self.driver.window_handles:
            if handle != blank:
                self.driver.switch_to.window(handle)
                self.driver.close()
        self.driver.switch_to.window(blank)

    def quit(self) -> None:
        """End the browser."""
        self.driver.quit()


def root_flags() -> list[str]:
    """Return what this user has to add to the command line."""
    # Chromium's sandbox refuses to start as root, which is who runs CI in a container.
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
