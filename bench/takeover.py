"""Takeover: a tab dies, or freezes, while it holds the lock, and another one has to refresh in its place.

Two real windows meet the same dead token; the first holds the lock, the second waits for it. The first one's process
is killed, again and again, at three moments: before its request has left, when the server has answered and the page
has not heard of it, and when the page knows the new tokens and has stored nothing yet. The time is taken from the
command to kill to the second tab's new token.

Then the first is frozen instead, with the answer on its way. The second must pass it by after the time limit of a
refresh; and when the first wakes up, its late answer must overwrite nothing. The server rotates, and lets the
predecessor be used once more within its grace window: without one no client can survive a lost answer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

from bench.browser import open_tab, running
from bench.figures import Figures, leave
from freshfetch import RetryPolicy
from mock_server.remote import Server
from tests.browser.harness.chromium import Chromium, Running
from tests.browser.harness.tab import Tab

REFRESH = "/api/auth/refresh"
KILLED, FROZEN = 1.0, RetryPolicy().refresh_timeout + 2.0
"""Seconds until another tab must have refreshed."""
GRACE = 60

SESSION = """
    import asyncio, time
    import freshfetch, js
    from freshfetch.browser import connect

    session = connect("/api/auth", heartbeat=freshfetch.HeartbeatPolicy(url=None))
    await session.__aenter__()
    events = []
    session.subscribe(events.append)

    async def until(condition):
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.005)

    def last(kind):
        return max((event.at for event in events if isinstance(event, kind)), default=0.0)
"""
SIGNED_IN = "await until(lambda: session.state is freshfetch.State.SIGNED_IN)"
ASK = '(await session.fetch("/api/data")).status'
WAITS = "await until(lambda: session.state is freshfetch.State.REFRESHING)"
STUCK = """
    reached = asyncio.Event()

    async def never(record, *, expected):
        reached.set()
        await asyncio.Event().wait()

    session._ports.store.commit = never
"""
STORED = "return localStorage.getItem('freshfetch:default')"


def before_send(tab: Tab) -> Callable[[], object]:
    """Stop the tab's refresh before it leaves; the function returned waits until it has got so far."""
    tab.hold(REFRESH, "Request")
    return tab.held


def before_answer(tab: Tab) -> Callable[[], object]:
    """Stop it when the server has answered and the page has not heard of it."""
    tab.hold(REFRESH, "Response")
    return tab.held


def before_commit(tab: Tab) -> Callable[[], object]:
    """Stop it when the page has the new tokens and stores them."""
    tab.run(STUCK)
    return lambda: tab.run("await reached.wait()")


MOMENTS = {"before it sends": before_send, "before the answer": before_answer, "before it commits": before_commit}


class Pair:
    """Two tabs of one session, of which the first is going to be in trouble."""

    def __init__(self, browser: Chromium, server: Server, second: Tab) -> None:
        self._server = server
        second.focus()  # the driver has been in a window that is gone
        self.first = open_tab(browser, server.url)
        self.first.run(SESSION)
        self.first.run(SIGNED_IN)
        self.second = second

    def stop(self, moment: Callable[[Tab], Callable[[], object]]) -> Running:
        """Let the first one refresh as far as ``moment``, with the second waiting for it; return its request."""
        self._server.expire()
        reached = moment(self.first)
        self.first.start(ASK)
        reached()
        waiting = self.second.start(ASK)
        self.second.run(WAITS)
        return waiting

    def took(self, since: float, waiting: Running) -> float:
        """Return when the second one had a new token, after its request was answered."""
        assert waiting.result() == 200, "the second tab was not served"
        refreshed: float = self.second.run("last(freshfetch.RefreshSucceeded)")
        assert refreshed > since, "the second tab did not refresh"
        return refreshed - since


def kill(pair: Pair, moment: Callable[[Tab], Callable[[], object]]) -> float:
    """Kill the first one; return how long the second took to have a new token."""
    waiting = pair.stop(moment)
    since = time.time()
    pair.first.crash()
    took = pair.took(since, waiting)
    pair.second.wire.call("Target.closeTarget", targetId=pair.first.handle)
    return took


def freeze(pair: Pair, figures: Figures) -> float:
    """Freeze the first one, and let it go on when the second has refreshed; return how long that took."""
    held = []
    pair.first.hold(REFRESH, "Response")
    waiting = pair.stop(lambda tab: lambda: held.append(tab.held()))
    since = time.time()
    pair.first.freeze()
    took = pair.took(since, waiting)
    stored = pair.second.script(STORED)
    pair.first.thaw()
    held[0].let_go()
    pair.first.hold_no_more()
    pair.first.run(SIGNED_IN)
    figures.exactly("the late answer overwrote what is stored", pair.second.script(STORED) != stored, 0)
    statuses = [tab.run(ASK) for tab in (pair.first, pair.second)]
    figures.exactly("tabs served afterwards, without a sign-in", statuses.count(200), 2)
    pair.first.close()
    return took


def main() -> int:
    """Kill and freeze."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="kills at each moment")
    parser.add_argument("--freezes", type=int, default=2)
    options = parser.parse_args()
    figures = Figures("A tab is killed, or frozen, while it holds the lock")
    with running() as (browser, server):
        server.settings(grace=GRACE)
        second = open_tab(browser, server.url)
        second.run(SESSION)
        second.run('await session.sign_in("ada", "lovelace")')
        for name, moment in MOMENTS.items():
            times = [kill(Pair(browser, server, second), moment) for _ in range(options.rounds)]
            figures.at_most(f"seconds to take over from a tab killed {name}", max(times), KILLED)
            figures.say(f"        median {median(times):.3f} s of {len(times)}")
        for _ in range(options.freezes):
            took = freeze(Pair(browser, server, second), figures)
            figures.at_most("seconds to pass by a frozen tab", took, FROZEN)
        reused = sum("reuse_detected" in entry["effects"] for entry in server.journal(REFRESH))
        figures.exactly("reuse alarms", reused, 0)
    return figures.verdict()


if __name__ == "__main__":
    leave(main)
