"""The page that is one file, by double click, in every engine: what differs is what each keeps for a file."""

from __future__ import annotations

import pytest

from tests.browser.fixtures import BROWSER
from tests.browser.harness.notes_page import NotesPage
from tests.browser.harness.page import Browser


def test_the_file_runs_refreshes_and_remembers(
    module_browser: Browser, single_file: str, request: pytest.FixtureRequest
) -> None:
    """Sign in, a note on a dead token after one refresh; a reload asks for nothing, and the note is there."""
    module_browser.forget(single_file)
    request.node.stash[BROWSER] = module_browser
    page = NotesPage(module_browser, single_file).open().sign_in()
    page.press("#expire-token")
    page.until(lambda: "dead" in page.seen("#control-result"), "the result")
    page.add_note("by double click")
    page.wait_for_note("by double click")
    assert page.events("RefreshSucceeded") == 1
    page.open().wait_for_note("by double click")
    assert page.seen("#who") == "ada"
    assert page.violations() == []
