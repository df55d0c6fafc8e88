"""How long a page's main thread stood in line for a processor: on a busy machine that is most of a long task.

Linux tells for each thread how long it has run and how long it was ready and did not (``schedstat``). Where there is no
such thing nobody waited, and a task is as long as the clock says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROCESSES = Path("/proc")
LOOK_EVERY = 0.002
NANOSECONDS = 1e9


class MainThread:
    """The main thread of the busiest page below a process."""

    def __init__(self, above: int) -> None:
        pages = [each for each in _below(above) if b"--type=renderer" in _read(each / "cmdline")]
        busiest = max(pages, key=lambda each: _schedule(each)[0], default=None)
        self._process = busiest
        self._looks: list[tuple[float, float]] = []
        self._over = threading.Event()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look at it again and again."""
        looking = threading.Thread(target=self._look, daemon=True)
        looking.start()
        try:
            yield
        finally:
            self._over.set()
            looking.join()

    def waited(self, start: float, end: float) -> float:
        """Return for how many seconds it stood in line, at least, between two instants since the epoch."""
        inside = [waited for at, waited in self._looks if start <= at <= end]
        return inside[-1] - inside[0] if inside else 0.0

    def _look(self) -> None:
        while self._process is not None and not self._over.wait(LOOK_EVERY):
            self._looks.append((time.time(), _schedule(self._process)[1] / NANOSECONDS))


def _below(process: int) -> list[Path]:
    """Return the processes that descend from one."""
    parents = {each: _parent(each) for each in PROCESSES.glob("[0-9]*")}
    found, names = [], {process}
    while more := [each for each, parent in parents.items() if parent in names and int(each.name) not in names]:
        found += more
        names |= {int(each.name) for each in more}
    return found


def _parent(process: Path) -> int:
    fields = _read(process / "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


def _schedule(process: Path) -> tuple[int, int]:
    """Return for how many nanoseconds its main thread has run, and stood in line."""
    fields = _read(process / "task" / process.name / "schedstat").split()
    return (int(fields[0]), int(fields[1])) if fields else (0, 0)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""
