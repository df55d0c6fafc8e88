"""Controls: break the session's world on purpose, and see that nothing comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from freshfetch import FreshfetchError, Response

from .elements import Tasks, bring_into_view, find, has_focus, listen, number_in, set_text
from .wording import counted, duration

if TYPE_CHECKING:
    from freshfetch import Session

    from .mock_controls import MockControls

NO_ANSWER = "The server did not answer."


class Controls:
    """The buttons, and a sentence about what each one did."""

    def __init__(self, session: Session, mock: MockControls, *, data: str, heartbeat: str) -> None:
        self._session = session
        self._mock = mock
        self._data = data
        self._heartbeat = heartbeat
        self._tasks = Tasks()
        self._exist = True
        self._subject: str | None = None
        self._on_press("expire-token", self._expire)
        self._on_press("revoke-session", self._revoke)
        self._on_press("fail-server", self._fail)
        self._on_press("refresh-now", self._refresh)
        self._on_press("check-now", self._check)
        self._on_press("burst", self._burst, result="burst-result")

    def set_missing(self) -> None:
        """Say that this server cannot be broken on purpose."""
        self._exist = False
        find("controls-missing").hidden = False
        for each in ("scenarios", "controls-all"):
            find(each).hidden = True

    def draw(self, subject: str | None) -> None:
        """Let somebody who is signed in press the buttons."""
        if subject is not None and subject != self._subject:
            self._clear()  # what was said last may be over
        self._subject = subject
        find("controls-all").disabled = subject is None
        find("controls-signed-out").hidden = subject is not None or not self._exist

    def _clear(self) -> None:
        for each in ("control-result", "burst-result"):
            set_text(find(each), "")

    def _on_press(self, name: str, act: Callable[[], Awaitable[str]], result: str = "control-result") -> None:
        button = find(name)

        async def run() -> None:
            button.setAttribute("aria-busy", "true")
            self._clear()
            try:
                set_text(find(result), await act())
            except FreshfetchError as error:
                set_text(find(result), f"That did not work: {error}")
            finally:
                button.setAttribute("aria-busy", "false")
            if has_focus(button):
                bring_into_view(find(result))

        def on_click(_event: Any) -> None:
            if button.getAttribute("aria-busy") != "true":
                self._tasks.start(run())

        listen(button, "click", on_click)

    async def _expire(self) -> str:
        done = await self._mock.expire(self._session.subject or "")
        return "The token is dead. The next request finds out, and you will not." if done else NO_ANSWER

    async def _revoke(self) -> str:
        done = await self._mock.revoke(self._session.subject or "")
        return "The session is over at the server. The next request finds out." if done else NO_ANSWER

    async def _fail(self) -> str:
        seconds = number_in("fail-seconds", 10)
        done = await self._mock.fail(seconds)
        return f"For {duration(seconds)} the server answers 503. Write something meanwhile." if done else NO_ANSWER

    async def _refresh(self) -> str:
        await self._session.refresh()
        return "There is a new access token."

    async def _check(self) -> str:
        response = await self._session.fetch(self._heartbeat, cache="no-store")
        return "The token works." if response.ok else f"The server answered {response.status}."

    async def _burst(self) -> str:
        """Send many requests at once and compare what was asked with what the server saw."""
        size = number_in("burst-size", 50)
        await self._mock.look()
        before = self._mock.counts
        answers = await asyncio.gather(*(self._get(f"{self._data}/{number}") for number in range(1, size + 1)))
        asked = f"{counted(size, 'request', 'requests')}, {sum(answers)} answered"
        if not await self._mock.look():
            return f"{asked}."
        seen = self._mock.counts.since(before)
        refreshes = counted(seen.refreshes, "refresh", "refreshes")
        return f"{asked}, server saw {counted(seen.requests, 'request', 'requests')}, {refreshes}."

    async def _get(self, url: str) -> bool:
        try:
            response: Response = await self._session.fetch(url)
            await response.bytes()
        except FreshfetchError:
            return False
        return response.ok
