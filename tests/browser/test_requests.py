"""One tab: what the server sees when a browser's own fetch carries the requests."""

from __future__ import annotations

from collections import Counter

import pytest

from mock_server.testing import Server
from tests.browser.harness.chromium import Page

SESSION = """
    import asyncio, json
    import freshfetch, js
    from freshfetch.browser import connect
    from pyodide.ffi import to_js

    session = connect("/api/auth", heartbeat=freshfetch.HeartbeatPolicy(url=None))
    events = []
    session.subscribe(events.append)
"""


@pytest.fixture
def ada(page: Page, server: Server) -> Page:
    """A page in which ada is signed in; the journal starts afterwards."""
    page.run(SESSION + '    await session.sign_in("ada", "lovelace")')
    server.forget_journal()
    return page


def test_a_thousand_requests_with_a_revoked_token_cost_one_refresh(ada: Page, server: Server) -> None:
    """The journal shows one refresh, at most six refusals and N + 7 requests, none sent more than twice."""
    server.expire()
    answered = ada.run("""
        answers = await asyncio.gather(*(session.fetch(f"/api/data/{n}") for n in range(1000)))
        sum(answer.ok for answer in answers)
    """)
    journal = server.journal()
    assert answered == 1000
    assert sum(entry["path"] == "/api/auth/refresh" for entry in journal) == 1
    assert sum(entry["status"] == 401 for entry in journal) <= 6
    assert len(journal) <= 1007
    assert max(Counter(entry["path"] for entry in journal).values()) <= 2


def test_a_post_is_replayed_byte_for_byte(ada: Page, server: Server) -> None:
    """A POST whose token is refused is sent again with the same body, once."""
    server.expire()
    echoed = ada.run("""
        response = await session.fetch("/api/echo", method="POST", body="grüße".encode())
        await response.json()
    """)
    assert echoed["body"] == "grüße"
    assert [entry["status"] for entry in server.journal("/api/echo")] == [401, 200]


@pytest.mark.parametrize("change", ["form.append('late', 'x')", "pass"])
def test_a_form_with_a_file_is_replayed_as_it_was_when_asked(ada: Page, server: Server, change: str) -> None:
    """FormData is copied at the call: what is added afterwards is not sent, the file is sent twice whole."""
    server.expire()
    echoed = ada.run(f"""
        form = js.FormData.new()
        form.append("note", "hello")
        form.append("file", js.File.new(to_js(["contents of the file"]), "a.txt"))
        asked = session.fetch("/api/echo", method="POST", body=form)
        {change}
        await (await asked).json()
    """)
    assert "contents of the file" in echoed["body"]
    assert 'filename="a.txt"' in echoed["body"]
    assert "late" not in echoed["body"]
    assert [entry["status"] for entry in server.journal("/api/echo")] == [401, 200]


def test_a_blob_is_replayed_whole(ada: Page, server: Server) -> None:
    """A Blob can be sent twice."""
    server.expire()
    echoed = ada.run("""
        blob = js.Blob.new(to_js(["contents"]))
        await (await session.fetch("/api/echo", method="POST", body=blob)).json()
    """)
    assert echoed["body"] == "contents"


def test_what_the_caller_aborts_is_no_outage(ada: Page, server: Server) -> None:
    """An AbortSignal of the caller's ends the request with an error of its own, and the session stays online."""
    server.fault(path="/api/data", kind="stall")
    ended = ada.run("""
        controller = js.AbortController.new()
        asked = asyncio.ensure_future(session.fetch("/api/data", signal=controller.signal))
        await asyncio.sleep(0.1)
        controller.abort()
        outcome = (await asyncio.gather(asked, return_exceptions=True))[0]
        [type(outcome).__name__, session.state.name]
    """)
    assert ended == ["RequestAbortedError", "SIGNED_IN"]


