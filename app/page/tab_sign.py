"""Tab sign: the title and the icon of the tab, so that somebody who is in another one sees how things stand here.

The icons are files, since the page's policy allows no other images. One that cannot be fetched, because the server is
down, leaves the icon as it was: the title says the same in words.
"""

from __future__ import annotations

import js

from .elements import static
from .wording import TITLES, Sign


class TabSign:
    """Shows one sign at a time."""

    def __init__(self) -> None:
        self._icon = js.document.querySelector("link[rel=icon]")

    def draw(self, sign: Sign) -> None:
        """Show a sign. What is shown already is left alone, so that no icon is fetched twice."""
        name = "favicon.svg" if sign is Sign.SIGNED_IN else f"favicon-{sign.value}.svg"
        js.document.title = TITLES[sign]
        if self._icon.href != (icon := static(name)):
            self._icon.setAttribute("href", icon)
