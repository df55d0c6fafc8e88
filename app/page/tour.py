"""Tour: four short explanations, each in the page's flow beside what it explains, so that it never covers anything.

It comes by itself once, without the focus, and goes away for good when it is closed or finished.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import js

from .elements import find, has_focus, listen, set_text

if TYPE_CHECKING:
    from .elements import BrowserShelf


class Stop(NamedTuple):
    """One explanation. ``at`` selects the element that it stands before."""

    at: str
    title: str
    text: str


STOPS = (
    Stop(
        "#note-form",
        "Write something",
        "Add a note. From then on it is saved as you type, and the line below it says whether the server has it.",
    ),
    Stop(
        "section.token",
        "Look at the ring",
        "It is the time your access token has left. When it is over, your next click fetches a new one by the way.",
    ),
    Stop(
        "#controls",
        "Break something",
        "Let the token die or the server fail, and then write a note. It will be saved all the same. "
        "Further down each request is drawn as it goes.",
    ),
    Stop(
        "#events-panel",
        "Read what happened",
        "Each request and each renewal is listed here, the latest first. That was all; Tour shows it again.",
    ),
)


class Tour:
    """The card with the explanations. ``memory`` keeps whether it was seen."""

    def __init__(self, memory: BrowserShelf) -> None:
        self._memory = memory
        self._card = find("tour")
        self._next = find("tour-next")
        self._again = find("tour-again")
        self._stop = 0
        self._asked_for = False
        self._explained: Any = None
        listen(self._next, "click", lambda _: self._go_on())
        listen(find("tour-close"), "click", lambda _: self._end())
        listen(self._again, "click", lambda _: self._start_again())
        listen(js.document, "keydown", self._on_key)

    def offer(self) -> None:
        """Show it to somebody who has not seen it, unless it would come again at each visit."""
        if self._memory.keeps() and not self._memory.read() and self._card.hidden:
            self._asked_for = False
            self._show(0)

    def hide(self) -> None:
        """Take it away for now: something else is more important."""
        self._card.hidden = True
        self._mark(None)

    def _start_again(self) -> None:
        self._asked_for = True
        self._show(0)
        self._next.focus()

    def _go_on(self) -> None:
        if self._stop + 1 == len(STOPS):
            self._end()
        else:
            self._show(self._stop + 1)
            self._next.focus()

    def _end(self) -> None:
        was_here = has_focus(self._card)
        self._memory.write("seen")
        self.hide()
        if was_here:
            (self._again if self._asked_for else find("note-text")).focus()

    def _show(self, number: int) -> None:
        self._stop = number
        stop = STOPS[number]
        place = js.document.querySelector(stop.at)
        set_text(find("tour-count"), f"{number + 1} of {len(STOPS)}")
        set_text(find("tour-title"), stop.title)
        set_text(find("tour-text"), stop.text)
        set_text(self._next, "Done" if number + 1 == len(STOPS) else "Next")
        place.before(self._card)
        self._card.hidden = False
        self._mark(place)

    def _mark(self, place: Any) -> None:
        """Point at what is explained."""
        if self._explained is not None:
            self._explained.removeAttribute("data-explained")
        self._explained = place
        if place is not None:
            place.setAttribute("data-explained", "true")

    def _on_key(self, event: Any) -> None:
        if event.key == "Escape" and not self._card.hidden and not event.defaultPrevented:
            self._end()
