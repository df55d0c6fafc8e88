"""Take a picture of the page in each of its states: ``make screenshots`` fills ``docs/screenshots/``.

The states are those of ``tests/browser/harness/walks.py``, the looks those of ``looks.py`` beside it. The page's clocks
run on: a picture in which next to nothing else has changed is left as it was.
"""

from __future__ import annotations

import argparse
import base64
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageChops

from mock_server.remote import Server
from tests.browser.harness.chromium import Chromium
from tests.browser.harness.looks import Look, each_look, whole_height
from tests.browser.harness.notes_page import NotesPage
from tests.browser.harness.walks import ALL

ROOT = Path(__file__).resolve().parent.parent
COLOURS = 128
UNCHANGED = 0.004
"""The share of a picture that clocks and countdowns take up."""
WHOLE = ("notes", "not-saved")
"""States of which there is a picture of the whole page, too."""
SHOWN = {"burst": "#timeline-panel", "answer-lost": "#scene-lost", "tour-goes-on": "#tour"}
"""States that are to be seen further down: what of the page is in the middle of the picture."""


def main() -> None:
    """Take them all, or those of some states."""
    parser = argparse.ArgumentParser(description="Take a picture of the page in each state.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots", help="folder for the pictures")
    parser.add_argument("--only", nargs="*", default=[], metavar="STATE", help="take these states only")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    taken = [keep(options.out / f"{name}.png", picture) for name, picture in pictures(set(options.only))]
    (options.out / "README.md").write_text(gallery(options.out))
    print(f"{len(taken)} pictures in {options.out}, {sum(taken)} of them new.")


def gallery(folder: Path) -> str:
    """Return a page that shows all pictures, each as light or dark as its reader likes it."""
    states = sorted({path.name.removesuffix("-1280-light.png") for path in folder.glob("*-1280-light.png")})
    lines = [
        "# Every state of the page",
        "",
        "Taken by `make screenshots`, 1280 and 390 pixels wide, light and dark.",
        "",
    ]
    for state in states:
        lines += [f"## {state.replace('-', ' ')}", "", *(_picture(state, width) for width in (1280, 390)), ""]
    return "\n".join(lines)


def _picture(state: str, width: int) -> str:
    dark, light = (f"{state}-{width}-{mode}.png" for mode in ("dark", "light"))
    source = f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">'
    alt = f"{state.replace('-', ' ')}, {width} pixels wide"
    return f'<picture>{source}<img src="{light}" alt="{alt}" width="{width // 2}"></picture>'


def pictures(only: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield each picture's name and PNG."""
    with tempfile.TemporaryDirectory() as profiles, Server("--access-lifetime", "1800") as server:
        browser = Chromium(Path(profiles))
        try:
            for walk in ALL:
                browser.forget(server.url)
                server.reset()
                page = NotesPage(browser, server.url + "/")
                for state in walk(page, server):
                    if not only or state in only:
                        yield from of_state(page, state)
        finally:
            browser.quit()


def of_state(page: NotesPage, state: str) -> Iterator[tuple[str, bytes]]:
    """Take the pictures of one state."""
    for look in each_look(page):
        if state in SHOWN:
            show(page, SHOWN[state])
        yield f"{state}-{look}", shot(page)
        if state in WHOLE:
            Look(look.width, look.scheme, whole_height(page)).put_on(page)
            yield f"{state}-whole-{look}", shot(page)


def show(page: NotesPage, selector: str) -> None:
    """Bring a part of the page to the middle of the window; a timeline shows all that there is."""
    page.script(
        """
        const shown = document.querySelector(arguments[0]);
        shown.querySelector("#timeline-all")?.click();
        shown.scrollIntoView({ block: "center" });
        """,
        selector,
    )


def shot(page: NotesPage) -> bytes:
    """Take one picture when two frames have been painted, without a caret that blinks or a pointer over a button."""
    away = {"type": "mouseMoved", "x": 0, "y": 0}
    page.driver.execute_cdp_cmd("Input.dispatchMouseEvent", away)
    page.script("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    answer = page.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    return base64.b64decode(answer["data"])


def keep(file: Path, png: bytes) -> bool:
    """Write a picture, small, unless there is the same one already; tell whether it was written."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    if file.is_file() and is_same(picture, Image.open(file).convert("RGB")):
        return False
    # Few colours are enough for a page like this, and a palette makes the file a third of the size. By coverage, since
    # a median cut takes no notice of a small red figure.
    small = picture.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(file, optimize=True)
    return True


def is_same(one: Image.Image, other: Image.Image) -> bool:
    """Tell whether two pictures differ in no more than what a palette and clocks change."""
    if one.size != other.size:
        return False
    changed = ImageChops.difference(one, other).convert("L").point(lambda value: 255 * (value > 24))
    return changed.histogram()[255] <= UNCHANGED * one.width * one.height


if __name__ == "__main__":
    main()
