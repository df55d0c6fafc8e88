"""Makes a failing schedule short: what can be left out without the failure going away is left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .loop import SpinningError
from .oracle import violations
from .play import played
from .schedule import Schedule

Judge = Callable[[Schedule], list[str]]


def verdict(schedule: Schedule) -> list[str]:
    """Play a schedule; return what was violated."""
    try:
        return violations(played(schedule))
    except SpinningError as error:
        return [f"i9_bounded: {error}"]
    except Exception as error:  # noqa: BLE001 - of ten thousand runs one must not hide the seed of its trouble
        return [f"broken off: {error!r}"]


def failing(seeds: Sequence[int]) -> tuple[int, list[int]]:
    """Return how many seeds there are, and those whose schedules violate something."""
    return len(seeds), [seed for seed in seeds if verdict(Schedule.drawn(seed))]


def shrunk(schedule: Schedule, found: list[str], judge: Judge = verdict) -> tuple[Schedule, list[str]]:
    """Return a shorter schedule that still violates the invariant that was violated first, and what it violates."""
    invariant = _invariant(found[0])
    size = max(1, len(schedule.acts) // 2)
    while size:
        start = 0
        while start < len(schedule.acts):
            shorter = schedule.without(start, start + size)
            words = judge(shorter)
            if any(_invariant(each) == invariant for each in words):
                schedule, found = shorter, words
            else:
                start += size
        size //= 2
    return schedule, found


def _invariant(words: str) -> str:
    return words.partition(":")[0]
