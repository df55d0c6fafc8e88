"""The page's composition root: settings, then the session, then what a person sees."""

from __future__ import annotations

from secrets import token_hex
from typing import Any

import js
from pyscript import config

from freshfetch import HeartbeatPolicy, QueuePolicy, Session, Transport
from freshfetch.browser import connect
from page import inside
from page.controls import Controls
from page.drafts import Drafts
from page.elements import BrowserShelf
from page.events_panel import EventsPanel
from page.ledger import Ledger
from page.mock_controls import MockControls
from page.notebook import Notebook
from page.notes import Notes
from page.notices import Notices
from page.numbered import NumberedTransport
from page.reached import ReachedTransport
from page.scenarios.clients import Places
from page.scenarios.panel import Scenarios
from page.server_panel import ServerPanel
from page.session_panel import SessionPanel
from page.shelf import LocalShelf
from page.shell import Shell
from page.sign_in import SignIn
from page.tab_sign import TabSign
from page.tabs import Tabs
from page.timeline import Timeline
from page.tour import Tour

LARGEST_BURST = 1000
KEPT = ("notes", "heartbeat")


async def main(settings: dict[str, Any]) -> None:
    """Run the page, as soon as what it asks gets to its server."""
    await js.freshfetchServer.reachable
    # What carries a note is sent until it arrives, and the heartbeat comes round by itself.
    ledger = Ledger(token_hex(4), kept=[js.URL.new(settings[name], js.document.baseURI).pathname for name in KEPT])
    transport = inside.transport(settings["inside"]) if "inside" in settings else ReachedTransport()
    session = connect(
        settings["auth"],
        origins=settings.get("origins", ()),
        # Only a server that keeps a journal has a use for the numbers.
        transport=NumberedTransport(transport, ledger) if "mock" in settings else transport,
        store="local" if inside.keeps() else "memory",
        queue=QueuePolicy(max_size=LARGEST_BURST),
        heartbeat=HeartbeatPolicy(url=settings["heartbeat"]),
    )
    session.subscribe(ledger.listen)
    shelf = LocalShelf()
    drafts = Drafts(shelf)
    await shelf.open()
    await drafts.inherit()
    async with session:
        await page(session, transport, ledger, settings, drafts).run()


def page(session: Session, transport: Transport, ledger: Ledger, settings: dict[str, Any], drafts: Drafts) -> Shell:
    """Put the page together."""
    mock = MockControls(settings.get("mock", ""), ledger, transport)
    timeline = Timeline()
    tabs = Tabs()
    places = Places(settings["data"], settings["echo"], settings["auth"], transport)
    return Shell(
        session,
        heartbeat=settings["heartbeat"],
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
        tab_sign=TabSign(),
        tour=Tour(BrowserShelf("freshfetch.page.tour")),
        session_panel=SessionPanel(),
        server_panel=ServerPanel(mock, ledger),
        events_panel=EventsPanel(),
        timeline=timeline,
        scenarios=Scenarios(session, mock, ledger, timeline, places=places),
        controls=Controls(session, mock, data=settings["data"], heartbeat=settings["heartbeat"]),
    )


# PyScript runs this file as a coroutine, so that await has its place here.
await main(config["freshfetch"])  # type: ignore[top-level-await]  # noqa: F704, PLE1142
