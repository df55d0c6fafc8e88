"""JSON that somebody else wrote: a server, storage, another tab.

Python's parser recurses. Text that is nested deep enough raises on a host and is the end of the interpreter in
a browser (measured: a fatal stack overflow between 5 000 and 20 000 levels), so it is counted before it is read.
"""

from __future__ import annotations

import json
import re
from typing import Any

DEEPEST = 200
"""Levels of nesting; what people write has a dozen."""
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_BRACKET = re.compile(r"[\[{\]}]")


def parse_json(text: str, **options: Any) -> Any:
    """Return the value; ``options`` are those of ``json.loads``.

    Raises:
        json.JSONDecodeError: it is not JSON, or nested deeper than ``DEEPEST``.
    """
    if _is_too_deep(text):
        raise json.JSONDecodeError(f"Nested deeper than {DEEPEST} levels", "", 0)
    return json.loads(text, **options)


def _is_too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= DEEPEST:  # nearly always, and quick
        return False
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEEPEST:
            return True
    return False
