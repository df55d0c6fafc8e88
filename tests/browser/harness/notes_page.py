"""The page as a person meets it: what can be read, typed and pressed. Waits for what it looks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.harness.page import Browser

PATIENCE = 60
Value = TypeVar("Value")

# Runs before anything of the page: remembers every token that is stored, every word between tabs, and, also over a
# reload, what the page's policy refused.
WIRETAP = """
    window.tapped = {tokens: [], words: []};
    addEventListener("securitypolicyviolation", (event) => {
        const {effectiveDirective, blockedURI, sourceFile, lineNumber, sample} = event;
        const before = sessionStorage.getItem("test.violations") ?? "";
        const after = `${before}${[effectiveDirective, blockedURI, sourceFile, lineNumber, sample].join(" ")}\\n`;
        sessionStorage.setItem("test.violations", after);
    }, true);
    const setItem = Storage.prototype.setItem;
    Storage.prototype.setItem = function (key, value) {
        const found = String(value).matchAll(/"(?:access|refresh)_token":"([^"]+)"/g);
        for (const match of found) window.tapped.tokens.push(match[1]);
        return setItem.call(this, key, value);
    };
    const postMessage = BroadcastChannel.prototype.postMessage;
    BroadcastChannel.prototype.postMessage = function (message) {
        window.tapped.words.push(JSON.stringify(message));
        return postMessage.call(this, message);
    };
"""
HOW_FAR = """
    const [step, bar, failed] = ["boot-step", "boot-progress", "boot-failed"].map((id) => document.getElementById(id));
    const seconds = (entry) => [entry.startTime, entry.responseEnd].map((time) => (time / 1000).toFixed(1)).join("-");
    const files = performance.getEntriesByType("resource").slice(-3).map((entry) => `${seconds(entry)} ${entry.name}`);
    const said = failed?.hidden ? "not said to have failed" : "said to have failed";
    return [`"${step?.textContent}"`, `${bar?.value} %`, said, document.readyState, document.visibilityState,
            `${(performance.now() / 1000).toFixed(1)} s`, ...files].join("\\n");
"""
EVERYTHING_SHOWN = """
    const fields = [...document.querySelectorAll("input, textarea")].map((field) => field.value);
    const urls = performance.getEntriesByType("resource").map((entry) => entry.name);
    const keys = [...Object.keys(localStorage), ...Object.keys(sessionStorage)];
    const kept = Object.keys(sessionStorage).map((key) => sessionStorage[key]);
    return [document.documentElement.outerHTML, document.title, location.href, ...fields, ...urls, ...keys, ...kept,
            ...window.tapped.words].join("\\n");
"""


class NotesPage:
    """One window with the page in it."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.browser = browser
        self.url = url
        self.handle = browser.driver.current_window_handle
        self._tapped_early = browser.before_load(WIRETAP)

    @property
    def driver(self) -> Any:
        """The driver, pointing at this window; what it knows beyond WebDriver depends on the engine."""
        if self.browser.driver.current_window_handle != self.handle:
            self.browser.driver.switch_to.window(self.handle)
        return self.browser.driver

    def open(self) -> NotesPage:
        """Load the page, again if it is there, and wait until Python runs in it."""
        self.driver.get(self.url)
        return self.ready()

    def ready(self) -> NotesPage:
        """Wait until Python runs."""
        if not self._tapped_early:
            self.script(WIRETAP)
        try:
            self.until(lambda: self.script("return document.documentElement.dataset.ready === 'true'"), "the start")
        except TimeoutException:
            raise AssertionError(f"the page did not start: {self.script(HOW_FAR)}") from None
        return self

    def until(self, condition: Callable[[], Value], what: str) -> Value:
        """Wait until ``condition`` holds."""
        wait = WebDriverWait(self.driver, PATIENCE, 0.05, ignored_exceptions=[StaleElementReferenceException])
        return wait.until(lambda _: condition(), f"waited in vain for {what}")

    def script(self, source: str, *arguments: object) -> Any:
        """Run JavaScript."""
        return self.driver.execute_script(source, *arguments)

    def find(self, selector: str) -> WebElement:
        """Return the element, waiting for it."""
        found: list[WebElement] = self.until(lambda: self.driver.find_elements(By.CSS_SELECTOR, selector), selector)
        return found[0]

    def seen(self, selector: str) -> str:
        """Return the text a person sees there."""
        return self.find(selector).text

    def press(self, selector: str) -> None:
        """Press a button, when it can be pressed."""
        self.until(lambda: self.find(selector).is_displayed() and self.find(selector).is_enabled(), selector)
        self.find(selector).click()

    def type(self, selector: str, text: str) -> None:
        """Type into a field, in place of what is there."""
        self.until(lambda: self.find(selector).is_displayed(), selector)
        self.find(selector).clear()
        self.find(selector).send_keys(text)

    # -- what a person does --

    def sign_in(self, username: str = "ada", password: str = "lovelace") -> NotesPage:
        """Fill in the form that is shown, and wait for that person's notes."""
        self.type("#username", username)
        self.type("#password", password)
        self.press("#sign-in-button")
        self.until(lambda: self.seen("#who") == username, f"{username} to be signed in")
        self.until(lambda: self.state == "signed-in", "the session")
        return self

    def add_note(self, text: str) -> None:
        """Write a new note and add it."""
        self.type("#note-text", text)
        self.press("#add-note")

    # -- what a person sees --

    @property
    def state(self) -> str:
        """The session's state as shown."""
        return str(self.find("#session-state").get_attribute("data-state"))

    def notes(self) -> dict[str, str]:
        """Return the notes shown: text and state of saving."""
        return dict(
            self.script(
                "return [...document.querySelectorAll('#notes > li')].filter((row) => row.checkVisibility())"
                ".map((row) => [row.querySelector('textarea').value, row.dataset.state])"
            )
        )

    def wait_for_note(self, text: str, state: str = "saved") -> None:
        """Wait until a note is shown with a state of saving."""
        self.until(lambda: self.notes().get(text) == state, f"{text!r} to be {state}")

    def events(self, name: str) -> int:
        """Count the events of one kind in the list."""
        return len(self.driver.find_elements(By.CSS_SELECTOR, f"#events li[data-event={name}]"))

    def tokens(self) -> set[str]:
        """Return the tokens that this window stored since it was loaded, and those that are stored now."""
        record = stored(self) or {}
        now = {record[name] for name in ("access_token", "refresh_token") if record.get(name)}
        return now | set(self.script("return window.tapped.tokens"))

    @contextmanager
    def blocked(self, pattern: str) -> Iterator[None]:
        """Let some of its requests fail, like those for a file that is not there. Chromium only."""
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": [pattern]})
        yield
        self.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})

    def violations(self) -> list[str]:
        """Return what the page's policy refused in this window."""
        return str(self.script("return sessionStorage.getItem('test.violations') ?? ''")).splitlines()

    def shown(self) -> str:
        """Return everything in which a person, another tab or a server of somebody else's could read a token."""
        return str(self.script(EVERYTHING_SHOWN))


def stored(page: NotesPage) -> dict[str, Any] | None:
    """Return the session record in localStorage."""
    text = page.script("return localStorage.getItem('freshfetch:default')")
    return json.loads(text) if text else None
