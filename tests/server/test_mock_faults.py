"""Fault rules: which request they hit, what they do, and that the server did or did not do its part."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mock_server import rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.applications import Starlette
    from starlette.types import Message

    from mock_server.state import Server


@pytest.fixture
def fault(client: httpx.AsyncClient) -> Callable[..., Any]:
    """Set a rule, about data unless it says otherwise."""

    async def fault(**rule: object) -> int:
        answer = await client.post("/mock/faults", json={"path": "/api/data"} | rule)
        assert answer.status_code == 201, answer.text
        number: int = answer.json()["id"]
        return number

    return fault


async def statuses(person: Any, count: int, path: str = "/api/data") -> list[int]:
    """Ask so many times and list the statuses."""
    return [(await person.ask("GET", path)).status_code for _ in range(count)]


async def test_status_answers_in_place_of_the_app(ada: Any, fault: Any, server: Server) -> None:
    """The app is not asked: no effect, and the journal names the fault."""
    headers = {"Retry-After": "2", "X-Proxy": "a b"}
    await fault(path="/api/notes", kind="status", status=429, headers=headers, body={"a": [1, "ü"]})
    answer = await ada.ask("POST", "/api/notes", json={"text": "hi"})
    assert (answer.status_code, answer.json()) == (429, {"a": [1, "ü"]})
    assert (answer.headers["retry-after"], answer.headers["x-proxy"]) == ("2", "a b")
    assert answer.headers["content-type"] == "application/json"
    entry = server.journal.entries[-1]
    assert (entry.status, entry.fault, entry.effects) == (429, "status", [])
    assert server.notes.of("ada") == []


async def test_status_has_a_body_of_its_own(ada: Any, fault: Any) -> None:
    """Without a body in the rule the answer says where it comes from."""
    await fault(kind="status", status=500)
    assert (await ada.ask("GET", "/api/data")).json()["error"] == "mock_fault"


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_body_gets_none(ada: Any, fault: Any, status: int) -> None:
    """204 and 304 stay well-formed, whatever the rule says."""
    await fault(kind="status", status=status, body="x")
    answer = await ada.ask("GET", "/api/data")
    assert (answer.status_code, answer.content) == (status, b"")
    assert "content-length" not in answer.headers


async def test_body_replaces_what_the_app_said_after_it_was_done(ada: Any, fault: Any, effects: Any) -> None:
    """A refresh that succeeded looks like a proxy's error page, and the token has been rotated."""
    html = {"Content-Type": "text/html"}
    await fault(path="/api/auth/refresh", kind="body", body="<h1>Oops</h1>", headers=html, times=1)
    answer = await ada.redeem()
    assert (answer.status_code, answer.text) == (200, "<h1>Oops</h1>")
    assert answer.headers["content-length"] == "13"
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["cache-control"] == "no-store"
    assert effects()[-1] == "refreshed"


async def test_body_can_change_the_status_or_the_headers_alone(ada: Any, fault: Any, effects: Any) -> None:
    """The server commits and the gateway says 502; or a header goes missing."""
    await fault(path="/api/notes", kind="body", status=502)
    answer = await ada.ask("POST", "/api/notes", json={"text": "hi"})
    assert (answer.status_code, answer.json()["text"]) == (502, "hi")
    assert effects()[-1] == "note_created"
    await fault(path="/api/heartbeat", kind="body", headers={"WWW-Authenticate": None})
    answer = await ada.client.get("/api/heartbeat")
    assert (answer.status_code, answer.json()["error"]) == (401, "missing_token")
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize("body", [{}, [], 0, False, "", "null", {"accessToken": None}], ids=repr)
async def test_any_json_can_be_a_body(ada: Any, fault: Any, body: object) -> None:
    """Values that look like nothing are sent nevertheless; text is sent as it is."""
    await fault(kind="body", body=body)
    answer = await ada.ask("GET", "/api/data")
    assert answer.text == body if isinstance(body, str) else answer.json() == body


async def test_a_date_given_by_a_rule_is_left_alone(ada: Any, fault: Any) -> None:
    """A hostile Date can be injected; else every answer has the server's."""
    await fault(kind="body", headers={"Date": "yesterday"})
    assert (await ada.ask("GET", "/api/data")).headers["date"] == "yesterday"


async def test_redirect_leads_elsewhere(ada: Any, fault: Any) -> None:
    """By default 307, which keeps method and body; the app is not asked."""
    await fault(path="/api/auth/refresh", kind="redirect", location="http://127.0.0.2:1/elsewhere", times=1)
    answer = await ada.redeem()
    assert (answer.status_code, answer.headers["location"]) == (307, "http://127.0.0.2:1/elsewhere")
    await fault(path="/api/data", kind="redirect", location="/api/heartbeat", status=302)
    assert await statuses(ada, 1) == [302]
    await ada.refresh()


