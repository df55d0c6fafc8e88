"""Whose request it is: signing in and out, here and in other tabs, while requests and refreshes are under way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from freshfetch import (
    Hint,
    IdentityChangedError,
    InvalidCredentialsError,
    RefreshFailed,
    RefreshSucceeded,
    Request,
    RevocationFailed,
    SessionExpired,
    SessionExpiredError,
    SessionRecord,
    SignedIn,
    SignedOut,
    SignedOutError,
    State,
    StateChanged,
    TransportError,
)
from freshfetch.memory import MemoryTokenStore
from tests.world import START, Tab, World, eager_retry, outcomes, seconds_since_start, until


async def two_tabs(world: World, **settings: Any) -> tuple[Tab, Tab]:
    """Return two running tabs of ada's; the settings are the first one's."""
    first, second = await world.signed_in_tab(**settings), world.tab()
    await first.session.__aenter__()
    await second.session.__aenter__()
    first.events.clear()
    return first, second


def freeze_refreshes(tab: Tab) -> asyncio.Event:
    """Keep the answers of this tab's refreshes back until the event is set, as a frozen tab would."""
    thawed = asyncio.Event()

    async def wait(request: Request) -> None:
        if request.path == "/api/auth/refresh":
            await thawed.wait()

    tab.wire.before_answer = wait
    return thawed


async def test_signing_in_stores_the_tokens_and_tells_everybody(world: World) -> None:
    """One login request, one record, SignedIn here and (elsewhere) in the other tab."""
    tab, other = world.tab(), world.tab()
    async with tab.session, other.session:
        await tab.session.sign_in("ada", "lovelace")
        await asyncio.sleep(0.1)
        assert [entry.effects for entry in world.journal()] == [["signed_in"]]
        assert world.record().subject == "ada"
        assert [(event.subject, event.elsewhere) for event in tab.seen(SignedIn)] == [("ada", False)]
        assert [(event.subject, event.elsewhere) for event in other.seen(SignedIn)] == [("ada", True)]
        assert (tab.session.state, other.session.state) == (State.SIGNED_IN, State.SIGNED_IN)
        assert (tab.session.subject, other.session.subject) == ("ada", "ada")


async def test_a_wrong_password_is_told_and_changes_nothing(world: World) -> None:
    """InvalidCredentialsError, nothing stored, still signed out."""
    tab = world.tab()
    with pytest.raises(InvalidCredentialsError):
        await tab.session.sign_in("ada", "wrong")
    assert world.store.load() is None
    assert tab.session.state is State.SIGNED_OUT


async def test_a_failed_sign_in_leaves_the_one_who_is_signed_in(world: World) -> None:
    """A wrong password of somebody else does not end ada's session."""
    tab = await world.signed_in_tab()
    with pytest.raises(InvalidCredentialsError):
        await tab.session.sign_in("grace", "wrong")
    assert world.record().subject == "ada"
    assert (await tab.session.fetch("/api/data")).ok


async def test_signing_in_without_a_network_is_a_transport_error(world: World) -> None:
    """No answer to a sign-in is TransportError; nothing is stored."""
    tab = world.tab()
    tab.wire.cut = True
    with pytest.raises(TransportError):
        await tab.session.sign_in("ada", "lovelace")
    assert world.store.load() is None


async def test_signing_out_ends_the_session_here_there_and_at_the_server(world: World) -> None:
    """The record goes, the family is revoked, both tabs hear of it once, and no request leaves afterwards."""
    tab, other = await two_tabs(world)
    await tab.session.sign_out()
    await asyncio.sleep(1)
    assert world.store.load() is None
    assert [entry.effects for entry in world.journal()] == [["signed_out"]]
    assert [event.elsewhere for event in tab.seen(SignedOut)] == [False]
    assert [event.elsewhere for event in other.seen(SignedOut)] == [True]
    assert (tab.session.state, other.session.state) == (State.SIGNED_OUT, State.SIGNED_OUT)
    assert tab.seen(SessionExpired) == other.seen(SessionExpired) == []


async def test_signing_out_twice_is_harmless(world: World) -> None:
    """The second sign-out has nobody to sign out and says nothing."""
    tab = await world.signed_in_tab()
    await tab.session.sign_out()
    await tab.session.sign_out()
    await asyncio.sleep(0)
    assert len(tab.seen(SignedOut)) == 1
    assert len(world.journal("/api/auth/logout")) == 1


