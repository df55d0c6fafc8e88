"""The mock server inside the browser: it answers real fetches, forgets nothing, and leaves nobody waiting."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.support.ui import WebDriverWait

from mock_server import archive
from mock_server.testing import Server
from tests.browser.harness.cdp import Wire
from tests.browser.harness.chromium import SCRIPT_TIMEOUT, Chromium

ROOT = Path(__file__).resolve().parents[2]
LIGHT = "/harness/embedded.html"
TOOLS = """
    const mock = async (method, control, fields) => {
        const answer = await fetch(`${root}mock/${control}`, {method, body: fields && JSON.stringify(fields)});
        return answer.status === 204 ? null : answer.json();
    };
    const post = (path, fields, token) => fetch(root + path, {
        method: "POST", body: JSON.stringify(fields), headers: token ? {Authorization: `Bearer ${token}`} : {},
    });
    const login = () => post("api/auth/login", {username: "ada", password: "lovelace"});
    const said = (answer) => answer.then((got) => got.text()).catch((error) => error.name);
    const journal = async (enough) => {
        for (;;) {
            const {entries} = await mock("GET", "journal");
            if (enough(entries)) return entries;
        }
    };
"""
NewTab = Callable[..., "Tab"]
# Runs in the service worker: a minute passes in a tenth of a second.
FASTER = """
    const [later, now, start] = [setTimeout, Date.now, Date.now()];
    self.setTimeout = (act, milliseconds) => later(act, milliseconds / 600);
    Date.now = () => start + (now() - start) * 600;
"""


class Tab:
    """A window with a page that has no Python of its own, so that a test is quick."""

    def __init__(self, browser: Chromium, url: str, root: str = "/") -> None:
        self.browser = browser
        self.handle = browser.driver.current_window_handle
        self.url = url
        self.root = root

    def open(self, url: str | None = None) -> Tab:
        """Go there, or to the page again."""
        self._focus().get(url or self.url)
        return self

    def run(self, source: str, *given: object) -> Any:
        """Run JavaScript, in which await is allowed and ``given`` has its name."""
        source = f"return (async (root, given) => {{{TOOLS}{source}}})(...arguments)"
        return self._focus().execute_script(source, self.root, given)

    def command(self, method: str, **parameters: object) -> Any:
        """Send a DevTools command to this window."""
        return self._focus().execute_cdp_cmd(method, parameters)

    def close(self) -> None:
        """Close the window."""
        driver = self._focus()
        driver.close()
        driver.switch_to.window(driver.window_handles[0])

    def _focus(self) -> Any:
        self.browser.driver.switch_to.window(self.handle)
        return self.browser.driver


def workers(tab: Tab, kind: str) -> list[str]:
    """Return the workers of that kind and the tab's origin, by their DevTools ids."""
    origin = tab.run("return location.origin")
    found = tab.command("Target.getTargets")["targetInfos"]
    return [each["targetId"] for each in found if each["type"] == kind and each["url"].startswith(origin)]


def kill_host(tab: Tab) -> None:
    """End the worker in which the server runs, as a browser that is short of memory does."""
    (host,) = workers(tab, "shared_worker")
    assert tab.command("Target.closeTarget", targetId=host)["success"]


@contextlib.contextmanager
def in_service_worker(tab: Tab, source: str) -> Iterator[None]:
    """Run JavaScript in the service worker, which is ended afterwards: the next event starts it as it was."""
    (service,) = workers(tab, "service_worker")
    with contextlib.closing(Wire(tab.browser.address, service)) as wire:
        wire.evaluate(source)
    try:
        yield
    finally:
        assert tab.command("Target.closeTarget", targetId=service)["success"]


@pytest.fixture
def new_tab(module_browser: Chromium, server: Server) -> Iterator[NewTab]:
    """Open windows of a page that has chosen the embedded server, with a script that runs before anything else.

    Nothing is forgotten between tests, since the worker of the test before is as good as a new one.
    """
    tabs: list[Tab] = []

    def open_one(before: str = "") -> Tab:
        module_browser.driver.switch_to.new_window("window")
        tabs.append(Tab(module_browser, f"{server.url}{LIGHT}?server=embedded"))
        tabs[-1].command("Page.addScriptToEvaluateOnNewDocument", source=before)
        assert tabs[-1].open().run("return freshfetchServer.reachable")
        return tabs[-1]

    yield open_one
    module_browser._close_pages()


@pytest.fixture
def tab(new_tab: NewTab) -> Tab:
    """One such window, and the server in it at the start."""
    tab = new_tab()
    tab.run("await mock('POST', 'reset')")
    return tab


@pytest.fixture
def blank(tab: Tab) -> Tab:
    """Another window, with nothing in it."""
    tab.browser.driver.switch_to.new_window("window")
    return Tab(tab.browser, "about:blank")


