"""The server in a process of its own, and the fixture with which other projects use it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import httpx
import pytest

from mock_server.testing import MockServerError, Remote, Server

ROOT = Path(__file__).parents[2]
LOGIN = {"username": "ada", "password": "lovelace"}

SECRETLY_KILLED = """
import os, signal
from mock_server.remote import Server
server = Server("--no-page")
server.start()
print(server.url, flush=True)
input()
os.kill(os.getpid(), signal.SIGKILL)
"""


def sign_in(server: Remote) -> dict[str, str]:
    """Sign ada in; the header that shows the access token comes back."""
    answer = httpx.post(f"{server.url}/api/auth/login", json=LOGIN)
    return {"Authorization": f"Bearer {answer.json()['accessToken']}"}


def is_refused(url: str) -> bool:
    """Tell whether nobody listens there."""
    try:
        httpx.get(url)
    except httpx.ConnectError:
        return True
    return False


@pytest.mark.parametrize("attempt", [1, 2])
def test_each_test_finds_the_server_at_the_start(mock_server: Server, attempt: int) -> None:
    """Whatever the test before left behind (here: everything, and a server that is stopped) is gone."""
    assert mock_server.journal() == []
    assert mock_server.faults() == []
    assert mock_server.settings()["accessLifetime"] == 1800
    sign_in(mock_server)
    mock_server.fault(path="*", kind="drop_before")
    mock_server.settings(accessLifetime=1)
    mock_server.stop()


def test_the_controls_are_methods(mock_server: Server) -> None:
    """Settings, faults, expiry, revocation and the journal, each in one call."""
    ada = sign_in(mock_server)
    assert mock_server.fault(path="/api/data", kind="status", status=503, times=1) == 1
    statuses = [httpx.get(f"{mock_server.url}/api/data", headers=ada).status_code for _ in range(2)]
    assert statuses == [503, 200]
    assert [(rule["hits"], rule["fired"]) for rule in mock_server.faults()] == [(2, 1)]
    mock_server.clear_faults()
    assert mock_server.faults() == []
    assert (mock_server.expire("grace"), mock_server.expire()) == (0, 1)
    assert httpx.get(f"{mock_server.url}/api/data", headers=ada).status_code == 401
    assert (mock_server.revoke("ada", access_tokens=False), mock_server.revoke()) == (1, 0)
    assert [entry["status"] for entry in mock_server.journal("/api/d*")] == [503, 200, 401]
    mock_server.forget_journal()
    assert mock_server.journal() == []


def test_effects_and_a_long_journal_come_whole(mock_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every id has its count, and a journal of many pages comes whole and in order."""
    ada = sign_in(mock_server)
    monkeypatch.setattr("mock_server.remote.PAGE", 7)
    with httpx.Client(base_url=mock_server.url, headers=ada) as client:
        for number in range(21):
            client.post("/api/echo", headers={"X-Request-Id": f"r{number}"})
    assert mock_server.effects_by_request() == {f"r{number}": {"echoed": 1} for number in range(21)}
    assert (mock_server.effects("r7"), mock_server.effects("never sent")) == ({"echoed": 1}, {})
    assert mock_server.effects_by_request("/api/notes") == {}
    assert [entry["requestId"] for entry in mock_server.journal("/api/echo")] == [f"r{n}" for n in range(21)]
    assert [entry["number"] for entry in mock_server.journal(since=3)] == list(range(4, 23))
    assert [entry["path"] for entry in mock_server.journal(request_id="r5")] == ["/api/echo"]


def test_a_journal_that_has_forgotten_something_is_not_counted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """An incomplete count is an error, never a number."""
    remote = Remote("http://127.0.0.1:1")
    monkeypatch.setattr(remote, "_call", lambda *_: {"entries": [], "next": 9, "effects": {}, "missed": 3})
    for ask in (remote.journal, remote.effects_by_request):
        with pytest.raises(MockServerError, match=r"forgotten 3 requests.*forget_journal"):
            ask()


