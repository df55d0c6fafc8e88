"""Run: one scene, played once with one client, from a clean slate to a clean slate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .conditions import Unreachable
from .proof import Proof, judge
from .scenes import SCENES

if TYPE_CHECKING:
    from ..journal import Entry
    from ..mock_controls import MockControls
    from .account import Account
    from .conditions import Conditions
    from .scenes import Client, Tab

LOOKS = 20
"""How often the journal is read again while the server is still busy with something."""
BETWEEN_LOOKS = 0.1


class Run:
    """What a scene is played on."""

    def __init__(
        self, mock: MockControls, conditions: Conditions, *, seconds: int, other: str, say: Callable[[str], None]
    ) -> None:
        self._mock = mock
        self._conditions = conditions
        self._since = 0
        self.client: Client
        self.second: Tab | None = None
        self.other = other
        self.seconds = seconds
        self.say = say

    async def play(self, name: str, client: Client, second: Tab | None) -> None:
        """Play a scene; whatever happens, the server is as it was before."""
        self.client, self.second = client, second
        await self.count_from_here()
        self._conditions.begin(name)
        try:
            await SCENES[name](self)
        finally:
            await self._conditions.end()

    async def restore(self) -> None:
        """Put back what was changed so far."""
        await self._conditions.restore()

    async def count_from_here(self) -> None:
        """Leave out of the account what the server was asked so far."""
        number = await self._mock.last_entry()
        if number is None:
            raise Unreachable
        self._since = number

    async def kill_token(self) -> None:
        """Make the client's access token stop working."""
        if not await self._mock.expire(self.client.user):
            raise Unreachable

    async def revoke(self) -> None:
        """End the client's session at the server."""
        if not await self._mock.revoke(self.client.user):
            raise Unreachable

    async def set(self, **settings: Any) -> None:
        """Change the server's settings."""
        await self._conditions.set(**settings)

    async def rule(self, **rule: Any) -> None:
        """Set a fault rule."""
        await self._conditions.rule(**rule)

    async def judge(self, account: Account) -> Proof:
        """Judge an account when the server is through with what it was asked."""
        entries: list[Entry] = []
        for _ in range(LOOKS):
            found = await self._mock.entries(self._since)
            if found is None:
                raise Unreachable
            entries = found
            if all(entry["done"] for entry in entries):
                break
            await asyncio.sleep(BETWEEN_LOOKS)
        return judge(account, entries)
