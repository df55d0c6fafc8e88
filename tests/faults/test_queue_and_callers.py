"""Scenarios 20 to 25: callers that are too many, give up, listen rudely, or close the session under everybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from freshfetch import (
    AuthServerError,
    Event,
    FreshfetchError,
    HeartbeatPolicy,
    HeartbeatSent,
    QueueDroppedError,
    QueueFullError,
    QueuePolicy,
    RefreshFailed,
    RefreshStarted,
    RefreshSucceeded,
    RefreshUnavailableError,
    RequestAnswered,
    RequestHeld,
    RequestSent,
    RequestTimeoutError,
    Response,
    SessionClosedError,
    SessionExpired,
    SessionExpiredError,
    State,
)
from freshfetch.memory import MemoryLock
from tests.faults.watched import REFRESH, WatchedTab, WatchedWorld, timers_left
from tests.world import eager_retry, outcomes, roomy_queue, seconds_since_start, until


async def held_tab(world: WatchedWorld, **settings: Any) -> WatchedTab:
    """Return a tab whose token has expired: whatever is fetched now waits for a refresh of two seconds."""
    tab = await world.signed_in_tab(**settings)
    await asyncio.sleep(1801)
    await world.fault(REFRESH, "delay", delay=2)
    return tab


def ask(tab: WatchedTab, count: int) -> list[asyncio.Task[Response]]:
    """Make so many requests at once."""
    return [asyncio.create_task(tab.session.fetch(f"/api/data/{n}")) for n in range(count)]


def sent(world: WatchedWorld) -> list[str]:
    """Return the paths of the requests that reached the API, in order."""
    return [entry.path for entry in world.journal() if entry.path.startswith("/api/data")]


# -- 20: too many --


async def test_20_one_too_many_is_refused_at_once_and_the_rest_succeed(world: WatchedWorld) -> None:
    """reject_new: the sixth and seventh caller get QueueFullError before the refresh ends, and are never sent."""
    tab = await held_tab(world, queue=QueuePolicy(max_size=5))
    first = asyncio.create_task(tab.session.fetch("/api/data/first"))
    await until(lambda: tab.seen(RefreshStarted))
    waiting = ask(tab, 5)
    await asyncio.sleep(0)
    began = seconds_since_start()
    for _ in range(2):
        with pytest.raises(QueueFullError) as refusal:
            await tab.session.fetch("/api/data/too-many")
        assert refusal.value.request is not None
    assert seconds_since_start() == began
    assert all(answer.ok for answer in await asyncio.gather(first, *waiting))
    assert world.journal("/api/data/too-many") == []


async def test_20_the_oldest_makes_room_and_is_told_so_at_once(world: WatchedWorld) -> None:
    """drop_oldest: the newest wait, the oldest get QueueDroppedError and are never sent."""
    tab = await held_tab(world, queue=QueuePolicy(max_size=5, overflow="drop_oldest"))
    first = asyncio.create_task(tab.session.fetch("/api/data/first"))
    await until(lambda: tab.seen(RefreshStarted))
    began = seconds_since_start()
    waiting = ask(tab, 8)
    dropped = await outcomes(*waiting[:3])
    assert [type(error) for error in dropped] == [QueueDroppedError] * 3
    assert [error.request.path for error in dropped] == ["/api/data/0", "/api/data/1", "/api/data/2"]
    assert seconds_since_start() == began
    assert all(answer.ok for answer in await asyncio.gather(first, *waiting[3:]))
    assert not {"/api/data/0", "/api/data/1", "/api/data/2"} & set(sent(world))


async def test_20_with_the_policy_wait_everybody_waits(world: WatchedWorld) -> None:
    """Wait: thirty requests wait in a queue of two, and all are answered, in order."""
    tab = await held_tab(world, queue=QueuePolicy(max_size=2, overflow="wait"))
    assert all(answer.ok for answer in await asyncio.gather(*ask(tab, 30)))
    assert sent(world) == [f"/api/data/{n}" for n in range(30)]


# -- 21: callers that give up --


async def test_21_a_caller_that_is_cancelled_while_queued_is_never_sent(world: WatchedWorld) -> None:
    """Cancelled while held: no request, its place is free for another, the others go on in order."""
    tab = await held_tab(world, queue=QueuePolicy(max_size=5, concurrency=1))
    calls = ask(tab, 6)  # one that starts the refresh, and five in the queue
    await until(lambda: tab.session.snapshot().queue_size == 6)
    calls[2].cancel()
    calls[5].cancel()
    await asyncio.sleep(0)
    late = [asyncio.create_task(tab.session.fetch(f"/api/data/late{n}")) for n in range(2)]
    results = await outcomes(*calls, *late)
    assert [type(result).__name__ for result in results].count("CancelledError") == 2
    assert sent(world) == [f"/api/data/{n}" for n in (0, 1, 3, 4, "late0", "late1")]


async def test_21_a_caller_that_is_cancelled_while_replayed_harms_nobody(world: WatchedWorld) -> None:
    """Refused, replayed, and cancelled on the way: its place is free again, the others' replays go on in order."""
    tab = await world.signed_in_tab(queue=roomy_queue(concurrency=1))
    await world.expire()
    await world.fault("/api/data/2", "delay", delay=60, skip=1)
    calls = ask(tab, 6)
    await until(lambda: len(world.journal("/api/data/2")) == 2)
    calls[2].cancel()
    results = await outcomes(*calls)
    assert isinstance(results.pop(2), asyncio.CancelledError)
    assert all(result.ok for result in results)
    assert [request.path for request in tab.sent if request.owner is not None] == [
        f"/api/data/{n}" for n in range(6)
    ] * 2


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.015, 0.025, 0.035, 0.045, 0.055])
async def test_21_a_caller_may_be_cancelled_at_any_moment(world: WatchedWorld, delay: float) -> None:
    """Cancelled before, while or after being refused, held or replayed: nobody else notices, nothing stays behind."""
    tab = await world.signed_in_tab()
    await world.expire()
    calls = ask(tab, 20)
    await asyncio.sleep(delay)
    for call in calls[::2]:
        call.cancel()
    results = await outcomes(*calls)
    assert all(result.ok for result in results[1::2])
    assert tab.session.snapshot().queue_pending == 0
    assert world.refreshes() <= 1
    assert (await tab.session.fetch("/api/data")).ok