@pytest.mark.parametrize("failure", ["cut", "500", "stall"])
async def test_signing_out_works_without_the_server(world: World, failure: str) -> None:
    """The session ends here at once; RevocationFailed says that the refresh token lives on there."""
    tab = await world.signed_in_tab()
    if failure == "cut":
        tab.wire.cut = True
    elif failure == "stall":
        await world.fault("/api/auth/logout", "stall")
    else:
        await world.fault("/api/auth/logout", "status", status=500)
    leaving = asyncio.create_task(tab.session.sign_out())
    await asyncio.sleep(0)
    assert world.store.load() is None
    assert tab.session.state is State.SIGNED_OUT
    await leaving
    await asyncio.sleep(0)
    assert len(tab.seen(RevocationFailed)) == 1


async def test_a_request_refused_in_flight_is_not_replayed_as_another_person(world: World) -> None:
    """Ada's POST is refused after grace has signed in: it is not sent again with grace's token."""
    first, second = await two_tabs(world)
    await world.expire()
    await world.fault("/api/notes", "delay", delay=3)
    saving = asyncio.create_task(first.session.fetch("/api/notes", method="POST", json={"text": "ada's"}))
    await asyncio.sleep(1)
    await second.session.sign_in("grace", "hopper")
    assert isinstance((await outcomes(saving))[0], IdentityChangedError)
    assert [entry.user for entry in world.journal("/api/notes")] == ["ada"]
    assert world.server.notes.of("grace") == []


async def test_a_request_belongs_to_who_was_signed_in_when_it_was_made(world: World) -> None:
    """A fetch that was called, but not awaited, before somebody else signed in here is refused."""
    tab = await world.signed_in_tab()
    call = tab.session.fetch("/api/data")
    await tab.session.sign_out()
    await tab.session.sign_in("grace", "hopper")
    with pytest.raises(IdentityChangedError):
        await call
    assert (await tab.session.fetch("/api/data")).ok
    assert [entry.user for entry in world.journal("/api/data")] == ["grace"]


async def test_the_same_person_signing_in_elsewhere_lets_waiting_requests_go_on(world: World) -> None:
    """Ada signs in again in another tab while requests wait out an outage here: they succeed with her new tokens."""
    first, second = await two_tabs(world)
    await asyncio.sleep(1801)
    await world.fault("/api/auth/refresh", "status", status=503)
    waiting = [asyncio.create_task(first.session.fetch(f"/api/data/{n}")) for n in range(5)]
    await asyncio.sleep(5)
    await second.session.sign_in("ada", "lovelace")
    results = await asyncio.wait_for(outcomes(*waiting), 2)
    assert [result.status for result in results] == [200] * 5


async def test_what_expired_can_be_sent_again_by_the_same_person(world: World) -> None:
    """After SessionExpiredError and a new sign-in, resend(error.request) saves the note once, byte by byte."""
    tab = await world.signed_in_tab()
    await world.revoke()
    with pytest.raises(SessionExpiredError) as ending:
        await tab.session.fetch("/api/notes", method="POST", json={"text": "typed before"})
    assert ending.value.request is not None
    await tab.session.sign_in("ada", "lovelace")
    assert (await tab.session.resend(ending.value.request)).status == 201
    assert [note.text for note in world.server.notes.of("ada")] == ["typed before"]


async def test_what_expired_is_not_sent_by_another_person(world: World) -> None:
    """After SessionExpiredError and grace's sign-in, resend raises IdentityChangedError and nothing is sent."""
    tab = await world.signed_in_tab()
    await world.revoke()
    with pytest.raises(SessionExpiredError) as ending:
        await tab.session.fetch("/api/notes", method="POST", json={"text": "typed before"})
    assert ending.value.request is not None
    await tab.session.sign_in("grace", "hopper")
    world.start_journal()
    with pytest.raises(IdentityChangedError) as refusal:
        await tab.session.resend(ending.value.request)
    assert refusal.value.request is not None
    assert world.journal() == []


