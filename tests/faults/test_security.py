"""Security (46 to 53, as far as no browser is needed): where tokens go, what is shown, what a thief gets."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import freshfetch
from freshfetch import (
    AmbiguousRequestError,
    ConfigurationError,
    Event,
    HTTPStatusError,
    InvalidRequestError,
    JsonAuthServer,
    Request,
    Response,
    SessionExpired,
    SessionExpiredError,
    SignedIn,
    State,
)
from freshfetch.memory import ASGITransport
from page import wording
from tests.faults.watched import REFRESH, WatchedTab, WatchedWorld
from tests.world import outcomes

MARKUP = '<img src=x onerror="alert(1)">&amp;</script>'


def tokens_sent(tab: WatchedTab) -> list[str | None]:
    """Return the Authorization header of each request that left for an API, in order."""
    return [request.headers.get("authorization") for request in tab.wire.sent if "/api/auth/" not in request.path]


# -- 46: another origin --


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/api/data",
    "///evil.example/api/data",
    "http:evil.example/api/data",
    "http:/evil.example/api/data",
    "http:///evil.example/api/data",
    "http://localhost.evil.example/",
    "http://localhost-evil.example/",
    "http://evil.example/?http://localhost/",
    "http://evil.example/http://localhost/",
    "http://evil.example#http://localhost/",
    "http://evil.example:80/api/data",
    "http://localhost:8080/api/data",
    "http://localhost:443/api/data",
    "http://localhost:080/api/data",
    "https://localhost/api/data",
    "http://127.0.0.1/api/data",
    "http://127.1/api/data",
    "http://2130706433/api/data",
    "http://0x7f.1/api/data",
    "http://[::1]/api/data",
    "http://[::ffff:127.0.0.1]/api/data",
    "http://localhost./api/data",
    "http://localhost%2eevil.example/",
    "http://localhost%00.evil.example/",
    "http://xn--lcalhost-wxa/",
    "http://LOCALHOST.EVIL.EXAMPLE/",
    "HTTP://EVIL.EXAMPLE/",
    "HtTp://evil.example/",
    "/..//evil.example/",
    "/./%2F/evil.example",
]
REFUSED: list[Any] = [
    "http://localhost@evil.example/",
    "http://localhost:80@evil.example/",
    "http://localhost%40evil.example@evil.example/",
    "http://evil.example\\@localhost/",
    "http://user:pw@localhost/api/data",
    "http://@localhost/api/data",
    "http:\\\\evil.example/",
    "\\\\evil.example/",
    "/\\evil.example/",
    "/api/da\tta",
    " /api/data",
    "/api/data ",
    "ht\ntp://evil.example/",
    "http://evil.example\n/",
    "http://evil.example\x00/",
    "javascript:alert(1)",
    "data:text/plain,hi",
    "blob:http://localhost/1",
    "file:///etc/passwd",
    "ftp://localhost/",
    "ws://localhost/",
    "about:blank",
    "http://localhost:port/",
    "http://localhost:99999/",
    "http://localhost:-1/",
    "http://[",
    "http://[::1",
    "http://[::1]evil.example/",
    "http://l\u00f6calhost/",
    "http://\uff4cocalhost/",
    "http://localhost\u2044evil.example/",
    "http://localhost\uff0fevil.example/",
    "http://localhost\u3002evil.example/",
    "/api/\x00",
    "\ud800",
    None,
    7,
    b"/api/data",
    ["/api/data"],
]
OURS = [
    "/api/data",
    "api/data",
    "./api/data",
    "/x/../api/data",
    "//localhost/api/data",
    "http://localhost/api/data",
    "HTTP://LOCALHOST/api/data",
    "http://localhost:80/api/data",
    "http://localhost:/api/data",
    "/api/data?next=http://evil.example/",
    "/api/data#@evil.example/",
]


@pytest.mark.parametrize("url", ELSEWHERE)
async def test_46_another_origin_gets_no_token_however_it_is_written(world: WatchedWorld, url: str) -> None:
    """What leads to another origin is refused at once, or leaves without Authorization; no URL holds a token."""
    tab = await world.signed_in_tab()
    token = world.record().access_token
    await outcomes(_called(tab, url))
    for request in tab.wire.sent:
        ours = request.target.origin == "http://localhost"
        assert ours or "authorization" not in request.headers
        assert request.target.url.startswith(f"{request.target.origin}/")
        assert token not in request.target.url
    assert world.refreshes() == 0


async def _called(tab: WatchedTab, url: Any) -> Response:
    return await tab.session.fetch(url)


@pytest.mark.parametrize("url", REFUSED, ids=ascii)
async def test_46_a_url_that_leads_nowhere_certain_is_refused_at_once(world: WatchedWorld, url: Any) -> None:
    """InvalidRequestError from the call itself; nothing is sent."""
    tab = await world.signed_in_tab()
    with pytest.raises(InvalidRequestError):
        tab.session.fetch(url).close()
    assert tokens_sent(tab) == []


@pytest.mark.parametrize("url", OURS)
async def test_46_the_own_origin_gets_the_token_however_it_is_written(world: WatchedWorld, url: str) -> None:
    """Relative, absolute, in capitals or with the default port: it is the same origin."""
    tab = await world.signed_in_tab()
    await tab.session.fetch(url)
    assert tokens_sent(tab) == [f"Bearer {world.record().access_token}"]


async def test_46_an_origin_that_is_allowed_gets_the_token_and_its_neighbours_do_not(world: WatchedWorld) -> None:
    """``origins`` name a scheme, a host and a port: not a beginning of a URL, not the hosts below."""
    tab = await world.signed_in_tab(origins=["https://api.example"])
    assert (await tab.session.fetch("https://api.example/api/data")).ok
    neighbours = ["https://api.example:8443", "https://api.example.evil", "https://a.api.example", "http://api.example"]
    for neighbour in neighbours:
        assert (await tab.session.fetch(f"{neighbour}/api/data")).status == 401
    assert tokens_sent(tab) == [f"Bearer {world.record().access_token}", *[None] * 4]


async def test_46_a_refusal_by_another_origin_costs_us_nothing(world: WatchedWorld) -> None:
    """A stranger's 401 is the caller's answer: no refresh, no replay, nobody signed out."""
    tab = await world.signed_in_tab()
    assert (await tab.session.fetch("https://evil.example/api/data")).status == 401
    assert world.refreshes() == 0
    assert len(tokens_sent(tab)) == 1
    assert tab.session.state is State.SIGNED_IN


# -- 47: redirected elsewhere --


class Followed(ASGITransport):
    """A transport that follows redirects as a browser does: the answer is the last one's, from where that was."""

    def __init__(self, app: Any, lands: str, status: int = 401) -> None:
        super().__init__(app)
        self.lands = lands
        self.status = status
        self.sent: list[Request] = []

    async def send(self, request: Request) -> Response:
        """Answer an API request from elsewhere."""
        self.sent.append(request)
        if "/api/auth/" in request.path:
            return await super().send(request)

        async def read() -> bytes:
            return b"{}"

        return Response(status=self.status, url=self.lands, redirected=True, read=read)


