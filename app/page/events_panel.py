"""Events panel: the running list of what the session tells."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .elements import Element, Frame, clone, find, listen, set_text
from .event_log import EventLog, Row
from .wording import ago

if TYPE_CHECKING:
    from freshfetch import Event


class EventsPanel:
    """Newest first. However many events come, the list changes once per animation frame."""

    def __init__(self) -> None:
        self._log = EventLog()
        self._changed: dict[Row, None] = {}
        self._items: dict[Row, Element] = {}
        self._frame = Frame(self._draw)
        self._list = find("events")
        self._filter = find("show-requests")
        listen(find("clear-events"), "click", self._on_clear)
        listen(self._filter, "change", self._on_filter)
        self._on_filter(None)

    def add(self, event: Event) -> None:
        """Add an event to the list."""
        self._changed[self._log.add(event)] = None
        self._frame.ask()

    def tick(self) -> None:
        """Say anew how long ago each was."""
        now = time.time()
        for row, item in self._items.items():
            set_text(item.querySelector(".event-time"), ago(now - row.at))

    def _draw(self) -> None:
        alive = dict.fromkeys(self._log.rows)
        for row in [each for each in self._items if each not in alive]:
            self._items.pop(row).remove()
        now = time.time()
        for row in self._changed:
            if row in alive:
                self._draw_row(row, now)
        self._changed.clear()
        find("events-empty").hidden = bool(self._items)

    def _draw_row(self, row: Row, now: float) -> None:
        item = self._items.get(row)
        if item is None:
            item = self._items[row] = self._make(row)
            self._list.prepend(item)
        set_text(item.querySelector(".event-detail"), row.detail)
        set_text(item.querySelector(".event-time"), ago(now - row.at))
        count = item.querySelector(".event-count")
        count.hidden = row.count == 1
        set_text(count, f"\N{MULTIPLICATION SIGN} {row.count}")

    def _make(self, row: Row) -> Element:
        item = clone("event-template")
        item.dataset.event = row.kind
        item.dataset.tone = row.line.tone
        item.dataset.request = str(row.is_request).lower()
        set_text(item.querySelector(".event-title"), row.line.title)
        return item

    def _on_clear(self, _event: Any) -> None:
        self._log.clear()
        self._changed.clear()
        self._draw()

    def _on_filter(self, _event: Any) -> None:
        self._list.dataset.requests = "shown" if self._filter.checked else "hidden"
