"""Notes: the list of one person's notes, and the box for a new one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import js

from .drafts import Draft, Drafts
from .elements import Element, Frame, Tasks, clone, find, has_focus, listen, set_text
from .note import Note, Remark, SaveState
from .notebook import Notebook
from .tabs import Tabs
from .wording import counted, save_state

UNDO_TIME = 10.0
"""Seconds in which a deletion can be taken back; longer while the keyboard is there."""
GONE_LENGTH = 200
NAME_LENGTH = 40


class Notes:
    """Shows one notebook at a time; the others are put aside, unsaved work and all.

    Rows are changed in place and never moved, so that nobody loses focus or caret.
    """

    def __init__(
        self, make_notebook: Callable[[str, Callable[[], None]], Notebook], *, drafts: Drafts, tabs: Tabs
    ) -> None:
        self._make_notebook = make_notebook
        self._drafts = drafts
        self._tasks = Tasks()
        self._books: dict[str, Notebook] = {}
        self._book: Notebook | None = None
        self._rows: dict[int, Row] = {}
        self._in_trouble = False
        self.drawn: Callable[[], None] = lambda: None
        """Called after each change that was shown."""
        self._frame = Frame(self.draw)
        self._view = find("notes-view")
        self._list = find("notes")
        self._box = find("note-text")
        listen(find("note-form"), "submit", self._on_submit)
        listen(self._box, "input", self._on_write)
        listen(self._box, "keydown", self._on_key)
        listen(self._list, "input", self._on_edit)
        listen(self._list, "change", self._on_edited)
        listen(self._list, "click", self._on_click)
        listen(self._list, "focusin", lambda event: self._hold(self._note_of(event.target)))
        listen(self._list, "focusout", lambda _: self._hold(None))
        tabs.on_news(self._look)
        listen(js.window, "beforeunload", self._on_leave)
        listen(js.window, "pagehide", lambda _: self._flush())

    @property
    def book(self) -> Notebook | None:
        """The notebook that is shown, or was shown last."""
        return self._book

    @property
    def unsaved(self) -> bool:
        """Whether who is shown has text that the server does not have."""
        return self._book is not None and bool(self._book.unsaved or self._book.new.strip())

    def show(self, subject: str) -> None:
        """Show this person's notes, asking the server for them afresh."""
        if self._book is None or self._book.subject != subject:
            self._put_aside()
            if subject not in self._books:
                self._books[subject] = self._make_notebook(subject, self._frame.ask)
            self._book = self._books[subject]
            self._box.value = self._book.new
        self._view.hidden = False
        self._look()
        self.draw()

    def hide(self) -> None:
        """Show nobody's notes."""
        self._put_aside()
        self._view.hidden = True

    def wake(self) -> None:
        """Try what waits: there is reason to hope."""
        if self._book is not None:
            self._book.wake()

    def set_trouble(self, *, in_trouble: bool) -> None:
        """Take note whether the server answers."""
        if in_trouble != self._in_trouble:
            self._in_trouble = in_trouble
            self._frame.ask()

    def draw(self) -> None:
        """Bring the list to what the notebook says."""
        if self._book is None:
            return
        notes = [note for note in self._book.in_order() if self._is_shown(note)]
        self._remove_all_but({note.number for note in notes})
        place = self._list.firstElementChild
        for note in notes:
            row = self._rows.get(note.number) or self._insert(note, place)
            if row.draw(note, in_trouble=self._in_trouble):
                self._say(f"{row.words}.")
            place = row.item.nextElementSibling
        alive = sum(not note.deleted for note in notes)
        set_text(find("notes-count"), counted(alive, "note", "notes") if alive else "")
        find("notes-loading").hidden = bool(notes) or self._book.loaded
        find("notes-empty").hidden = bool(notes) or not self._book.loaded
        self.drawn()

    def _is_shown(self, note: Note) -> bool:
        row = self._rows.get(note.number)
        return not note.deleted or note.unsaved or (row is not None and row.can_undo())

    def _insert(self, note: Note, place: Element) -> Row:
        row = self._rows[note.number] = Row(note)
        self._list.insertBefore(row.item, place)
        return row

    def _remove_all_but(self, wanted: set[int]) -> None:
        for number in [each for each in self._rows if each not in wanted]:
            self._rows.pop(number).item.remove()

    def _put_aside(self) -> None:
        if self._book is not None:
            self._book.hold(None)
            self._book.flush()
        self._book = None
        self._remove_all_but(set())
        self._box.value = ""

    def _flush(self) -> None:
        if self._book is not None:
            self._book.flush()

    def _look(self) -> None:
        """Take in what other tabs did, and what those that were closed have left."""
        if self._book is not None:
            self._book.open()
            self._tasks.start(self._drafts.inherit(self._take_over))

    def _take_over(self, subject: str, draft: Draft) -> bool:
        if subject not in self._books:
            return self._drafts.join(subject, draft)
        book = self._books[subject]
        is_safe = book.take_over(draft)
        if book is self._book and not str(self._box.value).strip():
            self._box.value = book.new
        return is_safe

    def _hold(self, note: Note | None) -> None:
        if self._book is not None:
            self._book.hold(note)

    # -- what the person does --

    def _on_write(self, _event: Any) -> None:
        if self._book is not None:
            self._book.write_new(str(self._box.value))

    def _on_key(self, event: Any) -> None:
        if event.key == "Enter" and (event.ctrlKey or event.metaKey):
            event.preventDefault()
            self._add()

    def _on_submit(self, event: Any) -> None:
        event.preventDefault()
        self._add()

    def _add(self) -> None:
        text = str(self._box.value)
        self._box.focus()
        if self._book is None or not text.strip():
            return
        self._box.value = ""
        self._book.add(text)
        self._say("Note added.")
        self.draw()

    def _on_edit(self, event: Any) -> None:
        note = self._note_of(event.target)
        if self._book is not None and note is not None:
            self._book.edit(note, str(event.target.value))

    def _on_edited(self, event: Any) -> None:
        """Do not wait for more: the person has left the note."""
        self._on_edit(event)
        self._flush()

    def _on_click(self, event: Any) -> None:
        button = event.target.closest("button")
        note = self._note_of(event.target)
        if not button or note is None or self._book is None:
            return
        {"delete": self._delete, "undo": self._undo, "again": self._book.try_again}[str(button.dataset.do)](note)

    def _delete(self, note: Note) -> None:
        assert self._book is not None
        row = self._rows[note.number]
        row.allow_undo(self._frame.ask)
        self._book.delete(note)
        self.draw()
        row.undo.focus()
        self._say("Note deleted. You can undo this.")

    def _undo(self, note: Note) -> None:
        assert self._book is not None
        self._book.undo(note)
        self.draw()
        self._rows[note.number].text.focus()
        self._say("Note restored.")

    def _on_leave(self, event: Any) -> None:
        """Ask before the tab is closed on what the server should have and has not, or what would be lost."""
        if any(book.unsaved or book.at_risk for book in self._books.values()):
            event.preventDefault()

    def _note_of(self, target: Element) -> Note | None:
        item = target.closest(".note")
        row = self._rows.get(int(item.dataset.number)) if item else None
        return row.note if self._book is not None and row is not None else None

    def _say(self, text: str) -> None:
        place = find("notes-said")
        # The same words once more are read out only if they are not quite the same.
        set_text(place, text + "\N{NO-BREAK SPACE}" if place.textContent == text else text)


