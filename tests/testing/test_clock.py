"""The clock that tests own."""

from __future__ import annotations

import asyncio

from angzarr.testing.clock import NS_PER_S, START_NS, ManualClock


async def waiting(clock: ManualClock, time_ns: int) -> asyncio.Task[None]:
    """A task that waits for the time."""
    task = asyncio.create_task(clock.wait_until(time_ns))
    await asyncio.sleep(0)
    return task


async def test_a_past_time_is_not_waited_for() -> None:
    async with asyncio.timeout(0):
        await ManualClock().wait_until(START_NS)


async def test_a_wait_ends_when_the_time_is_reached() -> None:
    clock = ManualClock()
    task = await waiting(clock, START_NS + 5 * NS_PER_S)

    clock.advance(4.9)
    await asyncio.sleep(0)
    was_done = task.done()
    clock.advance(0.1)
    await task

    assert not was_done


async def test_a_clock_that_is_set_back_goes_on_waiting() -> None:
    clock = ManualClock()
    task = await waiting(clock, START_NS + 1)

    clock.advance(1)
    clock.set(START_NS)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    was_done = task.done()
    clock.advance(1)
    await task

    assert not was_done


async def test_the_times_that_are_waited_for_are_told() -> None:
    clock = ManualClock()
    tasks = [await waiting(clock, START_NS + after) for after in (2, 1)]

    waits = clock.waits
    clock.advance(1)
    await asyncio.gather(*tasks)

    assert waits == (START_NS + 1, START_NS + 2)
    assert clock.waits == ()


async def test_a_wait_that_is_given_up_is_forgotten() -> None:
    clock = ManualClock()
    task = await waiting(clock, START_NS + 1)

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert clock.waits == ()
