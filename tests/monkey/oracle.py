"""Judges a run by what was seen from outside: the invariants I1 to I10 of ``docs/faults.md``.

Written apart from the library's logic: it knows the wire, the server's journal, the sequence of values in storage, the
events, and what each caller got. Where a rule has exceptions they are named here, with what was seen that excuses them.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from http import HTTPStatus
from itertools import pairwise
from typing import Any

from freshfetch import (
    AmbiguousRequestError,
    AuthServerError,
    Event,
    FreshfetchError,
    IdentityChangedError,
    QueueDroppedError,
    QueueFullError,
    RefreshFailed,
    RefreshStarted,
    RefreshSucceeded,
    RefreshUnavailableError,
    RequestSent,
    SessionClosedError,
    SessionExpired,
    SessionExpiredError,
    SignedIn,
    SignedOut,
    SignedOutError,
    StateChanged,
    TransportError,
)

from .evidence import Call, Commit, Evidence, Operation, Sending
from .play import World
from .ports import START

HOME = "http://localhost"
CALLERS_ERRORS = (
    AmbiguousRequestError,
    AuthServerError,
    IdentityChangedError,
    QueueDroppedError,
    QueueFullError,
    RefreshUnavailableError,
    SessionClosedError,
    SessionExpiredError,
    SignedOutError,
    TransportError,
)
"""What a caller of ``fetch`` can be told in this world."""
SHORTEST_RETRY = 0.5
LONGEST_RETRY_AFTER = 600.0
LONGEST_COOL_DOWN = 480.0
A_MOMENT = 0.05
PATIENCE = 22.0
"""Seconds after which the locks of a tab that does not come back are passed by: two of them, 11 s each."""
PIECE = 8
"""So many characters of a token are too many."""
RECORD_KEYS = {
    "schema", "generation", "session_id", "subject", "access_token", "refresh_token", "obtained_at", "expires_at",
    "refresh_expires_at", "not_before", "failures", "unanswered", "refused",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """What was stored from one commit on."""

    commit: Commit
    record: dict[str, Any] | None


class Case:
    """The evidence of one run, put in order."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen: Evidence = world.evidence
        self.families = world.server.families
        self.journal: list[Any] = list(world.server.journal.entries)
        self.killed = {mark.tab: mark.at for mark in self.seen.marks if mark.kind == "killed"}

    @cached_property
    def stored(self) -> list[Stored]:
        """Return the sequence of values in storage."""
        written = [commit for commit in self.seen.commits if commit.written]
        return [Stored(commit, None if commit.text is None else json.loads(commit.text)) for commit in written]

    @cached_property
    def refreshes(self) -> dict[int | None, list[Sending]]:
        """Return the refresh requests of each sign-in, in the order in which they left."""
        found: dict[int | None, list[Sending]] = defaultdict(list)
        for sending in self.seen.sendings:
            if sending.is_refresh:
                found[self.family_of(sending.refresh_token)].append(sending)
        return found

    @cached_property
    def entries_of(self) -> dict[str, list[Any]]:
        """Return the journal's entries of each request."""
        found: dict[str, list[Any]] = defaultdict(list)
        for entry in self.journal:
            if entry.request_id is not None:
                found[entry.request_id].append(entry)
        return found

    @cached_property
    def calls_of(self) -> dict[str, list[Call]]:
        """Return the calls that sent each request."""
        found: dict[str, list[Call]] = defaultdict(list)
        for call in self.seen.calls:
            found[call.request_id].append(call)
        return found

    @cached_property
    def sendings_of(self) -> dict[str, list[Sending]]:
        """Return what left for each request."""
        found: dict[str, list[Sending]] = defaultdict(list)
        for sending in self.seen.sendings:
            if sending.request_id is not None:
                found[sending.request_id].append(sending)
        return found

    def family_of(self, refresh_token: str | None) -> int | None:
        """Return the sign-in a refresh token belongs to, as the server knows it."""
        return None if refresh_token is None else self.families.refresh_index.get(refresh_token)

    def end_of(self, sending: Sending) -> float:
        """Return when nobody waited for its answer any more."""
        end = float("inf") if sending.ended_at is None else sending.ended_at
        return min(end, self.killed.get(sending.tab, float("inf")))

    def out_of_action(self, tab: int, since: float, until: float) -> bool:
        """Tell whether a tab was frozen or killed at any time in between."""
        frozen_at: float | None = None
        for mark in self.seen.marks:
            if mark.tab != tab:
                continue
            if mark.kind == "frozen":
                frozen_at = mark.at
            elif mark.kind == "thawed" and frozen_at is not None:
                if frozen_at <= until and mark.at >= since:
                    return True
                frozen_at = None
            elif mark.kind == "killed" and since <= mark.at <= until:
                return True
        return frozen_at is not None and frozen_at <= until

    def refused(self, tab: int, since: float, until: float) -> bool:
        """Tell whether the store refused a commit of this tab in between."""
        return any(each.refused and each.tab == tab and since <= each.at <= until for each in self.seen.commits)

    def open_operation(self, kind: str, tab: int, at: float) -> bool:
        """Tell whether somebody had asked this tab to do this, and it was doing it."""
        return any(
            each.kind == kind and each.tab == tab and each.at <= at and (each.ended_at is None or each.ended_at >= at)
            for each in self.seen.operations
        )


