"""The page's notebook: what is typed reaches the server once, in order, under its owner's name, or waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from freshfetch import Request
from page.drafts import Draft, Drafts, parse_draft
from page.note import Note, Remark, SaveState
from page.notebook import TYPING_PAUSE, Notebook
from tests.world import Tab, World, eager_retry, until


class Shelf:
    """A shelf in memory, that survives what a test calls a reload."""

    def __init__(self, **texts: str) -> None:
        self.texts = texts

    def write(self, owner: str, text: str) -> bool:
        """Replace the text."""
        self.texts[owner] = text
        return True

    async def inherit(self, take: Callable[[str, str], bool]) -> None:
        """Have nothing of pages that are gone."""


def notebook(tab: Tab, shelf: Shelf, subject: str = "ada") -> Notebook:
    """Open somebody's notebook in a tab."""
    drafts = Drafts(shelf)
    for owner in shelf.texts:
        drafts.keep(owner, kept(shelf, owner))
    book = Notebook(subject, session=tab.session, url="/api/notes", drafts=drafts, changed=lambda: None)
    book.open()
    return book


async def opened(world: World, **settings: Any) -> tuple[Tab, Notebook, Shelf]:
    """Return ada's notebook, loaded, with its tab and its shelf."""
    tab, shelf = await world.signed_in_tab(retry=eager_retry(), **settings), Shelf()
    book = notebook(tab, shelf)
    await until(lambda: book.loaded)
    world.start_journal()
    return tab, book, shelf


def texts(world: World, user: str = "ada") -> list[str]:
    """Return the texts the server has of somebody."""
    return [note.text for note in world.server.notes.of(user)]


def saved(note: Note) -> bool:
    """Tell whether a note has arrived."""
    return note.state is SaveState.SAVED


def kept(shelf: Shelf, subject: str = "ada") -> Draft:
    """Return what a reload would find."""
    return parse_draft(shelf.texts.get(subject, ""))


async def test_a_new_note_is_saved_and_its_draft_is_gone(world: World) -> None:
    """The box is emptied, the note kept until the server has it, and then no longer."""
    _, book, shelf = await opened(world)
    book.write_new("buy oran")
    assert kept(shelf).new == "buy oran"
    note = book.add("buy oranges")
    assert (book.new, kept(shelf).notes) == ("", {note.id: "buy oranges"})
    await until(lambda: saved(note))
    assert texts(world) == ["buy oranges"]
    assert not kept(shelf)


async def test_an_edit_is_sent_when_the_typing_stops(world: World) -> None:
    """Each keystroke is kept at once; the server hears of the last one only."""
    _, book, shelf = await opened(world)
    note = book.add("a")
    await until(lambda: saved(note))
    for text in ("ab", "abc", "abcd"):
        book.edit(note, text)
        assert kept(shelf).notes == {note.id: text}
        await asyncio.sleep(TYPING_PAUSE / 2)
    await until(lambda: saved(note))
    assert texts(world) == ["abcd"]
    assert len(world.journal()) == 2


async def test_flush_does_not_wait_for_the_end_of_typing(world: World) -> None:
    """What was typed last leaves at once when the page is about to go."""
    _, book, _ = await opened(world)
    note = book.add("a")
    await until(lambda: saved(note))
    book.edit(note, "ab")
    book.flush()
    await until(lambda: saved(note), limit=TYPING_PAUSE / 2)
    assert texts(world) == ["ab"]


async def test_saves_of_one_note_never_overtake_each_other(world: World) -> None:
    """While one is on its way the next waits, and what was typed last is what stays."""
    tab, book, _ = await opened(world)
    tab.wire.delay = 1.0
    note = book.add("first")
    await asyncio.sleep(0.1)
    book.edit(note, "second")
    book.edit(note, "third")
    book.flush()
    await until(lambda: saved(note))
    assert tab.wire.most_under_way == 1
    assert texts(world) == ["third"]
    assert [entry.method for entry in world.journal()] == ["PUT", "PUT"]


async def test_a_note_waits_for_the_server_and_is_saved_when_it_answers(world: World) -> None:
    """An outage costs nothing but time; the next try is announced, and success ends the trouble."""
    tab, book, shelf = await opened(world)
    tab.wire.cut = True
    note = book.add("kept")
    await until(lambda: note.state is SaveState.WAITING)
    assert book.in_trouble
    assert book.next_try_in is not None
    assert kept(shelf).notes == {note.id: "kept"}
    await asyncio.sleep(60)
    assert note.state is SaveState.WAITING
    world.heal()
    await until(lambda: saved(note))
    assert texts(world) == ["kept"]
    assert not book.in_trouble
    assert book.next_try_in is None


