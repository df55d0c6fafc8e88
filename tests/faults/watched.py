"""A world that is watched: the virtual world of tests/world.py, with everything written down for the invariants.

Nothing is changed on the way: each part hands on what it is given, and notes it. Requests get an ``X-Request-Id``,
so that the server's journal can tell them apart.
"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import fields
from enum import Enum
from typing import Any

from freshfetch import (
    Body,
    Event,
    FreshfetchError,
    HeartbeatPolicy,
    Hint,
    JsonAuthServer,
    QueuePolicy,
    Request,
    Response,
    RetryPolicy,
    Session,
    SessionRecord,
    StorageError,
    Target,
)
from tests.faults.invariants import (
    Act,
    Call,
    Departure,
    Evidence,
    Redemption,
    Stored,
    TabEvidence,
    Text,
    check_all,
    origin_of,
)
from tests.world import Tab, World, seconds_since_start

REFRESH = "/api/auth/refresh"
AUTH = "/api/auth/"
HARMLESS_TWICE = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
UNREADABLE = "(unreadable)"
MOST_TRACEBACKS = 20


class WatchedWorld(World):
    """Everything that tabs share, and what was seen of it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.complaints: list[dict[str, Any]] = []
        """What the loop's exception handler was told; a test that provokes it empties the list."""
        self.secrets: set[str] = set()
        self.acts: list[Act] = []
        self.texts: list[Text] = []
        self.redemptions: list[Redemption] = []
        self.histories: dict[int, tuple[object, list[Stored]]] = {}
        self._tracebacks = 0
        asyncio.get_running_loop().set_exception_handler(self._complain)

    def new_tab(self, settings: dict[str, Any]) -> WatchedTab:
        """Make a tab that is watched."""
        return WatchedTab(self, **settings)

    def tab(self, **settings: Any) -> WatchedTab:
        """Open a tab."""
        tab = super().tab(**settings)
        assert isinstance(tab, WatchedTab)
        return tab

    async def signed_in_tab(self, **settings: Any) -> WatchedTab:
        """Open a tab and sign ada in; the journal starts afterwards."""
        tab = await super().signed_in_tab(**settings)
        assert isinstance(tab, WatchedTab)
        return tab

    def act(self, kind: str, tab: str = "") -> None:
        """Write down what explains later events; see ``Act``."""
        self.acts.append(Act(time=seconds_since_start(), kind=kind, tab=tab))

    def say(self, where: str, thing: object) -> None:
        """Write down everything that can be read of a thing."""
        said = [repr(thing), str(thing)]
        if isinstance(thing, BaseException):
            said += [repr(getattr(thing, "__dict__", {})), repr(thing.args)]
            self._tracebacks += 1
            if self._tracebacks <= MOST_TRACEBACKS:
                said += traceback.format_exception(thing)
        self.texts.append(Text(where=where, text="\n".join(said)))

    def history(self, store: object) -> list[Stored]:
        """Return what is known of a store's values."""
        return self.histories.setdefault(id(store), (store, []))[1]

    async def finish(self, *said: Text) -> None:
        """Come to rest, close everything, and check the invariants. ``said`` is what was printed and logged."""
        for _ in range(3):
            await asyncio.sleep(0)
        evidence = self.evidence()
        await self.close()
        for tab, seen in zip(self.tabs, evidence.tabs, strict=True):
            assert isinstance(tab, WatchedTab)
            # A call that was still open when the test ended is settled by the close, and seen as it is now.
            seen.calls = tab.calls
            seen.events = tab.told()
            seen.left = [f"a timer of {name}" for name in _timers()]
        evidence.texts += [*said, *self.texts]
        check_all(evidence)
        assert self.complaints == [], "the loop's exception handler was told something"

    def evidence(self) -> Evidence:
        """Return what has been seen so far."""
        if self.clock.offset:
            self.act("clock")
        tabs = [tab for tab in self.tabs if isinstance(tab, WatchedTab)]
        for tab in tabs:
            self.acts += [Act(time=time, kind="came_back", tab=tab.name) for time in tab.person.returns]
            tab.speak()
        secrets = {*self.secrets, *self.server.families.refresh_index}
        return Evidence(
            journal=[entry.to_json() for entry in self.server.journal.entries],
            tabs=[tab.evidence() for tab in tabs],
            stores=[history for _, history in self.histories.values()],
            redemptions=self.redemptions,
            departures=[departure for tab in tabs for departure in tab.departures(secrets)],
            allowed_origins=sorted({origin for tab in tabs for origin in tab.allowed_origins}),
            texts=[Text(where=f"{task.get_name()}", text=repr(task)) for task in asyncio.all_tasks()],
            secrets=sorted(secrets),
            acts=self.acts,
        )

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        del loop
        self.complaints.append(context)
        self.say("what the event loop was told", context.get("exception", context["message"]))


