"""Time limits: they do what asyncio's own do, and leave next to nothing with the event loop."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import looptime
import pytest

from freshfetch import QueuePolicy
from freshfetch._deadlines import LONGEST_TIMER, Deadlines
from tests.world import LOOP_START, World, seconds_since_start


def timers() -> list[Any]:
    """Return the timers that the event loop has, those that were cancelled included."""
    scheduled: list[Any] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return scheduled


def ours() -> list[Any]:
    """Return those of them that are the library's and still set."""
    return [timer for timer in timers() if not timer.cancelled() and "Deadlines" in repr(timer)]


async def test_a_block_that_takes_too_long_is_cancelled_on_time() -> None:
    """A limit of two seconds: TimeoutError after two, and the rest of the block does not run."""
    with pytest.raises(TimeoutError):
        async with Deadlines().limit(2.0):
            await asyncio.sleep(10)
    assert seconds_since_start() == pytest.approx(2.0)


async def test_a_block_in_time_and_one_without_a_limit_run_to_their_end() -> None:
    """No error, also when the limit would have been over a little later."""
    deadlines = Deadlines()
    async with deadlines.limit(2.0):
        await asyncio.sleep(1.9)
    async with deadlines.limit(None):
        await asyncio.sleep(100)
    assert seconds_since_start() == pytest.approx(101.9)


async def test_a_limit_that_is_over_already_cancels_at_the_first_wait() -> None:
    """A deadline in the past, as of a request that was taken down long ago."""
    with pytest.raises(TimeoutError):
        async with Deadlines().limit_at(-1.0):
            await asyncio.sleep(10)
    assert seconds_since_start() == pytest.approx(0.0)


async def test_a_callers_cancelling_is_not_taken_for_a_limit() -> None:
    """A task that is cancelled inside a limit is cancelled, not timed out."""

    async def limited() -> None:
        async with Deadlines().limit(10.0):
            await asyncio.sleep(5)

    task = asyncio.ensure_future(limited())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_limits_of_any_length_are_over_in_their_order() -> None:
    """Shorter ones that come later are not kept waiting by longer ones, nor lost when one before them is cancelled."""
    deadlines = Deadlines()
    over: list[float] = []
    made = {length: deadlines.call_later(length, partial(over.append, length)) for length in (9.0, 3.0, 7.0, 1.0)}
    deadlines.cancel(made[3.0])
    deadlines.cancel(made[3.0])
    await asyncio.sleep(5)
    deadlines.call_later(1, lambda: over.append(6))
    await asyncio.sleep(5)
    assert over == [1, 6, 7, 9]


async def test_after_a_standstill_only_what_was_under_way_has_a_second_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is frozen for ten seconds: a limit of before is over a second after it, one of afterwards on time."""
    deadlines, over = Deadlines(), {}
    loop = asyncio.get_running_loop()
    without_it = loop.time

    def limit(name: str, seconds: float) -> None:
        deadlines.call_later(seconds, lambda: over.update({name: seconds_since_start()}))

    limit("due meanwhile", 2.0)
    limit("due soon after", 11.3)
    limit("due long after", 20.0)
    await asyncio.sleep(1)
    monkeypatch.setattr(loop, "time", lambda: without_it() + 10.0)
    limit("set afterwards", 0.5)
    await asyncio.sleep(20)
    expected = {"set afterwards": 11.5, "due meanwhile": 12.0, "due soon after": 12.0, "due long after": 20.0}
    assert over == {name: pytest.approx(at) for name, at in expected.items()}


async def test_one_that_raises_does_not_stop_the_others() -> None:
    """Two at the same instant, the first raises: the loop hears of it, and the second is called."""
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    deadlines, called = Deadlines(), []

    def fail() -> None:
        raise ValueError

    deadlines.call_later(1, fail)
    deadlines.call_later(1, lambda: called.append("second"))
    await asyncio.sleep(2)
    assert called == ["second"]
    assert len(problems) == 1


async def test_a_limit_of_a_hundred_days_does_not_spin() -> None:
    """Browsers call a timer of more than 24 days at once: a long one is set a day at a time."""
    called = []
    Deadlines().call_later(100 * LONGEST_TIMER, lambda: called.append(seconds_since_start()))
    assert [timer.when() - LOOP_START for timer in timers()] == [LONGEST_TIMER]
    await asyncio.sleep(101 * LONGEST_TIMER)
    assert called == [pytest.approx(100 * LONGEST_TIMER)]


def test_limits_hold_in_a_second_event_loop_too() -> None:
    """A script may call ``asyncio.run`` more than once: the timers of a loop that is closed never go off."""
    deadlines = Deadlines()

    async def in_time() -> None:
        async with deadlines.limit(2.0):
            await asyncio.sleep(1)

    async def too_late() -> None:
        with pytest.raises(TimeoutError):
            async with deadlines.limit(2.0):
                await asyncio.sleep(1000)

    for run in (in_time, too_late):
        with asyncio.Runner(loop_factory=looptime.new_event_loop) as runner:
            runner.run(run())


async def test_ten_thousand_limits_that_were_not_needed_leave_one_timer() -> None:
    """In a browser a cancelled timer stays until its time: so none is made for each request that waits."""
    deadlines = Deadlines()
    for _ in range(10_000):
        async with deadlines.limit(300.0):
            await asyncio.sleep(0)
    assert len(timers()) == 1


async def test_requests_and_refreshes_leave_no_timers_behind(world: World) -> None:
    """A hundred refreshes with twenty requests each: a handful of timers; none once the session is closed."""
    tab = await world.signed_in_tab(queue=QueuePolicy())
    for _ in range(100):
        await world.expire()
        answers = await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}", timeout=60) for n in range(20)))
        assert all(answer.ok for answer in answers)
        await tab.session.refresh()
    assert 1 <= len(ours()) < 10
    await tab.session.close()
    assert ours() == []


async def test_a_closed_session_keeps_the_limit_of_a_request_under_way(world: World) -> None:
    """Closed while an answer is still out: the caller is told at its own limit, and then no timer is left."""
    tab = await world.signed_in_tab()
    await world.fault("/api/data", "stall")
    asked = asyncio.ensure_future(tab.session.fetch("/api/data", timeout=5))
    await asyncio.sleep(1)
    await tab.session.close()
    with pytest.raises(Exception, match="No answer within 5"):
        await asked
    assert seconds_since_start() < 6
    assert ours() == []
