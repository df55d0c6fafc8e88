"""Time limits: many of them, on a few of the loop's timers.

In a browser a timer that was cancelled stays, with everything it would have called, until it would have gone off: a
hundred requests a second with a limit of five minutes each would keep thirty thousand. Rules for editing: what is
cancelled is forgotten at once; a timer is set only if none goes off in time, so that there are hardly more timers
than there are different lengths of limits.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

LONGEST_TIMER = 86_400.0
"""Seconds: browsers take a timer of more than 24 days for one of none."""

STANDSTILL = 1.0
"""Seconds by which a timer is late when the page was frozen or the device asleep: what arrived meanwhile is read first,
and whoever waited for it then has as long. Else the tokens of an answer that came in time would be lost to a limit
that is over. What begins after the standstill has its own limit, to the moment."""


@dataclass(order=True, slots=True)
class Deadline:
    """Something to be called at an instant of the loop's time, unless it is cancelled before."""

    when: float
    number: int
    set_at: float = field(compare=False)
    call: Callable[[], None] = field(compare=False, repr=False)
    was_put_off: bool = field(default=False, compare=False)


class Deadlines:
    """The deadlines of one session, or of one lock."""

    def __init__(self) -> None:
        self._due: list[Deadline] = []
        self._timers: list[tuple[float, asyncio.Handle]] = []
        """With the instant at which each goes off: before the one in front of it."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._numbers = count()
        self._closed = False

    def __len__(self) -> int:
        """How many are yet to come."""
        return len(self._due)

    def call_at(self, when: float, call: Callable[[], None]) -> Deadline:
        """Call at that instant of the loop's time, or a little later."""
        deadline = Deadline(when, next(self._numbers), asyncio.get_running_loop().time(), call)
        insort(self._due, deadline)
        self._set_timer()
        return deadline

    def call_later(self, seconds: float, call: Callable[[], None]) -> Deadline:
        """Call so many seconds from now."""
        return self.call_at(asyncio.get_running_loop().time() + seconds, call)

    def cancel(self, deadline: Deadline) -> None:
        """Forget it; does nothing if it was called or cancelled before."""
        index = bisect_left(self._due, deadline)
        if index < len(self._due) and self._due[index] is deadline:
            del self._due[index]
            self._tidy_up()

    @asynccontextmanager
    async def limit_at(self, when: float | None) -> AsyncIterator[None]:
        """Do as ``asyncio.timeout_at``: cancel the block at that instant, and raise TimeoutError after it."""
        async with asyncio.timeout(None) as limit:
            if when is None:
                yield
                return
            deadline = self.call_at(when, lambda: limit.reschedule(when))
            try:
                yield
            finally:
                self.cancel(deadline)

    def limit(self, seconds: float | None) -> AbstractAsyncContextManager[None]:
        """Do as ``asyncio.timeout``."""
        return self.limit_at(None if seconds is None else asyncio.get_running_loop().time() + seconds)

    def close(self) -> None:
        """Leave no timer behind, as soon as the last deadline is over: a request may still be under way."""
        self._closed = True
        self._tidy_up()

    def _tidy_up(self) -> None:
        while self._closed and not self._due and self._timers:
            self._timers.pop()[1].cancel()

    def _set_timer(self) -> None:
        if not self._due:
            return
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # outside a browser each asyncio.run has a loop of its own
            self._loop = loop
            while self._timers:
                self._timers.pop()[1].cancel()
        now = loop.time()
        when = min(max(self._due[0].when, now), now + LONGEST_TIMER)
        if not self._timers or when < self._timers[-1][0]:
            self._timers.append((when, loop.call_later(when - now, self._go_off)))

    def _go_off(self) -> None:
        planned = self._timers.pop()[0]
        now = asyncio.get_running_loop().time()
        if now - planned > STANDSTILL:
            self._let_read(planned, now)
        try:
            while self._due and self._due[0].when <= now:
                self._due.pop(0).call()
        finally:
            self._set_timer()
            self._tidy_up()

    def _let_read(self, since: float, now: float) -> None:
        """Put off, once, what was under way when the page stood still.

        Once: in a tab that has long been hidden a browser calls timers once a minute, so that all of them are late.
        """
        until = now + STANDSTILL
        for deadline in self._due:
            was_under_way = deadline.set_at <= since or deadline.when <= now
            if was_under_way and deadline.when < until and not deadline.was_put_off:
                deadline.when, deadline.was_put_off = until, True
        self._due.sort()
