"""A naive client: the article's own algorithm, to see what would have happened. Never use it.

It intercepts a 401, refreshes and sends again, and is as wrong about it as the examples people copy:

- every refused request starts a refresh of its own; nothing is held meanwhile;
- of the answer only the access token is kept: the rotated refresh token is thrown away;
- a refresh that fails, for whatever reason, is reported and forgotten; what waited for it is sent all the same;
- any refusal by the auth server, also "come back in three seconds", asks the person to sign in again;
- what is sent again keeps its address and nothing else: a POST becomes a GET;
- the tokens are wherever the last writer put them: two tabs share them, without a lock, and so do two people.

Two of the article's mistakes are left out, because a comparison has to end: a refusal that lasts is not repeated for
ever, and no interval refreshes beside all this. It has a session of its own and knows nothing of freshfetch but the
names of its events, so that the timeline can draw it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from freshfetch import (
    Event,
    RefreshFailed,
    RefreshStarted,
    RefreshSucceeded,
    RequestAnswered,
    RequestFailed,
    RequestSent,
    SessionExpired,
)

UNAUTHORIZED = 401
OK = range(200, 300)
Send = Callable[[str, str, Mapping[str, str], str | None], Awaitable[tuple[int, dict[str, Any]]]]
"""Method, path, headers, body -> status, content. A ConnectionError when no answer comes."""


class NaiveClient:
    """The article's client. ``storage`` is its localStorage: whoever is given the same one is another tab."""

    def __init__(
        self,
        send: Send,
        *,
        auth: str,
        name: str,
        numbers: Iterator[int],
        storage: dict[str, str],
        emit: Callable[[Event], object],
    ) -> None:
        self._send = send
        self._auth = auth
        self._name = name
        self._numbers = numbers
        self._storage = storage
        self._emit = emit

    async def sign_in(self, username: str, password: str) -> bool:
        """Sign in."""
        status, answer = await self._post("login", {"username": username, "password": password})
        if status in OK:
            self._storage["accessToken"], self._storage["refreshToken"] = answer["accessToken"], answer["refreshToken"]
        return status in OK

    async def request(self, path: str, method: str = "GET", body: str | None = None) -> bool:
        """Ask for something; True when the server did it."""
        number = next(self._numbers)
        try:
            status = await self._try(number, method, path, body)
            if status == UNAUTHORIZED:
                await self._refresh()
                status = await self._try(number, "GET", path, None, replay=True)
        except ConnectionError:
            self._emit(RequestFailed(at=time.time(), number=number, method=method, path=path, error="NetworkError"))
            return False
        return status in OK

    async def _try(self, number: int, method: str, path: str, body: str | None, *, replay: bool = False) -> int:
        self._emit(RequestSent(at=time.time(), number=number, method=method, path=path, replay=replay))
        headers = {
            "Authorization": f"Bearer {self._storage.get('accessToken', 'null')}",
            "X-Request-Id": f"{self._name}-{number}",
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        status, _ = await self._send(method, path, headers, body)
        refused = status == UNAUTHORIZED
        answered = RequestAnswered(
            at=time.time(), number=number, method=method, path=path, status=status, refused=refused
        )
        self._emit(answered)
        return status

    async def _refresh(self) -> None:
        self._emit(RefreshStarted(at=time.time(), reason="refused"))
        try:
            status, answer = await self._post("refresh", {"refreshToken": self._storage.get("refreshToken")})
        except ConnectionError:
            self._emit(RefreshFailed(at=time.time(), status=None, retry_in=None))
            return
        if status in OK:
            self._storage["accessToken"] = answer["accessToken"]
            self._emit(RefreshSucceeded(at=time.time(), expires_in=answer.get("expiresIn")))
        else:
            self._emit(SessionExpired(at=time.time(), reason=f"the auth server answered {status}"))

    async def _post(self, route: str, content: Mapping[str, object]) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json", "X-Request-Id": f"{self._name}-{route}"}
        return await self._send("POST", f"{self._auth}/{route}", headers, json.dumps(content))
