"""A world in virtual time: one mock server, and as many tabs as a test asks for."""

from __future__ import annotations

import ast
import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from freshfetch import (
    Body,
    Event,
    Headers,
    HeartbeatPolicy,
    JsonAuthServer,
    QueuePolicy,
    Request,
    Response,
    RetryPolicy,
    Session,
    SessionRecord,
    TransportError,
)
from freshfetch.memory import ASGITransport, MemoryChannel, MemoryLock, MemoryTokenStore
from mock_server.app import create_app
from mock_server.settings import Settings

START = 1_800_000_000.0
LOOP_START = float(int(time.monotonic()) + 100_000)
"""Where virtual time begins on the loop's clock: later than the real one, which the loop sees for a moment between a
test and the end of its fixtures, and by which no timer must go off."""
TICK = 2e-6
"""Seconds that virtual time tells apart."""
Kind = TypeVar("Kind", bound=Event)


class VirtualClock:
    """The wall clock of a world in which only looptime moves time; it can be set, as people do."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        """Return seconds since the epoch."""
        return START + seconds_since_start() + self.offset


class Person:
    """A presence that a test can send away and call back."""

    def __init__(self) -> None:
        self.visible = True
        self.online = True
        self.idle_seconds = 0.0
        self.returns: list[float] = []
        self._listeners: list[Callable[[], None]] = []

    def idle_for(self) -> float:
        """Return how long the person has done nothing."""
        return self.idle_seconds

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` at each ``come_back``."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    @property
    def watchers(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def come_back(self) -> None:
        """Be there, with a network, and let everybody know."""
        self.visible = self.online = True
        self.idle_seconds = 0.0
        self.returns.append(seconds_since_start())
        for listener in tuple(self._listeners):
            listener()


class Wire(ASGITransport):
    """The transport of one tab: delays as a network does, and can be cut."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.delay = 0.01
        self.cut = False
        self.under_way = 0
        self.most_under_way = 0
        self.sent: list[Request] = []
        self.before_answer: Callable[[Request], Awaitable[None]] | None = None

    async def send(self, request: Request) -> Response:
        """Send after the delay, unless the wire is cut."""
        self.sent.append(request)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            # Timers of one instant go off in any order; what leaves first arrives first.
            await asyncio.sleep(self.delay and self.delay + len(self.sent) * TICK)
            if self.cut:
                raise TransportError("No answer from the server (Error).")
            response = await super().send(request)
            if self.before_answer is not None:
                await self.before_answer(request)
            return response
        finally:
            self.under_way -= 1


