"""Answers that are lost, refused, redirected or stolen on their way to a real page."""

from __future__ import annotations

import json
import time
from collections import Counter

import httpx

from mock_server.testing import Server
from tests.browser.harness.tab import Tab
from tests.faults.browser.conftest import Tabs

HASTY = "retry=freshfetch.RetryPolicy(windows=((0.01, 0.05),))"
REFRESH = "/api/auth/refresh"


def test_01_an_answer_lost_after_the_server_rotated_costs_one_more_presentation(tabs: Tabs, server: Server) -> None:
    """In the grace window the same refresh token is presented once more, and everything that waited succeeds."""
    server.settings(grace=10)
    (tab,) = tabs.signed_in(1, settings=HASTY)
    tab.hold(REFRESH)
    server.expire()
    waiting = tab.start("""
        asked = [ask(session, f"/api/data/{n}") for n in range(10)]
        asked += [ask(session, "/api/notes", method="POST", json={"text": f"note {n}"}) for n in range(10)]
        await asyncio.gather(*map(outcome, asked))
    """)
    tab.held().drop()
    tab.held().let_go()
    assert waiting.result() == [200] * 10 + [201] * 10
    assert [entry["effects"] for entry in server.journal(REFRESH)] == [["refreshed"], ["grace_reissued"]]
    assert len(set(presented(tab))) == 1


def test_02_a_strict_server_ends_the_session_and_hands_the_requests_back(tabs: Tabs, server: Server) -> None:
    """Without grace the token is presented twice at most; everybody who waited is told why, with the request."""
    (tab,) = tabs.signed_in(1, settings=HASTY)
    tab.hold(REFRESH)
    server.expire()
    waiting = tab.start("""
        asked = [ask(session, f"/api/data/{n}") for n in range(5)]
        errors = await asyncio.gather(*asked, return_exceptions=True)
        [[type(error).__name__, error.reason, error.request.path] for error in errors]
    """)
    tab.held().drop()
    tab.held().let_go()
    expected = [["SessionExpiredError", "rotation_ambiguous", f"/api/data/{n}"] for n in range(5)]
    assert waiting.result() == expected
    assert [entry["effects"] for entry in server.journal(REFRESH)] == [["refreshed"], ["reuse_detected"]]


def test_10_the_refresh_token_does_not_follow_a_redirect(tabs: Tabs, server: Server) -> None:
    """A token endpoint that redirects to another origin is a passing failure: nothing leaves for it."""
    (tab,) = tabs.signed_in(1, settings="retry=freshfetch.RetryPolicy(windows=((0, 0),))")
    server.allow_origins(server.url)
    for status in (301, 302, 303, 307, 308):
        server.fault(path=REFRESH, kind="redirect", location=f"{server.other_url}/api/echo", status=status, times=1)
        seen = tab.run("[await outcome(session.refresh()), session.subject]")
        assert seen == ["RefreshUnavailableError", "ada"]
    assert tab.run('await outcome(ask(session, "/api/data"))') == 200
    assert [entry["status"] for entry in server.journal(REFRESH)] == [301, 302, 303, 307, 308]
    assert server.journal("/api/echo") == []
    assert not [each for each in tab.testimony.requests if each["url"].startswith(server.other_url)]


def test_12_a_thousand_refusals_at_once_cost_one_refresh(tabs: Tabs, server: Server) -> None:
    """A thousand requests leave with a token that is dead: each is sent exactly twice, one refresh, all succeed."""
    (tab,) = tabs.signed_in(1, settings='queue=freshfetch.QueuePolicy(overflow="wait")')
    tab.hold("/api/data/slow", stage="Request")
    # A refresh opens the width, and it stays open while something is under way: no slow start spares us refusals.
    slow = tab.start('waiting = asyncio.ensure_future(ask(session, "/api/data/slow")); await outcome(waiting)')
    tab.held()
    tab.run("await session.refresh()")
    server.expire()
    answered = tab.run("""
        answers = await asyncio.gather(*(ask(session, f"/api/data/{n}") for n in range(1000)))
        sum(answer.ok for answer in answers)
    """)
    assert answered == 1000
    sent = Counter(entry["path"] for entry in server.journal("/api/data/*"))
    assert Counter(sent.values()) == {2: 1000}
    assert len(server.journal(REFRESH)) == 2
    tab.hold_no_more()
    assert slow.result() == 200


def test_17_a_replayed_body_is_what_was_asked(tabs: Tabs, server: Server) -> None:
    """Whatever the caller does to it after the call, both sendings carry the body and the headers as they were then."""
    (tab,) = tabs.signed_in(1)
    server.expire()
    echoed = tab.run("""
        from pyodide.ffi import to_js

        form = js.FormData.new()
        form.append("note", "hello")
        form.append("file", js.File.new(to_js(["contents of the file"]), "a.txt"))
        fields, headers, raw = {"text": ["as it was"]}, {"X-Mine": "as it was"}, bytearray("grüße", "utf-8")
        array, query = js.Uint8Array.new(to_js([102, 114, 101, 115, 104])), js.URLSearchParams.new("a=b")
        asked = {
            "json": ask(session, "/api/echo", method="POST", json=fields, headers=headers),
            "bytes": ask(session, "/api/echo", method="POST", body=raw),
            "text": ask(session, "/api/echo", method="POST", body="grüße"),
            "form": ask(session, "/api/echo", method="POST", body=form),
            "blob": ask(session, "/api/echo", method="POST", body=js.Blob.new(to_js(["contents"]))),
            "array": ask(session, "/api/echo", method="POST", body=array),
            "query": ask(session, "/api/echo", method="POST", body=query),
        }
        answers = asyncio.gather(*asked.values())
        fields["text"].append("late")
        headers["X-Mine"] = "late"
        raw[:] = b"late"
        form.append("late", "late")
        array.fill(0)
        query.append("late", "late")
        dict(zip(asked, [await answer.json() for answer in await answers]))
    """)
    assert json.loads(echoed["json"]["body"]) == {"text": ["as it was"]}
    assert echoed["json"]["headers"]["x-mine"] == "as it was"
    assert echoed["bytes"]["body"] == echoed["text"]["body"] == "grüße"
    assert "contents of the file" in echoed["form"]["body"]
    assert 'filename="a.txt"' in echoed["form"]["body"]
    assert "late" not in echoed["form"]["body"]
    assert [echoed[kind]["body"] for kind in ("blob", "array", "query")] == ["contents", "fresh", "a=b"]
    statuses = [entry["status"] for entry in server.journal("/api/echo")]
    assert sorted(statuses) == [200] * 7 + [401] * statuses.count(401)
    assert statuses.count(401) >= 6


