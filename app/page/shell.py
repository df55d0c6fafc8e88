"""Shell: which part of the page is shown, following what the session tells."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import js
from pyodide.ffi import JsException

from freshfetch import (
    Event,
    FreshfetchError,
    RevocationFailed,
    SessionExpired,
    SignedIn,
    SignedOut,
    State,
    StateChanged,
    StorageFailed,
)

from .elements import Frame, Tasks, find, focus_is_lost, listen, set_text
from .wording import kept_for, next_try, sign, signed_in_elsewhere, trouble, why_sign_in

if TYPE_CHECKING:
    from freshfetch import Session

    from .controls import Controls
    from .drafts import Drafts
    from .events_panel import EventsPanel
    from .mock_controls import MockControls
    from .notes import Notes
    from .notices import Notices
    from .scenarios.panel import Scenarios
    from .server_panel import ServerPanel
    from .session_panel import SessionPanel
    from .sign_in import SignIn
    from .tab_sign import TabSign
    from .timeline import Timeline
    from .tour import Tour

TICK = 1.0
LOOK_EVERY = 2.0
"""Seconds between two looks at what the server saw."""
LOOK_AGAIN = 5.0
"""Seconds between two looks whether the server can be looked at at all, while it does not answer."""
PATIENCE = 0.4
"""Seconds a renewal may take before anybody is told."""
LONGEST_TRY = 10.0
"""Seconds the server has to answer somebody who asked whether it is back."""
ENDED = "Your session has ended. What you wrote is kept."
STORAGE_REFUSED = (
    "This browser does not let the page keep anything: a reload will ask for your password, and what is not saved yet "
    "is in this page only. To change that, allow this site to store data."
)
REVOCATION_FAILED = (
    "You are signed out here, but the server could not be told. "
    "On a device that others use, sign in and out once more when you are online."
)
RETURNING = "freshfetch.page.returning"


class Shell:
    """The page as a whole."""

    def __init__(
        self,
        session: Session,
        *,
        heartbeat: str,
        mock: MockControls,
        drafts: Drafts,
        sign_in: SignIn,
        notes: Notes,
        notices: Notices,
        tab_sign: TabSign,
        tour: Tour,
        session_panel: SessionPanel,
        server_panel: ServerPanel,
        events_panel: EventsPanel,
        timeline: Timeline,
        controls: Controls,
        scenarios: Scenarios,
    ) -> None:
        self._session = session
        self._heartbeat = heartbeat
        self._mock = mock
        self._drafts = drafts
        self._sign_in = sign_in
        self._notes = notes
        self._notices = notices
        self._tab_sign = tab_sign
        self._tour = tour
        self._session_panel = session_panel
        self._server_panel = server_panel
        self._events_panel = events_panel
        self._timeline = timeline
        self._controls = controls
        self._scenarios = scenarios
        self._tasks = Tasks()
        self._frame = Frame(self._draw_live)
        self._last_subject = ""
        self._why = ""
        self._in_trouble = False
        self._trouble = ""
        self._is_trying = False
        self._tried_in_vain = False
        self._unsaved = False
        self._renewing: asyncio.TimerHandle | None = None
        self._is_slow = False

    async def run(self) -> None:
        """Show the page for as long as it lives."""
        self._session.subscribe(self._on_event)
        self._notes.drawn = self._draw_trouble
        self._drafts.refused = self._on_refused
        listen(find("sign-out"), "click", lambda _: self._tasks.start(self._session.sign_out()))
        listen(js.window, "online", lambda _: self._notes.wake())
        self._begin()
        self._timeline.start()
        self._tasks.start(self._watch_server())
        while True:
            self._tick()
            await asyncio.sleep(TICK)

    async def _watch_server(self) -> None:
        """Look what the server saw, now and then, if it can be looked at."""
        while (exist := await self._mock.exist()) is None and not js.freshfetchServer.isMissing:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_AGAIN)  # it may be starting yet
        if not exist:
            self._server_panel.hide()
            self._controls.set_missing()
            self._controls.draw(self._session.subject)
            return
        self._scenarios.start()
        while True:
            if self._session.state is not State.OFFLINE:
                await self._server_panel.look()
            await asyncio.sleep(LOOK_EVERY)

    def _begin(self) -> None:
        """Take over from the static page."""
        if self._session.subject is None:
            self._sign_in.show(self._kept())
        else:
            self._show_notes(self._session.subject)
            if not self._sign_in.pressed:
                self._sign_in.hide()
                self._tour.offer()
        self._draw()
        for early in ("boot", "boot-failed"):  # where something failed Python may be there all the same
            find(early).hidden = True
        js.document.documentElement.dataset.ready = "true"
        self._sign_in.start()

    # -- what the session tells --

    def _on_event(self, event: Event) -> None:
        self._events_panel.add(event)
        self._timeline.listen(event)
        match event:
            case SignedIn():
                self._on_signed_in(event)
            case SignedOut():
                self._on_signed_out(event)
            case SessionExpired():
                self._on_expired(event)
            case StateChanged():
                self._on_state(event)
            case StorageFailed():
                self._draw()
            case RevocationFailed():
                self._notices.inform("revocation", REVOCATION_FAILED)
        self._frame.ask()

    def _on_signed_in(self, event: SignedIn) -> None:
        if self._session.subject is None:  # over again before it was told
            return
        other = self._last_subject not in ("", event.subject) and event.elsewhere
        was_on_page = not find("sign-in-view").hidden
        self._notices.hide("elsewhere")
        self._notices.hide("sign-in")
        self._notices.hide("revocation")
        self._sign_in.hide()
        self._show_notes(self._session.subject)
        if other:
            self._notices.inform("elsewhere", signed_in_elsewhere(event.subject))
        elif was_on_page and not event.elsewhere:
            find("note-text").focus()
        self._tour.offer()
        self._draw()

    def _on_signed_out(self, event: SignedOut) -> None:
        if self._session.subject is not None:
            return
        elsewhere = "You signed out in another tab." if event.elsewhere else ""
        self._notes.hide()
        self._tour.hide()
        self._notices.hide("elsewhere")
        self._sign_in.show(" ".join(filter(None, (elsewhere, self._kept()))))
        self._remember(returning=False)
        self._draw()
        if not event.elsewhere or focus_is_lost():
            find("username").focus()

    def _on_expired(self, event: SessionExpired) -> None:
        if self._session.state is not State.SIGN_IN_REQUIRED or not self._last_subject:
            return
        self._why = f"{why_sign_in(event.reason)} What you wrote is kept and saved when you are back."
        self._show_notes(self._last_subject)
        self._tour.hide()
        self._notices.hide("elsewhere")
        self._notices.show("sign-in", ENDED, tone="bad", action=("Sign in again", self._ask))
        self._remember(returning=False)
        self._sign_in.ask_in_pause(self._last_subject, self._why)
        self._draw()

    def _on_state(self, event: StateChanged) -> None:
        if event.new is State.REFRESHING and self._renewing is None:
            self._renewing = asyncio.get_running_loop().call_later(PATIENCE, self._draw_renewing)
        elif event.new is not State.REFRESHING:
            self._stop_renewing()
        if event.new is State.SIGNED_IN:
            self._notes.wake()
        self._draw()

    def _on_refused(self) -> None:
        """Say once that text would not survive the page; it is saved at the server all the same."""
        self._drafts.refused = lambda: None
        if self._session.snapshot().storage_problem:
            return  # that nothing is kept is being said
        text = "This browser has no room for unsaved text. Leave this page open until everything is saved."
        self._notices.inform("drafts", text)

    # -- what follows for the page --

    def _show_notes(self, subject: str) -> None:
        self._last_subject = subject
        self._remember(returning=True)
        set_text(find("who"), subject)
        self._notes.show(subject)

    def _ask(self) -> None:
        self._sign_in.ask(self._last_subject, self._why)

    def _kept(self) -> str:
        """Say whose unsaved work waits here."""
        waiting = [owner for owner in self._drafts.owners() if self._drafts.of(owner)]
        return " ".join(
            kept_for(owner, self._drafts.of(owner).unsaved, is_safe=self._is_safe(owner)) for owner in waiting
        )

    def _is_safe(self, owner: str) -> bool:
        """Tell whether what somebody writes survives the page."""
        return self._drafts.is_safe(owner) and not self._session.snapshot().storage_problem

    def _draw(self) -> None:
        """Show what must be right even in a tab that nobody sees."""
        snapshot = self._session.snapshot()
        find("account").hidden = snapshot.subject is None
        js.document.documentElement.dataset.view = "sign-in" if snapshot.state is State.SIGNED_OUT else "notes"
        self._controls.draw(snapshot.subject)
        self._draw_trouble()
        if snapshot.storage_problem:
            self._notices.show("storage", STORAGE_REFUSED)
            self._notices.hide("drafts")  # one word about it is enough
        else:
            self._notices.hide("storage")
        self._draw_live()

    def _draw_trouble(self) -> None:
        """Say when the server does not answer, and when it is tried again."""
        snapshot, book = self._session.snapshot(), self._notes.book
        self._in_trouble = snapshot.subject is not None and (
            snapshot.state is State.OFFLINE
            or snapshot.retry_in > 0
            or (book is not None and book.in_trouble)
            or (self._in_trouble and snapshot.state is State.REFRESHING)
        )
        self._notes.set_trouble(in_trouble=self._in_trouble)
        self._draw_sign()
        if not self._in_trouble:
            self._tried_in_vain = False
            self._notices.hide("server")
            return
        self._stop_renewing()
        action = None if snapshot.retry_in else ("Try now", self._try_now)
        # A mere try does not make it another trouble to be read out.
        if snapshot.state is not State.REFRESHING or not self._trouble:
            is_safe = self._is_safe(snapshot.subject or self._last_subject)
            self._trouble = trouble(snapshot.state, is_safe=is_safe, still=self._tried_in_vain)
        self._notices.show("server", self._trouble, tone="bad", action=action)
        planned = snapshot.retry_in or (None if book is None else book.next_try_in)
        self._notices.detail("server", next_try(0.0 if self._is_trying else planned))

    def _try_now(self) -> None:
        """Send what waits; and ask the server itself, since there may be nothing that waits."""
        self._notes.wake()
        if not self._is_trying:
            self._is_trying = True
            self._tasks.start(self._try())

    async def _try(self) -> None:
        self._draw_trouble()
        try:
            response = await self._session.fetch(self._heartbeat, timeout=LONGEST_TRY, cache="no-store")
            self._tried_in_vain = not response.ok
        except FreshfetchError:
            self._tried_in_vain = True
        finally:
            self._is_trying = False
            self._draw_trouble()

    def _draw_renewing(self) -> None:
        if self._session.state is State.REFRESHING and self._session.snapshot().retry_in == 0:
            self._is_slow = True
            self._notices.show("renewing", "Renewing your session. You can go on.", tone="busy")
            self._draw_sign()

    def _stop_renewing(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None
        self._is_slow = False
        self._notices.hide("renewing")

    def _draw_sign(self) -> None:
        """Tell also somebody who is in another tab."""
        what = {"in_trouble": self._in_trouble, "renewing": self._is_slow, "unsaved": self._unsaved}
        self._tab_sign.draw(sign(self._session.state, **what))

    def _draw_live(self) -> None:
        self._session_panel.draw(self._session.snapshot())

    def _tick(self) -> None:
        self._unsaved = self._notes.unsaved  # looked at once a second: an icon that flickers with each key helps nobody
        self._draw_trouble()
        if js.document.visibilityState == "visible":
            self._draw_live()
            self._events_panel.tick()

    def _remember(self, *, returning: bool) -> None:
        """Tell the next start whether to expect a person who is signed in: a matter of what is painted first."""
        storage: Any
        try:
            storage = js.localStorage
            if returning:
                storage.setItem(RETURNING, "true")
            else:
                storage.removeItem(RETURNING)
        except (JsException, AttributeError):
            return
