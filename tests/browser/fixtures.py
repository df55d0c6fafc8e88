"""What browser tests are given: a server, a browser, and pages in which Python runs.

A test reads like this::

    def test_an_expired_token_is_not_noticed(server: Server, page: Page) -> None:
        page.run("from freshfetch.browser import connect; session = connect('/api/auth')")
        page.run("await session.sign_in('ada', 'lovelace')")  # names live on until the page is loaded again
        server.expire()
        assert page.run("(await session.fetch(url)).status", url="/api/data") == 200
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mock_server.testing import Server
from tests.browser.harness.chromium import GONE, Chromium, Page
from tests.browser.harness.notes_page import NotesPage
from tests.browser.harness.page import Browser
from tests.browser.harness.site import HARNESS, write_site
from tools import single, site
from tools.browser import ENGINES

BROWSER = pytest.StashKey[Browser]()
OpenPage = Callable[..., NotesPage]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the command line choose the engine of tests/engines; all other browser tests run in Chromium."""
    parser.addoption("--engine", choices=ENGINES, default="chromium", help="the engine in which tests/engines runs")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the browser's console to the report of a failure."""
    report = yield
    if report.failed and BROWSER in item.stash:
        # A browser that is gone can tell nothing more.
        with contextlib.suppress(*GONE):
            report.sections.append(("Browser console", "\n".join(item.stash[BROWSER].log())))
    return report


@pytest.fixture(scope="session")
def mock_server_options(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """Let the server serve the page, the harness and what harness pages import."""
    site = write_site(tmp_path_factory.mktemp("site") / "site.zip")
    return [f"--mount=harness={HARNESS}", f"--mount=site.zip={site}"]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. It takes ten seconds, so test processes that run side by side share it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "built.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "built").exists():
            site.build(folder / "built")
    return folder / "built"


@pytest.fixture(scope="session")
def single_file(built: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the page that is one file. It is alone in its folder."""
    (folder,) = built.glob("build-*")
    python = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    file = tmp_path_factory.mktemp("single") / "fresh fetch.html"
    single.build(file, python)
    return file.as_uri()


@pytest.fixture
def server(mock_server: Server) -> Server:
    """The server, with everything back at the start; it may be stopped and started."""
    return mock_server


@pytest.fixture(scope="module")
def module_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One browser for a module's tests, since a start takes a second."""
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


@pytest.fixture
def browser(module_browser: Chromium, server: Server, request: pytest.FixtureRequest) -> Iterator[Chromium]:
    """The browser with one blank window, and nothing stored for the server's origin.

    The test fails if a page in it does something that its Content-Security-Policy refuses.
    """
    module_browser.forget(server.url)
    request.node.stash[BROWSER] = module_browser
    yield module_browser
    # A browser that the test has crashed can tell nothing more.
    with contextlib.suppress(*GONE):
        assert module_browser.refused_by_policy() == []


@pytest.fixture
def new_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Chromium]]:
    """Further browsers with profiles of their own: other people, or one that a test may break."""
    browsers: list[Chromium] = []

    def start(**settings: Any) -> Chromium:
        browsers.append(Chromium(tmp_path_factory.mktemp("profile"), **settings))
        return browsers[-1]

    yield start
    for browser in browsers:
        browser.quit()


@pytest.fixture
def page(browser: Chromium, server: Server) -> Page:
    """A window in which Python runs and the library can be imported."""
    return browser.open(server.url)


@pytest.fixture
def new_window(browser: Chromium, server: Server) -> Callable[[], Page]:
    """Further windows of the same browser, each in a process of its own, with a Python of its own."""
    return lambda: browser.open_window(server.url)


@pytest.fixture
def open_page(browser: Chromium, server: Server) -> Iterator[OpenPage]:
    """Open windows with the page; at the end, whatever happened, no token is in sight and nothing was refused."""
    pages: list[NotesPage] = []

    def open_one(address: str = "/") -> NotesPage:
        if pages:
            browser.driver.switch_to.new_window("window")
        pages.append(NotesPage(browser, server.url + address))
        return pages[-1].open()

    yield open_one
    tokens = set[str]().union(*(page.tokens() for page in pages))
    shown = "\n".join([*browser.log(), *(page.shown() for page in pages)])
    assert [refused for page in pages for refused in page.violations()] == []
    assert tokens
    for token in tokens:
        assert token not in shown
        assert token[-8:] not in shown
