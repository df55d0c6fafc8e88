"""What must hold whatever went wrong: the invariants I1 to I10, as functions over evidence.

The oracle is its own judge: it imports nothing of the library and decides from what was seen from outside, in virtual
time or in a real browser. Each function returns the violations it found, in words that never hold a token.

Evidence is plain data. Times are seconds by one observer's clock (any, as long as it is one); ``inf`` stands for never.
An event is a dict: ``event`` (the class's name), ``time`` (when it was heard) and the event's own fields.
A journal entry is a dict as ``GET /mock/journal`` gives it.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from urllib.parse import unquote, urlsplit

LEAK = 8
"""So many characters of a token in a row are too many."""
SENDINGS = 2
"""A request is sent once, and once more after a refusal."""
NEVER = math.inf
ENDS = ("RefreshSucceeded", "RefreshFailed", "SessionExpired")
UNASKED = ("status", "redirect", "drop_before")
"""Kinds of fault in which the server's application never saw the request."""
UNANSWERED = ("drop_before", "drop_after", "stall", "truncate")
PASSING = (408, 425, 429)
CHANGING = ("POST", "PUT", "PATCH")
_PORTS = {"http": 80, "https": 443}
_ACCESS_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_REFRESH_TOKEN = re.compile(r"[\x20-\x7e]+")
_SLACK = 0.001


@dataclass(slots=True, kw_only=True)
class Call:
    """One request as its caller saw it. A request that is sent again by its caller is another call of the same id."""

    request_id: str
    method: str = "GET"
    repeatable: bool = True
    """Sending it twice is harmless (an idempotent method, or the caller said so)."""
    user: str | None = None
    """Whose request it is: who was signed in when it was made."""
    outcome: str = "pending"
    """``answered``, ``cancelled``, an error's class name, or ``pending``."""
    status: int | None = None
    settled: int = 0
    """How many times it came to an end."""


@dataclass(slots=True, kw_only=True)
class Redemption:
    """One refresh request: when it left, when the tab had its answer or gave it up, and what that was."""

    tab: str = "1"
    token: str = field(default="", repr=False)
    """The refresh token, or any name that tells one from another."""
    successor: str | None = field(default=None, repr=False)
    """The refresh token that a usable answer brought to the tab; None when none came or it brought no other."""
    began: float
    ended: float = NEVER
    status: int | None = None
    """None when no answer came."""
    error: str = ""
    succeeded: bool = False
    """A usable grant arrived."""
    given_up: bool = False
    """The tab was closed, killed or overtaken before an answer came, so it could postpone nothing."""

    @property
    def terminal(self) -> bool:
        """Whether it is the auth server's own word that the refresh token is dead."""
        client_error = self.status is not None and 400 <= self.status < 500 and self.status not in PASSING
        return client_error and self.error == "invalid_grant"


@dataclass(slots=True, kw_only=True)
class Stored:
    """One moment in the life of a storage key."""

    value: str | None = field(default=None, repr=False)
    """What it holds now; None when nothing."""
    how: str = "written"
    """``written`` by the library; ``refused``: it tried and the storage refused; ``injected`` by the test;
    ``wiped`` by the test, with everything that remembered a generation."""


@dataclass(slots=True, kw_only=True)
class Departure:
    """One request that left a tab."""

    url: str = field(repr=False)
    credential: bool
    """Whether it carried a token of the session, in a header or in its body."""


@dataclass(slots=True, kw_only=True)
class Act:
    """Something the test or the person did that explains what follows.

    ``sign_out``, ``sign_in``, ``storage`` (cleared, corrupted or refused), ``came_back`` (person or network),
    ``clock`` (was set), ``kill`` or ``close`` of a tab.
    """

    time: float
    kind: str
    tab: str = ""


@dataclass(slots=True, kw_only=True)
class Text:
    """Something that somebody could read, and where."""

    where: str
    text: str = field(repr=False)


