"""Lanes: what the library tells, as lanes, bands and marks to draw on one time axis. Pure, and bounded.

One lane per request: what it did (`held`, `sent`, `replayed`) and what came of it (`refused`, `done`, `failed`). One
band per refresh. A mark for what takes no time: a heartbeat, another tab's tokens, where a scenario began. Instants
are the events' own, in seconds since the epoch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any

from freshfetch import (
    Event,
    HeartbeatAnswered,
    HeartbeatFailed,
    HeartbeatSent,
    RefreshFailed,
    RefreshStarted,
    RefreshSucceeded,
    RequestAnswered,
    RequestEvent,
    RequestFailed,
    RequestHeld,
    RequestSent,
    SessionExpired,
    SignedIn,
    SignedOut,
    TokensAdopted,
)

FRESHFETCH = "freshfetch"
LONGEST = 2000
"""Lanes that are kept of one client; of bands and marks a quarter of that."""
OLDEST = 600.0
"""Seconds that what is over is kept."""
GAP = 1.5
"""Seconds a row stays empty before the next lane may have it."""
QUIET = 1.5
"""Seconds without anything after which what comes is another episode."""


@dataclass(slots=True, eq=False, kw_only=True)
class Lane:
    """One request."""

    id: int
    track: str
    number: int
    title: str
    row: int
    segments: list[list[Any]] = field(default_factory=list)
    """Phase, start and end of each; the end is None while it lasts."""
    points: list[tuple[str, float, str]] = field(default_factory=list)
    """What came of it, when, and the status or the error's name."""
    over_at: float | None = None

    @property
    def began_at(self) -> float:
        """When it was first heard of."""
        return float(self.segments[0][1] if self.segments else self.points[0][1])

    def go_on(self, phase: str, at: float) -> None:
        """End what it did, and begin something else."""
        if self.segments and self.segments[-1][0] == phase and self.segments[-1][2] is None:
            return
        self.stop(at)
        self.segments.append([phase, at, None])

    def stop(self, at: float) -> None:
        """End what it did."""
        if self.segments and self.segments[-1][2] is None:
            self.segments[-1][2] = at

    def to_json(self) -> list[Any]:
        """Return it as plain data."""
        return [self.id, self.track, self.row, self.title, self.segments, self.points]


@dataclass(slots=True, eq=False, kw_only=True)
class Band:
    """One refresh. ``outcome`` is ``running``, ``succeeded``, ``failed``, ``void`` or ``ended``.

    Void: somebody else was first, another tab or another person. Ended: with the session.
    """

    id: int
    track: str
    start: float
    label: str
    end: float | None = None
    outcome: str = "running"

    def to_json(self) -> list[Any]:
        """Return it as plain data."""
        return [self.id, self.track, self.start, self.end, self.outcome, self.label]


@dataclass(slots=True, eq=False, kw_only=True)
class Mark:
    """Something that takes no time. A mark of no track concerns all."""

    id: int
    track: str
    kind: str
    at: float
    label: str

    def to_json(self) -> list[Any]:
        """Return it as plain data."""
        return [self.id, self.track, self.kind, self.at, self.label]


@dataclass(slots=True, kw_only=True)
class Tally:
    """How many there were, whether they are still shown or not."""

    requests: int = 0
    refused: int = 0
    """Answers that refused a token."""
    done: int = 0
    failed: int = 0
    refreshes: int = 0
    """That brought a token."""
    vain: int = 0
    """Refreshes that brought none."""

    @property
    def under_way(self) -> int:
        """Requests of which nothing has come so far."""
        return self.requests - self.done - self.failed


class Rows:
    """Gives each lane a row that has been empty for a while, the first such one."""

    def __init__(self) -> None:
        self._count = 0
        self._free: list[int] = []
        self._left: deque[tuple[float, int]] = deque()

    def take(self, at: float) -> int:
        """Return the number of a row."""
        while self._left and self._left[0][0] + GAP <= at:
            heappush(self._free, self._left.popleft()[1])
        if self._free:
            return heappop(self._free)
        self._count += 1
        return self._count - 1

    def leave(self, row: int, at: float) -> None:
        """Take note that the lane in it is over."""
        self._left.append((at, row))


@dataclass(slots=True, kw_only=True)
class Track:
    """One client's lanes."""

    lanes: dict[int, Lane] = field(default_factory=dict)
    """By id, oldest first."""
    by_number: dict[int, Lane] = field(default_factory=dict)
    """Those that are not over."""
    dropped: set[int] = field(default_factory=set)
    """Numbers of requests that were forgotten before they were over: what is still told of them is not drawn."""
    rows: Rows = field(default_factory=Rows)
    bands: deque[Band] = field(default_factory=deque)
    open_bands: deque[Band] = field(default_factory=deque)
    """Those without an end. A session has one at most; a client that knows no better can have several."""
    marks: deque[Mark] = field(default_factory=deque)
    beat: Mark | None = None
    tally: Tally = field(default_factory=Tally)

    @property
    def running(self) -> bool:
        """Whether anything is going on."""
        return bool(self.by_number or self.open_bands)


