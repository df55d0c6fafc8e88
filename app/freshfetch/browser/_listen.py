"""Listen to a browser event, and stop without leaving a proxy behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyodide.ffi import create_proxy


def listen(target: Any, event: str, callback: Callable[[Any], None]) -> Callable[[], None]:
    """Call ``callback`` with each event; the returned function stops that and may be called twice."""
    proxy = create_proxy(callback)
    target.addEventListener(event, proxy)
    listening = True

    def stop() -> None:
        nonlocal listening
        if listening:
            listening = False
            target.removeEventListener(event, proxy)
            proxy.destroy()

    return stop
