"""Server panel: what the server saw, counted by itself, so that nobody has to believe the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import js
from pyodide.ffi import create_proxy

from .elements import find, set_text
from .wording import verdict

if TYPE_CHECKING:
    from .ledger import Ledger
    from .mock_controls import MockControls


class ServerPanel:
    """A few numbers, and a verdict. The server is asked for them only while somebody can see them."""

    def __init__(self, mock: MockControls, ledger: Ledger) -> None:
        self._mock = mock
        self._ledger = ledger
        self._panel = find("server-panel")
        self._in_view = False
        observer = js.IntersectionObserver.new(create_proxy(self._on_view))
        observer.observe(self._panel)

    def hide(self) -> None:
        """Hide the panel: this server keeps no journal."""
        self._panel.hidden = True

    async def look(self) -> None:
        """Ask the server, if it is worth asking."""
        if self._in_view and js.document.visibilityState == "visible":
            await self._mock.look()
            self.draw()

    def draw(self) -> None:
        """Show the numbers."""
        counts = self._mock.counts
        set_text(find("server-requests"), str(counts.requests))
        set_text(find("server-refused"), str(counts.refused))
        set_text(find("server-refreshes"), str(counts.refreshes))
        found = self._ledger.verdict()
        for name, number in (("server-lost", found.lost), ("server-doubled", found.doubled)):
            set_text(find(name), str(number))
            find(name).dataset.verdict = "bad" if number else "good"
        set_text(find("server-verdict"), verdict(found))

    def _on_view(self, entries: Any, _observer: Any) -> None:
        self._in_view = any(entry.isIntersecting for entry in entries)
