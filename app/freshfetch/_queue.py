"""The one place where requests wait: for a refresh, and until a token has proved to work.

Rules for editing: every caller of ``turn`` gets a turn or an error, and every turn is ended; turns go
in the order of the requests' numbers; nothing here knows about tokens.

A request passes at once unless

- a refresh is in flight: it is *held*, in a waiting room of ``max_size`` places. After the refresh at
  most ``concurrency`` of the held requests are under way at once, not counting what has had no answer for
  ``PATIENCE`` seconds;
- the session is starting from idle: then ``FIRST_WIDTH`` requests go, and the width doubles with each
  success. So a dead token earns at most ``FIRST_WIDTH`` answers of 401, however many ask. A refresh
  opens the width fully. This waiting is short and not counted against ``max_size``.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from ._deadlines import Deadline, Deadlines
from ._errors import ConfigurationError, FreshfetchError, QueueDroppedError, QueueFullError

FIRST_WIDTH = 6
PATIENCE = 5.0
"""Seconds after which the queue moves on without an answer: six long polls must not hold up everything."""
OPEN = float("inf")
LARGEST_WIDTH = 10_000
"""Beyond which the width is open: numbers that only double would grow for ever in a session that never rests."""

Overflow = Literal["reject_new", "drop_oldest", "wait"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """How many requests may be held during a refresh, and how they are released."""

    max_size: int = 100
    overflow: Overflow = "reject_new"
    """What happens to one too many: it is refused, it takes the place of the oldest, or it waits all the same."""
    concurrency: int = 6
    max_wait: float = 300.0
    """Seconds a request without a timeout of its own waits at most."""

    def __post_init__(self) -> None:
        if self.max_size < 1 or self.concurrency < 1 or self.max_wait <= 0:
            raise ConfigurationError("QueuePolicy needs max_size and concurrency of at least 1, and max_wait above 0.")
        if self.overflow not in get_args(Overflow):
            raise ConfigurationError(f"QueuePolicy.overflow is one of {', '.join(get_args(Overflow))}.")


@dataclass(slots=True, eq=False)
class Turn:
    """One request's place in the queue and, later, among those under way."""

    number: int
    held: bool = False
    """A refresh made it wait, so ``concurrency`` limits it."""
    counted: bool = False
    """It takes one of the ``max_size`` places."""
    ready: asyncio.Future[None] | None = field(default=None, repr=False)


def _number(turn: Turn) -> int:
    return turn.number


