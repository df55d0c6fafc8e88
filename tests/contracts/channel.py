"""The contract of Channel. ``make`` returns another tab's end of the same channel each time it is called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from freshfetch import Channel, Hint

Maker = Callable[[], Channel]


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def check_a_hint_reaches_the_other_tab(make: Maker) -> None:
    """What one end publishes, the other hears."""
    heard: list[Hint] = []
    here, there = make(), make()
    stop = there.subscribe(heard.append)
    here.publish(Hint("expired", "invalid_grant"))
    await _until(lambda: heard)
    assert heard[0] == Hint("expired", "invalid_grant")
    stop()


async def check_who_unsubscribed_hears_no_more(make: Maker) -> None:
    """After unsubscribing, twice if need be, nothing comes."""
    heard: list[Hint] = []
    witness: list[Hint] = []
    here, there, elsewhere = make(), make(), make()
    stop = there.subscribe(heard.append)
    stop_witness = elsewhere.subscribe(witness.append)
    stop()
    stop()
    here.publish(Hint("changed"))
    await _until(lambda: witness)
    assert heard == []
    stop_witness()


async def check_publishing_to_nobody_is_harmless(make: Maker) -> None:
    """A hint that nobody hears raises nothing."""
    make().publish(Hint("signed_out"))


CHECKS = (
    check_a_hint_reaches_the_other_tab,
    check_who_unsubscribed_hears_no_more,
    check_publishing_to_nobody_is_harmless,
)
