"""The embedded server without a browser: how answers leave, and what is saved when."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from typing import Any

import pytest

from mock_server.app import create_app
from mock_server.embedded import EmbeddedServer, start
from mock_server.settings import Settings

DONE = ("whole", "end", "fail")
SIGN_IN = b'{"username": "ada", "password": "lovelace"}'


class Browser:
    """What the JavaScript around the server does: it carries parts of answers and keeps a text."""

    def __init__(self) -> None:
        self.saved = ""
        self.saves = 0
        self.refuses = False
        self.may_save = asyncio.Event()
        self.may_save.set()
        self.parts: defaultdict[str, list[tuple[str, str, bytes]]] = defaultdict(list)
        self.news = asyncio.Event()
        self.server: EmbeddedServer = self.start()

    def start(self) -> EmbeddedServer:
        """Start the server, or another one after the loss of the first."""
        self.server = start(self.post, self.save, self.saved)
        return self.server

    def post(self, call: str, part: str, head: str, content: bytes, /) -> None:
        """Take a part of an answer."""
        self.parts[call].append((part, head, content))
        self.news.set()

    async def save(self, text: str) -> None:
        """Keep a text, as soon as that may be."""
        await self.may_save.wait()
        if self.refuses:
            raise OSError("the disk is full")
        self.saved = text
        self.saves += 1

    def ask(self, call: str, method: str, path: str, body: bytes = b"", token: str = "") -> None:
        """Bring a request."""
        self.parts[call].clear()
        path, _, query = path.partition("?")
        headers = [["Authorization", f"Bearer {token}"]] if token else []
        head = {
            "origin": "http://site.example:81",
            "method": method,
            "path": path,
            "query": query,
            "headers": headers,
        }
        self.server.take(call, json.dumps(head), memoryview(body))

    async def parts_of(self, call: str, last: str = "") -> list[tuple[str, str, bytes]]:
        """Wait for an answer, or for a part of it, and return what came."""
        while not any(part == last or part in DONE for part, _, _ in self.parts[call]):
            self.news.clear()
            await self.news.wait()
        return self.parts[call]

    async def answer(self, call: str, *request: Any, **more: Any) -> tuple[int, Any]:
        """Ask, and return status and JSON of an answer that comes in one."""
        self.ask(call, *request, **more)
        ((part, head, content),) = await self.parts_of(call)
        assert part == "whole"
        return json.loads(head)["status"], json.loads(content or b"null")

    async def sign_in(self) -> dict[str, Any]:
        """Sign ada in; the tokens come back."""
        status, tokens = await self.answer("sign-in", "POST", "/api/auth/login", SIGN_IN)
        assert status == 200
        return dict(tokens)

    async def set_fault(self, **rule: object) -> None:
        """Make something go wrong."""
        status, _ = await self.answer("fault", "POST", "/mock/faults", json.dumps(rule).encode())
        assert status == 201


@pytest.fixture
async def browser() -> Browser:
    """A browser with a server that has just been started."""
    return Browser()


async def test_a_request_arrives_as_over_a_socket(browser: Browser) -> None:
    """Path, query, host and body; the controls are on."""
    token = (await browser.sign_in())["accessToken"]
    _, echo = await browser.answer("a", "POST", "/api/echo", b"body", token=token)
    assert (echo["body"], echo["headers"]["host"]) == ("body", "site.example:81")
    _, named = await browser.answer("b", "GET", "/api/data/a%20%C3%A9", token=token)
    assert named["name"] == "a é"
    _, journal = await browser.answer("c", "GET", "/mock/journal?path=/api/echo")
    assert [entry["path"] for entry in journal["entries"]] == ["/api/echo"]


async def test_no_answer_leaves_before_its_change_is_saved(browser: Browser) -> None:
    """While saving takes its time nothing is said; what was saved then knows the note."""
    token = (await browser.sign_in())["accessToken"]
    browser.may_save.clear()
    browser.ask("note", "POST", "/api/notes", b'{"text": "kept"}', token=token)
    browser.ask("list", "GET", "/api/notes", token=token)
    await asyncio.sleep(0.01)
    assert browser.parts["note"] == browser.parts["list"] == []
    browser.may_save.set()
    ((part, _, _),) = await browser.parts_of("note")
    assert part == "whole"
    assert "kept" in browser.saved


async def test_what_changes_nothing_is_not_saved_and_changes_at_once_are_saved_together(browser: Browser) -> None:
    """Ten reads save nothing, twenty notes at once need fewer saves than notes."""
    token = (await browser.sign_in())["accessToken"]
    before = browser.saves
    for number in range(10):
        await browser.answer(f"read{number}", "GET", "/api/notes", token=token)
    assert browser.saves == before
    browser.may_save.clear()
    for number in range(20):
        browser.ask(f"write{number}", "POST", "/api/notes", b'{"text": "x"}', token=token)
    await asyncio.sleep(0.01)
    browser.may_save.set()
    for number in range(20):
        await browser.parts_of(f"write{number}")
    assert browser.saves - before == 2


async def test_another_server_goes_on_from_what_was_saved(browser: Browser) -> None:
    """Both kinds of tokens, spent refresh tokens, notes, settings, fault rules with their counts; not the journal."""
    opaque = json.dumps({"tokenFormat": "opaque", "grace": 0}).encode()
    spent = (await browser.sign_in())["refreshToken"]
    await browser.answer("settings", "PUT", "/mock/settings", opaque)
    redeem = json.dumps({"refreshToken": spent}).encode()
    _, tokens = await browser.answer("refresh", "POST", "/api/auth/refresh", redeem)
    await browser.answer("note", "PUT", "/api/notes/n1", b'{"text": "kept"}', token=tokens["accessToken"])
    await browser.set_fault(path="/api/data", kind="status", status=503, times=1)
    await browser.answer("data", "GET", "/api/data")
    await browser.set_fault(path="/api/echo", kind="status", status=503, times=1)
    browser.parts.clear()
    browser.start()
    _, notes = await browser.answer("notes", "GET", "/api/notes", token=tokens["accessToken"])
    assert [note["text"] for note in notes["notes"]] == ["kept"]
    _, settings = await browser.answer("settings", "GET", "/mock/settings")
    assert (settings["tokenFormat"], settings["grace"]) == ("opaque", 0)
    assert (await browser.answer("data", "GET", "/api/data"))[0] == 401
    assert (await browser.answer("echo", "POST", "/api/echo"))[0] == 503
    _, reused = await browser.answer("reused", "POST", "/api/auth/refresh", redeem)
    assert "used before" in reused["error_description"]
    _, journal = await browser.answer("journal", "GET", "/mock/journal")
    assert journal["entries"][0]["path"] == "/api/notes"
    _, rule = await browser.answer("rule", "POST", "/mock/faults", b'{"path": "/x", "kind": "stall"}')
    assert rule["id"] == 3


async def test_tokens_signed_before_are_good_after(browser: Browser) -> None:
    """The signing key is saved."""
    token = (await browser.sign_in())["accessToken"]
    browser.start()
    status, beat = await browser.answer("beat", "GET", "/api/heartbeat", token=token)
    assert (status, beat["user"]) == (200, "ada")


@pytest.mark.parametrize(
    "saved", ["", "{", "[]", "{}", '{"version": 0}', '{"version": 1}', '{"version": 1, "settings": 1}']
)
async def test_what_was_saved_and_makes_no_sense_is_the_start(browser: Browser, saved: str) -> None:
    """Nothing, half a text, another version: the server is there, and saves again."""
    browser.saved = saved
    browser.start()
    await browser.sign_in()
    assert json.loads(browser.saved)["version"] == 1


async def test_where_nothing_can_be_saved_memory_has_to_do(browser: Browser) -> None:
    """A full disk keeps nobody waiting; when there is room again all is saved."""
    browser.refuses = True
    token = (await browser.sign_in())["accessToken"]
    assert browser.saved == ""
    browser.refuses = False
    assert (await browser.answer("beat", "GET", "/api/heartbeat", token=token))[0] == 200
    assert json.loads(browser.saved)["families"]["serial"] == 1


@pytest.mark.parametrize("kind,is_done", [("drop_before", False), ("drop_after", True)])
async def test_a_dropped_connection_is_one_fail(browser: Browser, kind: str, is_done: bool) -> None:
    """Nothing else is said, and what was done is saved before."""
    token = (await browser.sign_in())["accessToken"]
    await browser.set_fault(path="/api/notes", kind=kind)
    browser.ask("note", "POST", "/api/notes", b'{"text": "kept"}', token=token)
    assert await browser.parts_of("note") == [("fail", "", b"")]
    assert ("kept" in browser.saved) is is_done


async def test_a_truncated_answer_breaks_off(browser: Browser) -> None:
    """Head, half of the body, fail."""
    await browser.set_fault(path="/api/data", kind="truncate")
    browser.ask("data", "GET", "/api/data")
    start, chunk, fail = await browser.parts_of("data")
    assert (start[0], json.loads(start[1])["status"]) == ("start", 401)
    assert (chunk[0], chunk[2][:8]) == ("chunk", b'{"error"')
    assert fail == ("fail", "", b"")


@pytest.mark.parametrize("shown", [True, False])
async def test_a_stalled_answer_is_saved_and_waits_until_it_is_given_up(browser: Browser, shown: bool) -> None:
    """The head comes if the rule says so; after the end nothing more is said, and the server is through with it."""
    token = (await browser.sign_in())["accessToken"]
    await browser.set_fault(path="/api/notes", kind="stall", sendHeaders=shown)
    browser.ask("note", "POST", "/api/notes", b'{"text": "kept"}', token=token)
    if shown:
        ((part, head, _),) = await browser.parts_of("note", "start")
        assert (part, json.loads(head)["status"]) == ("start", 201)
    while "kept" not in browser.saved:
        await asyncio.sleep(0)
    said = list(browser.parts["note"])
    browser.server.give_up("note")
    browser.server.give_up("nobody")
    while not (await browser.answer("journal", "GET", "/mock/journal"))[1]["entries"][-1]["done"]:
        await asyncio.sleep(0)
    assert browser.parts["note"] == said
    assert [part for part, _, _ in said] == ["start"] * shown


async def test_a_body_in_parts_is_sent_in_parts() -> None:
    """An app that streams: start, chunks, end; no empty chunk at the end. A bug of it: fail."""
    browser = Browser()

    async def streaming(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"\xe9")]})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        await send({"type": "http.response.body", "body": b"2", "more_body": True})
        await send({"type": "http.response.body"})
        raise ZeroDivisionError

    browser.server._app = streaming
    browser.ask("s", "GET", "/api/data")
    start, *rest = await browser.parts_of("s")
    assert json.loads(start[1]) == {"status": 200, "headers": [["x-a", "é"]]}
    assert rest == [("chunk", "", b"1"), ("chunk", "", b"2"), ("end", "", b"")]


async def test_the_state_comes_back_whatever_the_server_was_started_with() -> None:
    """A dump holds plain values only, and what is loaded dumps the same."""
    first = create_app(Settings(access_lifetime=5, cors_origins=("http://a.example",))).state.server
    first.families.sign_in("ada", now=1.0, settings=first.settings)
    first.notes.put("ada", "n", "text", now=2.0)
    first.faults.add({"path": "*", "kind": "body", "headers": {"X": None}, "body": {"a": [1]}}, now=3.0)
    text = json.dumps(first.dump())
    second = create_app().state.server
    second.load(json.loads(text))
    assert json.dumps(second.dump()) == text
    assert second.settings.cors_origins == ("http://a.example",)
