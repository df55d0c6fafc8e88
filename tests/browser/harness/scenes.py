"""The scenario buttons of the page: pressed, waited for, and the figures of their proof read."""

from __future__ import annotations

import re

from tests.browser.harness.notes_page import NotesPage

FAIR = re.compile(r"(\d+) requests?, (\d+) refresh(?:es)?(?: and (\d+) retr\w+)?, (\d+) lost, (\d+) doubled")


def ready(page: NotesPage) -> None:
    """Wait until scenarios can be played."""
    page.until(lambda: page.script("return !document.querySelector('#scenarios').inert"), "the scenarios")


def press(page: NotesPage, name: str) -> None:
    """Press a scenario's button."""
    ready(page)
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
