"""Fleet: 10 000 clients wake at once into an outage of five minutes, and come down on the server after it.

Each client is a real ``Session`` with the library's own policies; only the server, the network and the people are
modelled. Time is virtual. Everybody uses the page, goes away for half an hour, in which the tokens of about half
of them expire, and returns in the same instant, which is when the server goes down.

There are two kinds of page: a *quiet* one sends heartbeats only, so that its steady load is small and a peak is large
beside it; a *busy* one asks for something every minute, without a time limit, so that what cannot be sent
waits and comes down on the server as well. And there are two kinds of outage: of everything, and of the auth server
alone. Load is whatever reaches the server: refreshes, heartbeats and the page's own requests.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import quantiles

from bench.figures import Figures, leave
from bench.virtual_time import run
from freshfetch import (
    FreshfetchError,
    Headers,
    JsonAuthServer,
    Request,
    Response,
    Session,
    SessionRecord,
    Target,
    Tokens,
    TransportError,
)
from freshfetch.memory import ASGITransport, MemoryChannel, MemoryLock, MemoryTokenStore
from tests.world import Person, VirtualClock

LIFETIME = 3600.0
"""Of an access token; everything here is in seconds."""
SETTLED = 400.0
"""By then everybody has come, and the first heartbeats have spread."""
AWAY = 1000.0
WAKE = AWAY + 1800.0
"""Everybody is back, and the server goes down."""
RETURN = WAKE + 300.0
END = RETURN + 600.0
LONGEST_LINE = 5.0
"""The modelled server answers 503 to what would have to wait longer than this for its turn."""
REFUSED_CONNECTIONS = 0.5
"""This part of what is sent into the outage finds no connection; a proxy answers the rest with 503."""
PEAK, TRIES, RECOVERED, WITHIN = 7.0, 10, 0.95, 120.0
DRAWING = Path(__file__).parents[1] / "docs" / "fleet.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What kind of page, and what kind of outage."""

    name: str
    gap: float | None
    """Seconds between two requests of the page, on average; None for heartbeats only."""
    down: tuple[str, ...]
    """How the paths begin that cannot be reached during the outage."""
    capacity: float
    """Requests a second."""


SCENARIOS = (
    Scenario(name="quiet page, all down", gap=None, down=("/",), capacity=500),
    Scenario(name="quiet page, auth server down", gap=None, down=("/api/auth/",), capacity=500),
    Scenario(name="busy page, all down", gap=60.0, down=("/",), capacity=2000),
    Scenario(name="busy page, auth server down", gap=60.0, down=("/api/auth/",), capacity=2000),
)


class Server:
    """A server that takes so many requests a second, and is down for a while. Keeps count of what reaches it."""

    def __init__(self, scenario: Scenario, draw: random.Random) -> None:
        self._scenario = scenario
        self._draw = draw
        self._free_at = 0.0
        self._expiries: dict[str, float] = {}
        self.load: Counter[int] = Counter()
        """Requests by second."""
        self.refreshes: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.tries: dict[str, Counter[int]] = {"refresh": Counter(), "heartbeat": Counter()}
        """By client, from the beginning of the outage to the first one that is answered as it should be."""
        self.answered: dict[str, dict[int, float]] = {"refresh": {}, "heartbeat": {}}
        """When that was, by client; looked for from the server's return on."""

    def grant(self, client: int, lifetime: float) -> str:
        """Return an access token."""
        token = f"{client}.{len(self._expiries)}"
        self._expiries[token] = _now() + lifetime
        return token

    def accepts(self, token: str) -> bool:
        """Tell whether a token still works."""
        return self._expiries.get(token, 0.0) > _now()

    async def answer(self, client: int, request: Request) -> tuple[int, object]:
        """Return status and content, after the time that this takes."""
        self._count(client, request.path)
        if WAKE <= _now() < RETURN and request.path.startswith(self._scenario.down):
            if self._draw.random() < REFUSED_CONNECTIONS:
                raise TransportError("No answer from the server (modelled).")
            return 503, {}
        begins = max(self._free_at, _now())
        if begins - _now() > LONGEST_LINE:
            self.refused[int(_now())] += 1
            return 503, {}
        self._free_at = begins + 1 / self._scenario.capacity
        await asyncio.sleep(self._free_at - _now())
        return self._process(client, request)

    def _process(self, client: int, request: Request) -> tuple[int, object]:
        kind = _kind(request.path)
        if kind == "refresh":
            self._note_answer(kind, client)
            token = self.grant(client, LIFETIME)
            return 200, {"accessToken": token, "refreshToken": f"r{token}", "expiresIn": LIFETIME}
        accepted = self.accepts(request.headers["authorization"].removeprefix("Bearer "))
        if accepted and kind in self.answered:
            self._note_answer(kind, client)
        return (200 if accepted else 401), {}

    def _note_answer(self, kind: str, client: int) -> None:
        if _now() >= RETURN:
            self.answered[kind].setdefault(client, _now())

    def _count(self, client: int, path: str) -> None:
        second = int(_now())
        self.load[second] += 1
        kind = _kind(path)
        if kind == "refresh":
            self.refreshes[second] += 1
        if kind in self.tries and _now() >= WAKE and client not in self.answered[kind]:
            self.tries[kind][client] += 1


