"""The built site as a person meets it: from a plain static host, below a path, with the server inside the browser."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.browser.fixtures import BROWSER
from tests.browser.harness.chromium import NOTHING_KEPT, Chromium
from tests.browser.harness.notes_page import NotesPage
from tests.browser.harness.scenes import played, press, ready, told
from tests.browser.harness.site import HARNESS
from tests.browser.harness.static_host import PREFIX, StaticHost

ROOT = Path(__file__).resolve().parents[2]
INPAGE = HARNESS.parent / "inpage"
KEPT = """
    return (async () => {
        const complete = [];
        for (const name of await caches.keys())
            if (await (await caches.open(name)).match(new URL(".", location))) complete.push(name);
        return complete.join(" ");
    })();
"""
PYTHON = """
    const [expression, done] = arguments;
    const url = document.querySelector('script[src$="pyodide.mjs"]').src;
    return import(url).then(({ loadPyodide }) => loadPyodide())
        .then((python) => String(python.runPython(`import random, sys, time\n${expression}`)));
"""
# A browser looks for a new service worker some time after a page was loaded; it is there when it takes over the page.
NEXT_WORKER = "navigator.serviceWorker.addEventListener('controllerchange', () => (window.nextWorker = true))"
NO_WORKER = {
    "no service worker": "Object.defineProperty(Navigator.prototype, 'serviceWorker', {get() {}})",
    "no shared worker": "SharedWorker = class { constructor() { throw new DOMException('no', 'SecurityError'); } }",
}
# And the ten seconds in which it should have come are over at once.
LATE_WORKER = """
    const may = new Promise((resolve) => (window.letRegister = resolve));
    const register = ServiceWorkerContainer.prototype.register;
    ServiceWorkerContainer.prototype.register = async function (...given) {
        await may;
        return register.apply(this, given);
    };
    const later = setTimeout;
    window.setTimeout = (act, wait, ...given) => later(act, wait === 10_000 ? 0 : wait, ...given);
"""
CONTROLLED = "return navigator.serviceWorker.controller?.scriptURL"
FETCHED = "return performance.getEntriesByType('resource').map((entry) => entry.name)"


@pytest.fixture
def host(built: Path, module_browser: Chromium, request: pytest.FixtureRequest) -> Iterator[StaticHost]:
    """A host that serves it, unknown to the browser. At the end no policy has refused anything."""
    host = StaticHost(built)
    request.node.stash[BROWSER] = module_browser
    module_browser.forget(host.origin)
    yield host
    host.stop()
    assert module_browser.refused_by_policy() == []


@pytest.fixture
def open_page(host: StaticHost, module_browser: Chromium) -> Iterator[Callable[[], NotesPage]]:
    """Open windows with the page; none asks another origin for anything."""
    pages: list[NotesPage] = []

    def open_one() -> NotesPage:
        if pages:
            module_browser.driver.switch_to.new_window("window")
        pages.append(NotesPage(module_browser, host.url))
        return pages[-1].open()

    yield open_one
    for page in pages:
        assert [url for url in page.script(FETCHED) if not url.startswith(host.url)] == []
        assert page.violations() == []


def is_kept(page: NotesPage, build: str) -> bool:
    """Tell whether the browser has kept all of a build, or more than that."""
    return build in str(page.script(KEPT))


def kept(page: NotesPage) -> str:
    """Wait until the browser has kept a whole build; return the name of its cache."""
    return page.until(lambda: str(page.script(KEPT) or ""), "the files to be kept")


def build_of(page: NotesPage) -> set[str]:
    """Return the folders of the builds that a page has its files from."""
    return set(re.findall(r"/(build-[0-9a-f]+)/", " ".join([*page.script(FETCHED), page.driver.page_source])))


def test_it_works_below_a_path_and_everything_survives_reloads(open_page: Callable[[], NotesPage]) -> None:
    """Sign in, a note, a reload, a reload past all caches: still signed in, the note there, the next one saved."""
    page = open_page().sign_in()
    page.add_note("from a static host")
    page.wait_for_note("from a static host")
    page.open().wait_for_note("from a static host")
    page.driver.execute_cdp_cmd("Page.reload", {"ignoreCache": True})
    page.ready().wait_for_note("from a static host")
    page.add_note("after both")
    page.wait_for_note("after both")
    page.until(lambda: page.script("return !document.querySelector('#timeline-drawing')?.hidden"), "the timeline")


def test_a_first_visit_fetches_each_file_once(open_page: Callable[[], NotesPage], host: StaticHost) -> None:
    """Page, worker and what keeps the files for later: each file comes from the host once, and every file is used."""
    page = open_page()
    page.sign_in()
    kept(page)
    files = {path.relative_to(host.folder).as_posix() for path in host.folder.rglob("*") if path.is_file()}
    assert {path: count for path, count in host.sent.items() if count > 1 and path.startswith("build-")} == {}
    assert {path for path in host.sent if path.startswith("build-")} == {path for path in files if "/" in path}


def test_two_tabs_share_what_the_server_knows(open_page: Callable[[], NotesPage]) -> None:
    """The second window is signed in at once, and has the first one's note."""
    first = open_page().sign_in()
    first.add_note("from the first")
    first.wait_for_note("from the first")
    second = open_page()
    second.until(lambda: second.seen("#who") == "ada", "ada in the second window")
    second.wait_for_note("from the first")


