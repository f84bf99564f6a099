"""Dead letters handed to whoever waits for them in this process: for tests (DLQ-6)."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Final

from angzarr import wire
from angzarr.deadletters.chain import Chain
from angzarr.errors import Overloaded
from angzarr.ports.dead_letters import DeadLetterQueue

CAPACITY: Final = 1_024
"""Letters that wait to be received; further ones are refused."""


class ChannelDeadLetters:
    """A queue in memory.

    async with App(..., config={"dlq.targets": [{"type": "channel"}]}) as app:
        letter = await channel_of(app.stores.dead_letters).receive()
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._letters: asyncio.Queue[bytes] = asyncio.Queue(capacity)
        self._numbers = count(1)

    async def put(self, letter: bytes) -> str:
        """Hand it over; Overloaded when CAPACITY letters wait already."""
        try:
            self._letters.put_nowait(letter)
        except asyncio.QueueFull:
            raise Overloaded("the channel of dead letters", self._capacity) from None
        return f"channel-{next(self._numbers)}"

    async def receive(self) -> wire.AngzarrDeadLetter:
        """The oldest that waits; waits for one."""
        return wire.AngzarrDeadLetter.FromString(await self._letters.get())


def channel_of(queue: DeadLetterQueue) -> ChannelDeadLetters:
    """The channel among the targets of a running app's `stores.dead_letters`; LookupError without
    one."""
    targets = queue.targets if isinstance(queue, Chain) else ()
    for target in targets:
        if isinstance(target.sink, ChannelDeadLetters):
            return target.sink
    raise LookupError("dlq.targets names no channel")
