"""Wording: what happens, in words. Pure: values in, text out.

What is said to the person is plain; what is said of an event may use the library's own terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from freshfetch import (
    AuthServerMisconfigured,
    Event,
    FreshfetchError,
    HeartbeatAnswered,
    HeartbeatFailed,
    HeartbeatSent,
    HTTPStatusError,
    InvalidCredentialsError,
    RefreshFailed,
    RefreshStarted,
    RefreshSucceeded,
    RequestAnswered,
    RequestEvent,
    RequestFailed,
    RequestHeld,
    RequestSent,
    RevocationFailed,
    SessionExpired,
    SignedIn,
    SignedOut,
    State,
    StateChanged,
    StorageFailed,
    TokensAdopted,
    TransportError,
)

from .lanes import FRESHFETCH, Tally
from .ledger import Verdict
from .note import Note, Remark, SaveState

MINUTE = 60
HOUR = 3600
BAD_REQUEST = 400
TOO_LARGE = 413
UNKNOWN = "\N{EN DASH}"


class Line(NamedTuple):
    """One line of the list of events. ``tone`` is ``good``, ``busy``, ``bad`` or ``plain``."""

    title: str
    detail: str
    tone: str = "plain"


STATES = {
    State.SIGNED_IN: "Signed in",
    State.REFRESHING: "Renewing",
    State.OFFLINE: "No answer",
    State.SIGN_IN_REQUIRED: "Session over",
    State.SIGNED_OUT: "Signed out",
}


class Sign(Enum):
    """What the tab shows of itself. The values are parts of the icons' names."""

    SIGNED_IN = "signed-in"
    UNSAVED = "unsaved"
    REFRESHING = "refreshing"
    OFFLINE = "offline"
    SIGN_IN_REQUIRED = "sign-in-required"
    SIGNED_OUT = "signed-out"


# The state comes first, since a tab shows only the first words.
TITLES = {
    Sign.SIGNED_IN: "Your notes · freshfetch",
    Sign.UNSAVED: "Unsaved text · freshfetch",
    Sign.REFRESHING: "Renewing · freshfetch",
    Sign.OFFLINE: "No answer · freshfetch",
    Sign.SIGN_IN_REQUIRED: "Sign in again · freshfetch",
    Sign.SIGNED_OUT: "Signed out · freshfetch",
}

REASONS = {
    "expiring": "the access token is about to expire",
    "refused": "the server refused the access token",
    "forced": "asked for by the page",
}

CLIENTS = {FRESHFETCH: "freshfetch", "naive": "A naive client"}
"""What the tracks of the timeline are called."""

SAVE_STATES = {
    SaveState.SAVED: "Saved",
    SaveState.EDITED: "Not saved yet",
    SaveState.SAVING: "Saving…",
    SaveState.WAITING: "Kept here, waiting for the server",
    SaveState.SIGN_IN: "Kept here, waiting for you to sign in",
    SaveState.EMPTY: "Empty, so not saved. Write something or delete it",
}

DELETE_STATES = {
    SaveState.SAVED: "Deleted",
    SaveState.EDITED: "Deleting…",
    SaveState.SAVING: "Deleting…",
    SaveState.WAITING: "Will be deleted when the server answers",
    SaveState.SIGN_IN: "Will be deleted when you have signed in",
}

REMARKS = {
    Remark.COPY: "Changed in another tab too: both versions are kept",
    Remark.RESTORED: "Changed in another tab, so it was not deleted",
    Remark.KEPT: "Gone from the server, kept because you changed it",
}


def describe(event: Event) -> Line:
    """Say what happened."""
    if isinstance(event, RequestEvent):
        return _describe_request(event)
    if isinstance(event, (RefreshStarted, RefreshSucceeded, RefreshFailed, TokensAdopted)):
        return _describe_refresh(event)
    if isinstance(event, (HeartbeatSent, HeartbeatAnswered, HeartbeatFailed)):
        return _describe_heartbeat(event)
    return _describe_session(event)


