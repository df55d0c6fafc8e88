"""The protected routes, the refusals, and what every answer carries."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mock_server.settings import Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from mock_server.state import Server

PROTECTED = [
    ("GET", "/api/heartbeat"),
    ("GET", "/api/data"),
    ("GET", "/api/data/x"),
    ("GET", "/api/notes"),
    ("POST", "/api/notes"),
    ("PUT", "/api/notes/x"),
    ("DELETE", "/api/notes/x"),
    ("POST", "/api/echo"),
]
WITH_BODY = [
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/refresh"),
    ("POST", "/api/auth/logout"),
    ("POST", "/api/notes"),
    ("PUT", "/api/notes/x"),
    ("PUT", "/mock/settings"),
    ("POST", "/mock/expire"),
    ("POST", "/mock/revoke"),
    ("POST", "/mock/faults"),
]
BAD_BODIES = {
    "no JSON": b"{",
    "not UTF-8": b'{"text": "\xff"}',
    "lone surrogate": rb'{"text": "\ud800"}',
    "lone surrogate in a name": rb'{"\udfff": "x"}',
    "a list": b"[]",
    "null": b"null",
    "NaN": b'{"text": NaN}',
    "endless": b"[" * 100_000,
    "deep": b'{"text": "]]]]", "user": ' + b"[" * 64 + b"]" * 64 + b"}",
    "deep after an escaped quote": rb'{"\"": ' + b"[" * 200 + b"]" * 200 + b"}",
    "endless string": b'{"text": "' + rb"\"" * 10_000,
    "huge number": b'{"text": ' + b"9" * 5000 + b"}",
    "wrong type": b'{"username": 1, "refreshToken": {}, "text": [], "user": 1, "accessTokens": 0, "path": 7}',
    "too large": b'{"text": "' + b"x" * 300_000 + b'"}',
}


@pytest.mark.parametrize("method,path", PROTECTED)
async def test_without_a_token_the_challenge_is_plain(client: httpx.AsyncClient, method: str, path: str) -> None:
    """A request that presents no token learns the scheme and nothing about an error."""
    answer = await client.request(method, path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert set(answer.json()) == {"error", "error_description"}


@pytest.mark.parametrize("method,path", PROTECTED)
async def test_with_a_bad_token_the_challenge_names_the_error(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    """A request that presents a token that does not work learns that from header and body."""
    answer = await client.request(method, path, headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Bearer error="invalid_token", error_description="')
    assert answer.json()["error"] == "invalid_token"


@pytest.mark.parametrize("value", ["Basic YTpi", "Token x", "bearerx y", ""])
async def test_another_scheme_is_no_token(client: httpx.AsyncClient, value: str) -> None:
    """Only Bearer presents an access token."""
    answer = await client.get("/api/data", headers={"Authorization": value})
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("token", ["", "é", "a b", "e30.e30.e30", "W1tb" * 9000 + ".e30.e30", "....", "e30.e30.!"])
async def test_no_token_is_too_strange_to_be_refused(client: httpx.AsyncClient, token: str) -> None:
    """Whatever follows Bearer, the answer is 401."""
    answer = await client.get("/api/data", headers=[(b"Authorization", f"Bearer {token}".encode("latin-1"))])
    assert answer.status_code == 401
    assert "invalid_token" in answer.headers["www-authenticate"]


async def test_the_scheme_is_not_case_sensitive(ada: Any) -> None:
    """RFC 9110: bearer is Bearer."""
    answer = await ada.ask("GET", "/api/data", headers={"Authorization": f"bearer {ada.tokens['accessToken']}"})
    assert answer.status_code == 200


async def test_the_heartbeat_says_who_and_for_how_long(ada: Any, clock: Any) -> None:
    """The heartbeat answers the user and what is left of the presented token."""
    clock.turn(100)
    assert (await ada.ask("GET", "/api/heartbeat")).json() == {"user": "ada", "expiresIn": 1700}


async def test_data_is_the_users(ada: Any, grace: Any) -> None:
    """Data names its user, so that a mix-up of tokens would be seen."""
    listed = (await ada.ask("GET", "/api/data")).json()
    assert listed["user"] == "ada"
    assert listed["items"]
    one = (await grace.ask("GET", "/api/data/amber")).json()
    assert one == {"name": "amber", "user": "grace", "value": "amber of grace"}


async def test_a_note_is_created_updated_and_deleted(ada: Any, clock: Any, effects: Any) -> None:
    """The life of a note, with the instants at which it was created and changed."""
    created = await ada.ask("POST", "/api/notes", json={"text": "hi"})
    note = created.json()
    assert created.status_code == 201
    instants = {"createdAt": clock(), "updatedAt": clock()}
    assert note == {"id": note["id"], "text": "hi", "version": note["version"], **instants}
    clock.turn(5)
    updated = await ada.ask("PUT", f"/api/notes/{note['id']}", json={"text": "ho"})
    assert (updated.status_code, updated.json()) == (
        200,
        note | {"text": "ho", "version": updated.json()["version"], "updatedAt": clock()},
    )
    assert updated.json()["version"] != note["version"]
    assert (await ada.ask("GET", "/api/notes")).json() == {"notes": [updated.json()]}
    assert (await ada.ask("DELETE", f"/api/notes/{note['id']}")).status_code == 204
    assert (await ada.ask("GET", "/api/notes")).json() == {"notes": []}
    assert effects() == ["signed_in", "note_created", "note_updated", "note_deleted"]


async def test_a_client_chosen_id_makes_a_repeat_harmless(ada: Any, effects: Any) -> None:
    """The same POST twice is one note, and journaled as one creation; likewise PUT and DELETE."""
    for status in (201, 200):
        answer = await ada.ask("POST", "/api/notes", json={"id": "mine", "text": "hi"})
        assert answer.status_code == status
    for status in (201, 200):
        answer = await ada.ask("PUT", "/api/notes/other", json={"text": "hi"})
        assert answer.status_code == status
    for _ in range(2):
        assert (await ada.ask("DELETE", "/api/notes/other")).status_code == 204
    assert [note["id"] for note in (await ada.ask("GET", "/api/notes")).json()["notes"]] == ["mine"]
    assert effects().count("note_created") == 2
    assert effects().count("note_deleted") == 1


async def test_a_version_that_was_not_seen_is_not_replaced(ada: Any, effects: Any) -> None:
    """With If-Match a note is changed or deleted in the version named and in no other; without it in any."""
    first = (await ada.ask("PUT", "/api/notes/one", json={"text": "first"})).json()["version"]
    seen, other = {"If-Match": f'"{first}"'}, {"If-Match": '"other"'}
    for method, content in (("PUT", {"json": {"text": "lost?"}}), ("DELETE", {})):
        answer = await ada.ask(method, "/api/notes/one", headers=other, **content)
        assert (answer.status_code, answer.json()["error"]) == (412, "changed_meanwhile")
    assert (await ada.ask("PUT", "/api/notes/one", json={"text": "second"}, headers=seen)).status_code == 200
    assert (await ada.ask("PUT", "/api/notes/one", json={"text": "late"}, headers=seen)).status_code == 412
    assert (await ada.ask("PUT", "/api/notes/none", json={"text": "gone"}, headers=seen)).status_code == 412
    assert (await ada.ask("DELETE", "/api/notes/one", headers={"If-Match": '"other", *'})).status_code == 204
    assert (await ada.ask("DELETE", "/api/notes/one", headers=seen)).status_code == 204
    assert effects() == ["signed_in", "note_created", "note_updated", "note_deleted"]


async def test_each_user_has_notes_of_their_own(ada: Any, grace: Any) -> None:
    """The same id of two users is two notes."""
    await ada.ask("PUT", "/api/notes/same", json={"text": "of ada"})
    await grace.ask("PUT", "/api/notes/same", json={"text": "of grace"})
    await grace.ask("DELETE", "/api/notes/same")
    assert [note["text"] for note in (await ada.ask("GET", "/api/notes")).json()["notes"]] == ["of ada"]


async def test_notes_have_limits(ada: Any) -> None:
    """10 000 characters are a note and one more is not; an id is 1 to 64 plain characters."""
    assert (await ada.ask("POST", "/api/notes", json={"text": "😀" * 10_000})).status_code == 201
    assert (await ada.ask("POST", "/api/notes", json={"text": "x" * 10_001})).status_code == 413
    assert (await ada.ask("PUT", f"/api/notes/{'x' * 64}", json={"text": ""})).status_code == 201
    for bad in ("x" * 65, "a b", "ä", "a.b"):
        assert (await ada.ask("PUT", f"/api/notes/{bad}", json={"text": ""})).status_code == 400
        assert (await ada.ask("POST", "/api/notes", json={"id": bad, "text": ""})).status_code == 400


@pytest.mark.parametrize("body,shown", [(b"", ""), ("grüße".encode(), "grüße"), (b"\xff\x00", None)])
async def test_echo_says_what_arrived(ada: Any, effects: Any, body: bytes, shown: str | None) -> None:
    """Echo answers length, digest, text and headers, without the credentials."""
    headers = {"X-Request-Id": "7", "Cookie": "a=b"}
    answer = (await ada.ask("POST", "/api/echo", content=body, headers=headers)).json()
    assert (answer["user"], answer["method"], answer["body"]) == ("ada", "POST", shown)
    assert (answer["bodyLength"], answer["bodySha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert answer["headers"]["x-request-id"] == "7"
    assert not {"authorization", "cookie"} & set(answer["headers"])
    assert effects()[-1] == "echoed"


async def test_echo_takes_large_bodies_up_to_a_limit(ada: Any) -> None:
    """A file of some megabytes arrives whole; one beyond the limit is refused."""
    assert (await ada.ask("POST", "/api/echo", content=b"x" * 5_000_000)).json()["bodyLength"] == 5_000_000
    assert (await ada.ask("POST", "/api/echo", content=b"x" * 8_400_000)).status_code == 413


@pytest.mark.parametrize("method,path", WITH_BODY)
@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
async def test_bad_bodies_are_refused_as_json(ada: Any, method: str, path: str, body: bytes) -> None:
    """No body is so bad that it gets anything but a refusal in the usual shape."""
    answer = await ada.ask(method, path, content=body)
    assert answer.status_code in (400, 413)
    assert answer.json()["error"] == "invalid_request"
    assert answer.json()["error_description"]


async def test_brackets_in_a_text_are_no_nesting(ada: Any) -> None:
    """What looks like structure inside of a string is text, and real nesting is taken up to a limit."""
    text = '[{"' * 1000 + "\\"
    answer = await ada.ask("POST", "/api/notes", json={"text": text, "more": json.loads("[" * 63 + "]" * 63)})
    assert (answer.status_code, answer.json()["text"]) == (201, text)


@pytest.mark.parametrize(
    "method,path,status,error",
    [
        ("GET", "/api/nothing", 404, "not_found"),
        ("POST", "/api/nothing", 404, "not_found"),
        ("GET", "/api/data/", 404, "not_found"),
        ("GET", "/mock/nothing", 404, "not_found"),
        ("PATCH", "/api/notes", 405, "method_not_allowed"),
        ("GET", "/api/auth/login", 405, "method_not_allowed"),
        ("GET", "/mock/reset", 405, "method_not_allowed"),
    ],
)
async def test_unknown_routes_and_methods_are_json_too(
    client: httpx.AsyncClient, method: str, path: str, status: int, error: str
) -> None:
    """A wrong path is 404 and a wrong method 405, in the usual shape, without a redirect."""
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


async def test_a_405_names_every_method_of_the_path(client: httpx.AsyncClient) -> None:
    """Allow lists all methods of the path and not just the first."""
    answer = await client.patch("/api/notes")
    assert {"GET", "POST"} <= set(answer.headers["allow"].split(", "))


async def test_every_answer_has_the_servers_own_date(client: httpx.AsyncClient, change: Any) -> None:
    """Date is the server's clock, offset included."""
    assert (await client.get("/api/data")).headers["date"] == "Fri, 15 Jan 2027 08:00:00 GMT"
    await change(clockOffset=60)
    assert (await client.get("/api/nothing")).headers["date"] == "Fri, 15 Jan 2027 08:01:00 GMT"


