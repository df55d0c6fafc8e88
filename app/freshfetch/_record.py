"""The session record: everything a session keeps, as one value under one key.

One value, so that no reader ever sees the access token of one refresh beside the refresh token of
another. Rules for editing: the schema number goes up with every change of a field's meaning; what
cannot be read whole is not read at all.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ._errors import StorageError
from ._json import parse_json
from ._models import Owner

SCHEMA = 1
LONGEST_TOKEN = 16_384
LONGEST_RECORD = 8 * LONGEST_TOKEN
LONGEST_SUBJECT = 256
LAST_GENERATION = 2**52
"""Where counting starts anew, far below what JavaScript can count: nothing written into storage may end it for good."""
MOST_FAILURES = 1_000_000
LONGEST_LIFETIME = 100 * 365 * 86_400.0
SHORTEST_LIFETIME = 1.0
LATEST_INSTANT = 1e12
_ACCESS_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750 section 2.1, b64token
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_REASON = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")  # a part of what RFC 6749 section 5.2 allows in an error code
_REFRESH_TOKEN = re.compile(r"[\x20-\x7e]+")  # RFC 6749 appendix A.17


def valid_access_token(value: object) -> bool:
    """Tell whether ``value`` can travel in an Authorization header."""
    return isinstance(value, str) and len(value) <= LONGEST_TOKEN and bool(_ACCESS_TOKEN.fullmatch(value))


def valid_refresh_token(value: object) -> bool:
    """Tell whether ``value`` is a refresh token by the grammar of RFC 6749."""
    return isinstance(value, str) and len(value) <= LONGEST_TOKEN and bool(_REFRESH_TOKEN.fullmatch(value))


def valid_subject(value: object) -> bool:
    """Tell whether ``value`` can name a person: text that can be written down, neither empty nor absurdly long."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_SUBJECT and not _LONE_SURROGATE.search(value)


def valid_reason(value: object) -> bool:
    """Tell whether ``value`` can be the reason why a session ended."""
    return isinstance(value, str) and bool(_REASON.fullmatch(value))