class WatchedTab(Tab):
    """One tab, and what was seen of it."""

    world: WatchedWorld

    def __init__(self, world: WatchedWorld, **settings: Any) -> None:
        self.world = world
        self.name = str(len(world.tabs) + 1)
        self.calls: list[Call] = []
        self.frozen: list[tuple[float, float]] = []
        """When it stood still, for a test that freezes it."""
        self.gone = False
        """Set by a test that kills it."""
        self.sent: list[Request] = []
        self._heard: list[tuple[float, Event]] = []
        self._peaks = {"held": 0, "released": 0}
        super().__init__(world, **settings)

    def open(self, settings: dict[str, Any]) -> Session:
        """Make the session, with a watch on each of its ports."""
        self.retry: RetryPolicy = settings.get("retry", RetryPolicy())
        self.queue: QueuePolicy = settings.get("queue", QueuePolicy())
        self.store = WatchedStore(self, settings["store"])
        transport = WatchedTransport(self, settings["transport"])
        self.allowed_origins = {origin_of(transport.resolve(url).url) for url in ("", *settings.get("origins", ()))}
        ports = {"transport": transport, "store": self.store, "channel": WatchedChannel(self, settings["channel"])}
        session = WatchedSession(
            self, settings.pop("auth_server", JsonAuthServer("/api/auth")), **{**settings, **ports}
        )
        session.subscribe(self._hear)
        return session

    def request_of(self, call: Call) -> list[Request]:
        """Return what has left for one call."""
        return [request for request in self.sent if request.headers.get("x-request-id") == call.request_id]

    def speak(self) -> None:
        """Write down what could be read of the session at this moment."""
        self.world.say(f"tab {self.name}'s session", self.session)
        self.world.say(f"tab {self.name}'s snapshot", self.session.snapshot())
        told = "\n".join(repr(event) for _, event in self._heard)
        self.world.texts.append(Text(where=f"tab {self.name}'s events", text=told))

    def told(self) -> list[dict[str, Any]]:
        """Return the events as evidence."""
        return [{"event": type(event).__name__, "time": time, **_plain(event)} for time, event in self._heard]

    def evidence(self) -> TabEvidence:
        """Return what has been seen of this tab so far."""
        snapshot = self.session.snapshot()
        resting = all(call.settled for call in self.calls)
        return TabEvidence(
            name=self.name,
            queue_size=snapshot.queue_size if resting else 0,
            queue_pending=snapshot.queue_pending if resting else 0,
            peaks=dict(self._peaks),
            caps={
                "released": self.queue.concurrency,
                **({} if self.queue.overflow == "wait" else {"held": self.queue.max_size}),
            },
            windows=list(self.retry.windows),
            frozen=self.frozen,
            gone=self.gone,
        )

    def departures(self, secrets: set[str]) -> list[Departure]:
        """Return where requests of this tab went, and with what."""
        return [Departure(url=sent.target.url, credential=_carries(sent, secrets)) for sent in self.sent]

    def look(self) -> None:
        """Take down how much is held and how much was released."""
        queue = self.session._queue
        self._peaks["held"] = max(self._peaks["held"], queue._counted)
        self._peaks["released"] = max(self._peaks["released"], len(queue._released))

    def _hear(self, event: Event) -> None:
        self._heard.append((seconds_since_start(), event))
        self.look()


