"""Virtual time with an event loop for each tab, so that a tab can be frozen or killed as a browser does it.

A frozen tab's loop is not stepped: no callback, timer or answer of the tab runs, while it keeps what it holds. A
killed tab's loop is never stepped again: not one line of its clean-up runs. The loops take turns, callback by callback,
in an order drawn from the seed, since tabs are processes of their own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, TypeVar

LARGEST_BURST = 50_000
"""Callbacks in one instant of time: a loop that needs more is not waiting but spinning."""
MANY = 200

T = TypeVar("T")


class SpinningError(Exception):
    """Something runs for ever without letting time pass."""


class Universe:
    """All loops, and the one time they share."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.now = 0.0
        self.loops: list[TabLoop] = []
        self._burst = 0

    def loop(self, name: str) -> TabLoop:
        """Make a loop."""
        loop = TabLoop(self, name)  # type: ignore[abstract]  # it has what it needs
        self.loops.append(loop)
        return loop

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while self._step(end):
            pass
        self._move_to(end)

    def _step(self, end: float) -> bool:
        """Run one callback, or move to the next timer; tell whether there was one before ``end``."""
        awake = [loop for loop in self.loops if loop.awake]
        ready = [loop for loop in awake if loop.is_ready()]
        if ready:
            (ready[0] if len(ready) == 1 else self.rng.choice(ready)).run_one()
            self._burst += 1
            if self._burst > LARGEST_BURST:
                raise SpinningError(f"{self._burst} callbacks at {self.now:.3f} s, the last one of {ready[0].name}")
            return True
        due = min((loop.next_at() for loop in awake), default=end + 1)
        if due > end:
            return False
        self._move_to(due)
        return True

    def _move_to(self, instant: float) -> None:
        if instant > self.now:
            self.now, self._burst = instant, 0


class TabLoop(asyncio.AbstractEventLoop):
    """As much of an event loop as Python code without sockets needs."""

    def __init__(self, universe: Universe, name: str) -> None:
        self.name = name
        self.awake = True
        self.complaints: list[dict[str, Any]] = []
        """What nobody caught."""
        self._universe = universe
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = count()
        self._tasks: list[asyncio.Task[Any]] = []

    # -- what asyncio asks of a loop --

    def time(self) -> float:
        """Return the universe's time: it goes on while the tab is frozen."""
        return self._universe.now

    def call_soon(  # type: ignore[override]  # any callback will do
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run the callback when the tab's turn comes."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]  # any callback will do
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run the callback after so many seconds."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # any callback will do
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run the callback at that time."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._timers, (when, next(self._order), timer))
        return timer

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # a coroutine is enough
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        """Make a task, and keep it: what a killed tab was doing must not be cleaned up by the garbage collector."""
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        if len(self._tasks) > MANY:
            self._tasks = self.tasks()
        self._tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Take down what nobody caught."""
        self.complaints.append(context)

    def get_debug(self) -> bool:
        """Say no."""
        return False

    def is_running(self) -> bool:
        """Say yes: asked only from inside."""
        return True

    def is_closed(self) -> bool:
        """Say no."""
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: it is thrown away when its time comes."""

    # -- what the universe asks --

    def is_ready(self) -> bool:
        """Tell whether there is something to run now."""
        return bool(self._ready) or self.next_at() <= self._universe.now

    def next_at(self) -> float:
        """Return when the next timer is due."""
        while self._timers and self._timers[0][2].cancelled():
            heappop(self._timers)
        return self._timers[0][0] if self._timers else float("inf")

    def run_one(self) -> None:
        """Run one callback."""
        self._ready.extend(self._due())
        handle = self._ready.popleft()
        if not handle.cancelled():
            asyncio._set_running_loop(self)
            try:
                handle._run()
            finally:
                asyncio._set_running_loop(None)

    def thaw(self, *, timers_first: bool) -> None:
        """Go on. What had come in meanwhile and what had become due run in either order."""
        self.awake = True
        if timers_first:
            self._ready.extendleft(reversed(self._due()))

    def tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that are not done."""
        return [task for task in self._tasks if not task.done()]

    def timers(self) -> int:
        """Return how many timers are set."""
        return sum(not timer.cancelled() for _, _, timer in self._timers)

    def dispose(self) -> None:
        """Clear up after a run: cancel everything, outside of time."""
        for _ in range(MANY):
            for task in self.tasks():
                task.cancel()
            self._timers.clear()
            while self._ready:
                self.run_one()
            if not self.tasks():
                break
        self._tasks.clear()

    def _due(self) -> list[asyncio.Handle]:
        due: list[asyncio.Handle] = []
        while self.next_at() <= self._universe.now:
            due.append(heappop(self._timers)[2])
        return due
