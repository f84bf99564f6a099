"""The native engine for coroutines: what all ports of one open store share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from angzarr._native import Change, Store
from angzarr.gathering import Gathering
from angzarr.ports.clock import Clock
from angzarr.stores._mailboxes import LoopMailbox, Mailboxes

WRITES_HELD_MAX: Final = 8
"""Writes that a busy event loop hands over at once."""

P = ParamSpec("P")
T = TypeVar("T")

_Write = tuple[asyncio.Future[Any], Change]


class Engine:
    """Reads go to `native` right away; writes go through it."""

    def __init__(self, native: Store, clock: Clock) -> None:
        self.native = native
        self.now_ns = clock.now_ns
        self._mailboxes = Mailboxes()

    async def write(self, change: Change) -> Any:
        """The outcome of the change, which is durable."""
        loop, mailbox = self._here()
        future: asyncio.Future[Any] = loop.create_future()
        if mailbox.is_alone():
            outcome = self.native.submit(mailbox.native, future, change, True)
            if outcome is not None:
                await asyncio.sleep(0)  # other tasks get their turn all the same
                return outcome[0]
        else:
            self._outbox_of(mailbox).add(loop, (future, change))
        mailbox.write_count += 1
        try:
            return await future
        finally:
            mailbox.write_count -= 1

    async def log_above(self, position: int, wait_s: float) -> None:
        """Return when the log's head is above `position`, the store closes, or wait_s is over."""
        loop, mailbox = self._here()
        future: asyncio.Future[None] = loop.create_future()
        ticket = self.native.notify_after(mailbox.native, future, position)
        timer = loop.call_later(wait_s, _end, future)  # asyncio.wait costs as much as the read
        try:
            await future
        finally:
            timer.cancel()
            self.native.forget(ticket)
            future.cancel()

    async def in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """For calls whose time grows with the store."""
        self.native.log_head()  # refuses at once where a fork has no loop to wait in
        return await asyncio.to_thread(call, *args, **kwargs)

    async def close(self) -> None:
        _, mailbox = self._here()
        self._outbox_of(mailbox).flush()
        await asyncio.to_thread(self.native.close)
        self._mailboxes.close()

    def _outbox_of(self, mailbox: LoopMailbox) -> Gathering[_Write]:
        """Where writes begin. A busy loop hands several over at once (decision 016)."""
        if mailbox.outbox is None:
            native, box = self.native, mailbox.native

            def hand_over(writes: list[_Write]) -> None:
                for future, change in writes:
                    try:
                        native.submit(box, future, change, False)
                    except Exception as error:
                        if not future.done():
                            future.set_exception(error)

            mailbox.outbox = Gathering(hand_over, count_max=WRITES_HELD_MAX)
        return mailbox.outbox

    def _here(self) -> tuple[asyncio.AbstractEventLoop, LoopMailbox]:
        try:
            return self._mailboxes.here()
        except RuntimeError:
            self.native.log_head()  # StoreForked says more than that a fork has no loop
            raise


def _end(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
