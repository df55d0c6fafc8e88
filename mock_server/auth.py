"""Auth: who may sign in, and the token families a sign-in starts.

A family is one sign-in: a line of refresh tokens of which only the last is good, and the access tokens given with them.
Rotation spends a refresh token when it is redeemed. A spent token that comes back means that two parties hold the
line, so the family is revoked; unless it is the immediate predecessor within the grace time, whose answer was probably
lost: that one gets the *same* successor again, with a fresh access token. The line never forks, so nobody who behaves
is ever taken for a thief later.

Without rotation a refresh answers with the same refresh token, which keeps its date of expiry; with rotation each
refresh token lives for its own full lifetime.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mock_server.settings import Settings
from mock_server.tokens import AccessTokens, Claims
from mock_server.wire import plain

DEMO_USERS: Mapping[str, str] = {"ada": "lovelace", "grace": "hopper"}


class InvalidGrantError(Exception):
    """A refresh token that is not good (any more). `family` is None when it was never issued here."""

    def __init__(self, description: str, *, family: Family | None = None, reused: bool = False) -> None:
        super().__init__(description)
        self.family = family
        self.reused = reused


class InvalidAccessError(Exception):
    """An access token that is not good (any more). `claims` is None when it was not made here."""

    def __init__(self, description: str, *, claims: Claims | None = None) -> None:
        super().__init__(description)
        self.claims = claims


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One sign-in. Access tokens up to serial `dead_up_to` no longer work; `last_serial` is the newest."""

    id: int
    user: str
    refresh_token: str = field(repr=False)
    refresh_expires_at: float
    predecessor: str | None = field(default=None, repr=False)
    rotated_at: float = 0.0
    revoked: bool = False
    last_serial: int = 0
    dead_up_to: int = 0

    def is_in_grace(self, token: str, now: float, grace: float) -> bool:
        """Tell whether a refresh token that is not the current one is still answered."""
        return token == self.predecessor and grace > 0 and now - self.rotated_at <= grace

    def without_access(self) -> Family:
        """Return the same sign-in, with every access token issued so far dead."""
        return replace(self, dead_up_to=self.last_serial)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Tokens for a client. `reissued` when they repeat an answer that was given before."""

    family: Family
    access_token: str = field(repr=False)
    expires_in: float
    refresh_expires_in: float
    reissued: bool = False


class Families:
    """All sign-ins, and the refresh tokens they ever had. `refresh_index` leads from a token to its family."""

    def __init__(self) -> None:
        self.by_id: dict[int, Family] = {}
        self.refresh_index: dict[str, int] = {}
        self.tokens = AccessTokens()
        self.last_serial = 0

    def dump(self) -> dict[str, object]:
        """Return all of it as plain values."""
        return {
            "families": [plain(family) for family in self.by_id.values()],
            "refresh": self.refresh_index,
            "tokens": self.tokens.dump(),
            "serial": self.last_serial,
        }

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Families:
        """Make it again from what `dump` returned."""
        families = cls()
        families.by_id = {item["id"]: Family(**item) for item in data["families"]}
        families.refresh_index = dict(data["refresh"])
        families.tokens = AccessTokens.load(data["tokens"])
        families.last_serial = data["serial"]
        return families

    def sign_in(self, user: str, *, now: float, settings: Settings) -> Grant:
        """Start a family."""
        family = Family(
            id=len(self.by_id) + 1,
            user=user,
            refresh_token=secrets.token_urlsafe(32),
            refresh_expires_at=now + settings.refresh_lifetime,
        )
        return self._grant(family, now=now, settings=settings)

    def redeem(self, token: str, *, now: float, settings: Settings) -> Grant:
        """Answer a refresh token with tokens, or raise InvalidGrantError."""
        family = self.family_of(token)
        if family is None:
            raise InvalidGrantError("The refresh token is unknown.")
        if family.revoked:
            raise InvalidGrantError("The refresh token was revoked.", family=family)
        reissued = token != family.refresh_token
        if reissued and not family.is_in_grace(token, now, settings.grace):
            self.revoke(family)
            raise InvalidGrantError("The refresh token was used before.", family=family, reused=True)
        if now >= family.refresh_expires_at:
            raise InvalidGrantError("The refresh token expired.", family=family)
        if settings.rotation and not reissued:
            family = _rotated(family, now, settings.refresh_lifetime)
        return self._grant(family, now=now, settings=settings, reissued=reissued)

    def authenticate(self, token: str, *, now: float) -> Claims:
        """Tell whose access token this is, or raise InvalidAccessError."""
        claims = self.tokens.read(token)
        if claims is None:
            raise InvalidAccessError("The access token is not one of this server.")
        if claims.serial <= self.by_id[claims.family].dead_up_to:
            raise InvalidAccessError("The access token was revoked.", claims=claims)
        if now >= claims.expires_at:
            raise InvalidAccessError("The access token expired.", claims=claims)
        return claims

    def family_of(self, token: str) -> Family | None:
        """Find the family a refresh token belongs to, spent or not."""
        family_id = self.refresh_index.get(token)
        return None if family_id is None else self.by_id[family_id]

    def revoke(self, family: Family, *, access_tokens: bool = True) -> bool:
        """End a sign-in; return False when it had ended before."""
        ended = replace(family, revoked=True)
        self.by_id[family.id] = ended.without_access() if access_tokens else ended
        return not family.revoked

    def revoke_all(self, user: str | None, *, access_tokens: bool) -> int:
        """End every sign-in (of one user); return how many there were."""
        return sum(self.revoke(family, access_tokens=access_tokens) for family in self._of(user))

    def expire_access(self, user: str | None) -> int:
        """Stop every access token issued so far; return how many sign-ins had one."""
        alive = [family for family in self._of(user) if family.last_serial > family.dead_up_to]
        self.by_id.update({family.id: family.without_access() for family in alive})
        return len(alive)

    def _of(self, user: str | None) -> list[Family]:
        return [family for family in self.by_id.values() if user in (None, family.user)]

    def _grant(self, family: Family, *, now: float, settings: Settings, reissued: bool = False) -> Grant:
        self.last_serial += 1
        family = replace(family, last_serial=self.last_serial)
        self.by_id[family.id] = family
        self.refresh_index[family.refresh_token] = family.id
        claims = Claims(
            user=family.user,
            family=family.id,
            serial=self.last_serial,
            issued_at=now,
            expires_at=now + settings.access_lifetime,
        )
        return Grant(
            family=family,
            access_token=self.tokens.issue(claims, settings.token_format),
            expires_in=settings.access_lifetime,
            refresh_expires_in=family.refresh_expires_at - now,
            reissued=reissued,
        )


def _rotated(family: Family, now: float, lifetime: float) -> Family:
    return replace(
        family,
        refresh_token=secrets.token_urlsafe(32),
        refresh_expires_at=now + lifetime,
        predecessor=family.refresh_token,
        rotated_at=now,
    )