@pytest.mark.parametrize("lands", ["https://evil.example/", "http://localhost:8080/api/data", "https://localhost/"])
async def test_47_a_foreign_401_after_a_redirect_is_not_taken_for_ours(world: WatchedWorld, lands: str) -> None:
    """A redirect led to another origin, which answers 401: the caller's answer; no refresh, no replay, no sign-out."""
    wire = Followed(world.app, lands)
    tab = await world.signed_in_tab(transport=wire)
    answer = await tab.session.fetch("/api/data")
    assert (answer.status, answer.url) == (401, lands)
    assert len([request for request in wire.sent if request.path == "/api/data"]) == 1
    assert world.refreshes() == 0
    assert tab.session.state is State.SIGNED_IN


async def test_47_a_401_after_a_redirect_within_the_own_origin_is_ours(world: WatchedWorld) -> None:
    """Redirected from one route to the next of the same server: its refusal leads to a refresh and one replay."""
    wire = Followed(world.app, "http://localhost/api/other")
    tab = await world.signed_in_tab(transport=wire)
    assert (await tab.session.fetch("/api/data")).status == 401
    assert len([request for request in wire.sent if request.path == "/api/data"]) == 2
    assert world.refreshes() == 1


async def test_47_a_401_after_a_redirect_does_not_repeat_what_may_have_taken_effect(world: WatchedWorld) -> None:
    """A POST that was accepted and redirected is refused where it led to: sent once, and the caller is told to look."""
    wire = Followed(world.app, "http://localhost/api/orders/1")
    tab = await world.signed_in_tab(transport=wire)
    (error,) = await outcomes(tab.session.fetch("/api/orders", method="POST", json={}))
    assert isinstance(error, AmbiguousRequestError)
    assert "POST" in str(error)
    assert len([request for request in wire.sent if request.path == "/api/orders"]) == 1
    assert world.refreshes() == 1
    assert (await tab.session.fetch("/api/orders", method="POST", json={}, replay=False)).status == 401
    assert (await tab.session.fetch("/api/orders", method="POST", json={}, replay=True)).status == 401
    assert len([request for request in wire.sent if request.path == "/api/orders"]) == 4


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_47_a_redirect_that_is_not_followed_is_the_callers_answer(world: WatchedWorld, status: int) -> None:
    """A redirect is not an expired token: handed over as it is, nothing is sent to where it points."""
    tab = await world.signed_in_tab()
    await world.fault("/api/data", "redirect", status=status, location="https://evil.example/steal")
    answer = await tab.session.fetch("/api/data")
    assert answer.status == status
    assert [request.target.origin for request in tab.wire.sent if "auth" not in request.path] == ["http://localhost"]
    assert world.refreshes() == 0