def valid_seconds(value: object) -> bool:
    """Tell whether ``value`` is a usable duration: a finite number of seconds, not negative, not absurd."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 <= value <= LONGEST_LIFETIME


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What an auth server grants (RFC 6749 section 5.1). Has no repr of the tokens."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_in: float | None = None
    """Seconds; None when the server did not say."""
    refresh_expires_in: float | None = None
    subject: str | None = None
    """Who it is for, where the server says so."""
    scope: str | None = None
    """What it is good for, where the server says so (RFC 6749 section 3.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """One signed-in session at rest. Instants are seconds since the epoch, by this device's clock."""

    generation: int
    """Goes up with every change of the tokens, also across sessions; never down."""
    session_id: str
    """New with every sign-in."""
    subject: str
    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    obtained_at: float
    expires_at: float | None = None
    refresh_expires_at: float | None = None
    not_before: float = 0.0
    """No tab tries a refresh before this instant."""
    failures: int = 0
    """Refresh attempts in a row that brought no token."""
    unanswered: bool = False
    """Whether an attempt has left and was not, or not yet, answered: the refresh token may be spent."""
    refused: str | None = None
    """Why the refresh token was given up while the access token still works."""

    @property
    def owner(self) -> Owner:
        """Whose requests carry these tokens."""
        return Owner(self.session_id, self.subject)

    @property
    def renewable(self) -> bool:
        """Whether a refresh has a point: there is a refresh token, or one that was given up and ends the session."""
        return self.refresh_token is not None or self.refused is not None

    @property
    def lifetime(self) -> float | None:
        """How many seconds the access token was granted for; None when unknown."""
        return None if self.expires_at is None else self.expires_at - self.obtained_at

    @classmethod
    def signed_in(cls, tokens: Tokens, *, subject: str, generation: int, now: float) -> SessionRecord:
        """Start a session with its first tokens, granted for a request sent at ``now``."""
        blank = cls(
            generation=generation,
            session_id=secrets.token_urlsafe(12),
            subject=subject,
            access_token=tokens.access_token,
            obtained_at=now,
        )
        return blank.renewed(tokens, generation=generation, now=now)

    def renewed(self, tokens: Tokens, *, generation: int, now: float) -> SessionRecord:
        """Return the record with new tokens; without a new refresh token the old one stays (RFC 6749 section 6)."""
        # A shorter life would ask for a refresh before every request: such a token is used until it is refused.
        lifetime = tokens.expires_in or 0.0
        expires_at = now + lifetime if lifetime >= SHORTEST_LIFETIME else None
        rotated = tokens.refresh_token is not None
        ends_in = tokens.refresh_expires_in
        return replace(
            self,
            generation=generation,
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token if rotated else self.refresh_token,
            obtained_at=now,
            expires_at=expires_at,
            refresh_expires_at=now + ends_in if ends_in else (None if rotated else self.refresh_expires_at),
            not_before=0.0,
            failures=0,
            unanswered=False,
            refused=None,
        )

    def postponed(self, *, until: float, unanswered: bool) -> SessionRecord:
        """Return the record after a refresh that brought nothing."""
        unanswered = self.unanswered or unanswered
        failures = min(self.failures + 1, MOST_FAILURES)
        return replace(self, not_before=until, failures=failures, unanswered=unanswered)

    def presented(self) -> SessionRecord:
        """Return the record while its refresh token is on its way: whoever sends it may not live to hear the answer."""
        return replace(self, unanswered=True)

    def without_refresh_token(self, *, refused: str, generation: int) -> SessionRecord:
        """Return the record after the refresh token was refused while the access token still works."""
        return replace(self, generation=generation, refresh_token=None, refused=refused)

    def to_json(self) -> str:
        """Return the record as the text that is stored."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> SessionRecord:
        """Read a stored record.

        Raises:
            StorageError: it is not one, or not wholly valid. The message quotes nothing of it.
        """
        if len(text) > LONGEST_RECORD:
            raise StorageError("The stored session record is too long to be one; it is ignored.")
        try:
            found = parse_json(text)
        except ValueError:
            raise StorageError("The stored session record is not JSON; it is ignored.") from None
        if not isinstance(found, dict):
            raise StorageError("The stored session record is not an object; it is ignored.")
        if (schema := found.pop("schema", None)) != SCHEMA and type(schema) is int:
            message = "Another version of freshfetch wrote the stored session, which is left alone: reload the page."
            raise StorageError(message, foreign=True)
        if schema != SCHEMA or found.keys() != {each.name for each in fields(cls)} or not _plausible(found):
            raise StorageError("The stored session record is damaged; it is ignored.")
        return cls(**found)


def _valid_count(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _valid_instant(value: object) -> bool:
    """Tell whether ``value`` can be an instant: now, by any clock, and the longest lifetime after it."""
    return type(value) in (int, float) and 0 <= value <= LATEST_INSTANT  # type: ignore[operator]


def _plausible(found: dict[str, Any]) -> bool:
    """Check every field of a parsed record: storage is written by whoever can run script in the page."""
    instants = (found["obtained_at"], found["not_before"])
    maybe_instants = (found["expires_at"], found["refresh_expires_at"])
    return (
        _valid_count(found["generation"], LAST_GENERATION)
        and _valid_count(found["failures"], MOST_FAILURES)
        and valid_refresh_token(found["session_id"])
        and valid_subject(found["subject"])
        and all(_valid_instant(value) for value in instants)
        and all(value is None or _valid_instant(value) for value in maybe_instants)
        and valid_access_token(found["access_token"])
        and (found["refresh_token"] is None or valid_refresh_token(found["refresh_token"]))
        and isinstance(found["unanswered"], bool)
        and (found["refused"] is None or valid_reason(found["refused"]))
    )
