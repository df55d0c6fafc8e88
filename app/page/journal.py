"""Journal: what the server saw, counted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNAUTHORIZED = 401
NAIVE_IDS = "naive-"
"""Begins the ids of a naive client's requests."""
Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many requests of each kind arrived."""

    requests: int = 0
    refused: int = 0
    """Answered 401."""
    refreshes: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            requests=self.requests + other.requests,
            refused=self.refused + other.refused,
            refreshes=self.refreshes + other.refreshes,
        )

    def since(self, before: Counts) -> Counts:
        """Return what came after ``before`` was counted."""
        return Counts(
            requests=self.requests - before.requests,
            refused=self.refused - before.refused,
            refreshes=self.refreshes - before.refreshes,
        )


def count(entries: Iterable[Entry]) -> Counts:
    """Count requests; a refresh is not one of them but stands beside them. A naive client's do not count."""
    found = [entry for entry in entries if not str(entry.get("requestId")).startswith(NAIVE_IDS)]
    refreshes = sum(_is_refresh(entry) for entry in found)
    refused = sum(entry.get("status") == UNAUTHORIZED for entry in found)
    return Counts(requests=len(found) - refreshes, refused=refused, refreshes=refreshes)


def news(entries: Sequence[Entry], last: int) -> tuple[list[Entry], bool]:
    """Split off what is new in an answer that was to begin with entry number ``last``.

    Also tells whether that entry is missing: the journal was cleared, or the server started again.
    """
    missing = last > 0 and not any(entry["number"] == last for entry in entries)
    return [entry for entry in entries if entry["number"] > last], missing


def settled(entries: Sequence[Entry], seen: int) -> Sequence[Entry]:
    """Return the entries before the first that is still being answered.

    One that was not answered at the last look either, which went up to ``seen``, will hardly ever be: it counts.
    """
    for index, entry in enumerate(entries):
        if entry["status"] is None and entry["number"] > seen:
            return entries[:index]
    return entries


def _is_refresh(entry: Entry) -> bool:
    return str(entry.get("path")).endswith("/auth/refresh")