@pytest.mark.looptime
async def test_delay_waits_and_then_answers(ada: Any, fault: Any) -> None:
    """The app is asked when the delay is over."""
    loop = asyncio.get_running_loop()
    await fault(kind="delay", delay=100)
    before = loop.time()
    assert await statuses(ada, 1) == [200]
    assert loop.time() - before == pytest.approx(100)


@pytest.mark.looptime
async def test_every_kind_can_wait_first_and_latency_is_added(ada: Any, fault: Any, change: Any) -> None:
    """Delay is a field of every rule; latency concerns all of the API and not the controls."""
    loop = asyncio.get_running_loop()
    await change(latency=1)
    await fault(kind="status", status=500, delay=10, times=1)
    before = loop.time()
    assert await statuses(ada, 2) == [500, 200]
    assert loop.time() - before == pytest.approx(12)


async def test_drop_before_ends_the_request_and_the_app_never_hears_of_it(ada: Any, fault: Any, server: Server) -> None:
    """In one process a drop is a ConnectionResetError before any answer has started."""
    await fault(path="/api/notes", kind="drop_before")
    with pytest.raises(ConnectionResetError):
        await ada.ask("POST", "/api/notes", json={"text": "hi"})
    entry = server.journal.entries[-1]
    assert (entry.status, entry.fault, entry.effects) == (None, "drop_before", [])
    assert server.notes.of("ada") == []


async def test_drop_after_loses_the_answer_of_what_was_done(ada: Any, fault: Any, server: Server) -> None:
    """The effect is journaled, the status is not: no answer left."""
    await fault(path="/api/auth/refresh", kind="drop_after", times=1)
    with pytest.raises(ConnectionResetError):
        await ada.redeem()
    entry = server.journal.entries[-1]
    assert (entry.status, entry.user, entry.family, entry.effects) == (None, "ada", 1, ["refreshed"])
    again = await ada.redeem()
    assert again.status_code == 200
    assert server.journal.entries[-1].effects == ["grace_reissued"]


async def test_a_drop_is_no_answer_even_to_a_client_that_hides_exceptions(app: Starlette) -> None:
    """Nothing in the stack turns a dropped connection into a 500."""
    app.state.server.faults.add({"path": "*", "kind": "drop_before"}, now=0.0)
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/api/data", "headers": [], "query_string": b""}
    with pytest.raises(ConnectionResetError):
        await app(scope, receive, send)
    assert sent == []


async def test_truncate_sends_half_of_the_body(app: Starlette) -> None:
    """The announced length is that of the whole; then the connection ends."""
    app.state.server.faults.add({"path": "*", "kind": "truncate"}, now=0.0)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/api/data", "headers": [], "query_string": b""}
    with pytest.raises(ConnectionResetError):
        await app(scope, receive, send)
    start, half = sent
    length = int(dict(start["headers"])[b"content-length"])
    assert len(half["body"]) == length // 2
    assert half["more_body"]
    assert app.state.server.journal.entries[-1].status == 401


@pytest.mark.parametrize("send_headers", [False, True])
@pytest.mark.looptime
async def test_stall_commits_and_says_no_more(
    ada: Any,
    fault: Any,
    server: Server,
    send_headers: bool,
) -> None:
    """An hour later there is still no answer; the effect is there, and the journal shows the request meanwhile."""
    await fault(path="/api/notes", kind="stall", sendHeaders=send_headers)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600):
            await ada.ask("POST", "/api/notes", json={"text": "hi"})
    entry = server.journal.entries[-1]
    assert (entry.status, entry.effects) == (201 if send_headers else None, ["note_created"])


