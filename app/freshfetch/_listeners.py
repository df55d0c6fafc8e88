"""Tells a session's listeners what happened, without ever being at their mercy."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from inspect import isawaitable

from ._events import Event

Listener = Callable[[Event], Awaitable[None] | None]


class Listeners:
    """Everybody who wants to know.

    Events are delivered in order, from the event loop, never from inside the code that announces them:
    so no lock is held over a listener, and a listener may call the session. One that raises is reported
    to the loop's exception handler and gets the next event all the same. A listener's coroutine is its own:
    closing the session does not cancel it.
    """

    def __init__(self) -> None:
        self._listeners: dict[int, Listener] = {}
        self._names = 0
        self._undelivered: deque[Event] = deque()
        self._running: set[asyncio.Future[None]] = set()

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; the returned function takes it away and may be called twice."""
        self._names += 1
        name = self._names
        self._listeners[name] = listener

        def unsubscribe() -> None:
            self._listeners.pop(name, None)

        return unsubscribe

    def announce(self, event: Event) -> None:
        """Deliver the event soon."""
        if not self._listeners:
            return
        if not self._undelivered:
            asyncio.get_running_loop().call_soon(self._deliver)
        self._undelivered.append(event)

    def _deliver(self) -> None:
        events = tuple(self._undelivered)
        self._undelivered.clear()
        for event in events:
            for name in tuple(self._listeners):
                if name in self._listeners:  # one listener may send another away
                    self._tell(self._listeners[name], event)

    def _tell(self, listener: Listener, event: Event) -> None:
        try:
            outcome = listener(event)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - what a listener raises is its own affair
            self._report(error)
            return
        if isawaitable(outcome):
            running = asyncio.ensure_future(outcome)
            self._running.add(running)
            running.add_done_callback(self._finished)

    def _finished(self, running: asyncio.Future[None]) -> None:
        self._running.discard(running)
        if not running.cancelled() and (error := running.exception()) is not None:
            self._report(error)

    def _report(self, error: BaseException) -> None:
        context = {"message": "A listener of a freshfetch session raised", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
