"""The controls and the journal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mock_server.app import create_app
from mock_server.journal import Journal
from mock_server.settings import Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import Message

DEFAULTS = {
    "accessLifetime": 1800,
    "refreshLifetime": 1209600,
    "rotation": True,
    "grace": 10,
    "clockOffset": 0,
    "latency": 0,
    "tokenFormat": "jwt",
    "corsOrigins": [],
}


async def journal(client: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    """Read the journal over the wire."""
    entries: list[dict[str, Any]] = (await client.get(f"/mock/journal{query}")).json()["entries"]
    return entries


async def test_a_journal_entry_says_what_came_of_a_request(client: httpx.AsyncClient, ada: Any, clock: Any) -> None:
    """The exact shape of an entry."""
    clock.turn(5)
    await ada.ask("POST", "/api/notes?secret=1", json={"text": "hi"}, headers={"X-Request-Id": "r1"})
    assert (await journal(client))[-1] == {
        "number": 2,
        "at": clock(),
        "method": "POST",
        "path": "/api/notes",
        "status": 201,
        "user": "ada",
        "family": 1,
        "requestId": "r1",
        "error": None,
        "fault": None,
        "effects": ["note_created"],
        "done": True,
    }


async def test_the_journal_names_error_and_owner_of_what_was_refused(
    client: httpx.AsyncClient, ada: Any, clock: Any
) -> None:
    """A refused token is journaled with its owner, since a mix-up of users shows in refusals too."""
    clock.turn(1800)
    await ada.ask("GET", "/api/data")
    entry = (await journal(client))[-1]
    assert (entry["status"], entry["error"], entry["user"], entry["family"]) == (401, "invalid_token", "ada", 1)


async def test_the_journal_never_holds_a_secret(client: httpx.AsyncClient, ada: Any, server: Any) -> None:
    """Neither tokens nor passwords nor bodies can be found in it."""
    await ada.refresh()
    await ada.redeem("a-wrong-refresh-token")
    await ada.ask("POST", "/api/echo", content="a-secret-body")
    text = (await client.get("/mock/journal")).text + repr(server.journal.entries)
    secrets = ["lovelace", "a-wrong-refresh-token", "a-secret-body", *(str(value) for value in ada.tokens.values())]
    assert not [secret for secret in secrets if len(secret) > 8 and secret in text]


async def test_a_request_id_is_cut_to_a_reasonable_length(client: httpx.AsyncClient) -> None:
    """A client cannot fill the journal with one header."""
    await client.get("/api/data", headers={"X-Request-Id": "x" * 1000})
    assert (await journal(client))[-1]["requestId"] == "x" * 128


async def test_the_journal_can_be_narrowed(client: httpx.AsyncClient, ada: Any) -> None:
    """By path, by a pattern, and by the number of the last entry seen."""
    for path in ("/api/data", "/api/data/a", "/api/data/b", "/api/heartbeat"):
        await ada.ask("GET", path)
    assert [e["path"] for e in await journal(client, "?path=/api/data/*")] == ["/api/data/a", "/api/data/b"]
    assert [e["number"] for e in await journal(client, "?path=/api/data")] == [2]
    assert [e["number"] for e in await journal(client, "?since=3")] == [4, 5]
    for bad in ("x", "-1", "1e3", "9" * 30, "²"):
        assert (await client.get("/mock/journal", params={"since": bad})).status_code == 400


async def test_numbers_go_on_after_the_journal_is_cleared(client: httpx.AsyncClient, ada: Any) -> None:
    """Whoever reads with ?since= misses nothing when somebody else clears the journal."""
    assert (await client.delete("/mock/journal")).status_code == 204
    assert await journal(client) == []
    await ada.ask("GET", "/api/data")
    assert [e["number"] for e in await journal(client)] == [2]


async def test_only_the_api_is_journaled(client: httpx.AsyncClient) -> None:
    """Controls and files would drown the rest."""
    for path in ("/", "/index.html", "/mock/settings", "/mock/nothing"):
        await client.get(path)
    assert await journal(client) == []


async def test_effects_are_counted_by_request_id(client: httpx.AsyncClient, ada: Any) -> None:
    """A test can say: this request had exactly one effect, and that one had none."""
    for request_id, text in (("r1", "a"), ("r2", "b"), ("r2", "c"), ("r3", 7)):
        await ada.ask("POST", "/api/notes", json={"text": text}, headers={"X-Request-Id": request_id})
    await ada.ask("POST", "/api/notes", json={"text": "without an id"})
    everything = (await client.get("/mock/journal/effects")).json()
    assert everything == {"effects": {"r1": {"note_created": 1}, "r2": {"note_created": 2}, "r3": {}}, "missed": 0}
    for query, ids in (("requestId=r2", ["r2"]), ("since=3", ["r2", "r3"]), ("path=/api/d*", []), ("requestId=x", [])):
        part = (await client.get(f"/mock/journal/effects?{query}")).json()
        assert list(part["effects"]) == ids


async def test_a_long_request_id_finds_what_the_journal_kept_of_it(client: httpx.AsyncClient, ada: Any) -> None:
    """Who sent a longer id than the journal keeps asks with that and gets an answer."""
    await ada.ask("POST", "/api/echo", headers={"X-Request-Id": "x" * 500})
    effects = (await client.get(f"/mock/journal/effects?requestId={'x' * 500}")).json()["effects"]
    assert effects == {"x" * 128: {"echoed": 1}}


async def test_a_journal_can_be_read_in_parts(client: httpx.AsyncClient, ada: Any) -> None:
    """From `next` to `next` each entry comes once, whatever is filtered out, and also over a clearing."""
    for name in "abcde":
        await ada.ask("GET", f"/api/data/{name}")
        await ada.ask("GET", "/api/heartbeat")
    query, seen, since = "path=/api/data/*&limit=2", [], 0
    for size in (2, 2, 1, 0):
        part = (await client.get(f"/mock/journal?{query}&since={since}")).json()
        assert (len(part["entries"]), part["missed"]) == (size, 0)
        seen += [entry["path"][-1] for entry in part["entries"]]
        since = part["next"]
    assert seen == list("abcde")
    await client.delete("/mock/journal")
    await ada.ask("GET", "/api/data/f")
    part = (await client.get(f"/mock/journal?{query}&since={since}")).json()
    assert ([entry["path"] for entry in part["entries"]], part["missed"]) == (["/api/data/f"], 0)
    assert (await client.get("/mock/journal?limit=many")).status_code == 400


async def test_an_entry_says_when_the_server_is_through_with_it(client: httpx.AsyncClient, app: Starlette) -> None:
    """A request that is under way is in the journal, not done; when its client has gone it is."""
    await client.post("/mock/faults", json={"path": "/api/data", "kind": "stall"})
    gone = asyncio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        """Nobody listens."""

    scope = {"type": "http", "method": "GET", "path": "/api/data", "headers": [], "query_string": b""}
    stalled = asyncio.create_task(app(scope, receive, send))
    while not await journal(client):
        await asyncio.sleep(0)
    assert [entry["done"] for entry in await journal(client)] == [False]
    gone.set()
    with pytest.raises(ConnectionResetError):
        await stalled
    assert [entry["done"] for entry in await journal(client)] == [True]


def test_what_a_full_journal_had_no_room_for_is_counted() -> None:
    """Whoever counts can know that the count is whole; what was cleared on purpose is not missed."""
    journal = Journal(limit=3)
    for number in range(5):
        journal.open(at=0.0, method="GET", path=f"/api/data/{number + 1}", request_id=None)
    assert [journal.missed(since) for since in (0, 1, 2, 3, 9)] == [2, 1, 0, 0, 0]
    assert [entry.number for entry in journal.select(since=3)] == [4, 5]
    journal.clear()
    assert (journal.missed(), journal.select()) == (0, [])
    for _ in range(4):
        journal.open(at=0.0, method="GET", path="/api/data", request_id=None)
    assert (journal.missed(), [entry.number for entry in journal.select()]) == (1, [7, 8, 9])
    journal.reset()
    assert (journal.missed(), journal.last_number) == (0, 0)


def test_a_full_journal_forgets_its_oldest_entries() -> None:
    """Memory is bounded; numbers show what is gone."""
    journal = Journal(limit=2)
    for _ in range(3):
        journal.open(at=0.0, method="GET", path="/api/data", request_id=None)
    assert [entry.number for entry in journal.entries] == [2, 3]


async def test_all_settings_are_shown_and_any_may_be_changed(client: httpx.AsyncClient) -> None:
    """GET shows all; PUT replaces those it names and answers with all."""
    assert (await client.get("/mock/settings")).json() == DEFAULTS
    changed = {"accessLifetime": 5, "rotation": False, "corsOrigins": ["http://localhost:5173"]}
    assert (await client.put("/mock/settings", json=changed)).json() == DEFAULTS | changed
    assert (await client.put("/mock/settings", json={"grace": 0.5})).json() == DEFAULTS | changed | {"grace": 0.5}


@pytest.mark.parametrize(
    "changes",
    [
        {"accessLifetime": -1},
        {"accessLifetime": "5"},
        {"accessLifetime": True},
        {"accessLifetime": None},
        {"accessLifetime": [5]},
        {"refreshLifetime": 10**400},
        {"latency": 2e9},
        {"clockOffset": -2e9},
        {"rotation": 1},
        {"tokenFormat": "xml"},
        {"tokenFormat": []},
        {"corsOrigins": "http://localhost"},
        {"corsOrigins": [1]},
        {"corsOrigins": ["http://é"]},
        {"access_lifetime": 5},
        {"accesslifetime": 5},
    ],
    ids=str,
)
async def test_impossible_settings_are_refused_and_nothing_changes(
    client: httpx.AsyncClient, changes: dict[str, object]
) -> None:
    """One bad setting spoils the whole change, and the refusal names it."""
    answer = await client.put("/mock/settings", json={"grace": 1} | changes)
    assert answer.status_code == 400
    assert next(iter(changes)) in answer.json()["error_description"]
    assert (await client.get("/mock/settings")).json() == DEFAULTS


@pytest.mark.parametrize("wrong", [{"grace": -1}, {"rotation": "yes"}, {"token_format": "xml"}, {"cors_origins": "*"}])
def test_settings_are_checked_in_python_too(wrong: dict[str, Any]) -> None:
    """A Settings value that the server could not live with cannot be made."""
    with pytest.raises(ValueError, match="must be"):
        Settings(**wrong)


async def test_expire_stops_access_tokens_and_spares_refresh_tokens(client: httpx.AsyncClient, ada: Any) -> None:
    """After expire a client has to refresh, and can; a token of the same instant issued afterwards works."""
    assert (await client.post("/mock/expire")).json() == {"affected": 1}
    assert not await ada.is_in()
    await ada.refresh()
    assert await ada.is_in()


async def test_expire_counts_sign_ins_that_had_a_working_token(client: httpx.AsyncClient, ada: Any, grace: Any) -> None:
    """Expiring twice affects nobody the second time; a user's name narrows it."""
    assert (await client.post("/mock/expire", json={"user": "grace"})).json() == {"affected": 1}
    assert await ada.is_in()
    assert not await grace.is_in()
    assert (await client.post("/mock/expire", json={})).json() == {"affected": 1}
    assert (await client.post("/mock/expire", json={"user": None})).json() == {"affected": 0}
    assert (await client.post("/mock/expire", json={"user": "nobody"})).json() == {"affected": 0}


