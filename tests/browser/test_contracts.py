"""The browser's adapters keep the contracts of the ports, in real Chromium (the ones in memory: tests/unit)."""

from __future__ import annotations

import pytest

from tests.browser.harness.chromium import Page
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


@pytest.mark.parametrize("adapter", SUITES)
def test_the_adapter_keeps_its_contract(page: Page, adapter: str) -> None:
    """Every check of the port's suite holds, each under a name of its own."""
    page.run(LIBRARY)
    suite = SUITES[adapter]
    module = suite.__name__.rpartition(".")[2]
    arguments = "makers[adapter], server" if adapter == "transport" else "makers[adapter]"
    for number, check in enumerate(suite.CHECKS):
        page.run(f"await {module}.{check.__name__}({arguments})", adapter=adapter, name=f"contract {number}")
