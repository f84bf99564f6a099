"""SIGTERM and Ctrl-C, for commands that run until they are told to stop (OPS-3)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from angzarr.app import App

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Told:
    """Whether the process was told to stop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        for number in SIGNALS:
            self._loop.add_signal_handler(number, self._event.set)

    async def wait(self) -> None:
        """Return when it is."""
        await self._event.wait()

    def forget(self) -> None:
        """The next signal has its usual effect. Idempotent."""
        for number in SIGNALS:
            self._loop.remove_signal_handler(number)


@asynccontextmanager
async def until_told() -> AsyncGenerator[Told]:
    """Signals are taken within the block."""
    told = Told()
    try:
        yield told
    finally:
        told.forget()


async def started(app: App, told: Told) -> bool:
    """Start the app; False, and nothing runs, if the process was told to stop meanwhile: a start
    may wait long for a store elsewhere.
    """
    start = asyncio.ensure_future(app.start())
    stop = asyncio.ensure_future(told.wait())
    try:
        await asyncio.wait((start, stop), return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            await start
            return True
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        return False
    finally:
        stop.cancel()
