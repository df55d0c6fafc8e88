"""axe-core, run in a page as it stands. WebDriver brings the script, so that the page's policy has no say in it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from tests.browser.harness.notes_page import NotesPage

SOURCE = Path(__file__).resolve().parents[3] / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]
# Its rules for WCAG 2.2 run by themselves as little as those that are in doubt.
RUN = """
    return axe.run(document, {
        runOnly: {type: "tag", values: arguments[0]}, rules: {"target-size": {enabled: true}},
        resultTypes: ["violations"], elementRef: false,
    });
"""


@cache
def source() -> str:
    """Read axe-core, which `npm ci` brings (`make test` runs it)."""
    return SOURCE.read_text(encoding="utf-8")


def violations(page: NotesPage) -> list[str]:
    """Return what axe finds wrong, a line for each element."""
    if not page.script("return 'axe' in window"):
        page.script(source())
    found: list[dict[str, Any]] = page.script(RUN, TAGS)["violations"]
    return [f"{each['id']}: {node['target'][0]}: {node['failureSummary']}" for each in found for node in each["nodes"]]
