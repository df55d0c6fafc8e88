"""Soak: one page, 10 000 refreshes and 100 000 requests, and nothing may grow.

Counted in a real page, after a warm-up and again at the end, each time after both garbage collectors have run: Python
objects by type, the JavaScript heap, the WebAssembly heap, and event listeners. Half of the refreshes are asked for,
half follow a refusal; half of the answers are read, half are not.

``--control`` does as many requests without the library, by Pyodide alone, to tell its growth from ours.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bench.browser import running
from bench.figures import Figures, leave
from tests.browser.harness.chromium import Page

OBJECTS, HEAP_PER_REFRESH = 50, 100.0
REQUESTS_AT_ONCE = 20
WARM_UP = 300
"""Refreshes, and their share of requests, that come first and are not counted: what is made once is made then."""
AT_A_TIME = 50
"""Refreshes for which a page is asked at a time, which takes a few seconds."""
STEPS = 10

SESSION = """
    import asyncio, gc, linecache
    from collections import Counter

    import freshfetch, js, pyodide_js
    from freshfetch.browser import connect
    from pyodide.ffi import to_js

    session = connect("/api/auth")
    session.subscribe(lambda event: None)
    await session.__aenter__()
    await session.sign_in("ada", "lovelace")
    ok = 0

    async def ask(number):
        global ok
        response = await session.fetch(f"/api/data/{number % 50}", cache="no-store")
        ok += response.ok
        if number % 2:
            await response.json()

    async def refreshed(number):
        if number % 2:
            await session.refresh()
        else:
            await js.fetch("/mock/expire", POST)
            await ask(number)
"""
CONTROL = """
    import asyncio, gc, linecache
    from collections import Counter

    import js, pyodide_js
    from pyodide.ffi import to_js

    token = (await (await js.fetch("/api/auth/login", to_js(
        {"method": "POST", "body": '{"username": "ada", "password": "lovelace"}'}, dict_converter=js.Object.fromEntries
    ))).json()).accessToken
    ok = 0

    async def ask(number):
        global ok
        headers = {"authorization": f"Bearer {token}"}
        options = to_js({"headers": headers, "cache": "no-store"}, dict_converter=js.Object.fromEntries)
        response = await js.fetch(f"/api/data/{number % 50}", options)
        ok += response.ok
        if number % 2:
            (await response.arrayBuffer()).to_bytes()

    refreshed = ask
"""
WORK = """
    POST = to_js({"method": "POST", "body": "{}"}, dict_converter=js.Object.fromEntries)

    async def work(refreshes, requests, at_once):
        share = requests // refreshes
        for number in range(refreshes):
            await refreshed(number)
            for first in range(0, share, at_once):
                await asyncio.gather(*(ask(first + n) for n in range(min(at_once, share - first))))

    def objects():
        linecache.clearcache()  # where the harness keeps what it was sent
        for _ in range(3):
            gc.collect()
        return Counter(type(each).__qualname__ for each in gc.get_objects())

    def heap():
        return pyodide_js._module.HEAP8.length
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much there is of everything at one moment."""

    objects: Counter[str] = field(repr=False)
    js_heap: int
    wasm_heap: int
    listeners: int

    @classmethod
    def of(cls, page: Page) -> Sizes:
        """Measure a page, when both collectors have run."""
        driver = page.focus()

        def ask(command: str) -> Any:
            return driver.execute_cdp_cmd(command, {})

        counted: dict[str, int] = page.run("dict(objects())")  # frees what JavaScript holds only for Python's sake
        for _ in range(2):
            ask("HeapProfiler.collectGarbage")
            page.run("gc.collect()")
        ask("HeapProfiler.collectGarbage")
        return cls(
            objects=Counter(counted),
            js_heap=int(ask("Runtime.getHeapUsage")["usedSize"]),
            wasm_heap=page.run("heap()"),
            listeners=ask("Memory.getDOMCounters")["jsEventListeners"],
        )

    def row(self) -> str:
        """Write the totals."""
        return f"{self.objects.total():8} {self.js_heap:10} {self.wasm_heap:10} {self.listeners:5}"


def work(page: Page, refreshes: int, share: int) -> None:
    """Let the page work; ``share`` requests go with each refresh."""
    for done in range(0, refreshes, AT_A_TIME):
        count = min(AT_A_TIME, refreshes - done)
        page.run(f"await work({count}, {count * share}, {REQUESTS_AT_ONCE})")


def soak(figures: Figures, session: str, *, refreshes: int, requests: int) -> tuple[Sizes, Sizes]:
    """Work, and measure; return the sizes after the warm-up and at the end."""
    share = requests // refreshes
    with running() as (browser, server):
        page = browser.open(server.url)
        page.run(session)
        page.run(WORK)
        Sizes.of(page)  # measuring makes a few things too, once
        work(page, WARM_UP, share)
        first = last = Sizes.of(page)
        figures.say(f"        refreshes  objects    JS heap  wasm heap  listeners\n   {0:12}  {first.row()}")
        for step in range(1, STEPS + 1):
            count = refreshes * step // STEPS - refreshes * (step - 1) // STEPS
            began = time.monotonic()
            work(page, count, share)
            took = time.monotonic() - began
            last = Sizes.of(page)
            figures.say(f"   {refreshes * step // STEPS:12}  {last.row()}   {took:.0f} s")
        wanted = (refreshes + WARM_UP) * share
        figures.at_least("requests answered well", page.run("ok"), wanted)
    return first, last


def main() -> int:
    """Soak, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refreshes", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--control", action="store_true", help="without the library")
    options = parser.parse_args()
    kind = "without the library" if options.control else "with the library"
    figures = Figures(f"{options.refreshes} refreshes and {options.requests} requests in one page, {kind}")
    session = CONTROL if options.control else SESSION
    first, last = soak(figures, session, refreshes=options.refreshes, requests=options.requests)
    grown = last.objects - first.objects
    figures.at_most("Python objects more", last.objects.total() - first.objects.total(), OBJECTS)
    if grown:
        figures.say("        " + ", ".join(f"{name} +{more}" for name, more in grown.most_common(12)))
    per_refresh = (last.js_heap - first.js_heap) / options.refreshes
    figures.at_most("bytes of JS heap more, per refresh", per_refresh, HEAP_PER_REFRESH)
    figures.exactly("bytes of wasm heap more", last.wasm_heap - first.wasm_heap, 0)
    figures.at_most("event listeners more", last.listeners - first.listeners, 0)
    return figures.verdict()


if __name__ == "__main__":
    leave(main)