class Lanes:
    """Everything there is to draw. ``changes`` hands out what is new since it was last called."""

    def __init__(self) -> None:
        self.tracks: dict[str, Track] = {}
        self._ids = count(1)
        self._changed: dict[Lane | Band | Mark, None] = {}
        self._gone: list[int] = []
        self._since = self._until = 0.0
        self._last_beat = 0.0

    def add(self, event: Event, track: str = FRESHFETCH) -> None:
        """Take in an event of one client."""
        own = self.tracks.setdefault(track, Track())
        if isinstance(event, RequestEvent):
            self._add_request(event, own, track)
        elif isinstance(event, (HeartbeatSent, HeartbeatAnswered, HeartbeatFailed)):
            self._add_heartbeat(event, own, track)
        else:
            self._add_refresh(event, own, track)
            self._add_mark(event, own, track)
        self._forget_old(own, event.at)

    def mark(self, label: str, at: float) -> None:
        """Note where something began, for all to see."""
        self._touch(at)
        self._put_mark(self.tracks.setdefault(FRESHFETCH, Track()), "", "scenario", at, label)

    def clear(self, track: str) -> None:
        """Forget what one client did, and count it anew."""
        old = self.tracks.pop(track, None)
        if old is None:
            return
        everything: list[Lane | Band | Mark] = [*old.lanes.values(), *old.bands, *old.marks]
        for each in everything:
            self._remove(each)
        self.tracks[track] = Track(dropped=old.dropped | old.by_number.keys())

    def tally(self, track: str = FRESHFETCH) -> Tally:
        """Return the counts of one client."""
        found = self.tracks.get(track)
        return found.tally if found else Tally()

    @property
    def episode(self) -> tuple[float, float, bool]:
        """When the latest spell of activity began, when something last happened in it, and whether it goes on."""
        return self._since, self._until, self._running

    def changes(self) -> dict[str, Any]:
        """Return what is new or different, and what is gone, as plain data."""
        changed, gone = self._changed, self._gone
        self._changed, self._gone = {}, []
        return {
            "lanes": [each.to_json() for each in changed if isinstance(each, Lane)],
            "bands": [each.to_json() for each in changed if isinstance(each, Band)],
            "marks": [each.to_json() for each in changed if isinstance(each, Mark)],
            "gone": gone,
            "episode": self.episode,
        }

    # -- requests --

    def _add_request(self, event: RequestEvent, own: Track, track: str) -> None:
        if event.number in own.dropped:
            if isinstance(event, RequestFailed) or (isinstance(event, RequestAnswered) and not event.refused):
                own.dropped.remove(event.number)
            return
        self._touch(event.at)
        lane = own.by_number.get(event.number) or self._begin(event, own, track)
        if lane is not None:
            self._go_on(event, lane, own)
            self._changed[lane] = None

    def _begin(self, event: RequestEvent, own: Track, track: str) -> Lane | None:
        """Begin a lane, unless the event can only be of one that is over."""
        if isinstance(event, RequestAnswered):
            return None
        title = f"{event.method} {event.path}"
        lane = Lane(id=next(self._ids), track=track, number=event.number, title=title, row=own.rows.take(event.at))
        own.lanes[lane.id] = own.by_number[event.number] = lane
        own.tally.requests += 1
        return lane

    def _go_on(self, event: RequestEvent, lane: Lane, own: Track) -> None:
        match event:
            case RequestHeld():
                lane.go_on("held", event.at)
            case RequestSent():
                lane.go_on("replayed" if event.replay else "sent", event.at)
            case RequestAnswered(refused=True):
                own.tally.refused += 1
                replayed = any(phase == "replayed" for phase, *_ in lane.segments)
                self._point(event, lane, own, "refused", over=replayed)
            case RequestAnswered():
                self._point(event, lane, own, "done", over=True)
            case RequestFailed():
                self._point(event, lane, own, "failed", over=True)

    def _point(self, event: RequestEvent, lane: Lane, own: Track, kind: str, *, over: bool) -> None:
        """Note what came of a request; a second refusal is its last word, too."""
        lane.stop(event.at)
        detail = str(event.status) if isinstance(event, RequestAnswered) else str(getattr(event, "error", ""))
        lane.points.append((kind, event.at, detail))
        if over:
            self._end(lane, own, event.at)
            if kind == "done":
                own.tally.done += 1
            else:
                own.tally.failed += 1

    def _end(self, lane: Lane, own: Track, at: float) -> None:
        lane.over_at = at
        own.by_number.pop(lane.number, None)
        own.rows.leave(lane.row, at)

    # -- refreshes, heartbeats and the rest --

    def _add_refresh(self, event: Event, own: Track, track: str) -> None:
        match event:
            case RefreshStarted():
                self._touch(event.at)
                band = Band(id=next(self._ids), track=track, start=event.at, label=event.reason)
                own.bands.append(band)
                own.open_bands.append(band)
                self._changed[band] = None
            case RefreshSucceeded():
                own.tally.refreshes += 1
                self._close(own, event.at, "succeeded")
            case RefreshFailed(status=None, retry_in=None) if track == FRESHFETCH:
                self._close(own, event.at, "void")
            case RefreshFailed():
                answer = "no answer" if event.status is None else str(event.status)
                self._close(own, event.at, "failed", answer)
            case SessionExpired() | SignedOut():
                while own.open_bands:
                    self._close(own, event.at, "ended")

    def _close(self, own: Track, at: float, outcome: str, label: str = "") -> None:
        """End the refresh that has been in flight longest."""
        if not own.open_bands:
            return
        band = own.open_bands.popleft()
        own.tally.vain += outcome != "succeeded"
        self._touch(at)
        band.end, band.outcome, band.label = at, outcome, label or band.label
        self._changed[band] = None

    def _add_mark(self, event: Event, own: Track, track: str) -> None:
        """Mark what was done elsewhere, and who comes and goes."""
        match event:
            case TokensAdopted():
                kind, label = "adopted", "another tab refreshed"
            case SignedIn():
                where = " in another tab" if event.elsewhere else ""
                kind, label = "signed-in", f"{event.subject} signed in{where}"
            case SignedOut():
                kind, label = "signed-out", "signed out in another tab" if event.elsewhere else "signed out"
            case SessionExpired():
                kind, label = "expired", "session over"
            case _:
                return
        self._touch(event.at)
        self._put_mark(own, track, kind, event.at, label)

    def _put_mark(self, own: Track, track: str, kind: str, at: float, label: str) -> Mark:
        mark = Mark(id=next(self._ids), track=track, kind=kind, at=at, label=label)
        own.marks.append(mark)
        self._changed[mark] = None
        return mark

    def _add_heartbeat(self, event: Event, own: Track, track: str) -> None:
        """Draw one tick per heartbeat, where it was sent; it alone is no reason to look elsewhere."""
        if isinstance(event, HeartbeatSent) or own.beat is None:
            self._last_beat = event.at
            own.beat = self._put_mark(own, track, "beat", event.at, "heartbeat")
        if isinstance(event, HeartbeatAnswered):
            own.beat.kind, own.beat.label = "beat-answered", f"heartbeat answered {event.status}"
        elif isinstance(event, HeartbeatFailed):
            own.beat.kind, own.beat.label = "beat-failed", f"heartbeat unanswered: {event.error}"
        self._changed[own.beat] = None

    # -- what is shown, and what is forgotten --

    @property
    def _running(self) -> bool:
        return any(track.running for track in self.tracks.values())

    def _touch(self, at: float) -> None:
        """Count an event in to the latest episode, or begin one with it."""
        if at - self._until > QUIET and not self._running:
            self._since = min(at, self._last_beat) if at - self._last_beat < QUIET else at
        self._until = at

    def _forget_old(self, own: Track, now: float) -> None:
        for lane in list(_outdated(own, now)):
            del own.lanes[lane.id]
            if lane.over_at is None:
                own.dropped.add(lane.number)
                self._end(lane, own, now)
            self._remove(lane)
        for items in (own.bands, own.marks):
            while items and (len(items) > LONGEST // 4 or _time_of(items[0]) < now - OLDEST):
                gone = items.popleft()
                self._remove(gone)
                if own.open_bands and own.open_bands[0] is gone:
                    own.open_bands.popleft()

    def _remove(self, each: Lane | Band | Mark) -> None:
        self._changed.pop(each, None)
        self._gone.append(each.id)


def _outdated(own: Track, now: float) -> Iterator[Lane]:
    """Find the lanes that go: the oldest of too many, and what was over long ago."""
    too_many = len(own.lanes) - LONGEST
    for index, lane in enumerate(own.lanes.values()):
        if index >= too_many and (lane.over_at is None or lane.over_at >= now - OLDEST):
            return
        yield lane


def _time_of(each: Band | Mark) -> float:
    return each.at if isinstance(each, Mark) else each.start