def test_the_next_visit_needs_no_network(open_page: Callable[[], NotesPage], host: StaticHost) -> None:
    """The host is gone: the page starts, is signed in, and saves a note."""
    page = open_page().sign_in()
    kept(page)
    host.asked.clear()
    host.stop()
    page.open().add_note("nobody is there")
    page.wait_for_note("nobody is there")
    assert page.find("#sign-in-form").is_displayed() is False
    assert host.asked == {}


def test_an_update_comes_whole(open_page: Callable[[], NotesPage], host: StaticHost, tmp_path: Path) -> None:
    """A new build is on the host: the next visit is all old, a later one all new, and two builds are kept."""
    page = open_page()
    old = kept(page).split()[-1]
    assert build_of(page) == {old}
    for number in (1, 2):
        new = f"build-{number:012x}"
        host.folder = rebuilt(host.folder, tmp_path / new, new)
        before = build_of(page.open())
        page.until(partial(is_kept, page, new), "the new files")
        assert len(before) == 1
        assert build_of(page.open()) == {new}
    names = page.until(lambda: page.script("return caches.keys().then((names) => names[2] ? null : names)"), "two")
    assert [name.split()[-1] for name in names] == [f"build-{number:012x}" for number in (1, 2)]


def test_a_build_that_does_not_start_is_got_over(
    open_page: Callable[[], NotesPage], host: StaticHost, tmp_path: Path
) -> None:
    """It was kept by a visit to the one before, and never ran. The next one that is on the host takes its place."""
    page = open_page()
    kept(page)
    good = host.folder
    broken = rebuilt(good, tmp_path / "build-0000000000aa", "build-0000000000aa")
    (broken / broken.name / "app" / "main.py").write_text("raise RuntimeError\n")
    host.folder = broken
    page.open()
    page.until(partial(is_kept, page, broken.name), "what does not start")
    page.driver.get(host.url)
    page.until(lambda: page.find("#boot-failed").is_displayed(), "the sentence")
    # Not written in the second in which the other was: then the host would say that nothing has changed.
    mended = host.folder = rebuilt(good, tmp_path / "build-0000000000bb", "build-0000000000bb")
    page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": NEXT_WORKER})
    page.driver.get(host.url)
    page.until(lambda: page.script("return window.nextWorker"), "the next service worker")
    assert build_of(page.open()) == {mended.name}


def test_a_build_that_cannot_be_kept_whole_leaves_nothing_behind(
    open_page: Callable[[], NotesPage], host: StaticHost, tmp_path: Path
) -> None:
    """One of its files is not to be had: it is used from the host, and takes up no room."""
    page = open_page()
    old = kept(page).split()[-1]
    new = rebuilt(host.folder, tmp_path / "build-0000000000cc", "build-0000000000cc")
    (new / new.name / "vendor" / "pico" / "LICENSE.md").unlink()
    host.folder = new
    page.open()
    page.until(lambda: host.asked[f"{new.name}/vendor/pico/LICENSE.md"], "the attempt")
    page.until(lambda: [name.split()[-1] for name in page.script("return caches.keys()")] == [old], "its end")
    assert build_of(page.open()) == {new.name}


@pytest.mark.parametrize("how", NO_WORKER)
def test_a_server_that_cannot_be_started_is_said_where_one_signs_in(
    module_browser: Chromium, host: StaticHost, how: str
) -> None:
    """A sentence with what to do, above the form, and not that Python did not start."""
    page = NotesPage(module_browser, host.url)
    command = "Page.addScriptToEvaluateOnNewDocument"
    script = module_browser.driver.execute_cdp_cmd(command, {"source": NO_WORKER[how]})
    page.open()
    page.until(lambda: page.find("#server-missing").is_displayed(), "the sentence")
    assert not page.find("#boot-failed").is_displayed()
    assert page.find("#sign-in-form").is_displayed()
    page.until(lambda: page.script("return document.getElementById('server-panel').hidden"), "its panel to go")
    module_browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_a_server_that_could_not_be_loaded_is_loaded_by_the_next_visit(
    module_browser: Chromium, host: StaticHost, tmp_path: Path
) -> None:
    """The interpreter does not come: the page says so, its worker ends instead of waiting, a reload puts it right."""
    whole, broken = host.folder, tmp_path / "broken"
    shutil.copytree(whole, broken)
    next(broken.rglob("pyodide.asm.wasm.packed")).unlink()
    host.folder = broken
    page = NotesPage(module_browser, host.url)
    page.driver.get(host.url)
    page.until(lambda: page.find("#boot-failed").is_displayed(), "the sentence")
    assert page.script("return fetch('api/data').then(({status}) => status)") == 503
    host.folder = whole
    page.open().sign_in()


