"""Wording: what happens, in words. Pure: values in, text out.

What is said to the person is plain; what is said of an event may use the library's own terms.
"""

from __future__ import annotations

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

REASONS = {
    "expiring": "the access token is about to expire",
    "refused": "the server refused the access token",
    "forced": "asked for by the page",
}

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
    Remark.KEPT: "Deleted in another tab, kept because you changed it",
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
        return "it is too long for the server"
    if isinstance(error, HTTPStatusError):
        return f"the server refused it (status {error.status})"
    return "the server does not accept requests from this page"


def sign_in_problem(error: FreshfetchError) -> str:
    """Say why a sign-in did not work, and what to do."""
    if isinstance(error, InvalidCredentialsError):
        return "User name and password do not match. Please try again."
    if isinstance(error, TransportError):
        return "The server cannot be reached. Please try again in a moment."
    return "The server could not sign you in just now. Please try again in a moment."


def why_sign_in(state_reason: str) -> str:
    """Say why somebody has to sign in again."""
    if state_reason == "rotation_ambiguous":
        return "The connection broke at a bad moment and your session could not be continued."
    return "Your session has ended."


def kept_for(subject: str, unsaved: int) -> str:
    """Say that somebody's unsaved work waits for them."""
    what = {0: "What you were writing is", 1: "One unsaved note is"}.get(unsaved, f"{unsaved} unsaved notes are")
    return f"{what} kept in this browser until {subject} signs in again."


def title(state: State, *, in_trouble: bool) -> str:
    """Name the page; trouble comes first, since a tab shows only the first words."""
    if state is State.SIGN_IN_REQUIRED:
        return "Sign in again · freshfetch notes"
    if in_trouble:
        return "No answer · freshfetch notes"
    return "freshfetch notes"


def trouble(state: State) -> str:
    """Say that the server does not do its work, and that nothing is lost."""
    what = "cannot be reached" if state is State.OFFLINE else "does not answer as it should"
    return f"The server {what}. What you write is kept here and saved as soon as that is over."


def next_try(seconds: float | None) -> str:
    """Say when it is tried again."""
    if seconds is None:
        return ""
    return "Trying again now." if seconds < 1 else f"Next try in {duration(seconds)}."


def counted(number: int, one: str, many: str) -> str:
    """Say how many."""
    return f"{number} {one if number == 1 else many}"


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
