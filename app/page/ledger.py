"""Ledger: what this page asked for, against what the server wrote down. Pure.

The session tells which requests there were and when each was over; the server's journal tells, by request id, what it
answered and what it did. A request is *lost* when it is over and the server neither answered it (a 401 is no answer)
nor did what it asked; but *withheld* when its caller was told that nobody, or somebody else, is signed in. It is
*doubled* when the server did twice what is not the same when done twice. Whoever repeats a request until it is done
loses nothing by a try that failed: the paths of such requests are given as ``kept``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from freshfetch import Event, RequestAnswered, RequestEvent, RequestFailed, RequestSent

from .journal import UNAUTHORIZED, Entry

REMEMBERED = 4000
"""Requests of which the journal's entries are remembered, to notice what is done a second time later."""
NOT_SIGNED_IN = frozenset({"IdentityChangedError", "SessionExpiredError", "SignedOutError"})
"""Told instead of an answer: it is another person who is signed in, or nobody."""
UNSETTLED = 10_000
"""Requests that may wait to be looked up, should nobody look."""
LOST = 1000
"""Lost requests that may still turn up."""
ADDING = frozenset({"note_created", "echoed"})
"""Effects that are not the same when they happen twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How the page's requests fared, as far as the server has been asked."""

    made: int = 0
    confirmed: int = 0
    """The server answered them, or did what they asked."""
    open: int = 0
    """Under way, or not looked up so far."""
    kept: int = 0
    """Tries that failed, of what is tried again."""
    withheld: int = 0
    """Not done, since their person was not signed in any more, and their callers know."""
    lost: int = 0
    doubled: int = 0


@dataclass(slots=True, kw_only=True)
class _Asked:
    """A request that is not settled."""

    path: str = ""
    carried: bool = False
    """It went out under an id of ours."""
    sent: bool = False
    replayed: bool = False
    over: bool = False
    withheld: bool = False


class Ledger:
    """Two accounts of the same requests.

    ``name`` tells this page's requests from all others in the journal. Bounded by what is under way.
    """

    def __init__(self, name: str, *, kept: Iterable[str] = ()) -> None:
        self._prefix = f"{name}-"
        self._kept_paths = tuple(kept)
        self._asked: dict[int, _Asked] = {}
        self._lost: dict[int, None] = {}
        self._entries: dict[int, dict[int, Entry]] = {}
        self._doubled: set[int] = set()
        self._made = self._confirmed = self._kept = self._withheld = self._lost_before = 0

    # -- what the page tells --

    def request_id(self, number: int) -> str:
        """Return the id under which a request is about to be sent."""
        self._entry_of(number).carried = True
        return self.name_of(number)

    def is_ours(self, entry: Entry) -> bool:
        """Tell whether an entry of the journal is of one of these requests."""
        return self._number(entry) is not None

    def name_of(self, number: int) -> str:
        """Return the id under which the journal knows a request."""
        return f"{self._prefix}{number}"

    def listen(self, event: Event) -> None:
        """Take in what the session tells."""
        if not isinstance(event, RequestEvent):
            return
        if isinstance(event, RequestAnswered) and event.number not in self._asked:
            return
        asked = self._entry_of(event.number)
        asked.path = event.path
        match event:
            case RequestSent():
                asked.sent, asked.replayed = True, event.replay
            case RequestAnswered():
                asked.over = asked.replayed or not event.refused
            case RequestFailed():
                asked.over, asked.withheld = True, event.error in NOT_SIGNED_IN

    def _entry_of(self, number: int) -> _Asked:
        """Return what is known of a request; the first time, it begins."""
        asked = self._asked.get(number)
        if asked is None:
            asked = self._asked[number] = _Asked()
            self._made += 1
            if len(self._asked) > UNSETTLED:
                self._leave_out(next(iter(self._asked)))
        return asked

    # -- what the server tells --

    def over(self) -> list[int]:
        """Return the requests that are over and not settled: what the journal has of them it has by now."""
        return [number for number, asked in self._asked.items() if asked.over]

    def read(self, entries: Iterable[Entry]) -> None:
        """Take in a part of the journal. One that was taken in before does no harm."""
        for entry in entries:
            number = self._number(entry)
            if number is not None:
                self._note(number, entry)

    def suspects(self, over: Iterable[int]) -> list[int]:
        """Settle what is clear; return those of which the journal has to be asked by id."""
        return [number for number in over if number in self._asked and not self._settle(number)]

    def judge(self, number: int) -> None:
        """Settle a request of which the journal has been asked by id."""
        if number in self._asked and not self._settle(number):
            self._give_up(number)

    def forget(self) -> None:
        """Leave out what can no longer be looked up: the server has a new journal, or a shorter one."""
        for number in self.over():
            self._leave_out(number)
        self._entries.clear()

    def verdict(self) -> Verdict:
        """Return how things stand."""
        return Verdict(
            made=self._made,
            confirmed=self._confirmed,
            open=len(self._asked),
            kept=self._kept,
            withheld=self._withheld,
            lost=len(self._lost) + self._lost_before,
            doubled=len(self._doubled),
        )

    def _number(self, entry: Entry) -> int | None:
        request_id = entry.get("requestId")
        if not isinstance(request_id, str) or not request_id.startswith(self._prefix):
            return None
        rest = request_id.removeprefix(self._prefix)
        return int(rest) if rest.isascii() and rest.isdigit() else None

    def _note(self, number: int, entry: Entry) -> None:
        own = self._entries.setdefault(number, {})
        own[entry["number"]] = entry
        if sum(effect in ADDING for each in own.values() for effect in each["effects"]) > 1:
            self._doubled.add(number)
        if number in self._lost and self._is_confirmed(number):
            del self._lost[number]
            self._confirmed += 1
        if len(self._entries) > REMEMBERED:
            del self._entries[next(iter(self._entries))]

    def _is_confirmed(self, number: int) -> bool:
        entries = self._entries.get(number, {}).values()
        return any(entry["effects"] or entry["status"] not in (None, UNAUTHORIZED) for entry in entries)

    def _settle(self, number: int) -> bool:
        """Close the account of a request, if it is clear without asking the journal again."""
        asked = self._asked[number]
        if self._is_confirmed(number):
            self._confirmed += 1
        elif asked.path.startswith(self._kept_paths):
            self._kept += 1
        elif not asked.sent:
            self._give_up(number)
            return True
        elif asked.carried:
            return False
        else:  # it was sent under no id of ours: the journal cannot tell
            self._leave_out(number)
            return True
        del self._asked[number]
        return True

    def _leave_out(self, number: int) -> None:
        del self._asked[number]
        self._made -= 1

    def _give_up(self, number: int) -> None:
        """Close the account of a request that was not done."""
        if self._asked.pop(number).withheld:
            self._withheld += 1
        else:
            self._lose(number)

    def _lose(self, number: int) -> None:
        self._lost[number] = None
        if len(self._lost) > LOST:
            del self._lost[next(iter(self._lost))]
            self._lost_before += 1