class Tab:
    """One tab: a session on the world's storage, with a wire and a person of its own."""

    def __init__(self, world: World, **settings: Any) -> None:
        self.wire = Wire(world.app)
        self.person = Person()
        self.events: list[Event] = []
        defaults: dict[str, Any] = {
            "transport": self.wire,
            "store": world.store,
            "lock": world.lock,
            "channel": world.channel,
            "clock": world.clock,
            "presence": self.person,
            "heartbeat": HeartbeatPolicy(url=None),
        }
        self.session = self.open({**defaults, **settings})
        self.session.subscribe(self.events.append)

    def open(self, settings: dict[str, Any]) -> Session:
        """Make the session."""
        return Session(JsonAuthServer("/api/auth"), **settings)

    def seen(self, kind: type[Kind]) -> list[Kind]:
        """Return the events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]


class World:
    """Everything that tabs share."""

    def __init__(self, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.app: Any = create_app(Settings(**settings), clock=lambda: START + seconds_since_start())
        self.store = MemoryTokenStore()
        self.lock = MemoryLock()
        self.channel = MemoryChannel()
        self.tabs: list[Tab] = []
        self._journal_from = 0

    @property
    def server(self) -> Any:
        """The mock server's own memory."""
        return self.app.state.server

    def tab(self, **settings: Any) -> Tab:
        """Open a tab."""
        tab = self.new_tab(settings)
        self.tabs.append(tab)
        return tab

    def new_tab(self, settings: dict[str, Any]) -> Tab:
        """Make a tab."""
        return Tab(self, **settings)

    async def signed_in_tab(self, **settings: Any) -> Tab:
        """Open a tab and sign ada in; the journal starts afterwards."""
        tab = self.tab(**settings)
        await tab.session.sign_in("ada", "lovelace")
        self.start_journal()
        tab.events.clear()
        return tab

    def record(self) -> SessionRecord:
        """Return what is stored; fails the test when nothing is."""
        record = self.store.load()
        assert record is not None, "nothing is stored"
        return record

    def start_journal(self) -> None:
        """Let ``journal`` begin here; nothing is forgotten."""
        self._journal_from = self.server.journal.last_number

    def journal(self, path: str | None = None) -> list[Any]:
        """Return the journal's entries since ``start_journal``, of one path if given."""
        entries = self.server.journal.entries
        return [entry for entry in entries if entry.number > self._journal_from and path in (None, entry.path)]

    def refreshes(self) -> int:
        """Return how many refresh requests reached the server."""
        return len(self.journal("/api/auth/refresh"))

    def statuses(self, path: str) -> list[int | None]:
        """Return the statuses answered on one path, in order."""
        return [entry.status for entry in self.journal(path)]

    async def control(self, control: str, **content: Any) -> None:
        """Use one of the server's test controls."""
        transport = ASGITransport(self.app)
        method = "PUT" if control == "settings" else "POST"
        request = Request(
            target=transport.resolve(f"/mock/{control}"),
            method=method,
            headers=Headers({"content-type": "application/json"}),
            body=Body(json.dumps(content)),
        )
        response = await transport.send(request)
        assert response.ok, await response.text()

    async def fault(self, path: str, kind: str, **fields: Any) -> None:
        """Set a fault rule."""
        await self.control("faults", path=path, kind=kind, **fields)

    def heal(self) -> None:
        """Remove all fault rules and join all wires."""
        self.server.faults.clear()
        for tab in self.tabs:
            tab.wire.cut = False

    async def expire(self) -> None:
        """Make the server refuse every access token issued so far."""
        await self.control("expire")

    async def revoke(self) -> None:
        """Make the server refuse every token issued so far."""
        await self.control("revoke")

    async def close(self) -> None:
        """Close every tab, and check that nothing is left running or waiting."""
        for tab in self.tabs:
            await tab.session.close()
            assert tab.session.snapshot().queue_size == 0
            assert tab.person.watchers == 0
        await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() if "freshfetch" in task.get_name()]
        assert left == [], "a task of the library outlived its session"


def eager_retry(**settings: Any) -> RetryPolicy:
    """Return a retry policy with known waits, for tests that say when something happens."""
    return RetryPolicy(**{"windows": ((1.0, 1.0), (5.0, 5.0), (20.0, 20.0)), **settings})


def roomy_queue(**settings: Any) -> QueuePolicy:
    """Return a queue policy that holds whatever comes."""
    return QueuePolicy(**{"max_size": 100_000, **settings})


async def outcomes(*calls: Awaitable[Any]) -> list[Any]:
    """Await all calls; return what each brought, an answer or an error, in order."""
    return await asyncio.gather(*calls, return_exceptions=True)


async def until(true: Callable[[], object], *, limit: float = 60.0) -> None:
    """Wait, in small steps, until something is true; fails the test when it does not become so.

    A step is a millisecond; who waits for longer than a minute looks less often, for each look takes real time.
    """
    end = asyncio.get_running_loop().time() + limit
    while not true():
        assert asyncio.get_running_loop().time() < end, "it did not happen"
        await asyncio.sleep(max(0.001, limit / 60_000))


def seconds_since_start() -> float:
    """Return how long this test's world exists."""
    return asyncio.get_running_loop().time() - LOOP_START


def parsed(path: Path) -> ast.Module:
    """Return a module's syntax tree.

    Without the garbage collector: on CPython 3.11 a collection in the middle of the parser makes it fail (gh-106905).
    """
    gc.disable()
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()
