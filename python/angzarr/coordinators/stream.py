"""Live streams: what is published from now on, by correlation id (QRY-20 to QRY-22)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator

from angzarr import wire
from angzarr.coordinators import books, validate
from angzarr.coordinators.options import StreamOptions
from angzarr.errors import AngzarrError, InvalidInput, Overloaded, StoreClosed
from angzarr.ports.components import CallContext
from angzarr.ports.event_store import EventStore, LogEntry

_log = logging.getLogger(__name__)


class Subscription:
    """One subscriber's bounded buffer of books; iterate it, close it."""

    def __init__(self, owner: StreamCoordinator, correlation_id: str, buffer: int) -> None:
        self._owner = owner
        self.correlation_id = correlation_id
        self.after = 0
        self._buffer_max = buffer
        self._books: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._end: AngzarrError | None = None
        self._is_closed = False

    def offer(self, book: bytes) -> None:
        """Take a book; a full buffer ends the subscription, what is in it being delivered first."""
        if self._end is not None:
            return
        if len(self._books) >= self._buffer_max:
            self.fail(Overloaded("subscriber's buffer", self._buffer_max))
            return
        self._books.append(book)
        self._news.set()

    def fail(self, error: AngzarrError) -> None:
        """End it with `error`."""
        self._end = self._end or error
        self._owner.forget(self)
        self._news.set()

    def close(self) -> None:
        """End it without an error. Idempotent."""
        self._is_closed = True
        self._owner.forget(self)
        self._news.set()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> bytes:
        while not self._books:
            if self._end is not None:
                raise self._end
            if self._is_closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._books.popleft()


class StreamCoordinator:
    """Serves EventStreamService: one task follows the log and hands its books to those who wait for
    them.
    """

    def __init__(self, events: EventStore, *, options: StreamOptions | None = None) -> None:
        self._events = events
        self._options = options or StreamOptions()
        self._by_id: dict[str, list[Subscription]] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_wanted = asyncio.Event()
        self._from = 0

    async def start(self) -> None:
        """Follow the log from its present end. Idempotent."""
        if self._task is None:
            position = await self._events.log_head()
            self._task = asyncio.get_running_loop().create_task(self._follow(position))

    async def stop(self) -> None:
        """Stop following and end all subscriptions. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for subscription in self._subscriptions():
            subscription.close()

    async def open(self, request: bytes) -> Subscription:
        """EventStreamFilter → the books published from now on with its correlation id, in log
        order.

        Raises InvalidInput for an empty id, or one outside CMD-2. It is registered before anything
        is awaited.
        """
        correlation_id = books.parse(wire.EventStreamFilter, request).correlation_id
        if not correlation_id:
            raise InvalidInput("correlation_id", "not empty", correlation_id)
        validate.partial_cover(wire.Cover(correlation_id=correlation_id))
        subscription = Subscription(self, correlation_id, self._options.subscriber_buffer)
        self._by_id.setdefault(correlation_id, []).append(subscription)
        try:
            subscription.after = await self._events.log_head()  # what is older is history
        except BaseException:
            subscription.close()
            raise
        if not self._is_wanted.is_set():
            self._from = subscription.after
            self._is_wanted.set()
        return subscription

    async def subscribe(self, request: bytes, context: CallContext) -> AsyncGenerator[bytes, None]:
        """As open(), as one stream; its first step registers it. Overloaded when the reader is too
        slow.
        """
        subscription = await self.open(request)
        try:
            async for book in subscription:
                yield book
        finally:
            subscription.close()

    def publish(self, book: bytes) -> None:
        """Deliver a book that is in no log, such as a projection (QRY-23), to those who wait for
        its correlation id now.
        """
        correlation_id = wire.EventBook.FromString(book).cover.correlation_id
        for subscription in tuple(self._by_id.get(correlation_id, ())):
            subscription.offer(book)

    def forget(self, subscription: Subscription) -> None:
        """Deliver nothing more to it."""
        found = self._by_id.get(subscription.correlation_id, [])
        if subscription in found:
            found.remove(subscription)
        if not found:
            self._by_id.pop(subscription.correlation_id, None)

    async def _follow(self, position: int) -> None:
        while True:
            if not self._by_id:
                # Nobody to tell: the log is left alone, so that commands pay nothing for this.
                self._is_wanted.clear()
                await self._is_wanted.wait()
                position = self._from
            try:
                entries = await self._events.tail(position, wait_s=self._options.wait_s)
            except AngzarrError as error:
                # Nobody may miss a book silently: they hear of it, and come back.
                for subscription in self._subscriptions():
                    subscription.fail(error)
                if isinstance(error, StoreClosed):
                    return
                _log.warning("following the log failed: %s", error)
                await asyncio.sleep(self._options.retry_s)
                continue
            for entry in entries:
                position = entry.position
                self._deliver(entry)

    def _deliver(self, entry: LogEntry) -> None:
        correlation_id = wire.EventBook.FromString(entry.book).cover.correlation_id
        for subscription in tuple(self._by_id.get(correlation_id, ())):
            if entry.position > subscription.after:
                subscription.offer(entry.book)

    def _subscriptions(self) -> list[Subscription]:
        return [item for found in self._by_id.values() for item in found]