@dataclass(slots=True, kw_only=True)
class TabEvidence:
    """What was seen of one tab."""

    name: str = "1"
    events: list[dict[str, Any]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    queue_size: int = 0
    """At rest."""
    queue_pending: int = 0
    left: list[str] = field(default_factory=list)
    """Tasks, timers and listeners that were still there after the session was closed."""
    peaks: dict[str, float] = field(default_factory=dict)
    caps: dict[str, float] = field(default_factory=dict)
    """What each peak may be at most; a peak without a cap is free."""
    windows: list[tuple[float, float]] = field(default_factory=list)
    """The retry policy's windows of seconds; empty when they are not to be judged."""
    frozen: list[tuple[float, float]] = field(default_factory=list)
    """When it stood still."""
    gone: bool = False
    """It was killed: what it had begun, it could not end."""


@dataclass(slots=True, kw_only=True)
class Evidence:
    """Everything that was seen of one run."""

    journal: list[dict[str, Any]] = field(default_factory=list)
    tabs: list[TabEvidence] = field(default_factory=list)
    stores: list[list[Stored]] = field(default_factory=list)
    """One history for each storage key."""
    redemptions: list[Redemption] | None = None
    """None: they are derived from the journal and the events."""
    departures: list[Departure] = field(default_factory=list)
    allowed_origins: list[str] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list, repr=False)
    """Every token ever issued, and every password."""
    acts: list[Act] = field(default_factory=list)
    refresh_paths: list[str] = field(default_factory=lambda: ["/api/auth/refresh"])

    def calls(self) -> Iterator[Call]:
        """Yield the calls of all tabs."""
        for tab in self.tabs:
            yield from tab.calls

    def did(self, *kinds: str, before: float = NEVER, after: float = -NEVER) -> bool:
        """Tell whether an act of one of these kinds lies between two times."""
        return any(act.kind in kinds and after <= act.time <= before + _SLACK for act in self.acts)


def check_all(evidence: Evidence) -> None:
    """Raise an AssertionError that names every violated invariant."""
    found = violations(evidence)
    assert not found, "\n".join(found)


def violations(evidence: Evidence) -> list[str]:
    """Return every violation of every invariant, each in a line that begins with the invariant's name."""
    return [f"{name}: {words}" for name, judge in INVARIANTS.items() for words in judge(evidence)]


# -- I1 --


def settle_once(evidence: Evidence) -> list[str]:
    """I1: each request settles exactly once; at rest nothing is pending and the queue is empty."""
    found = []
    for tab in evidence.tabs:
        allowed = (0, 1) if tab.gone else (1,)
        found += [f"{_named(call)} settled {call.settled} times" for call in tab.calls if call.settled not in allowed]
        if tab.queue_size or tab.queue_pending:
            found.append(f"tab {tab.name} rests with {tab.queue_size} queued and {tab.queue_pending} under way")
        found += [f"tab {tab.name} left behind {what}" for what in tab.left]
        found += [f"tab {tab.name}: {words}" for words in _told_after_the_end(tab.events)]
    return found


