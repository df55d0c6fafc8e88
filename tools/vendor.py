"""Copy what the page loads from node_modules/ to vendor/, so that it needs no CDN, and compile the standard library.

Run by ``make``. A second run does nothing until a version, this file or the compiler's changes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = ROOT / "node_modules"
TOOLS = ROOT / "tools"
VENDOR = ROOT / "vendor"
STAMP = ".stamp"

# Folder in vendor/ -> package, and the patterns in it; every pattern must match.
PARTS = {
    "d3": ("d3", ["dist/d3.min.js", "LICENSE"]),
    "pico": ("@picocss/pico", ["css/pico.min.css", "LICENSE.md"]),
    "pyodide": (
        "pyodide",
        ["pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json"],
    ),
    "pyscript": ("@pyscript/core", ["dist/*.js", "dist/*.css", "LICENSE"]),
}


# What is changed in a copied file: it must be there once. Pyodide makes shared memory to sleep on, which browsers warn
# of on pages like this one, and Lighthouse takes points for. Sleeping on memory that is not shared fails, as it does on
# any main thread, and Pyodide is prepared for that.
CHANGES = {
    "pyodide/pyodide.asm.mjs": (
        "new Int32Array(new WebAssembly.Memory({shared:!0,initial:1,maximum:1}).buffer)",
        "new Int32Array(4)",
    ),
}


def main() -> None:
    """Fill vendor/ unless it is up to date."""
    stamp = VENDOR / STAMP
    wanted = fingerprint()
    if not stamp.is_file() or stamp.read_text() != wanted:
        fill(wanted)
    # make compares times: vendor/ is as new as what it was compared with.
    stamp.touch()


def fingerprint() -> str:
    """Name the state vendor/ should be in: these versions, copied by this script."""
    programs = [Path(__file__), TOOLS / "compile.mjs", TOOLS / "compiling.py"]
    script = hashlib.sha256(b"".join(path.read_bytes() for path in programs)).hexdigest()
    return "\n".join([script, *(f"{package} {version(package)}" for package, _ in PARTS.values())])


def version(package: str) -> str:
    """Read the version of an installed package."""
    try:
        return str(json.loads((MODULES / package / "package.json").read_text())["version"])
    except FileNotFoundError:
        sys.exit(f"vendor: node_modules/{package} is missing. Run: npm ci")


def fill(wanted: str) -> None:
    """Build vendor/ beside the old one and swap them: what is stale goes, and a failure leaves the old one."""
    fresh, old = VENDOR.with_name("vendor.new"), VENDOR.with_name("vendor.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    for folder, (package, patterns) in PARTS.items():
        copy(MODULES / package, patterns, fresh / folder)
    for name, (was, now) in CHANGES.items():
        change(fresh / name, was, now)
    subprocess.run(["node", TOOLS / "compile.mjs", "library", fresh / "pyodide"], check=True)
    (fresh / STAMP).write_text(wanted)
    if VENDOR.exists():
        VENDOR.rename(old)
    fresh.rename(VENDOR)
    shutil.rmtree(old, ignore_errors=True)


def copy(package: Path, patterns: list[str], target: Path) -> None:
    """Copy the files that match into one flat folder."""
    target.mkdir(parents=True)
    for pattern in patterns:
        found = sorted(package.glob(pattern))
        if not found:
            sys.exit(f"vendor: {package.relative_to(ROOT)} holds no {pattern} any more: see PARTS")
        for file in found:
            shutil.copyfile(file, target / file.name)


def change(file: Path, was: str, now: str) -> None:
    """Replace what is there exactly once."""
    content = file.read_bytes()
    if content.count(was.encode()) != 1:
        sys.exit(f"vendor: {file.name} does not hold {was!r} once any more: see CHANGES")
    file.write_bytes(content.replace(was.encode(), now.encode()))


if __name__ == "__main__":
    main()
