"""Note: one note as the person wants it, what the server is known to have, and what may be done when they differ."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import Any, NamedTuple

from freshfetch import FreshfetchError

MOST_SENT = 20
"""Texts without an answer that are remembered."""


class SaveState(Enum):
    """How far a note is on its way to the server."""

    SAVED = "saved"
    EDITED = "edited"
    SAVING = "saving"
    WAITING = "waiting"
    """For the server."""
    SIGN_IN = "sign-in"
    """For its owner to sign in."""
    FAILED = "failed"
    """Only the person can help: ``Note.error`` says why."""
    EMPTY = "empty"
    """Its text was taken away; that is no reason to lose the old one."""


class Remark(Enum):
    """What the person should know about a note that was changed in two places at the same time."""

    COPY = "copy"
    """The other version is a note of its own, and so is this."""
    RESTORED = "restored"
    """It was changed elsewhere while it was deleted here."""
    KEPT = "kept"
    """It was deleted elsewhere while it was changed here."""


class Found(NamedTuple):
    """A note as the server has it. The version is empty at a server that has none."""

    text: str
    created_at: float
    version: str


@dataclass(slots=True, kw_only=True, eq=False)
class Note:
    """A note as the person wants it, and what the server is known to have."""

    id: str
    number: int
    """Notes that the server has not dated yet are in this order."""
    text: str
    deleted: bool = False
    saved: str | None = None
    """What the server has; None for nothing."""
    version: str = ""
    """Names that text at the server: nothing else is replaced."""
    sent: list[str] = field(default_factory=list)
    """Digests of what was sent since without an answer: at the server it is nobody else's."""
    certain: bool = True
    """Whether that is known: an answer may have been lost."""
    created_at: float = float("inf")
    state: SaveState = SaveState.EDITED
    error: FreshfetchError | None = None
    remark: Remark | None = None
    touched: int = 0
    """When it was last changed here, or saved: a list asked for before that knows nothing of it."""
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def unsaved(self) -> bool:
        """Whether the server has, or may have, something else."""
        return not self.certain or (self.saved is not None if self.deleted else self.text != self.saved)

    @property
    def blank(self) -> bool:
        """Whether there is nothing in it to save."""
        return not self.deleted and not self.text.strip()

    @property
    def origin(self) -> list[str]:
        """What a later page has to know to tell this page's texts at the server from another's."""
        return [self.version, *self.sent] if self.version or self.sent else []

    def sending(self, text: str) -> None:
        """Note that this may become the server's from now on."""
        self.certain = False
        self.sent = [*(each for each in self.sent if each != digest(text)), digest(text)][-MOST_SENT:]

    def settle(self, saved: str | None, version: str) -> None:
        """Note what the server has for certain."""
        self.saved, self.version, self.certain, self.sent = saved, version, True, []

    def take(self, found: Found) -> None:
        """Take in what the server has; what the person wants instead stays, and so does what it was made from."""
        if not self.unsaved:
            self.text, self.deleted = found.text, False
        if self.knows(found) and (found.version != self.version or not self.sent):
            self.settle(found.text, found.version)
        if not self.unsaved:
            self.state = SaveState.SAVED

    def knows(self, found: Found) -> bool:
        """Tell whether the person has seen this text: they wrote it, or changed it."""
        return (
            found.text == self.text
            or digest(found.text) in self.sent
            or (bool(found.version) and found.version == self.version)
        )


def digest(text: str) -> str:
    """Return what tells a text from others."""
    return sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def read_list(answer: Any) -> dict[str, Found]:
    """Read the server's list, by id. ValueError for anything else."""
    try:
        return {
            str(each["id"]): Found(str(each["text"]), float(each["createdAt"]), read_version(each))
            for each in answer["notes"]
        }
    except (KeyError, TypeError) as error:
        raise ValueError("This is not a list of notes.") from error


def read_version(answer: Any) -> str:
    """Return the version in what the server says of a note; empty when there is none."""
    version = answer.get("version") if isinstance(answer, dict) else None
    return version if isinstance(version, str) and version.isalnum() else ""