def violations(world: World) -> list[str]:
    """Return what was violated, in words; nothing when all is well."""
    case = Case(world)
    return [f"{invariant.__name__}: {words}" for invariant in INVARIANTS for words in invariant(case)]


def i1_settled(case: Case) -> Iterator[str]:
    """Everything settles exactly once, with an answer or a typed error; at rest nothing waits."""
    yield from _settled_calls(case)
    yield from _settled_operations(case)
    for rest in case.world.at_rest:
        if rest.snapshot is None or rest.snapshot.queue_size or rest.snapshot.queue_pending:
            yield f"tab {rest.tab} is not at rest: {rest.snapshot}"
    for tab in case.world.tabs:
        for complaint in tab.port.loop.complaints:
            if tab.number not in case.killed:
                yield f"nobody caught in tab {tab.number}: {complaint.get('message')} {complaint.get('exception')!r}"


def _settled_calls(case: Case) -> Iterator[str]:
    for call in case.seen.calls:
        if call.ended_at is None:
            yield f"{call.request_id} ({call.method}) of tab {call.tab} at {call.at:.3f} never settled"
        elif call.error is not None and not isinstance(call.error, (*CALLERS_ERRORS, asyncio.CancelledError)):
            yield f"{call.request_id} was told {call.error!r}"
        elif call.timeout is not None and call.ended_at > call.at + call.timeout + A_MOMENT:
            excused = case.out_of_action(call.tab, call.at, call.ended_at)
            yield from () if excused else (f"{call.request_id} took {call.ended_at - call.at:.3f} s of {call.timeout}",)


def _settled_operations(case: Case) -> Iterator[str]:
    for operation in case.seen.operations:
        if operation.ended_at is None and operation.tab not in case.killed:
            yield f"{operation.kind} of tab {operation.tab} at {operation.at:.3f} never returned"
        if operation.error is not None and not isinstance(operation.error, FreshfetchError):
            yield f"{operation.kind} raised {operation.error!r}"


def i2_effects(case: Case) -> Iterator[str]:
    """Success means exactly one effect; nothing ever has two; a failure that says *not sent* had none."""
    for request_id, calls in case.calls_of.items():
        effects = sum(bool(entry.effects) for entry in case.entries_of[request_id])
        succeeded = [call for call in calls if call.answer is not None and call.answer[0] < 300]
        if effects > 1:
            yield f"{request_id} took effect {effects} times"
        if succeeded and succeeded[0].changes and effects != 1:
            yield f"{request_id} succeeded and had {effects} effects"
        if effects and not succeeded and not any(_may_have_taken_effect(call) for call in calls):
            yield f"{request_id} took effect and its caller was told {calls[-1].error or calls[-1].answer!r}"
        yield from _answers(case, calls)