async def test_the_first_success_wakes_all_that_waits(world: World) -> None:
    """Nobody waits for a timer once the server is known to answer."""
    tab, book, _ = await opened(world)
    tab.wire.cut = True
    notes = [book.add(f"note {number}") for number in range(3)]
    await asyncio.sleep(40)
    world.heal()
    book.try_again(notes[0])
    await until(lambda: all(saved(note) for note in notes), limit=0.5)


async def test_a_server_error_is_waited_out(world: World) -> None:
    """A 503 is a matter of time, not of the note."""
    _, book, _ = await opened(world)
    await world.fault("/api/notes/*", "status", status=503, times=2)
    note = book.add("patience")
    await until(lambda: note.state is SaveState.WAITING)
    await until(lambda: saved(note))
    assert texts(world) == ["patience"]


async def test_what_the_server_refuses_waits_for_the_person(world: World) -> None:
    """A note that is too long is not sent again by itself; made shorter, it is."""
    _, book, shelf = await opened(world)
    note = book.add("x" * 10_001)
    await until(lambda: note.state is SaveState.FAILED)
    assert note.error is not None
    await asyncio.sleep(120)
    assert len(world.journal()) == 1
    assert kept(shelf).notes == {note.id: note.text}
    book.edit(note, "short")
    await until(lambda: saved(note))
    assert texts(world) == ["short"]


async def test_what_was_made_shorter_while_it_was_sent_needs_no_second_press(world: World) -> None:
    """Too long for the server, and shortened before the server says so: the short one is sent by itself."""
    tab, book, _ = await opened(world)
    tab.wire.delay = 5.0
    note = book.add("x" * 10_001)
    await asyncio.sleep(1)
    book.edit(note, "short")
    await until(lambda: saved(note))
    assert texts(world) == ["short"]
    assert world.statuses(f"/api/notes/{note.id}") == [413, 201]


async def test_an_emptied_note_is_not_saved(world: World) -> None:
    """Clearing the text on the way to a new one does not overwrite the old one at the server."""
    _, book, _ = await opened(world)
    note = book.add("old")
    await until(lambda: saved(note))
    book.edit(note, "  ")
    await until(lambda: note.state is SaveState.EMPTY)
    assert texts(world) == ["old"]


async def test_a_deletion_can_be_taken_back(world: World) -> None:
    """Undo brings the note back under its own id, also while the deletion is on its way."""
    tab, book, shelf = await opened(world)
    note = book.add("keep me")
    await until(lambda: saved(note))
    book.delete(note)
    assert kept(shelf).deleted == {note.id: "keep me"}
    await until(lambda: saved(note))
    assert texts(world) == []
    tab.wire.delay = 1.0
    book.undo(note)
    book.delete(note)
    book.undo(note)
    await until(lambda: saved(note))
    assert texts(world) == ["keep me"]


async def test_a_note_that_may_have_arrived_is_deleted_at_the_server_too(world: World) -> None:
    """The answer to its saving was lost; taking the note away here alone would bring it back later."""
    _, book, _ = await opened(world)
    await world.fault("/api/notes/*", "drop_after", times=1)
    note = book.add("perhaps there")
    await until(lambda: note.state is SaveState.WAITING)
    assert texts(world) == ["perhaps there"]
    book.delete(note)
    await until(lambda: saved(note))
    assert texts(world) == []


async def test_a_revoked_session_keeps_the_note_until_its_owner_is_back(world: World) -> None:
    """The note says what it waits for, and is saved after the same person has signed in."""
    tab, book, shelf = await opened(world)
    await world.revoke()
    note = book.add("typed in vain?")
    await until(lambda: note.state is SaveState.SIGN_IN)
    assert texts(world) == []
    assert kept(shelf).notes == {note.id: "typed in vain?"}
    await tab.session.sign_in("ada", "lovelace")
    book.open()
    await until(lambda: saved(note))
    assert texts(world) == ["typed in vain?"]


async def test_nothing_is_sent_as_another_person(world: World) -> None:
    """Somebody else signs in: ada's note stays here, whatever wakes it, and goes when ada is back."""
    tab, book, _ = await opened(world)
    await world.revoke()
    note = book.add("for ada's eyes")
    await until(lambda: note.state is SaveState.SIGN_IN)
    await tab.session.sign_in("grace", "hopper")
    book.wake()
    book.edit(note, "for ada's eyes only")
    book.flush()
    await asyncio.sleep(60)
    assert note.state is SaveState.SIGN_IN
    assert texts(world, "grace") == []
    await tab.session.sign_in("ada", "lovelace")
    book.open()
    await until(lambda: saved(note))
    assert (texts(world), texts(world, "grace")) == (["for ada's eyes only"], [])


