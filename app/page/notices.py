"""Notices: what the person should know now, in plain words, at the foot of the window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .elements import Element, clone, find, focus_is_lost, has_focus, listen, set_text


class Notices:
    """At most one notice of each name. Showing one again changes its words and nothing else."""

    def __init__(self) -> None:
        self._place = find("notices")
        self._shown: dict[str, Element] = {}
        self._actions: dict[str, Callable[[], None]] = {}
        self._before: Element = None
        listen(self._place, "click", self._on_click)
        listen(self._place, "focusin", self._on_focus)

    def show(
        self, name: str, text: str, *, tone: str = "plain", action: tuple[str, Callable[[], None]] | None = None
    ) -> None:
        """Show a notice, with a button for what can be done about it."""
        notice = self._shown.get(name)
        if notice is None:
            notice = self._shown[name] = clone("notice-template")
            notice.dataset.notice = name
            self._place.append(notice)
        notice.dataset.tone = tone
        set_text(notice.querySelector(".notice-text"), text)
        button = notice.querySelector("button")
        had_focus = has_focus(button)
        button.hidden = action is None
        if action is not None:
            set_text(button, action[0])
            self._actions[name] = action[1]
        elif had_focus:
            self._go_back()

    def detail(self, name: str, text: str) -> None:
        """Add what changes every second; it is not read out."""
        if name in self._shown:
            set_text(self._shown[name].querySelector(".notice-detail"), text)

    def inform(self, name: str, text: str) -> None:
        """Show a notice that the person puts away."""
        self.show(name, text, action=("OK", lambda: self.hide(name)))

    def hide(self, name: str) -> None:
        """Take a notice away."""
        notice = self._shown.pop(name, None)
        if notice is None:
            return
        had_focus = has_focus(notice)
        notice.remove()
        if had_focus:
            self._go_back()

    def _on_focus(self, event: Any) -> None:
        """Take note where the keyboard was before."""
        if event.relatedTarget and not self._place.contains(event.relatedTarget):
            self._before = event.relatedTarget

    def _go_back(self) -> None:
        """Give the keyboard back: the button that it was at is gone."""
        if self._before is not None:
            self._before.focus()
        if focus_is_lost():
            find("app").focus()

    def _on_click(self, event: Any) -> None:
        button = event.target.closest("button")
        if button:
            self._actions[button.closest(".notice").dataset.notice]()
