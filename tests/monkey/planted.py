"""Shows that the monkey finds bugs: ``python -m tests.monkey.planted`` plants one at a time in a copy of the library.

Each is one line that somebody could think needless. Says after how many runs, from seed 0, an invariant was violated.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

APP = Path(__file__).parents[2] / "app"
MANY = 1000


@dataclass(frozen=True, slots=True)
class Bug:
    """A line of the library, and what is there instead."""

    name: str
    file: str
    line: str
    instead: str


BUGS = (
    Bug(
        "lock and compare left out",
        "_refresh.py",
        "                if record.access_token != self._failed:\n                    return self._adopt(record)\n",
        "",
    ),
    Bug("commit guard ignored by the store", "memory.py", "if self._generation != expected:", "if False:"),
    Bug(
        "commit guard ignored by the refresh",
        "_refresh.py",
        "        if not await self._records.commit(renewed, expected=generation):",
        "        if not await self._records.commit(renewed, expected=generation) and False:",
    ),
    Bug(
        "whose request it is not compared",
        "_identity.py",
        "if owner is None or (record.session_id != owner.session_id and record.subject != owner.subject):",
        "if owner is None:",
    ),
    Bug(
        "a lost POST sent again",
        "_delivery.py",
        "            response = await self._transport.send(request.authorized(record.access_token))\n",
        "            try:\n"
        "                response = await self._transport.send(request.authorized(record.access_token))\n"
        "            except TransportError:\n"
        "                response = await self._transport.send(request.authorized(record.access_token))\n",
    ),
    Bug(
        "a refresh cancelled with its caller",
        "_delivery.py",
        "                return await self._queue.turn(request.number, again=again)\n",
        "                return await self._queue.turn(request.number, again=again)\n"
        "        except asyncio.CancelledError:\n"
        "            if self._refresher._task is not None:\n"
        "                self._refresher._task.cancel()\n"
        "            raise\n",
    ),
    Bug(
        "the rotated refresh token not stored",
        "_record.py",
        "refresh_token=tokens.refresh_token if rotated else self.refresh_token,",
        "refresh_token=self.refresh_token or tokens.refresh_token,",
    ),
    Bug(
        "the turn of a cancelled caller not ended",
        "_queue.py",
        "            self.end(turn, proved=False)  # cancelled just after its turn had come\n",
        "            pass\n",
    ),
    Bug(
        "signed out by a 429",
        "auth_servers.py",
        '        if status in _PASSING:\n            return "retryable"\n',
        '        if status in _PASSING:\n            return "terminal"\n',
    ),
    Bug("Retry-After not heeded", "_retry.py", "        if retry_after is None:\n", "        if True:\n"),
    Bug(
        "the next attempt planned for one tab only",
        "_refresh.py",
        "        await self._records.note(later, expected=generation)\n",
        "",
    ),
    Bug("a POST told as if it had not been sent", "_delivery.py", "    if request.repeatable:\n", "    if True:\n"),
    Bug(
        "an expiry told twice",
        "_identity.py",
        "        return self._status.expired is None and (self.owner is not None or just_now)",
        "        return self.owner is not None or just_now or self._status.expired is not None",
    ),
)


def main() -> int:
    """Plant each; return 1 when one is not found."""
    wanted = sys.argv[1:]
    missed = 0
    for bug in BUGS:
        if not wanted or any(word in bug.name for word in wanted):
            found = _found(bug)
            missed += found is None
            print(f"{bug.name:45} {'NOT FOUND' if found is None else found}", flush=True)
    return int(missed > 0)


def _found(bug: Bug) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "app"
        shutil.copytree(APP, copy, ignore=shutil.ignore_patterns("__pycache__"))
        file = copy / "freshfetch" / bug.file
        text = file.read_text()
        assert text.count(bug.line) == 1, f"{bug.name}: the line is not there once"
        file.write_text(text.replace(bug.line, bug.instead))
        code = (
            "from tests.monkey.schedule import Schedule\nfrom tests.monkey.shrink import verdict\n"
            f"for seed in range({MANY}):\n"
            "    found = verdict(Schedule.drawn(seed))\n"
            "    if found:\n        print(f'run {seed + 1}: {found[0]}')\n        break\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONWARNINGS": "ignore"}
        run = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=APP.parent, capture_output=True, text=True, check=True
        )
        return run.stdout.strip() or None


if __name__ == "__main__":
    sys.exit(main())