async def test_another_tab_cannot_change_the_person_unseen(world: World) -> None:
    """Grace signs in in another tab; this one has heard nothing yet, and still sends nothing of ada's as grace."""
    _, book, _ = await opened(world)
    note = book.add("mine")
    await until(lambda: saved(note))
    await world.tab().session.sign_in("grace", "hopper")
    book.edit(note, "still mine")
    book.flush()
    await until(lambda: note.state is SaveState.SIGN_IN)
    assert (texts(world), texts(world, "grace")) == (["mine"], [])


async def test_unsaved_work_survives_a_reload(world: World) -> None:
    """A new notebook on the same shelf knows the box, the edit, the new note and the deletion."""
    tab, book, shelf = await opened(world)
    edited, deleted = book.add("edited"), book.add("deleted")
    await until(lambda: saved(edited) and saved(deleted))
    tab.wire.cut = True
    book.edit(edited, "edited offline")
    book.delete(deleted)
    new = book.add("new offline")
    book.write_new("half a tho")
    await until(lambda: new.state is SaveState.WAITING)
    world.heal()
    again = notebook(world.tab(), Shelf(**shelf.texts))
    assert again.new == "half a tho"
    assert again.notes[deleted.id].text == "deleted"
    await until(lambda: again.loaded and not again.unsaved)
    assert sorted(texts(world)) == ["edited offline", "new offline"]


async def test_an_old_list_does_not_undo_a_newer_save(world: World) -> None:
    """The list was asked for before a save and comes after it: what was saved stays on the page."""
    tab, book, _ = await opened(world)
    note = book.add("old")
    await until(lambda: saved(note))

    async def hold_back(request: Request) -> None:
        if request.method == "GET":
            await asyncio.sleep(5)

    tab.wire.before_answer = hold_back
    book.open()
    await asyncio.sleep(1)
    book.edit(note, "new")
    book.flush()
    await asyncio.sleep(10)
    assert (note.text, note.state, texts(world)) == ("new", SaveState.SAVED, ["new"])


async def test_a_list_brings_what_other_tabs_did(world: World) -> None:
    """New and changed notes appear, deleted ones go, and what is being edited here stays."""
    _, book, _ = await opened(world)
    changed, gone, mine = book.add("changed"), book.add("gone"), book.add("mine")
    await until(lambda: not book.unsaved)
    notes = world.server.notes
    notes.put("ada", changed.id, "changed elsewhere", now=0.0)
    notes.put("ada", "new", "new elsewhere", now=0.0)
    notes.delete("ada", gone.id)
    book.edit(mine, "   ")
    await until(lambda: mine.state is SaveState.EMPTY)
    book.open()
    await until(lambda: "new" in book.notes)
    assert {note.text for note in book.in_order()} == {"changed elsewhere", "new elsewhere", "   "}


async def test_a_list_that_cannot_be_read_is_asked_for_again(world: World) -> None:
    """A proxy's page, a list of something else and a 404 are all passing troubles."""
    tab = await world.signed_in_tab()
    await world.fault("/api/notes", "body", body="<html>", times=1)
    await world.fault("/api/notes", "body", body={"notes": [{"id": 1}]}, times=1)
    await world.fault("/api/notes", "status", status=404, times=1)
    book = notebook(tab, Shelf())
    await until(lambda: book.loaded)
    assert world.statuses("/api/notes") == [200, 200, 404, 200]


async def test_newest_notes_come_first_and_stay_where_they_are(world: World) -> None:
    """Editing an older note does not move it under the person's hands."""
    _, book, _ = await opened(world)
    first, second = book.add("first"), book.add("second")
    await until(lambda: not book.unsaved)
    book.edit(first, "first, edited")
    assert book.in_order() == [second, first]
    book.open()
    await until(lambda: not book.unsaved)
    assert book.in_order() == [second, first]


async def test_requests_are_marked_as_harmless_to_repeat(world: World) -> None:
    """Every note has an id of its own from the start, so a lost answer is never a reason to hesitate."""
    tab, book, _ = await opened(world)
    note = book.add("once")
    await until(lambda: saved(note))
    put = next(request for request in tab.wire.sent if request.method == "PUT")
    assert put.replay is True
    assert put.body is not None
    assert json.loads(put.body.content) == {"text": "once"}
    assert put.target.url.endswith(f"/api/notes/{note.id}")