def test_17_a_stream_that_is_spent_is_never_sent_again_empty(tabs: Tabs, server: Server) -> None:
    """A stream whose token was refused has its own error; the token is renewed, and nothing more leaves."""
    (tab,) = tabs.signed_in(1)
    tab.hold("/api/echo", stage="Request")
    waiting = tab.start("""
        stream = js.Blob.new(["contents"]).stream()
        await outcome(ask(session, "/api/echo", method="POST", body=stream))
    """)
    # A browser streams over HTTP/2 only, which the mock server does not speak.
    tab.held().answer(401, WWW_Authenticate='Bearer error="invalid_token"')
    assert waiting.result() == "NotReplayableError"
    assert tab.run('await outcome(ask(session, "/api/data"))') == 200
    assert [entry["effects"] for entry in server.journal(REFRESH)] == [["refreshed"]]
    sent = [each for each in tab.testimony.requests if each["url"].endswith("/api/echo")]
    assert len(sent) == 1


def test_47_a_redirect_to_another_origin_takes_no_token_along(tabs: Tabs, server: Server) -> None:
    """An API call that is redirected elsewhere arrives there without a token; a 401 from there is the caller's."""
    (tab,) = tabs.signed_in(1)
    server.allow_origins(server.url)
    for method, status in (("GET", 302), ("GET", 307), ("POST", 307), ("POST", 308)):
        location = f"{server.other_url}/api/echo" if method == "POST" else f"{server.other_url}/api/data"
        server.fault(path="/api/data/elsewhere", kind="redirect", location=location, status=status, times=1)
        seen = tab.run(
            """
            answer = await ask(session, "/api/data/elsewhere", method=method)
            [answer.status, answer.url, session.state.name]
            """,
            method=method,
        )
        assert seen == [401, location, "SIGNED_IN"]
    followed = [*server.journal("/api/data"), *server.journal("/api/echo")]
    arrived = [entry for entry in followed if entry["method"] != "OPTIONS"]
    assert [(entry["status"], entry["user"]) for entry in arrived] == [(401, None)] * 4
    assert server.journal(REFRESH) == []
    assert len(server.journal("/api/data/elsewhere")) == 4


def test_47_what_was_accepted_and_redirected_to_a_refusal_is_not_sent_again(tabs: Tabs, server: Server) -> None:
    """A POST answered by 303 leads to a 401 of our own server: one POST, a typed error, a new token for the next."""
    (tab,) = tabs.signed_in(1)
    server.fault(path="/api/data/orders", kind="redirect", location="/api/data/order-1", status=303, times=1)
    server.fault(path="/api/data/order-1", kind="status", status=401, times=1)
    assert tab.run('await outcome(ask(session, "/api/data/orders", method="POST"))') == "AmbiguousRequestError"
    assert len(server.journal("/api/data/orders")) == 1
    assert tab.run('await outcome(ask(session, "/api/data"))') == 200
    assert [entry["effects"] for entry in server.journal(REFRESH)] == [["refreshed"]]


def test_51_a_stolen_refresh_token_ends_the_session_for_the_thief_too(tabs: Tabs, server: Server) -> None:
    """Whoever comes second with the token has the whole family revoked; the page says so, and nobody has access."""
    for thief_first in (True, False):
        (tab,) = tabs.signed_in(1)
        loot = tab.run("json.loads(js.localStorage.getItem('freshfetch:default'))['refresh_token']")
        if not thief_first:
            tab.run("await session.refresh()")
        tabs.stolen.append(time.time())
        stolen = redeem(server, loot)
        tabs.stolen.append(time.time())
        server.expire()
        assert tab.run('[await outcome(ask(session, "/api/data")), session.state.name]') == [
            "SessionExpiredError",
            "SIGN_IN_REQUIRED",
        ]
        if thief_first:
            assert redeem(server, stolen["refreshToken"])["error"] == "invalid_grant"
        else:
            assert stolen["error"] == "invalid_grant"


def presented(tab: Tab) -> list[str]:
    """Return the refresh tokens that left, in order."""
    return [
        json.loads(each["body"])["refreshToken"] for each in tab.testimony.requests if each["url"].endswith(REFRESH)
    ]


def redeem(server: Server, refresh_token: str) -> dict[str, str]:
    """Redeem a refresh token, as somebody outside the browser."""
    with httpx.Client(trust_env=False) as client:
        answer: dict[str, str] = client.post(f"{server.url}{REFRESH}", json={"refreshToken": refresh_token}).json()
    return answer
