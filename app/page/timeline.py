"""Timeline: what the session tells, drawn as it happens, each request in a lane of its own.

Python keeps what is drawn; ``app/static/timeline.js`` draws it, and knows nothing of what it means.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from pyodide.ffi import JsException

from .elements import Frame, Tasks, find, set_text, static
from .lanes import FRESHFETCH, Lanes
from .wording import tally

if TYPE_CHECKING:
    from freshfetch import Event

DRAWING = "timeline.js"


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
        from pyscript import js_import  # noqa: PLC0415 : all that is imported above can be imported anywhere

        try:
            (module,) = await js_import(static(DRAWING))
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
