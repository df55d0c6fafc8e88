"""Sign-in: one form, at its place on the page or in a dialog over the notes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import js

from freshfetch import FreshfetchError, InvalidCredentialsError

from .elements import Tasks, find, focus_is_lost, listen, set_text
from .wording import sign_in_problem

if TYPE_CHECKING:
    from freshfetch import Session


PAUSE = 1.5
"""Seconds without a key after which somebody has stopped writing: a dialog before that would take what they type."""


class SignIn:
    """Asks for name and password and hands them to the session; what follows is the session's to tell."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tasks = Tasks()
        self._busy = False
        self._form = find("sign-in-form")
        self._username = find("username")
        self._password = find("password")
        self._button = find("sign-in-button")
        self._message = find("sign-in-message")
        self._dialog = find("sign-in-dialog")
        self._before: Any = None
        self._typed_at = float("-inf")
        self._asking: asyncio.TimerHandle | None = None
        listen(self._form, "submit", self._on_submit)
        listen(self._form, "input", lambda _: self._complain(""))
        listen(find("notes-view"), "input", lambda _: self._on_typing())
        listen(find("ask-later"), "click", lambda _: self._dialog.close())
        listen(js.document, "focusin", self._on_focus)
        listen(self._dialog, "close", lambda _: self._go_back())

    @property
    def pressed(self) -> bool:
        """Whether somebody asked to be signed in before Python was there."""
        return bool(self._form.hasAttribute("data-pressed"))

    def start(self) -> None:
        """Do what was asked for before Python was there."""
        if self.pressed:
            self._on_submit(None)

    def show(self, why: str = "") -> None:
        """Put the form on the page; ``why`` says how it came to this."""
        self._put_away()
        place = find("sign-in-place")
        if not place.contains(self._form):  # moving it would take the focus from somebody who is typing
            place.append(self._form)
        find("sign-in-view").hidden = False
        reason = find("sign-in-why")
        reason.hidden = not why
        set_text(reason, why)

    def hide(self) -> None:
        """Take the form away: somebody is signed in."""
        find("sign-in-view").hidden = True
        self._put_away()
        self._password.value = ""
        self._complain("")

    def ask_in_pause(self, subject: str, why: str) -> None:
        """Open the dialog as soon as that person is not in the middle of a sentence."""
        self._stop_asking()
        loop = asyncio.get_running_loop()
        pause = self._typed_at + PAUSE
        if pause > loop.time():
            self._asking = loop.call_at(pause, self.ask_in_pause, subject, why)
        else:
            self.ask(subject, why)

    def ask(self, subject: str, why: str) -> None:
        """Open the dialog, for the person who was signed in until now."""
        self._stop_asking()
        if self._dialog.open:
            return
        find("sign-in-view").hidden = True
        find("ask-place").append(self._form)
        set_text(find("ask-why"), why)
        self._username.value = subject
        self._dialog.showModal()
        self._password.focus()

    def _on_typing(self) -> None:
        self._typed_at = asyncio.get_running_loop().time()

    def _stop_asking(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _put_away(self) -> None:
        self._stop_asking()
        if self._dialog.open:
            self._dialog.close()

    def _on_focus(self, event: Any) -> None:
        """Take note where the person is: once the dialog is asked for, a button there may have been disabled."""
        if not self._dialog.contains(event.target) and not self._form.contains(event.target):
            self._before = event.target

    def _go_back(self) -> None:
        """Give the focus back where the browser cannot: a button was disabled meanwhile, or is gone."""
        if focus_is_lost() and self._before is not None:
            self._before.focus()
        if focus_is_lost():
            find("note-text").focus()

    def _on_submit(self, event: Any) -> None:
        if event is not None:
            event.preventDefault()
        if not self._busy:
            self._tasks.start(self._sign_in())

    async def _sign_in(self) -> None:
        self._set_busy(busy=True)
        self._complain("")
        try:
            await self._session.sign_in(str(self._username.value), str(self._password.value))
        except FreshfetchError as error:
            is_wrong = isinstance(error, InvalidCredentialsError)
            self._complain(sign_in_problem(error), is_wrong=is_wrong)
            if is_wrong:
                self._password.focus()
                self._password.select()
        finally:
            self._set_busy(busy=False)

    def _set_busy(self, *, busy: bool) -> None:
        self._busy = busy
        self._button.setAttribute("aria-busy", str(busy).lower())
        set_text(self._button, "Signing in…" if busy else "Sign in")

    def _complain(self, problem: str, *, is_wrong: bool = False) -> None:
        """Say what the problem is, and whether it is with what was typed."""
        set_text(self._message, problem)
        for field in (self._username, self._password):
            if is_wrong:
                field.setAttribute("aria-invalid", "true")
            else:
                field.removeAttribute("aria-invalid")