async def test_47_what_goes_to_the_auth_server_follows_no_redirect_and_carries_no_cookie(world: WatchedWorld) -> None:
    """Sign-in, refresh and sign-out, which hold password and refresh token, say so to the transport."""
    tab = await world.signed_in_tab()
    await tab.session.refresh()
    await tab.session.sign_out()
    assert [request.path.rpartition("/")[2] for request in tab.wire.sent] == ["login", "refresh", "logout"]
    for request in tab.wire.sent:
        assert request.options["redirect"] == "error"
        assert request.options["credentials"] == "omit"
        assert request.options["cache"] == "no-store"


# -- 48: markup --


def with_markup(kind: type[Event]) -> Event:
    """Return an event that holds markup wherever it holds text."""
    values: dict[str, Any] = {}
    for each in fields(kind):
        values[each.name] = MARKUP if "str" in str(each.type) else 0.0
    if kind is freshfetch.StateChanged:
        values.update(old=State.SIGNED_IN, new=State.OFFLINE)
    return kind(**values)


KINDS = [each for each in vars(freshfetch).values() if isinstance(each, type) and issubclass(each, Event)]


@pytest.mark.parametrize("kind", [each for each in KINDS if each not in {Event, freshfetch.RequestEvent}])
def test_48_markup_in_an_event_is_said_as_it_is(kind: type[Event]) -> None:
    """Words are made of texts, never of markup: what is not said verbatim is not said at all."""
    line = wording.describe(with_markup(kind))
    said = f"{line.title} {line.detail}".replace(MARKUP, "")
    assert "<" not in said
    assert "&" not in said


async def test_48_markup_from_a_server_ends_no_session_and_is_kept_as_text(world: WatchedWorld) -> None:
    """Markup as error, description and body of every refusal: an error of ours, whose words are one plain line."""
    tab = await world.signed_in_tab()
    await world.expire()
    body = {"error": MARKUP, "error_description": MARKUP}
    await world.fault("/api/auth/*", "status", status=400, body=body)
    [refusal] = await outcomes(tab.session.fetch("/api/data", timeout=5))
    assert MARKUP not in str(refusal)
    with pytest.raises(freshfetch.AuthServerError) as sign_in:
        await world.tab().session.sign_in("ada", "lovelace")
    assert sign_in.value.error == ""
    assert "<" not in wording.sign_in_problem(sign_in.value)
    assert tab.session.subject == "ada"
    assert not any(MARKUP in repr(event) for event in tab.events)


async def test_48_markup_in_a_name_is_a_name(world: WatchedWorld) -> None:
    """A user name that is markup is stored, told and shown as the text it is, and an HTTP error quotes no query."""
    tab = await world.signed_in_tab()
    record = world.record()
    named = replace(record, subject=MARKUP, generation=record.generation + 1)
    await world.store.commit(named, expected=record.generation)
    async with tab.session:
        assert tab.session.subject == MARKUP
        await asyncio.sleep(0)
    told = tab.seen(SignedIn)[-1]
    assert wording.describe(told).title == f"{MARKUP} signed in"
    error = HTTPStatusError(500, f"http://localhost/{MARKUP}")
    assert "<" not in wording.why(error)


# -- 49: the page's policy --


ROOT = Path(__file__).resolve().parents[2]


def policy(page: Path) -> dict[str, str]:
    """Return the directives of a page's Content-Security-Policy."""
    found = re.search(r'http-equiv="Content-Security-Policy"\s+content="([^"]+)"', page.read_text())
    assert found
    directives = (directive.split(maxsplit=1) for directive in found[1].split(";"))
    return {name: " ".join(value.split()) for name, value in directives}


def test_49_the_policy_allows_what_the_page_needs_and_no_more() -> None:
    """No inline script, no eval, no foreign host; the one policy of Trusted Types lets no string become markup."""
    assert policy(ROOT / "index.html") == {
        "default-src": "'none'",
        "script-src": "'self' 'wasm-unsafe-eval'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "worker-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "freshfetch",
    }


def test_49_the_policy_comes_before_whatever_it_is_to_hold_for() -> None:
    """A meta element does not concern what stands above it."""
    before = (ROOT / "index.html").read_text().partition("Content-Security-Policy")[0]
    assert re.findall(r"<(?!!)[a-z]+", before) == ["<html", "<head", "<meta", "<meta"]


