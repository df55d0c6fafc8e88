"""The mock server as a process of its own, and its controls."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.browser.harness.site import ROOT


class Server:
    """A mock server on a free port, which it keeps when it is stopped and started again.

    Its memory does not outlive it: after a stop nobody is signed in, and settings and faults are back to the start.
    """

    def __init__(self, site: Path) -> None:
        self.mounts = {"harness": Path(__file__).parent, "site.zip": site}
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def port(self) -> int:
        """The port; 0 before the first start."""
        return httpx.URL(self.url).port or 0

    def start(self) -> None:
        """Start, unless it runs, and return when it listens."""
        if self.process is not None and self.process.poll() is None:
            return
        self.stop()
        command = [sys.executable, "-m", "mock_server", "--port", str(self.port)]
        mounts = [f"--mount={name}={path}" for name, path in self.mounts.items()]
        self.process = subprocess.Popen([*command, *mounts], cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://[\w.:]+", line)
        assert found, f"the mock server did not start: {line or 'its error is above'}"
        self.url = found[0]

    def stop(self) -> None:
        """Stop, if it runs: connections break, and new ones are refused."""
        if self.process is not None:
            self.process.terminate()
            self.process.communicate(timeout=10)
            self.process = None

    def journal(self, path: str | None = None) -> list[dict[str, Any]]:
        """List the requests to the API so far; ``path`` is a pattern such as ``/api/auth/*``."""
        entries: list[dict[str, Any]] = self._call("GET", "journal", params={"path": path} if path else {})["entries"]
        return entries

    def forget_journal(self) -> None:
        """Empty the journal."""
        self._call("DELETE", "journal")

    def settings(self, **changes: object) -> dict[str, Any]:
        """Change settings, named as on the wire (``accessLifetime=5``); all of them come back."""
        return self._call("PUT", "settings", json=changes)

    def expire(self, user: str | None = None) -> int:
        """Kill the access tokens, of one user or of all; say how many sign-ins that met."""
        affected: int = self._call("POST", "expire", json=_given(user=user))["affected"]
        return affected

    def revoke(self, user: str | None = None, *, access_tokens: bool = True) -> int:
        """End the sign-ins, of one user or of all; say how many. The access tokens may live on."""
        affected: int = self._call("POST", "revoke", json=_given(user=user, accessTokens=access_tokens))["affected"]
        return affected

    def fault(self, **rule: object) -> int:
        """Set a fault rule; its number comes back."""
        number: int = self._call("POST", "faults", json=rule)["id"]
        return number

    def clear_faults(self) -> None:
        """Remove all fault rules."""
        self._call("DELETE", "faults")

    def reset(self) -> None:
        """Bring everything back to the start: sign-ins, notes, settings, faults, journal."""
        self._call("POST", "reset")

    def _call(self, method: str, control: str, **request: Any) -> dict[str, Any]:
        # Whatever proxy the machine has: this never leaves it.
        with httpx.Client(trust_env=False) as client:
            response = client.request(method, f"{self.url}/mock/{control}", **request)
        assert response.is_success, f"{method} /mock/{control}: {response.status_code} {response.text}"
        answer: dict[str, Any] = response.json() if response.content else {}
        return answer


def _given(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
