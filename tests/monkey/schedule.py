"""Schedules: what the monkey does, drawn from a seed, and said in words."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

WAITS = (0.0, 0.0, 0.002, 0.01, 0.02, 0.05, 0.3, 1.5, 5.0, 12.0, 40.0, 120.0, 700.0, 2000.0)
"""Seconds before an action: most are short, so that it falls into something that is under way."""
POINTS = ("the lock", "a refresh sent", "a refresh answered", "before the commit", "after the commit")
"""Where an action can lie in wait for a tab."""
SHORTEST, LONGEST = 12, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The world a schedule runs in."""

    tabs: int
    grace: float
    lifetime: float
    token_format: str
    storage_events: bool
    heartbeat: float
    max_size: int
    overflow: str
    concurrency: int

    @classmethod
    def drawn(cls, rng: Random) -> Setting:
        """Draw one."""
        return cls(
            tabs=rng.choice((2, 2, 3, 4)),
            grace=rng.choice((0.0, 0.0, 10.0)),
            lifetime=rng.choice((5.0, 60.0, 1800.0, 1800.0)),
            token_format=rng.choice(("jwt", "opaque")),
            storage_events=rng.random() < 0.7,
            heartbeat=rng.choice((60.0, 300.0)),
            max_size=rng.choice((3, 100)),
            overflow=rng.choice(("reject_new", "drop_oldest", "wait")),
            concurrency=rng.choice((1, 2, 6)),
        )

    def __str__(self) -> str:
        """Say it in words."""
        return (
            f"{self.tabs} tabs, grace {self.grace:g} s, tokens of {self.lifetime:g} s ({self.token_format}), "
            f"{'' if self.storage_events else 'no '}storage events, heartbeat every {self.heartbeat:g} s, "
            f"queue of {self.max_size} ({self.overflow}), {self.concurrency} released at once"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that is done, after ``wait`` seconds, to a tab or to the world."""

    kind: str
    wait: float = 0.0
    tab: int = 0
    at: str | None = None
    """Not now, but when the tab ``of`` comes to this point."""
    of: int = 0
    details: dict[str, Any] = field(default_factory=dict)

    def now(self) -> Act:
        """Return the same without the waiting."""
        return replace(self, wait=0.0, at=None)

    def __str__(self) -> str:
        """Say it in words."""
        details = "".join(f" {name}={value!r}" for name, value in self.details.items())
        when = f", as soon as tab {self.of} comes to: {self.at}" if self.at else ""
        return f"+{self.wait:<7g} tab {self.tab}: {self.kind}{details}{when}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A setting and what is done in it. The seed also draws what the network, the loops and the library draw."""

    seed: int
    setting: Setting
    acts: tuple[Act, ...]

    @classmethod
    def drawn(cls, seed: int) -> Schedule:
        """Draw the schedule of a seed."""
        rng = Random(seed)  # noqa: S311  # repeatable, not secret
        setting = Setting.drawn(rng)
        acts = tuple(_act(rng, setting) for _ in range(rng.randint(SHORTEST, LONGEST)))
        return cls(seed, setting, acts)

    def without(self, start: int, end: int) -> Schedule:
        """Return it without some acts."""
        return replace(self, acts=self.acts[:start] + self.acts[end:])

    def __str__(self) -> str:
        """Say it in words."""
        return "\n".join([str(self.setting), *(f"  {act}" for act in self.acts)])


PATHS = ("/api/auth/refresh", "/api/auth/refresh", "/api/auth/refresh", "/api/data*", "/api/notes", "/api/echo", "*")
FAULTS = ("drop_before", "drop_after", "drop_after", "stall", "truncate", "delay", "status", "status", "garbled")
LIFETIMES = (2.0, 5.0, 60.0, 1800.0, "absent")


def _get(rng: Random) -> dict[str, Any]:
    elsewhere = rng.random() < 0.03
    path = "https://elsewhere.example/api/data" if elsewhere else "/api/data/x"
    return {"path": path, "times": rng.choice((1, 1, 2, 8)), "timeout": rng.choice((None, None, 0.5, 5.0, 30.0))}


def _post(rng: Random) -> dict[str, Any]:
    path = rng.choice(("/api/notes", "/api/notes", "/api/echo"))
    named = path == "/api/notes" and rng.random() < 0.4
    replay = rng.choice((None, None, None, None, True, False))
    return {
        "path": path,
        "named": named,
        "times": rng.choice((1, 1, 3)),
        "replay": replay,
        "timeout": _get(rng)["timeout"],
    }


def _fault(rng: Random) -> dict[str, Any]:
    kind = rng.choice(FAULTS)
    rule: dict[str, Any] = {"path": rng.choice(PATHS), "kind": kind, "times": rng.choice((1, 1, 2, 4))}
    if kind == "delay":
        rule["delay"] = rng.choice((0.2, 2.0, 9.0, 15.0))
    if kind == "status":
        rule["status"] = rng.choice((429, 429, 500, 502, 503, 408, 403))
        if rng.random() < 0.5:
            rule["headers"] = {"Retry-After": rng.choice(("0", "3", "40", "1000000000", "soon", "-5"))}
    if kind == "garbled":
        rule.update(
            kind=rng.choice(("body", "status")), status=200, body="<html>Welcome to the hotel</html>", path=PATHS[0]
        )
    return {"rule": rule}


def _who(rng: Random) -> dict[str, Any]:
    return {"who": rng.choice(("ada", "grace"))}


def _jump(rng: Random) -> dict[str, Any]:
    return {"seconds": rng.choice((-86_400.0, -3600.0, -20.0, 20.0, 3600.0, 86_400.0))}


def _forged(rng: Random) -> dict[str, Any]:
    return {"hint": rng.choice(("changed", "signed_out", "expired")), "reason": rng.choice(("", "because"))}


KINDS: dict[str, tuple[int, Any]] = {
    "get": (26, _get),
    "post": (16, _post),
    "expire": (12, None),
    "fault": (16, _fault),
    "heal": (3, None),
    "freeze": (7, None),
    "thaw": (7, None),
    "kill": (4, None),
    "close": (2, None),
    "open": (5, None),
    "sign out": (3, None),
    "sign in": (12, _who),
    "refresh": (5, None),
    "cancel": (5, None),
    "resend": (2, None),
    "full": (1, None),
    "not full": (3, None),
    "jump": (3, _jump),
    "offline": (3, None),
    "online": (4, None),
    "hints": (3, lambda rng: {"are": rng.choice(("kept", "lost", "late", "doubled"))}),
    "forged": (2, _forged),
    "grace": (2, lambda rng: {"seconds": rng.choice((0.0, 10.0))}),
    "lifetime": (3, lambda rng: {"seconds": rng.choice(LIFETIMES)}),
    "revoke": (1, None),
    "look away": (1, None),
}
"""What can be done, how often, and how its details are drawn."""
IN_WAIT = {
    "freeze",
    "kill",
    "close",
    "sign out",
    "sign in",
    "expire",
    "cancel",
    "get",
    "post",
    "refresh",
    "jump",
    "offline",
    "full",
}
"""What can lie in wait for a tab that comes to a point."""


def _act(rng: Random, setting: Setting) -> Act:
    kind = rng.choices(tuple(KINDS), [weight for weight, _ in KINDS.values()])[0]
    details = KINDS[kind][1]
    in_wait = kind in IN_WAIT and rng.random() < 0.25
    tab = rng.randrange(setting.tabs)
    return Act(
        kind=kind,
        wait=rng.choice(WAITS),
        tab=tab,
        at=rng.choice(POINTS) if in_wait else None,
        of=tab if rng.random() < 0.6 else rng.randrange(setting.tabs),
        details={} if details is None else details(rng),
    )
