"""Run by imports.mjs: nothing that the site's Python needs was left out of its standard library."""

import asyncio
import importlib
import sys
import time
import traceback
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePath

# What PyScript provides.
sys.modules["pyscript"] = types.ModuleType("pyscript")
sys.modules["pyscript"].__dict__.update(js_import=None)

PACKAGES = ("freshfetch", "page", "mock_server", "jwt")
(ARCHIVE,) = (path for path in sys.path if path.endswith(".zip"))


def files() -> Iterator[PurePath]:
    """Find what Python can import from its archive, and from the server's folder."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        yield from map(PurePath, archive.namelist())
    yield from (path.relative_to("/server") for path in Path("/server").rglob("*.pyc"))


found = [path.with_suffix("").parts for path in files() if path.suffix == ".pyc"]
wanted = [".".join(parts).removesuffix(".__init__") for parts in found if parts[0] in PACKAGES]
imported = [importlib.import_module(name) for name in wanted]
assert {name.partition(".")[0] for name in wanted} == set(PACKAGES)
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
