"""Plays a schedule: the world, the tabs in it, and what each act does to them."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from freshfetch import (
    AmbiguousRequestError,
    Event,
    FreshfetchError,
    HeartbeatPolicy,
    Hint,
    JsonAuthServer,
    QueuePolicy,
    Session,
    Snapshot,
)
from mock_server.app import create_app
from mock_server.settings import Settings
from tests.world import Person

from .evidence import Call, Evidence, Mark, Operation
from .loop import Universe
from .ports import START, Connected, Shared, TabChannel, TabClock, TabLock, TabStore, TabWire
from .schedule import Act, Schedule

PASSWORDS = {"ada": "lovelace", "grace": "hopper"}
REST = 1000.0
"""Seconds after which everything has come to rest: longer than any Retry-After, queue or heartbeat."""
A_WHILE = 60.0
LOOKS = 12
LIFETIME = 1800.0


class Tab:
    """One tab that lives, until it is closed or killed."""

    def __init__(self, world: World, number: int, slot: int) -> None:
        self.number = number
        self.slot = slot
        self.frozen = False
        self.closed = False
        self.port = Connected(world.shared, number, lambda _, point: world.reached(slot, point))
        self.person = Person()
        self.session: Session | None = None
        self.last_subject: str | None = None
        self.callers: list[tuple[Call, Any]] = []
        self._world = world

    @property
    def alive(self) -> bool:
        """Whether somebody can use it."""
        return not self.port.dead and not self.closed

    async def start(self) -> None:
        """Load the page."""
        setting, shared, events = self._world.schedule.setting, self._world.shared, self._world.evidence.events
        self.session = Session(
            JsonAuthServer("/api/auth"),
            transport=TabWire(self.port),
            store=TabStore(self.port),
            lock=TabLock(self.port),
            channel=TabChannel(self.port),
            clock=TabClock(shared),
            presence=self.person,
            heartbeat=HeartbeatPolicy(interval=setting.heartbeat),
            queue=QueuePolicy(
                max_size=setting.max_size,
                overflow=setting.overflow,  # type: ignore[arg-type]  # one of the three
                concurrency=setting.concurrency,
            ),
        )
        events[self.number] = []
        self.session.subscribe(self._hear)
        await self.session.__aenter__()

    def run(self, action: Callable[[Session], Coroutine[Any, Any, None]]) -> Any:
        """Do something in the tab, when its turn comes."""

        async def act() -> None:
            if self.session is not None:
                await action(self.session)

        return self.port.loop.create_task(act(), name="caller")

    def show(self, session: Session) -> str | None:
        """Return whose page it is: who is signed in, or was."""
        self.last_subject = session.subject or self.last_subject
        return self.last_subject

    def snapshot(self) -> Snapshot | None:
        """Return what the session says of itself."""
        found: list[Snapshot] = []

        async def look(session: Session) -> None:
            found.append(session.snapshot())

        self.run(look)
        self._world.universe.run(0.0)
        return found[0] if found else None

    def _hear(self, event: Event) -> None:
        self._world.evidence.events[self.number].append(event)
        if self.session is not None:
            self.show(self.session)


@dataclass(slots=True, kw_only=True)
class AtRest:
    """What a live tab showed at the end, when all was well again."""

    tab: int
    snapshot: Snapshot | None
    subject: str | None
    tasks: list[str]
    timers: int
    left_after_close: list[str]


class World:
    """Runs one schedule."""

    def __init__(self, schedule: Schedule) -> None:
        random.seed(schedule.seed)  # what the library itself draws
        setting = schedule.setting
        self.schedule = schedule
        self.evidence = Evidence()
        self.universe = Universe(Random(schedule.seed))  # noqa: S311  # repeatable, not secret
        settings = Settings(
            grace=setting.grace,
            access_lifetime=setting.lifetime,
            token_format=setting.token_format,  # type: ignore[arg-type]  # one of the two
        )
        self.app = create_app(settings, clock=lambda: START + self.universe.now)
        self.shared = Shared(self.universe, self.app, self.evidence)
        self.shared.storage_events = setting.storage_events
        self.tabs: list[Tab] = []
        self.slots: list[Tab] = []
        self.in_wait: list[Act] = []
        self.at_rest: list[AtRest] = []
        self.requests = 0

    @property
    def server(self) -> Any:
        """The mock server's own memory."""
        return self.app.state.server

    def play(self) -> None:
        """Play it all, heal everything, and look at what is left."""
        self.slots = [self._open(slot) for slot in range(self.schedule.setting.tabs)]
        self._sign_in(self.slots[0], "ada")
        self.universe.run(1.0)
        for act in self.schedule.acts:
            self.universe.run(act.wait)
            if act.at is None:
                self._do(act)
            else:
                self.in_wait.append(act)
        self._come_to_rest()

    def dispose(self) -> None:
        """Let nothing of it run again. Afterwards what nobody has caught has been complained about."""
        for tab in self.tabs:
            tab.port.dead = True
        for loop in self.universe.loops:
            loop.dispose()

    def reached(self, slot: int, point: str) -> None:
        """Do what has lain in wait for this."""
        for act in [each for each in self.in_wait if each.of == slot and each.at == point]:
            self.in_wait.remove(act)
            self._do(act.now())

    # -- acts --

    def _do(self, act: Act) -> None:
        tab = self.slots[act.tab]
        if act.kind in DOORS:
            DOORS[act.kind](self, tab)
        elif act.kind in EVERYWHERE:
            EVERYWHERE[act.kind](self, act.details)
        elif tab.alive and not tab.frozen:
            USES[act.kind](self, tab, act.details)

    def _mark(self, kind: str, tab: Tab | None = None) -> None:
        self.evidence.marks.append(Mark(kind, self.universe.now, None if tab is None else tab.number))

    def _open(self, slot: int) -> Tab:
        tab = Tab(self, len(self.tabs), slot)
        self.tabs.append(tab)
        self.shared.tabs.append(tab.port)
        tab.person.online = not self.shared.offline
        tab.port.loop.create_task(tab.start(), name="start")
        return tab

    def _freeze(self, tab: Tab) -> None:
        if tab.alive and not tab.frozen:
            tab.frozen, tab.port.loop.awake = True, False
            tab.person.visible = False
            self._mark("frozen", tab)

    def _thaw(self, tab: Tab) -> None:
        if tab.alive and tab.frozen:
            tab.frozen = False
            self._mark("thawed", tab)
            tab.port.loop.call_soon(self._return_to, tab)
            tab.port.loop.thaw(timers_first=self.universe.rng.random() < 0.5)

    def _return_to(self, tab: Tab) -> None:
        self._mark("returned", tab)
        tab.person.visible, tab.person.online = True, not self.shared.offline
        for listener in tuple(tab.person._listeners):
            listener()

    def _kill(self, tab: Tab) -> None:
        if tab.alive:
            tab.port.dead, tab.port.loop.awake = True, False
            self.shared.tabs.remove(tab.port)
            for call, _ in tab.callers:
                call.ended_at = self.universe.now if call.ended_at is None else call.ended_at
            self._mark("killed", tab)
            self.shared.server_loop.call_later(
                self.universe.rng.uniform(0.001, 0.007), self.shared.locks.forget, tab.port
            )

    def _close(self, tab: Tab) -> None:
        if tab.alive and not tab.frozen:
            self._operate(tab, "close", lambda session: session.close())
            tab.closed = True
            self._mark("closed", tab)

    def _reopen(self, tab: Tab) -> None:
        if not tab.alive:
            self.slots[tab.slot] = self._open(tab.slot)

    def _operate(self, tab: Tab, kind: str, do: Callable[[Session], Coroutine[Any, Any, None]], who: str = "") -> None:
        operation = Operation(kind, tab.number, self.universe.now, who)
        self.evidence.operations.append(operation)

        async def operate(session: Session) -> None:
            try:
                await do(session)
            except Exception as error:  # noqa: BLE001 - the oracle judges it
                operation.error = error
            finally:
                operation.ended_at = None if tab.port.dead else self.universe.now

        tab.run(operate)

    def _sign_in(self, tab: Tab, who: str) -> None:
        self._operate(tab, "sign in", lambda session: session.sign_in(who, PASSWORDS[who]), who)

    def _sign_out(self, tab: Tab) -> None:
        self._operate(tab, "sign out", lambda session: session.sign_out())

    def _refresh(self, tab: Tab) -> None:
        self._operate(tab, "refresh", lambda session: session.refresh())

    def _request(self, tab: Tab, method: str, details: dict[str, Any]) -> None:
        for _ in range(details.get("times", 1)):
            self._call(tab, method, details)

    def _call(self, tab: Tab, method: str, details: dict[str, Any]) -> Call:
        self.requests += 1
        name = f"r{self.requests}"
        call = Call(name, tab.number, self.universe.now, method, details["path"], None, signed_in=False)
        call.text, call.timeout, call.replay = f"text of {name}", details.get("timeout"), details.get("replay")
        body = {"text": call.text, "id": f"note-{name}"} if details.get("named") else {"text": call.text}

        def fetch(session: Session) -> Coroutine[Any, Any, Any]:
            return session.fetch(
                call.path,
                method=method,
                headers={"X-Request-Id": name},
                json=body if method == "POST" else None,
                timeout=call.timeout,
                replay=call.replay,
            )

        self._wait_for(tab, call, fetch)
        return call

    def _resend(self, tab: Tab, details: dict[str, Any]) -> None:
        del details
        for before, _ in reversed(tab.callers):
            if before.given_back is not None and not isinstance(before.error, AmbiguousRequestError):
                request, before.given_back = before.given_back, None
                call = Call(
                    before.request_id,
                    tab.number,
                    self.universe.now,
                    before.method,
                    before.path,
                    before.owner,
                    before.signed_in,
                )
                call.text, call.replay = before.text, before.replay
                self._wait_for(tab, call, partial(Session.resend, request=request))
                return

    def _wait_for(self, tab: Tab, call: Call, send: Callable[[Session], Coroutine[Any, Any, Any]]) -> None:
        self.evidence.calls.append(call)

        async def wait(session: Session) -> None:
            try:
                sending = send(session)
                if call.owner is None:
                    call.owner, call.signed_in = tab.show(session), session.subject is not None
                response = await sending
                call.answer = (response.status, await response.text())
            except FreshfetchError as error:
                call.error, call.given_back = error, error.request
            except BaseException as error:  # noqa: BLE001 - cancelled, or something the oracle has to see
                call.error = error

        task = tab.run(wait)
        task.add_done_callback(lambda _: self._settle(tab, call))
        tab.callers.append((call, task))

    def _settle(self, tab: Tab, call: Call) -> None:
        """Take down the time, also of a call that was cancelled before it had begun."""
        if not tab.port.dead:
            call.ended_at = self.universe.now

    def _cancel(self, tab: Tab, details: dict[str, Any]) -> None:
        del details
        waiting = [task for _, task in tab.callers if not task.done()]
        for task in waiting[: self.universe.rng.randint(1, 3)]:
            task.cancel()

    def _look_away(self, tab: Tab, details: dict[str, Any]) -> None:
        del details
        tab.person.visible = not tab.person.visible
        if tab.person.visible:
            tab.port.loop.call_soon(self._return_to, tab)

    # -- what happens to the world --

    def _fault(self, details: dict[str, Any]) -> None:
        self.server.faults.add(details["rule"], now=self.server.clock())

    def _heal(self, _: dict[str, Any]) -> None:
        self.server.faults.clear()

    def _expire(self, _: dict[str, Any]) -> None:
        self.server.families.expire_access(None)

    def _revoke(self, _: dict[str, Any]) -> None:
        self._mark("revoked")
        self.server.families.revoke_all(None, access_tokens=True)

    def _fill(self, _: dict[str, Any]) -> None:
        self.shared.full = True

    def _empty(self, _: dict[str, Any]) -> None:
        self.shared.full = False

    def _jump(self, details: dict[str, Any]) -> None:
        self.shared.clock_offset += details["seconds"]
        self._mark("clock set")

    def _go_offline(self, _: dict[str, Any]) -> None:
        self.shared.cut()
        for tab in self.tabs:
            tab.person.online = tab.frozen and tab.person.online

    def _go_online(self, _: dict[str, Any]) -> None:
        if self.shared.offline:
            self.shared.offline = False
            self._mark("online")
            for tab in self.tabs:
                if tab.alive and not tab.frozen:
                    tab.port.loop.call_soon(self._return_to, tab)

    def _carry(self, details: dict[str, Any]) -> None:
        self.shared.hints = details["are"]

    def _forge(self, details: dict[str, Any]) -> None:
        self._mark("forged")
        for port in self.shared.tabs:
            port.loop.call_soon(port.tell, Hint(details["hint"], details["reason"]))

    def _change(self, **settings: Any) -> None:
        self.server.settings = self.server.settings.changed(settings)

    def _set_grace(self, details: dict[str, Any]) -> None:
        self._change(grace=details["seconds"])

    def _set_lifetime(self, details: dict[str, Any]) -> None:
        self.shared.hides_expiry = details["seconds"] == "absent"
        self._change(accessLifetime=LIFETIME if self.shared.hides_expiry else details["seconds"])

    # -- the end --

    def _come_to_rest(self) -> None:
        """Take every trouble away, wait, and use each tab as somebody would who comes back to it."""
        self.in_wait.clear()
        self._heal({})
        self._empty({})
        for exchange in tuple(self.shared.exchanges):
            exchange.lose()  # a connection that stalls breaks some day, whoever waits for it
        self._set_lifetime({"seconds": LIFETIME})
        self.shared.hints = "kept"
        for tab in self.slots:
            self._thaw(tab)
        self._go_online({})
        for tab in self.slots:
            if tab.alive:
                tab.port.loop.call_soon(self._return_to, tab)
        self.universe.run(A_WHILE)
        self._mark("rest")
        living = [tab for tab in self.slots if tab.alive]
        for rest in (REST, A_WHILE):
            for tab in living:
                self._call(tab, "GET", {"path": "/api/data/rest"})
                self.universe.run(1.0)
            self.universe.run(rest)
        for tab in living:
            self._refresh(tab)  # what only one tab remembers is stored with it
            self.universe.run(30.0)
        self._mark("end")
        for tab in living:
            self._call(tab, "GET", {"path": "/api/data/end"})
            self.universe.run(5.0)
        self.at_rest = [self._look_at(tab) for tab in living]

    def _look_at(self, tab: Tab) -> AtRest:
        snapshot = tab.snapshot()
        for _ in range(LOOKS):  # a heartbeat may just be under way
            if snapshot is not None and snapshot.queue_pending:
                self.universe.run(1.0)
                snapshot = tab.snapshot()
        subject = None if tab.session is None else tab.session.subject
        tasks, timers = [task.get_name() for task in tab.port.loop.tasks()], tab.port.loop.timers()
        self._close(tab)
        self.universe.run(30.0)
        left = [task.get_name() for task in tab.port.loop.tasks()] + ["a timer"] * tab.port.loop.timers()
        return AtRest(
            tab=tab.number, snapshot=snapshot, subject=subject, tasks=tasks, timers=timers, left_after_close=left
        )


