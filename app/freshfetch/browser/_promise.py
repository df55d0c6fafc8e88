"""Waiting for a promise of the browser's own, such as fetch's.

WebKit rejects with errors that have no ``stack`` where no JavaScript was running, as when a connection breaks. Pyodide
takes only what has one for an error, and makes a Future of each promise that a call returns: that one never ends.
So Python never gets such a promise: the call is made by JavaScript, and what comes back is one that is not rejected.
"""

from __future__ import annotations

from typing import Any

import js

_each = getattr(js.Array, "from")
_all_settled = js.Promise.allSettled
_ONCE = js.Array.of(None)


class RejectedError(Exception):
    """A promise was rejected. ``name`` is the kind of error, such as ``TypeError``; its text may quote a request."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


async def settled(owner: Any, method: str, *arguments: Any) -> Any:
    """Call a method that returns a promise; return the value, or raise a RejectedError."""
    call = getattr(owner, method).bind(owner, *arguments)
    outcome = (await _all_settled(_each(_ONCE, call)))[0]
    if outcome.status == "rejected":
        raise RejectedError(str(getattr(outcome.reason, "name", "Error")))
    return outcome.value
