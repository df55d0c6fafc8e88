"""The contract of Lock. ``make`` returns a new view of the same locks each time it is called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from freshfetch import Lock, TransportError

Maker = Callable[[], Lock]
PATIENT = 60.0
HASTY = 0.05


async def check_one_holder_at_a_time(make: Maker) -> None:
    """Ten that want it hold it one after the other."""
    inside = most = 0

    async def visit() -> None:
        nonlocal inside, most
        async with make().hold("one", PATIENT):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    await asyncio.gather(*(visit() for _ in range(10)))
    assert most == 1


async def check_names_are_apart(make: Maker) -> None:
    """Who holds one name does not keep others from another."""
    async with make().hold("one", PATIENT), make().hold("other", PATIENT):
        pass


async def check_it_is_free_after_an_error(make: Maker) -> None:
    """A holder that raises gives it back."""
    lock = make()
    with suppress(KeyError):
        async with lock.hold("one", PATIENT):
            raise KeyError("an error of the holder")
    async with lock.hold("one", PATIENT):
        pass


async def check_a_cancelled_waiter_leaves_the_line(make: Maker) -> None:
    """It is never granted to somebody who has gone away."""
    entered = []

    async def visit(name: str) -> None:
        async with make().hold("one", PATIENT):
            entered.append(name)

    async with make().hold("one", PATIENT):
        gone = asyncio.create_task(visit("gone"))
        stays = asyncio.create_task(visit("stays"))
        await asyncio.sleep(0.02)
        gone.cancel()
        await asyncio.wait({gone})
    await stays
    assert entered == ["stays"]


async def check_a_holder_that_does_not_come_back_is_passed_by(make: Maker) -> None:
    """After the time limit one waiter goes on under the second lock, while the first is still held."""
    async with make().hold("one", PATIENT), make().hold("one", HASTY):
        pass


async def check_the_second_lock_has_one_holder_too(make: Maker) -> None:
    """Two that pass by a lost holder do not do so together; one that waits in vain for both is told."""
    refused = False
    async with make().hold("one", PATIENT), make().hold("one", HASTY):
        try:
            async with make().hold("one", HASTY):
                pass
        except TransportError:
            refused = True
    assert refused


async def check_nobody_enters_while_one_that_passed_by_is_inside(make: Maker) -> None:
    """The lost holder comes back and frees the first lock: whoever has it next waits for the one that passed by."""
    inside: list[str] = []
    entered, leave = asyncio.Event(), asyncio.Event()

    async def pass_by() -> None:
        async with make().hold("one", HASTY):
            inside.append("passed by")
            entered.set()
            await leave.wait()
            inside.append("left")

    async def come_next() -> None:
        async with make().hold("one", PATIENT):
            inside.append("next")

    async with make().hold("one", PATIENT):
        passing = asyncio.create_task(pass_by())
        await entered.wait()
        following = asyncio.create_task(come_next())
    await asyncio.sleep(0.05)
    leave.set()
    await asyncio.gather(passing, following)
    assert inside == ["passed by", "left", "next"]


CHECKS = (
    check_one_holder_at_a_time,
    check_names_are_apart,
    check_it_is_free_after_an_error,
    check_a_cancelled_waiter_leaves_the_line,
    check_a_holder_that_does_not_come_back_is_passed_by,
    check_the_second_lock_has_one_holder_too,
    check_nobody_enters_while_one_that_passed_by_is_inside,
)