def _describe_request(event: RequestEvent) -> Line:
    which = f"{event.method} {event.path}"
    match event:
        case RequestHeld():
            line = Line("Request held", which, "busy")
        case RequestSent(replay=True):
            line = Line("Request sent again", which)
        case RequestSent():
            line = Line("Request sent", which)
        case RequestAnswered(refused=True):
            line = Line("Token refused", which, "bad")
        case RequestAnswered():
            line = Line(f"Answered {event.status}", which, "bad" if event.status >= BAD_REQUEST else "good")
        case RequestFailed():
            line = Line(f"Given up: {event.error}", which, "bad")
        case _:
            line = Line(type(event).__name__, which)
    return line


def _describe_refresh(event: Event) -> Line:
    match event:
        case RefreshStarted():
            line = Line("Renewing the session", REASONS.get(event.reason, event.reason), "busy")
        case RefreshSucceeded(expires_in=None):
            line = Line("Session renewed", "new access token", "good")
        case RefreshSucceeded():
            line = Line("Session renewed", f"new access token, good for {duration(event.expires_in or 0)}", "good")
        case RefreshFailed(status=None, retry_in=None):
            line = Line("Renewal dropped", "somebody else was first: another tab, or another person")
        case RefreshFailed():
            answer = "no answer" if event.status is None else f"status {event.status}"
            again = "" if event.retry_in is None else f", tried again in {duration(event.retry_in)}"
            line = Line("Renewal failed", answer + again, "bad")
        case _:
            line = Line("Renewed by another tab", "its new token is used, nothing was sent", "good")
    return line


def _describe_heartbeat(event: Event) -> Line:
    match event:
        case HeartbeatSent():
            line = Line("Heartbeat", "does the token still work?")
        case HeartbeatAnswered():
            line = Line("Heartbeat answered", f"status {event.status}", "good")
        case HeartbeatFailed():
            line = Line("Heartbeat unanswered", event.error, "bad")
        case _:
            line = Line(type(event).__name__, "")
    return line


def _describe_session(event: Event) -> Line:
    match event:
        case StateChanged():
            line = Line(f"Now: {event.new.value}", f"before: {event.old.value}")
        case SignedIn():
            line = Line(f"{event.subject} signed in", "in another tab" if event.elsewhere else "here", "good")
        case SignedOut():
            line = Line("Signed out", "in another tab" if event.elsewhere else "here")
        case SessionExpired():
            line = Line("Session over", f"the refresh token is dead: {event.reason}", "bad")
        case RevocationFailed():
            line = Line("Sign-out not delivered", "the auth server could not be told", "bad")
        case AuthServerMisconfigured():
            line = Line("Auth server rejects this client", f"{event.error}, status {event.status}", "bad")
        case StorageFailed():
            line = Line("Storage refused", event.problem, "bad")
        case _:
            line = Line(type(event).__name__, "")
    return line


def save_state(note: Note, *, in_trouble: bool) -> tuple[SaveState, str]:
    """Say how far a note is. What is being saved while the server does not answer is waiting, to a person."""
    state = SaveState.WAITING if in_trouble and note.state is SaveState.SAVING else note.state
    if state is SaveState.FAILED:
        return state, f"Could not be {'deleted' if note.deleted else 'saved'}: {why(note.error)}"
    words = (DELETE_STATES if note.deleted else SAVE_STATES).get(state, "")
    return state, words if note.remark is None or note.deleted else f"{words}. {REMARKS[note.remark]}"


def why(error: FreshfetchError | None) -> str:
    """Say why something could not be saved."""
    if isinstance(error, HTTPStatusError) and error.status == TOO_LARGE:
        return "it is too long for the server. Make it shorter"
    if isinstance(error, HTTPStatusError):
        return f"the server refused it (status {error.status}). Change it or try again"
    return "the server takes nothing from this page. Copy the text before you close it"


def sign_in_problem(error: FreshfetchError) -> str:
    """Say why a sign-in did not work, and what to do."""
    if isinstance(error, InvalidCredentialsError):
        return "User name and password do not match. Please try again."
    if isinstance(error, TransportError):
        return "The server cannot be reached. Please try again in a moment."
    return "The server could not sign you in just now. That is not your fault. Please try again in a moment."


def why_sign_in(state_reason: str) -> str:
    """Say why somebody has to sign in again."""
    if state_reason == "rotation_ambiguous":
        return "The connection broke at a bad moment and your session could not be continued."
    return "Your session has ended."


