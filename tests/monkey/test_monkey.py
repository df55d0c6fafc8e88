"""The monkey, briefly; ``make monkey N=10000`` for long. The seeds are fixed: a run here is the same everywhere."""

from __future__ import annotations

import pytest

from .planted import APP, BUGS, Bug
from .play import played
from .schedule import Act, Schedule
from .shrink import shrunk, verdict

RUNS = 150
PARTS = 10


@pytest.mark.parametrize("part", range(PARTS))
def test_no_invariant_is_violated_whatever_happens(part: int) -> None:
    """Random schedules over two to four tabs, faults and all: what was seen from outside violates nothing."""
    for seed in range(part, RUNS, PARTS):
        found = verdict(Schedule.drawn(seed))
        assert not found, f"{found[0]}\n  again, in words: make monkey SEED={seed}"


def test_a_seed_plays_the_same_twice() -> None:
    """The journal, the events and the values in storage of a seed are the same each time, to the last instant."""
    first, second = (played(Schedule.drawn(7)) for _ in range(2))
    assert [(entry.at, entry.path, entry.status) for entry in first.server.journal.entries] == [
        (entry.at, entry.path, entry.status) for entry in second.server.journal.entries
    ]
    assert first.evidence.events == second.evidence.events
    assert [commit.at for commit in first.evidence.commits] == [commit.at for commit in second.evidence.commits]


def test_a_frozen_tab_does_nothing_and_its_answer_comes_late() -> None:
    """Frozen with a refresh under way: the answer reaches the tab when it thaws, and nothing leaves it before."""
    world = played(_only(Act(kind="freeze", at="a refresh sent"), Act(kind="refresh"), Act(kind="thaw", wait=50.0)))
    [frozen_at, thawed_at] = [mark.at for mark in world.evidence.marks if mark.kind in ("frozen", "thawed")]
    during = [each for each in world.evidence.sendings if each.tab == 0 and frozen_at < each.at < thawed_at]
    [late] = [each for each in world.evidence.sendings if each.is_refresh and each.at == frozen_at]
    assert during == []
    assert late.ended_at == thawed_at == frozen_at + 50.0 - (frozen_at - 1.0)


def test_a_killed_tab_cleans_nothing_up_and_its_lock_is_free() -> None:
    """Killed before it can store what it has redeemed: it never does, and the other tab has the lock at once."""
    world = played(
        _only(Act(kind="kill", at="before the commit"), Act(kind="refresh"), Act(kind="refresh", tab=1, wait=1.0))
    )
    assert [commit.tab for commit in world.evidence.commits if commit.written] != []
    assert not [commit for commit in world.evidence.commits if commit.tab == 0 and commit.at > 1.0]
    [second] = [each for each in world.evidence.sendings if each.is_refresh and each.tab == 1][:1]
    assert second.at < 2.1


def test_a_failing_schedule_is_made_short() -> None:
    """Of a schedule that fails whenever one act is in it, that act is left."""
    schedule = Schedule.drawn(3)
    culprit = schedule.acts[5]
    shorter, found = shrunk(schedule, ["i1: x"], lambda each: ["i1: x"] if culprit in each.acts else ["i2: y"])
    assert shorter.acts == (culprit,)
    assert found == ["i1: x"]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_that_can_be_planted_has_its_place(bug: Bug) -> None:
    """The line it replaces is in the library, once: else it would show nothing."""
    assert (APP / "freshfetch" / bug.file).read_text().count(bug.line) == 1


def _only(*acts: Act) -> Schedule:
    """Return a plain schedule: two tabs, long-lived tokens, and these acts."""
    return next(
        Schedule(seed, each.setting, acts)
        for seed in range(1000)
        if (each := Schedule.drawn(seed)).setting.tabs == 2 and each.setting.lifetime == 1800.0
    )
