"""The page's files: which are served, as what, and which are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from mock_server.app import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.applications import Starlette

FILES = {
    "index.html": "<p>hi</p>",
    "pyscript.toml": "name = 'x'",
    "favicon.svg": "<svg/>",
    "app/main.py": "1",
    "app/static/page.css": "p {}",
    "app/.hidden": "no",
    "app/.git/config": "no",
    "vendor/pyodide/pyodide.mjs": "export {}",
    "vendor/pyodide/pyodide.asm.wasm": "w",
    "vendor/pyodide/lock.json": "{}",
    "vendor/a.whl": "w",
    "vendor/a.zip": "z",
    "vendor/a.js.map": "{}",
    "vendor/strange.xyz": "?",
    "app/static/service-worker.js": "sw",
    "secret.txt": "no",
    "mock_server/app.py": "no",
    "apple/x": "no",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Lay out a repository with a page in it."""
    root = tmp_path / "repository"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def app(root: Path, tmp_path: Path) -> Starlette:
    """Serve that page, and a harness beside it."""
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "index.html").write_text("harness")
    (tmp_path / "harness" / "run.mjs").write_text("run")
    mounts = {"/harness/": tmp_path / "harness", "one.txt": root / "secret.txt"}
    return create_app(page_root=root, extra_mounts=mounts, made={"server.zip": lambda: b"made"})


@pytest.fixture
async def client(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """Look at the page."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
        yield client


@pytest.mark.parametrize(
    "path,content_type",
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/pyscript.toml", "application/toml"),
        ("/favicon.svg", "image/svg+xml"),
        ("/app/main.py", "text/x-python; charset=utf-8"),
        ("/app/static/page.css?v=1", "text/css; charset=utf-8"),
        ("/vendor/pyodide/pyodide.mjs", "text/javascript; charset=utf-8"),
        ("/vendor/pyodide/pyodide.asm.wasm", "application/wasm"),
        ("/vendor/pyodide/lock.json", "application/json"),
        ("/vendor/a.whl", "application/zip"),
        ("/vendor/a.zip", "application/zip"),
        ("/vendor/a.js.map", "application/json"),
        ("/vendor/strange.xyz", "application/octet-stream"),
        ("/harness/", "text/html; charset=utf-8"),
        ("/harness/run.mjs", "text/javascript; charset=utf-8"),
        ("/one.txt", "text/plain; charset=utf-8"),
        ("/service-worker.js", "text/javascript; charset=utf-8"),
        ("/server.zip", "application/zip"),
    ],
)
async def test_the_pages_files_have_the_right_type(client: httpx.AsyncClient, path: str, content_type: str) -> None:
    """A browser refuses modules and WebAssembly of any other type."""
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == content_type


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt",
        "/mock_server/app.py",
        "/apple/x",
        "/app",
        "/app/",
        "/app/static/",
        "/vendor",
        "/harness",
        "/nothing",
        "/app/nothing.py",
        "/app/main.py/",
        "/app/main.py/x",
        "/app/.hidden",
        "/app/.git/config",
        "/app/../secret.txt",
        "/app/%2e%2e/secret.txt",
        "/app/..%2fsecret.txt",
        "/app/%2e%2e%5csecret.txt",
        "/app//etc/hostname",
        "//etc/hostname",
        "/app/%00",
        "/app/" + "x" * 5000,
        "/one.txt/x",
        "/link/x",
    ],
)
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    """No other file of the repository, no hidden one, no listing, no way out of a directory."""
    request = client.build_request("GET", "http://testserver/")
    request.url = request.url.copy_with(raw_path=path.encode())
    assert (await client.send(request)).status_code == 404


async def test_a_link_may_not_lead_out_of_its_place_but_a_place_may_be_a_link(
    client: httpx.AsyncClient, root: Path
) -> None:
    """A shared vendor directory works; a link inside app to the rest of the disk does not."""
    (root / "app" / "leak.txt").symlink_to(root / "secret.txt")
    (root / "vendor").rename(root.parent / "shared")
    (root / "vendor").symlink_to(root.parent / "shared")
    assert (await client.get("/app/leak.txt")).status_code == 404
    assert (await client.get("/vendor/a.zip")).status_code == 200


async def test_a_browser_asks_each_time_and_is_told_when_nothing_changed(client: httpx.AsyncClient, root: Path) -> None:
    """Files revalidate by ETag; a changed file is sent again."""
    first = await client.get("/app/main.py")
    assert first.headers["cache-control"] == "no-cache"
    known = {"If-None-Match": first.headers["etag"]}
    again = await client.get("/app/main.py", headers=known)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    (root / "app" / "main.py").write_text("22")
    assert (await client.get("/app/main.py", headers=known)).text == "22"


async def test_the_page_can_only_be_read(client: httpx.AsyncClient) -> None:
    """HEAD works like GET; other methods are refused, in plain text."""
    assert (await client.head("/")).status_code == 200
    answer = await client.post("/")
    assert answer.status_code == 405
    assert answer.headers["content-type"].startswith("text/plain")


async def test_the_page_does_not_hide_the_api(client: httpx.AsyncClient) -> None:
    """Routes of the API come first."""
    assert (await client.get("/api/data")).status_code == 401
    assert (await client.get("/mock/settings")).status_code == 200


async def test_without_a_page_root_there_is_no_page() -> None:
    """The API alone answers 404 at the root."""
    transport = httpx.ASGITransport(create_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        assert (await client.get("/")).status_code == 404


async def test_what_is_made_when_asked_for_is_not_sent_again_either(client: httpx.AsyncClient) -> None:
    """It has the ETag of its content."""
    first = await client.get("/server.zip")
    assert first.content == b"made"
    again = await client.get("/server.zip", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
