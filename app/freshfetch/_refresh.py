"""One refresh at a time, however many callers and tabs ask.

The only module that redeems a refresh token. Rules for editing:

1. **Lock and compare.** Under the lock, compare the access token that failed with the one that is stored.
   If they differ, somebody has refreshed already: adopt, redeem nothing.
2. **Commit guard.** New tokens are written only if nothing was committed since the record was read under
   the lock. A tab that was frozen meanwhile, a sign-out, another sign-in: each makes the late answer void.
   The same guard stands before the sending: what is stored says that the token is on its way.
3. **Shield.** The refresh is a task of the session, not of a caller: callers come and go, it completes.
4. **Terminal evidence.** Only the auth server's own word (``invalid_grant``) ends a session. No network
   error, timeout, 429, 5xx, HTML or redirect ever does.
5. Every way out of ``_run`` opens the queue: by ``release`` or by ``fail``. Who cancels it opens the queue too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from ._errors import (
    AuthServerError,
    FreshfetchError,
    RefreshUnavailableError,
    SessionClosedError,
    SessionExpiredError,
    SignedOutError,
    TransportError,
)
from ._events import (
    AuthServerMisconfigured,
    Event,
    RefreshFailed,
    RefreshStarted,
    RefreshSucceeded,
    SessionExpired,
    TokensAdopted,
)
from ._ports import Hint, Refusal
from ._record import SessionRecord, Tokens
from ._retry import parse_retry_after
from ._schedule import Schedule

if TYPE_CHECKING:
    from ._deadlines import Deadlines
    from ._ports import AuthServer, Ports
    from ._queue import RequestQueue
    from ._records import Records
    from ._retry import RetryPolicy
    from ._status import Status


TO_SETTLE = 1.0
"""Seconds for storing what came of a request, on top of those it may take."""


@dataclass(frozen=True, slots=True)
class _Wait:
    """An attempt that brought nothing: try again in so many seconds."""

    seconds: float


class _Phase(Enum):
    """What a refresh in flight is doing: whether it may be given up depends on it."""

    WAITING = "for the lock, or for the next attempt"
    ASKING = "the auth server"
    SETTLING = "its answer"


class Refresher:
    """Renews the session's access token."""

    def __init__(
        self,
        auth_server: AuthServer,
        ports: Ports,
        *,
        name: str,
        records: Records,
        queue: RequestQueue,
        status: Status,
        policy: RetryPolicy,
        deadlines: Deadlines,
        settled: Callable[[], object],
    ) -> None:
        self._auth_server = auth_server
        self._transport = ports.transport
        self._lock = ports.lock
        self._channel = ports.channel
        self._clock = ports.clock
        self._name = name
        self._records = records
        self._queue = queue
        self._status = status
        self._policy = policy
        self._deadlines = deadlines
        self._settled = settled
        self._task: asyncio.Task[SessionRecord] | None = None
        self._failed = ""
        self._refused = False
        self._reason = ""
        self._schedule = Schedule(policy, ports.clock)
        self._closed = False
        self._phase = _Phase.WAITING
        self._rejected: tuple[str, AuthServerError] | None = None

    @property
    def active(self) -> bool:
        """Whether a refresh is in flight, or waits to be tried again."""
        return self._task is not None

    @property
    def retry_in(self) -> float:
        """Seconds until the next attempt that is already planned; 0 when there is none."""
        return self._schedule.next_in

    def may_refresh_early(self, record: SessionRecord) -> bool:
        """Tell whether refreshing a token that still works is allowed now."""
        rejected = self._rejected is not None and self._rejected[0] == record.refresh_token
        return record.refresh_token is not None and not rejected and record.not_before <= self._clock.now()

    def start(self, record: SessionRecord, reason: str) -> asyncio.Task[SessionRecord]:
        """Start the refresh of this record's access token, or join the one that is in flight.

        ``reason`` is ``refused`` when the server no longer accepts the token, else ``expiring`` or ``forced``.
        """
        if self._closed:
            raise SessionClosedError("This session is closed; its tokens are not renewed any more.")
        if self._task is None:
            self._failed, self._reason, self._refused = record.access_token, reason, reason == "refused"
            if not record.failures or not self._still_works(record):  # what failed before is not waited for early
                self._queue.hold()
            self._task = asyncio.get_running_loop().create_task(self._run(record), name="freshfetch refresh")
            self._task.add_done_callback(_retrieve)
            self._status.note(refreshing=True)
        elif record.access_token == self._failed:
            self._refused = self._refused or reason == "refused"
            if not self._still_works(record):  # an early refresh has become an urgent one
                self._queue.hold()
        return self._task

    async def refresh(self, record: SessionRecord, longest: float) -> None:
        """Renew the tokens though they still work, and wait for the outcome, ``longest`` seconds at most."""
        refreshing = self.start(record, "forced")
        with suppress(TimeoutError):
            async with self._deadlines.limit(longest):
                await asyncio.wait({refreshing})
        if not refreshing.done():
            message = "The access token could not be renewed in time; it is tried further. Nobody was signed out."
            raise RefreshUnavailableError(message, retry_in=self.retry_in)
        if not refreshing.cancelled():
            refreshing.result()
        elif self._closed:
            raise SessionClosedError("The session was closed while its token was being renewed.")
        elif self._records.load() is None:
            raise SignedOutError("The session was ended while its token was being renewed.")

    def wake(self, *, online: bool = False) -> None:
        """Look again at once: the store has changed, or the network is back."""
        if online and not self._status.reachable:
            self._schedule.come_back(self._records.load())
        if self._task is not None and self._phase is not _Phase.SETTLING and self._changed():
            self._abandon(self._task)

    def catch_up(self) -> None:
        """Adopt what another tab has stored meanwhile, whose hint may have been lost."""
        if self._task is not None and self._phase is not _Phase.SETTLING:
            record = self._records.load()
            if record is not None and record.access_token != self._failed:
                self._abandon(self._task)

    def _abandon(self, task: asyncio.Task[SessionRecord]) -> None:
        """Stop a refresh that has become pointless: other tokens are stored, or none. Nobody waits for it longer."""
        self._task = None
        if self._phase is _Phase.ASKING:
            self._phase = _Phase.WAITING
            self._failed_with(None)  # now, and not when the task has noticed: before what comes of it is told
        task.cancel()
        record = self._records.load()
        if record is not None:
            self._adopt(record)
        self._queue.release()
        self._status.note(refreshing=False)

    async def close(self) -> None:
        """Stop. Whoever waits is told SessionClosedError."""
        self._closed = True
        if self._task is not None:
            task, self._task = self._task, None
            if self._phase is not _Phase.WAITING:
                # The server may be rotating: to throw its answer away would be the session's end. Whatever comes, or
                # that nothing does, has to be written down as well.
                await asyncio.wait({task}, timeout=self._policy.refresh_timeout + TO_SETTLE)
            task.cancel()
            await asyncio.wait({task})
            self._status.note(refreshing=False)

    # -- the refresh, from top to bottom --

    async def _run(self, record: SessionRecord) -> SessionRecord:
        """Renew the token and open the queue, whatever happens."""
        patience = self._deadlines.call_later(self._policy.patience, lambda: self._lose_patience(record))
        try:
            renewed = await self._renew()
        except FreshfetchError as error:
            self._finish()
            self._open_queue(error)
            raise
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever a port raises, it goes on
            self._status.report(error)
            self._finish()
            unavailable = RefreshUnavailableError(f"The refresh broke down ({type(error).__name__}); see the console.")
            self._open_queue(unavailable)
            raise unavailable from None
        else:
            self._finish()
            self._queue.release()
            return renewed
        finally:
            self._deadlines.cancel(patience)

    def _finish(self) -> None:
        self._task = None
        self._status.note(refreshing=False)
        self._settled()

    async def _renew(self) -> SessionRecord:
        """Attempt it, each time under the lock, until there is a token or the old one will do."""
        while True:
            outcome = await self._attempt()
            if isinstance(outcome, SessionRecord):
                return outcome
            current = self._records.load()
            if self._closed:
                raise SessionClosedError("The session was closed while its token was being renewed.")
            if current is not None and current.access_token != self._failed:
                return self._adopt(current)
            if current is not None and self._still_works(current):
                message = "The token could not be renewed for now; the one there is still works."
                raise RefreshUnavailableError(message, retry_in=outcome.seconds)
            await self._schedule.wait(outcome.seconds, current, self._changed)

    async def _attempt(self) -> SessionRecord | _Wait:
        """Make one attempt under the lock."""
        try:
            async with self._lock.hold(self._name, self._policy.refresh_timeout + TO_SETTLE):
                entered_at = asyncio.get_running_loop().time()
                generation = await self._records.make_current()
                record = self._records.load()
                if record is None:
                    raise SignedOutError("The session was ended while its token was being renewed.")
                if record.access_token != self._failed:
                    return self._adopt(record)
                if record.refresh_token is not None and (wait := self._schedule.forbids_for(record)) > 0:
                    return _Wait(wait)
                return await self._redeem(record, generation, entered_at)
        except TransportError:  # the lock was not to be had in time
            return _Wait(self._policy.delay(1))

    async def _redeem(self, record: SessionRecord, generation: int, entered_at: float) -> SessionRecord | _Wait:
        """Present the refresh token and settle what comes back. ``entered_at`` is when the lock was had."""
        if self._rejected is not None and self._rejected[0] == record.refresh_token:
            raise self._rejected[1].again()  # a new one: what is raised over and over holds on to all who caught it
        if record.refresh_token is None:
            return await self._end_without_refresh_token(record, generation)
        sent_at = self._clock.now()  # expires_in counts from before the request: too early is the safe side
        self._announce(RefreshStarted(at=sent_at, reason=self._reason))
        self._phase = _Phase.ASKING
        try:
            # A tab that dies from here on leaves word of it, and one that was passed by while it froze sends nothing.
            noted = await self._records.note(record.presented(), expected=generation)
            if noted is None:
                return await self._superseded()
            if asyncio.get_running_loop().time() - entered_at > self._policy.refresh_timeout:
                self._failed_with(None)
                return _Wait(self._policy.delay(1))
            answer = await self._ask(record, record.refresh_token)
            self._phase = _Phase.SETTLING
            return await self._settle(record, answer, noted, sent_at)
        except FreshfetchError:
            raise
        except BaseException:  # cancelled, or a port with a bug: what began was told, so is its end
            if self._phase is not _Phase.WAITING:
                self._failed_with(None)
            raise
        finally:
            self._phase = _Phase.WAITING

    async def _settle(
        self, record: SessionRecord, answer: Tokens | Refusal, generation: int, sent_at: float
    ) -> SessionRecord | _Wait:
        """Do what the answer asks for."""
        if isinstance(answer, Tokens):
            return await self._commit(record, answer, generation, sent_at)
        if answer.kind == "terminal":
            return await self._end_session(record, answer, generation)
        if answer.kind == "misconfigured":
            await self._records.note(record, expected=generation)
            raise self._misconfigured(record, answer)
        return await self._postpone(record, answer, generation)

    async def _ask(self, record: SessionRecord, refresh_token: str) -> Tokens | Refusal:
        """Send the refresh request, with a time limit over headers and body."""
        self._schedule.attempting()
        secrets = (refresh_token, record.access_token)
        request = self._auth_server.refresh_request(refresh_token, self._transport)
        try:
            async with self._deadlines.limit(self._policy.refresh_timeout):
                response = await self._transport.send(request)
                answer = await self._auth_server.read(response, secrets=secrets)
        except (TransportError, TimeoutError):
            self._status.note(reachable=False)
            return Refusal(kind="ambiguous", status=0)
        self._status.note(reachable=True)
        if isinstance(answer, Tokens) and not self._same_person(record, answer):
            return Refusal(kind="misconfigured", status=response.status, error="other_subject")
        return answer

    async def _commit(
        self, record: SessionRecord, tokens: Tokens, generation: int, sent_at: float
    ) -> SessionRecord | _Wait:
        """Store the new tokens, unless somebody has committed since."""
        renewed = record.renewed(tokens, generation=generation + 1, now=sent_at)
        if not await self._records.commit(renewed, expected=generation):
            return await self._superseded()
        now = self._clock.now()
        self._announce(RefreshSucceeded(at=now, expires_in=tokens.expires_in, scope=tokens.scope))
        self._channel.publish(Hint("changed"))
        return renewed

    async def _end_session(self, record: SessionRecord, refusal: Refusal, generation: int) -> SessionRecord | _Wait:
        """The refresh token is dead: the session ends now or, if the access token still works, with it."""
        reason = "rotation_ambiguous" if record.unanswered else (refusal.error or "invalid_grant")
        if not self._still_works(record):
            return await self._expire(reason, generation)
        rest = record.without_refresh_token(refused=reason, generation=generation + 1)
        if not await self._records.commit(rest, expected=generation):
            return await self._superseded()
        self._failed_with(refusal.status)
        raise SessionExpiredError(reason)

    async def _end_without_refresh_token(self, record: SessionRecord, generation: int) -> SessionRecord | _Wait:
        """The refresh token was given up before: the session ends when the access token does."""
        reason = record.refused or "no_refresh_token"
        if self._still_works(record):
            raise SessionExpiredError(reason)
        self._phase = _Phase.SETTLING  # the record that goes now goes by our own hand: no reason to give up
        try:
            return await self._expire(reason, generation)
        finally:
            self._phase = _Phase.WAITING

    async def _expire(self, reason: str, generation: int) -> SessionRecord | _Wait:
        """End the session, for all tabs."""
        self._status.note(expired=reason)  # before the record is gone, so that nobody takes it for a sign-out
        ended_here = await self._records.commit(None, expected=generation)
        if not ended_here:
            await self._records.make_current()
            if self._records.load() is not None:
                self._status.note(expired=None)
                return await self._superseded()
        # Who looked meanwhile was told of an expired session: also if another tab was first to end it.
        self._status.note(signed_in=False)
        self._announce(SessionExpired(at=self._clock.now(), reason=reason))
        if ended_here:
            self._channel.publish(Hint("expired", reason))
        raise SessionExpiredError(reason)

    async def _postpone(self, record: SessionRecord, refusal: Refusal, generation: int) -> _Wait:
        """Nothing came of it for now: write down, for all tabs, when it may be tried again."""
        now = self._clock.now()
        retry_after = parse_retry_after(refusal.retry_after, refusal.date, now)
        wait = self._policy.delay(record.failures + 1, retry_after)
        unanswered = refusal.kind == "ambiguous"
        later = record.postponed(until=now + wait, unanswered=unanswered)
        await self._records.note(later, expected=generation)
        self._failed_with(refusal.status or None, retry_in=wait)
        return _Wait(wait)

    async def _superseded(self) -> SessionRecord | _Wait:
        """Our answer came too late: what is stored now is the truth."""
        await self._records.make_current()
        record = self._records.load()
        self._failed_with(None)
        if record is None:
            raise SignedOutError("The session was ended while its token was being renewed.")
        return self._adopt(record) if record.access_token != self._failed else _Wait(self._policy.delay(1))

    # -- decisions --

    def _same_person(self, record: SessionRecord, tokens: Tokens) -> bool:
        """Compare whom the new tokens are for, as far as the server says, with whom the session is of."""
        named = tokens.subject is None or tokens.subject == record.subject
        return named and self._auth_server.same_person(record.access_token, tokens.access_token)

    def _adopt(self, record: SessionRecord) -> SessionRecord:
        self._announce(TokensAdopted(at=self._clock.now()))
        return record

    def _still_works(self, record: SessionRecord) -> bool:
        """Tell whether the access token is good for now: not refused by anybody, and not over its time."""
        left = self._records.seconds_left(record)
        return not self._refused and (left is None or left > 0)

    def _announce(self, event: Event) -> None:
        self._status.announce(event)

    def _failed_with(self, status: int | None, *, retry_in: float | None = None) -> None:
        self._announce(RefreshFailed(at=self._clock.now(), status=status, retry_in=retry_in))

    def _misconfigured(self, record: SessionRecord, refusal: Refusal) -> AuthServerError:
        """Remember that this refresh token needs no second try, wipe nothing, and say it loudly."""
        message = f"The auth server rejects this client ({refusal.error}, status {refusal.status}): check its settings."
        error = AuthServerError(message, status=refusal.status, error=refusal.error)
        self._rejected = (record.refresh_token or "", error)
        self._failed_with(refusal.status)
        event = AuthServerMisconfigured(at=self._clock.now(), status=refusal.status, error=refusal.error)
        self._announce(event)
        return error

    def _open_queue(self, error: FreshfetchError) -> None:
        """Let the waiting requests go if there is a token that may work; else tell them why there is none."""
        current = self._records.load()
        if current is None and isinstance(error, SignedOutError):
            self._queue.release()  # ended in another tab, in a way that each of them waits to hear
        elif current is not None and (current.access_token != self._failed or self._still_works(current)):
            self._queue.release()
        else:
            self._queue.fail(error.again)

    def _lose_patience(self, record: SessionRecord) -> None:
        """Stop holding requests back for an early refresh that takes its time."""
        if self._still_works(record):
            self._queue.release()

    def _changed(self) -> bool:
        record = self._records.load()
        return record is None or record.access_token != self._failed


def _retrieve(task: asyncio.Task[SessionRecord]) -> None:
    """Look at the task's exception, so that asyncio does not report one that every caller was told."""
    if not task.cancelled():
        task.exception()
