"""Virtual time for tens of thousands of timers: an event loop that skips to the next one instead of waiting.

looptime does this for the tests, exactly and with care for real sockets. Here nothing is real and there are millions
of timers, so time goes in ticks, and everything that is due within a tick is run at its end.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

TICK = 0.005
Outcome = TypeVar("Outcome")


class _SkippingSelector(selectors.SelectSelector):
    """Finds nothing, at once, and moves time by as long as it was to look."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("Everybody waits for somebody else: no timer is left.")
        if timeout > 0:
            self.ticks += math.ceil(timeout / TICK)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, which starts at 0."""

    def __init__(self) -> None:
        self._skipping = _SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Return the seconds that have passed in virtual time."""
        return self._skipping.ticks * TICK


def run(story: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story)
