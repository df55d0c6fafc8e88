"""Send one request with a token that works.

The way of a request is ``Delivery._send``, from top to bottom. Rules for editing: it waits in one place
only, the queue; before each sending it looks again whose tokens are stored; it sends at most twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ._errors import (
    AmbiguousRequestError,
    FreshfetchError,
    InvalidRequestError,
    NotReplayableError,
    RefreshUnavailableError,
    RequestTimeoutError,
    SignedOutError,
    TransportError,
)
from ._events import RequestAnswered, RequestEvent, RequestFailed, RequestHeld, RequestSent
from ._retry import CoolDown, UnprovedRefreshes

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._deadlines import Deadlines
    from ._heartbeat import Heartbeat
    from ._identity import Identity
    from ._models import Request, Response
    from ._ports import AuthServer, Ports
    from ._queue import RequestQueue, Turn
    from ._record import SessionRecord
    from ._records import Records
    from ._refresh import Refresher
    from ._retry import RetryPolicy
    from ._status import Status

LARGEST_LEEWAY = 0.2
"""The part of a token's lifetime that leeway takes at most: a 5 s token is not refreshed 30 s early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a session was told about its requests."""

    origins: frozenset[str]
    leeway: float
    max_wait: float
    is_expired_token: Callable[[Response], bool]


