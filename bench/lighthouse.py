"""Lighthouse: what Google's checker says of the static site. ``make lighthouse`` after ``make site``.

Bounds: accessibility and best practices 100, search engines 100, performance at least 90. The folder is served below a
path, text compressed, as static hosts do it; Lighthouse plays a computer (``--phone``: a slow phone on a slow line, for
which Python is a heavy load and the bounds are not meant).
Performance is the median of ``--runs``, since it depends on what else the machine does. What costs points is named.
"""

from __future__ import annotations

import argparse
import gzip
import http.server
import json
import os
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from bench.figures import Figures, leave
from tests.browser.harness.chromium import UNSEEN, root_flags
from tools import browser

ROOT = Path(__file__).resolve().parent.parent
# The last line of versions that runs on Node 20.
LIGHTHOUSE = "lighthouse@12.8.2"
PREFIX = "/some/prefix/"
BOUNDS = {"accessibility": 100, "best-practices": 100, "seo": 100, "performance": 90}
FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    UNSEEN,
)
COMPRESSED = (".css", ".html", ".js", ".json", ".mjs", ".py", ".svg", ".toml")


@cache
def sent(path: Path) -> bytes:
    """Return a file's content as it goes over the line. It is made once: a host's work is not done on this machine."""
    return gzip.compress(path.read_bytes()) if path.suffix in COMPRESSED else path.read_bytes()


class Folder(http.server.SimpleHTTPRequestHandler):
    """Serves files below a path and compresses text. Says nothing."""

    disable_nagle_algorithm = True
    wbufsize = -1
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".toml": "application/toml",
        ".wasm": "application/wasm",
    }

    def do_GET(self) -> None:
        """Send a file."""
        wanted = self.path.partition("?")[0]
        path = Path(self.translate_path(wanted.removeprefix(PREFIX.rstrip("/"))))
        path = path / "index.html" if path.is_dir() else path
        if not wanted.startswith(PREFIX) or not path.is_file():
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Cache-Control", "max-age=600")
        content = sent(path)
        if path.suffix in COMPRESSED:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder; yields the address of its page."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Folder, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{PREFIX}"
    finally:
        server.shutdown()
        server.server_close()


def examine(url: str, *, desktop: bool) -> dict[str, Any]:
    """Run Lighthouse once; returns its report."""
    chromium, _ = browser.ENGINES["chromium"].programs()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = ["npx", "--yes", LIGHTHOUSE, url, "--quiet", "--output=json", f"--output-path={report}"]
        command += [f"--only-categories={','.join(BOUNDS)}", f"--chrome-flags={' '.join([*FLAGS, *root_flags()])}"]
        command += ["--preset=desktop"] if desktop else []
        subprocess.run(command, check=True, env=os.environ | {"CHROME_PATH": chromium}, cwd=folder)
        found: dict[str, Any] = json.loads(report.read_text())
    return found


def points(report: dict[str, Any], category: str) -> float:
    """Return a category's points of 100."""
    return round(100 * (report["categories"][category]["score"] or 0))


def costs(report: dict[str, Any], category: str) -> Iterator[str]:
    """Name what costs points in a category."""
    for each in report["categories"][category]["auditRefs"]:
        audit = report["audits"][each["id"]]
        if each["weight"] and audit["score"] is not None and audit["score"] < 0.9:
            items = audit.get("details", {}).get("items", [])
            named = [item.get("node", {}).get("selector") or str(item.get("value", "")) for item in items]
            yield " ".join(filter(None, [audit["id"], audit.get("displayValue", ""), *named[:5]]))


def main() -> int:
    """Examine the site and print the four figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", type=Path, default=ROOT / "_site", help="the folder to serve (default: _site)")
    parser.add_argument("--url", help="a page that is served already, instead of a folder")
    parser.add_argument("--runs", type=int, default=3, help="performance is the median of so many (default: 3)")
    parser.add_argument("--phone", action="store_true", help="play a slow phone on a slow line, not a computer")
    options = parser.parse_args()
    if options.url is None and not (options.site / "index.html").is_file():
        parser.error(f"there is no page in {options.site}: run make site first, or give a --url")
    if options.url:
        return judge(options.url, runs=options.runs, desktop=not options.phone)
    with served(options.site) as url:
        return judge(url, runs=options.runs, desktop=not options.phone)


def judge(url: str, *, runs: int, desktop: bool) -> int:
    """Hold the figures to their bounds."""
    figures = Figures(f"Lighthouse, {'computer' if desktop else 'slow phone'}, median of {runs}")
    reports = [examine(url, desktop=desktop) for _ in range(runs)]
    for category, bound in BOUNDS.items():
        figures.at_least(category, statistics.median(points(report, category) for report in reports), bound)
        for cost in costs(reports[0], category):
            figures.say(f"        {cost}")
    return figures.verdict()


if __name__ == "__main__":
    leave(main)
