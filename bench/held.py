"""Held: 10 000 requests come while one refresh is in flight. All must take effect once, and the page must stay smooth.

Twice: on CPython in virtual time against the mock server in this process, and in Chromium against a real one. The
token is dead, the refresh takes its time, and every request is a POST with an id of its own, whose effects the server's
journal counts. In Chromium no task of the page's main thread may take over 50 ms from the refresh's answer to the
last answer, not counting the time for which it was ready and the machine ran something else.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

from bench.browser import outcome, running
from bench.figures import Figures, leave
from bench.main_thread import MainThread
from bench.virtual_time import run
from freshfetch import QueuePolicy, RetryPolicy
from tests.world import World

SLOW = 30.0
"""Seconds the refresh takes: long enough for all requests to be made meanwhile."""
LONGEST_TASK = 50.0
"""Milliseconds: the browser's own measure of a long task."""

IN_PAGE = """
    import asyncio
    import freshfetch, js
    from freshfetch.browser import connect
    from pyodide.ffi import create_proxy

    session = connect(
        "/api/auth",
        queue=freshfetch.QueuePolicy(max_size=max_size),
        retry=freshfetch.RetryPolicy(refresh_timeout=2 * slow),
        heartbeat=freshfetch.HeartbeatPolicy(url=None),
    )
    answered = []

    def note(event):
        if isinstance(event, freshfetch.RefreshSucceeded):
            answered.append(js.performance.now())

    session.subscribe(note)
    await session.sign_in("ada", "lovelace")
    longtasks = []
    keep = create_proxy(lambda entries, *_: longtasks.extend((e.startTime, e.duration) for e in entries.getEntries()))
    js.PerformanceObserver.new(keep).observe(type="longtask")

    async def stutter():
        ends = js.performance.now() + 100
        while js.performance.now() < ends:
            pass
        await asyncio.sleep(0.5)  # the observer tells of a task a little after it
        return bool(longtasks)

    async def post(number):
        headers = {"X-Request-Id": str(number)}
        return (await session.fetch("/api/echo", method="POST", headers=headers, json={"n": number})).status

    async def hold(count):
        first = asyncio.ensure_future(post(0))
        while not session.state is freshfetch.State.REFRESHING:
            await asyncio.sleep(0.01)
        posts = []
        for number in range(1, count):
            posts.append(asyncio.ensure_future(post(number)))
            if number % 20 == 0:
                await asyncio.sleep(0)
        while session.snapshot().queue_size < count - 1:
            await asyncio.sleep(0.01)
        held_by, too_late = js.performance.now(), bool(answered)
        statuses = [await each for each in (first, *posts)]
        ended = js.performance.now()
        await asyncio.sleep(0.5)
        released = [each for each in longtasks if sum(each) > answered[0] and each[0] < ended]
        origin = js.performance.timeOrigin
        long = [[origin + start, start - answered[0], length] for start, length in released]
        return {"ok": statuses.count(200), "long": long, "seconds": (ended - answered[0]) / 1000, "late": too_late}
"""


def judge(figures: Figures, entries: Iterable[Mapping[str, object]], *, ok: int, count: int) -> None:
    """Compare what the journal holds with what was asked."""
    refreshes, effects = 0, Counter[object]()
    for entry in entries:
        refreshes += entry["path"] == "/api/auth/refresh"
        if entry["effects"] == ["echoed"]:
            effects[entry["requestId"]] += 1
    figures.exactly("refreshes", refreshes, 1)
    figures.exactly("requests answered", ok, count)
    figures.exactly("requests that took effect", len(effects), count)
    figures.exactly("effects", effects.total(), count)


async def hold_here(count: int) -> tuple[list[Mapping[str, object]], int]:
    """Hold the requests on CPython; return the journal, and how many were answered well."""
    world = World(grace=0.0)
    policies = {"queue": QueuePolicy(max_size=count), "retry": RetryPolicy(refresh_timeout=2 * SLOW)}
    session = (await world.signed_in_tab(**policies)).session
    await world.expire()
    await world.fault("/api/auth/refresh", "delay", delay=SLOW)

    async def post(number: int) -> int:
        headers = {"X-Request-Id": str(number)}
        return (await session.fetch("/api/echo", method="POST", headers=headers, json={"n": number})).status

    first = asyncio.ensure_future(post(0))
    await asyncio.sleep(SLOW / 2)
    statuses = await asyncio.gather(first, *map(post, range(1, count)))
    await world.close()
    return [entry.to_json() for entry in world.journal()], statuses.count(200)


def hold_in_chromium(count: int, figures: Figures) -> None:
    """Hold them in a page."""
    with running() as (browser, server):
        page = browser.open(server.url)
        page.run(IN_PAGE, max_size=count, slow=SLOW)
        figures.exactly("a long task made on purpose is seen", outcome(page, "stutter()"), 1)
        server.expire()
        server.forget_journal()
        server.fault(path="/api/auth/refresh", kind="delay", delay=SLOW)
        main_thread = MainThread(browser.driver.service.process.pid)
        with main_thread.watched():
            seen = outcome(page, f"hold({count})")
        judge(figures, server.journal(), ok=seen["ok"], count=count)
    figures.exactly("requests made too late to be held", seen["late"], 0)
    own = {}
    for at, since, length in seen["long"]:
        own[since] = length - 1000 * main_thread.waited(at / 1000, (at + length) / 1000)
    long = [since for since, length in own.items() if length > LONGEST_TASK]
    figures.exactly(f"main-thread tasks over {LONGEST_TASK:g} ms while they are released", len(long), 0)
    figures.say(f"        by the clock, with the time in which the machine did something else: {len(own)}")
    for _, since, length in seen["long"]:
        figures.say(f"        at {since / 1000:5.1f} s: {length:3.0f} ms, {own[since]:3.0f} of them its own")
    figures.say(f"        released and answered in {seen['seconds']:.1f} s")


def main() -> int:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--where", choices=("cpython", "chromium", "both"), default="both")
    options = parser.parse_args()
    figures = Figures(f"{options.requests} requests held during one refresh")
    if options.where != "chromium":
        figures.say("on CPython, in virtual time:")
        entries, ok = run(hold_here(options.requests))
        judge(figures, entries, ok=ok, count=options.requests)
    if options.where != "cpython":
        figures.say("in Chromium:")
        hold_in_chromium(options.requests, figures)
    return figures.verdict()


if __name__ == "__main__":
    leave(main)
