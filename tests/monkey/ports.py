"""The ports of one tab: the in-memory ones, with a tab between them and the library that can be frozen or killed.

What is shared lives in ``Shared`` and goes on whatever becomes of a tab. Everything that reaches a tab comes through
its own loop, and nothing that a dead tab still does reaches what is shared.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from freshfetch import Hint, Request, Response, SessionRecord, StorageError, TransportError
from freshfetch.memory import ASGITransport, MemoryTokenStore

from .evidence import Commit, Sending

if TYPE_CHECKING:
    from .evidence import Evidence
    from .loop import TabLoop, Universe

START = 1_800_000_000.0
SHORT = (0.0005, 0.004)
"""Seconds that storage and locks take."""
LATE = (0.3, 30.0)
"""Seconds that a late hint takes."""


class Shared:
    """What the tabs share: the time, the network, the storage, the locks; and what is wrong with them."""

    def __init__(self, universe: Universe, app: Any, evidence: Evidence) -> None:
        self.universe = universe
        self.app = app
        self.evidence = evidence
        self.server_loop = universe.loop("server")
        self.store = MemoryTokenStore()
        self.locks = Locks(self)
        self.tabs: list[Connected] = []
        self.clock_offset = 0.0
        self.offline = False
        self.full = False
        self.hints = "kept"
        self.storage_events = True
        self.hides_expiry = False
        self.exchanges: dict[Exchange, None] = {}
        """Those under way, in the order in which they began: that of a set would be another in each process."""

    @property
    def rng(self) -> Random:
        """The one source of chance."""
        return self.universe.rng

    @property
    def now(self) -> float:
        """The true time, in seconds since the run began."""
        return self.universe.now

    def stored_changed(self, by: Connected) -> None:
        """Let the other tabs see, a little later, what one has written."""
        for tab in self.tabs:
            if tab is not by:
                tab.loop.call_later(self.rng.uniform(0.0, 0.02), tab.see_storage)

    def cut(self) -> None:
        """Take the network away: half of the connections break at once, the others when their answer comes."""
        self.offline = True
        for exchange in tuple(self.exchanges):
            if self.rng.random() < 0.5:
                exchange.lose()


class Connected:
    """A tab as what is shared sees it."""

    def __init__(self, shared: Shared, number: int, reached: Callable[[int, str], None]) -> None:
        self.shared = shared
        self.number = number
        self.loop: TabLoop = shared.universe.loop(f"tab {number}")
        self.dead = False
        self.view = shared.store._text
        self.listeners: list[Callable[[Hint], None]] = []
        self._reached = reached

    def reached(self, point: str) -> None:
        """Say that the tab has come to a point at which something may be lying in wait for it."""
        self._reached(self.number, point)

    async def nap(self) -> None:
        """Take the time that storage takes."""
        await asyncio.sleep(self.shared.rng.uniform(*SHORT))

    def see_storage(self) -> None:
        """See what is stored now; a browser says so with an event."""
        changed = self.view != self.shared.store._text
        self.view = self.shared.store._text
        if changed and self.shared.storage_events:
            self.tell(Hint("changed"))

    def tell(self, hint: Hint) -> None:
        """Pass a hint on."""
        for listener in tuple(self.listeners):
            listener(hint)


class TabClock:
    """The device's clock, which people set."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def now(self) -> float:
        """Return seconds since the epoch."""
        return START + self._shared.now + self._shared.clock_offset


class TabStore:
    """One tab's sight of the store: what others write it sees late, unless it waits for it."""

    def __init__(self, tab: Connected) -> None:
        self._tab = tab
        self._shared = tab.shared
        self._seen: tuple[str, SessionRecord] | None = None

    def load(self) -> SessionRecord | None:
        """Return what this tab sees."""
        text = self._tab.view
        if text is None:
            return None
        if self._seen is None or self._seen[0] != text:
            self._seen = (text, SessionRecord.from_json(text))
        return self._seen[1]

    async def make_current(self) -> int:
        """Wait until it sees everything."""
        await self._tab.nap()
        self._tab.view = self._shared.store._text
        return await self._shared.store.make_current()

    async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
        """Compare and swap, as a transaction with a beginning and an end."""
        self._tab.reached("before the commit")
        await self._tab.nap()
        if self._shared.full:
            self._note(record, expected, written=False, refused=True)
            raise StorageError("The store is full.")
        written = await self._shared.store.commit(record, expected=expected)
        self._note(record, expected, written=written)
        self._tab.view = self._shared.store._text
        if written:
            self._shared.stored_changed(self._tab)
        self._tab.reached("after the commit")
        await self._tab.nap()
        return written

    def _note(self, record: SessionRecord | None, expected: int, *, written: bool, refused: bool = False) -> None:
        text = None if record is None else record.to_json()
        after = self._shared.store._generation
        note = Commit(self._tab.number, self._shared.now, text, expected, written, after, refused)
        self._shared.evidence.commits.append(note)