def test_a_server_that_comes_late_is_waited_for(module_browser: Chromium, host: StaticHost) -> None:
    """Its service worker takes its time: nothing goes to the static host meanwhile, and everything is there then."""
    page = NotesPage(module_browser, host.url)
    command = "Page.addScriptToEvaluateOnNewDocument"
    script = module_browser.driver.execute_cdp_cmd(command, {"source": LATE_WORKER})
    page.open()
    page.until(lambda: page.find("#server-missing").is_displayed(), "word that it is missing")
    page.type("#username", "ada")
    page.type("#password", "lovelace")
    page.press("#sign-in-button")
    page.until(lambda: "cannot be reached" in page.seen("#sign-in-message"), "the message")
    assert [path for path in host.asked if path.startswith(("api/", "mock/"))] == []
    page.script("letRegister()")
    page.until(lambda: not page.find("#server-missing").is_displayed(), "the server")
    page.sign_in()
    page.until(lambda: not page.script("return document.getElementById('scenarios').inert"), "the scenarios")
    module_browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def rebuilt(folder: Path, target: Path, name: str) -> Path:
    """Return a site that is like another one in everything but the name of its build."""
    (old,) = folder.glob("build-*")
    shutil.copytree(folder, target)
    (target / old.name).rename(target / name)
    for path in (target / "index.html", target / "service-worker.js", target / name / "pyscript.json"):
        path.write_text(path.read_text().replace(old.name, name))
    return target


def test_bytes_are_counted_and_what_is_typed_meanwhile_counts(module_browser: Chromium, host: StaticHost) -> None:
    """Half of the interpreter is there: so many megabytes of so many, and who signs in now is in when all has come."""
    host.held_back = "pyodide.asm.wasm.packed"
    page = NotesPage(module_browser, host.url)
    page.driver.get(host.url)
    page.until(lambda: re.search(r"\d\.\d of \d\.\d MB", page.seen("#boot-step")), "a count of bytes")
    half = float(page.find("#boot-progress").get_attribute("value") or 0)
    page.type("#username", "ada")
    page.type("#password", "lovelace")
    page.press("#sign-in-button")
    page.until(lambda: page.find("#boot-early").is_displayed(), "a word that it was heard")
    assert 18 < half < 64
    host.go_on.set()
    page.ready().until(lambda: page.seen("#who") == "ada", "ada to be signed in")


def in_python(page: NotesPage, script: str) -> str:
    """Return what a Python expression is worth in the page's own Python."""
    return str(page.script(PYTHON, script))


def from_image(page: NotesPage) -> bool:
    """Tell whether Python was started from the image."""
    return bool(page.script("return performance.getEntriesByName('freshfetch:from image').length"))


def places(page: NotesPage) -> set[str]:
    """Return where Python has found the library, the page and PyScript's package; and what lies where it works."""
    found = in_python(page, "' '.join(__import__(name).__file__ for name in ('freshfetch', 'page', 'pyscript'))")
    written = in_python(page, "' '.join(__import__('os').listdir())")
    return {re.sub(r"^/lib/python\d+", "", path) for path in f"{found} {written}".split()}


COMPILED = {f".zip/{name}/__init__.pyc" for name in ("freshfetch", "page", "pyscript")}


def test_what_is_kept_holds_an_image_that_is_nobodys_copy(
    open_page: Callable[[], NotesPage], module_browser: Chromium
) -> None:
    """Each visit after the first starts from it, and compiles nothing.

    Chance is never the same, and the time that of where the person is.
    """
    module_browser.driver.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kathmandu"})
    page = open_page()
    kept(page)
    page.open()
    assert from_image(page)
    assert places(page) == COMPILED
    assert in_python(page, "str((time.timezone, time.localtime(0)[3:5]))") == "(-20700, (5, 30))"
    first = in_python(page, "random.random()")
    assert in_python(page.open(), "random.random()") != first
    assert from_image(page)