async def test_revoke_ends_everything(client: httpx.AsyncClient, ada: Any, grace: Any) -> None:
    """Both tokens die; a user's name narrows it."""
    assert (await client.post("/mock/revoke", json={"user": "ada"})).json() == {"affected": 1}
    assert not await ada.is_in()
    assert (await ada.redeem()).json()["error_description"] == "The refresh token was revoked."
    assert await grace.is_in()
    assert (await client.post("/mock/revoke")).json() == {"affected": 1}
    assert not await grace.is_in()


async def test_revoke_may_spare_the_access_tokens(client: httpx.AsyncClient, ada: Any, clock: Any) -> None:
    """The access token works until it expires although it cannot be renewed."""
    assert (await client.post("/mock/revoke", json={"accessTokens": False})).json() == {"affected": 1}
    assert (await ada.redeem()).status_code == 400
    assert await ada.is_in()
    clock.turn(1800)
    assert not await ada.is_in()


@pytest.mark.parametrize("path", ["/mock/expire", "/mock/revoke"])
async def test_a_misspelt_field_is_refused(client: httpx.AsyncClient, path: str) -> None:
    """Else the test that misspelt it would test something else."""
    answer = await client.post(path, json={"usr": "ada"})
    assert answer.status_code == 400
    assert "'usr'" in answer.json()["error_description"]


