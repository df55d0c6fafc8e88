"""Session panel: where the session stands, as its own snapshot says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freshfetch import State

from .elements import find, set_text
from .wording import STATES, UNKNOWN, countdown, duration

if TYPE_CHECKING:
    from freshfetch import Snapshot


class SessionPanel:
    """State, person, time left of the access token, heartbeat and queue."""

    def __init__(self) -> None:
        self._state = find("session-state")
        self._ring = find("token-ring")

    def draw(self, snapshot: Snapshot) -> None:
        """Show a snapshot."""
        # Between two attempts nothing is renewed: to a person the server does not answer.
        state = State.OFFLINE if snapshot.retry_in > 0 else snapshot.state
        self._state.dataset.state = state.name.lower().replace("_", "-")
        set_text(self._state, STATES[state])
        set_text(find("fact-who"), snapshot.subject or "nobody")
        self._draw_token(snapshot.expires_in, snapshot.lifetime)
        beat = snapshot.next_heartbeat_in if snapshot.subject else None
        set_text(find("fact-heartbeat"), UNKNOWN if beat is None else duration(beat))
        find("fact-retry-row").hidden = snapshot.retry_in <= 0
        set_text(find("fact-retry"), duration(snapshot.retry_in))
        set_text(find("fact-queue"), str(snapshot.queue_size))
        set_text(find("fact-pending"), str(snapshot.queue_pending))

    def _draw_token(self, left: float | None, lifetime: float | None) -> None:
        """Draw the ring, full when the token was new; an expired one is empty."""
        now = max(0.0, left or 0.0)
        share = now / lifetime if lifetime else 0.0
        self._ring.setAttribute("stroke-dashoffset", f"{100 - 100 * share:.1f}")
        set_text(find("token-left"), UNKNOWN if left is None else countdown(now))
        set_text(find("fact-token"), UNKNOWN if left is None else duration(now))
