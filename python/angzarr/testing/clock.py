"""A clock that tests own."""

from __future__ import annotations

import asyncio
from typing import Final

NS_PER_S: Final = 1_000_000_000
START_NS: Final = 1_767_225_600 * NS_PER_S
"""2026-01-01T00:00:00Z."""


class ManualClock:
    """Wall-clock time that stands still until it is told to move; a `Clock`."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self._now_ns = now_ns
        self._waiting: dict[asyncio.Future[None], int] = {}

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z."""
        return self._now_ns

    async def wait_until(self, time_ns: int) -> None:
        """Wait until somebody moves the clock to time_ns or beyond."""
        while self._now_ns < time_ns:
            moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[moved] = time_ns
            try:
                await moved
            finally:
                self._waiting.pop(moved, None)

    @property
    def waits(self) -> tuple[int, ...]:
        """The times that are waited for, ascending."""
        return tuple(sorted(self._waiting.values()))

    def advance(self, seconds: float = 0.0, *, ns: int = 0) -> int:
        """Move on by `seconds` and `ns`; the new time. Exact for whole seconds."""
        whole = int(seconds)
        self.set(self._now_ns + whole * NS_PER_S + round((seconds - whole) * NS_PER_S) + ns)
        return self._now_ns

    def set(self, now_ns: int) -> None:
        """Jump to `now_ns`, backwards too, as machine clocks do. Callable from any thread."""
        self._now_ns = now_ns
        for moved, time_ns in tuple(self._waiting.items()):
            loop = moved.get_loop()
            if time_ns <= now_ns and not loop.is_closed():
                loop.call_soon_threadsafe(_finish, moved)


def _finish(moved: asyncio.Future[None]) -> None:
    if not moved.done():
        moved.set_result(None)