def _may_have_taken_effect(call: Call) -> bool:
    """Tell whether the caller was told so, or left."""
    if call.answer is None and call.error is None:
        return True  # the tab was killed, or the call was cancelled before it had begun
    repeatable = call.replay is True and isinstance(call.error, TransportError)
    return repeatable or isinstance(call.error, (AmbiguousRequestError, asyncio.CancelledError))


def _answers(case: Case, calls: list[Call]) -> Iterator[str]:
    entries = case.entries_of[calls[0].request_id]
    for call in calls:
        if call.answer is None:
            continue
        status, body = call.answer
        if status not in [entry.status for entry in entries]:
            yield f"{call.request_id} was told {status}, which the server never said"
        if status < 300 and call.changes and call.text not in body:
            yield f"{call.request_id} got the answer to another request"
        if status < 300 and not call.changes and json.loads(body)["user"] != call.owner:
            yield f"{call.request_id} of {call.owner} got somebody else's data"
        if status == 401 and not _excused_refusal(case, call):
            yield f"{call.request_id} of tab {call.tab} at {call.at:.3f} was told 401 without a second try"


def _excused_refusal(case: Case, call: Call) -> bool:
    """A 401 is the caller's answer when it is the second one, or when no refresh could help."""
    sendings = [each for each in case.sendings_of[call.request_id] if each.tab == call.tab and each.at >= call.at]
    refused = [each for each in sendings if each.status == 401]
    if len(refused) > 1 or call.replay is False or not all(each.bearer for each in refused):
        return True
    assert call.ended_at is not None
    return _cools_down(case, call.tab, call.ended_at)


def _cools_down(case: Case, tab: int, at: float) -> bool:
    """Tell whether this tab has lately had a new token refused again, so that no refusal leads to a refresh."""
    since, until = at - LONGEST_COOL_DOWN, at + A_MOMENT
    refused = [each for each in case.seen.sendings if each.tab == tab and each.status == 401 and each.bearer]
    times = Counter(
        each.request_id for each in refused if each.ended_at is not None and since <= each.ended_at <= until
    )
    return any(count > 1 for count in times.values())


def i3_one_refresh(case: Case) -> Iterator[str]:
    """Never two refreshes in flight for one sign-in; what was redeemed and received is not presented again.

    A frozen holder of the lock is passed by, which is the one reason for two in flight. A refresh token is
    presented again if its successor could not be stored: the store refused, or the tab died or froze before.
    """
    for family, sendings in case.refreshes.items():
        if family is None:
            yield f"a refresh token was presented that was never issued, by tab {sendings[0].tab}"
        for index, first in enumerate(sendings):
            for second in sendings[index + 1 :]:
                if second.at < case.end_of(first) and not _passed_by(case, first, second):
                    yield f"two refreshes in flight: tab {first.tab}, {first.at:.3f}; tab {second.tab}, {second.at:.3f}"
                if first.refresh_token == second.refresh_token and _presented_in_vain(case, first, second):
                    yield f"presented again after its success was received: by tab {second.tab} at {second.at:.3f}"


def _passed_by(case: Case, first: Sending, second: Sending) -> bool:
    """Tell whether who waited for the lock may have lost patience with its holder.

    It was frozen; or several held the lock in turn and brought nothing, not even the instant of the next attempt:
    because one was killed, or the store took nothing.
    """
    since = second.at - PATIENCE
    return case.out_of_action(first.tab, first.at, second.at) or any(
        case.seen.marked("killed", tab=tab.number, since=since, until=second.at)
        or case.refused(tab.number, since, second.at)
        for tab in case.world.tabs
    )


def _presented_in_vain(case: Case, first: Sending, second: Sending) -> bool:
    end = first.ended_at
    if first.granted is None or first.granted[1] == first.refresh_token or end is None or end > second.at:
        return False
    if case.refused(first.tab, end, second.at):
        return False
    stored = any(
        each.commit.at <= second.at and each.record is not None and each.record["access_token"] == first.granted[0]
        for each in case.stored
    )
    return stored or not case.out_of_action(first.tab, first.at, second.at)