async def test_what_was_asked_after_the_session_expired_can_be_sent_again_too(world: World) -> None:
    """A note saved while sign-in is required is given back, and resend sends it once ada has signed in again."""
    tab = await world.signed_in_tab()
    await world.revoke()
    await outcomes(tab.session.fetch("/api/data"))
    assert tab.session.state is State.SIGN_IN_REQUIRED
    with pytest.raises(SessionExpiredError) as refusal:
        await tab.session.fetch("/api/notes", method="POST", json={"text": "typed after"})
    assert refusal.value.request is not None
    await tab.session.sign_in("ada", "lovelace")
    assert (await tab.session.resend(refusal.value.request)).status == 201


async def test_what_was_asked_after_the_session_expired_is_not_sent_by_another_person(world: World) -> None:
    """The note ada saved while sign-in was required does not leave under grace's name."""
    tab = await world.signed_in_tab()
    await world.revoke()
    await outcomes(tab.session.fetch("/api/data"))
    with pytest.raises(SessionExpiredError) as refusal:
        await tab.session.fetch("/api/notes", method="POST", json={"text": "typed after"})
    assert refusal.value.request is not None
    await tab.session.sign_in("grace", "hopper")
    await outcomes(tab.session.resend(refusal.value.request))
    assert world.server.notes.of("grace") == []


async def test_resending_while_nobody_is_signed_in_is_refused(world: World) -> None:
    """A request of a session that was signed out is not sent anonymously."""
    tab = await world.signed_in_tab()
    call = tab.session.fetch("/api/data")
    await tab.session.sign_out()
    with pytest.raises(SignedOutError) as refusal:
        await call
    assert refusal.value.request is not None
    with pytest.raises(SignedOutError):
        await tab.session.resend(refusal.value.request)
    assert world.journal("/api/data") == []


async def test_a_forged_expiry_after_a_sign_out_asks_nobody_to_sign_in_twice(world: World) -> None:
    """Hints of expiry that come long after a sign-out do not turn it into an expiry."""
    tab, _ = await two_tabs(world)
    await tab.session.sign_out()
    await asyncio.sleep(60)
    world.channel.publish(Hint("expired", "forged"))
    await asyncio.sleep(1)
    assert tab.session.state is State.SIGNED_OUT
    assert tab.seen(SessionExpired) == []


async def test_a_new_sessions_refused_token_is_renewed_while_an_old_refresh_hangs(world: World) -> None:
    """Signed out and in again while a refresh hangs: a refusal of the new token gets a refresh of its own."""
    tab = await world.signed_in_tab()
    await world.fault("/api/auth/refresh", "stall", times=1)
    renewing = asyncio.create_task(tab.session.refresh())
    await until(lambda: world.refreshes() == 1)
    await tab.session.sign_out()
    await tab.session.sign_in("ada", "lovelace")
    await world.expire()
    answer = await tab.session.fetch("/api/data")
    await outcomes(renewing)
    assert answer.status == 200


class LaggingStore(MemoryTokenStore):
    """A store whose commits return a moment after they can be seen, as a browser's transaction does."""

    async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
        """Write, then take a while to say so."""
        written = await super().commit(record, expected=expected)
        await asyncio.sleep(0.05)
        return written


async def test_an_expiry_is_told_as_one_even_if_the_store_shows_it_first(world: World) -> None:
    """The record is gone a moment before the commit returns: callers and listeners still hear of an expiry only."""
    world.store = LaggingStore()
    tab = await world.signed_in_tab()
    await asyncio.sleep(1801)
    await world.revoke()
    first = asyncio.create_task(tab.session.fetch("/api/data/first"))
    await until(lambda: world.store.load() is None)
    second = asyncio.create_task(tab.session.fetch("/api/data/second"))
    results = await outcomes(first, second)
    await asyncio.sleep(1)
    assert isinstance(results[0], SessionExpiredError)
    assert len(tab.seen(SessionExpired)) == 1
    assert tab.seen(SignedOut) == []
    assert tab.session.state is State.SIGN_IN_REQUIRED


async def end_elsewhere(world: World) -> None:
    """Remove the record as another tab does, and say that there is something to see."""
    generation = await world.store.make_current()
    await world.store.commit(None, expected=generation)
    world.channel.publish(Hint("changed"))