class RequestQueue:
    """Hold, release, and let at most so many through at once."""

    def __init__(self, policy: QueuePolicy, deadlines: Deadlines | None = None) -> None:
        self._policy = policy
        self._deadlines = Deadlines() if deadlines is None else deadlines
        self._waiting: list[Turn] = []
        self._counted = 0
        self._pending = 0
        self._released: set[Turn] = set()
        self._holding = False
        self._width: float = FIRST_WIDTH
        self._moving_on: Deadline | None = None

    @property
    def size(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    @property
    def pending(self) -> int:
        """How many requests are under way."""
        return self._pending

    @property
    def holding(self) -> bool:
        """Whether a refresh is in flight, so that everything waits."""
        return self._holding

    def passes(self) -> bool:
        """Tell whether a request that comes now would go at once."""
        return not self._holding and not self._waiting and self._pending < self._width

    async def turn(self, number: int, *, again: bool = False) -> Turn:
        """Wait for the turn of request ``number``; end it with ``end``.

        ``again`` marks one that was under way already: it goes back to its old place and is not turned away.

        Raises:
            QueueFullError, QueueDroppedError: by the policy, when too many are held.
            FreshfetchError: what ``fail`` was given.
        """
        if self.passes():
            self._pending += 1
            return Turn(number)
        turn = self._enqueue(number, again=again)
        assert turn.ready is not None
        try:
            await turn.ready
        except BaseException:
            self._give_up(turn)
            raise
        return turn

    def end(self, turn: Turn, *, proved: bool) -> None:
        """End a turn. ``proved`` when the answer shows that the token works."""
        self._pending -= 1
        self._released.discard(turn)
        if proved:
            self._widen()
        self._advance()

    def hold(self) -> None:
        """Let nothing through until ``release`` or ``fail``."""
        self._holding = True

    def release(self) -> None:
        """Let what waits through, in order, and open the width fully."""
        self._holding = False
        self._width = OPEN
        self._advance()

    def fail(self, error: Callable[[], FreshfetchError]) -> None:
        """Give everyone who waits an error of their own, in order, and hold no longer."""
        self._holding = False
        waiting, self._waiting, self._counted = self._waiting, [], 0
        for turn in waiting:
            self._settle(turn, error())
        self._advance()

    def _enqueue(self, number: int, *, again: bool) -> Turn:
        draining = bool(self._waiting) and self._waiting[-1].held
        held = again or self._holding or draining
        counted = held and not again
        if counted:
            self._make_place()
        turn = Turn(number, held=held, counted=counted, ready=asyncio.get_running_loop().create_future())
        insort(self._waiting, turn, key=_number)
        self._counted += counted
        self._advance()
        return turn

    def _make_place(self) -> None:
        """Find a place for one more held request, as the policy says."""
        limit = self._policy.max_size
        if self._counted < limit or self._policy.overflow == "wait":
            return
        if self._policy.overflow == "reject_new":
            message = f"{limit} requests already wait for the refresh; raise QueuePolicy.max_size or slow down."
            raise QueueFullError(message)
        oldest = next(turn for turn in self._waiting if turn.counted)
        self._remove(oldest)
        message = f"Dropped: {limit} newer requests wait for the refresh, and QueuePolicy.overflow is drop_oldest."
        self._settle(oldest, QueueDroppedError(message))

    def _advance(self) -> None:
        """Let through as many as may go, oldest first."""
        while self._waiting and self._may_go(self._waiting[0]):
            turn = self._waiting[0]
            self._remove(turn)
            if turn.ready is not None and turn.ready.done():
                continue  # cancelled, and yet to notice
            self._pending += 1
            if turn.held:
                self._released.add(turn)
            self._settle(turn, None)
        if self._pending == 0 and not self._waiting:
            self._width = FIRST_WIDTH  # idle: the next burst starts from the beginning
        self._watch()

    def _may_go(self, turn: Turn) -> bool:
        if self._holding:
            return False
        if turn.held:
            return len(self._released) < self._policy.concurrency
        return self._pending < self._width

    def _watch(self) -> None:
        """Keep the timer running exactly while requests under way keep others waiting."""
        blocked = bool(self._waiting) and not self._holding
        if blocked and self._moving_on is None:
            self._moving_on = self._deadlines.call_later(PATIENCE, self._move_on)
        elif not blocked and self._moving_on is not None:
            self._deadlines.cancel(self._moving_on)
            self._moving_on = None

    def _move_on(self) -> None:
        self._moving_on = None
        self._released.clear()
        self._widen()
        self._advance()

    def _widen(self) -> None:
        self._width = self._width * 2 if self._width < LARGEST_WIDTH else OPEN

    def _give_up(self, turn: Turn) -> None:
        """Clear up after a caller that was cancelled, or told an error, while it waited."""
        assert turn.ready is not None
        if turn.ready.done() and not turn.ready.cancelled() and turn.ready.exception() is None:
            self.end(turn, proved=False)  # cancelled just after its turn had come
        else:
            self._remove(turn)
            self._advance()

    def _remove(self, turn: Turn) -> None:
        index = bisect_left(self._waiting, turn.number, key=_number)
        if index == len(self._waiting) or self._waiting[index] is not turn:
            return
        del self._waiting[index]
        self._counted -= turn.counted

    def _settle(self, turn: Turn, error: FreshfetchError | None) -> None:
        if turn.ready is None or turn.ready.done():
            return
        if error is None:
            turn.ready.set_result(None)
        else:
            turn.ready.set_exception(error)
