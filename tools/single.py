"""Build the page that is one file: ``make single`` writes ``dist/freshfetch.html``, which works by double click.

It is the site's page with all of its files inside, the server too. The server runs in the page's own Python.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from tools import single_page, site
from tools.site_page import ADDRESSES, PACKED

SERVER = "mock_server.inside"
ADDRESS = "https://freshfetch.invalid/"
"""As page/inside.py calls the server."""
COPIED = ("app/static", "vendor/d3", "vendor/pico", "vendor/pyodide")


def build(out: Path, python: Mapping[str, bytes]) -> None:
    """Write the page. ``python`` is what ``tools.site.compiled`` returns."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page(python), newline="\n")


def page(python: Mapping[str, bytes]) -> str:
    """Return the page."""
    files = {
        path.relative_to(site.ROOT).as_posix(): path.read_bytes()
        for folder in COPIED
        for path in sorted((site.ROOT / folder).iterdir())
    }
    tools = {name: (site.TOOLS / name).read_text() for name in ("single_server.js", "single_start.js")}
    return single_page.page(
        (site.ROOT / "index.html").read_text(),
        files=files,
        scripts={
            "app/static/open-me-properly.js": "",
            "app/static/server.js": tools["single_server.js"],
            "app/static/start.js": "",
        },
        start=start(files, tools["single_start.js"]),
        data=data(python, json.loads(files["vendor/pyodide/pyodide-lock.json"])),
    )


def start(files: Mapping[str, bytes], source: str) -> str:
    """Return the module that starts everything, with the modules that it needs before it."""
    modules = {name.rpartition("/")[2]: content.decode() for name, content in files.items() if name.endswith("js")}
    paint = f"({single_page.function(modules['timeline-paint.js'])})()"
    parts = {
        "pyodide": single_page.function(modules["pyodide.mjs"], "fetch"),
        "interpreter": single_page.function(modules["pyodide.asm.mjs"]),
        "timeline": single_page.function(modules["timeline.js"], modules={"./timeline-paint.js": paint}),
    }
    return "\n".join([*(f"const {name} = {part};" for name, part in parts.items()), source])


def data(python: Mapping[str, bytes], lock: Mapping[str, Any]) -> dict[str, str]:
    """Return what the page finds in itself instead of fetching it."""
    settings = {"freshfetch": config(), "lock": {**lock, "packages": {}}}
    return {
        "settings.json": json.dumps(settings),
        "main.py": (site.ROOT / "app" / "main.py").read_text(),
        "server.zip": encoded(python["server.zip"]),
        "python_stdlib.zip": encoded(without_pyscript(python[f"vendor/pyodide/python_stdlib.zip{PACKED}"])),
        "pyodide.asm.wasm": encoded(python[f"vendor/pyodide/pyodide.asm.wasm{PACKED}"]),
    }


def without_pyscript(archive: bytes) -> bytes:
    """Return Python's archive, packed as it was, without PyScript's own Python, which is not in this page."""
    smaller = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(gzip.decompress(archive))) as old, zipfile.ZipFile(smaller, "w") as new:
        for member in old.infolist():
            if not member.filename.startswith("pyscript/"):
                new.writestr(member, old.read(member))
    return site.packed(smaller.getvalue())


def config() -> dict[str, Any]:
    """Return the page's settings: as in pyscript.toml, but for where the server is."""
    given = site.settings()["freshfetch"]
    moved = {name: urljoin(ADDRESS, given[name]) for name in (*ADDRESSES, "mock")}
    return {**given, **moved, "inside": SERVER}


def encoded(content: bytes) -> str:
    """Return bytes as text."""
    return base64.b64encode(content).decode()


def main(arguments: Sequence[str] | None = None) -> None:
    """Build, and say what came of it."""
    parser = argparse.ArgumentParser(
        prog="make single", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=site.ROOT / "dist" / "freshfetch.html", help="the file to write")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as stage:
        build(options.out, site.compiled(Path(stage)))
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB. Open it by double click.")


if __name__ == "__main__":
    main()
