"""Where consumers keep their place in the log: a cursor for each partition (DEP-14, PROJ-6)."""

from __future__ import annotations

import asyncio
import zlib

from angzarr.cover import ROOT_BYTES, Cover
from angzarr.ports.event_store import EventStore
from angzarr.ports.position_store import PositionStore

MARKER_DOMAIN = "_consumer"


def partition_of(root: bytes, count: int) -> int:
    """The partition, of `count`, that a root's streams belong to; the same everywhere."""
    return zlib.crc32(root) % count


class Place:
    """The cursor of one partition of a consumer.

    A consumer with one partition keeps it under its own name. With several each has a name of its
    own, that says of how many it is one: a cursor holds for the roots of its partition only. The
    cursor under the consumer's own name is then one that all have passed, from which consumers
    with another number of partitions go on.
    """

    def __init__(
        self, positions: PositionStore, consumer: str, partition: int = 0, count: int = 1
    ) -> None:
        self._positions = positions
        self._consumer = consumer
        self._partition = partition
        self._count = count

    @property
    def name(self) -> str:
        """What the cursor is kept under."""
        return self._name(self._partition)

    async def start(self, events: EventStore, *, from_now: bool) -> int:
        """Where to go on: the cursor, or the log's beginning; its end, durably, when it is new and
        wants to start there.
        """
        positions = self._positions
        shared = await positions.cursor(self._consumer)
        if shared is None and from_now:
            shared = await positions.put_cursor(self._consumer, await events.log_head())
        if self._count == 1:
            return shared or 0
        # Reset forgets the marker, and so the cursors of partitions that nobody thinks of then.
        if await positions.get(self._consumer, self._marker) is None:
            await positions.reset(self.name)
            await positions.put(self._consumer, self._marker, 0)
        return max(shared or 0, await positions.cursor(self.name) or 0)

    async def stored(self) -> int | None:
        """The cursor as it is stored; None for a new consumer."""
        return await self._positions.cursor(self.name)

    async def store(self, position: int) -> None:
        """Everything up to `position` is finished; durable on return."""
        await self._positions.put_cursor(self.name, position)

    async def share(self) -> None:
        """Raise the consumer's own cursor to what all partitions have passed."""
        if self._count == 1:
            return
        names = [self._name(partition) for partition in range(self._count)]
        cursors = await asyncio.gather(*(self._positions.cursor(name) for name in names))
        lowest = min(cursor or 0 for cursor in cursors)
        if lowest:
            await self._positions.put_cursor(self._consumer, lowest)

    async def reset(self) -> None:
        """Forget all positions of the consumer, whatever its partitions; it is not new after that
        and starts at the log's beginning.
        """
        await self._positions.reset(self._consumer)
        await self._positions.put_cursor(self._consumer, 0)

    def _name(self, partition: int) -> str:
        if self._count == 1:
            return self._consumer
        return f"{self._consumer}/{partition}of{self._count}"

    @property
    def _marker(self) -> Cover:
        """A stream position of this cover says that the partition's own cursor holds."""
        number = self._count << 32 | self._partition
        return Cover(MARKER_DOMAIN, number.to_bytes(ROOT_BYTES, "big"))