async def test_21_a_time_limit_shorter_than_the_refresh_is_kept(world: WatchedWorld) -> None:
    """Expired or refused, and the refresh takes longer: told at the second asked for, and not sent any more.

    A POST that was refused was not accepted: the error says unavailable, not ambiguous. The others are answered.
    """
    tab = await world.signed_in_tab()
    await world.expire()
    await world.fault(REFRESH, "delay", delay=6)
    began = seconds_since_start()
    patient = asyncio.create_task(tab.session.fetch("/api/data/patient"))
    with pytest.raises(RefreshUnavailableError) as impatient:
        await tab.session.fetch("/api/notes", method="POST", json={"text": "x"}, timeout=3)
    assert seconds_since_start() - began == pytest.approx(3)
    assert impatient.value.request is not None
    with pytest.raises(RefreshUnavailableError):
        await tab.session.fetch("/api/data/held", timeout=2)
    assert seconds_since_start() - began == pytest.approx(5)
    assert (await patient).ok
    assert world.statuses("/api/notes") == [401]
    assert world.statuses("/api/data/held") == []
    assert world.refreshes() == 1


async def test_21_a_time_limit_counts_waiting_and_sending(world: WatchedWorld) -> None:
    """Two seconds of refresh and two of answering are more than three."""
    tab = await held_tab(world)
    await world.fault("/api/data", "delay", delay=2)
    began = seconds_since_start()
    with pytest.raises(RequestTimeoutError):
        await tab.session.fetch("/api/data", timeout=3)
    assert seconds_since_start() - began == pytest.approx(3)


# -- 22: the refresh belongs to nobody --


