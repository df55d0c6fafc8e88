"""`python -m mock_server`: the mock server and the page on a real socket, by uvicorn.

This module alone knows uvicorn. It adds what fault rules need from a real connection: closing it without an answer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from mock_server import archive
from mock_server.app import create_app
from mock_server.settings import LONGEST, Settings

LAST_PORT = 65535
IDLE = 75
"""Seconds before an idle connection is closed: longer than browsers pause, since one that is closed just as a request
leaves on it loses that request, and not by any rule."""
DEFAULTS = Settings()
SIGNALS = (signal.SIGINT, signal.SIGTERM)
REPOSITORY = Path(__file__).resolve().parent.parent


class DroppableProtocol(H11Protocol):
    """HTTP whose connections the app may close: its own by `mock.drop`, all that are idle by `mock.hang_up`.

    `mock.reused` tells whether the request's connection has carried another one before.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Give the app of this connection the means to close it."""
        super().connection_made(transport)
        # asyncio does this only for sockets it made itself; without it each answer waits 40 ms for an acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app = _droppable(self.app, transport, self.hang_up)

    def hang_up(self) -> None:
        """Close every connection as soon as no request is running on it."""
        for connection in list(self.connections):
            connection.shutdown()


def _droppable(app: ASGIApp, transport: asyncio.Transport, hang_up: Callable[[], None]) -> ASGIApp:
    served = 0

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal served
        served += 1

        async def drop() -> None:
            transport.abort()
            while (await receive())["type"] != "http.disconnect":
                pass

        ours = {"mock.drop": drop, "mock.hang_up": hang_up, "mock.reused": served > 1}
        scope["extensions"] = {**scope.get("extensions", {}), **ours}
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            # Shutting down: nobody is left to hear of it.
            if not transport.is_closing():
                raise

    return run


class MockServer(uvicorn.Server):
    """Uvicorn that says when it listens, and stops at once and with success, whatever is still stalled."""

    def __init__(self, config: uvicorn.Config, greeting: str) -> None:
        super().__init__(config)
        self.greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        sys.stdout.write(f"{self.greeting}\n")
        sys.stdout.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every connection and stop."""
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()
        await super().shutdown(sockets)

    def stop_with_stdin(self) -> None:
        """Stop when whoever holds the other end of the standard input is gone, even if it was killed."""
        loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()

        def look() -> None:
            if not os.read(stdin, 4096):
                loop.remove_reader(stdin)
                self.should_exit = True

        loop.add_reader(stdin, look)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM as a request to stop, not as a failure to report afterwards."""
        before = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop; return the exit code."""
    options = parser().parse_args(arguments)
    if not _is_loopback(options.host):
        sys.stderr.write("warning: this server is for testing only, and other machines can reach it now\n")
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {options.host} port {options.port}: {reason(error)}\n")
        return 2
    with listener, contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options, listener))
    return 0


async def serve(options: argparse.Namespace, listener: socket.socket) -> None:
    """Serve on a socket that listens already."""
    page_root = None if options.no_page else options.page_root
    app = create_app(
        settings_of(options), page_root=page_root, extra_mounts=dict(options.mount), made={"server.zip": archive.build}
    )
    config = uvicorn.Config(
        app,
        http=DroppableProtocol,
        ws="none",
        lifespan="off",
        log_level="info" if options.access_log else "warning",
        access_log=options.access_log,
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=IDLE,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    server = MockServer(config, greeting(options, listener))
    if options.stop_with_stdin:
        server.stop_with_stdin()
    await server.serve([listener])


def listen(host: str, port: int) -> socket.socket:
    """Open the socket first of all, so that a port in use is known before anything else happens."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(address[:2], family=family, backlog=1024)


def reason(error: OSError) -> str:
    """Say why, in the system's words and without what Python adds to them."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)


def greeting(options: argparse.Namespace, listener: socket.socket) -> str:
    """Say where the server is, in one line."""
    name = "mock server" if options.no_page else "page and mock server"
    host = f"[{options.host}]" if ":" in options.host else options.host
    port = listener.getsockname()[1]
    return f"freshfetch {name}: http://{host}:{port}/  (for testing only; Ctrl-C stops it)"


def settings_of(options: argparse.Namespace) -> Settings:
    """Turn the command line into settings."""
    return Settings(
        access_lifetime=options.access_lifetime,
        refresh_lifetime=options.refresh_lifetime,
        rotation=options.rotation,
        grace=options.grace,
        clock_offset=options.clock_offset,
        latency=options.latency,
        token_format=options.token_format,
        cors_origins=tuple(options.cors_origin),
    )


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    text = "The mock server of freshfetch, and the page. For testing only."
    parser = argparse.ArgumentParser(prog="python -m mock_server", description=text)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=_port, default=8000, help="port to listen on; 0: any free one (default: %(default)s)")
    for name in ("access_lifetime", "refresh_lifetime", "grace", "latency"):
        option = "--" + name.replace("_", "-")
        add(option, type=_seconds, default=getattr(DEFAULTS, name), metavar="SECONDS", help="default: %(default)s")
    add("--clock-offset", type=_offset, default=0.0, metavar="SECONDS", help="added to the server's clock; default: 0")
    rotate = argparse.BooleanOptionalAction
    add("--rotation", action=rotate, default=DEFAULTS.rotation, help="each refresh token works once (default)")
    add("--token-format", choices=("jwt", "opaque"), default=DEFAULTS.token_format)
    add("--cors-origin", action="append", default=[], metavar="ORIGIN", help="may read the API; repeatable")
    add("--page-root", type=_directory, default=REPOSITORY, metavar="PATH", help="where index.html is")
    add("--mount", type=_mount, action="append", default=[], metavar="NAME=PATH", help="serve this too; repeatable")
    add("--no-page", action="store_true", help="serve the API alone")
    add("--stop-with-stdin", action="store_true", help="stop when the standard input, a pipe, is closed")
    add("--access-log", action="store_true", help="print every request")
    return parser


def _seconds(value: str) -> float:
    seconds = float(value)
    if not 0 <= seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"{value} is not a duration in seconds")
    return seconds


def _offset(value: str) -> float:
    seconds = float(value)
    if not -LONGEST <= seconds <= LONGEST:
        raise argparse.ArgumentTypeError(f"{value} is not an offset in seconds")
    return seconds


def _port(value: str) -> int:
    port = int(value)
    if not 0 <= port <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"{value} is not a port")
    return port


def _directory(value: str) -> Path:
    path = Path(value)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{value} is not a directory")
    return path


def _mount(value: str) -> tuple[str, Path]:
    name, _, path = value.partition("=")
    if not name or "/" in name or not path or not Path(path).exists():
        raise argparse.ArgumentTypeError(f"{value} is not NAME=PATH with a path that exists")
    return name, Path(path)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