DOORS: dict[str, Callable[[World, Tab], None]] = {
    "freeze": World._freeze,
    "thaw": World._thaw,
    "kill": World._kill,
    "close": World._close,
    "open": World._reopen,
}
EVERYWHERE: dict[str, Callable[[World, dict[str, Any]], None]] = {
    "expire": World._expire,
    "fault": World._fault,
    "heal": World._heal,
    "full": World._fill,
    "not full": World._empty,
    "jump": World._jump,
    "offline": World._go_offline,
    "online": World._go_online,
    "hints": World._carry,
    "forged": World._forge,
    "grace": World._set_grace,
    "lifetime": World._set_lifetime,
    "revoke": World._revoke,
}
USES: dict[str, Callable[[World, Tab, dict[str, Any]], None]] = {
    "get": lambda world, tab, details: world._request(tab, "GET", details),
    "post": lambda world, tab, details: world._request(tab, "POST", details),
    "sign out": lambda world, tab, _: world._sign_out(tab),
    "sign in": lambda world, tab, details: world._sign_in(tab, details["who"]),
    "refresh": lambda world, tab, _: world._refresh(tab),
    "cancel": World._cancel,
    "resend": World._resend,
    "look away": World._look_away,
}


def played(schedule: Schedule) -> World:
    """Play a schedule; return the world with its evidence."""
    gc.disable()  # what the collector would clean up, and when, must not depend on chance
    world = World(schedule)
    try:
        world.play()
    finally:
        world.dispose()
        gc.enable()
    return world
