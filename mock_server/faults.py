"""Faults: keeps the rules and applies them. What a rule says is in `rules`.

A dropped connection is the host's business. A host that can do it puts a coroutine function into
`scope["extensions"]["mock.drop"]` that closes the connection and returns when it is gone; elsewhere the app ends with
ConnectionResetError, after which an in-process transport has no (whole) answer to give.

A browser sends a request again, a POST too, when a connection it used before is closed without an answer, and the
page never hears of the drop. So while a rule that drops is pending no connection is used twice: every answer, that to
a preflight too, says `Connection: close`, and `scope["extensions"]["mock.hang_up"]`, where there is one, ends those
that are open. A request that comes over a used connection all the same (`mock.reused`) has arrived before the rule
was set, if only by a hair, and such a rule is not about it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mock_server.journal import entry_of
from mock_server.rules import DROPS, REDIRECT_STATUS, Rule, parse_rule
from mock_server.wire import plain

BODILESS = (204, 304)
DEFAULT_BODY = {"error": "mock_fault", "error_description": "A fault rule of the mock server answered."}


class Faults:
    """The rules that are set, in order. Rules that have run out stay in the list until they are removed."""

    def __init__(self) -> None:
        self.rules: dict[int, Rule] = {}
        self.last_id = 0

    def dump(self) -> dict[str, object]:
        """Return all of it as plain values."""
        return {"rules": [plain(rule) for rule in self.rules.values()], "last": self.last_id}

    def load(self, data: Mapping[str, Any]) -> None:
        """Take over what `dump` returned."""
        rules, self.last_id = [Rule(**item) for item in data["rules"]], data["last"]
        self.rules = {rule.id: rule for rule in rules}

    def add(self, data: Mapping[str, object], *, now: float) -> Rule:
        """Set a rule, or raise a ValueError that says what is wrong with it."""
        rule = parse_rule(data, rule_id=self.last_id + 1, now=now)
        self.last_id = rule.id
        self.rules[rule.id] = rule
        return rule

    def remove(self, rule_id: int) -> bool:
        """Remove a rule; return False when there is none."""
        return self.rules.pop(rule_id, None) is not None

    def clear(self) -> None:
        """Remove all rules."""
        self.rules.clear()

    def will_drop(self, now: float) -> bool:
        """Tell whether a connection may still be dropped."""
        return any(rule.kind in DROPS and not rule.is_over(now) for rule in self.rules.values())

    def reset(self) -> None:
        """Remove all rules and start counting again."""
        self.clear()
        self.last_id = 0

    def pick(self, method: str, path: str, *, now: float, reused: bool = False) -> Rule | None:
        """Choose and count the rule to apply to a request that has just arrived, maybe over a used connection."""
        about = (rule for rule in self.rules.values() if not (reused and rule.kind in DROPS))
        met = [rule.met() for rule in about if rule.matches(method, path)]
        due = next((rule for rule in met if rule.hits > rule.skip and not rule.is_over(now)), None)
        self.rules.update({rule.id: rule for rule in met})
        if due is not None:
            self.rules[due.id] = due.applied()
        return due


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A request and the rule it met."""

    rule: Rule
    app: ASGIApp
    scope: Scope
    receive: Receive
    send: Send


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the app would have answered."""

    start: Message
    body: bytes


class ReuseMiddleware:
    """Lets no connection be used again while a drop is pending. Outside of all that answers by itself."""

    def __init__(self, app: ASGIApp, *, faults: Faults, clock: Callable[[], float]) -> None:
        self.app = app
        self.faults = faults
        self.clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self.faults.will_drop(self.clock()):
                MutableHeaders(scope=message)["connection"] = "close"
            await send(message)

        await self.app(scope, receive, closing)


class FaultMiddleware:
    """Applies the rules, and the latency of the API, to everything but the controls."""

    def __init__(
        self, app: ASGIApp, *, faults: Faults, clock: Callable[[], float], latency: Callable[[], float]
    ) -> None:
        self.app = app
        self.faults = faults
        self.clock = clock
        self.latency = latency

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"].startswith("/mock/"):
            await self.app(scope, receive, send)
            return
        reused = scope.get("extensions", {}).get("mock.reused", False)
        rule = self.faults.pick(scope["method"], scope["path"], now=self.clock(), reused=reused)
        entry_of(scope).fault = rule.kind if rule else None
        await self._wait(scope, rule)
        if rule is None:
            await self.app(scope, receive, send)
        else:
            await APPLY[rule.kind](Hit(rule=rule, app=self.app, scope=scope, receive=receive, send=send))

    async def _wait(self, scope: Scope, rule: Rule | None) -> None:
        latency = self.latency() if scope["path"].startswith("/api/") else 0.0
        wait = latency + (rule.delay if rule else 0.0)
        if wait:
            await asyncio.sleep(wait)


async def _status(hit: Hit) -> None:
    body = DEFAULT_BODY if hit.rule.body is None else hit.rule.body
    await _send(hit, cast("int", hit.rule.status), MutableHeaders(), body)


async def _body(hit: Hit) -> None:
    answer = await _answer_of(hit)
    status = hit.rule.status or answer.start["status"]
    headers = MutableHeaders(raw=list(answer.start["headers"]))
    await _send(hit, status, headers, answer.body if hit.rule.body is None else hit.rule.body)


async def _redirect(hit: Hit) -> None:
    headers = MutableHeaders({"location": cast("str", hit.rule.location)})
    await _send(hit, hit.rule.status or REDIRECT_STATUS, headers, b"")


async def _delay(hit: Hit) -> None:
    await hit.app(hit.scope, hit.receive, hit.send)


async def _drop_before(hit: Hit) -> None:
    await _drop(hit)


async def _drop_after(hit: Hit) -> None:
    await _answer_of(hit)
    await _drop(hit)


async def _stall(hit: Hit) -> None:
    answer = await _answer_of(hit)
    if hit.rule.send_headers:
        await hit.send(answer.start)
    await _until_gone(hit)


async def _stall_body(hit: Hit) -> None:
    await _send_half(hit)
    await _until_gone(hit)


async def _truncate(hit: Hit) -> None:
    await _send_half(hit)
    await _drop(hit)


APPLY: Mapping[str, Callable[[Hit], Awaitable[None]]] = {
    "status": _status,
    "body": _body,
    "redirect": _redirect,
    "delay": _delay,
    "drop_before": _drop_before,
    "drop_after": _drop_after,
    "stall": _stall,
    "stall_body": _stall_body,
    "truncate": _truncate,
}


async def _answer_of(hit: Hit) -> Answer:
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await hit.app(hit.scope, hit.receive, keep)
    return Answer(start=messages[0], body=b"".join(message.get("body", b"") for message in messages[1:]))


async def _send_half(hit: Hit) -> None:
    answer = await _answer_of(hit)
    await hit.send(answer.start)
    half = answer.body[: len(answer.body) // 2]
    await hit.send({"type": "http.response.body", "body": half, "more_body": True})


async def _until_gone(hit: Hit) -> None:
    while (await hit.receive())["type"] != "http.disconnect":
        pass
    await _drop(hit)


async def _send(hit: Hit, status: int, headers: MutableHeaders, body: object) -> None:
    content = _rendered(body, headers)
    for name, value in (hit.rule.headers or {}).items():
        if value is None:
            del headers[name]
        else:
            headers[name] = value
    headers["content-length"] = str(len(content))
    if status in BODILESS:
        content = b""
        del headers["content-length"]
    await hit.send({"type": "http.response.start", "status": status, "headers": headers.raw})
    await hit.send({"type": "http.response.body", "body": content})


def _rendered(body: object, headers: MutableHeaders) -> bytes:
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        headers["content-type"] = "text/plain; charset=utf-8"
        return body.encode()
    headers["content-type"] = "application/json"
    return json.dumps(body).encode()


async def _drop(hit: Hit) -> None:
    drop = hit.scope.get("extensions", {}).get("mock.drop")
    if drop is None:
        raise ConnectionResetError("A fault rule of the mock server dropped the connection.")
    await drop()
