"""Proof: what a client asked for, held against the server's journal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..journal import UNAUTHORIZED, Entry
from ..ledger import ADDING
from ..wording import counted
from .account import WITHHELD, Account, Asked

OK = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How one client fared in one scenario."""

    requests: int
    refreshes: int
    """Refresh requests the server got, those that were retries left out."""
    retries: int
    """Refreshes of which no answer came, or no token, and which were tried again."""
    refused: int
    """Answers of 401."""
    lost: int
    """Not done by the server, or done and the client never heard of it."""
    changed: int
    """Of the lost: sent again as something else than was asked for, a POST as a GET."""
    doubled: int
    """Done twice by the server though once was asked for."""
    withheld: int
    """Not sent, since somebody else had signed in meanwhile."""
    strangers: int
    """Done by the server under somebody else's name."""
    signed_out: bool
    """Whether the person had to sign in again."""

    @property
    def good(self) -> bool:
        """Whether nothing happened that should not."""
        return not self.lost and not self.doubled and not self.strangers


def judge(account: Account, entries: Sequence[Entry]) -> Proof:
    """Hold an account against the journal since the scenario began."""
    by_id: dict[str, list[Entry]] = {}
    for entry in entries:
        by_id.setdefault(str(entry.get("requestId")), []).append(entry)
    pairs = [(asked, [entry for each in asked.ids for entry in by_id.get(each, ())]) for asked in account.asked]
    attempts = _refreshes(entries, pairs, account.refresh_id)
    withheld = sum(asked.error in WITHHELD and not _done(asked, own) for asked, own in pairs)
    return Proof(
        requests=len(pairs),
        refreshes=attempts - min(attempts, account.retries),
        retries=min(attempts, account.retries),
        refused=sum(entry["status"] == UNAUTHORIZED for _, own in pairs for entry in own),
        lost=sum(asked.status not in OK or not _done(asked, own) for asked, own in pairs) - withheld,
        changed=sum(not _done(asked, own) and _was_changed(asked, own) for asked, own in pairs),
        doubled=sum(sum(effect in ADDING for each in own for effect in each["effects"]) > 1 for _, own in pairs),
        withheld=withheld,
        strangers=sum(any(_strange(asked, entry) for entry in own) for asked, own in pairs),
        signed_out=bool(account.ended),
    )


def _done(asked: Asked, entries: Iterable[Entry]) -> bool:
    return any(entry["status"] in OK and entry["method"] == asked.method for entry in entries)


def _was_changed(asked: Asked, entries: Iterable[Entry]) -> bool:
    return any(entry["method"] != asked.method for entry in entries)


def _refreshes(entries: Sequence[Entry], pairs: Sequence[tuple[Asked, list[Entry]]], refresh_id: str | None) -> int:
    """Count the refreshes of the sign-ins to which these requests belong.

    What a fault rule answered in place of the server has no sign-in: there the id tells whose it was.
    """
    families = {entry["family"] for _, own in pairs for entry in own} - {None}
    found = [entry for entry in entries if str(entry["path"]).endswith("/auth/refresh")]
    return sum(
        entry["family"] in families or (entry["family"] is None and entry.get("requestId") == refresh_id)
        for entry in found
    )


def _strange(asked: Asked, entry: Entry) -> bool:
    return entry["status"] in OK and entry["user"] != asked.user


def line(proof: Proof) -> str:
    """Say it in one line."""
    parts = [
        counted(proof.requests, "request", "requests"),
        counted(proof.refreshes, "refresh", "refreshes") + (f" and {_retries(proof)}" if proof.retries else ""),
        f"{proof.lost} lost",
        f"{proof.doubled} doubled",
        f"{proof.withheld} withheld" if proof.withheld else "",
    ]
    return ", ".join(filter(None, parts))


def sentence(proof: Proof) -> str:
    """Say what that means to a person."""
    bad = [
        _lost(proof) if proof.lost else "",
        f"{_requests(proof.doubled)} had effect twice" if proof.doubled else "",
        f"{_requests(proof.strangers)} went out under another person\N{RIGHT SINGLE QUOTATION MARK}s name"
        if proof.strangers
        else "",
        "the person has to sign in again" if proof.signed_out else "",
    ]
    told = [part for part in bad if part]
    if proof.signed_out and len(told) == 1:
        return "The person had to sign in again, and nothing was lost."
    if told:
        text = " and ".join(filter(None, (", ".join(told[:-1]), told[-1])))
        return f"{text[0].upper()}{text[1:]}."
    if proof.withheld:
        return f"{_requests(proof.withheld)} waited and were not sent in the other name."
    return _well(proof)


def _lost(proof: Proof) -> str:
    lost = f"{proof.lost} of {_requests(proof.requests)} {_were(proof.lost)} lost"
    what = counted(proof.changed, "POST that was sent again as a GET", "POSTs that were sent again as GETs")
    return f"{lost} ({what})" if proof.changed else lost


HARM = frozenset({"lost", "doubled", "in a wrong name"})
"""The figures of which any other than 0 is a failure."""


def compare(fresh: Proof, naive: Proof) -> list[tuple[str, str, str]]:
    """Return the figures of two clients, each with its name; what concerns neither is left out."""
    pairs = zip(_cells(fresh), _cells(naive), strict=True)
    return [(name, ours, theirs) for (name, ours, core), (_, theirs, _) in pairs if core or {ours, theirs} != {"0"}]


def _cells(proof: Proof) -> list[tuple[str, str, bool]]:
    return [
        ("requests", str(proof.requests), True),
        ("refreshes", str(proof.refreshes), True),
        ("retries", str(proof.retries), False),
        ("answered 401", str(proof.refused), True),
        ("lost", str(proof.lost), True),
        ("doubled", str(proof.doubled), True),
        ("withheld", str(proof.withheld), False),
        ("in a wrong name", str(proof.strangers), False),
        ("signed out", "yes" if proof.signed_out else "no", True),
    ]


def _well(proof: Proof) -> str:
    how = f", after {_retries(proof)} of the refresh" if proof.retries else ""
    again = f" {counted(proof.refused, 'was', 'were')} refused first and sent again." if proof.refused else ""
    return f"Every request was answered{how}.{again}"


def _retries(proof: Proof) -> str:
    return counted(proof.retries, "retry", "retries")


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _requests(number: int) -> str:
    return counted(number, "request", "requests")
