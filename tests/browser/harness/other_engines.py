"""Firefox and WebKitGTK, for the tests that every engine has to pass."""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.bidi.log import ConsoleLogEntry, JavascriptLogEntry
from selenium.webdriver.firefox.service import Service as FirefoxService
from selenium.webdriver.webkitgtk.options import Options as WebKitOptions
from selenium.webdriver.webkitgtk.service import Service as WebKitService

from tests.browser.harness.page import SCRIPT_TIMEOUT, Browser
from tools.browser import ENGINES

WEBKIT = {
    # Its sandbox needs user namespaces, which neither containers nor GitHub's runners give. Our own pages need none.
    "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
    # Its last compiler takes 10 to 20 s for Pyodide on two cores while Python waits; without it Python runs after 4.
    "JSC_useOMGJIT": "0",
}


class FreshBrowser(Browser):
    """A browser that is started anew for each test: that forgets everything, whatever the engine keeps where."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._driver: Any = None

    @property
    def driver(self) -> Any:
        """The engine's driver; the browser starts when it is first needed."""
        if self._driver is None:
            self._driver = self._start()
            self._driver.set_script_timeout(SCRIPT_TIMEOUT)
        return self._driver

    @abstractmethod
    def _start(self) -> Any: ...

    def forget(self, _origin: str) -> None:
        """End the browser, whose profile goes with it."""
        self.quit()

    def quit(self) -> None:
        """End the browser, if it runs."""
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.quit()


class Firefox(FreshBrowser):
    """Firefox, headless. What it writes to the console and what runs before a page go by WebDriver BiDi."""

    def _start(self) -> webdriver.Firefox:
        binary, driver = ENGINES["firefox"].programs()
        options = webdriver.FirefoxOptions()
        options.binary_location = binary
        options.add_argument("-headless")
        options.enable_bidi = True
        self._before: set[str] = set()
        self._lines: list[str] = []
        service = FirefoxService(driver, log_output=str(self.place / "geckodriver.log"))
        firefox = webdriver.Firefox(options=options, service=service)
        firefox.script.add_console_message_handler(self._note)
        firefox.script.add_javascript_error_handler(self._note)
        return firefox

    def _note(self, entry: ConsoleLogEntry | JavascriptLogEntry) -> None:
        self._lines.append(f"{entry.level} {entry.text}")

    def before_load(self, source: str) -> bool:
        """Run JavaScript in every window, at each load from now on."""
        script = self.driver.script
        if source not in self._before:
            script.add_preload_script(f"() => {{ {source} }}")
            self._before.add(source)
        return True

    def log(self) -> list[str]:
        """Take what the pages wrote to the console since the last call."""
        lines, self._lines = self._lines, []
        return lines


class WebKit(FreshBrowser):
    """WebKitGTK's own small browser. It needs a display: run the tests under ``xvfb-run -a dbus-run-session``.

    Neither what a page writes to the console nor anything that happens before a page is loaded can be had.
    """

    def _start(self) -> webdriver.WebKitGTK:
        binary, driver = ENGINES["webkit"].programs()
        options = WebKitOptions()
        options.binary_location = binary
        options.add_argument("--automation")
        log = str(self.place / "webkitdriver.log")
        service = WebKitService(driver, log_output=log, env={**os.environ, **WEBKIT})
        with warnings.catch_warnings():
            # Selenium warns of its own way to start this driver.
            warnings.simplefilter("ignore", DeprecationWarning)
            return webdriver.WebKitGTK(options=options, service=service)

    def before_load(self, _source: str) -> bool:
        """Do nothing: WebKitGTK's driver has no such command."""
        return False
