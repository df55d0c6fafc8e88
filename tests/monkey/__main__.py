"""``make monkey N=10000``: many random schedules on all cores; ``make monkey SEED=7``: one of them again, in words."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from multiprocessing import get_context

from .schedule import Schedule
from .shrink import failing, shrunk, verdict

CHUNK = 20
PAUSE = 10.0
"""Seconds between two lines of progress."""


def main() -> int:
    """Run; return 1 when an invariant was violated."""
    arguments = _arguments()
    if arguments.seed is not None:
        return _report([arguments.seed], shrink=not arguments.whole)
    began = time.monotonic()
    seeds = range(arguments.first, arguments.first + arguments.n)
    runs, failures = _all(seeds, arguments.workers, arguments.keep_going)
    seconds = time.monotonic() - began
    print(f"{runs} runs in {seconds:.0f} s ({runs / seconds:.1f} runs/s): {len(failures)} violate an invariant")
    return _report(failures[: arguments.show], shrink=True) if failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make monkey", description=__doc__)
    parser.add_argument("-n", type=int, default=1000, help="how many schedules (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first one's seed (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="play this one alone, and say what happens")
    parser.add_argument("--whole", action="store_true", help="with --seed: do not leave out what does not matter")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first violation")
    parser.add_argument("--show", type=int, default=3, help="how many failures to say in words (default: %(default)s)")
    return parser.parse_args()


def _all(seeds: range, workers: int, keep_going: bool) -> tuple[int, list[int]]:
    """Play them all, or until one fails; return how many were played, and the seeds of those that failed."""
    runs, failures = 0, list[int]()
    shown = time.monotonic()
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    with get_context("spawn").Pool(workers, initializer=gc.freeze) as pool:
        for played, failed in pool.imap_unordered(failing, chunks):
            runs += played
            failures.extend(failed)
            if time.monotonic() - shown > PAUSE:
                shown = time.monotonic()
                print(f"{runs} of {len(seeds)}, failed: {failures or 'none'}", flush=True)
            if failures and not keep_going:
                break
    return runs, sorted(failures)


def _report(seeds: list[int], *, shrink: bool) -> int:
    """Say in words what each of them violates, and how to play it again; return 1 when one does."""
    failed = False
    for seed in seeds:
        schedule = Schedule.drawn(seed)
        found = verdict(schedule)
        failed = failed or bool(found)
        if found and shrink:
            schedule, found = shrunk(schedule, found)
        print(f"\nseed {seed}: {schedule}")
        print("\n".join(f"  VIOLATED {words}" for words in found) or "  no invariant is violated")
        print(f"  again: make monkey SEED={seed}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