@pytest.mark.parametrize("number", [1, 10])
async def test_22_the_refresh_completes_though_its_callers_are_cancelled(world: WatchedWorld, number: int) -> None:
    """The only caller, or all ten, give up in mid-refresh: its tokens are stored, and the next request uses them."""
    tab = await world.signed_in_tab()
    await world.expire()
    before = world.record()
    calls = ask(tab, number)
    await until(lambda: tab.seen(RefreshStarted))
    for call in calls:
        call.cancel()
    results = await outcomes(*calls)
    assert {type(result) for result in results} == {asyncio.CancelledError}
    await until(lambda: tab.seen(RefreshSucceeded))
    assert world.record().access_token != before.access_token
    assert world.record().refresh_token != before.refresh_token
    assert (await tab.session.fetch("/api/data")).ok
    assert world.refreshes() == 1


async def test_22_the_others_are_served_though_the_first_caller_is_cancelled(world: WatchedWorld) -> None:
    """The caller that happened to start the refresh gives up: those who joined it get their answers."""
    tab = await held_tab(world)
    calls = ask(tab, 10)
    await until(lambda: tab.seen(RefreshStarted))
    calls[0].cancel()
    results = await outcomes(*calls)
    assert isinstance(results[0], asyncio.CancelledError)
    assert all(result.ok for result in results[1:])
    assert world.refreshes() == 1


async def test_22_a_forced_refresh_completes_though_its_caller_is_cancelled(world: WatchedWorld) -> None:
    """``session.refresh()`` cancelled in the middle: the new tokens are stored all the same."""
    tab = await world.signed_in_tab()
    before = world.record().access_token
    forced = asyncio.create_task(tab.session.refresh())
    await until(lambda: tab.seen(RefreshStarted))
    forced.cancel()
    await outcomes(forced)
    await until(lambda: tab.seen(RefreshSucceeded))
    assert world.record().access_token != before


# -- 23: the refresh fails while many wait --


def _note(order: list[int], number: int, _: object) -> None:
    order.append(number)


async def test_23_all_who_waited_are_told_the_same_cause_in_order(world: WatchedWorld) -> None:
    """Terminal failure with thirty held: each gets an error of its own with the same reason; nothing is sent."""
    tab = await world.signed_in_tab()
    await asyncio.sleep(1801)
    await world.revoke()
    calls = ask(tab, 30)
    order: list[int] = []
    for n, call in enumerate(calls):
        call.add_done_callback(partial(_note, order, n))
    results = await outcomes(*calls)
    assert {type(result) for result in results} == {SessionExpiredError}
    assert {result.reason for result in results} == {"invalid_grant"}
    assert len({id(result) for result in results}) == 30
    assert [result.request.path for result in results] == [f"/api/data/{n}" for n in range(30)]
    assert order == list(range(30))
    assert sent(world) == []
    assert tab.seen(RequestAnswered) == []
    assert tab.seen(RequestSent) == []


async def test_23_a_passing_failure_makes_each_wait_until_its_own_deadline(world: WatchedWorld) -> None:
    """The auth server is down for 100 s: who has less time is told at its deadline, the others are answered later."""
    tab = await world.signed_in_tab(queue=roomy_queue(max_wait=200.0), retry=eager_retry())
    await asyncio.sleep(1801)
    await world.fault(REFRESH, "status", status=503, seconds=100)
    began = seconds_since_start()
    ends: dict[float, tuple[str, float]] = {}

    async def ask_with(limit: float) -> None:
        timeout = None if limit == 200 else limit
        [result] = await outcomes(tab.session.fetch(f"/api/data/{limit}", timeout=timeout))
        ends[limit] = type(result).__name__, seconds_since_start() - began

    await asyncio.gather(*(ask_with(limit) for limit in (1.0, 30.0, 99.0, 200.0, 400.0)))
    assert {limit: name for limit, (name, _) in ends.items()} == {
        **dict.fromkeys((1.0, 30.0, 99.0), "RefreshUnavailableError"),
        **dict.fromkeys((200.0, 400.0), "Response"),
    }
    when = {limit: when for limit, (_, when) in ends.items()}
    assert when == pytest.approx({1.0: 1.0, 30.0: 30.0, 99.0: 99.0, 200.0: 106.2, 400.0: 106.2}, abs=0.2)
    assert sent(world) == ["/api/data/200.0", "/api/data/400.0"]
    assert tab.session.subject == "ada"


