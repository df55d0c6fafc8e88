"""The page's drafts: one text on a shelf that anybody may have written to."""

from __future__ import annotations

import json

import pytest

from page.drafts import Draft, Drafts


class Shelf:
    """A shelf that counts."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.writes = 0

    def read(self) -> str:
        """Return the text."""
        return self.text

    def write(self, text: str) -> None:
        """Replace the text."""
        self.text = text
        self.writes += 1


def test_drafts_are_kept_for_each_person() -> None:
    """What one person kept is not what another one finds."""
    shelf = Shelf()
    drafts = Drafts(shelf)
    drafts.keep("ada", Draft(new="a", notes={"1": "one"}, deleted={"2": "two"}))
    drafts.keep("grace", Draft(new="g"))
    again = Drafts(shelf)
    assert again.of("ada") == Draft(new="a", notes={"1": "one"}, deleted={"2": "two"})
    assert again.of("grace") == Draft(new="g")
    assert again.of("nobody") == Draft()
    assert again.owners() == ["ada", "grace"]


def test_an_empty_draft_leaves_nothing_behind() -> None:
    """Once everything is saved, neither text nor name stays in the storage."""
    shelf = Shelf()
    drafts = Drafts(shelf)
    drafts.keep("ada", Draft(notes={"1": "one"}))
    drafts.keep("ada", Draft())
    assert json.loads(shelf.text) == {}
    assert drafts.owners() == []


def test_the_same_draft_is_not_written_twice() -> None:
    """Storage is written when something changed."""
    shelf = Shelf()
    drafts = Drafts(shelf)
    drafts.keep("ada", Draft())
    drafts.keep("ada", Draft(new="a"))
    drafts.keep("ada", Draft(new="a"))
    assert shelf.writes == 1


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"x"', '{"ada": 1}', '{"ada": {"new": 1, "notes": [], "deleted": {"1": 2}}}', "[" * 9999],
)
def test_damaged_storage_is_no_draft(text: str) -> None:
    """Whatever is found there, the page starts."""
    assert Drafts(Shelf(text)).owners() == []


def test_unsaved_counts_notes_and_deletions() -> None:
    """The half-written new note is not a note yet."""
    assert Draft(new="x", notes={"1": "a"}, deleted={"2": "b", "3": "c"}).unsaved == 3
