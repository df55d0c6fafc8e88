"""Event log: the latest events as rows to show, newest first. Pure.

A burst of requests becomes a few rows with a count, so that neither the page nor its reader drowns.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from freshfetch import Event, RequestEvent

from .wording import Line, describe

LONGEST = 200
TOGETHER = 1.0
"""Seconds within which requests that fare alike share a row."""


@dataclass(slots=True, eq=False)
class Row:
    """One event, or several requests that fared alike."""

    kind: str
    at: float
    line: Line
    is_request: bool
    count: int = 1

    @property
    def detail(self) -> str:
        """The first one's detail, and how many more there are."""
        return self.line.detail if self.count == 1 else f"{self.line.detail} and {self.count - 1} more"


class EventLog:
    """At most ``LONGEST`` rows."""

    def __init__(self) -> None:
        self.rows: deque[Row] = deque(maxlen=LONGEST)
        self._latest: dict[str, Row] = {}

    def add(self, event: Event) -> Row:
        """Add an event; return the row it is in."""
        line = describe(event)
        row = Row(type(event).__name__, event.at, line, is_request=isinstance(event, RequestEvent))
        if row.is_request:
            latest = self._latest.get(line.title)
            if latest is not None and 0 <= row.at - latest.at < TOGETHER:
                latest.count += 1
                return latest
            self._latest[line.title] = row
        self.rows.appendleft(row)
        return row

    def clear(self) -> None:
        """Forget everything."""
        self.rows.clear()
        self._latest.clear()
