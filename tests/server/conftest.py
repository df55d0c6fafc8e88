"""What the tests of the mock server share: the app in this process, a clock to turn, and a client that is signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mock_server.app import create_app
from mock_server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.applications import Starlette

    from mock_server.state import Server

START = 1_800_000_000.0


class HandClock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        """Tell the time."""
        return self.time

    def turn(self, seconds: float) -> None:
        """Let this much time pass."""
        self.time += seconds


class Person:
    """Somebody who is signed in and keeps the tokens of the latest answer."""

    def __init__(self, client: httpx.AsyncClient, answer: dict[str, Any]) -> None:
        self.client = client
        self.tokens = answer

    @property
    def bearer(self) -> dict[str, str]:
        """The header that shows the access token."""
        return {"Authorization": f"Bearer {self.tokens['accessToken']}"}

    async def ask(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send a request with the access token."""
        headers = self.bearer | options.pop("headers", {})
        return await self.client.request(method, url, headers=headers, **options)

    async def is_in(self) -> bool:
        """Tell whether the access token works."""
        return (await self.ask("GET", "/api/heartbeat")).status_code == 200

    async def redeem(self, refresh_token: str | None = None) -> httpx.Response:
        """Present a refresh token, the latest one if none is given, and keep nothing of the answer."""
        token = refresh_token or self.tokens["refreshToken"]
        return await self.client.post("/api/auth/refresh", json={"refreshToken": token})

    async def refresh(self) -> None:
        """Refresh as a client does that behaves."""
        answer = await self.redeem()
        assert answer.status_code == 200
        self.tokens = answer.json()


@pytest.fixture
def clock() -> HandClock:
    """Stand in for the real time."""
    return HandClock()


@pytest.fixture
def settings() -> Settings:
    """Start the server with the defaults; tests that need others override this."""
    return Settings()


@pytest.fixture
def app(settings: Settings, clock: HandClock) -> Starlette:
    """Make the app under test."""
    return create_app(settings, clock=clock)


@pytest.fixture
def server(app: Starlette) -> Server:
    """Look inside the app under test."""
    state: Server = app.state.server
    return state


@pytest.fixture
async def client(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """Talk to the app from this machine, without a socket."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
        yield client


@pytest.fixture
def sign_in(client: httpx.AsyncClient) -> Callable[..., Any]:
    """Sign somebody in."""

    async def sign_in(username: str = "ada", password: str = "lovelace") -> Person:
        answer = await client.post("/api/auth/login", json={"username": username, "password": password})
        assert answer.status_code == 200
        return Person(client, answer.json())

    return sign_in


@pytest.fixture
async def ada(sign_in: Callable[..., Any]) -> Person:
    """Be ada, signed in."""
    person: Person = await sign_in()
    return person


@pytest.fixture
async def grace(sign_in: Callable[..., Any]) -> Person:
    """Be grace, signed in."""
    person: Person = await sign_in("grace", "hopper")
    return person


@pytest.fixture
def change(client: httpx.AsyncClient) -> Callable[..., Any]:
    """Change settings of the running server."""

    async def change(**settings: object) -> None:
        assert (await client.put("/mock/settings", json=settings)).status_code == 200

    return change


@pytest.fixture
def effects(server: Server) -> Callable[[], list[str]]:
    """List everything that changed at the server, in order."""
    return lambda: [effect for entry in server.journal.entries for effect in entry.effects]
