"""Remote: a mock server in another process, and its controls, from Python.

    with Server("--access-lifetime", "5") as server:
        server.fault(path="/api/auth/refresh", kind="drop_after", times=1)

Standard library only: who can run the mock server can use this too, whatever client or test runner they have. A tool
like this has no use for a client's pools and proxies, so each call has a connection of its own.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import urlencode, urlsplit

HERE = Path(__file__).resolve().parent.parent
GREETING = re.compile(r"freshfetch .*mock server: (http://[^/\s]+)/")
# A machine under load may need seconds for either; more means that something hangs.
PATIENCE = 60.0


class MockServerError(RuntimeError):
    """The mock server did not start, is not there, or refused what it was asked; the message says which and why."""


class Remote:
    """The controls of a mock server that runs at ``url``, whoever started it."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    @property
    def port(self) -> int:
        """The port; 0 as long as there is none."""
        return urlsplit(self.url).port or 0

    @property
    def other_url(self) -> str:
        """The same server under another name: to a browser another origin, which CORS must let in."""
        name = "127.0.0.1" if urlsplit(self.url).hostname == "localhost" else "localhost"
        return f"http://{name}:{self.port}"

    def settings(self, **changes: object) -> dict[str, Any]:
        """Change settings, named as on the wire (``accessLifetime=5``); all of them come back."""
        return self._call("PUT", "settings", changes)

    def allow_origins(self, *origins: str) -> None:
        """Let pages of these origins, and of no other, read the answers (CORS)."""
        self.settings(corsOrigins=origins)

    def fault(self, **rule: object) -> int:
        """Set a fault rule; its number comes back."""
        number: int = self._call("POST", "faults", rule)["id"]
        return number

    def faults(self) -> list[dict[str, Any]]:
        """List the fault rules, with how often each was met (``hits``) and applied (``fired``)."""
        rules: list[dict[str, Any]] = self._call("GET", "faults")["faults"]
        return rules

    def clear_faults(self) -> None:
        """Remove all fault rules."""
        self._call("DELETE", "faults")

    def journal(self, path: str | None = None) -> list[dict[str, Any]]:
        """List the requests to the API so far; ``path`` is a pattern such as ``/api/auth/*``."""
        entries: list[dict[str, Any]] = self._call("GET", _query("journal", path=path))["entries"]
        return entries

    def forget_journal(self) -> None:
        """Empty the journal."""
        self._call("DELETE", "journal")

    def expire(self, user: str | None = None) -> int:
        """Kill the access tokens, of one user or of all; say how many sign-ins that met."""
        affected: int = self._call("POST", "expire", _given(user=user))["affected"]
        return affected

    def revoke(self, user: str | None = None, *, access_tokens: bool = True) -> int:
        """End the sign-ins, of one user or of all; say how many. The access tokens may live on."""
        affected: int = self._call("POST", "revoke", _given(user=user, accessTokens=access_tokens))["affected"]
        return affected

    def reset(self) -> None:
        """Bring everything back to the start: sign-ins, notes, settings, faults, journal."""
        self._call("POST", "reset")

    def _call(self, method: str, control: str, fields: dict[str, object] | None = None) -> dict[str, Any]:
        what = f"{method} {self.url}/mock/{control}"
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE)
        try:
            connection.request(method, f"/mock/{control}", None if fields is None else json.dumps(fields))
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise MockServerError(f"{what} had no answer ({error!r}): does the mock server run?") from error
        finally:
            connection.close()
        if answer.status >= 300:
            raise MockServerError(f"{what} was refused with {answer.status}: {body.decode(errors='replace')}")
        result: dict[str, Any] = json.loads(body) if body else {}
        return result


class Server(Remote):
    """A mock server in a process of its own, on a free port, which it keeps when it is stopped and started again.

    ``options`` are those of the command line: ``Server("--no-rotation", "--mount", "site=dist")``. Its memory does not
    outlive the process: after a stop nobody is signed in, and settings and faults are back to the start. The process
    ends with this object's own, however that ends: it listens to a pipe that closes then.
    """

    def __init__(self, *options: str) -> None:
        super().__init__("")
        self.options = options
        self.log: deque[str] = deque(maxlen=1000)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Tell whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start, unless it runs, and return when it listens."""
        if self.is_running:
            return
        self.stop()
        self.log.clear()
        try:
            self.url = self._start(["--stop-with-stdin", "--port", str(self.port), *self.options])
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop, if it runs: connections break, and new ones are refused."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
        if self._reader is not None:
            self._reader.join()
        self._process.__exit__(None, None, None)  # closes the pipes, and waits for what had to be killed
        self._process = self._reader = None

    def _start(self, options: list[str]) -> str:
        # -P: no module of the directory the tests run in can stand in for one of the server's.
        command = [sys.executable, "-P", "-m", "mock_server", *options]
        path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(  # noqa: S603  # our own command
            command,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        found: queue.SimpleQueue[str] = queue.SimpleQueue()
        # Reads as long as the server lives, which would otherwise wait one day for somebody to take what it prints.
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout, found), daemon=True)
        self._reader.start()
        try:
            url = found.get(timeout=PATIENCE)
        except queue.Empty:
            url = ""
        if not url:
            said = "".join(self.log).strip() or f"nothing within {PATIENCE:.0f} s"
            raise MockServerError(f"The mock server did not start. Command: {' '.join(command)}. It said: {said}")
        return url

    def _read(self, stream: IO[str], found: queue.SimpleQueue[str]) -> None:
        for line in stream:
            self.log.append(line)
            if greeting := GREETING.match(line):
                found.put(greeting[1])
        found.put("")


def _query(control: str, **fields: object) -> str:
    given = _given(**fields)
    return f"{control}?{urlencode(given)}" if given else control


def _given(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
