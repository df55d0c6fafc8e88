"""The archive that the embedded server is unpacked from."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import typing_extensions

from mock_server import archive

# Serves a request from the archive alone: nothing that is installed is on the path.
SERVE = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from mock_server.embedded import start
async def main():
    done = asyncio.Event()
    async def save(text): pass
    def post(call, part, head, content):
        print(part, head)
        done.set()
    head = '{"origin": "http://a", "method": "GET", "path": "/api/data", "query": "", "headers": []}'
    start(post, save, "").take("1", head, b"")
    await done.wait()
asyncio.run(main())
"""


def test_the_same_files_are_the_same_archive() -> None:
    """Byte for byte, so that a browser need not fetch it again."""
    assert archive.build() == archive.build()


def test_it_holds_what_a_browser_needs_and_nothing_that_only_a_host_can_use() -> None:
    """The server and what it imports; no uvicorn, no command line, no test client, no compiled files."""
    names = set(zipfile.ZipFile(io.BytesIO(archive.build())).namelist())
    assert {"mock_server/embedded.py", "starlette/routing.py", "jwt/__init__.py", "anyio/__init__.py"} <= names
    assert all(name.endswith(".py") for name in names)
    packages = {name.partition("/")[0] for name in names}
    assert packages == {"mock_server", "starlette", "jwt", "anyio", "sniffio"}
    assert not names & {"mock_server/__main__.py", "mock_server/remote.py", "starlette/testclient.py"}


def test_it_serves_by_itself(tmp_path: Path) -> None:
    """Unpacked where nothing else is installed, it answers a request."""
    zipfile.ZipFile(io.BytesIO(archive.build())).extractall(tmp_path)
    # Which the browser's Python, being newer, does without.
    shutil.copy(typing_extensions.__file__, tmp_path)
    command = [sys.executable, "-I", "-S", "-c", SERVE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # this interpreter
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith('whole {"status": 401')
