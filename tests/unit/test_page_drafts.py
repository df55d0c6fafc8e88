"""The page's drafts: texts on a shelf that anybody may have written to."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from page.drafts import Draft, Drafts, parse_draft


class Shelf:
    """A shelf that counts, can be full, and has what a page that is gone left."""

    def __init__(self, *left: tuple[str, str]) -> None:
        self.texts: dict[str, str] = {}
        self.left = list(left)
        self.writes = 0
        self.full = False

    def write(self, owner: str, text: str) -> bool:
        """Replace the text."""
        self.writes += 1
        if self.full:
            return False
        self.texts[owner] = text
        return True

    async def inherit(self, take: Callable[[str, str], bool]) -> None:
        """Hand over what was left."""
        self.left = [(owner, text) for owner, text in self.left if not take(owner, text)]


def reloaded(shelf: Shelf) -> Shelf:
    """Return the shelf of the page that comes after."""
    return Shelf(*((owner, text) for owner, text in shelf.texts.items() if text))


async def test_drafts_are_kept_for_each_person() -> None:
    """What one person kept is not what another one finds."""
    shelf = Shelf()
    drafts = Drafts(shelf)
    drafts.keep("ada", Draft(new="a", notes={"1": "one"}, deleted={"2": "two"}, origins={"1": ["v"]}))
    drafts.keep("grace", Draft(new="g"))
    again = Drafts(reloaded(shelf))
    await again.inherit()
    assert again.of("ada") == drafts.of("ada")
    assert again.of("grace") == Draft(new="g")
    assert again.of("nobody") == Draft()
    assert again.owners() == ["ada", "grace"]


def test_an_empty_draft_leaves_nothing_behind() -> None:
    """Once everything is saved, no text stays in the storage."""
    shelf = Shelf()
    drafts = Drafts(shelf)
    drafts.keep("ada", Draft(notes={"1": "one"}))
    drafts.keep("ada", Draft())
    assert shelf.texts == {"ada": ""}
    assert drafts.owners() == []


def test_the_same_draft_is_not_written_twice() -> None:
    """Storage is written when something changed."""
    shelf = Shelf()
    drafts = Drafts(shelf)
    drafts.keep("ada", Draft())
    drafts.keep("ada", Draft(new="a"))
    drafts.keep("ada", Draft(new="a"))
    assert shelf.writes == 1


def test_a_full_storage_is_told_and_tried_again() -> None:
    """What cannot be kept is still there for this page; whoever asked is told; as soon as there is room it is kept."""
    shelf, told = Shelf(), list[str]()
    drafts = Drafts(shelf)
    drafts.refused = lambda: told.append("refused")
    shelf.full = True
    drafts.keep("ada", Draft(new="a"))
    assert (drafts.of("ada").new, drafts.is_safe("ada"), told) == ("a", False, ["refused"])
    shelf.full = False
    drafts.keep("grace", Draft(new="g"))
    assert not drafts.is_safe("ada")
    drafts.keep("ada", Draft(new="a"))
    assert drafts.is_safe("ada")
    assert json.loads(shelf.texts["ada"])["new"] == "a"


async def test_what_several_pages_left_is_joined() -> None:
    """Two tabs closed with text in the box, with two texts of one note, and with a deletion of what was edited."""
    one = Draft(new="first", notes={"1": "one", "3": "edited"}, origins={"1": ["v1"]})
    two = Draft(new="second", notes={"1": "uno", "2": "two"}, deleted={"3": "old"}, origins={"1": ["v0"]})
    shelf = Shelf(*(("ada", json.dumps(each)) for each in (vars_of(one), vars_of(two))))
    drafts = Drafts(shelf)
    await drafts.inherit()
    found = drafts.of("ada")
    assert found.new == "first\n\nsecond"
    assert sorted(found.notes.values()) == ["edited", "one", "two", "uno"]
    assert found.deleted == {}
    assert found.origins == {"1": ["v1"]}  # what became a note of its own has never been at the server
    assert shelf.left == []


async def test_what_cannot_be_kept_again_is_left_where_it_is() -> None:
    """With a storage that is full nothing is taken away from it."""
    shelf = Shelf(("ada", json.dumps({"new": "a"})))
    shelf.full = True
    drafts = Drafts(shelf)
    await drafts.inherit()
    assert drafts.of("ada").new == "a"
    assert len(shelf.left) == 1


def vars_of(draft: Draft) -> dict[str, object]:
    """Return what is written of a draft."""
    return {"new": draft.new, "notes": draft.notes, "deleted": draft.deleted, "origins": draft.origins}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"x"', '{"new": 1, "notes": [], "deleted": {"1": 2}, "origins": {"1": 3}}', "[" * 9999],
)
def test_damaged_storage_is_no_draft(text: str) -> None:
    """Whatever is found there, the page starts."""
    assert not parse_draft(text)


def test_unsaved_counts_notes_and_deletions() -> None:
    """The half-written new note is not a note yet."""
    assert Draft(new="x", notes={"1": "a"}, deleted={"2": "b", "3": "c"}).unsaved == 3
