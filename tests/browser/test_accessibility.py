"""The page for everybody: what axe-core finds, and what it cannot see."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mock_server.testing import Server
from tests.browser.harness import axe
from tests.browser.harness.chromium import Chromium
from tests.browser.harness.looks import each_look
from tests.browser.harness.notes_page import NotesPage
from tests.browser.harness.walks import ALL


@pytest.mark.parametrize("walk", ALL)
def test_axe_finds_nothing_in_any_state(
    browser: Chromium, server: Server, walk: Callable[[NotesPage, Server], Iterator[str]]
) -> None:
    """In every state, wide and narrow, light and dark: no violation of WCAG 2.2 A and AA, nor of best practice."""
    page = NotesPage(browser, server.url + "/")
    found = {f"{state} {look}": axe.violations(page) for state in walk(page, server) for look in each_look(page)}
    assert {where: what for where, what in found.items() if what} == {}