@pytest.mark.parametrize("trouble", ["lost", "broken", "of another Pyodide", "stuck"])
def test_without_its_image_the_page_starts_all_the_same(
    module_browser: Chromium, host: StaticHost, tmp_path: Path, trouble: str
) -> None:
    """The host has lost it, has something else under its name, or stops in the middle: the modules are imported."""
    host.folder = shutil.copytree(host.folder, tmp_path / "site")
    (path,) = host.folder.rglob("python.image.packed")
    if trouble == "lost":
        path.unlink()
    elif trouble == "stuck":
        host.held_back = path.name
    else:
        path.write_bytes(b"no gzip" if trouble == "broken" else gzip.compress(bytes(1 << 20)))
    page = NotesPage(module_browser, host.url).open().sign_in()
    page.add_note("without an image")
    page.wait_for_note("without an image")
    assert not from_image(page)
    assert places(page) == COMPILED


def test_a_slow_line_is_spared_the_image(module_browser: Chromium, host: StaticHost) -> None:
    """The interpreter takes more than a moment: the modules come, which are a quarter of the image."""
    host.held_back = "pyodide.asm.wasm.packed"
    page = NotesPage(module_browser, host.url)
    page.driver.get(host.url)
    page.until(lambda: re.search(r"\d\.\d of \d\.\d MB", page.seen("#boot-step")), "a count of bytes")
    page.until(lambda: page.script("return performance.now() > 2000"), "more than a moment to be over")
    host.go_on.set()
    page.ready()
    assert not from_image(page)


def test_no_word_of_this_machine_is_in_the_image(built: Path) -> None:
    """The paths of who has built the site stay where they are."""
    (path,) = built.rglob("python.image.packed")
    image = gzip.decompress(path.read_bytes())
    assert [word for word in (str(ROOT), os.environ["PATH"]) if word.encode() in image] == []


def test_no_module_is_missing(built: Path) -> None:
    """All of the library, the page, the server and what it stands on can be imported, and what is imported late."""
    (build,) = built.glob("build-*")
    command = ["node", str(HARNESS / "imports.mjs"), str(build), str(INPAGE / "every_module.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]


@pytest.mark.parametrize("lost", ["pyodide.asm.wasm.packed", "core-*.js", "start.js", "pyscript.json"])
def test_a_failed_start_says_so(module_browser: Chromium, host: StaticHost, tmp_path: Path, lost: str) -> None:
    """The host has lost what it takes to start: a sentence, instead of a form that does nothing."""
    broken = tmp_path / "broken"
    shutil.copytree(host.folder, broken)
    next(broken.rglob(lost)).unlink()
    host.folder = broken
    page = NotesPage(module_browser, host.url)
    page.driver.get(host.url)
    page.until(lambda: page.find("#boot-failed").is_displayed(), "the sentence")
    assert PREFIX in page.driver.current_url


def test_where_nothing_may_be_kept_it_starts_and_says_what_is_missing(
    new_browser: Callable[..., Chromium], host: StaticHost
) -> None:
    """No database, no service worker, so no server inside the browser: said where one would sign in."""
    page = NotesPage(new_browser(preferences=NOTHING_KEPT), host.url).open()
    page.until(lambda: page.find("#server-missing").is_displayed(), "what is missing")
    assert not page.find("#boot-failed").is_displayed()


def test_every_scenario_is_played_by_the_server_inside_the_browser(open_page: Callable[[], NotesPage]) -> None:
    """All nine buttons, with their figures; nothing lost, nothing done twice, and in the end all is as it was."""
    page = open_page().sign_in()
    ready(page)
    page.type("#scene-seconds", "1")
    found = {name: played(page, name) for name in ("expire", "burst", "lost", "limit", "sleep", "race")}
    assert found == {
        "expire": (10, 1, 0, 0, 0),
        "burst": (200, 1, 0, 0, 0),
        "lost": (40, 2, 1, 0, 0),
        "limit": (20, 1, 1, 0, 0),
        "sleep": (20, 1, 0, 0, 0),
        "race": (80, 1, 0, 0, 0),
    }
    requests, refreshes, retries, *harm = played(page, "down")
    assert (requests, refreshes, harm) == (20, 1, [0, 0])
    assert retries >= 1
    played(page, "other")
    assert "20 withheld" in page.seen("#scene-other .scene-line")
    page.until(lambda: page.seen("#who") == "ada", "ada to be signed in again")
    press(page, "revoke")
    page.until(lambda: page.find("#sign-in-dialog").is_displayed(), "the dialog")
    page.type("#password", "lovelace")
    page.press("#sign-in-button")
    assert told(page, "revoke")[0] == 10
    assert "nothing was lost" in page.seen("#scene-revoke .scene-verdict")
    assert page.state == "signed-in"
    page.script("document.querySelector('#timeline-panel').scrollIntoView()")
    page.find(".timeline-axis .tick")