class Delivery:
    """Takes requests to their answers."""

    def __init__(
        self,
        rules: Rules,
        auth_server: AuthServer,
        ports: Ports,
        *,
        identity: Identity,
        records: Records,
        queue: RequestQueue,
        refresher: Refresher,
        heartbeat: Heartbeat,
        status: Status,
        retry: RetryPolicy,
        deadlines: Deadlines,
    ) -> None:
        self._rules = rules
        self._auth_server = auth_server
        self._transport = ports.transport
        self._clock = ports.clock
        self._identity = identity
        self._records = records
        self._queue = queue
        self._refresher = refresher
        self._heartbeat = heartbeat
        self._status = status
        self._deadlines = deadlines
        self._cool_down = CoolDown(retry)
        self._unproved = UnprovedRefreshes(retry)

    async def deliver(self, request: Request, deadline: float | None) -> Response:
        """Give the caller an answer or a typed error, before the deadline (the loop's time) if there is one."""
        progress = _Progress()
        try:
            async with self._deadlines.limit_at(deadline):
                return await self._send(request, progress)
        except TransportError as error:
            raise self._failed(request, _lost(request, error) if progress.sent else error) from None
        except FreshfetchError as error:
            self._failed(request, error)
            raise
        except TimeoutError:
            raise self._failed(request, self._timed_out(request, progress)) from None

    async def _send(self, request: Request, progress: _Progress) -> Response:
        """Send the request with a token that works, once more if the token is refused."""
        if not self._takes_token(request):
            progress.sent = True
            return await self._transport.send(request)
        refused: str | None = None
        renewed = False
        while True:
            turn = await self._turn(request, again=renewed)
            proved = False
            try:
                record = await self._record_for(request)
                if not renewed and self._refresh_first(record):
                    renewed = True
                    continue
                progress.sent = True
                response, expired = await self._exchange(request, record, replay=refused is not None)
                progress.sent = False
                proved = response.status < HTTPStatus.BAD_REQUEST
                # Before the turn ends: the refresh has to close the queue ahead of whoever is next in it.
                again = expired and refused is None and self._refresh_after_refusal(record, request, response)
            finally:
                self._queue.end(turn, proved=proved)
            if not again:
                self._note_answer(record, proved=proved, expired=expired, replayed=refused is not None)
                return response
            refused, renewed = record.access_token, True

    async def _record_for(self, request: Request) -> SessionRecord:
        """Load the tokens. Of a session that was ended in another tab is said how it ended when that is known."""
        try:
            return self._identity.record_for(request)
        except SignedOutError:
            await self._identity.certain()
            return self._identity.record_for(request)

    def _takes_token(self, request: Request) -> bool:
        """Tell whether the request is ours to authorize; anything else passes through untouched."""
        return (
            request.owner is not None
            and request.target.origin in self._rules.origins
            and "authorization" not in request.headers
            and not self._auth_server.owns(request.target.url, self._transport)
        )

    async def _turn(self, request: Request, *, again: bool) -> Turn:
        """Wait in the queue, with a limit for those who set none."""
        if self._queue.passes():
            return await self._queue.turn(request.number)
        self._tell(RequestHeld, request)
        self._refresher.catch_up()
        limit = self._rules.max_wait if request.timeout is None else None
        try:
            async with self._deadlines.limit(limit):
                return await self._queue.turn(request.number, again=again)
        except TimeoutError:
            raise self._waited_too_long() from None

    def _refresh_first(self, record: SessionRecord) -> bool:
        """Start a refresh if the token is over its time, or nearly; tell whether the request waits for it."""
        left = self._records.seconds_left(record)
        if left is None or not record.renewable:
            return False
        if left <= 0:
            self._refresher.start(record, "expiring")
            return True
        assert record.lifetime is not None
        soon = left <= min(self._rules.leeway, LARGEST_LEEWAY * record.lifetime)
        if not soon or self._refresher.active or not self._refresher.may_refresh_early(record):
            return False
        self._refresher.start(record, "expiring")
        return True

    def _refresh_after_refusal(self, record: SessionRecord, request: Request, response: Response) -> bool:
        """Start a refresh unless the tokens have changed already; tell whether the request is to be replayed."""
        # What was refused after a redirect is the next request; the first may have taken effect (RFC 9110, 15.4.4).
        half_done = response.redirected and not request.repeatable
        replays = request.may_replay and not half_done
        current = self._records.load()
        if current is not None and current.access_token == record.access_token:
            now = asyncio.get_running_loop().time()
            if not record.renewable or not (self._refresher.active or self._may_help(record, now, replays=replays)):
                return False
            self._refresher.start(record, "refused")
        if replays or request.replay is False:
            return replays
        if half_done:
            raise AmbiguousRequestError(
                f"Where the {request.method} was redirected to the token was refused. It may have taken effect: "
                "look before you repeat it."
            )
        raise NotReplayableError("The token was refused and is being renewed; call again with a new stream.")

    def _may_help(self, record: SessionRecord, now: float, *, replays: bool) -> bool:
        """Tell whether a refresh may help against this refusal, by what came of the last ones."""
        if self._cool_down.forbids_refresh(record.access_token, now):
            return False
        return replays or self._unproved.allow(record.access_token, now)

    async def _exchange(self, request: Request, record: SessionRecord, *, replay: bool) -> tuple[Response, bool]:
        """Send once; return the answer, and whether it says that the token no longer works."""
        self._tell(RequestSent, request, replay=replay)
        try:
            response = await self._transport.send(request.authorized(record.access_token))
        except TransportError:
            self._status.note(reachable=False)
            self._heartbeat.lost()
            raise
        self._status.note(reachable=True)
        # Redirected to a foreign host, a 401 is that host's word and says nothing about our token.
        expired = self._is_ours(response.url) and self._rules.is_expired_token(response)
        self._tell(RequestAnswered, request, status=response.status, refused=expired)
        return response, expired

    def _is_ours(self, url: str) -> bool:
        try:
            return self._transport.resolve(url).origin in self._rules.origins
        except InvalidRequestError:  # a redirect can lead to what nobody could have asked for
            return False

    def _note_answer(self, record: SessionRecord, *, proved: bool, expired: bool, replayed: bool) -> None:
        """Learn from an answer that goes to the caller."""
        if proved:
            self._heartbeat.proved()
        if replayed and expired:
            self._cool_down.refused_again(record.access_token, asyncio.get_running_loop().time())
        elif replayed:
            self._cool_down.replay_worked()

    def _failed(self, request: Request, error: FreshfetchError) -> FreshfetchError:
        self._tell(RequestFailed, request, error=type(error).__name__)
        return error.about(request)

    def _timed_out(self, request: Request, progress: _Progress) -> FreshfetchError:
        if progress.sent:
            return _lost(request, RequestTimeoutError(f"No answer within {request.timeout} seconds."))
        return self._waited_too_long()

    def _waited_too_long(self) -> FreshfetchError:
        if self._refresher.active:
            message = "The access token could not be renewed in time; the request was not sent. Nobody was signed out."
            return RefreshUnavailableError(message, retry_in=self._refresher.retry_in)
        return RequestTimeoutError("The request's turn did not come in time; it was not sent.")

    def _tell(self, kind: type[RequestEvent], request: Request, **details: Any) -> None:
        if self._status.watched:
            whose: dict[str, Any] = {"number": request.number, "method": request.method, "path": request.path}
            self._status.announce(kind(at=self._clock.now(), **whose, **details))


@dataclass(slots=True)
class _Progress:
    """How far a request is, to say the right thing when its time is over."""

    sent: bool = False


def _lost(request: Request, error: TransportError) -> FreshfetchError:
    """Say what a lost answer means for this request."""
    if request.repeatable:
        return error
    return AmbiguousRequestError(f"{error} The {request.method} may have taken effect: look before you repeat it.")