class Row:
    """One note in the list."""

    def __init__(self, note: Note) -> None:
        self.item = clone("note-template")
        self.item.dataset.number = str(note.number)
        self.note = note
        self.text = self.item.querySelector(".note-text")
        self.undo = self.item.querySelector("[data-do=undo]")
        self._gone = self.item.querySelector(".note-gone")
        self._state = self.item.querySelector(".note-state")
        self._delete = self.item.querySelector("[data-do=delete]")
        self._again = self.item.querySelector("[data-do=again]")
        self._name = self.item.querySelector(".note-name")
        self._undo_until = 0.0
        self._drawn: tuple[object, ...] = ()
        self.words = ""
        self._remark: Remark | None = None

    def allow_undo(self, over: Callable[[], None]) -> None:
        """Keep the row for a while after its note is deleted; ``over`` is called afterwards."""
        loop = asyncio.get_running_loop()
        self._undo_until = loop.time() + UNDO_TIME
        loop.call_later(UNDO_TIME, self._end_undo, over)

    def can_undo(self) -> bool:
        """Tell whether there is still time to undo."""
        return asyncio.get_running_loop().time() < self._undo_until

    def _end_undo(self, over: Callable[[], None]) -> None:
        if has_focus(self.item):
            self.allow_undo(over)
        else:
            over()

    def draw(self, note: Note, *, in_trouble: bool) -> bool:
        """Show a note as it is now; tell whether its words are news: it has just failed, or has a new remark."""
        state, words = save_state(note, in_trouble=in_trouble)
        wanted = (note.id, note.text, note.deleted, state, words)
        if wanted == self._drawn:
            return False
        failed = state is SaveState.FAILED and words != self.words
        remarked = note.remark is not None and note.remark is not self._remark
        self._drawn, self.words, self._remark = wanted, words, note.remark
        self.item.dataset.id = note.id
        self.item.dataset.state = state.value
        self.item.dataset.deleted = str(note.deleted).lower()
        set_text(self._state, words)
        self._draw_text(note)
        self._delete.hidden = note.deleted
        self.undo.hidden = not note.deleted
        if has_focus(self._again) and state is not SaveState.FAILED:
            (self.undo if note.deleted else self.text).focus()  # what was pressed goes; the keyboard stays at its note
        self._again.hidden = state is not SaveState.FAILED
        return failed or remarked

    def _draw_text(self, note: Note) -> None:
        if self.text.value != note.text:
            self.text.value = note.text
        self.text.hidden = note.deleted
        self._gone.hidden = not note.deleted
        first_line = note.text.strip().partition("\n")[0]
        set_text(self._gone, first_line[:GONE_LENGTH])
        set_text(self._name, f" note: {first_line[:NAME_LENGTH]}")
