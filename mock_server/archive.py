"""Archive: all Python that the server needs inside the browser, as one zip file.

It holds this package and what it imports from elsewhere, as installed here, without what only a host has a use for.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

# Package -> patterns of files in it that are never imported there.
PACKAGES = {
    "mock_server": ("__main__.py", "archive.py", "remote.py", "testing.py"),
    "starlette": (
        "config.py",
        "schemas.py",
        "staticfiles.py",
        "status.py",
        "templating.py",
        "testclient.py",
        "middleware/gzip.py",
        "middleware/httpsredirect.py",
        "middleware/sessions.py",
        "middleware/trustedhost.py",
        "middleware/wsgi.py",
    ),
    "anyio": ("_backends/_trio.py", "_core/_asyncio_selector_thread.py", "pytest_plugin.py", "streams/tls.py"),
    "jwt": ("help.py",),
    "sniffio": ("_tests/*",),
}
# What a zip file can date back to: the same files are always the same archive.
EARLIEST = (1980, 1, 1, 0, 0, 0)


def build() -> bytes:
    """Return the archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(sources().items()):
            archive.writestr(zipfile.ZipInfo(name, EARLIEST), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def sources() -> dict[str, Path]:
    """Find the files: where each is imported from, and where it lies."""
    return {
        f"{package}/{name.as_posix()}": path
        for package, unused in PACKAGES.items()
        for name, path in _modules(package)
        if not any(name.match(pattern) for pattern in unused)
    }


def _modules(package: str) -> Iterator[tuple[PurePosixPath, Path]]:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(package)
    folder = Path(spec.origin).parent
    for path in folder.rglob("*.py"):
        yield PurePosixPath(path.relative_to(folder).as_posix()), path
