"""Waiting for the log to grow, from any number of event loops and threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Waiters:
    """Tasks that wait for `wake`, each on its own loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: set[asyncio.Future[None]] = set()

    def wake(self) -> None:
        """Make every waiting task look again. Callable from any thread."""
        if not self._futures:
            return
        with self._lock:
            futures, self._futures = self._futures, set()
        for future in futures:
            loop = future.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_finish, future)

    async def until(self, look: Callable[[], list[T]], wait_s: float) -> list[T]:
        """The first answer of `look` that is not empty, or the empty one after `wait_s` seconds."""
        found = look()
        deadline = time.monotonic() + wait_s
        while not found and time.monotonic() < deadline:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            with self._lock:
                self._futures.add(future)
            try:
                found = look()  # again, since what came before the future was known woke nobody
                if not found:
                    await asyncio.wait([future], timeout=deadline - time.monotonic())
                    found = look()
            finally:
                with self._lock:
                    self._futures.discard(future)
        return found


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
