"""Time as a port, so that tests own it."""

import asyncio
import time
from typing import Final, Protocol

LOOK_AGAIN_S: Final = 1.0
"""How long SystemClock sleeps at most: the machine's clock may be set while it does."""


class Clock(Protocol):
    """Wall-clock time for timestamps, ages, and what is due at a time."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z."""
        ...

    async def wait_until(self, time_ns: int) -> None:
        """Return as soon as now_ns() is at least time_ns, at once if it is already."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        return time.time_ns()

    async def wait_until(self, time_ns: int) -> None:
        while (left_ns := time_ns - time.time_ns()) > 0:  # noqa: ASYNC110 - nobody tells of time
            await asyncio.sleep(min(left_ns / 1e9, LOOK_AGAIN_S))
