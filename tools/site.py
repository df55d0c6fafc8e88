"""Build the static site: ``make site`` fills ``_site/``, which any host can serve, at any path.

All that changes from build to build lies in one folder that is named after its contents, so that no cache can mix two
builds. Only ``index.html`` and the service worker, which has to lie at the top, keep their names.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import deflate

from mock_server import archive
from tools import programs
from tools.site_page import IMAGE, PACKED, Api, page

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "app" / "static"
VENDOR = ROOT / "vendor"
TOOLS = ROOT / "tools"
# What is taken as it is. The rest of PyScript is for other pages; see ``programs`` for what is changed.
COPIED = (
    "d3/*",
    "pico/*",
    "pyscript/LICENSE",
    *(f"pyscript/{name}.js" for name in ("core", "deprecations-*", "donkey-*", "error-*", "py-*")),
)
NOTHING_KEPT = "const BUILD = null;"

Files = dict[str, bytes]
"""Contents by their path below the build's folder."""


def build(out: Path, api: Api | None = None) -> str:
    """Build the site in place of the one that is there; return the name of the folder with its files.

    ``api`` is a real API to talk to; without one the mock server runs inside the browser.
    """
    with tempfile.TemporaryDirectory() as temporary:
        stage = Path(temporary)
        files = {**copied(), **compiled(stage), "pyscript.json": b""}
        sizes = {name: len(content) for name, content in files.items()}
        html = (ROOT / "index.html").read_text()
        service = (STATIC / "service-worker.js").read_text()
        # Of the image what it is made from counts: it is never quite the same.
        made = [content for name, content in files.items() if name != IMAGE] + [(TOOLS / "image.mjs").read_bytes()]

        def around(folder: str) -> Files:
            """Return what names the folder."""
            return {
                "pyscript.json": json.dumps(config(folder, api)).encode(),
                "index.html": page(html, folder, sizes, api).encode(),
                "service-worker.js": with_files(service, folder, files).encode(),
            }

        folder = f"build-{digest([*made, *around('').values()])}"
        top = around(folder)
        files["pyscript.json"] = top.pop("pyscript.json")
        site = stage / "site"
        write(site / folder, files)
        write(site, top)
        shutil.rmtree(out, ignore_errors=True)
        shutil.move(site, out)
    return folder


def copied() -> Files:
    """Return what is taken as it is."""
    scripts = [path for path in STATIC.iterdir() if path.name != "service-worker.js"]
    vendored = [path for pattern in COPIED for path in sorted(VENDOR.glob(pattern))]
    return {
        **{f"app/static/{path.name}": path.read_bytes() for path in scripts},
        **{f"vendor/{path.relative_to(VENDOR).as_posix()}": path.read_bytes() for path in vendored},
        "app/main.py": (ROOT / "app" / "main.py").read_bytes(),
    }


def compiled(stage: Path) -> Files:
    """Return Python and what starts it: the interpreter, the standard library, the app, the server."""
    pyodide = VENDOR / "pyodide"
    with zipfile.ZipFile(pyodide / "python_stdlib.zip") as library:
        library.extractall(stage / "stdlib")
    write(stage / "app", {path.relative_to(ROOT / "app").as_posix(): path.read_bytes() for path in app_sources()})
    write(stage / "server", {name: path.read_bytes() for name, path in archive.sources().items()})
    (core,) = (VENDOR / "pyscript").glob("core-*.js")
    pyscript, package = programs.pyscript(core.read_bytes())
    write(stage / "pyscript" / "pyscript", package)
    subprocess.run(["node", TOOLS / "compile.mjs", "site", stage], check=True)
    subprocess.run(["node", TOOLS / "image.mjs", stage], check=True)
    lock = json.loads((pyodide / "pyodide-lock.json").read_text())
    return {
        "server.zip": (stage / "server.zip").read_bytes(),
        f"vendor/pyodide/python_stdlib.zip{PACKED}": packed((stage / "python_stdlib.zip").read_bytes()),
        f"vendor/pyodide/pyodide.asm.wasm{PACKED}": packed((pyodide / "pyodide.asm.wasm").read_bytes()),
        IMAGE: packed((stage / "python.image").read_bytes()),
        "vendor/pyodide/pyodide.mjs": (TOOLS / "python.mjs").read_bytes(),
        "vendor/pyodide/unpack.mjs": (TOOLS / "unpack.mjs").read_bytes(),
        "vendor/pyodide/core.mjs": programs.loader((pyodide / "pyodide.mjs").read_bytes()),
        "vendor/pyodide/pyodide.asm.mjs": programs.interpreter((pyodide / "pyodide.asm.mjs").read_bytes()),
        f"vendor/pyscript/{core.name}": pyscript,
        # Nothing is loaded from Pyodide's own distribution.
        "vendor/pyodide/pyodide-lock.json": json.dumps(lock | {"packages": {}}).encode(),
    }


def app_sources() -> Iterable[Path]:
    """Return the library's and the page's modules: those that the page lists for itself."""
    return (ROOT / name for name in settings()["files"])


def settings() -> dict[str, Any]:
    """Return pyscript.toml."""
    return tomllib.loads((ROOT / "pyscript.toml").read_text())


def config(folder: str, api: Api | None) -> dict[str, Any]:
    """Return the page's configuration: as in pyscript.toml, but for where things lie."""
    given = settings()
    moved = {
        "interpreter": f"./{folder}/vendor/pyodide/pyodide.mjs",
        "freshfetch": api.settings(given["freshfetch"]) if api else given["freshfetch"],
    }
    # The app's files lie in Python's own archive.
    return {name: value for name, value in given.items() if name != "files"} | moved


def packed(content: bytes) -> bytes:
    """Return a file's content, compressed: not every host compresses WebAssembly."""
    return bytes(deflate.gzip_compress(content, 12))


def with_files(service_worker: str, folder: str, files: Mapping[str, bytes]) -> str:
    """Return the service worker of a build, which keeps the build's files."""
    if service_worker.count(NOTHING_KEPT) != 1:
        raise SystemExit(f"site: service-worker.js does not say {NOTHING_KEPT!r} once")
    build = {"folder": folder, "files": sorted(files)}
    return service_worker.replace(NOTHING_KEPT, f"const BUILD = {json.dumps(build)};")


def digest(contents: Iterable[bytes]) -> str:
    """Name contents."""
    whole = hashlib.sha256()
    for content in contents:
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()[:12]


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def main(arguments: Sequence[str] | None = None) -> None:
    """Build, and say what came of it."""
    parser = argparse.ArgumentParser(
        prog="make site", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "_site", help="the folder to fill")
    parser.add_argument("--api", type=Api, help="base URL of a real API, instead of the mock server inside the browser")
    options = parser.parse_args(arguments)
    build(options.out, options.api)
    total = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(f"{options.out}: {total / 1e6:.1f} MB. Serve it with any static host, at any path.")


if __name__ == "__main__":
    main()
