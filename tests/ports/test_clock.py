"""The machine's clock."""

from __future__ import annotations

import asyncio
import time

import pytest

from angzarr.ports import clock as clocks
from angzarr.ports.clock import SystemClock


async def test_a_past_time_is_not_waited_for() -> None:
    async with asyncio.timeout(0):
        await SystemClock().wait_until(time.time_ns())


async def test_a_time_to_come_is_waited_for() -> None:
    clock = SystemClock()
    time_ns = clock.now_ns() + 2_000_000

    await clock.wait_until(time_ns)

    assert clock.now_ns() >= time_ns


async def test_a_clock_that_is_set_forward_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at again each second at least, however far away the time seemed to be."""
    now_ns = 0
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        nonlocal now_ns
        slept.append(delay_s)
        now_ns = 3_600_000_000_000

    monkeypatch.setattr(clocks.time, "time_ns", lambda: now_ns)
    monkeypatch.setattr(clocks.asyncio, "sleep", sleep)

    await SystemClock().wait_until(3_600_000_000_000)

    assert slept == [clocks.LOOK_AGAIN_S]
