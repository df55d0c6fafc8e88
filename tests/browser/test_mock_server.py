"""The mock server as a tool for other front ends: what a real browser makes of its faults, across origins too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mock_server.testing import Server
from tests.browser.harness.chromium import Chromium

README = Path(__file__).parents[2] / "mock_server" / "README.md"
SIGN_IN = """
    const [server, ...given] = arguments;
    const login = { method: "POST", body: JSON.stringify({ username: "ada", password: "lovelace" }) };
    const { accessToken } = await (await fetch(`${server}/api/auth/login`, login)).json();
    const send = (path, id) => fetch(server + path, {
        method: "POST", body: JSON.stringify({ text: id }), headers:
        { "Authorization": `Bearer ${accessToken}`, "Content-Type": "application/json", "X-Request-Id": id },
    });
"""


def run(browser: Chromium, at: str, source: str, *arguments: object) -> Any:
    """Run JavaScript, in which await is allowed, in a page of this origin that has nothing but a text."""
    browser.driver.get(f"{at}/harness/site.py")
    return browser.driver.execute_script(f"return (async (...arguments) => {{{source}}})(...arguments)", *arguments)


def test_the_javascript_example_works(browser: Chromium, server: Server) -> None:
    """As it stands in the README, in a page: the note whose answer was lost is there, once."""
    (example,) = re.findall(r"```js\n(.*?)```", README.read_text(), re.DOTALL)
    example = example.replace("http://localhost:8000", server.url)
    assert run(browser, server.url, f"{example}; return [outcome, effects]") == [
        "no answer",
        {"note-1": {"note_created": 1}},
    ]


def test_no_drop_is_hidden_by_a_preflight(browser: Chromium, server: Server) -> None:
    """A preflight uses the connection first, and yet a lost answer is seen, and the request arrives once."""
    server.allow_origins(server.other_url)
    for number in range(20):
        server.fault(path="/api/notes", method="POST", kind="drop_after", times=1)
        send = SIGN_IN + "return send('/api/notes', given[0]).then(a => a.status, e => String(e))"
        assert run(browser, server.other_url, send, server.url, f"n{number}") == "TypeError: Failed to fetch"
    assert server.effects_by_request("/api/notes") == {f"n{number}": {"note_created": 1} for number in range(20)}
    methods = [entry["method"] for entry in server.journal("/api/notes")]
    assert methods == ["OPTIONS", "POST"] * 20


def test_a_drop_set_under_way_is_seen_by_the_next_request(browser: Chromium, server: Server) -> None:
    """Connections that were used before, and requests on them that are not yet answered, hide nothing."""
    outcomes = run(
        browser,
        server.url,
        SIGN_IN
        + """
        const mock = (control, fields) =>
            fetch(`${server}/mock/${control}`, { method: "POST", body: JSON.stringify(fields) });
        await mock("faults", { path: "/api/echo", kind: "delay", delay: 0.05 });
        const outcomes = [];
        for (let round = 0; round < 20; round++) {
            const underWay = [1, 2, 3].map(n => send("/api/echo", `echo-${round}-${n}`));
            const set = mock("faults", { path: "/api/notes", method: "POST", kind: "drop_after", times: 1 });
            outcomes.push(...(await Promise.all(underWay)).map(answer => answer.status));
            await set;
            outcomes.push(await send("/api/notes", `note-${round}`).then(answer => answer.status, () => "lost"));
        }
        return outcomes;
        """,
        server.url,
    )
    assert outcomes == [200, 200, 200, "lost"] * 20
    effects = server.effects_by_request()
    assert {tuple(counts.items()) for counts in effects.values()} == {(("echoed", 1),), (("note_created", 1),)}
    assert len(effects) == 80


def test_a_fault_can_be_read_by_an_origin_on_the_list_and_by_no_other(browser: Chromium, server: Server) -> None:
    """Status and headers of an injected 503, and the challenge of a 401; the same page off the list reads nothing."""
    read = """
        const answers = [];
        for (const path of ["/api/notes", "/api/data"])
            answers.push(await fetch(arguments[0] + path, { headers: { "X-Request-Id": "x" } }).then(
                a => [a.status, a.headers.get("Retry-After"), a.headers.get("WWW-Authenticate"), a.headers.has("Date")],
                e => String(e)));
        return answers;
    """
    server.fault(path="/api/notes", kind="status", status=503, headers={"Retry-After": "2"})
    server.allow_origins(server.other_url)
    allowed = run(browser, server.other_url, read, server.url)
    assert allowed == [[503, "2", None, True], [401, None, "Bearer", True]]
    server.allow_origins()
    assert run(browser, server.other_url, read, server.url) == ["TypeError: Failed to fetch"] * 2
    assert [entry["method"] for entry in server.journal("/api/data")] == ["OPTIONS", "GET", "OPTIONS"]


def test_a_body_that_stalls_has_arrived_by_half(browser: Chromium, server: Server) -> None:
    """The page has the status and half of the text; the rest never comes, and the page can give up."""
    server.fault(path="/api/data", kind="stall_body")
    status, text, end = run(
        browser,
        server.url,
        """
        const giveUp = new AbortController();
        const answer = await fetch("/api/data", { signal: giveUp.signal });
        const reader = answer.body.getReader();
        const text = new TextDecoder().decode((await reader.read()).value);
        const next = reader.read().then(() => "more", error => error.name);
        giveUp.abort();
        return [answer.status, text, await next];
        """,
    )
    assert (status, end) == (401, "AbortError")
    assert text.startswith('{"error"')
    assert not text.endswith("}")