async def test_a_stall_ends_when_the_client_goes(app: Starlette) -> None:
    """The server does not wait for somebody who has left."""
    app.state.server.faults.add({"path": "*", "kind": "stall"}, now=0.0)
    messages = [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": "/api/auth/login", "headers": [], "query_string": b""}
    with pytest.raises(ConnectionResetError):
        await app(scope, receive, send)


async def test_a_host_that_can_close_connections_is_asked_to(app: Starlette) -> None:
    """With mock.drop in the scope nothing is raised; mock.hang_up is called when a rule that drops is set."""
    asked = []

    async def drop() -> None:
        asked.append("drop")

    def hang_up() -> None:
        asked.append("hang_up")

    async def hosted(scope: Any, receive: Any, send: Any) -> None:
        await app(scope | {"extensions": {"mock.drop": drop, "mock.hang_up": hang_up}}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(hosted), base_url="http://testserver") as client:
        answer = await client.post("/mock/faults", json={"path": "*", "kind": "status", "status": 500})
        assert "connection" not in answer.headers
        answer = await client.post("/mock/faults", json={"path": "/x", "kind": "drop_before"})
        assert asked == ["hang_up"]
        assert answer.headers["connection"] == "close"
        await client.delete("/mock/faults/1")
        with pytest.raises(AssertionError):  # httpx notices that the app ended without an answer
            await client.get("/x")
    assert asked == ["hang_up", "drop"]


async def test_connections_may_be_reused_again_when_the_drops_are_over(ada: Any, fault: Any) -> None:
    """Connection: close is sent while a rule may still drop, and no longer."""
    await fault(path="/api/notes", kind="drop_before", times=1)
    assert (await ada.ask("GET", "/api/data")).headers["connection"] == "close"
    with pytest.raises(ConnectionResetError):
        await ada.ask("GET", "/api/notes")
    assert "connection" not in (await ada.ask("GET", "/api/data")).headers


async def test_a_drop_is_about_requests_that_arrive_after_it(app: Starlette, server: Server, fault: Any) -> None:
    """One that comes over a used connection was there before the rule: neither hit nor counted. Other kinds hit it."""
    await fault(kind="drop_before")
    await fault(kind="status", status=503)
    statuses = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        statuses.append(message.get("status"))

    scope = {"type": "http", "method": "GET", "path": "/api/data", "headers": [], "query_string": b""}
    await app({**scope, "extensions": {"mock.reused": True}}, receive, send)
    with pytest.raises(ConnectionResetError):
        await app({**scope, "extensions": {"mock.reused": False}}, receive, send)
    assert statuses == [503, None]
    assert [(rule.hits, rule.fired) for rule in server.faults.rules.values()] == [(1, 1), (2, 1)]


async def test_skip_and_times_choose_the_nth_hits(ada: Any, fault: Any) -> None:
    """Two are let through, two are hit, the rest is let through."""
    await fault(kind="status", status=503, skip=2, times=2)
    assert await statuses(ada, 6) == [200, 200, 503, 503, 200, 200]


async def test_the_first_rule_that_is_due_is_applied(ada: Any, fault: Any, client: httpx.AsyncClient) -> None:
    """Rules make a script; skip counts the requests that another rule took."""
    await fault(kind="status", status=500, times=1)
    await fault(kind="status", status=502, skip=2)
    await fault(kind="status", status=503)
    assert await statuses(ada, 4) == [500, 503, 502, 502]
    rules = (await client.get("/mock/faults")).json()["faults"]
    assert [(rule["hits"], rule["fired"]) for rule in rules] == [(4, 1), (4, 2), (4, 1)]


async def test_a_rule_is_about_a_path_pattern_and_a_method(ada: Any, fault: Any) -> None:
    """The star stands for anything, slashes included; the query is not looked at; case counts."""
    await fault(path="/api/d*", method="POST", kind="status", status=500)
    await fault(path="/api/data/*", kind="status", status=503)
    assert await statuses(ada, 1, "/api/data") == [200]
    assert await statuses(ada, 1, "/api/data/a?b=c") == [503]
    assert await statuses(ada, 1, "/api/DATA/a") == [404]
    assert (await ada.ask("POST", "/api/data")).status_code == 500


async def test_a_rule_can_end_by_itself(ada: Any, fault: Any, clock: Any, change: Any) -> None:
    """After its seconds a rule is over, by the real clock: moving the server's own does not end it."""
    await fault(kind="status", status=503, seconds=10)
    await change(clockOffset=-60)
    assert await statuses(ada, 1) == [503]
    clock.turn(9.9)
    assert await statuses(ada, 1) == [503]
    clock.turn(0.1)
    assert await statuses(ada, 1) == [200]


async def test_rules_can_be_listed_and_removed(ada: Any, fault: Any, client: httpx.AsyncClient) -> None:
    """A rule is shown as it was set, with its counts; ids are not used twice."""
    first = await fault(kind="stall", sendHeaders=True, method=None)
    second = await fault(kind="status", status=500, headers={"A": "b"}, times=0)
    assert await statuses(ada, 0) == []
    assert (await client.get("/mock/faults")).json() == {
        "faults": [
            {"id": first, "path": "/api/data", "kind": "stall", "sendHeaders": True, "hits": 0, "fired": 0},
            {
                "id": second,
                "path": "/api/data",
                "kind": "status",
                "times": 0,
                "status": 500,
                "headers": {"A": "b"},
                "hits": 0,
                "fired": 0,
            },
        ]
    }
    assert (await client.delete(f"/mock/faults/{first}")).status_code == 204
    for gone in (first, "x", "9" * 5000, "²"):
        assert (await client.delete(f"/mock/faults/{gone}")).status_code == 404
    assert await statuses(ada, 1) == [200]
    assert (await client.delete("/mock/faults")).status_code == 204
    assert await fault(kind="drop_before") > second


async def test_the_controls_cannot_be_locked_out(fault: Any, client: httpx.AsyncClient) -> None:
    """Even a rule about everything leaves the way back open."""
    await fault(path="*", kind="status", status=500)
    assert (await client.get("/")).status_code == 500
    assert (await client.delete("/mock/faults")).status_code == 204
    assert (await client.get("/")).status_code == 404


@pytest.mark.parametrize(
    "rule,word",
    [
        ({}, "kind"),
        ({"kind": "explode"}, "kind"),
        ({"kind": ["status"]}, "kind"),
        ({"kind": "drop_before", "path": None}, "path"),
        ({"kind": "drop_before", "path": ""}, "path"),
        ({"kind": "drop_before", "path": 7}, "path"),
        ({"kind": "drop_before", "path": "x" * 1001}, "path"),
        ({"kind": "drop_before", "pth": "x"}, "'pth'"),
        ({"kind": "drop_before", "status": 500}, "'status'"),
        ({"kind": "status"}, "status is required"),
        ({"kind": "status", "status": 99}, "status"),
        ({"kind": "status", "status": 101}, "status"),
        ({"kind": "status", "status": 600}, "status"),
        ({"kind": "status", "status": "500"}, "status"),
        ({"kind": "status", "status": 500.0}, "status"),
        ({"kind": "status", "status": 500, "headers": ["a"]}, "headers"),
        ({"kind": "status", "status": 500, "headers": {"A": "b\r\nC: d"}}, "headers"),
        ({"kind": "status", "status": 500, "headers": {"A": " b"}}, "headers"),
        ({"kind": "status", "status": 500, "headers": {"A": 1}}, "headers"),
        ({"kind": "status", "status": 500, "headers": {"A B": "c"}}, "headers"),
        ({"kind": "status", "status": 500, "headers": {"": "c"}}, "headers"),
        ({"kind": "status", "status": 500, "headers": {"Content-Length": "5"}}, "headers"),
        ({"kind": "redirect"}, "location is required"),
        ({"kind": "redirect", "location": "/\n"}, "location"),
        ({"kind": "redirect", "location": "/ü"}, "location"),
        ({"kind": "redirect", "location": "/", "status": 200}, "status"),
        ({"kind": "delay"}, "delay is required"),
        ({"kind": "delay", "delay": -1}, "delay"),
        ({"kind": "delay", "delay": 10**400}, "delay"),
        ({"kind": "delay", "delay": True}, "delay"),
        ({"kind": "stall", "sendHeaders": 1}, "sendHeaders"),
        ({"kind": "stall", "method": "get"}, "method"),
        ({"kind": "stall", "skip": -1}, "skip"),
        ({"kind": "stall", "times": 1.5}, "times"),
        ({"kind": "stall", "times": True}, "times"),
        ({"kind": "stall", "seconds": "1"}, "seconds"),
    ],
    ids=str,
)
async def test_a_rule_that_makes_no_sense_is_refused(client: httpx.AsyncClient, rule: Any, word: str) -> None:
    """The refusal names the field that is wrong, and no rule is set."""
    answer = await client.post("/mock/faults", json={"path": "/api/data"} | rule)
    assert answer.status_code == 400
    assert word in answer.json()["error_description"]
    assert (await client.get("/mock/faults")).json() == {"faults": []}


@pytest.mark.parametrize("pattern", ["[", "[z-a]", "*a" * 400, "[!]]", "\\", "(?"])
async def test_no_pattern_is_too_strange(ada: Any, fault: Any, pattern: str) -> None:
    """A pattern that matches nothing harms nothing."""
    await fault(path=pattern, kind="status", status=500)
    assert await statuses(ada, 1) == [200]


async def test_a_fault_answers_before_any_check_of_the_body(fault: Any, client: httpx.AsyncClient) -> None:
    """Kinds that do not ask the app do not read the request either."""
    await fault(path="/api/auth/login", kind="status", status=503)
    assert (await client.post("/api/auth/login", content=b"\xff")).status_code == 503


def test_every_kind_is_documented() -> None:
    """The module that defines the rules, and the README, tell about every kind."""
    readme = (Path(rules.__file__).parent / "README.md").read_text()
    for kind in rules.KINDS:
        assert f"\n    {kind} " in (rules.__doc__ or "")
        assert f"\n| `{kind}` |" in readme
