"""One iteration, for `async for` and for `for`: in a loop of its own where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import Generic, TypeVar

from angzarr.sync_bridge import LoopThread

T = TypeVar("T")


class Dual(Generic[T]):
    """Items that are made asynchronously; each iteration makes them anew."""

    def _items(self) -> AsyncGenerator[T]:
        """The items. For subclasses."""
        raise NotImplementedError

    def _thread(self) -> LoopThread | None:
        """The loop that they have to be made in; None is any."""
        return None

    def _is_bound(self) -> bool:
        """Whether they are made of something that lives in a loop which may be this thread's."""
        return True

    def __aiter__(self) -> AsyncGenerator[T]:
        return self._items()

    def __iter__(self) -> Generator[T]:
        """Raises RuntimeError in a running event loop, unless the items bring their own."""
        thread = self._thread()
        if thread is None and self._is_bound() and _is_in_loop():
            raise RuntimeError("an event loop runs here: use `async for`")
        runner = thread or LoopThread("angzarr-data")
        items = self._items()
        try:
            while (item := runner.run(_next(items))) is not None:
                yield item
        finally:
            try:
                runner.run(items.aclose())
            finally:
                if thread is None:
                    runner.close()


async def _next(items: AsyncGenerator[T]) -> T | None:
    return await anext(items, None)


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
