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
        pulled = _Pulled(self._items())
        try:
            while (item := runner.run(pulled.next())) is not None:
                yield item
        finally:
            try:
                runner.run(pulled.close())
            finally:
                if thread is None:
                    runner.close()


class _Pulled(Generic[T]):
    """Items that are made in a loop, one when it is asked for."""

    def __init__(self, items: AsyncGenerator[T]) -> None:
        self._items = items
        self._task: asyncio.Task[object] | None = None

    async def next(self) -> T | None:
        """The next item; None at the end."""
        self._task = asyncio.current_task()
        return await anext(self._items, None)

    async def close(self) -> None:
        """End the making, which an interrupt of the waiting thread leaves half-way."""
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])
        await self._items.aclose()


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
