"""Run by imports.mjs: nothing that the site's Python needs was left out of its standard library."""

import asyncio
import importlib
import sys
import time
import traceback
import types
from pathlib import Path

# What PyScript provides.
sys.modules["pyscript"] = types.ModuleType("pyscript")
sys.modules["pyscript"].__dict__.update(js_import=None)

PACKAGES = {"/app": ("freshfetch", "page"), "/server": ("mock_server", "jwt")}


def names(folder: str, package: str) -> list[str]:
    """Name all modules of a package."""
    paths = [path.relative_to(folder).with_suffix("") for path in Path(folder, package).rglob("*.pyc")]
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


wanted = [name for folder, packages in PACKAGES.items() for package in packages for name in names(folder, package)]
imported = [importlib.import_module(name) for name in wanted]
assert len(imported) > 70

# What is imported only when it is needed.
importlib.invalidate_caches()
time.strptime("2026", "%Y")
"bücher.example".encode("idna")
for encoding in ("ascii", "latin-1", "utf-8", "utf-8-sig", "utf-16", "utf-32", "unicode-escape", "cp437", "punycode"):
    "a".encode(encoding).decode(encoding)
for module in (
    "html.entities",
    "http.cookiejar",
    "mimetypes",
    "importlib.resources",
    "importlib.metadata",
):
    importlib.import_module(module)
try:
    asyncio.run(None)  # type: ignore[arg-type]
except Exception:  # noqa: BLE001 - whatever it is, it can be told
    traceback.format_exc()
