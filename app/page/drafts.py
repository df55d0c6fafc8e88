"""Drafts: what a person typed and the server does not have yet, kept for each person.

They survive a reload and the closing of the tab, and they wait while somebody else is signed in. Each page writes its
own, so that no page wipes out another's; what a page that is gone has left is taken over by the next.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from secrets import token_hex
from typing import Any, Protocol


class Shelf(Protocol):
    """Holds one text for each person, across reloads. May forget them, never raises."""

    def write(self, owner: str, text: str) -> bool:
        """Replace this page's text of one person, the empty one by nothing. False: it will not survive the page."""

    async def inherit(self, take: Callable[[str, str], bool]) -> None:
        """Hand over what pages that are gone have left: owner and text. What ``take`` refuses stays where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One person's unsaved work."""

    new: str = ""
    """What is in the box for a new note."""
    notes: dict[str, str] = field(default_factory=dict)
    """Text by note id."""
    deleted: dict[str, str] = field(default_factory=dict)
    """The same, of notes that are to be deleted: the person may still change their mind."""
    origins: dict[str, list[str]] = field(default_factory=dict)
    """By note id: the server's version that was changed, and digests of what was sent since without an answer."""

    def __bool__(self) -> bool:
        """Whether there is anything to keep."""
        return bool(self.new or self.notes or self.deleted)

    @property
    def unsaved(self) -> int:
        """How many notes there are in it."""
        return len(self.notes) + len(self.deleted)

    def joined(self, other: Draft) -> Draft:
        """Return both in one. Two texts of one note become two notes; a text is worth more than a deletion."""
        names = {each: self._name_for(each, text) for each, text in other.notes.items()}
        notes = self.notes | {names[each]: text for each, text in other.notes.items()}
        deleted = {each: text for each, text in (other.deleted | self.deleted).items() if each not in notes}
        # What became a note of its own was never at the server: it comes from no version there.
        origins = {each: origin for each, origin in other.origins.items() if names.get(each, each) == each}
        return Draft(
            new=joined_texts(self.new, other.new),
            notes=notes,
            deleted=deleted,
            origins={each: origin for each, origin in (origins | self.origins).items() if each in notes | deleted},
        )

    def _name_for(self, note_id: str, text: str) -> str:
        return note_id if self.notes.get(note_id, text) == text else token_hex(8)


class Drafts:
    """Everybody's drafts in this page, as one JSON value for each person on a shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._drafts: dict[str, Draft] = {}
        self._unsafe: set[str] = set()
        self.refused: Callable[[], None] = lambda: None
        """Called when something could not be kept."""

    def is_safe(self, subject: str) -> bool:
        """Tell whether all that there is of this person would survive the page."""
        return subject not in self._unsafe

    def of(self, subject: str) -> Draft:
        """Return one person's draft."""
        return self._drafts.get(subject, Draft())

    def keep(self, subject: str, draft: Draft) -> None:
        """Replace one person's draft."""
        if draft == self.of(subject) and self.is_safe(subject):
            return
        self._drafts.pop(subject, None)
        if draft:
            self._drafts[subject] = draft
        if self._shelf.write(subject, json.dumps(asdict(draft)) if draft else ""):
            self._unsafe.discard(subject)
        else:
            self._unsafe.add(subject)
            self.refused()

    def owners(self) -> list[str]:
        """Tell who has unsaved work here, whoever came last at the end."""
        return list(self._drafts)

    async def inherit(self, take: Callable[[str, Draft], bool] | None = None) -> None:
        """Take over what pages that are gone have left; ``take`` may say that now is not the time."""

        def take_text(owner: str, text: str) -> bool:
            draft = parse_draft(text)
            return not draft or (take or self.join)(owner, draft)

        await self._shelf.inherit(take_text)

    def join(self, owner: str, draft: Draft) -> bool:
        """Keep this too; False when it cannot be kept."""
        self.keep(owner, self.of(owner).joined(draft))
        return self.is_safe(owner)


def joined_texts(text: str, other: str) -> str:
    """Return one text after the other, with a line between; the same or nothing is not repeated."""
    if not other.strip() or other in text:
        return text
    return f"{text}\n\n{other}" if text.strip() else other


def parse_draft(text: str) -> Draft:
    """Read what a shelf held; whatever does not look like a draft is left out."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return Draft()
    if not isinstance(found, dict):
        return Draft()
    new, origins = found.get("new"), found.get("origins")
    draft = Draft(notes=_texts(found.get("notes")), deleted=_texts(found.get("deleted")))
    return replace(draft, new=new if isinstance(new, str) else "", origins=_origins(origins))


def _texts(value: Any) -> dict[str, str]:
    found = value.items() if isinstance(value, dict) else ()
    return {key: text for key, text in found if isinstance(text, str)}


def _origins(value: Any) -> dict[str, list[str]]:
    found = value.items() if isinstance(value, dict) else ()
    return {key: [str(each) for each in origin] for key, origin in found if isinstance(origin, list) and origin}