async def test_an_expiry_is_told_as_one_even_if_its_word_comes_first(world: World) -> None:
    """The store is a moment behind the channel: nobody hears of a sign-out, and what is asked then can be resent."""
    tab, _ = await two_tabs(world)
    world.channel.publish(Hint("expired", "invalid_grant"))
    await asyncio.sleep(0.05)
    assert tab.session.subject == "ada"
    await end_elsewhere(world)
    await asyncio.sleep(1)
    assert [event.reason for event in tab.seen(SessionExpired)] == ["invalid_grant"]
    assert tab.seen(SignedOut) == []
    assert tab.session.state is State.SIGN_IN_REQUIRED
    (error,) = await outcomes(tab.session.fetch("/api/data", method="POST"))
    assert isinstance(error, SessionExpiredError)
    assert error.request is not None


@pytest.mark.parametrize("meanwhile", ["time", "another sign-in"])
async def test_a_false_word_of_an_expiry_is_soon_forgotten(world: World, meanwhile: str) -> None:
    """Nothing had expired; what ends later is told as the sign-out that it is."""
    tab, other = await two_tabs(world)
    world.channel.publish(Hint("expired", "invalid_grant"))
    if meanwhile == "time":
        await asyncio.sleep(3)
    else:
        await other.session.sign_in("grace", "hopper")
        await asyncio.sleep(0.1)
    await end_elsewhere(world)
    await asyncio.sleep(1)
    assert tab.seen(SessionExpired) == []
    assert [event.elsewhere for event in tab.seen(SignedOut)] == [True]
    assert tab.session.state is State.SIGNED_OUT


async def test_a_hint_during_the_commit_does_not_make_a_refresh_forget_to_tell(world: World) -> None:
    """New tokens can be seen a moment before the commit returns: a hint just then stops neither event nor hint."""
    world.store = LaggingStore()
    first, second = await two_tabs(world)
    before = world.record().access_token
    heard: list[Hint] = []
    world.channel.subscribe(heard.append)
    renewing = asyncio.create_task(first.session.refresh())
    await until(lambda: world.record().access_token != before)
    world.channel.publish(Hint("changed", "late word of something else"))
    await renewing
    await asyncio.sleep(1)
    assert len(first.seen(RefreshSucceeded)) == 1
    assert Hint("changed") in heard
    assert second.session.subject == "ada"


async def test_sessions_of_different_names_do_not_meet(world: World) -> None:
    """Two applications on one page, with stores of their own, refresh at the same time and do not wait."""
    first = await world.signed_in_tab(name="one")
    second = world.tab(name="two", store=MemoryTokenStore())
    await second.session.sign_in("grace", "hopper")
    freeze_refreshes(first)
    stuck = asyncio.create_task(first.session.refresh())
    await until(lambda: world.refreshes() == 1)
    await asyncio.wait_for(second.session.refresh(), 1)
    await first.session.sign_out()
    assert (await second.session.fetch("/api/data")).ok
    assert second.session.subject == "grace"
    await first.session.close()
    await outcomes(stuck)


async def test_an_expiry_elsewhere_is_never_taken_for_a_sign_out(world: World) -> None:
    """The record is gone before the other tab's word comes: state, events and callers here know of an expiry only."""
    first, second = await world.signed_in_tab(retry=eager_retry()), world.tab(retry=eager_retry())
    await second.session.__aenter__()
    await world.fault("/api/auth/refresh", "status", status=503, times=1)
    await asyncio.sleep(1801)
    held = asyncio.create_task(second.session.fetch("/api/data"))
    await until(lambda: second.session.snapshot().retry_in > 0)
    generation = await world.store.make_current()
    await world.store.commit(None, expected=generation)
    late = asyncio.create_task(second.session.fetch("/api/data"))
    await asyncio.sleep(0.1)
    world.channel.publish(Hint("expired", "invalid_grant"))
    assert [type(result) for result in await outcomes(held, late)] == [SessionExpiredError] * 2
    assert second.seen(SignedOut) == []
    assert len(second.seen(SessionExpired)) == 1
    assert [event.new for event in second.seen(StateChanged)][-1] is State.SIGN_IN_REQUIRED
    assert State.SIGNED_OUT not in [event.new for event in second.seen(StateChanged)]
    del first