async def test_23_a_failure_of_the_set_up_is_told_to_all_who_waited(world: WatchedWorld) -> None:
    """Token dead and the client rejected: each gets an error of its own that says so, in order; nothing is sent."""
    tab = await world.signed_in_tab()
    await asyncio.sleep(1801)
    await world.fault(REFRESH, "status", status=401, body={"error": "invalid_client"})
    results = await outcomes(*ask(tab, 30))
    assert {type(result) for result in results} == {AuthServerError}
    assert {result.error for result in results} == {"invalid_client"}
    assert len({id(result) for result in results}) == 30
    assert [result.request.path for result in results] == [f"/api/data/{n}" for n in range(30)]
    assert sent(world) == []
    assert world.refreshes() == 1
    assert tab.session.subject == "ada"


# -- 24: listeners --


@pytest.mark.parametrize("error", [ValueError("x"), asyncio.CancelledError(), StopIteration()])
async def test_24_a_listener_that_raises_harms_nobody(world: WatchedWorld, error: BaseException) -> None:
    """Whatever it raises at each event: every other listener hears every event, requests succeed, the loop is told."""
    tab = await world.signed_in_tab()

    def rude(_: Event) -> None:
        raise error

    polite: list[Event] = []
    tab.session.subscribe(rude)
    tab.session.subscribe(polite.append)
    await world.expire()
    answers = await asyncio.gather(*ask(tab, 3))
    await asyncio.sleep(0.1)
    assert all(answer.ok for answer in answers)
    assert polite == tab.events
    assert len(polite) > 9
    assert len(world.complaints) == len(polite)
    world.complaints.clear()


async def test_24_a_coroutine_that_raises_harms_nobody(world: WatchedWorld) -> None:
    """An async listener's error is reported to the loop, and it gets the next event all the same."""
    tab = await world.signed_in_tab()
    heard = []

    async def rude(event: Event) -> None:
        heard.append(event)
        await asyncio.sleep(0)
        raise ValueError("x")

    tab.session.subscribe(rude)
    await tab.session.refresh()
    await asyncio.sleep(0.1)
    assert heard == tab.events
    assert len(world.complaints) == len(heard)
    world.complaints.clear()


async def test_24_a_listener_that_blocks_costs_time_and_nothing_else(world: WatchedWorld) -> None:
    """A listener that stands still for a second at each event: all are answered, with one refresh."""
    tab = await world.signed_in_tab()
    loop: Any = asyncio.get_running_loop()

    def block(_: Event) -> None:
        loop.setup_looptime(start=loop.time() + 1.0)

    leave = tab.session.subscribe(block)
    await world.expire()
    await asyncio.gather(*(calls := ask(tab, 10)), tab.session.refresh())
    leave()
    assert all(call.result().ok for call in calls)
    assert world.refreshes() == 1


async def test_24_a_listener_that_never_returns_holds_nothing_up(world: WatchedWorld) -> None:
    """A coroutine that waits for ever at each event: refresh, requests, the lock and closing go on without it."""
    tab = await world.signed_in_tab()
    stuck: list[asyncio.Task[None]] = []

    async def wait_for_ever(_: Event) -> None:
        task = asyncio.current_task()
        assert task is not None
        stuck.append(task)
        await asyncio.Event().wait()

    tab.session.subscribe(wait_for_ever)
    await world.expire()
    assert (await asyncio.wait_for(tab.session.fetch("/api/data"), 1)).ok
    assert world.refreshes() == 1
    async with asyncio.timeout(1), world.lock.hold("default", 1.0):
        pass
    await asyncio.wait_for(tab.session.close(), 1)
    assert stuck
    for task in stuck:
        assert not task.done(), "a listener's coroutine is its own: closing the session does not cancel it"
        task.cancel()


class NotingLock(MemoryLock):
    """A lock that can say whether somebody holds it."""

    held = False

    @asynccontextmanager
    async def _hold(self, name: str, timeout: float) -> AsyncIterator[None]:
        async with super()._hold(name, timeout):
            self.held = True
            try:
                yield
            finally:
                self.held = False