async def test_a_client_that_goes_in_mid_body_harms_nobody(app: Starlette, server: Server) -> None:
    """A request whose body ends with a disconnect is refused and journaled, not a traceback."""
    scope = {"type": "http", "method": "POST", "path": "/api/auth/login", "headers": [], "query_string": b""}
    sent = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert server.journal.entries[-1].error == "invalid_request"


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_what_is_not_a_request_passes_through(app: Starlette, server: Server, kind: str) -> None:
    """A host may announce its start, and a WebSocket is refused as Starlette does; neither is journaled."""
    received = [{"type": f"{kind}.startup"}, {"type": f"{kind}.shutdown"}]
    sent = []

    async def receive() -> Any:
        return received.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": kind, "path": "/api/data", "headers": [], "state": {}}, receive, send)
    assert sent in (["lifespan.startup.complete", "lifespan.shutdown.complete"], ["websocket.close"])
    assert not server.journal.entries


class TestCrossOrigin:
    """A server that lets one other origin in."""

    ORIGIN = "http://localhost:5173"

    @pytest.fixture
    def settings(self) -> Settings:
        """Allow one origin."""
        return Settings(cors_origins=(self.ORIGIN,))

    async def test_an_allowed_origin_may_read_what_a_client_needs(self, client: httpx.AsyncClient) -> None:
        """Answers to an allowed origin, refusals too, expose the three headers a client looks at."""
        answer = await client.get("/api/data", headers={"Origin": self.ORIGIN})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == self.ORIGIN
        exposed = set(answer.headers["access-control-expose-headers"].split(", "))
        assert exposed == {"WWW-Authenticate", "Retry-After", "Date"}
        assert "access-control-allow-credentials" not in answer.headers

    async def test_a_preflight_is_answered(self, client: httpx.AsyncClient) -> None:
        """A browser may send the methods and headers that the API needs."""
        asked = {"Access-Control-Request-Method": "PUT"}
        asked["Access-Control-Request-Headers"] = "authorization,content-type,x-request-id"
        answer = await client.options("/api/notes/x", headers={"Origin": self.ORIGIN, **asked})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == self.ORIGIN

    async def test_another_origin_is_not_let_in(self, client: httpx.AsyncClient) -> None:
        """An origin that is not on the list gets no permission, neither in advance nor after."""
        other = {"Origin": "http://localhost:5174"}
        preflight = await client.options("/api/data", headers=other | {"Access-Control-Request-Method": "GET"})
        assert preflight.status_code == 400
        for answer in (preflight, await client.get("/api/data", headers=other)):
            assert "access-control-allow-origin" not in answer.headers

    async def test_the_list_can_be_changed_while_the_server_runs(self, client: httpx.AsyncClient, change: Any) -> None:
        """An origin taken off the list is out at once."""
        await change(corsOrigins=[])
        answer = await client.get("/api/data", headers={"Origin": self.ORIGIN})
        assert "access-control-allow-origin" not in answer.headers

    async def test_an_injected_fault_can_be_read_across_origins_and_spares_the_preflight(
        self, client: httpx.AsyncClient
    ) -> None:
        """A fault answers like the API: readable, dated, and not used up by the browser's question in advance."""
        rule = {"path": "/api/data", "kind": "status", "status": 503, "headers": {"Retry-After": "2"}, "times": 1}
        await client.post("/mock/faults", json=rule)
        asked = {"Origin": self.ORIGIN, "Access-Control-Request-Method": "GET"}
        assert (await client.options("/api/data", headers=asked)).status_code == 200
        answer = await client.get("/api/data", headers={"Origin": self.ORIGIN})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert answer.headers["access-control-allow-origin"] == self.ORIGIN
        assert "date" in answer.headers


def test_the_bad_bodies_are_what_they_say() -> None:
    """The table above really holds one body that is JSON with a lone surrogate."""
    assert json.loads(BAD_BODIES["lone surrogate"])["text"] == "\ud800"