@pytest.mark.parametrize("word, told", [("expired", SessionExpiredError), ("", SignedOutError)])
async def test_a_request_is_told_how_a_session_ended_elsewhere_when_that_is_known(
    world: World, word: str, told: type[Exception]
) -> None:
    """Nothing is being renewed here, and the record is gone before the word comes, if one comes: the caller waits."""
    tab = await world.signed_in_tab()
    await tab.session.__aenter__()
    generation = await world.store.make_current()
    await world.store.commit(None, expected=generation)
    asked = asyncio.create_task(tab.session.fetch("/api/data"))
    await asyncio.sleep(0.1)
    assert not asked.done()
    if word:
        world.channel.publish(Hint(word, "invalid_grant"))
    assert [type(result) for result in await outcomes(asked)] == [told]


async def test_a_sign_out_here_is_not_taken_for_another_tabs(world: World) -> None:
    """A request sees the record gone before the commit has returned: listeners hear at once, of this tab's doing."""
    world.store = LaggingStore()
    tab = await world.signed_in_tab()
    leaving = asyncio.create_task(tab.session.sign_out())
    await until(lambda: world.store.load() is None)
    await outcomes(tab.session.fetch("/api/data"))
    await leaving
    await asyncio.sleep(0)
    assert [event.elsewhere for event in tab.seen(SignedOut)] == [False]
    assert tab.session.state is State.SIGNED_OUT
    await asyncio.sleep(1)
    assert len(tab.seen(SignedOut)) == 1


async def test_what_became_of_a_sign_in_elsewhere_is_told_as_such(world: World) -> None:
    """Frozen after the commit of a sign-in, which another tab has ended since: that is a sign-out elsewhere."""
    world.store = LaggingStore()
    tab = await world.signed_in_tab()
    entering = asyncio.create_task(tab.session.sign_in("grace", "hopper"))
    await until(lambda: world.record().subject == "grace")
    await MemoryTokenStore.commit(world.store, None, expected=world.record().generation)
    await entering
    await asyncio.sleep(1)
    assert [event.elsewhere for event in tab.seen(SignedOut)] == [True]


async def test_a_session_closed_as_its_refresh_leaves_still_notes_that_no_answer_came(world: World) -> None:
    """Nothing comes within the time limit, that of closing too: it is told, and written down for other tabs."""
    world.store = LaggingStore()
    tab = await world.signed_in_tab()
    await asyncio.sleep(1801)
    await world.fault("/api/auth/refresh", "stall", times=1)
    call = asyncio.create_task(tab.session.fetch("/api/data"))
    await until(lambda: tab.wire.sent[-1].path == "/api/auth/refresh")
    await tab.session.close()
    await outcomes(call)
    assert len(tab.seen(RefreshFailed)) == 1
    assert world.record().unanswered


class DrowsyStore(MemoryTokenStore):
    """A store in which a tab can fall asleep, as one that is frozen while it holds the lock."""

    asleep = 0.0

    async def make_current(self) -> int:
        """Sleep once, then look."""
        asleep, self.asleep = self.asleep, 0.0
        generation = await super().make_current()
        await asyncio.sleep(asleep)
        return generation


async def test_a_tab_that_was_frozen_before_it_sent_gives_the_lock_back_first(world: World) -> None:
    """Frozen for 12 s inside the lock: it may have been passed by, so it sends nothing before it has the lock anew."""
    store = world.store = DrowsyStore()
    tab = await world.signed_in_tab(retry=eager_retry())
    await asyncio.sleep(1801)
    store.asleep = 12.0
    began = seconds_since_start()
    assert (await tab.session.fetch("/api/data")).ok
    [entry] = world.journal("/api/auth/refresh")
    assert entry.at - START - began == pytest.approx(13.0, abs=0.1)


async def test_a_late_word_of_an_expiry_says_nothing_to_who_has_signed_out_since(world: World) -> None:
    """The session expires, the person signs out on the page that says so, the word comes once more: told once."""
    tab, _ = await two_tabs(world)
    generation = await world.store.make_current()
    await world.store.commit(None, expected=generation)
    world.channel.publish(Hint("expired", "invalid_grant"))
    await asyncio.sleep(0.1)
    assert tab.seen(SessionExpired)
    await tab.session.sign_out()
    world.channel.publish(Hint("expired", "invalid_grant"))
    await asyncio.sleep(1)
    assert len(tab.seen(SessionExpired)) == 1
    assert tab.session.state is State.SIGNED_OUT
