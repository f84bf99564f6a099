"""What comes while an event loop is busy, handled together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

CALM_S: Final = 0.00005
"""An event loop that goes round faster has nothing else to do."""
HELD_S_MAX: Final = 0.0005
"""How long something waits for company; it would get on no earlier in a busy loop anyway."""

T = TypeVar("T")


class Gathering(Generic[T]):
    """Gives items to `handle`, in the order in which they came: several at once while the loop is
    busy, `count_max` at most, and after one turn while it is calm.

    It is used by one event loop. now_s: a clock, for tests.
    """

    def __init__(
        self,
        handle: Callable[[list[T]], None],
        *,
        count_max: int,
        now_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._handle = handle
        self._count_max = count_max
        self._now_s = now_s
        self._items: list[T] = []
        self._since_s = 0.0
        self._turn_s = 0.0

    def add(self, loop: asyncio.AbstractEventLoop, item: T) -> None:
        """Have the item handled soon. loop: the running one."""
        if not self._items:
            self._since_s = self._turn_s = self._now_s()
            loop.call_soon(self._turned, loop)
        self._items.append(item)
        if len(self._items) >= self._count_max:
            self.flush()

    def flush(self) -> None:
        """Have everything handled now."""
        items, self._items = self._items, []
        if items:
            self._handle(items)

    def _turned(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop has gone round once since the last call."""
        if not self._items:
            return
        now_s = self._now_s()
        is_calm = now_s - self._turn_s < CALM_S
        if is_calm or now_s - self._since_s > HELD_S_MAX:
            self.flush()
        else:
            self._turn_s = now_s
            loop.call_soon(self._turned, loop)


async def give_way(longest_s: float) -> None:
    """Let others of the running loop work first, where there are any, for a while."""
    began_s = now_s = time.perf_counter()
    while now_s - began_s < longest_s:
        await asyncio.sleep(0)
        before_s, now_s = now_s, time.perf_counter()
        if now_s - before_s < CALM_S:
            return