async def test_a_late_answer_of_the_old_session_does_not_strand_a_note(world: World) -> None:
    """The session ends and begins again while a save is under way: the note gets through all the same."""
    tab, book, _ = await opened(world)

    async def end_and_begin(_: Request) -> None:
        tab.wire.before_answer = None
        await tab.session.sign_out()
        await tab.session.sign_in("ada", "lovelace")

    tab.wire.before_answer = end_and_begin
    await world.expire()
    note = book.add("in between")
    await until(lambda: saved(note))
    assert texts(world) == ["in between"]


async def saved_note(world: World, text: str = "old") -> tuple[Tab, Notebook, Shelf, Note]:
    """Return ada's notebook with one saved note."""
    tab, book, shelf = await opened(world)
    note = book.add(text)
    await until(lambda: saved(note))
    return tab, book, shelf, note


async def test_two_texts_of_one_note_become_two_notes(world: World) -> None:
    """Changed elsewhere while it was changed here: what came first keeps the id, mine becomes a note of its own."""
    _, book, shelf, note = await saved_note(world)
    first_id = note.id
    world.server.notes.put("ada", first_id, "theirs", now=0.0)
    book.edit(note, "mine")
    await until(lambda: saved(note))
    assert sorted(texts(world)) == ["mine", "theirs"]
    assert (note.text, note.remark) == ("mine", Remark.COPY)
    assert (book.notes[first_id].text, book.notes[first_id].remark) == ("theirs", None)
    book.edit(note, "mine again")
    await until(lambda: saved(note))
    assert sorted(texts(world)) == ["mine again", "theirs"]
    assert not kept(shelf)


async def test_a_list_does_not_make_another_text_seen(world: World) -> None:
    """The list comes while a note is emptied to be written anew: what is then typed over is still not lost."""
    _, book, _, note = await saved_note(world)
    world.server.notes.put("ada", note.id, "theirs", now=0.0)
    book.edit(note, "")
    await until(lambda: note.state is SaveState.EMPTY)
    book.open()
    await asyncio.sleep(1)
    book.edit(note, "mine")
    await until(lambda: saved(note))
    assert sorted(texts(world)) == ["mine", "theirs"]


async def test_what_is_typed_while_two_notes_are_made_of_one_comes_after_it(world: World) -> None:
    """The new note, too, is never on its way twice at once."""
    tab, book, _, note = await saved_note(world)
    world.server.notes.put("ada", note.id, "theirs", now=0.0)
    tab.wire.delay = 1.0
    tab.wire.most_under_way = 0
    book.edit(note, "mine")
    book.flush()
    await until(lambda: note.remark is Remark.COPY)
    book.edit(note, "mine, longer")
    book.flush()
    await until(lambda: saved(note))
    assert tab.wire.most_under_way == 1
    assert sorted(texts(world)) == ["mine, longer", "theirs"]


async def test_an_edit_after_a_lost_answer_is_no_quarrel_with_oneself(world: World) -> None:
    """The server took the first text and nobody heard; the second replaces it, here or in the page after a reload."""
    _, book, shelf, note = await saved_note(world)
    await world.fault("/api/notes/*", "drop_after", times=1)
    book.edit(note, "old, edited")
    book.flush()
    await until(lambda: note.state is SaveState.WAITING)
    book.edit(note, "old, edited twice")
    before = Shelf(**shelf.texts)
    await until(lambda: saved(note))
    assert texts(world) == ["old, edited twice"]
    world.server.notes.put("ada", note.id, "old, edited", now=0.0)
    again = notebook(world.tab(), before)
    await until(lambda: again.loaded and not again.unsaved)
    assert texts(world) == ["old, edited twice"]


async def test_a_draft_of_an_older_text_replaces_nothing_newer(world: World) -> None:
    """Typed in vain, the page reloaded days later: what was written elsewhere meanwhile is still there."""
    tab, book, shelf, note = await saved_note(world)
    tab.wire.cut = True
    book.edit(note, "from the train")
    world.server.notes.put("ada", note.id, "from the desk", now=0.0)
    world.heal()
    again = notebook(world.tab(), Shelf(**shelf.texts))
    await until(lambda: again.loaded and not again.unsaved)
    assert sorted(texts(world)) == ["from the desk", "from the train"]


async def test_what_was_deleted_elsewhere_is_kept_when_it_was_changed_here(world: World) -> None:
    """Text is worth more than a deletion."""
    _, book, _, note = await saved_note(world)
    world.server.notes.delete("ada", note.id)
    book.edit(note, "still needed")
    await until(lambda: saved(note))
    assert (texts(world), note.remark) == (["still needed"], Remark.KEPT)