@dataclass(eq=False)
class Ticket:
    """A tab's place in the line for a lock."""

    tab: Connected
    line: str
    granted: asyncio.Future[None]

    def grant(self) -> None:
        """Let the tab know."""
        if not self.granted.done():
            self.granted.set_result(None)


class Locks:
    """The locks of all tabs: first come, first served, and a dead tab's are free."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._lines: dict[str, deque[Ticket]] = {}

    def ask(self, ticket: Ticket) -> None:
        """Join the line; whoever is first in it holds the lock."""
        line = self._lines.setdefault(ticket.line, deque())
        line.append(ticket)
        if line[0] is ticket:
            self._grant(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Give the lock, or the place in the line, back."""
        line = self._lines.get(ticket.line, deque())
        if ticket.tab.dead or ticket not in line:
            return
        self._remove(line, ticket)

    def forget(self, tab: Connected) -> None:
        """Free what a tab held that has died."""
        for line in self._lines.values():
            for ticket in [each for each in line if each.tab is tab]:
                self._remove(line, ticket)

    def _remove(self, line: deque[Ticket], ticket: Ticket) -> None:
        held = line[0] is ticket
        line.remove(ticket)
        if held and line:
            self._grant(line[0])

    def _grant(self, ticket: Ticket) -> None:
        ticket.tab.loop.call_later(self._shared.rng.uniform(*SHORT), ticket.grant)


class TabLock:
    """One tab's way to the locks."""

    def __init__(self, tab: Connected) -> None:
        self._tab = tab

    def hold(self, name: str, timeout: float) -> AbstractAsyncContextManager[None]:
        """Hold the lock; after ``timeout`` seconds go on under a second one."""
        return self._hold(name, timeout)

    @asynccontextmanager
    async def _hold(self, name: str, timeout: float) -> AsyncIterator[None]:
        locks = self._tab.shared.locks
        first, second = (Ticket(self._tab, line, self._tab.loop.create_future()) for line in (name, f"{name} second"))
        try:
            entered = await self._acquire(first, timeout)
            passing = await self._acquire(second, timeout)
            if entered:
                locks.leave(second)
            elif not passing:
                raise TransportError(f"The lock {name!r} was not to be had.")
            self._tab.reached("the lock")
            yield
        finally:
            locks.leave(first)
            locks.leave(second)

    async def _acquire(self, ticket: Ticket, timeout: float) -> bool:
        """Stand in line for so long. What was granted to a tab that was frozen meanwhile is not taken any more."""
        asked_at = self._tab.loop.time()
        self._tab.shared.locks.ask(ticket)
        try:
            async with asyncio.timeout(timeout):
                await ticket.granted
        except TimeoutError:
            self._tab.shared.locks.leave(ticket)
            return False
        if self._tab.loop.time() - asked_at > timeout:
            self._tab.shared.locks.leave(ticket)
            return False
        return True


