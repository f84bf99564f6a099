"""The position store port: how far each consumer has come (STO-22)."""

from __future__ import annotations

from typing import Protocol

from angzarr.cover import Cover


class PositionStore(Protocol):
    """Durable, monotonic places of consumers: a sequence per stream, a cursor in the log, and
    leases."""

    async def get(self, consumer: str, cover: Cover) -> int | None:
        """Last sequence that the consumer finished on the stream; None is none, 0 is a value."""
        ...

    async def put(self, consumer: str, cover: Cover, sequence: int) -> int:
        """Advance; a lower or equal one is ignored. Returns the value in force."""
        ...

    async def cursor(self, consumer: str) -> int | None:
        """Last finished log position."""
        ...

    async def put_cursor(self, consumer: str, position: int) -> int:
        """Advance the cursor; a lower or equal one is ignored. Returns the value in force."""
        ...

    async def reset(self, consumer: str) -> None:
        """Forget the consumer's stream positions and cursor; its leases stay."""
        ...

    async def lease(self, consumer: str, partition: int, holder: str, ttl_s: float) -> bool:
        """True if `holder` has the lease for ttl_s from now by the store's clock: it was free,
        expired or its own.

        ttl_s 0 releases the holder's own lease (and answers True), and is False for another's.
        """
        ...
