"""Notes: the one thing a user can change at the server, so that lost and doubled requests become visible.

Each user has a namespace of their own. A client may choose a note's id, which makes repeating a request harmless.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mock_server.wire import plain

LONGEST_TEXT = 10_000
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text with an id; instants in seconds since the epoch."""

    id: str
    text: str
    created_at: float
    updated_at: float

    def to_json(self) -> dict[str, object]:
        """Show the note as the API does."""
        return {
            "id": self.id,
            "text": self.text,
            "version": self.version,
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
        }

    @property
    def version(self) -> str:
        """Names this text: what it would be wrong to replace unseen is another text."""
        return hashlib.sha256(self.text.encode(errors="surrogatepass")).hexdigest()[:16]


class Notes:
    """Everybody's notes, in the order in which they were created."""

    def __init__(self) -> None:
        self.by_user: dict[str, dict[str, Note]] = {}

    def dump(self) -> dict[str, object]:
        """Return all of it as plain values."""
        return {user: [plain(note) for note in own.values()] for user, own in self.by_user.items()}

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Notes:
        """Make it again from what `dump` returned."""
        notes = cls()
        notes.by_user = {user: {item["id"]: Note(**item) for item in own} for user, own in data.items()}
        return notes

    def of(self, user: str) -> list[Note]:
        """List one user's notes."""
        return list(self.by_user.get(user, {}).values())

    def find(self, user: str, note_id: str) -> Note | None:
        """Return the note, if there is one."""
        return self.by_user.get(user, {}).get(note_id)

    def put(self, user: str, note_id: str, text: str, *, now: float) -> tuple[Note, bool]:
        """Create the note or update it; return it, and whether it is new."""
        own = self.by_user.setdefault(user, {})
        old = own.get(note_id)
        own[note_id] = Note(id=note_id, text=text, created_at=old.created_at if old else now, updated_at=now)
        return own[note_id], old is None

    def delete(self, user: str, note_id: str) -> bool:
        """Delete the note; return False when there was none."""
        return self.by_user.get(user, {}).pop(note_id, None) is not None


def is_note_id(value: str) -> bool:
    """Tell whether a client may choose this id."""
    return _ID.fullmatch(value) is not None
