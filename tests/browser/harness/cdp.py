"""A raw DevTools socket to one page. Unlike the driver it brings nothing to the front and un-freezes nothing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import websocket

from tests.browser.harness.chromium import SCRIPT_TIMEOUT

Parameters = dict[str, Any]


class PageGoneError(AssertionError):
    """The page was closed, has crashed, or went elsewhere while it was asked something."""


class Wire:
    """Commands to a page, and the events it sends. Events are read when something is waited for."""

    def __init__(self, address: str, target: str) -> None:
        # Without an Origin the browser takes the client for a tool and not for a page.
        # The browser's text is UTF-8: looking whether it is, byte by byte in Python, took longer than what was tested.
        self._socket = websocket.create_connection(
            f"ws://{address}/devtools/page/{target}",
            suppress_origin=True,
            timeout=SCRIPT_TIMEOUT,
            skip_utf8_validation=True,
        )
        self._numbers = itertools.count(1)
        self._kept: list[tuple[str, Parameters]] = []
        self._listeners: dict[str, Callable[[Parameters], None]] = {}
        self.gone = False
        self.context: int | None = None
        """The frame in which scripts run, by the number of its context; None for the page's own."""
        self.call("Inspector.enable")

    def on(self, method: str, listener: Callable[[Parameters], None]) -> None:
        """Give each event of that name to ``listener``, and to nobody else."""
        self._listeners[method] = listener

    def send(self, method: str, **parameters: object) -> int:
        """Send a command without waiting for its answer; its number comes back."""
        number = next(self._numbers)
        try:
            self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        except (OSError, websocket.WebSocketException):
            self.gone = True
            raise PageGoneError(f"{method}: the page is gone") from None
        return number

    def answer(self, number: int) -> Parameters:
        """Wait for the answer to the command with that number."""
        while True:
            message = self._read()
            if message.get("id") == number:
                break
            if self.gone:
                raise PageGoneError("the page crashed")
        if "error" in message:
            raise PageGoneError(message["error"]["message"])
        result: Parameters = message["result"]
        return result

    def call(self, method: str, **parameters: object) -> Parameters:
        """Send a command and return its result."""
        return self.answer(self.send(method, **parameters))

    def evaluate(self, source: str, *arguments: object) -> Any:
        """Run the body of a JavaScript function; a promise that it returns is awaited."""
        expression = f"(async function () {{ {source}\n }}).apply(null, {json.dumps(arguments)})"
        where = {} if self.context is None else {"contextId": self.context}
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, **where)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def wait_for(
        self, method: str, accept: Callable[[Parameters], bool] = lambda _: True, *, forget: bool = False
    ) -> Parameters:
        """Take the first event of that name that ``accept`` accepts, or wait for it; ``forget`` what came before."""
        while True:
            for index, (name, parameters) in enumerate(self._kept):
                if name == method and accept(parameters):
                    del self._kept[0 if forget else index : index + 1]
                    return parameters
            if self.gone:
                raise PageGoneError(f"the page is gone; waited in vain for {method}")
            self._read()

    def arrived(self, url: str) -> None:
        """Wait until the page, or a page from the cache, is at ``url``; what happened before that is forgotten."""
        self.wait_for("Page.frameNavigated", lambda event: event["frame"]["url"] == url, forget=True)

    def catch_up(self) -> None:
        """Read every event of the page that came before now."""
        if not self.gone:
            self.call("Runtime.evaluate", expression="0")

    def close(self) -> None:
        """Hang up."""
        self.gone = True
        self._socket.close()

    def _read(self) -> Parameters:
        """Read one message; an event finds its listener, or is kept for ``wait_for``."""
        try:
            message: Parameters = json.loads(self._socket.recv())
        except websocket.WebSocketTimeoutException:
            raise AssertionError(f"the page said nothing for {SCRIPT_TIMEOUT:.0f} seconds") from None
        except (OSError, ValueError, websocket.WebSocketException):
            self.gone = True
            raise PageGoneError("the page is gone") from None
        name = message.get("method")
        if name is not None:
            self.gone = self.gone or name in ("Inspector.targetCrashed", "Inspector.detached")
            if name in self._listeners:
                self._listeners[name](message["params"])
            else:
                self._kept.append((name, message["params"]))
        return message