class TabChannel:
    """One tab's way to the others."""

    def __init__(self, tab: Connected) -> None:
        self._tab = tab

    def publish(self, hint: Hint) -> None:
        """Tell the others, as well as hints are carried at the moment."""
        shared = self._tab.shared
        shared.evidence.hints.append(hint)
        for tab in shared.tabs:
            if tab is not self._tab and not self._tab.dead:
                for delay in _delays(shared):
                    tab.loop.call_later(delay, tab.tell, hint)

    def subscribe(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Call ``listener`` with each hint."""
        self._tab.listeners.append(listener)
        return lambda: self._tab.listeners.remove(listener) if listener in self._tab.listeners else None


def _delays(shared: Shared) -> list[float]:
    soon = shared.rng.uniform(0.001, 0.01)
    late = shared.rng.uniform(*LATE)
    return {"kept": [soon], "lost": [], "late": [late], "doubled": [soon, late]}[shared.hints]


class TabWire(ASGITransport):
    """One tab's network: a request leaves, is served or not, and its answer comes to the tab's loop or not."""

    def __init__(self, tab: Connected) -> None:
        super().__init__(tab.shared.app)
        self._tab = tab

    async def send(self, request: Request) -> Response:
        """Send, and wait for what the network brings."""
        shared = self._tab.shared
        sending = _sending(self._tab.number, shared.now, request)
        shared.evidence.sendings.append(sending)
        exchange = Exchange(self._tab, sending, partial(ASGITransport.send, self, request))
        if sending.is_refresh:
            self._tab.reached("a refresh sent")
        try:
            response = await exchange.answer
        except asyncio.CancelledError:
            exchange.abort()
            raise
        if sending.is_refresh:
            self._tab.reached("a refresh answered")
        return response


class Exchange:
    """One request under way: to the server, through it, and back."""

    def __init__(self, tab: Connected, sending: Sending, serve: Callable[[], Coroutine[Any, Any, Response]]) -> None:
        self._tab = tab
        self._shared = tab.shared
        self._sending = sending
        self._serve = serve
        self._task: asyncio.Task[Response] | None = None
        self.answer: asyncio.Future[Response] = tab.loop.create_future()
        self._shared.exchanges[self] = None
        self._shared.server_loop.call_later(self._travel(), self._arrive)

    def lose(self) -> None:
        """Break the connection; what has arrived at the server is served all the same."""
        if self in self._shared.exchanges:
            self._shared.exchanges.pop(self, None)
            self._tab.loop.call_soon(self._deliver, TransportError("The connection broke."))

    def abort(self) -> None:
        """Forget it, on the tab's side. The server may have begun, and may not notice."""
        if self._tab.dead:
            return
        self._sending.end("aborted", self._shared.now)
        self._shared.exchanges.pop(self, None)
        if self._task is not None and self._shared.rng.random() < 0.5:
            self._task.cancel()

    def _travel(self) -> float:
        return self._shared.rng.uniform(0.002, 0.05)

    def _arrive(self) -> None:
        if self._shared.offline:
            self.lose()
            return
        self._task = self._shared.server_loop.create_task(self._serve())
        self._task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[Response]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        outcome = task.result() if error is None else error
        self._shared.server_loop.call_later(self._travel(), self._come_back, outcome)

    def _come_back(self, outcome: Response | BaseException) -> None:
        if self._shared.offline:
            self.lose()
        elif self in self._shared.exchanges:
            self._shared.exchanges.pop(self, None)
            self._tab.loop.call_soon(self._deliver, outcome)

    def _deliver(self, outcome: Response | BaseException) -> None:
        if self.answer.done():
            return
        if isinstance(outcome, BaseException):
            self._sending.end("lost", self._shared.now)
            self.answer.set_exception(outcome)
            return
        self._sending.status = outcome.status
        self._sending.end("answered", self._shared.now)
        self.answer.set_result(self._seen(outcome))

    def _seen(self, response: Response) -> Response:
        """Let the body come a little after the headers, and take down what it grants."""
        value = response.headers.get("retry-after", "")
        self._sending.retry_after = float(value) if value.isdigit() else None

        async def read() -> bytes:
            await self._tab.nap()
            return content

        content = _body_of(response)
        if "/api/auth/" in self._sending.url:
            content = self._token_answer(content)
        return replace(response, read=read)

    def _token_answer(self, content: bytes) -> bytes:
        try:
            answer = json.loads(content)
        except ValueError:
            return content
        if not isinstance(answer, dict):
            return content
        self._sending.error = str(answer.get("error", ""))
        if "accessToken" in answer:
            self._sending.granted = (answer["accessToken"], answer["refreshToken"])
            if self._shared.hides_expiry:
                return json.dumps({**answer, "expiresIn": None}).encode()
        return content


def _body_of(response: Response) -> bytes:
    """Return the body; in process it is there already."""
    reading: Any = response.read()
    try:
        reading.send(None)
    except StopIteration as stop:
        return bytes(stop.value)
    raise AssertionError("an in-process answer has to be waited for")


def _sending(tab: int, at: float, request: Request) -> Sending:
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    sending = Sending(
        tab=tab,
        at=at,
        method=request.method,
        url=request.target.url,
        origin=request.target.origin,
        request_id=request.headers.get("x-request-id"),
        bearer=bearer if scheme == "Bearer" else None,
    )
    if sending.is_refresh and request.body is not None:
        sending.refresh_token = json.loads(request.body.content)["refreshToken"]
    return sending
