"""Where a session stands, and the telling of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ._events import State, StateChanged

if TYPE_CHECKING:
    from ._events import Event
    from ._listeners import Listeners
    from ._ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    signed_in: bool = False
    expired: str | None = None
    refreshing: bool = False
    reachable: bool = True

    @property
    def state(self) -> State:
        if not self.signed_in:
            return State.SIGNED_OUT if self.expired is None else State.SIGN_IN_REQUIRED
        if not self.reachable:
            return State.OFFLINE
        return State.REFRESHING if self.refreshing else State.SIGNED_IN


class Status:
    """The facts a session's state follows from. Whoever learns one notes it; listeners hear of each change."""

    def __init__(self, listeners: Listeners, clock: Clock) -> None:
        self._listeners = listeners
        self._clock = clock
        self._facts = _Facts()

    @property
    def state(self) -> State:
        """What follows from the facts."""
        return self._facts.state

    @property
    def reachable(self) -> bool:
        """Whether the last request to a server of ours was answered."""
        return self._facts.reachable

    @property
    def expired(self) -> str | None:
        """Why the session ended by itself; None while it has not."""
        return self._facts.expired

    @property
    def watched(self) -> bool:
        """Whether anybody listens; events that nobody hears need not be made."""
        return bool(self._listeners)

    def note(self, **facts: Any) -> None:
        """Take down facts (``signed_in``, ``expired``, ``refreshing``, ``reachable``)."""
        old = self._facts.state
        self._facts = replace(self._facts, **facts)
        if self._facts.state is not old:
            self.announce(StateChanged(at=self._clock.now(), old=old, new=self._facts.state))

    def announce(self, event: Event) -> None:
        """Tell the listeners."""
        self._listeners.announce(event)

    @staticmethod
    def report(error: BaseException) -> None:
        """Report what a port raised and should not have; but raise it again if this very task is being cancelled."""
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise error
        context = {"message": "A port of a freshfetch session raised", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
