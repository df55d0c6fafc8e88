"""Elements: the few things the panels do with the document. All text goes in as text, never as markup."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import js
from pyodide.ffi import JsException, create_proxy

Element = Any
"""A DOM element; nothing on the host describes one."""


def find(element_id: str) -> Element:
    """Return the element with this id."""
    return js.document.getElementById(element_id)


def clone(template_id: str) -> Element:
    """Return a copy of a template's one element."""
    return find(template_id).content.firstElementChild.cloneNode(True)  # noqa: FBT003 - the DOM's own signature


def listen(target: Any, kind: str, handler: Callable[[Any], object]) -> None:
    """Call ``handler`` with each such event for as long as the page lives."""
    target.addEventListener(kind, create_proxy(handler))


def static(name: str) -> str:
    """Return the URL of one of the page's static files: they lie beside its icon, wherever a built site has them.

    In a page that is one file they lie in the page.
    """
    inline = js.document.querySelector(f'meta[name="static:{name}"]')
    if inline:
        return str(inline.content)
    return str(js.URL.new(name, js.document.querySelector("link[rel=icon]").href).href)


def set_text(element: Element, text: str) -> None:
    """Show a text; an element that shows it already is not touched, so that nobody hears it twice."""
    if element.textContent != text:
        element.textContent = text


def number_in(element_id: str, otherwise: int) -> int:
    """Read a number field, whatever was typed into it."""
    field = find(element_id)
    try:
        wanted = int(str(field.value))
    except ValueError:
        wanted = otherwise
    wanted = max(int(str(field.min)), min(wanted, int(str(field.max))))
    field.value = str(wanted)
    return wanted


def has_focus(element: Element) -> bool:
    """Tell whether the keyboard is in this element."""
    return bool(element.contains(js.document.activeElement))


def focus_is_lost() -> bool:
    """Tell whether the keyboard is nowhere: what had it is gone."""
    active = js.document.activeElement
    return not active or active == js.document.body or not active.checkVisibility()


def bring_into_view(element: Element) -> None:
    """Scroll no further than it takes to see this element."""
    element.scrollIntoView(block="nearest")


class Frame:
    """Draws at most once per animation frame, however often it is asked."""

    def __init__(self, draw: Callable[[], None]) -> None:
        self._draw = draw
        self._asked = False
        self._proxy = create_proxy(self._run)

    def ask(self) -> None:
        """Draw soon. In a hidden tab: when it is seen again."""
        if not self._asked:
            self._asked = True
            js.requestAnimationFrame(self._proxy)

    def _run(self, _time: float) -> None:
        self._asked = False
        self._draw()


class Tasks:
    """Work that was started by a click and goes on by itself."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it, and keep it from being collected meanwhile."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)


class BrowserShelf:
    """A text that stays, and that all tabs share; in memory where the browser refuses that."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._text = ""

    def keeps(self) -> bool:
        """Tell whether what is written will be there another time."""
        try:
            return bool(js.localStorage)
        except (JsException, AttributeError):
            return False

    def read(self) -> str:
        """Return the text."""
        try:
            return str(js.localStorage.getItem(self._key) or "")
        except (JsException, AttributeError):
            return self._text

    def write(self, text: str) -> None:
        """Replace the text."""
        self._text = text
        try:
            js.localStorage.setItem(self._key, text)
        except (JsException, AttributeError):
            return
