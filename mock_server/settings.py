"""Settings: what can be set on the mock server, at the start or while it runs.

On the wire the names are camelCase (`accessLifetime`), in Python they are not. A Settings value is always valid:
whoever holds one needs no further check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

from mock_server.wire import camel, seconds

# Thirty years: longer than any test, short enough that every instant still has a calendar date.
LONGEST = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the server behaves; durations are in seconds.

    `rotation` makes every refresh token usable once. For `grace` seconds after that its immediate predecessor is still
    answered (0: never). `clock_offset` is added to the clock for everything the server says and decides; `latency` is
    waited before each answer of the API. `cors_origins` may read the API from another origin.
    """

    access_lifetime: float = 1800.0
    refresh_lifetime: float = 86400.0 * 14
    rotation: bool = True
    grace: float = 10.0
    clock_offset: float = 0.0
    latency: float = 0.0
    token_format: Literal["jwt", "opaque"] = "jwt"  # noqa: S105  # not a password
    cors_origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse, with a ValueError, what the server could not live with."""
        for name in ("access_lifetime", "refresh_lifetime", "grace", "latency"):
            _check_number(camel(name), getattr(self, name), least=0.0)
        _check_number("clockOffset", self.clock_offset, least=-LONGEST)
        if type(self.rotation) is not bool:
            raise ValueError("rotation must be true or false")
        if self.token_format not in ("jwt", "opaque"):
            raise ValueError('tokenFormat must be "jwt" or "opaque"')
        if not _is_texts(self.cors_origins):
            raise ValueError("corsOrigins must be a list of origins, such as http://localhost:5173")

    def changed(self, changes: Mapping[str, object]) -> Settings:
        """Replace some settings, named as on the wire; a ValueError says what is wrong with them."""
        names = {camel(field.name): field.name for field in fields(self)}
        for name in changes:
            if name not in names:
                raise ValueError(f"{name!r} is not a setting; there are {', '.join(names)}")
        values = {names[name]: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
        return replace(self, **values)  # type: ignore[arg-type]  # __post_init__ checks what JSON brought

    def to_json(self) -> dict[str, object]:
        """Show all settings, named as on the wire."""
        return {camel(field.name): _plain(getattr(self, field.name)) for field in fields(self)}


def _check_number(name: str, value: object, *, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= LONGEST:
        raise ValueError(f"{name} must be a number of seconds between {least:.0f} and {LONGEST:.0f}")


def _is_texts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) and item.isascii() for item in value)


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return seconds(value) if isinstance(value, float) else value
