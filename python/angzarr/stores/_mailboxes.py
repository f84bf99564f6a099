"""Outcomes of native calls for asyncio: one wake-up of a loop serves all that came meanwhile."""

from __future__ import annotations

import asyncio
import threading
import weakref
from typing import Any

from angzarr._native import Change, Mailbox
from angzarr.gathering import Gathering


class LoopMailbox:
    """The mailbox of one event loop. Tokens are futures of that loop.

    The loop's selector keeps it alive, since its descriptor must not be closed before the loop
    stops watching it; it does not keep the loop alive. write_count: writes on their way. outbox:
    where they begin it, for the engine to set.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.native = Mailbox()
        self.loop = weakref.ref(loop)
        self.write_count = 0
        self.outbox: Gathering[tuple[asyncio.Future[Any], Change]] | None = None
        self._last_writer = 0
        loop.add_reader(self.native.fileno(), self.deliver)

    def is_alone(self) -> bool:
        """Whether the running task made the loop's last write, too, and no other is on its way:
        then it is likely to be the only writer, and gains by writing at once (decision 008).
        """
        last, self._last_writer = self._last_writer, id(asyncio.current_task())
        return last == self._last_writer and not self.write_count

    def deliver(self) -> None:
        """Complete the futures whose outcomes have come; those that were cancelled stay so."""
        future: asyncio.Future[Any]
        for future, outcome in self.native.drain():
            if future.done():
                continue
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def close(self) -> None:
        """Deliver what is there and stop watching; to be called in the loop's own thread."""
        self.deliver()
        loop = self.loop()
        if loop is not None and not loop.is_closed():
            loop.remove_reader(self.native.fileno())


class Mailboxes:
    """One mailbox for each event loop that uses a store."""

    def __init__(self) -> None:
        self._thread = threading.local()
        self._lock = threading.Lock()
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopMailbox]
        self._by_loop = weakref.WeakKeyDictionary()

    def here(self) -> tuple[asyncio.AbstractEventLoop, LoopMailbox]:
        """The running loop and its mailbox."""
        loop = asyncio.get_running_loop()
        mailbox: LoopMailbox | None = getattr(self._thread, "mailbox", None)
        if mailbox is None or mailbox.loop() is not loop:
            mailbox = self._thread.mailbox = self._of(loop)
        return loop, mailbox

    def close(self) -> None:
        """Stop watching, in every loop that is still open."""
        with self._lock:
            mailboxes, self._by_loop = self._by_loop, weakref.WeakKeyDictionary()
        for loop, mailbox in list(mailboxes.items()):
            try:
                loop.call_soon_threadsafe(mailbox.close)
            except RuntimeError:
                if not loop.is_closed():
                    raise

    def _of(self, loop: asyncio.AbstractEventLoop) -> LoopMailbox:
        with self._lock:
            for other in [known for known in self._by_loop if known.is_closed()]:
                del self._by_loop[other]
            mailbox = self._by_loop.get(loop)
            if mailbox is None:
                mailbox = self._by_loop[loop] = LoopMailbox(loop)
            return mailbox
