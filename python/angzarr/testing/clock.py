"""A clock that tests own."""

from __future__ import annotations

from typing import Final

NS_PER_S: Final = 1_000_000_000
START_NS: Final = 1_767_225_600 * NS_PER_S
"""2026-01-01T00:00:00Z."""


class ManualClock:
    """Wall-clock time that stands still until it is told to move; a `Clock`."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01T00:00:00Z."""
        return self._now_ns

    def advance(self, seconds: float = 0.0, *, ns: int = 0) -> int:
        """Move on by `seconds` and `ns`; the new time. Exact for whole seconds."""
        whole = int(seconds)
        self._now_ns += whole * NS_PER_S + round((seconds - whole) * NS_PER_S) + ns
        return self._now_ns

    def set(self, now_ns: int) -> None:
        """Jump to `now_ns`, backwards too, as machine clocks do."""
        self._now_ns = now_ns
