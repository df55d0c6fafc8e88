"""Panel: one row for each scenario, with what will happen, a button, and what did happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import js
from pyodide.ffi import create_once_callable, to_js

from freshfetch import Event, FreshfetchError, SignedIn, SignedOut

from .. import inside
from ..elements import Element, Tasks, bring_into_view, find, has_focus, listen, number_in, set_text
from ..journal import NAIVE_IDS
from ..wording import apart
from .clients import Fresh, Naive, Places
from .conditions import Conditions, Unreachable
from .proof import HARM, Proof, compare, line, sentence
from .run import Run
from .scenes import IN_TWO_TABS, SCENES
from .tabs import Guest, SecondTab, TabGone

if TYPE_CHECKING:
    from freshfetch import Session

    from ..ledger import Ledger
    from ..mock_controls import MockControls
    from ..timeline import Timeline

LOCK = "freshfetch.page.scenario"
SOON = 60
"""Seconds for which a token should be good still, or half of its time: longer before its end none is renewed."""
NAIVE = "naive"
BLOCKED = "This browser did not let the page open a second tab. Allow pop-ups for this page and press again."
BUSY = "Another tab is in the middle of a scenario. One at a time."
DOWN = "The server does not answer, so this could not be done. Press again when it does."
BROKEN = "This went wrong and was not finished. Load the page again, then press again."
STOPPED = "Stopped."
SIGNED_OUT = "You signed out in the middle, so this was not finished. Sign in and press again."
RELOADED = "The page was left in the middle of this, so it was not finished."
AS_BEFORE = "The server is as it was before."
NOT_AS_BEFORE = (
    "The server could not be put back as it was before: that is done when the page is loaded or a button pressed."
)
ONE_WINDOW = "This takes two windows, and a page that is one file runs in one. On the site it can be played."


class Scenarios:
    """The scenarios as buttons. One runs at a time, in all tabs; its button stops it."""

    def __init__(
        self, session: Session, mock: MockControls, ledger: Ledger, timeline: Timeline, *, places: Places
    ) -> None:
        self._session = session
        self._mock = mock
        self._ledger = ledger
        self._timeline = timeline
        self._places = places
        self._conditions = Conditions(mock)
        self._people = _people()
        self._numbers: Iterator[int] = count(1)
        self._tasks = Tasks()
        self._running: asyncio.Task[None] | None = None
        self._why_stopped = STOPPED
        self._rows = {name: Row(name) for name in SCENES}
        for name, row in self._rows.items():
            listen(row.button, "click", partial(self._on_press, name))

    def start(self) -> None:
        """Let the buttons be pressed: this server can be broken. Put back what a page that was closed has left."""
        find("scenarios").inert = False
        self._tasks.start(self._heal())
        Guest(self._session, self._ledger, self._places, self._people).start()

    async def _heal(self) -> None:
        async with _alone() as alone:
            if alone:
                left = self._rows.get(await self._conditions.heal())
                if left is not None and self._running is None:
                    left.say(f"{RELOADED} {self._how_it_is()}")

    def _on_press(self, name: str, event: Any) -> None:
        row = self._rows[name]
        if event.detail > 1:
            return  # who presses twice at once does not want it stopped
        if self._running is not None:
            if row.running:
                self._stop(STOPPED)
            return
        row.clear()
        if self._session.subject is None:
            row.say("Sign in first, then press again.")
            return
        if name in IN_TWO_TABS and inside.is_chosen():
            row.say(ONE_WINDOW)
            return
        run = token_hex(4)
        window = SecondTab.open(run) if name in IN_TWO_TABS else None
        if name in IN_TWO_TABS and window is None:
            row.say(BLOCKED)
            return
        self._running = asyncio.get_running_loop().create_task(self._perform(name, run, window))

    def _stop(self, why: str) -> None:
        """End what is running, before its time."""
        if self._running is not None and not self._running.cancelling():
            self._why_stopped = why
            self._running.cancel()

    def _how_it_is(self) -> str:
        return NOT_AS_BEFORE if self._conditions.changed else AS_BEFORE

    async def _perform(self, name: str, run: str, window: Any) -> None:
        row = self._rows[name]
        self._set_running(row, running=True)
        try:
            row.say(await self._attempt(name, run, window))
        except asyncio.CancelledError:
            row.say(f"{self._why_stopped} {self._how_it_is()}")
        except Exception:
            row.say(BROKEN)
            raise
        finally:
            if window is not None:
                window.close()
            self._set_running(row, running=False)
            self._running = None

    async def _attempt(self, name: str, run: str, window: Any) -> str:
        """Play it; return what is left to say."""
        told = ""
        try:
            async with _alone() as alone:
                if not alone:
                    return BUSY
                await self._conditions.heal()
                await self._play(name, run, window)
        except (Unreachable, ConnectionError):
            told = DOWN
        except TabGone as gone:
            told = str(gone)
        except FreshfetchError as error:
            told = f"That did not work: {error}"
        return f"{told} {NOT_AS_BEFORE}".strip() if self._conditions.changed else told

    async def _play(self, name: str, run: str, window: Any) -> None:
        row = self._rows[name]
        with_naive = bool(find("naive-too").checked)
        user = self._session.subject or ""
        other = next((each for each in self._people if each != user), user)
        seconds = number_in("scene-seconds", 20)
        stage = Run(self._mock, self._conditions, seconds=seconds, other=other, say=row.say)
        await self._freshen()
        await stage.count_from_here()
        found = await self._play_fresh(name, run, window, stage)
        row.show(found, None)
        if with_naive:
            stage.other = user
            row.say("Now the naive client, under the same conditions.")
            row.show(found, await self._play_naive(name, f"{NAIVE_IDS}{run}", other, stage))

    async def _freshen(self) -> None:
        """Get a new token if this one is nearly over: that is noticed, and then it would not be refused."""
        token = self._session.snapshot()
        left, lifetime = token.expires_in, token.lifetime
        if left is not None and lifetime is not None and left < min(SOON, lifetime / 2):
            await self._session.refresh()

    async def _play_fresh(self, name: str, run: str, window: Any, stage: Run) -> Proof:
        client = Fresh(self._session, self._ledger, self._places, run, self._people)
        second = SecondTab(window, run, client.account) if window is not None else None
        unsubscribe = self._session.subscribe(partial(self._watch, client.user, anybody=name == "other"))
        try:
            if second is not None:
                stage.say("Waiting for the second tab to start.")
                await second.start()
            self._timeline.mark(self._rows[name].title)
            await stage.play(name, client, second)
        finally:
            unsubscribe()
            if second is not None:
                second.close()
            await client.leave(back=name == "other")
        return await stage.judge(client.account)

    def _watch(self, user: str, event: Event, *, anybody: bool) -> None:
        """End it when its person has left, unless ``anybody`` may take their place."""
        match event:
            case SignedOut():
                self._stop(SIGNED_OUT)
            case SignedIn(subject=subject) if subject != user and not anybody:
                self._stop(f"{apart(subject)} signed in in the middle, so this was not finished. Press again.")

    async def _play_naive(self, name: str, run: str, user: str, stage: Run) -> Proof:
        client = Naive(
            self._places,
            run,
            self._people,
            user,
            numbers=self._numbers,
            draw=lambda event: self._timeline.listen(event, track=NAIVE),
        )
        second = client.other_tab() if name in IN_TWO_TABS else None
        await client.sign_in(user)
        self._timeline.clear(NAIVE)
        self._timeline.mark(f"{self._rows[name].title}: naive")
        await stage.play(name, client, second)
        if second is not None:
            client.account.add(second.account.to_json())
        return await stage.judge(client.account)

    def _set_running(self, running_row: Row, *, running: bool) -> None:
        for row in self._rows.values():
            row.set_running(running=running and row is running_row, possible=not running or row is running_row)


class Row:
    """One scenario on the page."""

    def __init__(self, name: str) -> None:
        self._row = find(f"scene-{name}")
        self.button: Element = self._row.querySelector("button")
        self.title = str(self.button.textContent).strip()
        self.running = False
        self._now = self._row.querySelector(".scene-now")
        self._results = self._row.querySelector(".scene-results")

    def say(self, text: str) -> None:
        """Say what is going on."""
        set_text(self._now, text)

    def clear(self) -> None:
        """Take away what was said the last time."""
        self.say("")
        self._results.replaceChildren()

    def set_running(self, *, running: bool, possible: bool) -> None:
        """Let the button stop what it has started; or do nothing, while another runs."""
        self.running = running
        set_text(self.button, "Stop" if running else self.title)
        self.button.disabled = not possible
        self._row.dataset.running = str(running).lower()

    def show(self, fresh: Proof, naive: Proof | None) -> None:
        """Show what the server says."""
        parts = [_verdict(fresh)]
        if naive is not None:
            parts.append(_table(fresh, naive))
        self._results.replaceChildren(*parts)
        if has_focus(self._row):
            bring_into_view(self._results)


def _verdict(found: Proof) -> Element:
    box = _element("div", "scene-verdict", "")
    box.append(_element("p", "scene-line", line(found)), _element("p", "", sentence(found)))
    box.dataset.good = str(found.good).lower()
    return box


def _table(fresh: Proof, naive: Proof) -> Element:
    table = _element("table", "scene-table", "")
    head = table.createTHead().insertRow()
    head.append(_element("td", "", ""), _head("freshfetch", "col"), _head("a naive client", "col"))
    body = table.createTBody()
    for label, ours, theirs in compare(fresh, naive):
        row = body.insertRow()
        row.append(_head(label, "row"), _figure(label, ours), _figure(label, theirs))
    last = table.createTFoot().insertRow()
    last.append(_head("in a word", "row"), _element("td", "", sentence(fresh)), _element("td", "", sentence(naive)))
    return table


def _head(text: str, scope: str) -> Element:
    cell = _element("th", "", text)
    cell.scope = scope
    return cell


def _figure(label: str, figure: str) -> Element:
    return _element("td", "harm" if label in HARM and figure != "0" else "", figure)


def _element(kind: str, name: str, text: str) -> Element:
    element = js.document.createElement(kind)
    element.className = name
    element.textContent = text
    return element


def _people() -> dict[str, str]:
    """Return the demo users and their passwords, which stand on the page for everybody to use."""
    buttons = js.document.querySelectorAll("[data-username]")
    return {str(each.dataset.username): str(each.dataset.password) for each in buttons}


@asynccontextmanager
async def _alone() -> AsyncIterator[bool]:
    """Keep the other tabs from doing this meanwhile; False when one of them is doing it.

    A browser that refuses locks refuses storage as well: then no tab has a session in common with another.
    """
    if not hasattr(js.navigator, "locks"):
        yield True  # a page from an insecure origin: there the session is sound in one tab at a time, too
        return
    loop = asyncio.get_running_loop()
    granted: asyncio.Future[bool] = loop.create_future()
    over: asyncio.Future[None] = loop.create_future()

    async def hold(lock: Any) -> None:
        if not granted.done():
            granted.set_result(bool(lock))
        if lock:
            await over

    def end(asked: asyncio.Future[None]) -> None:
        if asked.exception() is not None and not granted.done():
            granted.set_result(True)

    options = to_js({"ifAvailable": True}, dict_converter=js.Object.fromEntries)
    js.navigator.locks.request(LOCK, options, create_once_callable(hold)).add_done_callback(end)
    try:
        yield await granted
    finally:
        over.set_result(None)
