"""Access tokens: made, and read back, in one of two formats.

A JWT carries its claims and is signed; an opaque token is a random name for claims that stay here. Both formats are
read at any time, so the setting can be changed while tokens are out. Whether a token still *works* is not decided here
but by the family it belongs to.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import jwt
from jwt.types import Options

# Expiry is judged by the server's own clock, which PyJWT does not know.
_SIGNATURE_ONLY: Options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What an access token says. `serial` counts the access tokens of the server, oldest first."""

    user: str
    family: int
    serial: int
    issued_at: float
    expires_at: float


class AccessTokens:
    """The signing key, and the claims of opaque tokens."""

    def __init__(self) -> None:
        self.key = secrets.token_hex(32)
        self.header = jwt.encode({}, self.key, algorithm="HS256").partition(".")[0]
        self.opaque: dict[str, dict[str, object]] = {}

    def dump(self) -> dict[str, object]:
        """Return all of it as plain values."""
        return {"key": self.key, "opaque": self.opaque}

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> AccessTokens:
        """Make it again from what `dump` returned."""
        tokens = cls()
        tokens.key, tokens.opaque = data["key"], dict(data["opaque"])
        return tokens

    def issue(self, claims: Claims, token_format: Literal["jwt", "opaque"]) -> str:
        """Make a token that says this."""
        if token_format == "jwt":  # noqa: S105  # not a password
            return jwt.encode(_payload(claims), self.key, algorithm="HS256")
        token = secrets.token_urlsafe(32)
        self.opaque[token] = asdict(claims)
        return token

    def read(self, token: str) -> Claims | None:
        """Return what the token says, or None when it was not made here."""
        if token in self.opaque:
            return Claims(**self.opaque[token])  # type: ignore[arg-type]  # asdict() of Claims
        # PyJWT parses any header, and a deeply nested one would be the end of an interpreter in the browser.
        if token.partition(".")[0] != self.header:
            return None
        try:
            return _claims(jwt.decode(token, self.key, algorithms=["HS256"], options=_SIGNATURE_ONLY))
        except (jwt.InvalidTokenError, ValueError):
            return None


def _payload(claims: Claims) -> dict[str, object]:
    return {
        "sub": claims.user,
        "sid": claims.family,
        "jti": str(claims.serial),
        "iat": claims.issued_at,
        "exp": claims.expires_at,
    }


def _claims(payload: dict[str, object]) -> Claims:
    return Claims(
        user=str(payload["sub"]),
        family=int(str(payload["sid"])),
        serial=int(str(payload["jti"])),
        issued_at=float(str(payload["iat"])),
        expires_at=float(str(payload["exp"])),
    )
