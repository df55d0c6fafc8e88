"""Rules: what should go wrong, for which requests, and how often.

A rule is one flat JSON object:

    {"path": "/api/auth/refresh", "kind": "status", "status": 503, "headers": {"Retry-After": "2"}, "times": 3}

Which requests:

    path         required; a pattern in which * stands for anything, slashes included; matched with the path alone
    method       only this method; default: all
    skip         this many matching requests are let through first; default 0
    times        how many requests are hit after that; default null: until the rule is removed
    seconds      the rule stops this many seconds after it was set; default null: never

What happens (`kind`), and the fields that belong to it:

    status       the app is not asked; answers `status` (required) with `headers` and `body`
    body         the app is asked and commits; the given ones of `status`, `headers`, `body` replace its own
    redirect     the app is not asked; answers `status` (default 307) to `location` (required)
    delay        the app is asked `delay` seconds later (required)
    drop_before  the app is not asked; the connection is closed without an answer
    drop_after   the app is asked and commits; its answer is thrown away and the connection closed
    stall        the app is asked and commits; then nothing until the client goes. `sendHeaders` true: headers leave
    stall_body   the app is asked and commits; headers and half of the body leave, then nothing until the client goes
    truncate     the app is asked and commits; half of the body leaves, then the connection is closed

Every kind takes `delay`, seconds to wait first. `body` is text, sent as it is, or any other JSON value. In `headers` a
null removes a header. A field that is null counts as absent; one that the kind does not use is refused.

Rules are tried in the order in which they were set and the first that is due is applied. Each rule counts every
request it matches (`hits`), also those another rule took; `fired` counts those it was applied to itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, ItemsView, Mapping
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import NamedTuple

LONGEST_TEXT = 1000
LONGEST_WAIT = 86400.0
STATUSES = range(200, 600)
REDIRECT_STATUS = 307
REDIRECTS = (301, 302, 303, 307, 308)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VISIBLE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?|")
# The server decides these itself: a wrong one would break the connection in a way no rule asked for.
FRAMING = ("content-length", "transfer-encoding", "connection")


# Kinds that end a connection without a byte of an answer.
DROPS = ("drop_before", "drop_after")


class Uses(NamedTuple):
    """The fields a kind needs, and those it can do with."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()


KINDS: Mapping[str, Uses] = {
    "status": Uses(frozenset({"status"}), frozenset({"headers", "body"})),
    "body": Uses(frozenset(), frozenset({"status", "headers", "body"})),
    "redirect": Uses(frozenset({"location"}), frozenset({"status"})),
    "delay": Uses(frozenset({"delay"})),
    "drop_before": Uses(),
    "drop_after": Uses(),
    "stall": Uses(frozenset(), frozenset({"sendHeaders"})),
    "stall_body": Uses(),
    "truncate": Uses(),
}
COMMON = frozenset({"path", "kind", "method", "skip", "times", "seconds", "delay"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule and how often it was met; the module says what the fields mean."""

    id: int
    set_at: float
    path: str
    kind: str
    method: str | None = None
    skip: int = 0
    times: int | None = None
    seconds: float | None = None
    delay: float = 0.0
    status: int | None = None
    headers: Mapping[str, str | None] | None = None
    body: object = None
    location: str | None = None
    send_headers: bool = False
    hits: int = 0
    fired: int = 0

    def matches(self, method: str, path: str) -> bool:
        """Tell whether the rule is about such requests."""
        return self.method in (None, method) and fnmatchcase(path, self.path)

    def is_over(self, now: float) -> bool:
        """Tell whether the rule has run out."""
        late = self.seconds is not None and now - self.set_at >= self.seconds
        return late or (self.times is not None and self.fired >= self.times)

    def met(self) -> Rule:
        """Return the rule after one more request it matches."""
        return replace(self, hits=self.hits + 1)

    def applied(self) -> Rule:
        """Return the rule after it was applied once more."""
        return replace(self, fired=self.fired + 1)

    def to_json(self) -> dict[str, object]:
        """Show the rule as it was set (defaults left out), its id, and how often it was met and applied."""
        names = [name for name, own in ATTRIBUTES.items() if getattr(self, own) != DEFAULTS[own]]
        given = {name: getattr(self, ATTRIBUTES[name]) for name in names}
        return {"id": self.id, **given, "hits": self.hits, "fired": self.fired}


def parse_rule(data: Mapping[str, object], *, rule_id: int, now: float) -> Rule:
    """Read the rule a JSON object describes; a ValueError says what is wrong with it."""
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind is required and must be one of {', '.join(KINDS)}")
    given = {name: value for name, value in data.items() if value is not None}
    _check_names(kind, given)
    for name, value in given.items():
        CHECKS[name](name, value)
    if kind == "redirect":
        _check_redirect(given.get("status", REDIRECT_STATUS))
    values = {ATTRIBUTES[name]: value for name, value in given.items()}
    return Rule(id=rule_id, set_at=now, **values)  # type: ignore[arg-type]  # CHECKS has looked at each


def _check_names(kind: str, given: Mapping[str, object]) -> None:
    uses = KINDS[kind]
    for name in given:
        if name not in COMMON | uses.required | uses.optional:
            raise ValueError(f"{name!r} is not used by kind {kind}")
    for name in sorted({"path"} | uses.required):
        if name not in given:
            raise ValueError(f"{name} is required for kind {kind}")


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT:
        raise ValueError(f"{name} must be a string of 1 to {LONGEST_TEXT} characters")


def _check_method(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.isupper():
        raise ValueError(f"{name} must be a method in capitals, such as POST")


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
        raise ValueError(f"{name} must be a whole number from 0")


def _check_wait(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST_WAIT:
        raise ValueError(f"{name} must be a number of seconds between 0 and {LONGEST_WAIT:.0f}")


def _check_status(name: str, value: object) -> None:
    if not isinstance(value, int) or value not in STATUSES:
        raise ValueError(f"{name} must be a status from 200 to 599")


def _check_redirect(status: object) -> None:
    if status not in REDIRECTS:
        raise ValueError(f"status must be one of {', '.join(map(str, REDIRECTS))} for kind redirect")


def _check_headers(name: str, value: object) -> None:
    for header, content in _items(name, value):
        if not _TOKEN.fullmatch(header) or header.lower() in FRAMING:
            raise ValueError(f"{name}: {header!r} cannot be set")
        if content is not None:
            _check_header_value(name, content)


def _items(name: str, value: object) -> ItemsView[str, object]:
    if isinstance(value, dict):
        return value.items()
    raise ValueError(f"{name} must be an object of header names and values")


def _check_header_value(name: str, value: object) -> None:
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        raise ValueError(f"{name} must be visible ASCII, without spaces at the ends")


def _check_flag(name: str, value: object) -> None:
    if value is not True and value is not False:
        raise ValueError(f"{name} must be true or false")


def _check_nothing(name: str, value: object) -> None:
    """Any JSON value will do as a body."""


CHECKS: Mapping[str, Callable[[str, object], None]] = {
    "path": _check_text,
    "kind": _check_text,
    "method": _check_method,
    "skip": _check_count,
    "times": _check_count,
    "seconds": _check_wait,
    "delay": _check_wait,
    "status": _check_status,
    "headers": _check_headers,
    "body": _check_nothing,
    "location": _check_header_value,
    "sendHeaders": _check_flag,
}
ATTRIBUTES = {name: "send_headers" if name == "sendHeaders" else name for name in CHECKS}
DEFAULTS = {item.name: item.default for item in fields(Rule)}