async def test_reset_goes_back_to_the_start(client: httpx.AsyncClient, sign_in: Any, change: Any, server: Any) -> None:
    """Nothing is left, and a token from before is not taken for one of the new first sign-in."""
    before = await sign_in()
    await before.ask("PUT", "/api/notes/x", json={"text": "hi"})
    await change(accessLifetime=5)
    await client.post("/mock/faults", json={"path": "/api/data", "kind": "drop_before"})
    assert (await client.post("/mock/reset")).status_code == 204
    assert await journal(client) == []
    assert (await client.get("/mock/settings")).json() == DEFAULTS
    assert (await client.get("/mock/faults")).json() == {"faults": []}
    assert server.notes.of("ada") == []
    after = await sign_in()
    assert not await before.is_in()
    assert (await before.redeem()).status_code == 400
    assert await after.is_in()
    assert (await journal(client))[0]["number"] == 1
    rule = await client.post("/mock/faults", json={"path": "/x", "kind": "stall"})
    assert rule.json() == {"id": 1}


@pytest.mark.parametrize(
    "host,controls,status",
    [
        ("127.0.0.1", None, 200),
        ("127.8.9.1", None, 200),
        ("::1", None, 200),
        ("::ffff:127.0.0.1", None, 200),
        ("192.168.1.5", None, 404),
        ("::ffff:192.168.1.5", None, 404),
        ("2001:db8::1", None, 404),
        ("testclient", None, 404),
        ("192.168.1.5", True, 200),
        ("127.0.0.1", False, 404),
    ],
)
async def test_the_controls_are_for_this_machine(host: str, controls: bool | None, status: int) -> None:
    """Others get 404, whatever they ask for; an embedding host decides for itself."""
    app = create_app(controls=controls)
    transport = httpx.ASGITransport(app, client=(host, 1234))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        assert (await client.get("/mock/settings")).status_code == status
        assert (await client.delete("/mock/settings")).status_code == (404 if status == 404 else 405)
        assert (await client.get("/api/data")).status_code == 401


async def test_a_host_that_names_no_client_is_not_this_machine(app: Starlette) -> None:
    """Without an address the controls stay hidden."""
    scope = {"type": "http", "method": "GET", "path": "/mock/settings", "headers": [], "query_string": b""}
    statuses = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    await app(scope, receive, send)
    assert statuses[0] == 404