class Store(MemoryTokenStore):
    """The store in memory, without the detour by JSON at each look."""

    def __init__(self) -> None:
        super().__init__()
        self._record: SessionRecord | None = None

    def load(self) -> SessionRecord | None:
        """Return the record."""
        return self._record

    async def commit(self, record: SessionRecord | None, *, expected: int) -> bool:
        """Write the record."""
        written = await super().commit(record, expected=expected)
        if written:
            self._record = record
        return written


class Wire(ASGITransport):
    """One client's way to the server."""

    def __init__(self, client: int, server: Server, draw: random.Random) -> None:
        super().__init__(_nobody)
        self._number = client
        self._server = server
        self._random = draw

    def resolve(self, url: str) -> Target:
        """Resolve as the in-memory transport does; there are only a few URLs here."""
        return _resolved(url)

    async def send(self, request: Request) -> Response:
        """Send: there and back takes some time."""
        await asyncio.sleep(self._random.uniform(0.02, 0.08))
        status, content = await self._server.answer(self._number, request)
        body = json.dumps(content).encode()

        async def read() -> bytes:
            return body

        challenge = {"www-authenticate": 'Bearer error="invalid_token"'} if status == 401 else {}
        return Response(status=status, url=request.target.url, headers=Headers(challenge), read=read)


@dataclass(slots=True, kw_only=True)
class Client:
    """A session, and the person in front of it."""

    number: int
    session: Session
    person: Person
    store: Store
    away: asyncio.Event
    back: asyncio.Event
    problems: list[tuple[float, str]] = field(default_factory=list)
    """What the page's own requests brought that was not what they asked for."""
    waits: list[tuple[float, float]] = field(default_factory=list)

    async def live(self, scenario: Scenario, draw: random.Random) -> None:
        """Come, use the page, go away, come back."""
        await asyncio.sleep(draw.uniform(0.0, 330.0))
        async with self.session, asyncio.TaskGroup() as tasks:
            using = tasks.create_task(self._use(scenario.gap, draw))
            await self.away.wait()
            self.person.visible = False
            await self.back.wait()
            self.person.come_back()
            await _until(END)
            using.cancel()

    async def _use(self, gap: float | None, draw: random.Random) -> None:
        async with asyncio.TaskGroup() as requests:
            while gap is not None:
                await asyncio.sleep(draw.expovariate(1 / gap))
                if self.person.visible:
                    requests.create_task(self._request())

    async def _request(self) -> None:
        began = _now()
        try:
            response = await self.session.fetch("/api/data")
        except FreshfetchError as error:
            self.problems.append((began, type(error).__name__))
        else:
            self.waits.append((began, _now() - began))
            if not response.ok:
                self.problems.append((began, str(response.status)))


