"""The README's examples, read from the README and run against a real server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from mock_server.rules import KINDS
from mock_server.testing import Server

ROOT = Path(__file__).parents[2]
README = (ROOT / "mock_server" / "README.md").read_text()
LOGIN = {"username": "ada", "password": "lovelace"}


def blocks(language: str) -> list[str]:
    """List the README's blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def block(language: str, part: str) -> str:
    """Find the one block in a language that has this part."""
    (found,) = (text for text in blocks(language) if part in text)
    return found


def commands() -> list[tuple[str, str]]:
    """List the curl commands, each with the comment in the line above, or none."""
    found = []
    for text in blocks("sh"):
        for comment, command in re.findall(r"(?:^# (.*)\n)?^(curl (?:'[^']*'|[^'\n])*)$", text, re.MULTILINE):
            found.append((comment, command))
    return found


def curl(url: str, command: str) -> Any:
    """Do what a curl command of the README does, at another server; its JSON comes back."""
    words = iter(shlex.split(command, comments=True)[1:])
    method, target, body = "", "", None
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-d":
            body = next(words).encode()
        else:
            assert word.startswith("localhost:8000/")
            target = word.replace("localhost:8000", url)
    answer = httpx.request(method or ("POST" if body else "GET"), target, content=body)
    assert answer.is_success, f"{command}: {answer.text}"
    return answer.json() if answer.content else None


class Front:
    """A front end that is signed in, and sees what a fault does to it."""

    def __init__(self, server: Server, client: httpx.Client) -> None:
        self.server = server
        self.client = client
        self.tokens = client.post("/api/auth/login", json=LOGIN).json()

    def ask(self, method: str, path: str, **fields: object) -> httpx.Response:
        """Send a request with the access token."""
        headers = {"Authorization": f"Bearer {self.tokens['accessToken']}"}
        return self.client.request(method, path, headers=headers, json=fields or None)

    def refresh(self) -> httpx.Response:
        """Present the refresh token."""
        return self.client.post("/api/auth/refresh", json={"refreshToken": self.tokens["refreshToken"]})

    def gets_nothing(self, method: str, path: str, **fields: object) -> bool:
        """Tell whether the connection is closed without an answer."""
        try:
            self.ask(method, path, **fields)
        except httpx.TransportError:
            return self.server.journal(path)[-1]["status"] is None
        return False

    def effects(self) -> list[str]:
        """List what has changed since the sign-in."""
        return [effect for entry in self.server.journal()[1:] for effect in entry["effects"]]

    def begins(self, path: str) -> bytes:
        """Ask for something that never arrives whole; what did arrive comes back when nothing more does."""
        with socket.create_connection(("127.0.0.1", self.server.port), 20) as waiting:
            token = self.tokens["accessToken"]
            waiting.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            while not self.server.journal(path):
                pass
            arrived = b""
            waiting.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                while part := waiting.recv(65536):
                    arrived += part
                pytest.fail("the connection was closed")
        return arrived


def overloaded(front: Front) -> None:
    """Three refreshes are 503, the fourth is not."""
    answers = [front.refresh() for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 503, 503, 200]
    assert [answer.headers.get("retry-after") for answer in answers] == ["2", "2", "2", None]


def note_lost(front: Front) -> None:
    """The note is not there, and another one gets through."""
    assert front.gets_nothing("POST", "/api/notes", text="hello")
    assert front.ask("GET", "/api/notes").json() == {"notes": []}
    assert front.ask("POST", "/api/notes", text="hello").status_code == 201


def refresh_lost(front: Front) -> None:
    """The token is spent; within the grace time it is answered with its successor."""
    assert front.gets_nothing("POST", "/api/auth/refresh", refreshToken=front.tokens["refreshToken"])
    assert front.refresh().status_code == 200
    assert front.effects() == ["refreshed", "grace_reissued"]


def second_cut_off(front: Front) -> None:
    """The first is whole, the second ends too early."""
    assert front.ask("GET", "/api/data/a").json()["name"] == "a"
    with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
        front.ask("GET", "/api/data")
    assert front.ask("GET", "/api/data").json()["items"]


