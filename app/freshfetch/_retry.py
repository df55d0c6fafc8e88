"""When to try again. Nothing here waits or sends: numbers in, numbers out."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ._errors import ConfigurationError

LONGEST_NAP = 30.0
"""Seconds between two looks at the clock: timers stand still while a device sleeps."""

SHORTEST_NAP = 0.01
"""Seconds: two clocks never agree to the last digit, and waiting for the difference would spin."""

Draw = Callable[[float, float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How a refresh that brought no token is tried again. All figures are seconds."""

    windows: tuple[tuple[float, float], ...] = ((0.5, 2.0), (2.0, 8.0), (8.0, 30.0), (60.0, 120.0))
    """The n-th wait is drawn evenly from the n-th window; the last one stays. Wide, so that clients spread."""
    refresh_timeout: float = 7.0
    """How long one attempt may take, headers and body. With the first wait it stays below ten seconds, the shortest
    grace window in use: an answer that was lost in a stall is asked for again while the old token still counts."""
    patience: float = 1.0
    """How long requests wait for an early refresh while the old token still works."""
    longest_retry_after: float = 600.0
    """A server's Retry-After is honoured up to here."""
    cool_down: float = 30.0
    """A new token refused as well: so long no refusal starts a refresh. Doubles each time, up to 16 times."""

    def __post_init__(self) -> None:
        if not self.windows or any(not 0 <= low <= high for low, high in self.windows):
            raise ConfigurationError("RetryPolicy.windows needs pairs of seconds (low, high) with 0 <= low <= high.")
        if self.refresh_timeout <= 0 or min(self.patience, self.longest_retry_after, self.cool_down) < 0:
            raise ConfigurationError("RetryPolicy takes no negative durations, and refresh_timeout must be above 0.")

    def delay(self, failures: int, retry_after: float | None = None, *, draw: Draw = random.uniform) -> float:
        """Return how long to wait after the ``failures``-th failure in a row (1 is the first)."""
        low, high = self.windows[min(failures, len(self.windows)) - 1]
        wait = draw(low, high)
        if retry_after is None:
            return wait
        # Everybody was told the same Retry-After: the drawn window on top keeps them from coming at once.
        return min(retry_after, self.longest_retry_after) + wait


def nap_for(rest: float) -> float:
    """Return how long to sleep when ``rest`` seconds are left, before looking at the clock again."""
    return min(max(rest, SHORTEST_NAP), LONGEST_NAP)


def parse_retry_after(value: str | None, date: str | None, now: float) -> float | None:
    """Read a Retry-After field (RFC 9110 section 10.2.3): seconds or an HTTP date.

    A date is compared with the server's own ``date`` where it was readable, since device clocks are wrong.
    Returns None for no value, garbage, or something negative.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    until = _parse_http_date(text)
    if until is None:
        return None
    since = _parse_http_date(date) if date else None
    wait = until - (now if since is None else since)
    return wait if wait >= 0 else None


def _parse_http_date(text: str) -> float | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - seldom needed, slow to import in a browser

    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


class CoolDown:
    """Remembers a token that was refused although it was new, so that refusals do not refresh for ever.

    A route that answers 401 whatever the token would otherwise cost one refresh a request.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._refused: str | None = None
        self._times = 0
        self._until = 0.0

    def refused_again(self, access_token: str, now: float) -> None:
        """Note that a replay with a new token was refused too."""
        self._refused = access_token
        self._until = now + self._policy.cool_down * 2 ** min(self._times, 4)
        self._times += 1

    def replay_worked(self) -> None:
        """Note that a refresh helped."""
        self._refused, self._times = None, 0

    def forbids_refresh(self, access_token: str, now: float) -> bool:
        """Tell whether a refusal of this token must be handed to the caller as it is."""
        return access_token == self._refused and now < self._until


class UnprovedRefreshes:
    """Lets requests that are not replayed start a refresh only now and then: no replay shows whether it helped."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._refused = ""
        self._until = 0.0

    def allow(self, access_token: str, now: float) -> bool:
        """Tell whether a refusal of this token may start one; from then on another token's may not for a while."""
        if access_token != self._refused and now < self._until:
            return False
        self._refused, self._until = access_token, now + self._policy.cool_down
        return True
