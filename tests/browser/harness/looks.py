"""How the page is looked at: wide and narrow, by day and by night."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from tests.browser.harness.notes_page import NotesPage

WIDTHS = (1280, 390)
HEIGHTS = {1280: 900, 390: 844}
SCHEMES = ("light", "dark")


@dataclass(frozen=True, slots=True)
class Look:
    """A width in CSS pixels, a colour scheme, and a height unless it is the usual one."""

    width: int
    scheme: str
    height: int | None = None

    def __str__(self) -> str:
        """Name it as a part of a file's name."""
        return f"{self.width}-{self.scheme}"

    def put_on(self, page: NotesPage) -> None:
        """Show the page so. Nothing moves, so that what is seen is final."""
        height = self.height or HEIGHTS.get(self.width, 900)
        size = {"width": self.width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = {"prefers-color-scheme": self.scheme, "prefers-reduced-motion": "reduce"}
        media = [{"name": name, "value": value} for name, value in features.items()]
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})


def take_off(page: NotesPage) -> None:
    """Show the page as the browser does by itself."""
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def each_look(page: NotesPage) -> Iterator[Look]:
    """Show the page in one look after the other."""
    for width, scheme in product(WIDTHS, SCHEMES):
        look = Look(width, scheme)
        look.put_on(page)
        yield look
    take_off(page)


def sticks_out(page: NotesPage) -> bool:
    """Tell whether the page scrolls sideways in a window of 320 px: text at four times its size in one of 1280."""
    Look(320, "light").put_on(page)
    answer = bool(page.script("return document.documentElement.scrollWidth > innerWidth"))
    take_off(page)
    return answer


def whole_height(page: NotesPage) -> int:
    """Return how high a window must be to show the whole page."""
    return int(page.script("return document.documentElement.scrollHeight"))