def half_way(front: Front) -> None:
    """The status and half of the body arrive, then nothing: neither more of it nor an end."""
    head, _, half = front.begins("/api/data").partition(b"\r\n\r\n")
    whole = front.ask("GET", "/api/data").content
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert f"content-length: {len(whole)}".encode() in head
    assert half == whole[: len(whole) // 2]


def never_answered(front: Front) -> None:
    """Not one byte arrives."""
    assert front.begins("/api/heartbeat") == b""


def error_page(front: Front) -> None:
    """200, HTML, and the token is spent all the same."""
    answer = front.refresh()
    assert (answer.status_code, answer.headers["content-type"], answer.text) == (200, "text/html", "<h1>Oops</h1>")
    assert front.effects() == ["refreshed"]


def wrong_type(front: Front) -> None:
    """The body is the app's own."""
    answer = front.ask("GET", "/api/data")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
    assert answer.json()["user"] == "ada"


def elsewhere(front: Front) -> None:
    """The answer names the other place; no data came."""
    answer = front.ask("GET", "/api/data")
    assert (answer.status_code, answer.headers["location"]) == (307, "http://127.0.0.1:8000/api/data/moved")
    assert answer.content == b""


def slow(front: Front) -> None:
    """The note is saved, later."""
    before = time.monotonic()
    assert front.ask("POST", "/api/notes", text="hello").status_code == 201
    assert time.monotonic() - before >= 0.2


# What the README says of a fault -> what shows that it is true.
SHOWN: dict[str, Callable[[Front], None]] = {
    "the next three refreshes find the server overloaded": overloaded,
    "the next note never reaches the server": note_lost,
    "the answer of the next refresh is lost although the server has rotated the token": refresh_lost,
    "the second request for data, whichever it is, gets half an answer": second_cut_off,
    "the next list of data begins to arrive and stops half way": half_way,
    "for ten minutes the heartbeat is never answered": never_answered,
    "a refresh that succeeds, says a proxy's error page": error_page,
    "data is what it should be, and has the wrong content type": wrong_type,
    "data is elsewhere, at another origin": elsewhere,
    "saving a note takes a fifth of a second longer": slow,
}
FAULTS = {comment: command for comment, command in commands() if "/mock/faults -d" in command}


@pytest.fixture
def front(mock_server: Server) -> Iterator[Front]:
    """Be signed in."""
    with httpx.Client(base_url=mock_server.url, timeout=20) as client:
        yield Front(mock_server, client)


def test_every_curl_command_works(front: Front) -> None:
    """In the order of the README, as it stands there."""
    assert len(commands()) == README.count("\ncurl ")
    for _, command in commands():
        curl(front.server.url, command)


def test_every_fault_has_an_example_and_every_example_a_test() -> None:
    """No kind of rule is without an example, and no example without one who looks whether it is true."""
    assert {json.loads(shlex.split(command)[-1])["kind"] for command in FAULTS.values()} == set(KINDS)
    assert set(SHOWN) == set(FAULTS)


@pytest.mark.parametrize("said", FAULTS)
def test_a_fault_does_what_the_readme_says(front: Front, said: str) -> None:
    """What the comment above the command promises is what a client meets."""
    curl(front.server.url, FAULTS[said])
    SHOWN[said](front)


def test_the_settings_do_what_the_readme_says(front: Front) -> None:
    """Strict rotation, a grace window, a clock that is fast, another origin."""
    told = dict(commands())
    url = front.server.url
    settings = curl(url, told["tokens that live five seconds, and a server that forgives no token shown twice"])
    assert (settings["accessLifetime"], settings["grace"]) == (5, 0)
    assert (front.refresh().json()["expiresIn"], front.refresh().json()["error"]) == (5, "invalid_grant")
    curl(url, told["a client may show the token before the last one for a minute: its answer may have been lost"])
    front.tokens = front.client.post("/api/auth/login", json=LOGIN).json()
    first, again = front.refresh().json(), front.refresh().json()
    assert first["refreshToken"] == again["refreshToken"]
    curl(url, told["the server's clock is an hour fast: Date and the tokens' iat and exp say so"])
    ahead = parsedate_to_datetime(httpx.get(url).headers["date"]) - datetime.now(UTC)
    assert timedelta(minutes=50) < ahead < timedelta(minutes=70)
    curl(url, told["pages of this origin may read the answers"])
    answer = front.client.get("/api/data", headers={"Origin": "http://localhost:5173"})
    assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"


def test_the_pytest_example_works_in_another_project(tmp_path: Path) -> None:
    """A directory that holds the example and nothing else, this repository on the path: it passes."""
    (tmp_path / "conftest.py").write_text(block("python", "pytest_plugins"))
    (tmp_path / "test_notes.py").write_text(block("python", "test_a_note_whose_answer_is_lost"))
    (tmp_path / "dist").mkdir()
    path = os.pathsep.join([str(ROOT), *sys.path])
    environment = os.environ | {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    for conftest in ("", "import pytest\n" + block("python", "def mock_server_options")):
        with (tmp_path / "conftest.py").open("a") as file:
            file.write(conftest)
        run = subprocess.run(  # noqa: S603  # our own command
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert "1 passed" in run.stdout
