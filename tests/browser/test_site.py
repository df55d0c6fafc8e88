"""The built site on a plain host, below a prefix: no server, no special headers, nothing from anywhere else."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from tests.browser.fixtures import BROWSER
from tests.browser.harness.chromium import Chromium
from tests.browser.harness.notes_page import NotesPage
from tools import site

PREFIX = "some/prefix"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files as they are, and writes down what was asked for."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def __init__(self, *arguments: object, asked: list[str], **options: object) -> None:
        self.asked = asked
        super().__init__(*arguments, **options)  # type: ignore[arg-type]

    def log_request(self, *_: object) -> None:
        """Write it down."""
        self.asked.append(self.path)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Host:
    """A plain static host; what it is asked for is in ``asked``. It can be stopped and started."""

    def __init__(self, root: Path) -> None:
        self.asked: list[str] = []
        self._handler = functools.partial(Handler, directory=str(root), asked=self.asked)
        self._port = 0
        self.start()

    def start(self) -> None:
        """Listen, on the port it had before."""
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self._port), self._handler)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Refuse connections."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where the site is."""
        return f"http://127.0.0.1:{self._port}/{PREFIX}/"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The site as ``make site`` builds it, on a plain host."""
    root = tmp_path_factory.mktemp("host")
    (root / PREFIX).parent.mkdir()
    site.main(["--out", str(root / PREFIX)])
    host = Host(root)
    yield host
    host.stop()


@pytest.fixture
def page(host: Host, module_browser: Chromium, request: pytest.FixtureRequest) -> Iterator[NotesPage]:
    """A first visit. At the end nothing was refused by the policy, and all that was loaded is the site's own."""
    module_browser.forget(host.url)
    request.node.stash[BROWSER] = module_browser
    page = NotesPage(module_browser, host.url).open()
    yield page
    loaded = page.script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [url for url in loaded if not url.startswith(host.url)] == []
    assert page.violations() == []
    assert module_browser.refused_by_policy() == []


def test_a_visit_without_any_server(page: NotesPage, host: Host) -> None:
    """Sign in, notes, a dead token that is not noticed, the timeline; over reload, shift-reload, and in two tabs."""
    page.sign_in()
    page.add_note("kept in this browser")
    page.wait_for_note("kept in this browser")
    page.press("#expire-token")
    page.add_note("on a new token")
    page.wait_for_note("on a new token")
    page.until(lambda: page.events("RefreshSucceeded") == 1, "the refresh")
    page.script("document.querySelector('#timeline-panel').scrollIntoView()")
    page.until(lambda: page.driver.find_elements(By.CSS_SELECTOR, ".timeline-axis .tick"), "the timeline")
    for past_the_cache in (False, True):
        page.script("window.old = true")
        page.driver.execute_cdp_cmd("Page.reload", {"ignoreCache": past_the_cache})
        page.until(lambda: page.script("return window.old !== true"), "another page")
        page.ready()
        page.until(lambda: page.state == "signed-in", "the session")
        page.wait_for_note("on a new token")
    page.driver.switch_to.new_window("tab")
    second = NotesPage(page.browser, host.url).open()
    second.until(lambda: second.state == "signed-in", "the session in the second tab")
    second.wait_for_note("kept in this browser")
    assert [path for path in host.asked if "/api/" in path or "/mock/" in path] == []
    scopes = "return navigator.serviceWorker.getRegistrations().then((all) => all.map((each) => each.scope))"
    assert second.script(scopes) == [host.url]


def test_a_scenario_is_played_by_the_server_inside_the_browser(page: NotesPage) -> None:
    """The answer of a refresh is lost after it was carried out: asked for again in time, nothing lost."""
    page.sign_in()
    page.press("#scene-lost button")
    assert "0 lost, 0 doubled" in page.seen("#scene-lost .scene-line")
    assert page.state == "signed-in"


def test_the_site_comes_again_without_its_host(page: NotesPage, host: Host) -> None:
    """Its files are kept: with the host gone it starts, the person is signed in, notes are there and can be added."""
    page.sign_in()
    page.add_note("before")
    page.wait_for_note("before")
    page.until(lambda: page.script("return caches.keys().then((names) => names.length)") == 1, "the files to be kept")
    page.until(
        lambda: page.script(
            "const [root] = arguments; return caches.match(root).then((found) => found !== undefined)", host.url
        ),
        "the page to be kept",
    )
    host.stop()
    try:
        page.open()
        page.until(lambda: page.state == "signed-in", "the session")
        page.wait_for_note("before")
        page.add_note("without a network")
        page.wait_for_note("without a network")
    finally:
        host.start()