def test_49_the_library_is_tested_under_the_same_policy() -> None:
    """The harness in which every browser test of the library runs may send elsewhere, and start not even a worker."""
    harness = policy(ROOT / "tests/browser/harness/index.html")
    other = {"connect-src": "*", "worker-src": "'none'", "trusted-types": "'none'"}
    assert harness == {**policy(ROOT / "index.html"), **other}


# -- 51: a thief --


async def test_51_a_stolen_refresh_token_that_is_used_late_revokes_the_family(world: WatchedWorld) -> None:
    """The owner has refreshed since: the thief gets nothing, and the owner is asked to sign in, once."""
    world.act("theft")
    tab = await world.signed_in_tab()
    stolen = world.record().refresh_token or ""
    await tab.session.refresh()
    assert await redeemed(world, stolen) == (400, "invalid_grant")
    [result] = await outcomes(tab.session.fetch("/api/data"))
    assert isinstance(result, SessionExpiredError)
    assert len(tab.seen(SessionExpired)) == 1
    assert world.store.load() is None
    assert world.server.families.by_id[1].revoked


async def test_51_a_stolen_refresh_token_that_is_used_first_serves_the_thief_until_the_owner_comes(
    world: WatchedWorld,
) -> None:
    """The thief was quicker: the owner's next refresh tells the server, whose alarm ends the session for both."""
    world.act("theft")
    tab = await world.signed_in_tab()
    stolen = world.record().refresh_token or ""
    thief = ASGITransport(world.app)
    answer = await thief.send(JsonAuthServer().refresh_request(stolen, thief))
    loot = json.loads(await answer.text())
    await asyncio.sleep(1801)
    [result] = await outcomes(tab.session.fetch("/api/data"))
    assert isinstance(result, SessionExpiredError)
    assert "reuse_detected" in [effect for entry in world.journal(REFRESH) for effect in entry.effects]
    assert await redeemed(world, loot["refreshToken"]) == (400, "invalid_grant")
    await tab.session.sign_in("ada", "lovelace")
    assert (await tab.session.fetch("/api/data")).ok
    assert await redeemed(world, stolen) == (400, "invalid_grant")
    assert (await tab.session.fetch("/api/data")).ok


async def redeemed(world: WatchedWorld, token: str) -> tuple[int, str]:
    """Present a refresh token as somebody else would; return what the server says."""
    thief = ASGITransport(world.app)
    answer = await thief.send(JsonAuthServer().refresh_request(token, thief))
    return answer.status, json.loads(await answer.text()).get("error", "")


# -- 53: plain http --


LOOKS_LIKE_THIS_MACHINE = [
    "http://api.example",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://localhost.",
    "http://evil.example:80",
    "http://0.0.0.0",
    "http://127.0.0.2",
    "http://2130706433",
    "http://[::]",
    "http://[::ffff:127.0.0.1]",
    "http://localhost-evil.example",
    "http://evillocalhost",
]
THIS_MACHINE = ["http://localhost:8000", "http://127.0.0.1", "http://[::1]:8000", "http://app.localhost:8000"]


def at(world: WatchedWorld, home: str) -> ASGITransport:
    """Return the transport of a page that was loaded from there."""
    return ASGITransport(world.app, base_url=home)


@pytest.mark.parametrize("origin", LOOKS_LIKE_THIS_MACHINE)
def test_53_plain_http_is_refused_to_whatever_is_not_this_machine(world: WatchedWorld, origin: str) -> None:
    """As an origin, as the page's own, and as the auth server's: a ConfigurationError when the session is made."""
    with pytest.raises(ConfigurationError, match="https only"):
        world.tab(origins=["https://api.example", origin])
    with pytest.raises(ConfigurationError, match="https only"):
        world.tab(transport=at(world, origin))
    with pytest.raises(ConfigurationError, match="https only"):
        world.tab(auth_server=JsonAuthServer(f"{origin}/api/auth"))
    assert world.tabs == []


@pytest.mark.parametrize("path", ["sign_in_path", "refresh_path", "sign_out_path"])
def test_53_each_route_of_the_auth_server_is_looked_at(world: WatchedWorld, path: str) -> None:
    """A path that makes a route lead elsewhere does not get past the check."""
    paths: dict[str, Any] = {path: ".evil.example/x"}
    with pytest.raises(ConfigurationError, match="https only"):
        world.tab(auth_server=JsonAuthServer("http://localhost", **paths))


@pytest.mark.parametrize("origin", THIS_MACHINE)
async def test_53_plain_http_is_allowed_on_this_machine(world: WatchedWorld, origin: str) -> None:
    """For development: loopback never leaves the device, and everything works there."""
    tab = world.tab(transport=at(world, origin), auth_server=JsonAuthServer(f"{origin}/api/auth"), origins=[origin])
    await tab.session.sign_in("ada", "lovelace")
    assert (await tab.session.fetch("/api/data")).ok