def i4_origin(case: Case) -> Iterator[str]:
    """No credential leaves for another origin, and none is in a URL."""
    for sending in case.seen.sendings:
        if sending.origin != HOME and (sending.bearer or sending.refresh_token):
            yield f"a token left for {sending.origin}"


def i5_silence(case: Case) -> Iterator[str]:
    """No token, nor 8 characters of one, is in anything that can be read."""
    pieces = {token[at : at + PIECE] for token in _tokens(case) for at in range(len(token) - PIECE + 1)}
    for text in _texts(case):
        if any(text[at : at + PIECE] in pieces for at in range(len(text) - PIECE + 1)):
            yield f"a piece of a token is in {text[:40]!r}"


def _tokens(case: Case) -> set[str]:
    bearers = {each.bearer for each in case.seen.sendings if each.bearer}
    granted = {token for each in case.seen.sendings if each.granted for token in each.granted}
    return bearers | granted | set(case.families.refresh_index)


def _texts(case: Case) -> set[str]:
    asked: list[Call | Operation] = [*case.seen.calls, *case.seen.operations]
    errors = [each.error for each in asked if each.error is not None]
    texts = {text for error in errors for text in (str(error), repr(error), repr(getattr(error, "request", None)))}
    texts |= {hint.reason for hint in case.seen.hints} | {each.url for each in case.seen.sendings}
    events = [event for each in case.seen.events.values() for event in each]
    names = {kind: [field.name for field in fields(kind)] for kind in {type(event) for event in events}}
    texts |= {
        value for event in events for name in names[type(event)] if isinstance(value := getattr(event, name), str)
    }
    complaints = [each for tab in case.world.tabs for each in tab.port.loop.complaints]
    return texts | {str(each.get("message")) + repr(each.get("exception")) for each in complaints}


def i6_storage(case: Case) -> Iterator[str]:
    """The record is absent or whole, of one answer, and never goes back."""
    granted = {each.granted[0]: each.granted[1] for each in case.seen.sendings if each.granted}
    serials: dict[int, int] = {}
    generation = 0
    before: str | None = None
    for stored in case.stored:
        if stored.commit.generation < generation:
            yield f"the generation went back from {generation} to {stored.commit.generation}"
        record = stored.record
        if record is None:
            before, generation = None, stored.commit.generation
            continue
        if set(record) != RECORD_KEYS or record["generation"] != stored.commit.generation:
            yield f"a record of another shape was stored at {stored.commit.at:.3f}"
        if record["access_token"] != before and stored.commit.generation <= generation:
            yield f"new tokens were stored at {stored.commit.at:.3f} without a new generation"
        given_up = record["refresh_token"] is None and record["refused"] is not None
        if not given_up and granted.get(record["access_token"]) != record["refresh_token"]:
            yield f"tokens of two answers were stored together at {stored.commit.at:.3f}"
        claims = case.families.tokens.read(record["access_token"])
        if claims.user != record["subject"]:
            yield f"the tokens of {claims.user} were stored as {record['subject']}'s"
        if claims.serial < serials.get(claims.family, 0):
            yield f"tab {stored.commit.tab} stored older tokens over newer ones at {stored.commit.at:.3f}"
        serials[claims.family] = claims.serial
        before, generation = record["access_token"], stored.commit.generation


def i7_identity(case: Case) -> Iterator[str]:
    """A request made by one person is never sent with another's token."""
    for request_id, entries in case.entries_of.items():
        owners = {call.owner for call in case.calls_of[request_id]}
        for entry in entries:
            if entry.user is not None and entry.user not in owners:
                yield f"{request_id} of {owners} was sent as {entry.user}"


def i8_logout(case: Case) -> Iterator[str]:
    """A session ends only on a person's word or the auth server's own; one that has ended does not come back."""
    ended: set[str] = set()
    current: dict[str, Any] | None = None
    for stored in case.stored:
        session = None if stored.record is None else stored.record["session_id"]
        if current is not None and current["session_id"] != session:
            ended.add(current["session_id"])
            yield from _ended_without_cause(case, stored.commit, current, stored.record)
        if session in ended:
            yield f"tab {stored.commit.tab} brought an ended session back at {stored.commit.at:.3f}"
        current = stored.record
    yield from _sent_after_the_end(case)
    for tab, events in case.seen.events.items():
        yield from _goodbyes(case, tab, events)


