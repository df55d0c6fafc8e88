"""Timeline: what the session tells, drawn as it happens, each request in a lane of its own.

Python keeps what is drawn; ``app/static/timeline.js`` draws it, and knows nothing of what it means.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import js
from pyodide.ffi import JsException
from pyscript import js_import

from .elements import Frame, Tasks, find, set_text
from .lanes import FRESHFETCH, Lanes
from .wording import tally

if TYPE_CHECKING:
    from freshfetch import Event

DRAWING = "app/static/timeline.js"


class Timeline:
    """The panel. However many events come, it hands over what is new once per animation frame."""

    def __init__(self) -> None:
        self._lanes = Lanes()
        self._panel = find("timeline-panel")
        self._summary = find("timeline-summary")
        self._drawing: Any = None
        self._tasks = Tasks()
        self._frame = Frame(self._draw)

    def start(self) -> None:
        """Fetch what draws. Not before the page can be used: it must not have to wait for this."""
        self._tasks.start(self._load())

    def listen(self, event: Event, track: str = FRESHFETCH) -> None:
        """Draw an event. Each track has lanes and bands of its own, on the same time axis.

        The numbers of a track's requests have to go on rising, also over ``clear``.
        """
        self._lanes.add(event, track)
        self._frame.ask()

    def mark(self, label: str) -> None:
        """Draw a labelled line across everything, here and now: something begins."""
        self._lanes.mark(label, time.time())
        self._frame.ask()

    def clear(self, track: str = FRESHFETCH) -> None:
        """Take away what was drawn of one track, and count it anew."""
        self._lanes.clear(track)
        self._frame.ask()

    async def _load(self) -> None:
        try:
            (module,) = await js_import(js.URL.new(_place() + DRAWING, js.document.baseURI).href)
            self._drawing = module.mount(self._panel)
        except JsException:
            find("timeline-missing").hidden = False
            find("timeline-drawing").hidden = True
        self._frame.ask()

    def _draw(self) -> None:
        counts = [(name, track.tally) for name, track in self._lanes.tracks.items() if track.tally.requests]
        self._panel.hidden = not counts
        set_text(self._summary, tally(counts))
        if self._drawing is not None:
            self._drawing.update(json.dumps(self._lanes.changes()))


def _place() -> str:
    """Return where the page's files lie: a built site has a folder for them."""
    return js.document.documentElement.getAttribute("data-files") or ""
