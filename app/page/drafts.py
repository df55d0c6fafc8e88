"""Drafts: what a person typed and the server does not have yet, kept for each person in this tab.

They survive a reload, and they wait while somebody else is signed in.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


class Shelf(Protocol):
    """Holds one text across reloads. May forget it, never raises."""

    def read(self) -> str:
        """Return the text; empty when there is none."""

    def write(self, text: str) -> None:
        """Replace the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One person's unsaved work."""

    new: str = ""
    """What is in the box for a new note."""
    notes: dict[str, str] = field(default_factory=dict)
    """Text by note id."""
    deleted: dict[str, str] = field(default_factory=dict)
    """The same, of notes that are to be deleted: the person may still change their mind."""

    def __bool__(self) -> bool:
        """Whether there is anything to keep."""
        return bool(self.new or self.notes or self.deleted)

    @property
    def unsaved(self) -> int:
        """How many notes there are in it."""
        return len(self.notes) + len(self.deleted)


class Drafts:
    """Everybody's drafts, as one JSON value on a shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._drafts = _parse(shelf.read())

    def of(self, subject: str) -> Draft:
        """Return one person's draft."""
        return self._drafts.get(subject, Draft())

    def keep(self, subject: str, draft: Draft) -> None:
        """Replace one person's draft."""
        if draft == self.of(subject):
            return
        self._drafts.pop(subject, None)
        if draft:
            self._drafts[subject] = draft
        self._shelf.write(json.dumps({name: asdict(each) for name, each in self._drafts.items()}))

    def owners(self) -> list[str]:
        """Tell who has unsaved work here, whoever came last at the end."""
        return list(self._drafts)


def _parse(text: str) -> dict[str, Draft]:
    """Read what a shelf held, leaving out whatever does not look like a draft."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    people = found.items() if isinstance(found, dict) else ()
    return {subject: draft for subject, value in people if (draft := _draft(value))}


def _draft(value: Any) -> Draft | None:
    if not isinstance(value, dict):
        return None
    new = value.get("new")
    return Draft(
        new=new if isinstance(new, str) else "",
        notes=_texts(value.get("notes")),
        deleted=_texts(value.get("deleted")),
    )


def _texts(value: Any) -> dict[str, str]:
    found = value.items() if isinstance(value, dict) else ()
    return {key: text for key, text in found if isinstance(text, str)}
