"""Tabs: a real second tab of this page, opened by a press and told by word of mouth what to do.

The two speak over a BroadcastChannel about what to do and how it went: names, numbers and paths, never a token or a
password. The window's own name says that it was opened for this, and for which run.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import js
from pyodide.ffi import JsException, create_proxy

from freshfetch import FreshfetchError

from ..elements import Tasks, listen
from .clients import Fresh, Places

if TYPE_CHECKING:
    from freshfetch import Session

    from ..ledger import Ledger
    from .account import Account

CHANNEL = "freshfetch.page.second-tab"
NAME = "freshfetch-second-tab-"
PATIENCE = 60.0
"""Seconds a second tab may take to start, or to do what it is told."""
LOOK = 0.5
"""Seconds between two looks whether it is still there."""


GONE = "The second tab was closed before it was over. Press again and leave it alone: it is closed for you."
SILENT = "The second tab does not answer. Close it if it is still there, and press again."
NOT_SIGNED_IN = "Nobody could be signed in in the second tab. Press again."


class TabGone(Exception):  # noqa: N818 - it is what has become of it
    """The second tab was closed, or does not do what it is told. Says what a person can do."""


class Wire:
    """What one of the two tabs hears and says. ``me`` is ``first`` or ``second``."""

    def __init__(self, run: str, me: str) -> None:
        self._run = run
        self._me = me
        self._heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._channel = js.BroadcastChannel.new(CHANNEL)
        self._proxy = create_proxy(self._on_message)
        self._channel.addEventListener("message", self._proxy)

    def say(self, what: str, **content: Any) -> None:
        """Tell the other tab."""
        self._channel.postMessage(json.dumps({"run": self._run, "from": self._me, "what": what, **content}))

    async def hear(self) -> dict[str, Any]:
        """Return the next thing the other tab says."""
        return await self._heard.get()

    def close(self) -> None:
        """Stop listening."""
        self._channel.close()
        self._proxy.destroy()

    def _on_message(self, event: Any) -> None:
        content = json.loads(str(event.data))
        if content["run"] == self._run and content["from"] != self._me:
            self._heard.put_nowait(content)


class SecondTab:
    """The second tab, seen from the first."""

    def __init__(self, window: Any, run: str, account: Account) -> None:
        self._window = window
        self._loaded_at = 0.0
        self._account = account
        self._wire = Wire(run, "first")

    @classmethod
    def open(cls, run: str) -> Any:
        """Open it, in the middle of a click, or it is blocked: then there is none."""
        window = js.window.open(js.location.href.split("#")[0], NAME + run)
        return window or None

    async def start(self) -> None:
        """Wait until it runs."""
        await self._hear("ready")
        self._loaded_at = self._load_time()

    async def send(self, size: int) -> None:
        """Let it send so many requests at once, and wait for their fate."""
        self._wire.say("send", size=size)
        answer = await self._hear("sent")
        self._account.add(answer["account"])

    async def sign_in(self, user: str) -> None:
        """Let somebody sign in over there."""
        self._wire.say("sign-in", user=user)
        await self._hear("signed-in")

    def close(self) -> None:
        """Close it."""
        self._wire.close()
        self._window.close()

    async def _hear(self, what: str) -> dict[str, Any]:
        """Return what it says of that."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        while self._is_there():
            if loop.time() > until:
                raise TabGone(SILENT)
            try:
                async with asyncio.timeout(LOOK):
                    heard = await self._wire.hear()
            except TimeoutError:
                continue
            if heard["what"] == what:
                return heard
            if heard["what"] == "gone":
                break
            if heard["what"] == "not-signed-in":
                raise TabGone(NOT_SIGNED_IN)
        raise TabGone(GONE)

    def _is_there(self) -> bool:
        """Tell whether it is open. One that was loaded anew, or shows something else, has forgotten what it was for."""
        return not self._window.closed and (not self._loaded_at or self._loaded_at == self._load_time())

    def _load_time(self) -> float:
        """Return when what it shows was loaded; -1 when that is another site's secret."""
        try:
            return float(self._window.performance.timeOrigin)
        except (JsException, AttributeError):
            return -1.0


class Guest:
    """The second tab, seen from inside: does what the first one says."""

    def __init__(self, session: Session, ledger: Ledger, places: Places, people: Mapping[str, str]) -> None:
        self._session = session
        self._ledger = ledger
        self._places = places
        self._people = people
        self._tasks = Tasks()

    def start(self) -> None:
        """Say that it is there, if it was opened for this."""
        name = str(js.window.name)
        if name.startswith(NAME):
            run = name.removeprefix(NAME)
            js.window.name = ""
            self._tasks.start(self._serve(run))

    async def _serve(self, run: str) -> None:
        wire = Wire(run, "second")
        client = Fresh(self._session, self._ledger, self._places, f"{run}b", self._people)
        # A hidden page, as the first one is meanwhile, may be let look at its clock once a minute only: it is told.
        listen(js.window, "pagehide", lambda _: wire.say("gone"))
        wire.say("ready")
        while True:
            heard = await wire.hear()
            match heard["what"]:
                case "send":
                    await client.send(heard["size"])
                    wire.say("sent", account=client.account.to_json())
                case "sign-in":
                    try:
                        await client.sign_in(heard["user"])
                        wire.say("signed-in")
                    except FreshfetchError:
                        wire.say("not-signed-in")
