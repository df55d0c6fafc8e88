"""Tabs: twenty real tabs share one session on a strict server. Each expiry is noticed by all of them at once.

The server rotates and allows no grace: a refresh token that is presented twice raises its reuse alarm and ends the
session for everybody. In each round the server expires the token, and every tab sends a request at the same moment. One
of them may refresh; the others have to find that out in time.
"""

from __future__ import annotations

import argparse
from collections import Counter

from bench.browser import outcome, running
from bench.figures import Figures, leave

SESSION = """
    import asyncio
    import freshfetch, js
    from freshfetch.browser import connect
    from pyodide.ffi import create_proxy

    session = connect("/api/auth", heartbeat=freshfetch.HeartbeatPolicy(url=None))
    await session.__aenter__()
    ends, statuses, running = [], [], set()
    session.subscribe(
        lambda event: ends.append(type(event).__name__)
        if isinstance(event, (freshfetch.SessionExpired, freshfetch.SignedOut)) else None
    )
    round_of_tabs = js.BroadcastChannel.new("bench tabs")

    async def ask(number):
        try:
            statuses.append(str((await session.fetch(f"/api/data/{number}")).status))
        except freshfetch.FreshfetchError as error:
            statuses.append(type(error).__name__)
        round_of_tabs.postMessage(f"done {number}")

    def hear(event):
        word, number = event.data.split()
        if word == "go":
            task = asyncio.ensure_future(ask(number))
            running.add(task)
            task.add_done_callback(running.discard)

    hearing = create_proxy(hear)
    round_of_tabs.onmessage = hearing
"""
CONDUCT = """
    conductor = js.BroadcastChannel.new("bench tabs")
    done = 0

    def count(event):
        global done
        done += event.data.startswith("done")

    counting = create_proxy(count)
    conductor.onmessage = counting

    async def conduct(tabs, rounds):
        for number in range(1, rounds + 1):
            await js.fetch("/mock/expire", method="POST", body="{}")
            conductor.postMessage(f"go {number}")
            async with asyncio.timeout(60):
                while done < tabs * number:
                    await asyncio.sleep(0.005)
"""


def main() -> int:
    """Open the tabs, and expire the token again and again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tabs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    figures = Figures(f"{options.tabs} tabs, {options.rounds} expiries, strict rotation")
    with running() as (browser, server):
        server.settings(grace=0)
        tabs = [browser.open(server.url)]
        tabs[0].run(SESSION)
        tabs[0].run('await session.sign_in("ada", "lovelace")')
        tabs[0].run(CONDUCT)
        for _ in range(1, options.tabs):
            tabs.append(browser.open_window(server.url))
            tabs[-1].run(SESSION)
        figures.say(f"        {len(tabs)} tabs are open")
        server.forget_journal()
        outcome(tabs[0], f"conduct({options.tabs}, {options.rounds})")
        effects = Counter(str(entry["effects"]) for entry in server.journal("/api/auth/refresh"))
        statuses = Counter(status for tab in tabs for status in tab.run("statuses"))
        signed_in = sum(tab.run("session.state is freshfetch.State.SIGNED_IN") for tab in tabs)
        ends = [end for tab in tabs for end in tab.run("ends")]
    figures.exactly("refreshes", effects["['refreshed']"], options.rounds)
    others = effects.total() - effects["['refreshed']"]
    figures.exactly("refresh requests of any other outcome, such as a reuse alarm", others, 0)
    figures.exactly("requests answered well", statuses["200"], options.tabs * options.rounds)
    figures.exactly("tabs still signed in", signed_in, options.tabs)
    figures.exactly("sessions that ended", len(ends), 0)
    return figures.verdict()


if __name__ == "__main__":
    leave(main)
