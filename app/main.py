"""The page's composition root: settings, then the session, then what a person sees."""

from __future__ import annotations

from typing import Any

from pyscript import config

from freshfetch import HeartbeatPolicy, QueuePolicy, Session
from freshfetch.browser import connect
from page.controls import Controls
from page.drafts import Drafts
from page.events_panel import EventsPanel
from page.mock_controls import MockControls
from page.notebook import Notebook
from page.notes import Notes
from page.notices import Notices
from page.server_panel import ServerPanel
from page.session_panel import SessionPanel
from page.shelf import LocalShelf
from page.shell import Shell
from page.sign_in import SignIn
from page.tabs import Tabs

LARGEST_BURST = 1000


async def main(settings: dict[str, Any]) -> None:
    """Run the page."""
    session = connect(
        settings["auth"],
        queue=QueuePolicy(max_size=LARGEST_BURST),
        heartbeat=HeartbeatPolicy(url=settings["heartbeat"]),
    )
    shelf = LocalShelf()
    drafts = Drafts(shelf)
    await shelf.open()
    await drafts.inherit()
    async with session:
        await page(session, settings, drafts).run()


def page(session: Session, settings: dict[str, Any], drafts: Drafts) -> Shell:
    """Put the page together."""
    mock = MockControls(settings.get("mock", ""))
    tabs = Tabs()
    return Shell(
        session,
        mock=mock,
        drafts=drafts,
        sign_in=SignIn(session),
        notes=Notes(
            lambda subject, changed: Notebook(
                subject, session=session, url=settings["notes"], drafts=drafts, changed=changed, sent=tabs.tell
            ),
            drafts=drafts,
            tabs=tabs,
        ),
        notices=Notices(),
        session_panel=SessionPanel(),
        server_panel=ServerPanel(mock),
        events_panel=EventsPanel(),
        controls=Controls(session, mock, data=settings["data"], heartbeat=settings["heartbeat"]),
    )


# PyScript runs this file as a coroutine, so that await has its place here.
await main(config["freshfetch"])  # type: ignore[top-level-await]  # noqa: F704, PLE1142
