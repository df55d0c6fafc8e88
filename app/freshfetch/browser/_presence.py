"""Whether the person is there: page visibility, what they do with it, and the network."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import js

from ._listen import listen

_SIGNS_OF_LIFE = ("pointerdown", "pointermove", "keydown", "wheel", "touchstart", "focus")


class PagePresence:
    """This page and whoever looks at it."""

    def __init__(self) -> None:
        self._last_sign = time.monotonic()
        self._subscribers = 0
        self._stops: list[Callable[[], None]] = []

    @property
    def visible(self) -> bool:
        """Whether the page can be seen."""
        return bool(js.document.visibilityState == "visible")

    @property
    def online(self) -> bool:
        """Whether the device thinks it has a network."""
        return bool(js.navigator.onLine)

    def idle_for(self) -> float:
        """Return seconds since the person last touched the page."""
        return time.monotonic() - self._last_sign

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` when the page is shown or restored, and when the network comes back."""

        def on_change(_event: Any) -> None:
            if self.visible:
                listener()

        stops = [
            listen(js.document, "visibilitychange", on_change),
            listen(js.globalThis, "pageshow", on_change),
            listen(js.globalThis, "online", lambda _event: listener()),
        ]
        self._watch(+1)

        def unsubscribe() -> None:
            if stops:
                self._watch(-1)
            while stops:
                stops.pop()()

        return unsubscribe

    def _watch(self, change: int) -> None:
        """Look for signs of life for as long as anybody wants to know."""
        self._subscribers += change
        if self._subscribers and not self._stops:
            self._stops = [listen(js.globalThis, sign, self._on_sign) for sign in _SIGNS_OF_LIFE]
        while self._stops and not self._subscribers:
            self._stops.pop()()

    def _on_sign(self, _event: Any) -> None:
        self._last_sign = time.monotonic()
