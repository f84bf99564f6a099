"""Writes of one event loop on their way to the engine's committer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from angzarr._native import Change, Mailbox, Store

HELD_COUNT_MAX: Final = 8
HELD_S_MAX: Final = 0.0005
"""How long a write may wait for others, and with how many of them."""
CALM_S: Final = 0.00005
"""An event loop that goes round faster has nothing else to do."""


class Outbox:
    """Hands writes over in the order in which they came, several at once while the loop is busy.

    The first write that an idle committer gets wakes its thread, and on a core that has gone idle
    that takes the loop's thread 30 µs, as much as a quarter of a command. A loop with nothing else
    to do hands over at once; one that is busy would get on with the outcome no earlier anyway.
    """

    def __init__(
        self, native: Store, mailbox: Mailbox, *, now_s: Callable[[], float] = time.perf_counter
    ) -> None:
        self._native = native
        self._mailbox = mailbox
        self._now_s = now_s
        self._held: list[tuple[asyncio.Future[Any], Change]] = []
        self._since_s = 0.0
        self._turn_s = 0.0

    def add(
        self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], change: Change
    ) -> None:
        """Hand the change over soon. Its outcome, or why it was not taken, comes to `future`."""
        if not self._held:
            self._since_s = self._turn_s = self._now_s()
            loop.call_soon(self._turned, loop)
        self._held.append((future, change))
        if len(self._held) >= HELD_COUNT_MAX:
            self.flush()

    def flush(self) -> None:
        """Hand over what is held."""
        held, self._held = self._held, []
        for future, change in held:
            try:
                self._native.submit(self._mailbox, future, change, False)
            except Exception as error:
                if not future.done():
                    future.set_exception(error)

    def _turned(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop has gone round once since the last call."""
        if not self._held:
            return
        now_s = self._now_s()
        is_calm = now_s - self._turn_s < CALM_S
        if is_calm or now_s - self._since_s > HELD_S_MAX:
            self.flush()
        else:
            self._turn_s = now_s
            loop.call_soon(self._turned, loop)
