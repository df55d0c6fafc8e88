"""What the documents say of the repository is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from freshfetch import RetryPolicy

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "bench" / "README.md",
        ROOT / "mock_server" / "README.md",
    ]
)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def named(path: Path) -> str:
    """Return a document's place in the repository."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_no_link_leads_nowhere(document: Path) -> None:
    """Every relative link of a document leads to a file or folder there is."""
    links = LINK.findall(document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_readme_shows_the_retry_policy_there_is() -> None:
    """Its example of settings spells out the defaults."""
    shown = re.search(r"RetryPolicy\(windows=(\(.+\)), refresh_timeout=([\d.]+)\)", (ROOT / "README.md").read_text())
    assert shown
    windows = tuple((float(low), float(high)) for low, high in re.findall(r"\(([\d.]+), ([\d.]+)\)", shown[1]))
    assert (windows, float(shown[2])) == (RetryPolicy().windows, RetryPolicy().refresh_timeout)
