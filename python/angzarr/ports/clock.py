"""Time as a port, so that tests own it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time for timestamps and ages."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        return time.time_ns()