async def test_what_was_changed_elsewhere_is_not_deleted_unseen(world: World) -> None:
    """The deletion is taken back, and the new text shown."""
    _, book, _, note = await saved_note(world)
    world.server.notes.put("ada", note.id, "not so fast", now=0.0)
    book.delete(note)
    await until(lambda: saved(note))
    assert (note.text, note.deleted, note.remark) == ("not so fast", False, Remark.RESTORED)
    assert texts(world) == ["not so fast"]
    book.delete(note)
    await until(lambda: saved(note))
    assert texts(world) == []


async def test_a_server_without_versions_takes_what_comes_last(world: World) -> None:
    """Nothing is sent that such a server does not know; a 412 of a proxy is an answer like others."""
    tab, book, _ = await opened(world)
    await world.fault("/api/notes/*", "body", body={"id": "x"}, times=1)
    note = book.add("one")
    await until(lambda: saved(note))
    await world.fault("/api/notes/*", "status", status=412, times=1)
    book.edit(note, "two")
    await until(lambda: note.state is SaveState.FAILED)
    book.try_again(note)
    await until(lambda: saved(note))
    assert all("if-match" not in request.headers for request in tab.wire.sent)


async def test_the_note_a_person_is_in_changes_when_they_leave(world: World) -> None:
    """Nothing moves under the caret; what another tab wrote or deleted is shown afterwards."""
    _, book, _, note = await saved_note(world)
    other = book.add("other")
    await until(lambda: saved(other))
    book.hold(note)
    world.server.notes.put("ada", note.id, "changed elsewhere", now=0.0)
    world.server.notes.put("ada", other.id, "changed too", now=0.0)
    book.open()
    await until(lambda: other.text == "changed too")
    assert note.text == "old"
    book.hold(None)
    await until(lambda: note.text == "changed elsewhere")
    book.hold(note)
    world.server.notes.delete("ada", note.id)
    book.open()
    await asyncio.sleep(1)
    assert note.id in book.notes
    book.hold(None)
    await until(lambda: note.id not in book.notes)


async def test_news_during_a_look_is_looked_at(world: World) -> None:
    """Another tab saves while the list is on its way: it is asked for once more, however often that was told."""
    tab, book, _ = await opened(world)
    tab.wire.delay = 1.0
    book.open()
    await asyncio.sleep(1.5)
    book.open()
    await asyncio.sleep(0.5)
    world.server.notes.put("ada", "new", "new elsewhere", now=0.0)
    for _ in range(5):
        book.open()
    await until(lambda: "new" in book.notes, limit=5)
    await asyncio.sleep(5)
    assert len(world.statuses("/api/notes")) == 3


async def test_other_tabs_are_told_of_each_save(world: World) -> None:
    """One word for what reached the server, and none for what did not."""
    tab, told = await world.signed_in_tab(retry=eager_retry()), list[str]()
    drafts = Drafts(Shelf())
    book = Notebook(
        "ada",
        session=tab.session,
        url="/api/notes",
        drafts=drafts,
        changed=lambda: None,
        sent=lambda: told.append("saved"),
    )
    note = book.add("one")
    await until(lambda: saved(note))
    tab.wire.cut = True
    book.edit(note, "two")
    await until(lambda: note.state is SaveState.WAITING)
    assert told == ["saved"]


async def test_what_a_closed_tab_left_is_taken_over(world: World) -> None:
    """A page that is open goes on with it: notes are saved, a text of a note that is changed here becomes a copy."""
    _, book, _, note = await saved_note(world)
    clean = book.add("clean")
    await until(lambda: saved(clean))
    book.edit(note, "mine")
    left = Draft(
        new="begun", notes={note.id: "theirs", clean.id: "clean, edited", "fresh": "new"}, deleted={"gone": "gone"}
    )
    assert book.take_over(left)
    assert book.new == "begun"
    await until(lambda: not book.unsaved)
    assert sorted(texts(world)) == ["clean, edited", "mine", "new", "theirs"]


async def test_a_box_in_use_is_not_written_into(world: World) -> None:
    """What another tab had in its box is offered again later."""
    _, book, _ = await opened(world)
    book.write_new("being typed")
    assert not book.take_over(Draft(new="begun", notes={"fresh": "new"}))
    assert (book.new, "fresh" in book.notes) == ("being typed", False)
    book.write_new("")
    assert book.take_over(Draft(new="begun"))
    assert book.new == "begun"
