"""While the person is there, ask whether the token still works, before they notice that it does not.

Rules for editing: never two at once; never more often than once per interval, unless the server could not
be reached or is in trouble (429, 5xx): then it is looked for in the widening windows of the retry policy, or
when it says; never while nobody is there (it would keep alive a session that should end when idle); only an
answer that says *expired token* leads to a refresh, and that is the session's business, not ours.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from ._errors import ConfigurationError, FreshfetchError, TransportError
from ._events import HeartbeatAnswered, HeartbeatFailed, HeartbeatSent
from ._retry import LONGEST_NAP, nap_for, parse_retry_after

if TYPE_CHECKING:
    from ._models import Response
    from ._ports import Ports
    from ._retry import RetryPolicy
    from ._status import Status

FIRST_DELAY = 1.0
"""Seconds before the first one, in which the page's own first request usually proves the token."""
RETURN_GAP = 5.0
"""Seconds at least between two looks for a server when the person or the network comes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatPolicy:
    """Where and how often to ask. Durations are seconds."""

    url: str | None = "/api/heartbeat"
    """Asked with GET; None for no heartbeat."""
    interval: float = 300.0
    """At most one heartbeat in so many seconds, and none within so many of an answer that proves the token."""
    jitter: float = 0.1
    """Up to this part of the interval is added by chance, so that clients spread."""
    idle_after: float = 300.0
    """Somebody who has done nothing for so long is not there."""
    timeout: float = 10.0

    def __post_init__(self) -> None:
        if self.interval <= 0 or self.timeout <= 0 or self.idle_after <= 0 or not 0 <= self.jitter <= 1:
            raise ConfigurationError("HeartbeatPolicy needs durations above 0 and a jitter between 0 and 1.")


class Heartbeat:
    """The loop that asks."""

    def __init__(
        self,
        policy: HeartbeatPolicy,
        retry: RetryPolicy,
        ports: Ports,
        *,
        status: Status,
        ask: Callable[[str, float], Awaitable[Response]],
        ready: Callable[[], bool],
    ) -> None:
        self._policy = policy
        self._retry = retry
        self._presence = ports.presence
        self._clock = ports.clock
        self._status = status
        self._ask = ask
        self._ready = ready
        self._woken = asyncio.Event()
        self._wait = FIRST_DELAY
        self._since: tuple[float, float] | None = None
        self._misses = 0
        self._told_to_wait = False
        self._asking = False

    @property
    def next_in(self) -> float | None:
        """Seconds until the next heartbeat if the person stays; None while the loop does not run."""
        return None if self._since is None else max(0.0, self._wait - self._elapsed())

    def proved(self) -> None:
        """Note that an answer has just shown that the token works."""
        self._misses = 0
        self._restart(self._policy.interval * random.uniform(1.0, 1.0 + self._policy.jitter))  # noqa: S311 - spreads clients, hides nothing

    def lost(self) -> None:
        """Note that the server could not be reached: look for it sooner than the interval says."""
        if not self._misses and not self._asking:
            self._look_again()

    async def run(self) -> None:
        """Ask for as long as this task lives."""
        if self._policy.url is None:
            return
        self._since = self._now()
        unsubscribe = self._presence.subscribe(self._woken.set)
        try:
            while True:
                await self._until_due()
                await self._beat(self._policy.url)
        finally:
            self._since = None
            unsubscribe()

    async def _until_due(self) -> None:
        """Sleep in short naps: the clock, the person and the network may all have moved meanwhile."""
        while not (self._is_due() and self._somebody_is_there()):
            self._woken.clear()
            rest = self._wait - self._elapsed()
            nap = nap_for(rest) if rest > 0 else LONGEST_NAP
            try:
                async with asyncio.timeout(nap):
                    await self._woken.wait()
            except TimeoutError:
                continue
            if self._misses and not self._told_to_wait:
                self._wait = min(self._wait, RETURN_GAP)

    async def _beat(self, url: str) -> None:
        was_away = self._elapsed() - self._wait > LONGEST_NAP
        self._status.announce(HeartbeatSent(at=self._clock.now()))
        self._asking = True
        try:
            response = await self._ask(url, self._policy.timeout)
        except TransportError as error:
            self._status.announce(HeartbeatFailed(at=self._clock.now(), error=type(error).__name__))
            self._look_again()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever a port raises, it goes on
            if not isinstance(error, FreshfetchError):
                self._status.report(error)
            self._status.announce(HeartbeatFailed(at=self._clock.now(), error=type(error).__name__))
            self._put_off()
        else:
            self._status.announce(HeartbeatAnswered(at=self._clock.now(), status=response.status))
            if response.status == HTTPStatus.TOO_MANY_REQUESTS or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                self._look_again(self._retry_after(response))
            else:
                self._misses = 0
                self._put_off() if was_away else self.proved()
        finally:
            self._asking = False

    def _put_off(self) -> None:
        """Ask again an interval later, or two: who came back with many others must not go on in step with them."""
        self._restart(self._policy.interval * random.uniform(1.0, 2.0))  # noqa: S311 - spreads clients, hides nothing

    def _look_again(self, retry_after: float | None = None) -> None:
        self._misses += 1
        self._told_to_wait = retry_after is not None
        wait = self._retry.delay(self._misses, retry_after)
        self._restart(min(wait, self._policy.interval) if retry_after is None else wait)
        self._woken.set()  # the loop may be napping for longer

    def _retry_after(self, response: Response) -> float | None:
        fields = response.headers
        return parse_retry_after(fields.get("retry-after"), fields.get("date"), self._clock.now())

    def _is_due(self) -> bool:
        return self._elapsed() >= self._wait and self._ready()

    def _somebody_is_there(self) -> bool:
        there = self._presence.visible and self._presence.idle_for() < self._policy.idle_after
        return there and self._presence.online

    def _restart(self, wait: float) -> None:
        """Count ``wait`` seconds from now; does nothing while the loop does not run."""
        if self._since is not None:
            self._since, self._wait = self._now(), wait

    def _now(self) -> tuple[float, float]:
        return asyncio.get_running_loop().time(), self._clock.now()

    def _elapsed(self) -> float:
        """Return seconds since the last proof by whichever clock saw more of them: one of the two may have slept."""
        assert self._since is not None
        monotonic, wall = self._now()
        return max(monotonic - self._since[0], wall - self._since[1])
