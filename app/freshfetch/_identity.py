"""Whose session it is: the one place where a change of person is seen and acted upon."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._errors import FreshfetchError, IdentityChangedError, SessionExpiredError, SignedOutError
from ._events import SessionExpired, SignedIn, SignedOut
from ._record import valid_reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._models import Owner, Request
    from ._ports import Clock, Hint
    from ._queue import RequestQueue
    from ._record import SessionRecord
    from ._records import Records
    from ._status import Status

HINT_DELAY = 2.0
"""Seconds by which another tab's word may come after the change it speaks of."""
WORD_DELAY = 0.25
"""Seconds for that word to come before a session that ended elsewhere is announced as signed out."""
NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Word:
    """What another tab said of how the session has ended."""

    at: float
    expired: str | None
    """The reason, or None for a sign-out."""


class Identity:
    """Who is signed in, as of the last look at the store. ``changed`` is called when that is somebody else."""

    def __init__(
        self,
        *,
        records: Records,
        queue: RequestQueue,
        status: Status,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        self._records = records
        self._queue = queue
        self._status = status
        self._clock = clock
        self._changed = changed
        self._left_at = NEVER
        self._word: Word | None = None
        self.owner: Owner | None = None
        """Whose requests carry the stored tokens; None when nobody is signed in."""
        self._last: Owner | None = None
        self._in_doubt: asyncio.TimerHandle | None = None
        self._certain = asyncio.Event()
        self._certain.set()
        self._closed = False

    @property
    def asker(self) -> Owner | None:
        """Whose request it is that is made now: also of one whose session has expired, and who will be back."""
        gone = self.owner is None and (self._status.expired is not None or self._in_doubt is not None)
        return self._last if gone else self.owner

    def look(self, *, elsewhere: bool = True) -> SessionRecord | None:
        """Load the record and take note of whose it is. ``elsewhere``: a change is another tab's doing.

        A record that is gone may be a sign-out or an expiry. If the other tab's word is still on its way,
        nobody is told anything for ``WORD_DELAY`` seconds.
        """
        record = self._records.load()
        if self._closed:
            return record
        before, self.owner = self.owner, None if record is None else record.owner
        if self.owner == before:
            if self._in_doubt is not None and not elsewhere:
                self._left(elsewhere=False)  # it was our own doing, seen before the commit had returned
        elif record is not None:
            self._entered(record, elsewhere=elsewhere)
            self._changed()
        elif elsewhere and self._status.expired is None and (loop := _running_loop()) is not None:
            self._left_at = self._clock.now()
            if self._word is not None and self._left_at - self._word.at < HINT_DELAY:
                self._believe(self._word)
                self._left()
            else:
                self._in_doubt = loop.call_later(WORD_DELAY, self._left)
                self._certain.clear()
        else:
            self._left(elsewhere=elsewhere)
        if not elsewhere:
            self._left_at = NEVER  # what was done here needs no other tab's word
        return record

    def hear(self, hint: Hint) -> None:
        """Look, since another tab says that there is something to see."""
        word = self._word_of(hint)
        if word is not None:
            self._records.forget(expired=word.expired is not None)
            self._word = word  # kept, since it may be ahead of what it speaks of
            if self._records.load() is None and self._was_signed_in():
                self._believe(word)
        self.look()
        if self._in_doubt is not None and word is not None:
            self._left()
        self._changed()

    def _word_of(self, hint: Hint) -> Word | None:
        if hint.kind not in ("signed_out", "expired"):
            return None
        reason = hint.reason if valid_reason(hint.reason) else "invalid_grant"
        return Word(self._clock.now(), reason if hint.kind == "expired" else None)

    def _believe(self, word: Word) -> None:
        """Take note that the session has expired, if that is what was said."""
        if word.expired is not None:
            self._status.note(expired=word.expired)
            self._changed()  # a refresh in flight is told its end before the session is told its own
            self._status.announce(SessionExpired(at=self._clock.now(), reason=word.expired))

    def record_for(self, request: Request) -> SessionRecord:
        """Load the tokens for a request.

        Raises:
            SessionExpiredError, SignedOutError: there are none any more.
            IdentityChangedError: they are somebody else's than when the request was made.
        """
        record = self.look()
        if record is None:
            raise self.nobody()
        owner = request.owner
        if owner is None or (record.session_id != owner.session_id and record.subject != owner.subject):
            raise IdentityChangedError("Somebody else has signed in since this request was made; it was not sent.")
        return record

    async def certain(self) -> None:
        """Wait until it is known how a session that was ended in another tab has ended: ``WORD_DELAY`` at most."""
        await self._certain.wait()

    def nobody(self) -> FreshfetchError:
        """Say why there are no tokens."""
        if self._status.expired is not None:
            return SessionExpiredError(self._status.expired)
        return SignedOutError("Nobody is signed in any more; the request was not sent.")

    def close(self) -> None:
        """Wait for no other tab's word any more, and tell nobody of what is seen later."""
        self._closed = True
        self._stop_doubting()

    def _left(self, *, elsewhere: bool = True) -> None:
        """Tell everybody that nobody is signed in any more, and why."""
        self._stop_doubting()
        self._left_at = self._clock.now()
        self._word = None
        self._status.note(signed_in=False)
        self._queue.fail(self.nobody)
        if self._status.expired is None:
            self._status.announce(SignedOut(at=self._left_at, elsewhere=elsewhere))
        self._changed()

    def _entered(self, record: SessionRecord, *, elsewhere: bool) -> None:
        self._stop_doubting()
        self._word = None
        before, self._last = self._last, record.owner
        self._status.note(signed_in=True, expired=None)
        if before is not None and before.subject != record.subject:
            self._queue.fail(_other_person)
        self._status.announce(SignedIn(at=self._clock.now(), subject=record.subject, elsewhere=elsewhere))

    def _stop_doubting(self) -> None:
        if self._in_doubt is not None:
            self._in_doubt.cancel()
            self._in_doubt = None
            self._certain.set()

    def _was_signed_in(self) -> bool:
        """Tell whether a session ended here just now, or is about to: the store can be ahead of the hint."""
        just_now = self._clock.now() - self._left_at < HINT_DELAY
        return self._status.expired is None and (self.owner is not None or just_now)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _other_person() -> FreshfetchError:
    return IdentityChangedError("Somebody else has signed in while this request waited; it was not sent.")
