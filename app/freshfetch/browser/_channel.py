"""Hints between tabs: BroadcastChannel, and the storage event, which comes where that is missing too."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import js
from pyodide.ffi import JsException

from .._json import parse_json
from .._ports import Hint
from ._listen import listen

_KINDS = ("changed", "signed_out", "expired")


class TabChannel:
    """The tabs of this origin that have a session of the same name."""

    def __init__(self, name: str) -> None:
        self._name = f"freshfetch:{name}"
        self._channel: Any = None

    def publish(self, hint: Hint) -> None:
        """Tell the other tabs."""
        channel = self._open()
        if channel is not None:
            channel.postMessage(json.dumps({"kind": hint.kind, "reason": hint.reason}))

    def subscribe(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Call ``listener`` with each hint, and whenever another tab writes the session record."""

        def on_message(event: Any) -> None:
            if (hint := _hint(event.data)) is not None:
                listener(hint)

        def on_storage(event: Any) -> None:
            if event.key == self._name or not isinstance(event.key, str):  # no key: all was cleared
                listener(Hint("changed"))

        stops = [listen(js.globalThis, "storage", on_storage)]
        channel = self._open()
        if channel is not None:
            stops.append(listen(channel, "message", on_message))

        def unsubscribe() -> None:
            for stop in stops:
                stop()
            self._close()

        return unsubscribe

    def _open(self) -> Any:
        if self._channel is None:
            try:
                self._channel = js.BroadcastChannel.new(self._name)
            except (JsException, AttributeError):
                return None
        return self._channel

    def _close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _hint(data: Any) -> Hint | None:
    """Read a message; any script of the origin can send one, so anything else is dropped."""
    if not isinstance(data, str) or len(data) > 1000:
        return None
    try:
        message = parse_json(data)
    except ValueError:
        return None
    if not isinstance(message, dict) or message.get("kind") not in _KINDS:
        return None
    reason = message.get("reason")
    return Hint(message["kind"], reason if isinstance(reason, str) else "")