def test_a_cancelled_caller_lets_go_of_the_connection(ada: Page, server: Server) -> None:
    """Cancelling the task aborts its fetch: six that stall and are cancelled leave the browser free for a seventh."""
    server.fault(path="/api/data/slow", kind="stall")
    status = ada.run("""
        slow = [asyncio.ensure_future(session.fetch("/api/data/slow", cache="no-store")) for _ in range(6)]
        await asyncio.sleep(0.1)
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)
        (await session.fetch("/api/data/quick", timeout=20)).status
    """)
    assert status == 200


def test_no_token_goes_to_another_origin(ada: Page, server: Server) -> None:
    """However a foreign URL is written, what leaves for it carries no Authorization."""
    authorized = ada.run("""
        from freshfetch.browser import FetchTransport, PagePresence, TabChannel, WebLock, WebTokenStore
        from freshfetch.memory import SystemClock

        class Spy(FetchTransport):
            async def send(self, request):
                seen.append("authorization" in request.headers)
                raise freshfetch.TransportError("not sent")

        seen = []
        watched = freshfetch.Session(
            freshfetch.JsonAuthServer(), transport=Spy(), store=WebTokenStore.local("default"), lock=WebLock(),
            channel=TabChannel("default"), clock=SystemClock(), presence=PagePresence(),
        )
        port = js.location.port
        for url in (
            "/api/data",
            f"http://localhost:{port}/api/data", f"//localhost:{port}/api/data", "https://127.0.0.1/api/data",
            f"http:\\\\\\\\localhost:{port}\\\\data", f"http://127.0.0.1.evil.example:{port}/", "https:evil.example",
            f" http://[::1]:{port}/", f"http://127.0.0.1:{int(port) + 1}/", "data:text/plain,x",
        ):
            await asyncio.gather(watched.fetch(url), return_exceptions=True)
        seen
    """)
    assert authorized == [True] + [False] * 9


def test_the_refresh_token_is_not_sent_after_a_redirect(ada: Page, server: Server) -> None:
    """A token endpoint that redirects elsewhere is a passing failure: nothing follows it, nobody is signed out."""
    server.fault(path="/api/auth/refresh", kind="redirect", location="/api/echo", times=1)
    outcome = ada.run("""
        outcome = (await asyncio.gather(session.refresh(), return_exceptions=True))[0]
        [type(outcome).__name__, session.subject]
    """)
    assert outcome == ["RefreshUnavailableError", "ada"]
    assert server.journal("/api/echo") == []


def test_clearing_site_data_while_signed_in_is_a_sign_out_and_no_more(ada: Page, server: Server) -> None:
    """Storage and IndexedDB are gone, connections closed: signed out; signing in works, and is fenced as before."""
    origin = {"origin": server.url, "storageTypes": "local_storage,indexeddb"}
    ada.run("await session.refresh()")
    ada.focus().execute_cdp_cmd("Storage.clearDataForOrigin", origin)
    out = ada.run("""
        await asyncio.gather(session.fetch("/api/data"), return_exceptions=True)
        while session.state is not freshfetch.State.SIGNED_OUT:
            await asyncio.sleep(0.02)
        (await session.fetch("/api/data")).status
    """)
    assert out == 401
    again = ada.run("""
        from freshfetch.browser._fence import Fence

        await session.sign_in("ada", "lovelace")
        await session.refresh()
        record = json.loads(js.localStorage.getItem("freshfetch:default"))
        mark = await Fence("freshfetch:default").read()
        [(await session.fetch("/api/data")).status, mark.present, mark.generation == record["generation"]]
    """)
    assert again == [200, True, True]


def test_a_browser_whose_indexeddb_never_answers_holds_nothing_up(page: Page, server: Server) -> None:
    """Opening the database takes for ever: signing in, a refresh and signing out work without it."""
    page.script("IDBFactory.prototype.open = () => ({})")
    page.run(SESSION + '    await session.sign_in("ada", "lovelace")')
    server.expire()
    assert page.run('[(await session.fetch("/api/data")).status, session.state.name]') == [200, "SIGNED_IN"]
    assert page.run("await session.sign_out(); session.state.name") == "SIGNED_OUT"