@pytest.fixture
def static_site(tmp_path: Path) -> Iterator[str]:
    """The page below a path of a server that knows files and nothing else; it says where.

    Its index.html has chosen the embedded server, as the site build does it.
    """
    folder = tmp_path / "some" / "prefix"
    shutil.copytree(ROOT / "app", folder / "app")
    (folder / "vendor").symlink_to((ROOT / "vendor").resolve())
    shutil.copy(ROOT / "pyscript.toml", folder)
    shutil.copy(ROOT / "app" / "static" / "service-worker.js", folder)
    (folder / "server.zip").write_bytes(archive.build())
    page = (ROOT / "index.html").read_text()
    (folder / "index.html").write_text(page.replace('data-server=""', 'data-server="embedded"'))
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}/some/prefix/"
        site.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files, and says nothing."""

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def test_all_tabs_share_one_server(tab: Tab, new_tab: NewTab) -> None:
    """What one tab asked another finds in the journal, and there is one worker."""
    tab.run("await login()")
    second = new_tab()
    assert [entry["effects"] for entry in second.run("return journal((all) => all.length)")] == [["signed_in"]]
    assert len(workers(tab, "shared_worker")) == 1


def test_a_killed_worker_comes_back_with_all_it_knew(tab: Tab) -> None:
    """Access and refresh token, a note, settings and fault rules are as they were when the worker is gone."""
    tab.run(
        """
        window.tokens = await (await login()).json();
        await post("api/notes", {id: "n1", text: "kept"}, tokens.accessToken);
        await mock("PUT", "settings", {grace: 7});
        await mock("POST", "faults", {path: "/api/data", kind: "status", status: 503, times: 1});
        """
    )
    kill_host(tab)
    found = tab.run(
        """
        const headers = {Authorization: `Bearer ${tokens.accessToken}`};
        const {notes} = await (await fetch("/api/notes", {headers})).json();
        const {status} = await post("api/auth/refresh", {refreshToken: tokens.refreshToken});
        return [notes[0].text, status, (await mock("GET", "settings")).grace, (await fetch("/api/data")).status];
        """
    )
    assert found == ["kept", 200, 7, 503]


def test_a_request_under_way_fails_when_its_worker_is_killed(tab: Tab) -> None:
    """An answer that had not begun and one that had: both are network errors at once, and the next one is answered."""
    tab.run(
        """
        await mock("POST", "faults", {path: "/api/data", kind: "stall"});
        await mock("POST", "faults", {path: "/api/echo", kind: "stall_body"});
        window.outcomes = [said(fetch("/api/data")), said(post("api/echo"))];
        await journal((all) => all.length === 2 && all.some((each) => each.status));
        """
    )
    kill_host(tab)
    assert tab.run("return Promise.all(outcomes)") == ["TypeError", "TypeError"]
    assert tab.run("return (await login()).status") == 200


def test_clearing_the_data_of_the_site_clears_the_server(tab: Tab) -> None:
    """The worker ends although its page is open; the next one knows nobody, and answers."""
    given = tab.run("const {refreshToken} = await (await login()).json(); return {refreshToken}")
    origin = tab.run("return location.origin")
    tab.command("Storage.clearDataForOrigin", origin=origin, storageTypes="all")
    WebDriverWait(tab.browser.driver, SCRIPT_TIMEOUT).until(lambda _: workers(tab, "shared_worker") == [])
    assert tab.open().run("return freshfetchServer.reachable")
    assert tab.run("return (await post('api/auth/refresh', given[0])).status", given) == 400


def test_a_reload_past_the_cache_is_answered(tab: Tab) -> None:
    """After shift and reload a page has no service worker; it gets it back."""
    tab.run("window.before = true")
    tab.command("Page.reload", ignoreCache=True)
    assert tab.run("return freshfetchServer.reachable")
    assert tab.run("return [window.before, (await login()).status]") == [None, 200]


def test_a_dropped_answer_is_a_network_error(tab: Tab) -> None:
    """Before the commit nothing is done, after it the note is there; half an answer breaks off while it is read."""
    outcomes = tab.run(
        """
        const {accessToken} = await (await login()).json();
        const outcomes = [];
        for (const kind of ["drop_before", "drop_after", "truncate"]) {
            await mock("POST", "faults", {path: "/api/notes", method: "POST", kind, times: 1});
            outcomes.push(await post("api/notes", {id: kind, text: kind}, accessToken).then(
                (answer) => answer.text().then(() => "read", () => answer.status), (error) => error.name));
        }
        const headers = {Authorization: `Bearer ${accessToken}`};
        const {notes} = await (await fetch("/api/notes", {headers})).json();
        return [outcomes, notes.map((note) => note.id)];
        """
    )
    assert outcomes == [["TypeError", "TypeError", 201], ["drop_after", "truncate"]]


def test_a_slow_answer_arrives_and_a_redirect_leads_on(tab: Tab) -> None:
    """What is delayed comes later than what was asked for after it; a redirect ends where it points."""
    assert tab.run(
        """
        await mock("POST", "faults", {path: "/api/data/slow", kind: "delay", delay: 0.2});
        await mock("POST", "faults", {path: "/api/data/moved", kind: "redirect", location: "/api/data/there"});
        const order = [];
        const slow = fetch("/api/data/slow").then(() => order.push("slow"));
        await fetch("/api/data/quick").then(() => order.push("quick"));
        await slow;
        return [order, (await fetch("/api/data/moved")).url.endsWith("/api/data/there")];
        """
    ) == [["quick", "slow"], True]


def test_a_request_that_is_posted_twice_is_carried_out_once(tab: Tab) -> None:
    """The service worker posts again while it has no sign; the host takes it once and says so each time."""
    said = tab.run(
        """
        const head = {origin: location.origin, method: "POST", path: "/api/auth/login", query: "", headers: []};
        const body = new TextEncoder().encode('{"username": "ada", "password": "lovelace"}').buffer;
        const channel = new BroadcastChannel("freshfetch server /");
        const parts = [];
        const done = new Promise((resolve) => channel.onmessage = ({data}) => {
            if (data.id === "twice" && data.host) parts.push(data.part);
            if (parts.length === 3) resolve();
        });
        for (let n = 0; n < 2; n++) channel.postMessage({id: "twice", part: "ask", head: JSON.stringify(head), body});
        await done;
        channel.close();
        return [parts.sort(), (await journal(() => true)).length];
        """
    )
    assert said == [["taken", "taken", "whole"], 1]


def test_a_request_that_has_been_refused_meanwhile_is_not_carried_out(tab: Tab) -> None:
    """A host that was busy finds what was posted seconds ago, and answered 503 since: it takes only the newer one."""
    said = tab.run(
        """
        const head = {origin: location.origin, method: "POST", path: "/api/auth/login", query: "", headers: []};
        const body = new TextEncoder().encode('{"username": "ada", "password": "lovelace"}').buffer;
        const ask = {part: "ask", head: JSON.stringify(head), body};
        const channel = new BroadcastChannel("freshfetch server /");
        const parts = [];
        const done = new Promise((resolve) => channel.onmessage = ({data}) => {
            if (data.host) parts.push([data.id, data.part]);
            if (data.part === "whole") resolve();
        });
        channel.postMessage({...ask, id: "old", at: Date.now() - 2000});
        channel.postMessage({...ask, id: "new", at: Date.now()});
        await done;
        channel.close();
        return [parts, (await journal(() => true)).length];
        """
    )
    assert said == [[["new", "taken"], ["new", "whole"]], 1]


def test_a_host_that_goes_on_starting_is_not_waited_for_for_ever(tab: Tab) -> None:
    """It says so again and again for longer than two minutes: 503."""
    starting = """
        channel.postMessage = (message) => calls.get(message.id).hear({part: "starting", host: "busy"});
    """
    tab.run("void navigator.locks.request('freshfetch server / busy', () => new Promise(() => {}))")
    with in_service_worker(tab, FASTER + starting):
        assert tab.run("return (await login()).status") == 503


def test_an_address_of_the_server_can_be_gone_to(tab: Tab, blank: Tab) -> None:
    """While a page is open that has chosen the embedded server, it answers navigations: a sign-in page has to be."""
    tab.run("await mock('PUT', 'settings', {grace: 7})")
    blank.open(f"{tab.run('return location.origin')}/mock/settings")
    assert json.loads(blank.run("return document.body.textContent"))["grace"] == 7


def test_what_belongs_to_a_request_reaches_the_server(tab: Tab) -> None:
    """Method, query, encoded path, headers and a body of bytes; and answers without a body, or with HEAD, have none."""
    sent = tab.run(
        """
        const {accessToken, refreshToken} = await (await login()).json();
        const headers = {Authorization: `Bearer ${accessToken}`, "X-Request-Id": "r1", "X-Twice": "a"};
        const body = new Uint8Array([0, 255, 10]);
        const echo = await (await fetch("/api/echo?x=1", {method: "POST", headers, body})).json();
        const {name} = await (await fetch("/api/data/a%20%C3%A9", {headers})).json();
        const {status} = await post("api/auth/logout", {refreshToken});
        const head = await fetch("/mock/settings", {method: "HEAD"});
        const part = await (await fetch("/mock/journal?requestId=r1&limit=1")).json();
        return [echo.bodyLength, echo.headers["x-twice"], echo.headers.host === location.host, name, status,
                [head.status, await head.text()], part.entries.length];
        """
    )
    assert sent == [3, "a", True, "a é", 204, [200, ""], 1]


def test_a_reader_who_leaves_is_noticed(tab: Tab) -> None:
    """An answer that has begun and is given up ends at the server, too."""
    tab.run(
        """
        await mock("POST", "faults", {path: "/api/data", kind: "stall_body"});
        const giveUp = new AbortController();
        await fetch("/api/data", {signal: giveUp.signal});
        giveUp.abort();
        await journal(([entry]) => entry.done);
        """
    )


def test_without_a_shared_worker_the_tabs_take_turns(tab: Tab, new_tab: NewTab) -> None:
    """Each tab has a worker, one of them the lock; when its tab is closed the next one goes on with what was known."""
    kill_host(tab)
    tab.close()
    first = new_tab("delete window.SharedWorker")
    first.run("window.tokens = await (await login()).json()")
    second = new_tab("delete window.SharedWorker")
    assert len(second.run("return journal(() => true)")) == 1
    assert workers(second, "shared_worker") == []
    refreshed = "return (await post('api/auth/refresh', given[0])).status"
    tokens = first.run("return tokens")
    first.close()
    assert second.run(refreshed, {"refreshToken": tokens["refreshToken"]}) == 200
    assert len(second.run("return journal(() => true)")) == 1


def test_a_server_that_cannot_start_is_a_503(browser: Chromium, static_site: str, tmp_path: Path) -> None:
    """Its archive is missing: told at once, with the time to wait; when it is there again, so is the server."""
    site = tmp_path / "some" / "prefix"
    archived = (site / "server.zip").rename(site / "away.zip")
    tab = Tab(browser, static_site, root="/some/prefix/").open()
    assert tab.run("return freshfetchServer.reachable")
    refused = "const answer = await login(); return [answer.status, answer.headers.get('Retry-After')]"
    assert tab.run(refused) == [503, "2"]
    archived.rename(site / "server.zip")
    assert tab.run("let answer; do answer = await login(); while (answer.status === 503); return answer.status") == 200


def test_a_server_that_says_nothing_is_a_503(tab: Tab) -> None:
    """Nobody takes the request for a quarter of a minute."""
    with in_service_worker(tab, "channel.postMessage = () => {};" + FASTER):
        answer = tab.run("const {status, headers} = await login(); return [status, headers.get('Retry-After')]")
    assert answer == [503, "2"]


@pytest.mark.parametrize("lives,status", [(True, 200), (False, 503)])
def test_a_server_that_is_starting_is_waited_for_while_it_lives(tab: Tab, lives: bool, status: int) -> None:
    """It said so once, and is then busy for a minute; a worker that has ended meanwhile is not waited for."""
    if lives:
        tab.run("void navigator.locks.request('freshfetch server / busy', () => new Promise(() => {}))")
    busy = """
        const post = channel.postMessage.bind(channel);
        let since = null;
        channel.postMessage = (message) => {
            if (!since) calls.get(message.id).hear({part: "starting", host: "busy"});
            since ??= Date.now();
            if (Date.now() - since > 60_000) post(message);
        };
    """
    with in_service_worker(tab, FASTER + busy):
        assert tab.run("return (await login()).status") == status


def test_a_request_that_is_never_answered_ends(tab: Tab) -> None:
    """After four minutes, before the browser would end the service worker and all that waits for it."""
    tab.run("await mock('POST', 'faults', {path: '/api/data', kind: 'stall'})")
    with in_service_worker(tab, FASTER):
        assert tab.run("return said(fetch('/api/data'))") == "TypeError"
    assert tab.run("return (await journal(([entry]) => entry.done)).length") == 1


def test_the_real_server_of_the_same_origin_is_reached_again(tab: Tab, server: Server) -> None:
    """A page that has not chosen the embedded server removes the service worker, and is not answered by it before."""
    plain = f"{server.url}{LIGHT}"
    assert tab.open(plain).run("return (await login()).status") == 200
    assert [entry["path"] for entry in server.journal()] == ["/api/auth/login"]
    assert tab.run("await freshfetchServer.reachable; return navigator.serviceWorker.getRegistrations()") == []
    assert tab.open(plain).run("return navigator.serviceWorker.controller") is None


def test_a_page_that_chose_nothing_is_not_answered(tab: Tab, server: Server) -> None:
    """Another page of the origin, below the service worker, talks to the server it came from."""
    other = tab.open(f"{server.url}/harness/site.py")
    assert other.run("return [!!navigator.serviceWorker.controller, (await login()).status]") == [True, 200]
    assert [entry["path"] for entry in server.journal()] == ["/api/auth/login"]
