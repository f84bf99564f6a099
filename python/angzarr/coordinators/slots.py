"""A bound on calls in flight and on those that wait (CMD-7)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from angzarr.errors import Overloaded
from angzarr.ports.components import CallContext, CommandHandler, Deciding

P = ParamSpec("P")
T = TypeVar("T")


class Slots:
    """At most `concurrency` calls of a component run, at most `waiting` wait, others are refused.

    name: the component's.
    """

    def __init__(self, name: str, *, concurrency: int, waiting: int) -> None:
        self.name = name
        self._free = concurrency
        self._waiting_max = waiting
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def run(
        self, handle: Callable[P, Awaitable[T]], *arguments: P.args, **options: P.kwargs
    ) -> T:
        """`handle` in a slot; Overloaded when too many wait."""
        if self._free:
            self._free -= 1
        else:
            await self._acquire()
        try:
            return await handle(*arguments, **options)
        finally:
            self._release()

    async def _acquire(self) -> None:
        if len(self._waiting) >= self._waiting_max:
            raise Overloaded(f"queue of {self.name}", self._waiting_max)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                if turn in self._waiting:
                    self._waiting.remove(turn)
            else:
                self._release()  # the slot was handed over just before
            raise

    def _release(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # the slot goes on to the one who waits
                return
        self._free += 1


class Component(Slots):
    """A command handler in its slots."""

    def __init__(self, handler: CommandHandler, *, concurrency: int, waiting: int) -> None:
        super().__init__(handler.name, concurrency=concurrency, waiting=waiting)
        self.handler = handler
        self.is_local = handler.is_local
        self.deciding = handler if isinstance(handler, Deciding) else None
        self.has_made_snapshots = False

    async def handle(self, request: bytes, context: CallContext) -> bytes:
        """CommandHandler.handle in a slot; Overloaded when too many wait."""
        return await self.run(self.handler.handle, request, context)

    async def replay(self, request: bytes, context: CallContext) -> bytes:
        """CommandHandler.replay in a slot; Overloaded when too many wait."""
        return await self.run(self.handler.replay, request, context)
