"""The browser's adapters keep the contracts of the ports, in every engine (the ones in memory: tests/unit)."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.harness.page import Page, run_together
from tests.contracts import channel, lock, token_store, transport

LIBRARY = """
    import json
    import js
    from pyodide.ffi import to_js
    from freshfetch.browser import FetchTransport, TabChannel, WebLock, WebTokenStore
    from tests.contracts import channel, lock, token_store, transport

    async def server(method, path, content):
        options = {"method": method, "headers": {"content-type": "application/json"}, "body": json.dumps(content)}
        response = await js.fetch(path, to_js(options, dict_converter=js.Object.fromEntries))
        assert response.ok, await response.text()

    makers = {
        "local": lambda: WebTokenStore.local(name),
        "session": lambda: WebTokenStore.session(name),
        "lock": WebLock,
        "channel": lambda: TabChannel(name),
        "transport": FetchTransport,
    }
"""
SUITES = {
    "local": token_store,
    "session": token_store,
    "lock": lock,
    "channel": channel,
    "transport": transport,
}
INCREMENT = """
    from freshfetch.browser import WebLock, WebTokenStore
    from tests.contracts.token_store import a_record

    store, web_lock = WebTokenStore.local("counter"), WebLock()
    refused = 0
    for _ in range(200):
        async with web_lock.hold("counter", 60):
            generation = await store.make_current()
            record = store.load()
            behind = 0 if record is None else record.generation
            refused += not await store.commit(a_record(behind + 1), expected=generation)
    refused
"""


def test_the_adapters_keep_their_contracts(page: Page) -> None:
    """Every check of each port's suite holds, each under a name of its own."""
    page.run(LIBRARY)
    for adapter, suite in SUITES.items():
        module = suite.__name__.rpartition(".")[2]
        arguments = "makers[adapter], server" if adapter == "transport" else "makers[adapter]"
        for number, check in enumerate(suite.CHECKS):
            page.run(f"await {module}.{check.__name__}({arguments})", adapter=adapter, name=f"contract {number}")


def test_two_windows_lose_no_update(page: Page, new_window: Callable[[], Page]) -> None:
    """Each adds one to the record's generation under the lock, 200 times: it ends at 400, no commit refused."""
    assert run_together([(page, INCREMENT), (new_window(), INCREMENT)]) == [0, 0]
    assert page.run("await store.make_current(), store.load().generation") == [400, 400]
