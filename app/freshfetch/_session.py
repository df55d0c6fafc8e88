"""What a user of the library holds: take down a request; sign in; sign out; run.

The way of a request, once it is taken down, is in ``_delivery``; that of a refresh in ``_refresh``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

from ._deadlines import Deadlines
from ._delivery import Delivery, Rules
from ._errors import (
    AuthServerError,
    ConfigurationError,
    FreshfetchError,
    InvalidCredentialsError,
    InvalidRequestError,
    RequestTimeoutError,
    SessionClosedError,
    SignedOutError,
    StorageError,
    TransportError,
)
from ._events import RevocationFailed, State
from ._heartbeat import Heartbeat, HeartbeatPolicy
from ._identity import Identity
from ._intake import Intake, allowed_origins, check_auth_server
from ._listeners import Listener, Listeners
from ._models import Request, Response, is_expired_token
from ._ports import AuthServer, Channel, Clock, Hint, Lock, Ports, Presence, Refusal, TokenStore, Transport
from ._queue import QueuePolicy, RequestQueue
from ._record import LONGEST_SUBJECT, SessionRecord, Tokens, valid_subject
from ._records import Records
from ._refresh import Refresher
from ._retry import RetryPolicy
from ._status import Status

LARGEST_CONTENTION = 100
"""Commits of other tabs that a sign-in or sign-out may lose against before it gives up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a session can say of itself at one moment, for a page to show. Durations are seconds."""

    state: State
    subject: str | None
    expires_in: float | None
    """Time left of the access token; None when unknown or signed out."""
    lifetime: float | None
    """What the access token was granted for."""
    next_heartbeat_in: float | None
    retry_in: float
    """Until the next refresh attempt that is already planned; 0 when none is."""
    queue_size: int
    queue_pending: int
    storage_problem: str


class Session:
    """A signed-in person's way to an API.

    ``origins`` are allowed to see the access token beside the transport's own origin. Use it as
    ``async with session:`` to have heartbeats and to hear of other tabs; without, every request still
    looks at the store first.
    """

    def __init__(
        self,
        auth_server: AuthServer,
        *,
        transport: Transport,
        store: TokenStore,
        lock: Lock,
        channel: Channel,
        clock: Clock,
        presence: Presence,
        name: str = "default",
        leeway: float = 30.0,
        origins: Iterable[str] = (),
        queue: QueuePolicy = QueuePolicy(),
        retry: RetryPolicy = RetryPolicy(),
        heartbeat: HeartbeatPolicy = HeartbeatPolicy(),
        is_expired_token: Callable[[Response], bool] = is_expired_token,
    ) -> None:
        if leeway < 0:
            raise ConfigurationError("leeway is a number of seconds, 0 or more.")
        ports = Ports(transport=transport, store=store, lock=lock, channel=channel, clock=clock, presence=presence)
        check_auth_server(auth_server, transport)
        rules = Rules(
            origins=allowed_origins(transport, origins),
            leeway=leeway,
            max_wait=queue.max_wait,
            is_expired_token=is_expired_token,
        )
        self._auth_server = auth_server
        self._ports = ports
        self._retry = retry
        self._max_wait = queue.max_wait
        self._closed = False
        self._listeners = Listeners()
        self._status = Status(self._listeners, clock)
        self._records = Records(store, clock, self._status.announce)
        self._deadlines = Deadlines()
        self._queue = RequestQueue(queue, self._deadlines)
        self._identity = Identity(
            records=self._records, queue=self._queue, status=self._status, clock=clock, changed=self._wake
        )
        self._intake = Intake(transport, self._identity)
        self._refresher = Refresher(
            auth_server,
            ports,
            name=name,
            records=self._records,
            queue=self._queue,
            status=self._status,
            policy=retry,
            deadlines=self._deadlines,
            settled=self._on_settled,
        )
        self._heartbeat = Heartbeat(
            heartbeat, retry, ports, status=self._status, ask=self._ask_heartbeat, ready=self._calm
        )
        self._delivery = Delivery(
            rules,
            auth_server,
            ports,
            identity=self._identity,
            records=self._records,
            queue=self._queue,
            refresher=self._refresher,
            heartbeat=self._heartbeat,
            status=self._status,
            retry=retry,
            deadlines=self._deadlines,
        )
        self._beating: asyncio.Task[None] | None = None
        self._unsubscribe: list[Callable[[], None]] = []
        self._identity.look()

    def __repr__(self) -> str:
        return f"<Session {self.state.value}>"

    # -- what a page looks at --

    @property
    def state(self) -> State:
        """Where the session stands."""
        return self._status.state

    @property
    def subject(self) -> str | None:
        """Who is signed in; None when nobody is."""
        return None if self._identity.owner is None else self._identity.owner.subject

    def snapshot(self) -> Snapshot:
        """Return what there is to show at this moment."""
        record = self._records.load()
        return Snapshot(
            state=self.state,
            subject=self.subject,
            expires_in=None if record is None else self._records.seconds_left(record),
            lifetime=None if record is None else record.lifetime,
            next_heartbeat_in=None if record is None else self._heartbeat.next_in,
            retry_in=self._refresher.retry_in,
            queue_size=self._queue.size,
            queue_pending=self._queue.pending,
            storage_problem=self._records.problem,
        )

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with each event (a ``freshfetch.Event``) until the returned function is called.

        It may be a coroutine function, may raise, and may call the session: nobody is harmed.
        """
        return self._listeners.subscribe(listener)

    # -- requests --

    def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        body: Any = None,
        json: Any = None,
        timeout: float | None = None,
        replay: bool | None = None,
        **fetch_options: Any,
    ) -> Coroutine[Any, Any, Response]:
        """Send a request that carries a working access token; await the result for the response.

        Takes what ``pyodide.http.pyfetch`` takes, and ``json`` (sent as the body), ``timeout`` (seconds from
        the call to the answer, waiting included) and ``replay``. A request whose token is refused is sent
        again with a new one, whatever its method, since the refusal shows that it had no effect; with
        ``replay=False`` it is not, and the 401 is the answer. A POST that was redirected to the refusal may
        have had one and is not sent again. ``replay=True`` says that a second sending is harmless even if the
        first took effect: then a lost answer is a TransportError, never ambiguous.

        The request is taken down, body included, and belongs to the person signed in, *now*. The token goes
        to the page's own origin and to ``origins`` only; a request to anywhere else, to the auth server, with
        an ``Authorization`` header of its own, or made while nobody is signed in, is sent as it is.

        Raises:
            InvalidRequestError: at once, for arguments that make no request.
            TransportError, RequestTimeoutError, AmbiguousRequestError: no answer came.
            AmbiguousRequestError: also when a redirect led to the refusal.
            NotReplayableError: the token was refused and the body was a stream.
            QueueFullError, QueueDroppedError: too much waits for a refresh.
            RefreshUnavailableError: the token cannot be renewed for now.
            SessionExpiredError, SignedOutError, IdentityChangedError: the session it belongs to is over.
        """
        request = self._intake.take(
            url,
            method=method,
            headers=headers,
            body=body,
            json=json,
            timeout=timeout,
            replay=replay,
            options=fetch_options,
        )
        return self._deliver(request, self._deadline(timeout))

    async def resend(self, request: Request) -> Response:
        """Send a request that an error gave back (``error.request``), if it is still its owner who is signed in.

        Raises:
            IdentityChangedError, SignedOutError: it is not.
            FreshfetchError: as ``fetch`` does.
        """
        return await self._deliver(self._intake.again(request), self._deadline(request.timeout))

    async def refresh(self) -> None:
        """Renew the access token now; still only one refresh at a time.

        Raises:
            SignedOutError: nobody is signed in.
            SessionExpiredError, RefreshUnavailableError, AuthServerError: there is no new token.
        """
        self._check_open()
        record = self._identity.look()
        try:
            if record is None:
                raise self._identity.nobody()
            await self._refresher.refresh(record, self._max_wait)
        except SignedOutError:
            await self._identity.certain()
            raise self._identity.nobody() from None

    # -- signing in and out --

    async def sign_in(self, username: str, password: str) -> None:
        """Sign a person in. What the same person's page still has to send can be sent then.

        Raises:
            InvalidRequestError: at once, for what cannot be a user name (1 to 256 characters) or a password.
            InvalidCredentialsError: user name or password is wrong.
            AuthServerError: the auth server refuses for another reason.
            TransportError: it cannot be reached.
        """
        self._check_open()
        if not valid_subject(username) or not isinstance(password, str):
            raise InvalidRequestError(f"A user name is text of 1 to {LONGEST_SUBJECT} characters, a password is text.")
        request = self._auth_server.sign_in_request(username, password, self._ports.transport)
        sent_at = self._ports.clock.now()
        answer = await self._ask_auth_server(request, secrets=(password,))
        if isinstance(answer, Refusal):
            raise _sign_in_error(answer)
        record = await self._replace(
            lambda generation: SessionRecord.signed_in(
                answer, subject=answer.subject or username, generation=generation, now=sent_at
            )
        )
        self._ports.channel.publish(Hint("changed"))
        self._look_after(record)

    async def sign_out(self) -> None:
        """End the session: here and in all tabs at once, then at the auth server.

        Works without a network; listeners then hear ``RevocationFailed``, since the refresh token lives on.
        """
        record = None

        def end(_: int) -> None:
            nonlocal record
            record = self._records.load()  # the last one: its refresh token is to be revoked

        await self._replace(end)
        self._ports.channel.publish(Hint("signed_out"))
        self._status.note(expired=None)
        self._look_after(None)
        if record is not None and record.refresh_token is not None:
            await self._revoke(record.refresh_token)

    # -- running --

    async def __aenter__(self) -> Self:
        """Start heartbeats, and listen for other tabs and for the person's coming back."""
        self._check_open()
        if self._beating is not None:
            raise ConfigurationError("This session runs already: enter it once, and share it.")
        self._unsubscribe = [
            self._ports.channel.subscribe(self._identity.hear),
            self._ports.presence.subscribe(self._on_return),
        ]
        self._beating = asyncio.get_running_loop().create_task(self._heartbeat.run(), name="freshfetch heartbeat")
        self._identity.look()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the session."""
        await self.close()

    async def close(self) -> None:
        """Stop everything. Requests that wait are told SessionClosedError; tokens stay where they are.

        A refresh that has been sent is waited for, up to its time limit: the server may have rotated.
        """
        self._closed = True
        while self._unsubscribe:
            self._unsubscribe.pop()()
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait({self._beating})
            self._beating = None
        self._queue.fail(_closed_error)
        await self._refresher.close()
        self._queue.fail(_closed_error)
        self._identity.close()
        self._deadlines.close()

    # -- parts --

    async def _deliver(self, request: Request, deadline: float | None) -> Response:
        self._check_open()
        return await self._delivery.deliver(request, deadline)

    @staticmethod
    def _deadline(timeout: float | None) -> float | None:
        """Return the loop's time at which a request made now is given up."""
        return None if timeout is None else asyncio.get_running_loop().time() + timeout

    def _check_open(self) -> None:
        if self._closed:
            raise _closed_error()

    def _on_return(self) -> None:
        """Look at everything that may have changed while the person, or the network, was away."""
        self._identity.look()
        self._refresher.wake(online=self._ports.presence.online)

    def _on_settled(self) -> None:
        """Look whose session it is now; and for the server, if it did not answer: nothing else may be due."""
        self._identity.look()
        if not self._status.reachable:
            self._heartbeat.lost()

    def _wake(self) -> None:
        self._refresher.wake()

    def _look_after(self, written: SessionRecord | None) -> None:
        """Look at what was written, unless another tab has written since: then that is what there is to see."""
        found = self._records.load()
        ours = (found and found.session_id) == (written and written.session_id)
        self._identity.look(elsewhere=not ours)

    async def _replace(self, make: Callable[[int], SessionRecord | None]) -> SessionRecord | None:
        """Write a record whatever is stored. Needs no lock: whoever commits with an older generation loses."""
        for _ in range(LARGEST_CONTENTION):
            generation = await self._records.make_current()
            record = make(generation + 1)
            if await self._records.commit(record, expected=generation):
                return record
        raise StorageError("The token store refuses every commit: something else keeps writing it.")

    async def _ask_auth_server(self, request: Request, *, secrets: tuple[str, ...]) -> Tokens | Refusal:
        try:
            async with asyncio.timeout(self._retry.refresh_timeout):
                response = await self._ports.transport.send(request)
                answer = await self._auth_server.read(response, secrets=secrets)
        except TransportError:
            self._status.note(reachable=False)
            raise
        except TimeoutError:
            raise RequestTimeoutError("The auth server did not answer in time.") from None
        self._status.note(reachable=True)
        return answer

    async def _revoke(self, refresh_token: str) -> None:
        request = self._auth_server.sign_out_request(refresh_token, self._ports.transport)
        try:
            async with asyncio.timeout(self._retry.refresh_timeout):
                response = await self._ports.transport.send(request)
        except (TransportError, TimeoutError):
            self._status.announce(RevocationFailed(at=self._ports.clock.now()))
            return
        if not response.ok:
            self._status.announce(RevocationFailed(at=self._ports.clock.now()))

    async def _ask_heartbeat(self, url: str, timeout: float) -> Response:
        return await self.fetch(url, timeout=timeout, cache="no-store")

    def _calm(self) -> bool:
        """Tell whether a heartbeat makes sense: somebody is signed in and no refresh is under way."""
        return self._identity.owner is not None and not self._refresher.active


def _closed_error() -> FreshfetchError:
    return SessionClosedError("This session is closed; make a new one.")


def _sign_in_error(refusal: Refusal) -> FreshfetchError:
    if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR or refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
        return TransportError(f"The auth server cannot sign anybody in for now (status {refusal.status}).")
    if refusal.error == "invalid_credentials" or (refusal.status == HTTPStatus.UNAUTHORIZED and not refusal.error):
        return InvalidCredentialsError("User name or password is wrong.", status=refusal.status, error=refusal.error)
    words = f": {refusal.description}" if refusal.description else ""
    message = f"The auth server did not sign in ({refusal.error or 'no reason given'}, status {refusal.status}){words}"
    return AuthServerError(message, status=refusal.status, error=refusal.error)
