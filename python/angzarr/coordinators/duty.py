"""What a duty tells the worker of obligations beside success and failure."""

from __future__ import annotations


class Permanent(Exception):
    """An obligation can't be fulfilled, however often it is tried."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause
        super().__init__(str(cause))


class Postponed(Exception):
    """It is too early for an obligation; come back in `delay_s`. No attempt is counted."""

    def __init__(self, reason: str, delay_s: float) -> None:
        self.delay_s = delay_s
        super().__init__(reason)
