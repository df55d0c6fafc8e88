"""Boot: how soon the built site can be used, beside the smallest PyScript page and a bare Pyodide of the same versions.

All are loaded in turn, again and again, by one browser that forgets everything before each first visit, from one host:
as fast as it can, then over 10 Mbit/s with round trips of 40 ms. A page counts as there when it has said so; the site
with the server inside the browser when a sign-in has been answered.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.figures import Figures, leave
from bench.slow_host import Host, Line, serving
from mock_server.app import create_app
from tests.browser.harness.chromium import Chromium
from tools import site

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 7
SLOW = Line(10e6, 0.040)
FAST = Line(0, 0)
HELLO = """<!doctype html><html><head><meta charset="utf-8"><title>hello</title>
<script type="module" src="vendor/pyscript/core.js"></script></head><body>
<script type="py" config="pyscript.toml">
from pyscript import display, document
display("Hello, world")
document.documentElement.dataset.ready = "true"
</script></body></html>"""
BARE = """<!doctype html><html><head><meta charset="utf-8"><title>bare</title><script type="module">
import { loadPyodide } from "./vendor/pyodide/pyodide.mjs";
const pyodide = await loadPyodide();
document.documentElement.dataset.ready = pyodide.runPython("'true'");
</script></head><body></body></html>"""
# Runs before anything of the page.
WATCH = """
    window.there = new Promise((resolve) => {
        const look = () => document.documentElement?.dataset.ready === "true" && resolve(performance.now());
        new MutationObserver(look).observe(document, {attributes: true, subtree: true});
    });
    window.answered = async () => {
        await there;
        const body = JSON.stringify({username: "ada", password: "lovelace"});
        await (await fetch("api/auth/login", {method: "POST", body})).json();
        return performance.now();
    };
    window.kept = async () => {
        const scope = new URL(".", location).href;
        for (;;) {
            for (const name of await caches.keys()) if (await (await caches.open(name)).match(scope)) return true;
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
    };
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A page to be loaded."""

    name: str
    path: str
    until: str = "there"
    """JavaScript for the milliseconds since its navigation in which it was there."""
    kept: bool = False
    """Whether a service worker keeps its files for the next visit."""


HELLO_WORLD = Subject(name="PyScript hello world", path="hello/")
SITE = Subject(name="this page, real server", path="site/?server=real", kept=True)
EMBEDDED = Subject(name="this page, server inside", path="site/", until="answered()", kept=True)
PYODIDE = Subject(name="bare loadPyodide", path="bare/")
SUBJECTS = (HELLO_WORLD, SITE, EMBEDDED, PYODIDE)
Times = dict[tuple[Subject, str], list[float]]


class Visitor:
    """A browser with one window, to load pages from one host."""

    def __init__(self, browser: Chromium, url: str) -> None:
        self.driver = browser.driver
        self.browser = browser
        self.url = url

    def visits(self, subject: Subject) -> tuple[float, float]:
        """Visit for the first time and once more; how long each took, in seconds."""
        self.browser.forget(self.url)
        self.driver.execute_cdp_cmd("Network.clearBrowserCache", {})
        first = self._load(subject)
        if subject.kept:
            self.driver.execute_script("return kept()")
        return first, self._load(subject)

    def _load(self, subject: Subject) -> float:
        """Load a page in a process of its own, with no worker left from before."""
        self._end_workers()
        old = self.driver.current_window_handle
        self.driver.switch_to.new_window("tab")
        new = self.driver.current_window_handle
        self.driver.switch_to.window(old)
        self.driver.close()
        self.driver.switch_to.window(new)
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        self.driver.get(self.url + "/" + subject.path)
        return float(self.driver.execute_script(f"return {subject.until}")) / 1000

    def _end_workers(self) -> None:
        for target in self.driver.execute_cdp_cmd("Target.getTargets", {})["targetInfos"]:
            if target["type"] == "shared_worker":
                self.driver.execute_cdp_cmd("Target.closeTarget", {"targetId": target["targetId"]})


@contextmanager
def visiting(*, compresses: bool) -> Iterator[tuple[Visitor, Host]]:
    """Build the site, serve it and the others, start a browser."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        site.build(folder / "site")
        for name, html in (("hello", HELLO), ("bare", BARE)):
            (folder / name).mkdir()
            (folder / name / "index.html").write_text(html)
            (folder / name / "pyscript.toml").write_text('interpreter = "./vendor/pyodide/pyodide.mjs"\n')
        folders = {name: folder / name for name in ("site", "hello", "bare")}
        # As npm has them: what vendor/ changes and compiles is not there.
        for name in ("hello", "bare"):
            folders[f"{name}/vendor/pyodide"] = ROOT / "node_modules" / "pyodide"
            folders[f"{name}/vendor/pyscript"] = ROOT / "node_modules" / "@pyscript" / "core" / "dist"
        host = Host(folders, create_app(), compresses=compresses)
        with serving(host) as url:
            browser = Chromium(folder)
            try:
                yield Visitor(browser, url), host
            finally:
                browser.quit()


def measure(visitor: Visitor, subjects: tuple[Subject, ...], rounds: int) -> Times:
    """Visit them all in turn, so many times."""
    times: Times = {(subject, visit): [] for subject in subjects for visit in ("cold", "return")}
    for subject in [subject for _ in range(rounds) for subject in subjects]:
        cold, again = visitor.visits(subject)
        times[subject, "cold"].append(cold)
        times[subject, "return"].append(again)
    return times


def show(figures: Figures, title: str, times: Times) -> None:
    """Print medians, and how they compare with the hello world."""
    figures.say(f"{title}, seconds (times the hello world)")
    for (subject, visit), values in times.items():
        ratio = median(values) / median(times[HELLO_WORLD, visit])
        spread = f"{min(values):.2f} to {max(values):.2f}"
        figures.say(f"        {subject.name:26}{visit:8}{median(values):6.2f}  ({ratio:.2f})  {spread}")


def judge(figures: Figures, what: str, times: Times, of: tuple[Subject, str], bound: float) -> None:
    """Hold a ratio against its bound."""
    figures.at_most(
        f"{what}, {of[0].name}, times the hello world", median(times[of]) / median(times[HELLO_WORLD, of[1]]), bound
    )


def main() -> int:
    """Measure both lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=("fast", "slow"), help="one line only")
    parser.add_argument("--plain", action="store_true", help="a host that compresses nothing")
    options = parser.parse_args()
    figures = Figures(
        f"median of {options.rounds}, a host that compresses {'nothing' if options.plain else 'text and wasm'}"
    )
    with visiting(compresses=not options.plain) as (visitor, host):
        if options.only != "slow":
            times = measure(visitor, SUBJECTS, options.rounds)
            show(figures, "unthrottled", times)
            judge(figures, "unthrottled, cold", times, (SITE, "cold"), 0.60)
            judge(figures, "unthrottled, return visit", times, (SITE, "return"), 0.45)
        if options.only != "fast":
            host.line = SLOW
            times = measure(visitor, SUBJECTS, options.rounds)
            show(figures, "10 Mbit/s, 40 ms", times)
            judge(figures, "throttled, cold", times, (SITE, "cold"), 0.70)
            judge(figures, "throttled, cold", times, (EMBEDDED, "cold"), 0.85)
    return figures.verdict()


if __name__ == "__main__":
    leave(main)
