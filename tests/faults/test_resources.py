"""Resources (54), in small: what a session leaves behind after hundreds of refreshes and thousands of requests.

The long one, with the browser's own heaps, is ``bench/soak.py``.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from freshfetch import HeartbeatPolicy
from tests.faults.watched import WatchedWorld
from tests.world import Tab, World, roomy_queue


def alive(world: World, tab: Tab) -> tuple[int, int]:
    """Return how many objects of the library's own classes are alive, and how many of any kind."""
    tab.wire.sent.clear()
    tab.events.clear()
    world.server.journal.clear()
    gc.collect()
    objects = gc.get_objects()
    return sum(type(each).__module__.startswith("freshfetch") for each in objects), len(objects)


def timers() -> int:
    """Return how many timers are set."""
    loop: Any = asyncio.get_running_loop()
    return sum(not handle.cancelled() for handle in loop._scheduled)


async def a_round(world: World, tab: Tab) -> None:
    """Work through everything that can happen to requests; leave nothing of it in the test's own lists."""
    await world.expire()
    answers = await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(20)))
    assert all(answer.ok for answer in answers)
    await world.fault("/api/data/lost", "drop_before", times=1)
    cancelled = asyncio.create_task(tab.session.fetch("/api/data/cancelled"))
    lost = asyncio.create_task(tab.session.fetch("/api/data/lost"))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, lost, return_exceptions=True)
    tab.session.subscribe(lambda _event: None)()
    await tab.session.refresh()
    world.heal()


async def test_54_hundreds_of_refreshes_and_thousands_of_requests_leave_nothing_behind() -> None:
    """After 120 refreshes and 1300 requests: no more objects, tasks, timers or listeners than before them.

    The world is not watched: what is written down for the invariants would grow.
    """
    world = World(grace=0.0)
    tab = await world.signed_in_tab(queue=roomy_queue(), heartbeat=HeartbeatPolicy())
    await tab.session.__aenter__()
    world.start_journal()
    for _ in range(5):
        await a_round(world, tab)
    await asyncio.sleep(60)  # the loop keeps timers that were cancelled, in unlike numbers, until their time
    ours, all_kinds = alive(world, tab)
    tasks, watchers = len(asyncio.all_tasks()), tab.person.watchers
    for _ in range(60):
        await a_round(world, tab)
    assert world.refreshes() == 120
    await asyncio.sleep(60)
    ours_after, all_kinds_after = alive(world, tab)
    assert ours_after <= ours
    assert all_kinds_after <= all_kinds + 50
    assert (len(asyncio.all_tasks()), tab.person.watchers) == (tasks, watchers)
    assert timers() <= 4  # the heartbeat's nap, and the few that limits share
    assert len(tab.session._listeners._listeners) == 1
    assert tab.session.snapshot().queue_size == tab.session.snapshot().queue_pending == 0
    await world.close()
    assert timers() == 0


async def test_54_sessions_that_come_and_go_leave_nothing_behind(world: WatchedWorld) -> None:
    """A hundred sessions entered and closed, some in the middle of a refresh: no task, timer or listener stays."""
    await world.signed_in_tab()
    tasks, set_before = len(asyncio.all_tasks()), timers()
    for number in range(100):
        tab = world.tab(heartbeat=HeartbeatPolicy())
        async with tab.session:
            if number % 10 == 0:
                await world.expire()
            call = asyncio.create_task(tab.session.fetch("/api/data"))
            await asyncio.sleep(number % 7 * 0.007)
        await asyncio.gather(call, return_exceptions=True)
        assert tab.person.watchers == 0
    assert len(asyncio.all_tasks()) == tasks
    assert timers() == set_before
    assert world.channel._listeners == []