def _sent_after_the_end(case: Case) -> Iterator[str]:
    """A second after a session has ended in storage no tab sends its token: unless asleep, or unable to store it."""
    family: int | None = None
    ended_at: dict[int, float] = {}
    for stored in case.stored:
        token = None if stored.record is None else stored.record["access_token"]
        now = None if token is None else case.families.tokens.read(token).family
        if family is not None and now != family:
            ended_at[family] = stored.commit.at
        family = now
    for sending in case.seen.sendings:
        claims = case.families.tokens.read(sending.bearer) if sending.bearer else None
        if claims is None or sending.at < ended_at.get(claims.family, float("inf")) + 1.0:
            continue
        if not case.out_of_action(sending.tab, ended_at[claims.family], sending.at) and not case.refused(
            sending.tab, 0.0, sending.at
        ):
            yield f"tab {sending.tab} sent the token of an ended session at {sending.at:.3f}"


def _ended_without_cause(
    case: Case, commit: Commit, record: dict[str, Any], successor: dict[str, Any] | None
) -> Iterator[str]:
    if successor is not None:
        remembered = [json.loads(each.text)["session_id"] for each in _refused_before(case, commit) if each.text]
        if not case.open_operation("sign in", commit.tab, commit.at) and successor["session_id"] not in remembered:
            yield f"tab {commit.tab} replaced the session at {commit.at:.3f}, and nobody had signed in"
        return
    if case.open_operation("sign out", commit.tab, commit.at):
        return
    remembered_tokens = [json.loads(each.text)["refresh_token"] for each in _refused_before(case, commit) if each.text]
    dead = {
        each.refresh_token
        for sendings in case.refreshes.values()
        for each in sendings
        if each.error == "invalid_grant" and each.ended_at is not None and each.ended_at <= commit.at
    }
    given_up = record["refresh_token"] is None and record["refused"] is not None
    if not given_up and not dead & {record["refresh_token"], *remembered_tokens}:
        yield f"tab {commit.tab} ended the session at {commit.at:.3f} without the auth server's word"


def _refused_before(case: Case, commit: Commit) -> list[Commit]:
    return [each for each in case.seen.commits if each.refused and each.tab == commit.tab and each.at <= commit.at]


def _goodbyes(case: Case, tab: int, events: list[Event]) -> Iterator[str]:
    refused = any(each.error == "invalid_grant" for sendings in case.refreshes.values() for each in sendings)
    asked = any(each.kind == "sign out" and each.tab == tab for each in case.seen.operations)
    for event in events:
        if isinstance(event, SessionExpired) and not refused and not case.seen.marked("forged"):
            yield f"tab {tab} announced an expiry for which there was no reason"
        if isinstance(event, SignedOut) and not event.elsewhere and not asked:
            yield f"tab {tab} announced a sign-out at {event.at - START:.3f} that nobody had asked it for"


def i9_bounded(case: Case) -> Iterator[str]:
    """Attempts, retries, timers and tasks stay few."""
    for request_id, sendings in case.sendings_of.items():
        if len(sendings) > 2 * len(case.calls_of[request_id]):
            yield f"{request_id} was sent {len(sendings)} times"
    for sendings in case.refreshes.values():
        for first, second in pairwise(sendings):
            if first.refresh_token == second.refresh_token:
                yield from _too_soon(case, first, second)
    for rest in case.world.at_rest:
        if len(rest.tasks) > 1 or rest.timers > 2:
            yield f"tab {rest.tab} at rest runs {rest.tasks} and {rest.timers} timers"
        if rest.left_after_close:
            yield f"tab {rest.tab} left {rest.left_after_close} when it was closed"


