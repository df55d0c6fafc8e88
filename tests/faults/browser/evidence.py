"""From what was seen of real tabs to the evidence that the invariants are judged by."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from tests.browser.harness.tab import Tab, Testimony
from tests.faults.invariants import (
    ENDS,
    Act,
    Call,
    Departure,
    Evidence,
    Redemption,
    Stored,
    TabEvidence,
    Text,
)

KEY = "freshfetch:default"
REFRESH = "/api/auth/refresh"
PASSWORDS = ("lovelace", "hopper")
Told = dict[str, Any]


def gather(tabs: Iterable[Tab], journal: list[Told], *, allowed_origins: list[str]) -> Evidence:
    """Put together what all tabs of a test, living or dead, have to say."""
    seen = {str(number): tab.testify() for number, tab in enumerate(tabs, 1)}
    secrets = sorted({secret for testimony in seen.values() for secret in _secrets(testimony)} | set(PASSWORDS))
    return Evidence(
        journal=journal,
        tabs=[each for name, testimony in seen.items() for each in _sessions(name, testimony)],
        stores=[_history(seen.values())],
        redemptions=[*_redemptions(seen), *_refusals(journal)],
        departures=[departure for testimony in seen.values() for departure in _departures(testimony, secrets)],
        allowed_origins=allowed_origins,
        texts=[text for name, testimony in seen.items() for text in _texts(name, testimony)],
        secrets=secrets,
        acts=[act for name, testimony in seen.items() for act in _acts(name, testimony)],
    )


def _sessions(name: str, testimony: Testimony) -> Iterator[TabEvidence]:
    """Yield each session of each page that was in the tab."""
    at_rest = {(rest["page"], rest["session"]): rest for rest in testimony.at_rest}
    for told in testimony.of("session"):
        key = (told["page"], told["session"])
        rest = at_rest.get(key, {})
        mine = [each for each in testimony.told if (each.get("page"), each.get("session")) == key]
        yield TabEvidence(
            name=_name(name, told),
            events=[each for each in mine if each["kind"] == "event"],
            calls=[_call(each, testimony) for each in mine if each["kind"] == "asked"],
            queue_size=rest.get("queue_size", 0),
            queue_pending=rest.get("queue_pending", 0),
            windows=[(low, high) for low, high in told["windows"]],
            frozen=testimony.frozen,
            gone=not rest,
        )


def _name(tab: str, told: Told) -> str:
    return f"{tab}, page {told['page']}, session {told['session']}"


def _call(asked: Told, testimony: Testimony) -> Call:
    ends = [each for each in testimony.of("settled") if each["id"] == asked["id"]]
    return Call(
        request_id=asked["id"],
        method=asked["method"],
        repeatable=asked["repeatable"],
        user=asked["user"],
        outcome=ends[-1]["outcome"] if ends else "pending",
        status=ends[-1].get("status") if ends else None,
        settled=len(ends),
    )


def _history(testimonies: Iterable[Testimony]) -> list[Stored]:
    """Put the changes of the session record in order; no two tabs write it within a millisecond."""
    kinds = ("written", "refused", "injected", "wiped")
    told = [each for testimony in testimonies for each in testimony.of(*kinds)]
    mine = [each for each in told if each["area"] == "local" and each["key"] in (KEY, "")]
    return [Stored(value=each["value"], how=each["kind"]) for each in sorted(mine, key=lambda each: each["time"])]


def _redemptions(seen: dict[str, Testimony]) -> Iterator[Redemption]:
    for name, testimony in seen.items():
        for told in testimony.of("session"):
            yield from _redemptions_of(_name(name, told), told, testimony)


def _redemptions_of(name: str, session: Told, testimony: Testimony) -> Iterator[Redemption]:
    """Yield what one session redeemed: the token as it left, the end as it was told, the successor as it was stored."""
    tokens = {each["time"]: _fields(each["body"]).get("refreshToken", "") for each in _refreshes(testimony)}
    began: Told | None = None
    for told in testimony.told:
        if (told.get("page"), told.get("session")) != (session["page"], session["session"]):
            continue
        if told.get("event") == "RefreshStarted":
            began = told
        elif told.get("event") in ENDS and began is not None:
            yield _redemption(name, began, told, tokens, testimony)
            began = None
    if began is not None:
        yield _redemption(name, began, None, tokens, testimony)


def _redemption(
    name: str, began: Told, ended: Told | None, tokens: dict[float, str], testimony: Testimony
) -> Redemption:
    end = ended["time"] if ended else (testimony.killed or began["time"])
    sent = [token for time, token in tokens.items() if began["time"] - 0.005 <= time <= end]
    succeeded = ended is not None and ended["event"] == "RefreshSucceeded"
    stored = [_fields(each["value"]) for each in testimony.of("written") if began["time"] <= each["time"] <= end + 0.002]
    return Redemption(
        tab=name,
        token=sent[0] if sent else "",
        successor=stored[-1].get("refresh_token") if succeeded and stored else None,
        began=began["time"],
        ended=end,
        succeeded=succeeded,
        status=200 if succeeded else None,
        given_up=ended is None,
    )


def _refreshes(testimony: Testimony) -> list[Told]:
    return [each for each in testimony.requests if urlsplit(each["url"]).path == REFRESH]


def _refusals(journal: Iterable[Told]) -> Iterator[Redemption]:
    """Yield the auth server's own words about refresh tokens, at the moment it said them."""
    for entry in journal:
        if entry["path"] == REFRESH and entry["error"]:
            at = entry["at"]
            yield Redemption(tab="server", began=at, ended=at, status=entry["status"], error=entry["error"])


def _departures(testimony: Testimony, secrets: list[str]) -> Iterator[Departure]:
    for request in testimony.requests:
        if request["url"].startswith("http"):
            held = " ".join([*request["headers"].values(), request["body"]])
            yield Departure(url=request["url"], credential=any(secret in held for secret in secrets))


def _texts(name: str, testimony: Testimony) -> Iterator[Text]:
    yield Text(where=f"the console of tab {name}", text="\n".join(testimony.console))
    yield Text(where=f"what tab {name} shows", text=json.dumps(testimony.shown))
    yield Text(where=f"the sessions of tab {name}", text="\n".join(each["shown"] for each in testimony.at_rest))
    for told in testimony.of("event", "settled", "said", "asked"):
        yield Text(where=f"{told['kind']} of tab {name}", text=json.dumps(told))
    for told in testimony.of("written"):
        yield Text(where=f"a storage key of tab {name}", text=told["key"])
    for request in testimony.requests:
        yield Text(where=f"a referrer of tab {name}", text=request["headers"].get("Referer", ""))


def _acts(name: str, testimony: Testimony) -> Iterator[Act]:
    for told in testimony.of("act"):
        yield Act(time=told["time"], kind=told["act"], tab=name)
    for told in testimony.of("injected", "wiped", "refused"):
        yield Act(time=told["time"], kind="storage", tab=name)
    if testimony.killed is not None:
        yield Act(time=testimony.killed, kind="kill", tab=name)


def _secrets(testimony: Testimony) -> Iterator[str]:
    """Yield every token that was stored or sent in the tab."""
    yield from testimony.secrets
    for told in testimony.of("written"):
        record = _fields(told["value"])
        yield from (record[name] for name in ("access_token", "refresh_token") if isinstance(record.get(name), str))
    for request in testimony.requests:
        token = _fields(request["body"]).get("refreshToken")
        if isinstance(token, str):
            yield token


def _fields(text: str | None) -> Told:
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
