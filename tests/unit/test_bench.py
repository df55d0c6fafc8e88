"""What the benches stand on: a verdict that can be lost, and time that goes as asyncio expects."""

from __future__ import annotations

import asyncio

import pytest

from bench.figures import Figures
from bench.virtual_time import TICK, run


def test_a_bench_passes_when_every_figure_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """Figures on their bounds hold; the verdict is 0 and says PASS."""
    figures = Figures("a bench")
    figures.at_most("few", 7, 7)
    figures.at_least("many", 0.95, 0.95)
    figures.exactly("one", 1, 1)
    assert figures.verdict() == 0
    assert "PASS" in capsys.readouterr().out


@pytest.mark.parametrize("judge, value", [("at_most", 7.01), ("at_least", 6.99), ("exactly", 6)])
def test_a_bench_fails_when_one_figure_does_not(judge: str, value: float, capsys: pytest.CaptureFixture[str]) -> None:
    """One figure beyond its bound among others: the verdict is 1, and the line says which."""
    figures = Figures("a bench")
    figures.exactly("held", 1, 1)
    getattr(figures, judge)("missed", value, 7)
    assert figures.verdict() == 1
    printed = capsys.readouterr().out
    assert "FAIL  missed" in printed
    assert "FAIL: 1 missed" in printed


def test_virtual_time_passes_without_waiting_and_in_order() -> None:
    """Sleepers wake at their times, to a tick, whatever the order in which they went to sleep."""
    woken = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((seconds, asyncio.get_running_loop().time()))

    async def story() -> None:
        await asyncio.gather(sleep(86_400), sleep(1), sleep(60))

    run(story())
    assert [seconds for seconds, _ in woken] == [1, 60, 86_400]
    assert all(seconds <= time <= seconds + TICK for seconds, time in woken)


def test_a_story_in_which_nobody_can_go_on_is_an_error() -> None:
    """Everybody waits and no timer is left: the run ends instead of hanging."""

    async def story() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="no timer is left"):
        run(story())