class Fleet:
    """All clients and their server."""

    def __init__(self, scenario: Scenario, size: int, seed: int) -> None:
        self.scenario = scenario
        self._draw = random.Random(seed)
        self.server = Server(scenario, self._draw)
        self._clock = VirtualClock()
        self._away, self._back = asyncio.Event(), asyncio.Event()
        self._size = size
        self.clients: list[Client] = []
        self.expired: set[int] = set()
        """Those whose token does not work when the server returns."""
        self.waiting: set[int] = set()
        """Those of them who have asked for a new one; the rest has asked for nothing, and does not know yet."""

    async def run(self) -> None:
        """Live through the whole story."""
        self.clients = [await self._client(number) for number in range(self._size)]
        gc.freeze()  # they stay; to look at them again and again takes as long as everything else
        async with asyncio.TaskGroup() as tasks:
            for client in self.clients:
                tasks.create_task(client.live(self.scenario, self._draw))
            await _until(AWAY)
            self._away.set()
            await _until(WAKE)
            self._back.set()
            await _until(RETURN)
            self.expired = {client.number for client in self.clients if not self._has_token(client)}
            self.waiting = self.expired & self.server.tries["refresh"].keys()

    async def _client(self, number: int) -> Client:
        store, person = Store(), Person()
        left = self._draw.uniform(60.0, LIFETIME)  # their sign-ins lie at different times back
        tokens = Tokens(access_token=self.server.grant(number, left), refresh_token=f"r{number}", expires_in=left)
        record = SessionRecord.signed_in(tokens, subject=f"person {number}", generation=1, now=self._clock.now())
        assert await store.commit(record, expected=0)
        session = Session(
            JsonAuthServer(),
            transport=Wire(number, self.server, self._draw),
            store=store,
            lock=MemoryLock(),
            channel=MemoryChannel(),
            clock=self._clock,
            presence=person,
        )
        return Client(number=number, session=session, person=person, store=store, away=self._away, back=self._back)

    def _has_token(self, client: Client) -> bool:
        record = client.store.load()
        return record is not None and self.server.accepts(record.access_token)

    # -- what came of it --

    @property
    def steady(self) -> float:
        """Requests a second before the outage."""
        counts = [self.server.load[second] for second in range(int(SETTLED), int(AWAY))]
        return sum(counts) / len(counts)

    @property
    def peak(self) -> int:
        """Most requests in a second from the server's return on."""
        return max(self.server.load[second] for second in range(int(RETURN), int(END)))

    @property
    def most_refreshes(self) -> int:
        """Most refreshes in a second from the server's return on."""
        return max(self.server.refreshes[second] for second in range(int(RETURN), int(END)))

    @property
    def recoveries(self) -> list[float]:
        """How long after the server's return those who had asked for a new token in vain had one; in order."""
        renewed, never = self.server.answered["refresh"], END
        return sorted(renewed.get(client, never) - RETURN for client in self.waiting)

    def most_tries(self, kind: str) -> int:
        """How often the most patient client knocked from the beginning of the outage to its first new token."""
        return max(self.server.tries[kind].values(), default=0)

    def noticed(self) -> Counter[str]:
        """What went wrong for those with a valid token, and was not the outage itself."""
        everything = "/" in self.scenario.down
        return Counter(
            problem
            for client in self.clients
            if client.number not in self.expired
            for began, problem in client.problems
            if not (everything and problem in ("TransportError", "503") and WAKE - 1 <= began < RETURN)
        )

    def slowest(self) -> float:
        """How long a request waited at most that was made with a valid token, from the outage on."""
        valid = (client for client in self.clients if client.number not in self.expired)
        return max((wait for client in valid for began, wait in client.waits if began >= WAKE), default=0.0)


def _kind(path: str) -> str:
    return path.rpartition("/")[2]


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _until(instant: float) -> None:
    await asyncio.sleep(instant - _now())


@cache
def _resolved(url: str) -> Target:
    return ASGITransport(_nobody).resolve(url)


async def _nobody(*_: object) -> None:
    """Stand where an application stands; nothing is sent to it."""


