"""State: everything the running server knows, in one object. `app.state.server` holds it.

Nothing in it is a token's owner but `families`, nothing decides about time but `now`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request

from mock_server.auth import DEMO_USERS, Families
from mock_server.faults import Faults
from mock_server.journal import Journal
from mock_server.notes import Notes
from mock_server.settings import Settings

# Counts up when what is dumped changes its shape: what an older server has saved is then left alone.
VERSION = 1


class Server:
    """The server's memory. `clock` is the real time, `now` what the server takes for it."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self.initial_settings = settings
        self.settings = settings
        self.clock = clock
        self.users: Mapping[str, str] = DEMO_USERS
        self.families = Families()
        self.notes = Notes()
        self.journal = Journal()
        self.faults = Faults()

    def now(self) -> float:
        """Tell the time by the server's own clock, in seconds since the epoch."""
        return self.clock() + self.settings.clock_offset

    def dump(self) -> dict[str, object]:
        """Return what a restart would lose and should not, as plain values: all but the journal."""
        return {
            "version": VERSION,
            "settings": self.settings.to_json(),
            "families": self.families.dump(),
            "notes": self.notes.dump(),
            "faults": self.faults.dump(),
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Go on from what `dump` returned; of something else a ValueError, and nothing has changed."""
        try:
            if data["version"] != VERSION:
                raise ValueError(f"version {data['version']!r} is not {VERSION}")
            settings = self.initial_settings.changed(data["settings"])
            families, notes = Families.load(data["families"]), Notes.load(data["notes"])
            self.faults.load(data["faults"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("this is not the state of a server") from error
        self.settings, self.families, self.notes = settings, families, notes

    def reset(self) -> None:
        """Go back to the start. Tokens issued before are not recognised after."""
        self.settings = self.initial_settings
        self.families = Families()
        self.notes = Notes()
        self.journal.reset()
        self.faults.reset()


def server_of(request: Request) -> Server:
    """Find the state of the server that answers this request."""
    server: Server = request.app.state.server
    return server