def _too_soon(case: Case, first: Sending, second: Sending) -> Iterator[str]:
    """After a failure nobody tries again at once, nor before the server's Retry-After, unless the network came back."""
    end = case.end_of(first)
    if first.granted is not None or first.error == "invalid_grant" or end > second.at:
        return
    excused = (
        case.seen.marked("online", "returned", "clock set", since=first.at, until=second.at)
        or case.refused(first.tab, first.at, second.at)
        or case.out_of_action(first.tab, first.at, second.at)
        or case.seen.marked("closed", tab=first.tab, since=first.at, until=second.at)
    )
    wait = SHORTEST_RETRY + min(first.retry_after or 0.0, LONGEST_RETRY_AFTER)
    if second.at - end < wait - A_MOMENT and not excused:
        yield f"tab {second.tab} tried again at {second.at:.3f}, {second.at - end:.3f} s after a failure, not {wait:g}"


def i10_events(case: Case) -> Iterator[str]:
    """A refresh that started ends exactly once; a session expires once; states follow each other."""
    for tab, events in case.seen.events.items():
        yield from _refresh_events(case, tab, events)
        yield from _state_events(tab, events)
        sent = Counter(event.number for event in events if isinstance(event, RequestSent))
        if any(count > 2 for count in sent.values()):
            yield f"tab {tab} announced a third sending"


def _refresh_events(case: Case, tab: int, events: list[Event]) -> Iterator[str]:
    """An expiry that another tab tells of may come in between; the refresh that was in flight ends after it."""
    started = told = False
    for event in events:
        if isinstance(event, RefreshStarted):
            if started:
                yield f"tab {tab} started a refresh in the middle of one, at {event.at - START:.3f}"
            started, told = True, False
        elif isinstance(event, RefreshSucceeded | RefreshFailed):
            if not started and not told:
                yield f"tab {tab} ended a refresh that had not begun, at {event.at - START:.3f}: {event}"
            started = told = False
        elif isinstance(event, SessionExpired):
            started, told = False, started
    if started and tab not in case.killed:
        yield f"tab {tab} never ended a refresh"
    granted = {each.granted[0] for each in case.seen.sendings if each.tab == tab and each.is_refresh and each.granted}
    kept = {
        json.loads(each.text)["access_token"]
        for each in case.seen.commits
        if each.tab == tab and each.text is not None and (each.written or each.refused)
    }
    if sum(isinstance(event, RefreshSucceeded) for event in events) > len(granted & kept):
        yield f"tab {tab} announced a success whose tokens it did not keep"


def _state_events(tab: int, events: list[Event]) -> Iterator[str]:
    expired, state = False, None
    for event in events:
        if isinstance(event, SessionExpired):
            if expired:
                yield f"tab {tab} announced an expiry twice"
            expired = True
        elif isinstance(event, SignedIn):
            expired = False
        elif isinstance(event, StateChanged):
            if state not in (None, event.old):
                yield f"tab {tab} changed from {event.old}, but was {state}"
            state = event.new


def at_rest(case: Case) -> Iterator[str]:
    """When all is well again: who is signed in can fetch, and all tabs agree on who that is."""
    last = case.stored[-1].record if case.stored else None
    subject = None if last is None else last["subject"]
    for rest in case.world.at_rest:
        if _remembers_a_sign_out(case, rest.tab):
            continue
        if rest.subject != subject:
            yield f"tab {rest.tab} shows {rest.subject}, stored is {subject}"
        [call] = [each for each in case.seen.calls if each.tab == rest.tab and each.path.endswith("/end")]
        if last is not None and (call.answer is None or call.answer[0] != HTTPStatus.OK):
            yield f"tab {rest.tab} cannot fetch at rest: {call.error!r} {call.answer}"


def _remembers_a_sign_out(case: Case, tab: int) -> bool:
    """A sign-out that the store refused is remembered by its tab alone, until somebody signs in or refreshes."""
    mine = [each for each in case.seen.commits if each.tab == tab]
    return bool(mine) and mine[-1].refused and mine[-1].text is None


INVARIANTS = (
    i1_settled,
    i2_effects,
    i3_one_refresh,
    i4_origin,
    i5_silence,
    i6_storage,
    i7_identity,
    i8_logout,
    i9_bounded,
    i10_events,
    at_rest,
)