async def test_24_no_lock_is_held_over_a_listener(world: WatchedWorld) -> None:
    """When listeners hear how a refresh ended, the lock is free again: however long they take, no other tab waits."""
    lock = NotingLock()
    tab = await world.signed_in_tab(lock=lock, retry=eager_retry())
    held: list[bool] = []

    def look(event: Event) -> None:
        if isinstance(event, (RefreshSucceeded, RefreshFailed, SessionExpired)):
            held.append(lock.held)

    tab.session.subscribe(look)
    await world.expire()
    await world.fault(REFRESH, "status", status=503, times=1)
    assert (await tab.session.fetch("/api/data")).ok
    await world.revoke()
    await outcomes(tab.session.fetch("/api/data"))
    await asyncio.sleep(0)
    assert held == [False] * 3


@pytest.mark.parametrize("action", ["fetch", "refresh", "sign_out", "close", "sign_in"])
@pytest.mark.parametrize("moment", [RefreshStarted, RefreshSucceeded, RequestAnswered, RequestHeld])
async def test_24_a_listener_may_call_the_session(world: WatchedWorld, action: str, moment: type[Event]) -> None:
    """Called from inside a listener, once, at any moment: no deadlock, everybody is settled."""
    tab = await world.signed_in_tab()
    done: list[Any] = []

    async def meddle(event: Event) -> None:
        if not isinstance(event, moment) or done:
            return
        done.append(None)
        calls: dict[str, Callable[[], Any]] = {
            "fetch": lambda: tab.session.fetch("/api/data/inner"),
            "refresh": tab.session.refresh,
            "sign_out": tab.session.sign_out,
            "close": tab.session.close,
            "sign_in": lambda: tab.session.sign_in("ada", "lovelace"),
        }
        try:
            done[0] = await calls[action]() or "done"
        except FreshfetchError as error:
            done[0] = error

    tab.session.subscribe(meddle)
    await world.expire()
    results = await asyncio.wait_for(outcomes(*ask(tab, 20)), 20)
    await until(lambda: done and done[0])
    assert all(isinstance(result, (Response, FreshfetchError)) for result in results)
    if action in ("fetch", "refresh", "sign_in"):
        assert all(isinstance(result, Response) and result.ok for result in results)
        assert done[0] == "done" or done[0].ok


async def test_24_a_sign_out_in_a_listener_stops_what_has_not_left(world: WatchedWorld) -> None:
    """A listener signs out when the refresh has succeeded: nothing is sent under the old name after the sign-out."""
    tab = await world.signed_in_tab()

    async def leave(event: Event) -> None:
        if isinstance(event, RefreshSucceeded):
            await tab.session.sign_out()

    tab.session.subscribe(leave)
    await world.expire()
    await outcomes(*ask(tab, 50))
    assert world.store.load() is None
    order = [request.path for request in tab.sent]
    later = tab.sent[order.index("/api/auth/logout") :]
    assert not [request for request in later if "authorization" in request.headers]


# -- 25: the session is closed --


def nothing_left(tab: WatchedTab) -> bool:
    """Check that a closed session has no timer, no listener and no task."""
    assert timers_left() == []
    assert (tab.ears, tab.person.watchers) == (0, 0)
    assert [task for task in asyncio.all_tasks() if "freshfetch" in task.get_name()] == []
    return True


@pytest.mark.parametrize("step", range(0, 60, 3))
async def test_25_a_session_may_be_closed_at_any_moment(world: WatchedWorld, step: int) -> None:
    """Closed while sending, refreshing or replaying: every caller is settled, timers and listeners are gone."""
    tab = await world.signed_in_tab(heartbeat=HeartbeatPolicy())
    await tab.session.__aenter__()
    await world.expire()
    calls = ask(tab, 20)
    await asyncio.sleep(step * 0.001)
    await tab.session.close()
    results = await asyncio.wait_for(outcomes(*calls), 5)
    assert nothing_left(tab)
    assert all(isinstance(result, (Response, FreshfetchError)) for result in results)
    assert tab.session.state is not State.REFRESHING


