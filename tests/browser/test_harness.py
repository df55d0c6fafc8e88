"""The harness itself: what every other browser test takes for granted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mock_server.testing import Server
from tests.browser.harness.chromium import Chromium, Page, run_together

HOLD = """
    import asyncio, time
    import js
    from pyodide.ffi import create_proxy

    async def hold(lock):
        held_from = time.time()
        await asyncio.sleep(0.2)
        spans.append((held_from, time.time()))

    spans = []
    proxy = create_proxy(hold)
    await js.navigator.locks.request("a lock", proxy)
    proxy.destroy()
    spans[0]
"""


def test_python_runs_in_the_page(page: Page) -> None:
    """Code with await runs in Pyodide, takes variables, and gives back the value of its last expression."""
    version, total = page.run(
        "import asyncio, sys; await asyncio.sleep(0); [sys.platform, sum(numbers)]", numbers=[1, 2]
    )
    assert version == "emscripten"
    assert total == 3


def test_names_live_until_the_page_is_loaded_again(page: Page) -> None:
    """One call sees what an earlier one assigned; a reload forgets it."""
    page.run("answer = 42")
    assert page.run("answer") == 42
    page.load()
    assert page.run("'answer' in globals()") is False


def test_an_exception_in_the_page_fails_the_test_with_its_traceback(page: Page) -> None:
    """A failure tells the line of Python that failed."""
    with pytest.raises(AssertionError, match=r"await fail\(\)\n(.*\n)*ZeroDivisionError"):
        page.run("""
            async def fail():
                1 / 0
            await fail()
        """)


def test_the_library_and_the_contracts_can_be_imported(page: Page) -> None:
    """The page holds the files of the repository, not an installed copy."""
    assert page.run("import freshfetch; freshfetch.__file__") == "/site/freshfetch/__init__.py"
    page.run("import tests.contracts")


def test_windows_share_local_storage(page: Page, new_window: Callable[[], Page]) -> None:
    """Two windows are two tabs of one person; what one stores, the other one sees soon."""
    other = new_window()
    page.run("import js; js.localStorage.setItem('greeting', 'hello')")
    seen = """
        import asyncio, js
        while not js.localStorage.getItem("greeting"):
            await asyncio.sleep(0.01)
        js.localStorage.getItem("greeting")
    """
    assert other.run(seen) == "hello"


def test_windows_run_in_processes_of_their_own(page: Page, new_window: Callable[[], Page]) -> None:
    """A window that computes stops nobody but itself, as with real tabs; races between them are real."""
    busy = "import time; time.sleep(2); time.time()"
    waiting = "import asyncio, time; await asyncio.sleep(0.5); time.time()"
    ended, awoke = run_together([(page, busy), (new_window(), waiting)])
    assert awoke < ended


def test_a_web_lock_has_one_holder_in_all_windows(page: Page, new_window: Callable[[], Page]) -> None:
    """What holds the lock in one window keeps the other one out."""
    spans = run_together([(page, HOLD), (new_window(), HOLD)])
    first, second = sorted(spans)
    assert first[1] <= second[0]


def test_code_runs_in_several_windows_at_the_same_time(page: Page, new_window: Callable[[], Page]) -> None:
    """No window waits for another one's code."""
    code = "import asyncio, time; start = time.time(); await asyncio.sleep(1); [start, time.time()]"
    spans = run_together([(each, code) for each in (page, new_window(), new_window())])
    assert max(start for start, _ in spans) < min(end for _, end in spans)


@pytest.mark.parametrize("attempt", [1, 2])
def test_nothing_is_left_of_the_test_before(page: Page, server: Server, attempt: int) -> None:
    """Storage, IndexedDB and the server's memory are empty, and there is a window, whatever a test leaves behind."""
    assert page.run("import js; [js.localStorage.length, len(await js.indexedDB.databases())]") == [0, 0]
    assert server.journal() == []
    page.run("""
        js.localStorage.setItem("left", "over")
        js.indexedDB.open("left over")
        (await js.fetch("/api/heartbeat")).status
    """)
    assert [entry["status"] for entry in server.journal("/api/heartbeat")] == [401]
    server.stop()
    page.close()


def test_a_new_tab_hides_the_page(page: Page, browser: Chromium, server: Server) -> None:
    """What depends on visibility can be tested for real."""
    assert page.script("return document.visibilityState") == "visible"
    watch = page.start("""
        import asyncio, js
        while not js.document.hidden:
            await asyncio.sleep(0.05)
        js.document.visibilityState
    """)
    browser.open_window(server.url, "tab")
    assert watch.result() == "hidden"


def test_the_server_comes_back_at_the_same_address(page: Page, server: Server) -> None:
    """A test may take the server down and up while a page is open."""
    url = server.url
    server.stop()
    fetch = "import js; (await js.fetch('/api/heartbeat')).status"
    with pytest.raises(AssertionError, match="Failed to fetch"):
        page.run(fetch)
    server.start()
    assert server.url == url
    assert page.run(fetch) == 401


def test_another_browser_shares_nothing(page: Page, server: Server, new_browser: Callable[[], Chromium]) -> None:
    """Another browser is another person."""
    page.run("import js; js.localStorage.setItem('greeting', 'hello')")
    stranger = new_browser().open(server.url)
    assert stranger.run("import js; js.localStorage.length") == 0


def test_the_standard_library_comes_as_bytecode_with_its_source_beside_it(page: Page) -> None:
    """So that nothing has to be compiled at each start, and a traceback still shows lines."""
    page.run("import inspect, json, sys, zipimport; specs = [each.__spec__ for each in sys.modules.values()]")
    page.run("origins = [each.origin for each in specs if each and isinstance(each.loader, zipimport.zipimporter)]")
    assert page.run("len(origins)") > 50
    assert page.run("[origin for origin in origins if not origin.endswith('.pyc')]") == []
    assert page.run("inspect.getsource(json.loads).splitlines()[0]").startswith("def loads(")
