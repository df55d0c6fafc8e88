"""What is written down while the monkey plays: the ports write it, the oracle reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from freshfetch import Event, Hint, Request

Fate = Literal["under way", "answered", "lost", "aborted"]


@dataclass(slots=True, eq=False)
class Sending:
    """One request on the wire, as a tab sent it and as the tab saw it end."""

    tab: int
    at: float
    method: str
    url: str
    origin: str
    request_id: str | None
    bearer: str | None
    refresh_token: str | None = None
    fate: Fate = "under way"
    ended_at: float | None = None
    status: int | None = None
    error: str = ""
    granted: tuple[str, str] | None = None
    """The access and refresh token in the answer."""
    retry_after: float | None = None

    @property
    def is_refresh(self) -> bool:
        """Whether it redeems a refresh token."""
        return self.url.endswith("/api/auth/refresh")

    def end(self, fate: Fate, at: float) -> None:
        """Take down how it ended; the first word counts."""
        if self.fate == "under way":
            self.fate, self.ended_at = fate, at


@dataclass(frozen=True, slots=True)
class Commit:
    """One attempt to change what is stored."""

    tab: int
    at: float
    text: str | None
    expected: int
    written: bool
    generation: int
    """The store's, afterwards."""
    refused: bool = False
    """The store was out of order."""


@dataclass(slots=True, eq=False)
class Call:
    """One call of ``session.fetch`` or ``session.resend``."""

    request_id: str
    tab: int
    at: float
    method: str
    path: str
    owner: str | None
    """Whose page it was when the call was made: what ``session.subject`` said, or said last."""
    signed_in: bool
    text: str = ""
    timeout: float | None = None
    replay: bool | None = None
    answer: tuple[int, str] | None = None
    error: BaseException | None = None
    ended_at: float | None = None
    given_back: Request | None = field(default=None, repr=False)

    @property
    def changes(self) -> bool:
        """Whether it is to have an effect at the server."""
        return self.method != "GET"


@dataclass(slots=True, eq=False)
class Operation:
    """One call of ``sign_in``, ``sign_out``, ``refresh`` or ``close``."""

    kind: str
    tab: int
    at: float
    who: str = ""
    error: BaseException | None = None
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened to a tab, or (``tab`` is None) to the world."""

    kind: str
    at: float
    tab: int | None = None


@dataclass(slots=True)
class Evidence:
    """Everything that was seen in one run."""

    sendings: list[Sending] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    hints: list[Hint] = field(default_factory=list)
    events: dict[int, list[Event]] = field(default_factory=dict)

    def marked(self, *kinds: str, tab: int | None = None, since: float = 0.0, until: float = float("inf")) -> bool:
        """Tell whether such a thing happened, to this tab or to the world, in this time."""
        return any(
            mark.kind in kinds and since <= mark.at <= until and (tab is None or mark.tab in (None, tab))
            for mark in self.marks
        )
