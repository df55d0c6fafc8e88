"""freshfetch in a browser: the real ports, and ``connect`` to put a session together.

The only place of the library that imports ``js``. Where a browser refuses storage, the session goes on in memory
and says so by ``StorageFailed`` and ``session.snapshot().storage_problem``. Without Web Locks, IndexedDB or
BroadcastChannel it works as before in its own tab, and is no longer sound between tabs. Nothing here raises
when the page starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, TypedDict, Unpack

from .._errors import ConfigurationError
from .._heartbeat import HeartbeatPolicy
from .._models import Response
from .._ports import AuthServer, TokenStore, Transport
from .._queue import QueuePolicy
from .._retry import RetryPolicy
from .._session import Session
from ..auth_servers import JsonAuthServer
from ..memory import MemoryTokenStore, SystemClock
from ._channel import TabChannel
from ._lock import WebLock
from ._presence import PagePresence
from ._store import WebTokenStore
from ._transport import FetchTransport

__all__ = ["FetchTransport", "PagePresence", "TabChannel", "WebLock", "WebTokenStore", "connect"]


class SessionSettings(TypedDict, total=False):
    """What ``connect`` hands on to ``freshfetch.Session``."""

    leeway: float
    origins: Iterable[str]
    queue: QueuePolicy
    retry: RetryPolicy
    heartbeat: HeartbeatPolicy
    is_expired_token: Callable[[Response], bool]


def connect(
    auth_server: AuthServer | str,
    *,
    name: str = "default",
    store: Literal["local", "session", "memory"] | TokenStore = "local",
    transport: Transport | None = None,
    **settings: Unpack[SessionSettings],
) -> Session:
    """Return a session for this page.

    ``auth_server`` is an auth server, or the base URL of one that speaks the JSON API. Sessions of one
    ``name`` share their tokens between tabs; take another name for another API. ``store`` says where the
    tokens live: ``local`` (all tabs, survives the browser), ``session`` (this tab, survives a reload; a
    duplicate of the tab has to sign in when its access token ends), ``memory`` (this page, survives nothing),
    or a store of your own. ``transport`` sends the requests in place of ``FetchTransport``: a class of your
    own made from it may add a header to each, say.

    Raises:
        ConfigurationError: a setting is out of range, or tokens would travel over plain http.
    """
    return Session(
        JsonAuthServer(auth_server) if isinstance(auth_server, str) else auth_server,
        transport=FetchTransport() if transport is None else transport,
        store=_store(store, name),
        lock=WebLock(),
        channel=TabChannel(name),
        clock=SystemClock(),
        presence=PagePresence(),
        name=f"freshfetch:{name}",
        **settings,
    )


def _store(store: str | TokenStore, name: str) -> TokenStore:
    if not isinstance(store, str):
        return store
    if store == "local":
        return WebTokenStore.local(name)
    if store == "session":
        return WebTokenStore.session(name)
    if store == "memory":
        return MemoryTokenStore()
    raise ConfigurationError("store is 'local', 'session', 'memory', or a TokenStore.")
