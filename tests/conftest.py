"""What holds for every test: where it runs, and what it is given."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import looptime
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tests.world import LOOP_START, World

HERE = Path(__file__).parent
IN_BROWSER = (HERE / "browser", HERE / "engines", HERE / "faults" / "browser")
IN_VIRTUAL_TIME = (HERE / "unit", HERE / "faults")

# In this order: the later one may replace a fixture of the earlier.
pytest_plugins = ["mock_server.testing", "tests.browser.fixtures"]

# A slow machine is no failure.
hypothesis_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("patient")


def pytest_configure() -> None:
    """Say that there is no event loop yet.

    looptime asks for the current loop before tests that are not async, too. Unless somebody has said that there is
    none, Python before 3.14 makes one, which nobody closes, and the warning hits whichever test runs next.
    """
    asyncio.set_event_loop(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a browser, so that ``-m "not browser"`` leaves it out, and what runs in virtual time."""
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in IN_BROWSER):
            item.add_marker(pytest.mark.browser)
        elif any(item.path.is_relative_to(folder) for folder in IN_VIRTUAL_TIME) and _has_a_loop(item):
            item.add_marker(pytest.mark.looptime(start=LOOP_START))


def _has_a_loop(item: pytest.Item) -> bool:
    return inspect.iscoroutinefunction(getattr(item, "obj", None))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Give a world with a strict server: rotation, no grace."""
    world = World(grace=0.0)
    yield world
    with looptime.enabled(strict=True):
        await world.close()
