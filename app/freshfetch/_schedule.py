"""When the next refresh may be attempted, and the waiting for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from ._retry import SHORTEST_NAP, nap_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._ports import Clock
    from ._record import SessionRecord
    from ._retry import RetryPolicy


class Schedule:
    """Keeps to what was planned after a failure, by this tab or another, unless the network comes back first."""

    def __init__(self, policy: RetryPolicy, clock: Clock) -> None:
        self._policy = policy
        self._clock = clock
        self._due = 0.0
        self._came_back = asyncio.Event()
        self._waited_for = 0.0
        self._void = 0.0

    @property
    def next_in(self) -> float:
        """Seconds until the attempt that is waited for; 0 when none is."""
        return max(0.0, self._due - asyncio.get_running_loop().time())

    def forbids_for(self, record: SessionRecord) -> float:
        """Return how many seconds no attempt is allowed on this record; 0 or less when one is."""
        if self._came_back.is_set():
            if record.not_before == self._void:
                return 0.0  # the network is back: what was planned for its absence no longer holds
            self._came_back.clear()  # another tab has tried since, and planned anew
        if record.not_before == self._waited_for:
            return 0.0  # it has been waited for, whatever the wall clock was set to meanwhile
        return self._until(record)

    def come_back(self, record: SessionRecord | None) -> None:
        """Note that the network, which was the trouble, is back, and the plan that is void by that."""
        self._void = 0.0 if record is None else record.not_before
        self._came_back.set()

    def attempting(self) -> None:
        """Note that the attempt is made now."""
        self._came_back.clear()
        self._due = 0.0

    async def wait(self, seconds: float, record: SessionRecord | None, changed: Callable[[], bool]) -> None:
        """Wait that long, by whichever clock says so first, or until the network comes back or ``changed`` says so."""
        loop = asyncio.get_running_loop()
        self._due, due = loop.time() + seconds, self._clock.now() + seconds
        # A shorter wait, for the lock, says nothing about what another tab has planned meanwhile.
        planned = record is not None and seconds >= self._until(record) - SHORTEST_NAP
        try:
            while (rest := min(self._due - loop.time(), due - self._clock.now())) > 0:
                if self._came_back.is_set() or changed():
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(nap_for(rest)):
                        await self._came_back.wait()
            if record is not None and planned:
                self._waited_for = record.not_before
        finally:
            self._due = 0.0

    def _until(self, record: SessionRecord) -> float:
        """Return how long until the instant that is planned; a clock that was set back must not add hours."""
        longest = self._policy.longest_retry_after + self._policy.windows[-1][1]
        return min(record.not_before - self._clock.now(), longest)
