"""What every fault test is given: a world that is watched, and the ten invariants checked when the test is over."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest

from tests.faults.invariants import Text
from tests.faults.watched import WatchedWorld


@pytest.fixture
async def world(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[WatchedWorld]:
    """Give a watched world with a strict server (rotation, no grace); afterwards check I1 to I10."""
    caplog.set_level(logging.DEBUG)
    world = WatchedWorld(grace=0.0)
    yield world
    printed = capsys.readouterr()
    log = "\n".join(record.getMessage() for phase in ("setup", "call") for record in caplog.get_records(phase))
    console = [Text(where="the log", text=log), Text(where="the console", text=printed.out + printed.err)]
    await world.finish(*console)
