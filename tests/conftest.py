"""What holds for every test."""

from __future__ import annotations

import asyncio


def pytest_configure() -> None:
    """Say that there is no event loop yet.

    looptime asks for the current loop before tests that are not async, too. Unless somebody has said that there is
    none, Python before 3.14 makes one, which nobody closes, and the warning hits whichever test runs next.
    """
    asyncio.set_event_loop(None)