def kept_for(subject: str, unsaved: int, *, is_safe: bool) -> str:
    """Say that somebody's unsaved work waits for them."""
    name = apart(subject)
    what = {0: f"What {name} was writing is", 1: "One unsaved note is"}.get(unsaved, f"{unsaved} unsaved notes are")
    if is_safe:
        return f"{what} kept in this browser until {name} signs in again."
    return f"{what} kept in this page only. Leave it open until {name} signs in again."


def signed_in_elsewhere(subject: str) -> str:
    """Say that another tab has changed who is signed in."""
    return f"{apart(subject)} signed in in another tab. These are their notes."


def apart(name: str) -> str:
    """Set a name apart, so that one written from right to left leaves the sentence around it in order."""
    return name if name.isascii() else f"\N{FIRST STRONG ISOLATE}{name}\N{POP DIRECTIONAL ISOLATE}"


def sign(state: State, *, in_trouble: bool, renewing: bool, unsaved: bool) -> Sign:
    """Choose what the tab shows, the most pressing first."""
    if state is State.SIGN_IN_REQUIRED:
        return Sign.SIGN_IN_REQUIRED
    if state is State.SIGNED_OUT:
        return Sign.SIGNED_OUT
    if in_trouble:
        return Sign.OFFLINE
    if renewing:
        return Sign.REFRESHING
    return Sign.UNSAVED if unsaved else Sign.SIGNED_IN


def trouble(state: State, *, is_safe: bool, still: bool = False) -> str:
    """Say that the server does not do its work, ``still`` after it was tried, and that nothing is lost."""
    what = "cannot be reached, or has no time" if state is State.OFFLINE else "does not answer as it should"
    again = "still " if still else ""
    kept = "it is kept in this browser and" if is_safe else "leave this page open; what you write is"
    return f"The server {again}{what}. Go on writing: {kept} saved as soon as that is over."


def next_try(seconds: float | None) -> str:
    """Say when it is tried again."""
    if seconds is None:
        return ""
    return "Trying again now." if seconds < 1 else f"Next try in {duration(seconds)}."


def counted(number: int, one: str, many: str) -> str:
    """Say how many."""
    return f"{number} {one if number == 1 else many}"


def tally(counts: Sequence[tuple[str, Tally]]) -> str:
    """Say what came of the requests of each client."""
    return " ".join(_tally(name, each) for name, each in counts)


def _tally(name: str, counts: Tally) -> str:
    parts = [
        counted(counts.requests, "request", "requests"),
        f"{counts.refused} answered 401" if counts.refused else "",
        counted(counts.refreshes, "refresh", "refreshes") + (f" and {counts.vain} in vain" if counts.vain else ""),
        f"{counts.under_way} under way" if counts.under_way else "",
        f"{counts.failed} failed",
    ]
    whose = "" if name == FRESHFETCH else f"{CLIENTS.get(name, name)}: "
    return f"{whose}{', '.join(filter(None, parts))}."


def verdict(found: Verdict) -> str:
    """Say how the page's requests fared at the server."""
    parts = [
        f"{found.confirmed} answered",
        f"{found.open} still open" if found.open else "",
        f"{found.kept} failed and tried again" if found.kept else "",
        f"{found.withheld} withheld since their person was not signed in" if found.withheld else "",
        f"{found.lost} lost",
        f"{found.doubled} done twice",
    ]
    return f"Of {counted(found.made, 'request', 'requests')} this page made: {', '.join(filter(None, parts))}."


def duration(seconds: float) -> str:
    """Say how long, in one or two units."""
    whole = max(0, round(seconds))
    if whole < 2 * MINUTE:
        return f"{whole} s"
    if whole < 2 * HOUR:
        return f"{whole // MINUTE} min"
    return f"{whole // HOUR} h"


def countdown(seconds: float) -> str:
    """Say how long as a clock does."""
    whole = max(0, int(seconds + 0.5))
    if whole < HOUR:
        return f"{whole // MINUTE}:{whole % MINUTE:02}"
    return f"{whole // HOUR}:{whole % HOUR // MINUTE:02}:{whole % MINUTE:02}"


def ago(seconds: float) -> str:
    """Say how long ago."""
    return "now" if seconds < 1 else f"{duration(int(seconds))} ago"
