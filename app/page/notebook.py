"""Notebook: one person's notes, and the saving of them.

Rules for editing: text is kept as a draft before it is sent; a note is never on its way twice at once, and what was
typed last goes last; nothing is sent unless its owner is the one who is signed in; a text that came to the server from
elsewhere is never replaced unseen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
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
    TransportError,
)

from .drafts import Draft
from .note import Found, Note, Remark, SaveState, read_list, read_version

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
CHANGED_ELSEWHERE = 412
_LIST = ""  # no note has this id


class Notebook:
    """One person's notes. ``changed`` is called after each change that is seen, ``sent`` after each at the server."""

    def __init__(
        self,
        subject: str,
        *,
        session: Session,
        url: str,
        drafts: Drafts,
        changed: Callable[[], None],
        sent: Callable[[], None] = lambda: None,
    ) -> None:
        self.subject = subject
        self.notes: dict[str, Note] = {}
        self.loaded = False
        self._session = session
        self._url = url
        self._drafts = drafts
        self._changed = changed
        self._told = sent
        self._held: Note | None = None
        self._passed_over = False
        self._new = ""
        self._counter = count(1)
        self._fresh = False
        self._running: dict[str, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._tries = 0
        self._revive(drafts.of(subject))

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
    def at_risk(self) -> bool:
        """Whether something here would go with the page."""
        return not self._drafts.is_safe(self.subject)

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

    def hold(self, note: Note | None) -> None:
        """Let nothing from elsewhere change this note: the person is in it. None: they have left."""
        self._held = note
        if note is None and self._passed_over:
            self._passed_over = False
            self.open()

    def take_over(self, draft: Draft) -> bool:
        """Go on with what a page that is gone has left; False when it should be offered again."""
        if draft.new.strip() and self._new.strip() and draft.new != self._new:
            return False
        self._revive(draft)
        self._keep()
        self.wake()
        return self._drafts.is_safe(self.subject)

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
        while note.unsaved and not note.blank:
            self._set(note, SaveState.SAVING)
            wanted = note.text, note.deleted
            try:
                await self._send(note)
            except FreshfetchError as error:
                state = self._state_after(error)
                if state is SaveState.FAILED and (note.text, note.deleted) != wanted:
                    continue  # what was refused is not what the person wants by now
                self._set(note, state, error)
                return
            self._keep()
        note.state, note.error = SaveState.EMPTY if note.blank else SaveState.SAVED, None
        self._server_answers()

    async def _send(self, note: Note) -> None:
        url, wanted = f"{self._url}/{note.id}", None if note.deleted else note.text
        headers = {"If-Match": f'"{note.version}"'} if note.version else {}
        if wanted is None:
            sending = self._fetch(url, method="DELETE", headers=headers)
            note.certain = False
        else:
            sending = self._fetch(url, method="PUT", json={"text": wanted}, headers=headers)
            note.sending(wanted)
        self._keep()
        response = await sending
        if response.status == CHANGED_ELSEWHERE and note.version:
            await self._find_out(note)
            return
        response.raise_for_status()
        note.settle(wanted, "" if wanted is None else await _version(response))
        note.touched = next(self._counter)
        self._told()

    async def _find_out(self, note: Note) -> None:
        """Look what the server has instead of what was changed here, and lose neither."""
        try:
            found = (await self._list()).get(note.id)
        except ValueError as error:
            raise TransportError("The list of notes could not be read.") from error
        note.touched = next(self._counter)
        if found is None:
            self._miss(note)
        elif note.knows(found):
            note.settle(found.text, "" if found.version == note.version else found.version)
        elif note.deleted:
            note.text, note.deleted, note.remark = found.text, False, Remark.RESTORED
            note.settle(found.text, found.version)
        else:
            self._part(note, found)

    def _part(self, note: Note, found: Found) -> None:
        """Make two notes of one: what the server has keeps the id, what was typed here its place on the page."""
        number = next(self._counter)
        other = Note(id=note.id, number=number, text=found.text, saved=found.text, state=SaveState.SAVED)
        other.version, other.created_at, other.touched = found.version, found.created_at, number
        note.id, note.remark = token_hex(8), Remark.COPY
        note.settle(None, "")
        self.notes |= {other.id: other, note.id: note}
        self._running[note.id] = self._running.pop(other.id)

    async def _list(self) -> dict[str, Found]:
        response = await self._fetch(self._url)
        response.raise_for_status()
        return read_list(await response.json())

    async def _load(self) -> None:
        """Ask for all notes, and again if there was reason to meanwhile."""
        try:
            while not self._fresh:
                self._fresh, asked = True, next(self._counter)
                found = await self._list()
                self.loaded = True
                self._merge(found, asked)
        except (FreshfetchError, ValueError) as error:
            self._fresh = False
            if not isinstance(error, FreshfetchError) or self._state_after(error) is SaveState.FAILED:
                self._try_later()
            self._changed()
        else:
            self._server_answers()

    def _merge(self, found: dict[str, Found], asked: int) -> None:
        """Take in what the server had when it was asked, unless the person has been quicker."""
        for note_id, each in found.items():
            if note_id not in self.notes:
                self.notes[note_id] = Note(id=note_id, number=next(self._counter), text=each.text, saved=each.text)
                self.notes[note_id].version = each.version
            note = self.notes[note_id]
            note.created_at = each.created_at
            if self._may_change(note, asked, each):
                note.take(each)
        for note in [each for each in self.notes.values() if each.id not in found]:
            if self._may_change(note, asked, None):
                self._miss(note)
        self._keep()

    def _may_change(self, note: Note, asked: int, found: Found | None) -> bool:
        if note.touched > asked or self._is_running(note.id):
            return False
        if note is self._held and not note.unsaved and (found is None or found.text != note.text):
            self._passed_over = True
            return False
        return True

    def _miss(self, note: Note) -> None:
        """Take note that the server does not have this one any more."""
        if not note.unsaved and not note.deleted:
            del self.notes[note.id]
            return
        if note.version and not note.deleted:
            note.remark = Remark.KEPT
        note.settle(None, "")
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
        origins = {note.id: note.origin for note in unsaved if note.origin}
        self._drafts.keep(self.subject, Draft(new=self._new, notes=notes, deleted=deleted, origins=origins))

    def _revive(self, draft: Draft) -> None:
        """Go on where another page ended."""
        self._new = self._new if self._new.strip() else draft.new
        for note_id, text in draft.notes.items():
            self._revive_note(note_id, text, draft)
        for note_id, text in draft.deleted.items():
            if note_id not in self.notes or not self._is_busy(self.notes[note_id]):
                self._revive_note(note_id, text, draft).deleted = True

    def _revive_note(self, note_id: str, text: str, draft: Draft) -> Note:
        old = self.notes.get(note_id)
        if old is not None and old.text == text:
            return old
        is_copy = old is not None and self._is_busy(old)
        number = next(self._counter)
        if old is None or is_copy:
            old = Note(id=token_hex(8) if is_copy else note_id, number=number, text=text)
            self.notes[old.id] = old
            old.remark = Remark.COPY if is_copy else None
        version, *sent = ("",) if is_copy else draft.origins.get(note_id) or ("",)
        old.text, old.certain, old.version, old.sent = text, False, version, sent
        old.touched, old.state = number, SaveState.EDITED
        return old

    def _is_busy(self, note: Note) -> bool:
        return note.unsaved or note is self._held or self._is_running(note.id)


async def _version(response: Response) -> str:
    try:
        return read_version(await response.json())
    except ValueError:
        return ""
