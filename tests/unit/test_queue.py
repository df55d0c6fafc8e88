"""Requests that wait: in which order they go, how many at once, and that each is settled exactly once."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshfetch import (
    ConfigurationError,
    FreshfetchError,
    QueueDroppedError,
    QueueFullError,
    QueuePolicy,
    RefreshStarted,
    RequestHeld,
    RequestSent,
    RequestTimeoutError,
    SignedOutError,
)
from freshfetch._deadlines import Deadlines
from freshfetch._queue import FIRST_WIDTH, PATIENCE, RequestQueue, Turn
from tests.world import Tab, World, outcomes, roomy_queue, until


async def held_tab(world: World, **settings: Any) -> Tab:
    """Return a tab whose token has expired: whatever is fetched now waits for a refresh of two seconds."""
    tab = await world.signed_in_tab(**settings)
    await asyncio.sleep(1801)
    await world.fault("/api/auth/refresh", "delay", delay=2)
    return tab


async def ask(queue: RequestQueue, number: int, *, again: bool = False) -> asyncio.Task[Turn]:
    """Ask for a turn in a task of its own, and let it come as far as it can."""
    task = asyncio.create_task(queue.turn(number, again=again))
    await asyncio.sleep(0)
    return task


# -- through a session --


async def test_held_requests_leave_in_the_order_of_the_calls(world: World) -> None:
    """Fifty requests held during a refresh are sent first come, first served."""
    tab = await held_tab(world)
    await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(50)))
    sent = [request.path for request in tab.wire.sent if request.path.startswith("/api/data")]
    assert sent == [f"/api/data/{n}" for n in range(50)]


async def test_a_refused_request_goes_back_to_its_old_place(world: World) -> None:
    """Requests refused before a refresh are replayed ahead of those that came during it."""
    tab = await world.signed_in_tab(queue=roomy_queue(concurrency=1))
    await world.expire()
    await world.fault("/api/auth/refresh", "delay", delay=2)
    early = [asyncio.create_task(tab.session.fetch(f"/api/data/early{n}")) for n in range(3)]
    await until(lambda: tab.seen(RefreshStarted))
    late = [asyncio.create_task(tab.session.fetch(f"/api/data/late{n}")) for n in range(3)]
    await asyncio.gather(*early, *late)
    accepted = [entry.path[10:] for entry in world.journal() if entry.status == 200 and "data" in entry.path]
    assert accepted == ["early0", "early1", "early2", "late0", "late1", "late2"]


@pytest.mark.parametrize("concurrency", [1, 2, 6])
async def test_the_release_never_exceeds_the_concurrency(world: World, concurrency: int) -> None:
    """After a refresh at most so many held requests are on the wire at once, and that many are."""
    tab = await held_tab(world, queue=roomy_queue(concurrency=concurrency))
    opener = asyncio.create_task(tab.session.fetch("/api/data/opener"))
    await until(lambda: tab.seen(RefreshStarted))
    tab.wire.most_under_way = 0
    await asyncio.gather(opener, *(tab.session.fetch(f"/api/data/{n}") for n in range(40)))
    assert tab.wire.most_under_way == concurrency


async def test_replays_keep_to_the_concurrency_too(world: World) -> None:
    """Six requests refused together are replayed two at a time where two is the cap."""
    tab = await world.signed_in_tab(queue=roomy_queue(concurrency=2))
    await world.expire()
    calls = [asyncio.create_task(tab.session.fetch(f"/api/data/{n}")) for n in range(6)]
    await until(lambda: tab.seen(RefreshStarted))
    tab.wire.most_under_way = 0
    await asyncio.gather(*calls)
    assert tab.wire.most_under_way == 2
    assert Counter(entry.status for entry in world.journal() if "data" in entry.path) == {401: 6, 200: 6}


async def test_from_idle_the_width_starts_at_six_and_doubles(world: World) -> None:
    """A burst from idle begins with six on the wire; successes open it for everybody."""
    tab = await world.signed_in_tab()
    calls = [asyncio.create_task(tab.session.fetch(f"/api/data/{n}")) for n in range(200)]
    await asyncio.sleep(0.001)
    assert tab.wire.under_way == FIRST_WIDTH
    await asyncio.gather(*calls)
    assert tab.wire.most_under_way > 6 * FIRST_WIDTH
    assert tab.session.snapshot().queue_pending == 0


async def test_after_a_burst_the_width_starts_at_six_again(world: World) -> None:
    """Once idle again, the next burst begins with six: its token may have died meanwhile."""
    tab = await world.signed_in_tab()
    await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(100)))
    await world.expire()
    await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(100)))
    assert sum(entry.status == 401 for entry in world.journal()) <= FIRST_WIDTH


async def test_a_forced_refresh_from_idle_does_not_leave_the_width_open(world: World) -> None:
    """After session.refresh() with nothing waiting, a later burst with a dead token still earns six 401s at most."""
    tab = await world.signed_in_tab()
    await tab.session.refresh()
    await asyncio.sleep(600)
    await world.expire()
    answers = await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(100)))
    assert all(answer.ok for answer in answers)
    assert sum(entry.status == 401 for entry in world.journal()) <= FIRST_WIDTH


async def test_six_long_polls_do_not_hold_up_a_seventh_request(world: World) -> None:
    """Six requests that are never answered cost the next one a few seconds, not its answer."""
    tab = await world.signed_in_tab()
    await world.fault("/api/data/poll*", "stall")
    polls = [asyncio.create_task(tab.session.fetch(f"/api/data/poll{n}")) for n in range(6)]
    await asyncio.sleep(0.1)
    assert (await tab.session.fetch("/api/data/seventh", timeout=PATIENCE + 1)).ok
    for poll in polls:
        poll.cancel()
    await asyncio.wait(polls)
    assert tab.session.snapshot().queue_pending == 0


async def test_six_long_polls_released_after_a_refresh_do_not_stop_everything_else(world: World) -> None:
    """Long polls that were held by a refresh and never answer do not take all places for good."""
    tab = await held_tab(world)
    await world.fault("/api/data/poll*", "stall")
    polls = [asyncio.create_task(tab.session.fetch(f"/api/data/poll{n}")) for n in range(6)]
    try:
        assert (await tab.session.fetch("/api/data/seventh", timeout=60)).ok
    finally:
        for poll in polls:
            poll.cancel()
        await asyncio.wait(polls)


async def test_a_waiting_request_gives_up_after_max_wait(world: World) -> None:
    """A request without a timeout of its own waits for its turn no longer than max_wait."""
    tab = await world.signed_in_tab(queue=QueuePolicy(max_wait=2.0))
    await world.fault("/api/data/poll*", "stall")
    polls = [asyncio.create_task(tab.session.fetch(f"/api/data/poll{n}")) for n in range(6)]
    await asyncio.sleep(0.1)
    with pytest.raises(RequestTimeoutError):
        await tab.session.fetch("/api/data/seventh")
    assert world.journal("/api/data/seventh") == []
    for poll in polls:
        poll.cancel()
    await asyncio.wait(polls)


async def test_ten_thousand_held_requests_are_all_answered_in_order(world: World) -> None:
    """Ten thousand requests wait for one refresh; each is sent once, and in order."""
    tab = await held_tab(world, queue=roomy_queue(concurrency=100))
    tab.wire.delay = 0.0
    answers = await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(10_000)))
    assert all(answer.ok for answer in answers)
    sent = [event.number for event in tab.seen(RequestSent)]
    assert sent == sorted(sent)
    assert len(sent) == 10_000
    assert world.refreshes() == 1


async def test_every_request_that_waits_says_so(world: World) -> None:
    """Each held request is announced as RequestHeld before it is announced as RequestSent."""
    tab = await held_tab(world)
    await asyncio.gather(*(tab.session.fetch(f"/api/data/{n}") for n in range(5)))
    held = [event.number for event in tab.seen(RequestHeld)]
    assert sorted(held) == sorted(event.number for event in tab.seen(RequestSent))


# -- the queue itself --


async def test_a_turn_granted_to_a_caller_cancelled_at_that_moment_is_given_back() -> None:
    """A caller cancelled between the grant and its next step leaks no place."""
    queue = RequestQueue(QueuePolicy(concurrency=1))
    queue.hold()
    first, second = await ask(queue, 1), await ask(queue, 2)
    queue.release()
    first.cancel()
    await asyncio.wait({first})
    turn = await asyncio.wait_for(second, 1)
    queue.end(turn, proved=False)
    assert (queue.size, queue.pending) == (0, 0)


async def test_a_caller_cancelled_just_before_its_turn_leaks_no_place() -> None:
    """Cancelled, and its turn comes before it could take notice: the place goes to the next in line."""
    queue = RequestQueue(QueuePolicy(concurrency=1))
    queue.hold()
    first, second = await ask(queue, 1), await ask(queue, 2)
    first.cancel()
    queue.release()
    await asyncio.wait({first})
    turn = await asyncio.wait_for(second, 1)
    queue.end(turn, proved=False)
    assert (queue.size, queue.pending) == (0, 0)


async def test_failing_the_queue_gives_everyone_an_error_of_their_own() -> None:
    """Each waiting caller gets a fresh instance, in order, and the queue is empty and open afterwards."""
    queue = RequestQueue(QueuePolicy())
    queue.hold()
    callers = [await ask(queue, number) for number in range(5)]
    made: list[FreshfetchError] = []

    def make() -> FreshfetchError:
        made.append(SignedOutError(str(len(made))))
        return made[-1]

    queue.fail(make)
    results = await outcomes(*callers)
    assert results == made
    assert len({id(error) for error in made}) == 5
    assert (queue.size, queue.pending, queue.holding) == (0, 0, False)


async def test_a_new_request_asked_for_while_the_queue_fails_is_not_lost() -> None:
    """An error factory that asks for a turn itself (re-entrancy) gets one: the queue is open by then."""
    queue = RequestQueue(QueuePolicy())
    queue.hold()
    waiting = await ask(queue, 1)
    newcomers: list[asyncio.Task[Turn]] = []

    def make() -> FreshfetchError:
        newcomers.append(asyncio.ensure_future(queue.turn(2)))
        return SignedOutError("over")

    queue.fail(make)
    assert isinstance((await outcomes(waiting))[0], SignedOutError)
    queue.end(await asyncio.wait_for(newcomers[0], 1), proved=True)
    assert queue.pending == 0


async def test_failing_the_queue_leaves_no_timer_behind() -> None:
    """After fail() the timer that keeps those who wait moving is gone with them."""
    deadlines = Deadlines()
    queue = RequestQueue(QueuePolicy(), deadlines)
    turns = [await queue.turn(number) for number in range(FIRST_WIDTH)]
    waiting = await ask(queue, 99)
    assert len(deadlines) == 1
    queue.fail(lambda: SignedOutError("over"))
    assert isinstance((await outcomes(waiting))[0], SignedOutError)
    assert len(deadlines) == 0
    for turn in turns:
        queue.end(turn, proved=False)


async def test_a_queue_that_is_never_idle_does_not_grow() -> None:
    """Beside one request that never ends, a hundred thousand successes leave the width a plain small number."""
    queue = RequestQueue(QueuePolicy())
    await queue.turn(0)
    for number in range(1, 100_000):
        queue.end(await queue.turn(number), proved=True)
    assert sys.getsizeof(queue._width) < 100


async def test_a_failure_when_nothing_is_under_way_closes_the_width_again() -> None:
    """Open after a refresh, then failed while idle: the next burst starts from six."""
    queue = RequestQueue(QueuePolicy())
    queue.hold()
    waiting = await ask(queue, 1)
    queue.release()
    queue.end(await waiting, proved=False)
    queue.hold()
    queue.release()
    queue.hold()
    doomed = await ask(queue, 2)
    queue.fail(lambda: SignedOutError("over"))
    await outcomes(doomed)
    for number in range(3, 3 + FIRST_WIDTH):
        await queue.turn(number)
    assert not queue.passes()


@pytest.mark.parametrize(
    "settings",
    [{"max_size": 0}, {"concurrency": 0}, {"max_wait": 0}, {"max_size": -1}, {"overflow": "explode"}],
)
def test_a_policy_out_of_range_is_refused(settings: dict[str, Any]) -> None:
    """QueuePolicy refuses what the queue could not live with, when it is made."""
    with pytest.raises(ConfigurationError):
        QueuePolicy(**settings)


STEPS = st.lists(
    st.sampled_from(["turn", "turn", "again", "end", "prove", "hold", "release", "fail", "cancel", *["step"] * 3]),
    max_size=60,
)


@given(steps=STEPS, overflow=st.sampled_from(["reject_new", "drop_oldest", "wait"]), cap=st.integers(1, 3))
def test_whatever_happens_everyone_is_settled_once_and_the_caps_hold(steps: list[str], overflow: Any, cap: int) -> None:
    """Any interleaving of turn, end, hold, release, fail and cancel: all settle, nothing leaks, no cap is exceeded."""
    asyncio.run(_interleave(steps, QueuePolicy(max_size=4, overflow=overflow, concurrency=cap)))


async def _interleave(steps: list[str], policy: QueuePolicy) -> None:
    crowd = Crowd(policy)
    for number, step in enumerate(steps):
        await crowd.take(step, number)
    await crowd.finish()


class Crowd:
    """Callers of one queue, and what a test knows of them."""

    def __init__(self, policy: QueuePolicy) -> None:
        self.policy = policy
        self.queue = RequestQueue(policy)
        self.callers: dict[int, asyncio.Task[Turn]] = {}
        self.under_way: dict[int, Turn] = {}
        self.ended: set[int] = set()

    async def take(self, step: str, number: int) -> None:
        """Take one step; only ``step`` gives the callers a chance, so much may happen between two of theirs."""
        if step in ("turn", "again"):
            self.callers[number] = asyncio.create_task(self.queue.turn(number, again=step == "again"))
        elif step in ("end", "prove"):
            self.end_one(proved=step == "prove")
        elif step == "fail":
            self.queue.fail(lambda: SignedOutError("over"))
        elif step == "cancel":
            self.cancel_one()
        elif step == "step":
            await self.look()
        else:
            {"hold": self.queue.hold, "release": self.queue.release}[step]()

    def end_one(self, *, proved: bool) -> None:
        """End the oldest turn there is."""
        if self.under_way:
            number = min(self.under_way)
            self.ended.add(number)
            self.queue.end(self.under_way.pop(number), proved=proved)

    def cancel_one(self) -> None:
        """Cancel the oldest caller that waits."""
        waiting = [caller for caller in self.callers.values() if not caller.done()]
        if waiting:
            waiting[0].cancel()

    async def look(self) -> None:
        """Let everybody take a step, note who has a turn now, and check the caps."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for number, caller in self.callers.items():
            if number not in self.ended and _has_turn(caller):
                self.under_way[number] = caller.result()
        assert sum(turn.held for turn in self.under_way.values()) <= self.policy.concurrency
        if self.policy.overflow != "wait":
            assert sum(turn.counted for turn in self.queue._waiting) <= self.policy.max_size

    async def finish(self) -> None:
        """Open the queue, end every turn, and check that nothing and nobody is left."""
        self.queue.release()
        for _ in range(2 * len(self.callers) + 2):
            await self.look()
            while self.under_way:
                self.end_one(proved=False)
        assert all(caller.done() for caller in self.callers.values())
        assert (self.queue.size, self.queue.pending, self.queue._counted) == (0, 0, 0)
        for caller in self.callers.values():
            if not caller.cancelled() and (error := caller.exception()) is not None:
                assert isinstance(error, (SignedOutError, QueueFullError, QueueDroppedError))


def _has_turn(caller: asyncio.Task[Turn]) -> bool:
    return caller.done() and not caller.cancelled() and caller.exception() is None