def live(scenario: Scenario, *, size: int, seed: int) -> Fleet:
    """Run one scenario in virtual time."""
    random.seed(seed)  # the policies' own draws

    async def story() -> Fleet:
        fleet = Fleet(scenario, size, seed)
        await fleet.run()
        return fleet

    return run(story())


def judge(fleet: Fleet, figures: Figures) -> None:
    """Print what came of a scenario."""
    recoveries, steady = fleet.recoveries, fleet.steady
    share = sum(wait <= WITHIN for wait in recoveries) / len(recoveries)
    figures.say(f"\n{fleet.scenario.name}: {len(fleet.clients)} clients")
    unaware = len(fleet.expired) - len(fleet.waiting)
    figures.say(
        f"        {len(fleet.waiting)} wait for a new token, and {unaware} have not used theirs since it expired"
    )
    figures.say(
        f"        steady load {steady:.1f} requests a second; wake-up {fleet.server.load[int(WAKE)]} in a second"
    )
    figures.at_most("recovery peak, times the steady load", fleet.peak / steady, PEAK)
    figures.say(f"        of it refreshes: {fleet.most_refreshes} a second at most")
    figures.at_most("refresh tries of a client", fleet.most_tries("refresh"), TRIES)
    figures.at_most("heartbeat tries of a client", fleet.most_tries("heartbeat"), TRIES)
    figures.at_least(f"part of the expired recovered within {WITHIN:.0f} s", share, RECOVERED)
    half, most = quantiles(recoveries, n=2)[0], recoveries[-1]
    figures.say(f"        half of them within {half:.0f} s, all within {most:.0f} s")
    noticed = fleet.noticed()
    figures.exactly("errors seen with a valid token beside the outage itself", sum(noticed.values()), 0)
    if noticed:
        figures.say(f"        {dict(noticed)}")
    figures.say(f"        the slowest request with a valid token took {fleet.slowest():.1f} s")
    figures.say(f"        turned away by an overloaded server: {sum(fleet.server.refused.values())}")


def draw(fleets: list[Fleet], place: Path) -> None:
    """Draw load over time, as a multiple of the steady load."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and not needed for the figures

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of a backend

    picture, rows = plt.subplots(len(fleets), 1, sharex=True, figsize=(9, 2.2 * len(fleets)), layout="constrained")
    for row, fleet in zip(rows, fleets, strict=True):
        seconds = range(int(WAKE) - 60, int(END) - 120)
        minutes = [(second - WAKE) / 60 for second in seconds]
        row.plot(minutes, [fleet.server.load[s] / fleet.steady for s in seconds], linewidth=0.8, label="all requests")
        refreshes = [fleet.server.refreshes[s] / fleet.steady for s in seconds]
        row.plot(minutes, refreshes, linewidth=0.8, label="refreshes")
        row.axvspan(0, (RETURN - WAKE) / 60, alpha=0.12, color="tab:red", linewidth=0)
        row.axhline(1, color="black", linewidth=0.6)
        row.axhline(PEAK, color="tab:red", linewidth=0.6, linestyle="--")
        row.set_ylim(0, 2 * PEAK)
        row.set_title(fleet.scenario.name, loc="left", fontsize=9)
        row.set_ylabel("x steady load", fontsize=8)
    rows[0].legend(fontsize=8, loc="upper right")
    rows[-1].set_xlabel("minutes after everybody woke; the server is down in the shaded part", fontsize=8)
    picture.savefig(place, dpi=110)


def main() -> int:
    """Run all scenarios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="run the scenarios whose name holds this")
    parser.add_argument("--draw", type=Path, default=None, help=f"draw the load into this file, say {DRAWING.name}")
    options = parser.parse_args()
    figures = Figures(f"Fleet of {options.clients} clients, seed {options.seed}")
    fleets = []
    for scenario in SCENARIOS:
        if options.only in scenario.name:
            fleets.append(live(scenario, size=options.clients, seed=options.seed))
            judge(fleets[-1], figures)
    if options.draw:
        draw(fleets, options.draw)
    return figures.verdict()


if __name__ == "__main__":
    leave(main)