class WatchedSession(Session):
    """A session whose callers are watched."""

    def __init__(self, tab: WatchedTab, auth_server: Any, **settings: Any) -> None:
        super().__init__(auth_server, **settings)
        self._tab = tab
        self._last: str | None = None

    def fetch(self, url: str, *, headers: Any = None, **rest: Any) -> Coroutine[Any, Any, Response]:
        """Send a request, with an id, and note what comes of it."""
        number = f"{self._tab.name}.{len(self._tab.calls) + 1}"
        try:
            asked = super().fetch(url, headers=_with_id(headers, number), **rest)
        except FreshfetchError as error:
            self._tab.world.say("an error of fetch", error)
            raise
        method = rest.get("method", "GET").upper()
        repeatable = method in HARMLESS_TWICE or rest.get("replay") is True
        call = Call(request_id=number, method=method, repeatable=repeatable, user=self._asker())
        return self._watch(call, asked)

    def resend(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Send a request again, and note what comes of it."""
        request_id = request.headers.get("x-request-id", "")
        user = request.owner.subject if request.owner else None
        call = Call(request_id=request_id, method=request.method, repeatable=request.repeatable, user=user)
        return self._watch(call, super().resend(request))

    async def refresh(self) -> None:
        """Renew the token, and note the error there may be."""
        await self._noting(super().refresh())

    async def sign_in(self, username: str, password: str) -> None:
        """Sign in, and note that it was done."""
        self._tab.world.act("sign_in", self._tab.name)
        self._tab.world.secrets.add(password)
        await self._noting(super().sign_in(username, password))

    async def sign_out(self) -> None:
        """Sign out, and note that it was done."""
        self._tab.world.act("sign_out", self._tab.name)
        self._last = None
        await self._noting(super().sign_out())

    async def close(self) -> None:
        """Close, and note that it was done."""
        self._tab.world.act("close", self._tab.name)
        await super().close()

    def _watch(self, call: Call, asked: Coroutine[Any, Any, Response]) -> Coroutine[Any, Any, Response]:
        self._tab.calls.append(call)
        return _Watched(call, asked, self._tab.world)

    async def _noting(self, asked: Coroutine[Any, Any, None]) -> None:
        try:
            await asked
        except FreshfetchError as error:
            self._tab.world.say("an error of the session", error)
            raise

    def _asker(self) -> str | None:
        """Say whose request is made now, from what is stored: also of one whose session has expired meanwhile."""
        record = self._tab.store.look()
        if record is not None:
            self._last = record.subject
        elif self.subject is not None:
            self._last = self.subject
        return self._last


class _Watched(Coroutine[Any, Any, Response]):
    """A call under way: steps it, and takes down how it ends. Nothing is awaited in between, as nothing would be."""

    def __init__(self, call: Call, asked: Coroutine[Any, Any, Response], world: WatchedWorld) -> None:
        self._call = call
        self._asked = asked
        self._world = world

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """Take a step."""
        return self._step(lambda: self._asked.send(value))

    def throw(self, error: Any, *rest: Any) -> Any:
        """Interrupt."""
        return self._step(lambda: self._asked.throw(error, *rest))

    def close(self) -> None:
        """Be thrown away before the end."""
        self._call.outcome, self._call.settled = "cancelled", 1
        self._asked.close()

    def _step(self, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except StopIteration as end:
            self._settle("answered", end.value.status)
            raise
        except asyncio.CancelledError:
            self._settle("cancelled")
            raise
        except BaseException as error:
            self._settle(type(error).__name__)
            self._world.say(f"the error of {self._call.request_id}", error)
            raise

    def _settle(self, outcome: str, status: int | None = None) -> None:
        self._call.outcome, self._call.status = outcome, status
        self._call.settled += 1


class WatchedStore:
    """A token store whose values are written down."""

    def __init__(self, tab: WatchedTab, store: Any) -> None:
        self._tab = tab
        self._store = store
        self._history = tab.world.history(store)

    def look(self) -> SessionRecord | None:
        """Return what is stored, None when it cannot be read."""
        try:
            record: SessionRecord | None = self._store.load()
        except StorageError:
            return None
        return record

    def load(self) -> SessionRecord | None:
        """Return the record."""
        record: SessionRecord | None = self._store.load()
        return record

    async def make_current(self) -> int:
        """Make it current."""
        generation: int = await self._store.make_current()
        return generation

    async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
        """Write, and take down what is stored before and after."""
        self._note("injected")  # what the test may have put there meanwhile
        try:
            written: bool = await self._store.commit(record, expected=expected)
        except StorageError:
            self._tab.world.act("storage", self._tab.name)
            self._note("refused")
            raise
        if written:
            self._note("written")
        return written

    def _note(self, how: str) -> None:
        try:
            record = self._store.load()
            value = None if record is None else record.to_json()
        except StorageError:
            value = UNREADABLE
        if how != "injected" or (self._history and self._history[-1].value != value):
            self._history.append(Stored(value=value, how=how))


class WatchedTransport:
    """A transport that notes what leaves and, of the auth server, what comes back."""

    def __init__(self, tab: WatchedTab, transport: Any) -> None:
        self._tab = tab
        self._transport = transport

    def resolve(self, url: str) -> Target:
        """Say where a URL leads."""
        target: Target = self._transport.resolve(url)
        return target

    def snapshot(self, body: Any) -> Body:
        """Take a body as it is."""
        content: Body = self._transport.snapshot(body)
        return content

    async def send(self, request: Request) -> Response:
        """Send, and take down what happens."""
        self._tab.sent.append(request)
        self._tab.look()
        if not request.path.startswith(AUTH):
            response: Response = await self._transport.send(request)
            return response
        return await self._ask_auth_server(request)

    async def _ask_auth_server(self, request: Request) -> Response:
        redemption = Redemption(tab=self._tab.name, token=_field(request, "refreshToken"), began=seconds_since_start())
        if request.path == REFRESH and request.owner is None and "x-request-id" not in request.headers:
            self._tab.world.redemptions.append(redemption)
        try:
            response: Response = await self._transport.send(request)
        except asyncio.CancelledError:
            took = seconds_since_start() - redemption.began
            redemption.given_up = took < self._tab.retry.refresh_timeout
            raise
        finally:
            redemption.ended = seconds_since_start()
        answer = _object(await response.bytes())
        self._tab.world.secrets |= _tokens(answer)
        redemption.status, redemption.error = response.status, str(answer.get("error", ""))
        redemption.successor = _first(answer, "refreshToken", "refresh_token")
        redemption.succeeded = response.ok and bool(_first(answer, "accessToken", "access_token", "token"))
        return response


class WatchedChannel:
    """A channel whose words are written down."""

    def __init__(self, tab: WatchedTab, channel: Any) -> None:
        self._tab = tab
        self._channel = channel

    def publish(self, hint: Hint) -> None:
        """Tell the other tabs."""
        self._tab.world.say(f"a hint of tab {self._tab.name}", hint)
        self._channel.publish(hint)

    def subscribe(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Listen to the other tabs."""
        unsubscribe: Callable[[], None] = self._channel.subscribe(listener)
        return unsubscribe


def quiet_heartbeat(**settings: Any) -> HeartbeatPolicy:
    """Return a heartbeat policy without chance."""
    return HeartbeatPolicy(**{"jitter": 0.0, **settings})


def _with_id(headers: Any, number: str) -> Any:
    """Add an id where headers are of a kind that can take one; what is wrong with them is the library's business."""
    own = {"X-Request-Id": number}
    if headers is None:
        return own
    if isinstance(headers, Mapping):
        return headers if any(str(name).lower() == "x-request-id" for name in headers) else {**headers, **own}
    if isinstance(headers, list) and all(isinstance(pair, tuple) for pair in headers):
        return [*headers, *own.items()]
    return headers


def _plain(event: Event) -> dict[str, Any]:
    values = {each.name: getattr(event, each.name) for each in fields(event)}
    return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}


def _content(request: Request) -> bytes:
    content = b"" if request.body is None else request.body.content
    return content.encode() if isinstance(content, str) else bytes(content)


def _carries(request: Request, secrets: set[str]) -> bool:
    """Tell whether a request holds a token or a password of the session."""
    shown = request.headers.get("authorization", "").removeprefix("Bearer ")
    if shown in secrets:
        return True
    return request.path.startswith(AUTH) and any(_object(_content(request)).values())


def _object(content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _field(request: Request, name: str) -> str:
    return str(_object(_content(request)).get(name, ""))


def _first(answer: Mapping[str, Any], *names: str) -> str | None:
    return next((str(answer[name]) for name in names if answer.get(name)), None)


def _tokens(answer: Mapping[str, Any]) -> set[str]:
    return {value for name, value in answer.items() if "oken" in name and isinstance(value, str)}


def _timers() -> list[str]:
    """Name the timers of the library that are still set."""
    handles = getattr(asyncio.get_running_loop(), "_scheduled", ())
    callbacks = [handle._callback for handle in handles if not handle.cancelled()]
    names = [f"{getattr(each, '__module__', '')}.{getattr(each, '__qualname__', each)}" for each in callbacks]
    return [name for name in names if name.startswith("freshfetch")]