def _told_after_the_end(events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    over: set[int] = set()
    for event in events:
        number = event.get("number")
        if number in over:
            yield f"request #{number} was told {event['event']} after it had failed"
        if event["event"] == "RequestFailed":
            over.add(event["number"])


# -- I2 --


def nothing_lost_or_doubled(evidence: Evidence) -> list[str]:
    """I2: success means exactly one effect at the server; a request that is not idempotent never has two."""
    entries = _by_request(evidence.journal)
    by_id: dict[str, list[Call]] = defaultdict(list)
    for call in evidence.calls():
        by_id[call.request_id].append(call)
    found: list[str] = []
    for request_id, calls in by_id.items():
        found += _effects_of(calls, entries[request_id])
    return found


def _effects_of(calls: list[Call], entries: list[dict[str, Any]]) -> Iterator[str]:
    call = calls[-1]
    effects = sum(len(entry["effects"]) for entry in entries)
    if not call.repeatable and effects > len(calls):
        yield f"{_named(call)} had {effects} effects"
    successes = [one for one in calls if one.outcome == "answered" and 200 <= (one.status or 0) < 300]
    if not successes:
        return
    genuine = [entry for entry in entries if entry["status"] == successes[-1].status]
    if not genuine:
        yield f"{_named(call)} was answered {successes[-1].status} by nobody"
    elif call.method in CHANGING and genuine[-1]["fault"] not in UNASKED and not effects:
        yield f"{_named(call)} succeeded and had no effect"
    elif call.method in CHANGING and effects > len(calls):
        yield f"{_named(call)} succeeded and had {effects} effects"


# -- I3 --


def one_refresh(evidence: Evidence) -> list[str]:
    """I3: never two refreshes in flight in all tabs; a refresh token whose success was received is never used again."""
    frozen = {tab.name: tab.frozen for tab in evidence.tabs}
    found = []
    in_order = sorted(_redemptions(evidence), key=lambda each: each.began)
    for earlier, later in _overlapping(in_order):
        excused = any(_stood_still(each, frozen.get(each.tab, [])) for each in (earlier, later))
        if not excused:
            found.append(
                f"two refreshes in flight, in tabs {earlier.tab} and {later.tab}, from {later.began:.3f} to "
                f"{min(earlier.ended, later.ended):.3f}"
            )
    spent: dict[str, float] = {}
    for each in sorted(in_order, key=lambda each: each.ended):
        if each.succeeded and each.token and each.successor not in (None, each.token):
            spent.setdefault(each.token, each.ended)
    found += [
        f"tab {each.tab} presented a refresh token at {each.began:.3f} whose successor had arrived"
        for each in in_order
        if each.token in spent and each.began > spent[each.token] + _SLACK
    ]
    return found + [f"the server took a refresh for theft: {words}" for words in _false_alarms(evidence.journal)]


def _overlapping(in_order: list[Redemption]) -> Iterator[tuple[Redemption, Redemption]]:
    longest: Redemption | None = None
    for each in in_order:
        if each.ended <= each.began:
            continue
        if longest is not None and each.began < longest.ended - _SLACK:
            yield longest, each
        if longest is None or each.ended > longest.ended:
            longest = each


def _stood_still(each: Redemption, frozen: Iterable[tuple[float, float]]) -> bool:
    return any(start <= each.ended and each.began <= end for start, end in frozen)


def _false_alarms(journal: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield reuse alarms of families that lost no answer: with one lost, a second presentation is right."""
    lost: set[int] = set()
    for entry in journal:
        if "reuse_detected" in entry["effects"] and entry["family"] not in lost:
            yield f"journal entry {entry['number']}, family {entry['family']}"
        if "refreshed" in entry["effects"] and (entry["status"] != 200 or entry["fault"] in (*UNANSWERED, "body")):
            lost.add(entry["family"])


# -- I4 --


def only_to_allowed_origins(evidence: Evidence) -> list[str]:
    """I4: no credential leaves for an origin outside the allow-list, and none is ever in a URL."""
    allowed = set(evidence.allowed_origins)
    found = []
    for departure in evidence.departures:
        origin = origin_of(departure.url)
        if departure.credential and origin not in allowed:
            found.append(f"a credential left for {origin}")
        if _leaks(departure.url, evidence.secrets) or _leaks(unquote(departure.url), evidence.secrets):
            found.append(f"a URL to {origin} holds a part of a token")
    return found


def origin_of(url: str) -> str:
    """Return scheme, host and port as browsers write them."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    usual = parts.port in (None, _PORTS.get(parts.scheme))
    return f"{parts.scheme}://{host}" if usual else f"{parts.scheme}://{host}:{parts.port}"


# -- I5 --


def silence(evidence: Evidence) -> list[str]:
    """I5: no token, nor eight characters of one, in anything that somebody could read."""
    pieces = _pieces(evidence.secrets)
    return [f"{text.where} holds a part of a token" for text in evidence.texts if _grams(text.text) & pieces]


def _leaks(text: str, secrets: Iterable[str]) -> bool:
    return bool(_grams(text) & _pieces(secrets))


def _pieces(secrets: Iterable[str]) -> set[str]:
    return {piece for secret in set(secrets) for piece in _grams(secret)}


def _grams(text: str) -> set[str]:
    words = {word for word in text.split() if len(word) >= LEAK}
    return {word[at : at + LEAK] for word in words for at in range(len(word) - LEAK + 1)}


# -- I6 --


def storage_is_whole(evidence: Evidence) -> list[str]:
    """I6: the record is absent or fully valid; its generation never decreases; a failed write leaves the old one."""
    found = []
    for history in evidence.stores:
        generation = -1
        before: str | None = None
        for number, moment in enumerate(history):
            where = f"store value {number}"
            if moment.how == "refused" and moment.value != before:
                found.append(f"{where}: a refused write changed what is stored")
            if moment.how == "wiped":
                generation = -1
            if moment.how == "written" and moment.value is not None:
                record = _record(moment.value)
                found += [f"{where}: {words}" for words in _flaws(record)]
                written = record.get("generation", 0) if isinstance(record.get("generation", 0), int) else 0
                if written < generation:
                    found.append(f"{where}: generation {written} after {generation}")
                generation = max(generation, written)
            before = moment.value
    return found


def _record(value: str) -> dict[str, Any]:
    try:
        record = json.loads(value)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _flaws(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a stored record; fields that are not named here are free."""
    for name, fits in _FIELDS.items():
        if name not in record or not fits(record[name]):
            yield f"{name} is missing or wrong ({type(record.get(name)).__name__})"


def _is_whole(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 100_000


def _is_instant(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0  # type: ignore[arg-type, operator]


def _or_none(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or fits(value)


_FIELDS: dict[str, Callable[[object], bool]] = {
    "schema": _is_whole,
    "generation": _is_whole,
    "session_id": _is_text,
    "subject": _is_text,
    "access_token": lambda value: isinstance(value, str) and bool(_ACCESS_TOKEN.fullmatch(value)),
    "refresh_token": _or_none(lambda value: isinstance(value, str) and bool(_REFRESH_TOKEN.fullmatch(value))),
    "obtained_at": _is_instant,
    "expires_at": _or_none(_is_instant),
    "not_before": _is_instant,
    "failures": _is_whole,
}


# -- I7 --


def identity(evidence: Evidence) -> list[str]:
    """I7: a request made by one signed-in user is never sent with another's token."""
    users = {call.request_id: call.user for call in evidence.calls()}
    return [
        f"a request of {users[entry['requestId']]} ({entry['method']} {entry['path']}) was sent with a token of "
        f"{entry['user']} (journal entry {entry['number']})"
        for entry in evidence.journal
        if entry["requestId"] in users and entry["user"] not in (None, users[entry["requestId"]])
    ]


# -- I8 --


def logout_on_terminal_evidence(evidence: Evidence) -> list[str]:
    """I8: a session ends only by the auth server's own word, an explicit sign-out, or the storage being taken away."""
    found = []
    redemptions = sorted(_redemptions(evidence), key=lambda each: each.ended)
    for tab, event in _events(evidence, "SessionExpired", "SignedOut"):
        time = event["time"]
        if event["event"] == "SignedOut":
            if not evidence.did("sign_out", "storage", before=time):
                found.append(f"tab {tab.name} says signed out at {time:.3f}, and nobody signed out")
            continue
        answers = [each for each in redemptions if each.ended <= time + _SLACK and (each.succeeded or each.terminal)]
        if not any(each.terminal for each in answers):
            found.append(f"tab {tab.name} says expired at {time:.3f}, and no auth server said so")
        elif not answers[-1].terminal and not evidence.did("sign_in", "storage"):
            found.append(f"tab {tab.name} says expired at {time:.3f}, after a refresh that succeeded")
    return found


# -- I9 --


def bounded(evidence: Evidence) -> list[str]:
    """I9: attempts, queue, timers and retries stay within the configured caps."""
    found = []
    calls = Counter(call.request_id for call in evidence.calls())
    sendings = Counter(entry["requestId"] for entry in evidence.journal if entry["requestId"] in calls)
    for request_id, sent in sendings.items():
        if sent > SENDINGS * calls[request_id]:
            found.append(f"request {request_id} was sent {sent} times")
    for tab in evidence.tabs:
        found += [
            f"tab {tab.name}: {what} reached {peak}, and {tab.caps[what]} is the cap"
            for what, peak in tab.peaks.items()
            if what in tab.caps and peak > tab.caps[what]
        ]
    return found + list(_hasty_retries(evidence))


def _hasty_retries(evidence: Evidence) -> Iterator[str]:
    """Yield attempts that came sooner after a failure than the retry policy's window begins."""
    windows = {tab.name: tab.windows for tab in evidence.tabs}
    attempts: dict[str, list[Redemption]] = defaultdict(list)
    for each in sorted(evidence.redemptions or [], key=lambda each: each.began):
        attempts[each.token].append(each)
    if evidence.did("storage", "clock", "kill"):
        return  # what was planned could not be shared, or means something else now
    for tries in attempts.values():
        failures = 0
        for earlier, later in pairwise(tries):
            failures = 0 if earlier.succeeded else failures + 1
            plan = windows.get(earlier.tab, [])
            if not failures or not plan or earlier.given_up:
                continue
            low = plan[min(failures, len(plan)) - 1][0]
            woken = evidence.did("came_back", after=earlier.began, before=later.began)
            if later.began - earlier.ended < low - _SLACK and not woken:
                yield f"tab {later.tab} tried again {later.began - earlier.ended:.3f} s after failure {failures}"


# -- I10 --


def event_order(evidence: Evidence) -> list[str]:
    """I10: a refresh that started ends in exactly one way; a session expires at most once in a tab."""
    found = []
    for tab in evidence.tabs:
        found += [f"tab {tab.name}: {words}" for words in _disorder(tab)]
        found += [f"tab {tab.name}: {words}" for words in _expired_twice(tab.events)]
        changes = [event for event in tab.events if event["event"] == "StateChanged"]
        if any(earlier["new"] != later["old"] for earlier, later in pairwise(changes)):
            found.append(f"tab {tab.name}: a state changed from another than the last")
        if any(earlier["time"] > later["time"] for earlier, later in pairwise(tab.events)):
            found.append(f"tab {tab.name}: events were told out of order")
    return found


def _disorder(tab: TabEvidence) -> Iterator[str]:
    under_way = False
    for event in tab.events:
        kind = event["event"]
        if kind == "RefreshStarted":
            if under_way:
                yield f"a refresh started at {event['time']:.3f} before the last one had ended"
            under_way = True
        elif kind in ENDS:
            if not under_way and kind != "SessionExpired":  # that may be another tab's word
                yield f"{kind} at {event['time']:.3f} and no refresh had started"
            under_way = False
    if under_way and not tab.gone:
        yield "a refresh that started was never told to its end"


def _expired_twice(events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    expired = False
    for event in events:
        if event["event"] == "SignedIn":
            expired = False
        elif event["event"] == "SessionExpired":
            if expired:
                yield f"the session expired again at {event['time']:.3f}"
            expired = True


INVARIANTS: dict[str, Callable[[Evidence], list[str]]] = {
    "I1 settle once": settle_once,
    "I2 nothing lost, nothing doubled": nothing_lost_or_doubled,
    "I3 one refresh": one_refresh,
    "I4 origin": only_to_allowed_origins,
    "I5 silence": silence,
    "I6 storage": storage_is_whole,
    "I7 identity": identity,
    "I8 logout only on terminal evidence": logout_on_terminal_evidence,
    "I9 bounded": bounded,
    "I10 event order": event_order,
}


def _named(call: Call) -> str:
    return f"request {call.request_id} ({call.method}, {call.outcome})"


def _by_request(journal: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    entries: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in journal:
        if entry["requestId"] is not None:
            entries[entry["requestId"]].append(entry)
    return entries


def _events(evidence: Evidence, *kinds: str) -> Iterator[tuple[TabEvidence, dict[str, Any]]]:
    for tab in evidence.tabs:
        for event in tab.events:
            if event["event"] in kinds:
                yield tab, event


def _redemptions(evidence: Evidence) -> list[Redemption]:
    if evidence.redemptions is not None:
        return evidence.redemptions
    return [*_told_redemptions(evidence.tabs), *_journalled_endings(evidence)]


def _told_redemptions(tabs: Iterable[TabEvidence]) -> Iterator[Redemption]:
    """Derive when refreshes were in flight from what each tab told."""
    for tab in tabs:
        began: float | None = None
        for event in tab.events:
            if event["event"] == "RefreshStarted":
                began = event["time"]
            elif event["event"] in ENDS and began is not None:
                succeeded = event["event"] == "RefreshSucceeded"
                yield Redemption(tab=tab.name, began=began, ended=event["time"], succeeded=succeeded)
                began = None


def _journalled_endings(evidence: Evidence) -> Iterator[Redemption]:
    """Derive which refresh tokens the server refused for good from its journal."""
    for entry in evidence.journal:
        if entry["path"] in evidence.refresh_paths and entry["error"]:
            at = entry["at"]
            yield Redemption(tab="server", began=at, ended=at, status=entry["status"], error=entry["error"])