async def test_25_closed_during_a_refresh_it_keeps_the_tokens_that_the_server_has_rotated(world: WatchedWorld) -> None:
    """The answer is on its way: who waits is told at once, the new tokens are stored, and another page works."""
    tab = await world.signed_in_tab()
    await tab.session.__aenter__()
    await world.expire()
    before = world.record().refresh_token
    tab.wire.delay = 2.0
    calls = ask(tab, 3)
    await until(lambda: tab.seen(RefreshStarted))
    forced = asyncio.create_task(tab.session.refresh())
    await asyncio.sleep(0)
    began = seconds_since_start()
    closing = asyncio.create_task(tab.session.close())
    assert {type(result) for result in await outcomes(*calls)} == {SessionClosedError}
    assert seconds_since_start() - began < 0.1
    await closing
    assert nothing_left(tab)
    await outcomes(forced)
    assert world.record().refresh_token != before
    assert (await world.tab().session.fetch("/api/data")).ok
    assert world.refreshes() == 1


async def test_25_closed_while_a_refresh_hangs_it_waits_for_the_time_limit_only(world: WatchedWorld) -> None:
    """The auth server never answers: the close returns when the refresh's time limit is over, and tells everybody."""
    tab = await world.signed_in_tab()
    await world.fault(REFRESH, "delay", delay=3600)
    forced = asyncio.create_task(tab.session.refresh())
    await until(lambda: world.refreshes() == 1)
    began = seconds_since_start()
    await tab.session.close()
    assert seconds_since_start() - began <= 10
    assert nothing_left(tab)
    assert isinstance((await outcomes(forced))[0], SessionClosedError)


@pytest.mark.parametrize("cause", ["a pause between attempts", "the lock"])
async def test_25_closed_while_it_waits_it_goes_at_once(world: WatchedWorld, cause: str) -> None:
    """Nothing has been sent, so nothing can be lost: who waits is told at once, and the close takes no time."""
    tab = await held_tab(world)
    lock = world.lock.hold("default", 1.0)
    if cause == "the lock":
        await lock.__aenter__()
    else:
        world.heal()
        await world.fault(REFRESH, "status", status=503, headers={"Retry-After": "300"})
    calls = ask(tab, 5)
    await asyncio.sleep(0.5)
    began = seconds_since_start()
    await tab.session.close()
    results = await outcomes(*calls)
    assert seconds_since_start() == pytest.approx(began)
    assert {type(result) for result in results} == {SessionClosedError}
    assert nothing_left(tab)
    assert sent(world) == []
    if cause == "the lock":
        await lock.__aexit__(None, None, None)


async def test_25_closed_during_a_heartbeat_it_sends_no_more(world: WatchedWorld) -> None:
    """The heartbeat is on its way and never answered: the close takes no time, and an hour later none was sent."""
    tab = await world.signed_in_tab(heartbeat=HeartbeatPolicy(interval=60.0))
    await world.fault("/api/heartbeat", "delay", delay=3600)
    await tab.session.__aenter__()
    await until(lambda: world.journal("/api/heartbeat"))
    began = seconds_since_start()
    await tab.session.close()
    assert seconds_since_start() == pytest.approx(began)
    assert nothing_left(tab)
    await asyncio.sleep(3600)
    assert len(world.journal("/api/heartbeat")) == len(tab.seen(HeartbeatSent)) == 1


async def test_25_a_closed_session_starts_no_refresh(world: WatchedWorld) -> None:
    """The refusal arrives after the close: the token is not renewed any more, and the caller is settled."""
    tab = await world.signed_in_tab()
    await world.expire()
    await world.fault("/api/data", "delay", delay=2)
    call = asyncio.create_task(tab.session.fetch("/api/data"))
    await asyncio.sleep(1)
    await tab.session.close()
    result = (await outcomes(call))[0]
    assert isinstance(result, SessionClosedError) or result.status == 401
    assert world.refreshes() == 0
    assert nothing_left(tab)


async def test_25_a_closed_session_refuses_everything_and_forgets_nothing(world: WatchedWorld) -> None:
    """fetch, refresh and sign_in raise SessionClosedError; closing again does nothing; the tokens stay stored."""
    tab = await world.signed_in_tab()
    await tab.session.close()
    await tab.session.close()
    calls: list[Callable[[], Any]] = [
        lambda: tab.session.fetch("/api/data"),
        tab.session.refresh,
        lambda: tab.session.sign_in("ada", "lovelace"),
    ]
    for call in calls:
        with pytest.raises(SessionClosedError):
            await call()
    assert world.record().subject == "ada"
    assert (await world.tab().session.fetch("/api/data")).ok
