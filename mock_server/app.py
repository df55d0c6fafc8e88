"""App: the routes, and what is wrapped around them.

A request passes the journal, the front (reuse of connections, date, CORS), the faults, and then reaches an endpoint.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp

from mock_server import api, controls, errors
from mock_server.controls import LocalOnly
from mock_server.faults import FaultMiddleware, ReuseMiddleware
from mock_server.front import AllowListMiddleware, DateMiddleware
from mock_server.journal import JournalMiddleware
from mock_server.page import Made, Page
from mock_server.settings import Settings
from mock_server.state import Server

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    settings: Settings | None = None,
    *,
    clock: Callable[[], float] = time.time,
    page_root: Path | None = None,
    extra_mounts: Mapping[str, Path] | None = None,
    made: Made | None = None,
    controls: bool | None = None,
) -> Starlette:
    """Make the mock server as an ASGI app; `app.state.server` is its memory.

    `clock` says the time in seconds since the epoch. From `page_root` the page's own entries are served, and
    `extra_mounts` adds directories or files under names of their own, `made` beside the page files that are made when
    asked for. `controls` serves /mock/* to everybody (True), to nobody (False), or to clients on this machine (None).
    """
    server = Server(settings or Settings(), clock)
    page = Page(page_root, extra_mounts or {}, made or {})
    app = Starlette(routes=_routes(page, show_controls=controls), exception_handlers=errors.handlers())
    app.state.server = server
    # Outside of Starlette's own stack, which would answer a dropped connection with a 500.
    app.middleware_stack = _wrapped(app.build_middleware_stack(), server)
    return app


def _wrapped(app: ASGIApp, server: Server) -> ASGIApp:
    app = FaultMiddleware(app, faults=server.faults, clock=server.clock, latency=lambda: server.settings.latency)
    app = DateMiddleware(AllowListMiddleware(app, server=server), server=server)
    app = ReuseMiddleware(app, faults=server.faults, clock=server.clock)
    return JournalMiddleware(app, journal=server.journal, now=server.now)


def _routes(page: Page, *, show_controls: bool | None) -> list[BaseRoute]:
    guard = Middleware(LocalOnly, always=show_controls)
    return [
        Mount("/api", Router(_api_routes(), redirect_slashes=False)),
        Mount("/mock", Router(_control_routes(), redirect_slashes=False), middleware=[guard]),
        _route("/{path:path}", GET=page.serve),
    ]


def _api_routes() -> list[Route]:
    return [
        _route("/auth/login", POST=api.login),
        _route("/auth/refresh", POST=api.refresh),
        _route("/auth/logout", POST=api.logout),
        _route("/heartbeat", GET=api.heartbeat),
        _route("/data", GET=api.list_data),
        _route("/data/{name}", GET=api.read_data),
        _route("/notes", GET=api.list_notes, POST=api.create_note),
        _route("/notes/{id}", PUT=api.replace_note, DELETE=api.delete_note),
        _route("/echo", POST=api.echo),
    ]


def _control_routes() -> list[Route]:
    return [
        _route("/journal", GET=controls.read_journal, DELETE=controls.clear_journal),
        _route("/journal/effects", GET=controls.read_effects),
        _route("/settings", GET=controls.read_settings, PUT=controls.change_settings),
        _route("/expire", POST=controls.expire),
        _route("/revoke", POST=controls.revoke),
        _route("/faults", GET=controls.list_faults, POST=controls.add_fault, DELETE=controls.clear_faults),
        _route("/faults/{id}", DELETE=controls.remove_fault),
        _route("/reset", POST=controls.reset),
    ]


def _route(path: str, **endpoints: Endpoint) -> Route:
    """Make one route for all methods of a path, so that a 405 can name them."""

    async def dispatch(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await endpoints[method](request)

    return Route(path, dispatch, methods=list(endpoints))
