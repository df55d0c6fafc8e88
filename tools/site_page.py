"""The page of a built site: the repository's own index.html with other addresses, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urljoin, urlsplit

PACKED = ".packed"
"""Ends the name of a file that is compressed by us. No host knows it, so none marks such a file, or unpacks it."""
IMAGE = f"vendor/pyodide/python.image{PACKED}"
"""Not every visit fetches it."""
STARTED = '<link rel="modulepreload" href="vendor/pyodide/pyodide.mjs">'
STARTING = '<script type="module" async src="vendor/pyodide/pyodide.mjs"></script>'
ADDRESSES = ("auth", "heartbeat", "notes", "data", "echo")
"""The page's settings that are addresses of the API."""
LOCAL = re.compile(r'\b(href|src)="((?:app|vendor)/[^"]+)"')
# What the page would have to share the line with before it is seen; see docs/decisions/0011-python-from-an-image.md.
LATE = (
    '    <link rel="preload" href="vendor/pyodide/pyodide.asm.wasm" as="fetch" crossorigin>\n',
    '    <link rel="preload" href="vendor/pyodide/python_stdlib.zip" as="fetch" crossorigin>\n',
)
PRELOADS = '    <link rel="preload" href="pyscript.toml" as="fetch" crossorigin>\n'


class Api:
    """A real API, by its base URL: what is below it is what the mock server has below ``/api/``."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.netloc or parts.query or parts.fragment:
            raise ValueError(url)
        self.url = url.rstrip("/") + "/"
        self.origin = f"{parts.scheme}://{parts.netloc}"

    def __repr__(self) -> str:
        return f"Api({self.url!r})"

    def settings(self, given: Mapping[str, str]) -> dict[str, object]:
        """Return the page's settings for this API. It has no test controls."""
        moved = {name: urljoin(self.url, given[name].removeprefix("api/")) for name in ADDRESSES}
        return moved | {"origins": [self.origin]}


def page(html: str, folder: str, sizes: Mapping[str, int], api: Api | None) -> str:
    """Return the page for the files in ``folder``, whose sizes are in bytes."""
    html = once(html, PRELOADS, "".join(preloads(folder, sizes)))
    html = once(html, 'config="pyscript.toml"', f'config="{folder}/pyscript.json"')
    for late in LATE:
        html = once(html, late, "")
    html = once(html, STARTED, STARTING)
    html = LOCAL.sub(rf'\1="{folder}/\2"', html)
    python = sum(size for name, size in sizes.items() if name.endswith(PACKED) and name != IMAGE)
    html = once(html, 'id="boot-progress"', f'id="boot-progress" data-bytes="{python}"')
    return speaking_to(once(html, "data-server", f'data-files="{folder}/" data-server'), api)


def speaking_to(html: str, api: Api | None) -> str:
    """Return the page, told which server it has."""
    if api is None:
        return once(html, 'data-server=""', 'data-server="embedded"')
    html = once(html, "connect-src 'self';", f"connect-src 'self' {api.origin};")
    for missing in ("server-panel", "scenarios"):  # it keeps no journal, and cannot be broken on purpose
        html = once(html, f'id="{missing}"', f'id="{missing}" hidden')
    return html


def preloads(folder: str, files: Iterable[str]) -> Iterable[str]:
    """Yield links to what a browser would find out about late, one after the other."""
    for name in sorted(files):
        if re.match(r"vendor/(pyscript/(core|error)-|pyodide/(core|unpack)\.mjs)", name):
            yield f'    <link rel="modulepreload" href="{folder}/{name}">\n'
    # A browser does not look ahead for scripts behind a policy in the page.
    for name in ("open-me-properly.js", "server.js", "boot.js"):
        yield f'    <link rel="preload" href="{folder}/app/static/{name}" as="script">\n'
    yield f'    <link rel="modulepreload" href="{folder}/app/static/start.js">\n'
    for name in ("pyscript.json", "app/main.py"):
        yield f'    <link rel="preload" href="{folder}/{name}" as="fetch" crossorigin>\n'


def once(text: str, old: str, new: str) -> str:
    """Replace what must be there exactly once."""
    if text.count(old) != 1:
        raise SystemExit(f"site: {old!r} is there {text.count(old)} times, and not once")
    return text.replace(old, new)
