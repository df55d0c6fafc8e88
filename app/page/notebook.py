"""Notebook: one person's notes, and the saving of them.

Rules for editing: text is kept as a draft before it is sent; a note is never on its way twice at once, and what was
typed last goes last; nothing is sent unless its owner is the one who is signed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from freshfetch import (
    AuthServerError,
    FreshfetchError,
    HTTPStatusError,
    IdentityChangedError,
    InvalidRequestError,
    SessionExpiredError,
    SignedOutError,
)

from .drafts import Draft

if TYPE_CHECKING:
    from freshfetch import Response, Session

    from .drafts import Drafts

TYPING_PAUSE = 0.6
"""Seconds without a keystroke after which an edit is sent."""
TIMEOUT = 20.0
WAITS = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between tries while the server does not take a note; the last one stays."""
PASSING = (408, 425, 429)
"""Statuses below 500 that say: later."""
_LIST = ""  # no note has this id


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
    certain: bool = True
    """Whether that is known: an answer may have been lost."""
    created_at: float = float("inf")
    state: SaveState = SaveState.EDITED
    error: FreshfetchError | None = None
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


class Notebook:
    """One person's notes. ``changed`` is called after every change that can be seen."""

    def __init__(
        self, subject: str, *, session: Session, url: str, drafts: Drafts, changed: Callable[[], None]
    ) -> None:
        self.subject = subject
        self.notes: dict[str, Note] = {}
        self.loaded = False
        self._session = session
        self._url = url
        self._drafts = drafts
        self._changed = changed
        self._counter = count(1)
        self._fresh = False
        self._running: dict[str, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._tries = 0
        self._restore(drafts.of(subject))

    # -- what there is to show --

    @property
    def new(self) -> str:
        """What is in the box for a new note."""
        return self._new

    @property
    def unsaved(self) -> int:
        """How many notes the server does not have as they are here."""
        return sum(note.unsaved for note in self.notes.values())

    @property
    def in_trouble(self) -> bool:
        """Whether the last try, and all since the server last answered, came to nothing."""
        return self._tries > 0

    @property
    def next_try_in(self) -> float | None:
        """Seconds until what waits for the server is tried again; None when nothing is planned."""
        return None if self._timer is None else max(0.0, self._due - asyncio.get_running_loop().time())

    def in_order(self) -> list[Note]:
        """Return the notes, newest first."""
        return sorted(self.notes.values(), key=lambda note: (note.created_at, note.number), reverse=True)

    # -- what a person does --

    def write_new(self, text: str) -> None:
        """Keep what is in the box for a new note."""
        self._new = text
        self._keep()

    def add(self, text: str) -> Note:
        """Add a note, and empty the box."""
        note = Note(id=token_hex(8), number=next(self._counter), text=text)
        self.notes[note.id] = note
        self._new = ""
        self._want(note)
        self._start(note)
        return note

    def edit(self, note: Note, text: str) -> None:
        """Change a note; it is sent as soon as the person stops typing."""
        if text == note.text:
            return
        note.text = text
        self._want(note)
        if note.timer is not None:
            note.timer.cancel()
        note.timer = asyncio.get_running_loop().call_later(TYPING_PAUSE, self._start, note)

    def delete(self, note: Note) -> None:
        """Delete a note."""
        note.deleted = True
        self._want(note)
        self._start(note)

    def undo(self, note: Note) -> None:
        """Take a deletion back."""
        note.deleted = False
        self._want(note)
        self._start(note)

    def try_again(self, note: Note) -> None:
        """Send a note that could not be saved once more."""
        self._start(note)

    def flush(self) -> None:
        """Send at once what waits for the end of typing: the page may be about to go."""
        for note in self.notes.values():
            if note.timer is not None:
                self._start(note)

    # -- trying, and trying again --

    def open(self) -> None:
        """Ask the server for the notes, and try everything that waits."""
        self._fresh = False
        self.wake()

    def wake(self) -> None:
        """Try everything that waits; called whenever there is reason to hope."""
        self._rest()
        if not self._is_mine():
            self._put_aside()
            return
        if not self._fresh:
            self._run(_LIST, self._load)
        for note in self.notes.values():
            if note.unsaved and note.state is not SaveState.FAILED:
                self._start(note)

    def _start(self, note: Note) -> None:
        if note.timer is not None:
            note.timer.cancel()
            note.timer = None
        if note.blank:
            self._set(note, SaveState.EMPTY)
        else:
            self._run(note.id, lambda: self._save(note))

    def _run(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start something unless it is under way already."""
        if not self._is_running(name):
            self._running[name] = asyncio.get_running_loop().create_task(work())

    def _is_running(self, name: str) -> bool:
        return name in self._running and not self._running[name].done()

    async def _save(self, note: Note) -> None:
        """Bring the server to what the person wants, and once more if that has changed meanwhile."""
        try:
            while note.unsaved and not note.blank:
                self._set(note, SaveState.SAVING)
                await self._send(note)
                self._keep()
        except FreshfetchError as error:
            self._set(note, self._state_after(error), error)
        else:
            note.state, note.error = SaveState.EMPTY if note.blank else SaveState.SAVED, None
            self._server_answers()

    async def _send(self, note: Note) -> None:
        url, wanted = f"{self._url}/{note.id}", None if note.deleted else note.text
        if wanted is None:
            sending = self._fetch(url, method="DELETE")
        else:
            sending = self._fetch(url, method="PUT", json={"text": wanted})
        note.certain = False
        response = await sending
        response.raise_for_status()
        note.saved, note.certain, note.touched = wanted, True, next(self._counter)

    async def _load(self) -> None:
        """Ask for all notes."""
        asked = next(self._counter)
        try:
            response = await self._fetch(self._url)
            response.raise_for_status()
            found = _read(await response.json())
        except FreshfetchError as error:
            if self._state_after(error) is SaveState.FAILED:
                self._try_later()
            self._changed()
        except ValueError:
            self._try_later()
            self._changed()
        else:
            self._fresh = self.loaded = True
            self._merge(found, asked)
            self._server_answers()

    def _merge(self, found: dict[str, tuple[str, float]], asked: int) -> None:
        """Take in what the server had when it was asked, unless the person has been quicker."""
        for note_id, (text, created_at) in found.items():
            if note_id not in self.notes:
                self.notes[note_id] = Note(id=note_id, number=next(self._counter), text=text, saved=text)
            note = self.notes[note_id]
            note.created_at = created_at
            if note.touched <= asked and not self._is_running(note_id):
                _take(note, text)
        for note in [each for each in self.notes.values() if each.id not in found]:
            if note.touched <= asked and not self._is_running(note.id):
                self._miss(note)
        self._keep()

    def _miss(self, note: Note) -> None:
        """Take note that the server does not have this one any more."""
        if not note.unsaved and not note.deleted:
            del self.notes[note.id]
            return
        note.saved, note.certain = None, True
        if not note.unsaved:
            note.state = SaveState.SAVED

    def _fetch(self, url: str, **options: Any) -> Coroutine[Any, Any, Response]:
        """Make a request of this notebook's owner, or none at all."""
        sending = self._session.fetch(url, timeout=TIMEOUT, replay=True, **options)
        # fetch has just taken down whose request it is; until then another tab could have changed it.
        if not self._is_mine():
            sending.close()
            raise SignedOutError("The owner of these notes is not signed in.")
        return sending

    # -- what became of it --

    def _state_after(self, error: FreshfetchError) -> SaveState:
        """Decide what an error means, and plan the next try where one may help."""
        over = isinstance(error, (SessionExpiredError, SignedOutError, IdentityChangedError))
        if over and not self._is_mine():
            return SaveState.SIGN_IN
        refused = isinstance(error, HTTPStatusError) and error.status < 500 and error.status not in PASSING
        if refused or isinstance(error, (AuthServerError, InvalidRequestError)):
            return SaveState.FAILED
        self._try_later()
        return SaveState.WAITING

    def _try_later(self) -> None:
        if self._timer is None:
            wait = WAITS[min(self._tries, len(WAITS) - 1)]
            self._tries += 1
            loop = asyncio.get_running_loop()
            self._due = loop.time() + wait  # the loop in a browser does not tell when a timer is due
            self._timer = loop.call_later(wait, self.wake)

    def _server_answers(self) -> None:
        """Let everything else go at once, since one has just got through."""
        self._tries = 0
        if self._timer is not None:
            self.wake()
        self._changed()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_mine(self) -> bool:
        return self._session.subject == self.subject

    def _put_aside(self) -> None:
        for note in self.notes.values():
            if note.state is SaveState.WAITING:
                note.state = SaveState.SIGN_IN
        self._changed()

    def _want(self, note: Note) -> None:
        """Note that the person wants something else, and keep it before anything can go wrong."""
        note.touched = next(self._counter)
        self._keep()
        if not self._is_running(note.id):
            self._set(note, SaveState.EDITED)

    def _set(self, note: Note, state: SaveState, error: FreshfetchError | None = None) -> None:
        note.state, note.error = state, error
        self._changed()

    def _keep(self) -> None:
        """Write down whatever would be lost with the page."""
        unsaved = [note for note in self.notes.values() if note.unsaved]
        notes = {note.id: note.text for note in unsaved if not note.deleted}
        deleted = {note.id: note.text for note in unsaved if note.deleted}
        self._drafts.keep(self.subject, Draft(new=self._new, notes=notes, deleted=deleted))

    def _restore(self, draft: Draft) -> None:
        self._new = draft.new
        for note_id, text in {**draft.notes, **draft.deleted}.items():
            is_deleted, number = note_id in draft.deleted, next(self._counter)
            self.notes[note_id] = Note(id=note_id, number=number, text=text, deleted=is_deleted, certain=False)


def _take(note: Note, text: str) -> None:
    """Take in what the server has; what the person wants instead stays."""
    if not note.unsaved:
        note.text, note.deleted = text, False
    note.saved, note.certain = text, True
    if not note.unsaved:
        note.state = SaveState.SAVED


def _read(answer: Any) -> dict[str, tuple[str, float]]:
    """Read the server's list: text and time of creation by id. ValueError for anything else."""
    try:
        return {str(each["id"]): (str(each["text"]), float(each["createdAt"])) for each in answer["notes"]}
    except (KeyError, TypeError) as error:
        raise ValueError("This is not a list of notes.") from error
