"""Properties: whatever is sent, nothing breaks; whoever behaves is never accused."""

from __future__ import annotations

import ast
import asyncio
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

import mock_server
from mock_server.app import create_app
from mock_server.auth import Families, InvalidGrantError
from mock_server.settings import Settings

# Beside the server: what steers it from another process.
OUTSIDE = {"remote", "testing"}
ROUTES = [
    "/api/auth/login",
    "/api/auth/refresh",
    "/api/auth/logout",
    "/api/heartbeat",
    "/api/data",
    "/api/data/{}",
    "/api/notes",
    "/api/notes/{}",
    "/api/echo",
    "/api/{}",
    "/mock/journal",
    "/mock/journal?since={}&path={}",
    "/mock/settings",
    "/mock/expire",
    "/mock/revoke",
    "/mock/faults",
    "/mock/faults/{}",
    "/mock/reset",
    "/{}",
]
NAMES = [
    "username",
    "password",
    "refreshToken",
    "id",
    "text",
    "user",
    "accessTokens",
    "path",
    "kind",
    "status",
    "headers",
    "body",
    "location",
    "skip",
    "times",
    "seconds",
    "accessLifetime",
    "clockOffset",
    "corsOrigins",
    "tokenFormat",
]
WORDS = st.sampled_from(["ada", "lovelace", "status", "body", "redirect", "*", "/api/*", "jwt", "opaque", "\ud800"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | WORDS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)
BODIES = st.binary(max_size=200) | (OBJECTS | VALUES).map(lambda value: json.dumps(value).encode())
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])


@effort(deadline=None, max_examples=300)
@given(method=METHODS, route=st.sampled_from(ROUTES), part=st.text(max_size=30), body=BODIES, signed_in=st.booleans())
def test_no_request_is_answered_with_a_server_error(
    method: str,
    route: str,
    part: str,
    body: bytes,
    signed_in: bool,
) -> None:
    """Arbitrary JSON and bytes on every route: no traceback, no 5xx, and the journal can still be read."""

    async def run() -> None:
        app = create_app(page_root=Path(__file__).parent)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
            login = await client.post("/api/auth/login", json={"username": "ada", "password": "lovelace"})
            token = f"Bearer {login.json()['accessToken']}" if signed_in else "Bearer x"
            url = route.format(*[quote(part, safe="", errors="replace")] * 2)
            answer = await client.request(method, url, content=body, headers={"Authorization": token})
            assert answer.status_code < 500
            app.state.server.faults.clear()
            assert (await client.get("/mock/journal")).status_code == 200
            assert (await client.get("/mock/faults")).status_code == 200

    asyncio.run(run())


@effort(deadline=None, max_examples=300)
@given(rule=OBJECTS)
def test_every_rule_that_is_accepted_can_be_applied(rule: dict[str, Any]) -> None:
    """A rule that passed the checks never breaks a request in a way that is not its own."""
    app = create_app()
    try:
        app.state.server.faults.add({"path": "*"} | rule | {"delay": 0, "path": "*"}, now=0.0)
    except ValueError:
        return

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
            answer = await client.get("/api/data")
            assert answer.status_code in (401, rule.get("status"), 307)

    asyncio.run(run())


@effort(deadline=None, max_examples=300)
@given(
    steps=st.lists(st.tuples(st.sampled_from(["redeem", "lose", "race"]), st.floats(0, 2000)), max_size=30),
    rotation=st.booleans(),
)
def test_a_client_that_behaves_is_never_accused(
    steps: list[tuple[str, float]],
    rotation: bool,
) -> None:
    """Refreshing, losing answers and asking again within the grace time, and racing tabs are no reuse, ever."""
    settings, families, now = Settings(rotation=rotation), Families(), 0.0
    token = families.sign_in("ada", now=now, settings=settings).family.refresh_token
    for step, pause in steps:
        now += pause
        answer = families.redeem(token, now=now, settings=settings)
        if step == "lose":
            now += pause % settings.grace
            answer = families.redeem(token, now=now, settings=settings)
        if step == "race":
            assert families.redeem(token, now=now, settings=settings).family.refresh_token == (
                answer.family.refresh_token
            )
        token = answer.family.refresh_token
        assert families.authenticate(answer.access_token, now=now).user == "ada"


@effort(deadline=None, max_examples=200)
@given(refreshes=st.integers(2, 10), stolen=st.integers(0, 8), wait=st.floats(0, 100))
def test_a_stolen_refresh_token_never_serves_two(refreshes: int, stolen: int, wait: float) -> None:
    """Any spent token but the last predecessor ends the family for thief and owner."""
    settings, families, tokens = Settings(), Families(), []
    grant = families.sign_in("ada", now=0.0, settings=settings)
    for number in range(refreshes):
        tokens.append(grant.family.refresh_token)
        grant = families.redeem(tokens[-1], now=float(number), settings=settings)
    late = refreshes + settings.grace + wait
    for token in (tokens[stolen % refreshes], grant.family.refresh_token):
        with pytest.raises(InvalidGrantError):
            families.redeem(token, now=late, settings=settings)


def imports(file: Path) -> set[str]:
    """List the top-level names of what a module imports."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def reaches_outside(file: Path) -> bool:
    """Tell whether a module of the server itself imports what is beside it."""
    froms = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    names = {f"{node.module}.{alias.name}" for node in froms for alias in node.names} | {node.module for node in froms}
    return file.stem not in OUTSIDE and bool(names & {f"mock_server.{name}" for name in OUTSIDE})


def test_the_app_needs_nothing_that_a_browser_does_not_have() -> None:
    """Only the command knows uvicorn and signals; nothing knows threads; only the app knows the real clock."""
    everything = {file.stem: imports(file) for file in Path(mock_server.__file__).parent.glob("*.py")}
    modules = {name: used for name, used in everything.items() if name not in OUTSIDE}
    assert {name for name, used in modules.items() if used & {"uvicorn", "signal", "socket"}} == {"__main__"}
    assert {name for name, used in modules.items() if "time" in used} == {"app"}
    forbidden = {"threading", "concurrent", "anyio", "subprocess", "multiprocessing", "freshfetch", "pytest", "httpx"}
    assert not [name for name, used in modules.items() if used & forbidden]
    assert not [file for file in Path(mock_server.__file__).parent.glob("*.py") if reaches_outside(file)]


def test_steering_the_server_needs_nothing_that_running_it_does_not() -> None:
    """The remote is made of the standard library alone; the fixtures need pytest and the remote, and no more."""
    remote, testing = (imports(Path(mock_server.__file__).with_name(f"{name}.py")) for name in sorted(OUTSIDE))
    assert remote <= sys.stdlib_module_names
    assert testing - sys.stdlib_module_names == {"pytest", "mock_server"}
