"""Iterations for loops and for threads without one."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator

import pytest

from angzarr.data._duals import Dual


class Numbers(Dual[int]):
    """One, then an interrupt from the keyboard, and no second."""

    def __init__(self) -> None:
        self.is_closed = False

    async def _items(self) -> AsyncGenerator[int]:
        try:
            yield 1
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            self.is_closed = True


def test_an_interrupt_ends_the_making_of_items() -> None:
    numbers = Numbers()

    with pytest.raises(KeyboardInterrupt):
        list(numbers)

    assert numbers.is_closed


async def test_an_asynchronous_iteration_is_closed_by_its_reader() -> None:
    numbers = Numbers()
    found = aiter(numbers)

    assert await anext(found) == 1
    await found.aclose()

    assert numbers.is_closed
