"""The mock server as a command: a real process, real connections, and how it starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mock_server import __main__ as command
from mock_server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(command.__file__).resolve().parent.parent
GREETING = re.compile(r"freshfetch (?:page and )?mock server: (http://\S+/)  \(for testing only; Ctrl-C stops it\)\n")
FIELDS: dict[str, dict[str, object]] = {
    "status": {"status": 503, "headers": {"Retry-After": "2"}},
    "redirect": {"location": "/api/data"},
    "delay": {"delay": 0.01},
}
LOGIN = {"username": "ada", "password": "lovelace"}


def start(*options: str) -> subprocess.Popen[str]:
    """Start the command on a free port."""
    arguments = [sys.executable, "-m", "mock_server", "--port", "0", *options]
    return subprocess.Popen(  # noqa: S603  # our own command
        arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def url_of(process: subprocess.Popen[str]) -> str:
    """Wait for the line that says where the server is."""
    assert process.stdout is not None
    line = process.stdout.readline()
    match = GREETING.fullmatch(line)
    assert match, line
    return match[1]


@contextlib.contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command for a while; it must end by itself when asked."""
    process = start(*options)
    try:
        yield process, url_of(process)
        process.send_signal(signal.SIGINT)
        process.wait(10)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Share one server between the tests that do not stop it."""
    with running("--no-page") as (_, url):
        yield url


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    """Talk to it, from the start, over connections that are kept."""
    with httpx.Client(base_url=url, timeout=20) as client:
        client.post("/mock/reset")
        yield client


@pytest.fixture
def fault(client: httpx.Client) -> Callable[..., None]:
    """Set a rule about data."""

    def fault(**rule: object) -> None:
        assert client.post("/mock/faults", json={"path": "/api/data"} | rule).status_code == 201

    return fault


def entries(client: httpx.Client) -> list[dict[str, Any]]:
    """Read the journal."""
    listed: list[dict[str, Any]] = client.get("/mock/journal").json()["entries"]
    return listed


def wait_for_entry(client: httpx.Client, path: str) -> None:
    """Wait until the server has seen a request for this path."""
    deadline = time.monotonic() + 10
    while not client.get("/mock/journal", params={"path": path}).json()["entries"]:
        assert time.monotonic() < deadline


def socket_to(url: str) -> socket.socket:
    """Open a connection."""
    return socket.create_connection((httpx.URL(url).host, httpx.URL(url).port or 0), 20)


def ask(connection: socket.socket, data: bytes) -> tuple[int, http.client.HTTPMessage]:
    """Send this and read one whole answer, status and headers."""
    connection.sendall(data)
    with http.client.HTTPResponse(connection) as answer:
        answer.begin()
        answer.read()
        return answer.status, answer.headers


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_a_drop_closes_the_connection_without_a_byte(client: httpx.Client, fault: Any, kind: str) -> None:
    """The client gets nothing at all, the journal shows no status, and the next request is served."""
    fault(kind=kind, times=1)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        client.get("/api/data")
    assert [(entry["status"], entry["fault"]) for entry in entries(client)] == [(None, kind)]
    assert client.get("/api/data").status_code == 401


def test_a_drop_is_possible_before_the_body_of_a_request_was_read(client: httpx.Client, fault: Any) -> None:
    """A large upload is cut off as well."""
    fault(path="/api/echo", kind="drop_before", times=1)
    with pytest.raises(httpx.TransportError):
        client.post("/api/echo", content=b"x" * 4_000_000)
    assert client.post("/api/echo").status_code == 401


def test_while_a_drop_is_pending_no_connection_is_used_twice(url: str) -> None:
    """Idle connections are closed and answers say so, since a browser would quietly repeat a dropped request."""
    host, port = httpx.URL(url).host, httpx.URL(url).port
    assert port
    with socket.create_connection((host, port), 10) as idle, httpx.Client(base_url=url) as client:
        idle.sendall(b"GET /api/data HTTP/1.1\r\nHost: x\r\n\r\n")
        with http.client.HTTPResponse(idle) as answer:
            answer.begin()
            assert (answer.status, answer.read() != b"") == (401, True)  # whole: head and body leave one by one
        client.post("/mock/faults", json={"path": "/never", "kind": "drop_before"})
        assert idle.recv(65536) == b""
        assert client.get("/api/data").headers["connection"] == "close"
        client.post("/mock/reset")
        assert "connection" not in client.get("/api/data").headers


def test_who_has_set_a_drop_finds_idle_connections_closed_already(url: str) -> None:
    """A client that goes on at once cannot send into a connection that is about to go, and lose what no rule hit."""
    with httpx.Client(base_url=url) as client:
        client.post("/mock/reset")
        for _ in range(20):
            with socket_to(url) as idle:
                ask(idle, b"GET /api/data HTTP/1.1\r\nHost: x\r\n\r\n")
                client.post("/mock/faults", json={"path": "/never", "kind": "drop_before"})
                idle.settimeout(0)
                assert idle.recv(1) == b""
            client.delete("/mock/faults")


def test_a_drop_that_is_set_while_a_request_is_under_way_spares_it_and_hits_the_next(url: str) -> None:
    """The answer comes and ends the connection, used before or not; the next request, on a new one, gets none."""
    with socket_to(url) as used, httpx.Client(base_url=url) as client:
        client.post("/mock/reset")
        ask(used, b"GET /api/data HTTP/1.1\r\nHost: x\r\n\r\n")
        used.sendall(b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
        wait_for_entry(client, "/api/auth/login")
        client.post("/mock/faults", json={"path": "/api/auth/*", "kind": "drop_before", "times": 1})
        status, headers = ask(used, b"}")
        assert (status, headers["connection"]) == (400, "close")
        assert used.recv(65536) == b""
        with pytest.raises(httpx.TransportError):
            client.post("/api/auth/login", json=LOGIN)
        assert client.post("/api/auth/login", json=LOGIN).status_code == 200


def test_a_request_tells_whether_its_connection_was_used_before() -> None:
    """The first request of a connection is told from the later ones."""
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    unused: Any = (None, None)

    async def thrice() -> None:
        run = command._droppable(app, asyncio.Transport(), lambda: None)
        for _ in range(3):
            await run({"type": "http"}, *unused)

    asyncio.run(thrice())
    assert [scope["extensions"]["mock.reused"] for scope in scopes] == [False, True, True]


def test_another_origin_over_a_real_connection(url: str) -> None:
    """Preflight and answers, faults too, for an origin on the list; a drop is one and is not hidden by a preflight."""
    ours, theirs = "http://localhost:5173", "http://localhost:5174"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-request-id"}
    with httpx.Client(base_url=url) as client:
        client.post("/mock/reset")
        client.put("/mock/settings", json={"corsOrigins": [ours]})
        preflight = client.options("/api/notes", headers={"Origin": ours, **asked})
        assert preflight.headers["access-control-allow-origin"] == ours
        assert "X-Request-Id" in preflight.headers["access-control-allow-headers"]
        assert preflight.headers["access-control-max-age"] == "0"
        for kind in ("status", "body", "redirect", "delay", "truncate"):
            client.post("/mock/faults", json={"path": "/api/notes", "kind": kind, "times": 1, **FIELDS.get(kind, {})})
            with client.stream("POST", "/api/notes", headers={"Origin": ours}) as answer:
                assert answer.headers["access-control-allow-origin"] == ours, kind
                exposed = answer.headers["access-control-expose-headers"]
                assert set(exposed.split(", ")) == {"WWW-Authenticate", "Retry-After", "Date"}
        for answer in (
            client.options("/api/notes", headers={"Origin": theirs, **asked}),
            client.post("/api/notes", headers={"Origin": theirs}),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert "Origin" in answer.headers["vary"]
        client.post("/mock/faults", json={"path": "/api/notes", "kind": "drop_before", "times": 1})
        assert client.options("/api/notes", headers={"Origin": ours, **asked}).headers["connection"] == "close"
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            client.post("/api/notes", headers={"Origin": ours})


def test_truncate_closes_the_connection_after_half_of_the_body(client: httpx.Client, fault: Any) -> None:
    """The client sees the status and then that the body is incomplete."""
    fault(kind="truncate", times=1)
    with client.stream("GET", "/api/data") as answer:
        assert answer.status_code == 401
        with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
            answer.read()


@pytest.mark.parametrize("send_headers", [False, True])
def test_stall_holds_the_connection_until_the_client_goes(
    url: str,
    client: httpx.Client,
    fault: Any,
    send_headers: bool,
) -> None:
    """Nothing (or nothing but the headers) arrives; when the client hangs up the server lets go."""
    fault(kind="stall", sendHeaders=send_headers)
    host, port = httpx.URL(url).host, httpx.URL(url).port
    assert port
    with socket.create_connection((host, port), 10) as waiting:
        waiting.sendall(b"GET /api/data HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for_entry(client, "/api/data")
        if send_headers:
            assert waiting.recv(65536).endswith(b"\r\n\r\n")
        waiting.settimeout(0.05)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
    assert client.get("/mock/settings").status_code == 200


@pytest.mark.parametrize("status", [200, 204, 304, 307, 401, 429, 503, 599])
def test_injected_statuses_are_well_formed_on_the_wire(client: httpx.Client, fault: Any, status: int) -> None:
    """Each keeps the connection usable for the next request."""
    fault(kind="status", status=status, body="x", times=1)
    assert client.get("/api/data").status_code == status
    fault(kind="body", status=status, body={}, times=1)
    assert client.get("/api/data").status_code == status
    assert client.get("/api/data").status_code == 401


def test_the_date_is_the_servers_own_and_there_is_one(client: httpx.Client) -> None:
    """Uvicorn adds no Date of its own beside the one with the offset."""
    client.put("/mock/settings", json={"clockOffset": -1e9})
    dates = client.get("/api/data").headers.get_list("date")
    assert len(dates) == 1
    assert re.search(r" (199|200)\d ", dates[0])


def test_requests_in_a_row_do_not_wait_for_each_other(client: httpx.Client) -> None:
    """No 40 ms are lost to Nagle's algorithm and delayed acknowledgements, which would concern every one."""
    tokens = client.post("/api/auth/login", json=LOGIN).json()
    headers = {"Authorization": f"Bearer {tokens['accessToken']}"}
    taken = []
    for _ in range(20):
        before = time.perf_counter()
        client.post("/api/echo", content=b"x" * 2000, headers=headers)
        taken.append(time.perf_counter() - before)
    assert min(taken) < 0.03


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_at_once_and_quietly_with_requests_still_open(number: int) -> None:
    """Neither an idle, a stalled, a delayed nor a half-sent request holds it up; exit code 0, no traceback."""
    process = start("--no-page")
    url = httpx.URL(url_of(process))
    assert url.port
    with httpx.Client(base_url=url) as client, contextlib.ExitStack() as open_sockets:
        client.post("/mock/faults", json={"path": "/api/stalled", "kind": "stall"})
        client.post("/mock/faults", json={"path": "/api/delayed", "kind": "delay", "delay": 600})
        for path in ("stalled", "delayed"):
            waiting = open_sockets.enter_context(socket.create_connection((url.host, url.port)))
            waiting.sendall(f"GET /api/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_for_entry(client, f"/api/{path}")
        half = open_sockets.enter_context(socket.create_connection((url.host, url.port)))
        half.sendall(b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        wait_for_entry(client, "/api/auth/login")
        before = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert time.monotonic() - before < 1.5  # measured: 0.2
    assert (process.returncode, out, err) == (0, "", "")


def test_a_port_in_use_is_one_clear_sentence() -> None:
    """Exit code 2 and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start("--port", str(taken.getsockname()[1]))
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (2, "")
    assert re.fullmatch(r"cannot listen on 127\.0\.0\.1 port \d+: Address already in use\n", err)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--access-lifetime", "-1"],
        ["--grace", "nan"],
        ["--clock-offset", "1e10"],
        ["--refresh-lifetime", "soon"],
        ["--port", "70000"],
        ["--page-root", "/no/such/directory"],
        ["--token-format", "xml"],
        ["--mount", "harness=/no/such/directory"],
        ["--mount", "/a/b=/"],
        ["--mount", "/"],
        ["--what"],
    ],
    ids=" ".join,
)
def test_bad_arguments_are_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The command says what is wrong with them and does not start."""
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_the_command_line_becomes_settings() -> None:
    """Each option has its setting, and without options the defaults are those of Settings."""
    text = "--access-lifetime 5 --refresh-lifetime 60 --no-rotation --grace 0 --clock-offset -3600 --latency 0.1"
    text += " --token-format opaque --cors-origin http://a --cors-origin http://b"
    assert command.settings_of(command.parser().parse_args(text.split())) == Settings(
        access_lifetime=5,
        refresh_lifetime=60,
        rotation=False,
        grace=0,
        clock_offset=-3600,
        latency=0.1,
        token_format="opaque",
        cors_origins=("http://a", "http://b"),
    )
    assert command.settings_of(command.parser().parse_args([])) == Settings()


def test_it_serves_the_page_it_is_given_and_logs_requests_on_demand(tmp_path: Path) -> None:
    """By --page-root another page is served, by --mount more; --access-log prints requests and nothing else."""
    (tmp_path / "index.html").write_text("<p>hi</p>")
    options = ["--page-root", str(tmp_path), "--mount", f"more={tmp_path}", "--access-log"]
    with running(*options) as (process, url):
        assert httpx.get(url).text == httpx.get(url + "more/index.html").text == "<p>hi</p>"
        assert process.stdout is not None
        assert re.search(r'"GET / HTTP/1\.1" 200', process.stdout.readline())


def test_other_machines_are_warned_of() -> None:
    """Listening on all addresses is possible, with a warning that this is for testing only."""
    process = start("--host", "0.0.0.0", "--no-page")  # noqa: S104  # the warning is the subject
    port = httpx.URL(url_of(process)).port
    assert httpx.get(f"http://127.0.0.1:{port}/mock/settings").status_code == 200
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=10)
    assert err.count("\n") == 1
    assert "for testing only" in err


def test_it_listens_on_ipv6_too() -> None:
    """The address in the greeting is one that a browser takes."""
    with running("--host", "::1", "--no-page") as (_, url):
        assert url.startswith("http://[::1]:")
        assert httpx.get(url + "mock/settings").status_code == 200


def test_garbage_on_the_wire_is_refused(url: str) -> None:
    """What is not HTTP gets a 400, and the server lives on."""
    with socket.create_connection((httpx.URL(url).host, httpx.URL(url).port or 0), 10) as wild:
        wild.sendall(b"\x16\x03\x01 what\r\n\r\n")
        assert b"400" in wild.recv(65536)
    weird = b"GET /api/data?%ff=%zz HTTP/1.1\r\nHost: [\r\nX-Request-Id: \xff\xfe\r\n\r\n"
    with socket.create_connection((httpx.URL(url).host, httpx.URL(url).port or 0), 10) as wild:
        wild.sendall(weird)
        assert b" 401 " in wild.recv(65536)
    assert json.loads(httpx.get(url + "mock/journal").content)["entries"]
