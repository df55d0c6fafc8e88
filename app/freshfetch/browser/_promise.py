"""Waiting for a promise of the browser's own, such as fetch's.

WebKit rejects with errors that have no ``stack`` when no JavaScript was running, as when a connection breaks. Pyodide
takes only what has one for an error: ``await`` then never ends. So no promise is awaited here that can be rejected.
"""

from __future__ import annotations

from typing import Any

import js
from pyodide.ffi import to_js


class RejectedError(Exception):
    """A promise was rejected. ``name`` is the kind of error, such as ``TypeError``; its text may quote a request."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


async def settled(promise: Any) -> Any:
    """Wait for a promise; return its value, or raise a RejectedError."""
    outcome = (await js.Promise.allSettled(to_js([promise])))[0]
    if outcome.status == "rejected":
        raise RejectedError(str(getattr(outcome.reason, "name", "Error")))
    return outcome.value