def test_it_keeps_its_address_and_forgets_the_rest(mock_server: Server) -> None:
    """Stopped it refuses connections; started again it is where it was, and nobody is signed in."""
    url, ada = mock_server.url, sign_in(mock_server)
    mock_server.start()  # it runs: nothing happens
    assert httpx.get(f"{url}/api/data", headers=ada).status_code == 200
    mock_server.stop()
    mock_server.stop()
    assert not mock_server.is_running
    assert is_refused(f"{url}/api/data")
    mock_server.start()
    assert mock_server.url == url
    assert httpx.get(f"{url}/api/data", headers=ada).status_code == 401


def test_options_are_those_of_the_command_and_a_reset_goes_back_to_them(tmp_path: Path) -> None:
    """What the command line says is the start."""
    (tmp_path / "hello.txt").write_text("hello")
    with Server("--no-page", "--grace", "0", "--mount", f"site={tmp_path}") as server:
        assert httpx.get(f"{server.url}/site/hello.txt").text == "hello"
        assert server.settings(grace=5)["grace"] == 5
        server.reset()
        assert server.settings()["grace"] == 0


def test_a_server_that_does_not_start_says_why() -> None:
    """The message has the command and what the server itself had to say; nothing is left running."""
    server = Server("--grace", "nan")
    with pytest.raises(
        MockServerError, match=r"(?s)did not start.*--grace nan.*argument --grace: nan is not a duration"
    ):
        server.start()
    assert not server.is_running


def test_a_port_that_somebody_took_meanwhile_is_named() -> None:
    """A server that cannot come back where it was does not come back elsewhere."""
    with Server("--no-page") as server:
        server.stop()
        with (
            socket.create_server(("127.0.0.1", server.port)),
            pytest.raises(MockServerError, match=f"cannot listen on 127.0.0.1 port {server.port}: Address already"),
        ):
            server.start()
        server.start()
        assert server.settings()["grace"] == 10


def test_a_control_that_is_refused_says_why(mock_server: Server) -> None:
    """The server's own sentence is in the error, and so is what was asked."""
    with pytest.raises(MockServerError, match=r"POST http.*/mock/faults was refused with 400.*kind is required"):
        mock_server.fault(path="*", kind="tea")
    mock_server.stop()
    with pytest.raises(MockServerError, match=r"POST http.*/mock/expire had no answer.*does the mock server run"):
        mock_server.expire()


def test_a_proxy_of_the_machine_is_left_out(mock_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controls are asked directly."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(urllib.error.URLError):
        urllib.request.build_opener().open(f"{mock_server.url}/mock/settings")  # the proxy would be used
    assert Remote(f"{mock_server.url}/").settings()["grace"] == 10


def test_what_the_server_prints_does_not_fill_a_pipe() -> None:
    """A talkative server lives on, and its latest lines can be read."""
    with Server("--no-page", "--access-log") as server, httpx.Client(base_url=server.url) as client:
        for _ in range(400):
            client.get(f"/api/data/{'x' * 400}")
        server.stop()
        assert '" 401' in server.log[-1]


def test_no_process_outlives_its_owner() -> None:
    """Even an owner that is killed, and can clean up nothing, leaves no server behind."""
    command = [sys.executable, "-c", SECRETLY_KILLED]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as owner:  # noqa: S603
        assert owner.stdin is not None
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        assert Remote(url).settings()["grace"] == 10
        with socket.create_connection(("127.0.0.1", Remote(url).port), 30) as watch:
            owner.stdin.write("\n")
            owner.stdin.flush()
            assert owner.wait(30) == -signal.SIGKILL
            assert watch.recv(1) == b""  # the server has closed it
    while not is_refused(url):
        os.sched_yield()


def test_nothing_in_the_tests_own_directory_can_stand_in_for_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests of a project with a ``mock_server`` or a ``starlette.py`` of its own get this server all the same."""
    (tmp_path / "mock_server.py").write_text("raise SystemExit('not me')")
    (tmp_path / "starlette.py").write_text("raise SystemExit('nor me')")
    monkeypatch.chdir(tmp_path)
    with Server("--no-page") as server:
        assert server.settings()["grace"] == 10
