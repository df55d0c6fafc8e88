"""What a test sees of a browser, whichever it is, and the pages in it that run a test's Python."""

from __future__ import annotations

import itertools
import json
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from selenium.common.exceptions import WebDriverException
from urllib3.exceptions import HTTPError

# Pyodide boots in two seconds, but in ten or more when the machine is busy. Selenium itself gives up after 120.
SCRIPT_TIMEOUT = 100.0
# How a browser or its driver that is no longer there makes itself felt.
GONE = (WebDriverException, HTTPError)


class Browser(ABC):
    """One browser with a profile of its own."""

    driver: Any
    """The engine's own driver; what it knows beyond WebDriver differs."""

    def open(self, url: str) -> Page:
        """Load the harness of the server at ``url`` in the current window and wait until Python runs."""
        page = Page(self, self.driver.current_window_handle, url)
        page.load()
        return page

    def open_window(self, url: str, kind: Literal["window", "tab"] = "window") -> Page:
        """Do the same in a new window. A new tab instead hides the window's current one from the person."""
        self.driver.switch_to.new_window(kind)
        return self.open(url)

    @abstractmethod
    def before_load(self, source: str) -> bool:
        """Run JavaScript before anything of a page, at each load from now on; False if the engine has no such thing."""

    @abstractmethod
    def forget(self, origin: str) -> None:
        """Close every page and forget what the origin has stored, so that the next test starts clean."""

    def log(self) -> list[str]:
        """Take what the pages wrote to the console since the last call, where the engine tells."""
        return []

    def refused_by_policy(self) -> list[str]:
        """Return what the engine says that a page's Content-Security-Policy refused, in any window of this test."""
        return []

    @abstractmethod
    def quit(self) -> None:
        """End the browser."""


class Page:
    """A window in which Python runs. Its names live from one call to the next, until it is loaded again."""

    def __init__(self, browser: Browser, handle: str, url: str) -> None:
        self.browser = browser
        self.handle = handle
        self.url = url
        self._numbers = itertools.count(1)

    def load(self) -> None:
        """Load the page, again if it is there, and wait until Python runs."""
        self.focus().get(f"{self.url}/harness/")
        try:
            self.script("return window.harness.booted")
        except WebDriverException as error:
            raise AssertionError("\n".join(["the harness did not boot", str(error.msg), *self.browser.log()])) from None

    def run(self, code: str, **variables: object) -> Any:
        """Run Python, in which ``await`` is allowed, and return what its last expression gave.

        ``variables`` are its names to start with. They and the result travel as JSON. An exception is an
        AssertionError with the traceback.
        """
        return self.start(code, **variables).result()

    def start(self, code: str, **variables: object) -> Running:
        """Start Python without waiting for it."""
        return self._start("start", code, variables)

    def start_on_signal(self, code: str, **variables: object) -> Running:
        """Make Python start when ``send_signal`` is called in any page of the same origin."""
        return self._start("startOnSignal", code, variables)

    def send_signal(self) -> None:
        """Start what waits for the signal."""
        self.script("window.harness.sendSignal()")

    def script(self, source: str, *arguments: object) -> Any:
        """Run JavaScript; a promise that it returns is awaited."""
        return self.focus().execute_script(source, *arguments)

    def focus(self) -> Any:
        """Bring the window to the front, with the driver pointing at it."""
        self.browser.driver.switch_to.window(self.handle)
        return self.browser.driver

    def close(self) -> None:
        """Close the window, as a person would."""
        self.focus().close()

    def _start(self, function: str, code: str, variables: dict[str, object]) -> Running:
        number = next(self._numbers)
        self.script(f"window.harness.{function}(...arguments)", number, textwrap.dedent(code), variables)
        return Running(page=self, number=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Python that was started in a page."""

    page: Page
    number: int

    def result(self) -> Any:
        """Wait for it, and return what its last expression gave."""
        answer = json.loads(self.page.script("return window.harness.result(arguments[0])", self.number))
        if "error" in answer:
            raise AssertionError(f"in the page:\n{answer['error']}")
        return answer["value"]


def run_together(calls: Sequence[tuple[Page, str]], **variables: object) -> list[Any]:
    """Run Python in several pages of one browser, started at the same moment; the results in the same order."""
    started = [page.start_on_signal(code, **variables) for page, code in calls]
    calls[-1][0].send_signal()
    return [running.result() for running in started]
