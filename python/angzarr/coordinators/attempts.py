"""One consumer's attempts at its entries: delivered, tried again, or given up on durably (DLQ-3 to
DLQ-5).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from angzarr.coordinators import letters
from angzarr.coordinators.delivery import ConsumerSpec, Delivery, DeliveryOptions, is_transient
from angzarr.coordinators.entries import Entry
from angzarr.coordinators.lanes import Item, Wait
from angzarr.coordinators.pipeline import Sleep
from angzarr.coordinators.subscriptions import Filter
from angzarr.coordinators.turns import Turns
from angzarr.cover import Cover
from angzarr.errors import AngzarrError, CorruptData, StoreUnavailable
from angzarr.ports.clock import Clock
from angzarr.ports.dead_letters import DeadLetterQueue
from angzarr.ports.event_store import LogEntry
from angzarr.ports.position_store import PositionStore

_log = logging.getLogger(__name__)


class Marks:
    """Commits whose reactions ran within a request, so that the log passes them over (SYNC-3).

    A mark names one commit by its last page. A stream position could not: pages below may be on
    their way still, because the log lags, or because a cascade holds them.
    """

    def __init__(self, positions: PositionStore) -> None:
        self._positions = positions

    async def put(self, consumer: str, cover: Cover, last: int) -> None:
        """Mark the commit that ends with page `last`; durable on return."""
        await self._positions.put(_mark(consumer, last), cover, last)

    async def has(self, consumer: str, cover: Cover, last: int) -> bool:
        """Whether it is marked."""
        return await self._positions.get(_mark(consumer, last), cover) is not None


def _mark(consumer: str, last: int) -> str:
    return f"{consumer}/done/{last}"


class Attempts:
    """Works on the entries of one consumer; `work` is what its lanes call.

    may_work: asked before each attempt; when it is False nothing is done any more.
    """

    def __init__(
        self,
        spec: ConsumerSpec,
        *,
        positions: PositionStore,
        dead_letters: DeadLetterQueue,
        clock: Clock,
        turns: Turns,
        options: DeliveryOptions,
        sleep: Sleep,
        may_work: Callable[[], bool],
    ) -> None:
        self._spec = spec
        self._filter = Filter(spec.subscriptions)
        self._marks = Marks(positions)
        self._dead_letters = dead_letters
        self._clock = clock
        self._turns = turns
        self._options = options
        self._sleep = sleep
        self._may_work = may_work
        self.last_error = ""

    async def work(self, item: Item) -> Wait | None:
        """One attempt at the entry: None when it is finished, else what to wait for."""
        if not self._may_work():
            return _never
        try:
            return await self._attempt(item)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return await self._failed(item, error)  # something else was cancelled, not this
        except Exception as error:
            return await self._failed(item, error)

    async def redeliver(self, book: bytes) -> None:
        """Deliver the book of a dead letter once more; what it raises is raised."""
        entry = Entry(LogEntry(0, 0, book))
        self._check(entry)
        delivery = Delivery(entry.cover, book, entry.first, entry.last, 0, is_redelivered=True)
        async with self._turn(entry):
            await self._spec.deliver(delivery)

    async def _attempt(self, item: Item) -> Wait | None:
        spec, entry = self._spec, item.entry
        self._check(entry)
        if not (spec.keeps_positions or item.is_settled):
            item.is_settled = True  # pages that are there already are not written again
            if not self._turns.is_settled(spec.name, entry.cover, entry.last):
                return partial(self._turns.settled, spec.name, entry.cover, entry.first, entry.last)
        async with self._turn(entry):
            await self._deliver(item)
        return None

    async def _deliver(self, item: Item) -> None:
        spec, entry = self._spec, item.entry
        if item.letter_id:
            await self._let_go(item)
            return
        if not spec.keeps_positions and await self._marks.has(spec.name, entry.cover, entry.last):
            return
        book = self._book(entry)
        if book is not None:
            await spec.deliver(_delivery(item, book))

    def _book(self, entry: Entry) -> bytes | None:
        """What the consumer is given of the entry; None for nothing."""
        if self._spec.keeps_positions or self._filter.wants_all(entry.cover.domain, entry.types):
            return entry.book
        return self._filter.book(entry.book)

    def _turn(self, entry: Entry) -> AbstractAsyncContextManager[None]:
        name = self._spec.name
        if self._spec.keeps_positions:
            return self._turns.alone(name, entry.cover)
        return self._turns.book(name, entry.cover, entry.first)

    def _check(self, entry: Entry) -> None:
        if not entry.is_decodable:
            where = f"log position {entry.position}"
            raise CorruptData(where, f"{entry.size_bytes} bytes that do not parse", "an EventBook")

    async def _failed(self, item: Item, error: BaseException) -> Wait | None:
        """Try again later, or write a dead letter; the entry is finished only when that is
        durable.
        """
        item.failures += 1
        self._note(item, error)
        # A store or a read model out of reach is no fault of the delivery (DLQ-3, PROJ-18).
        is_lost = isinstance(error, StoreUnavailable) or self._options.on_poison == "block"
        is_over = not is_transient(error) or item.failures >= self._options.max_attempts
        if item.letter_id or not is_over or is_lost:
            return self._later(item)
        try:
            item.letter_id = await self._dead_letters.put(self._letter(item, error))
            _log.error(
                "%s gave up on %s after %d attempts: dead letter %s",
                self._spec.component,
                _place(item.entry),
                item.failures,
                item.letter_id,
            )
            await self._let_go(item)
        except Exception as failure:
            # Nothing is acknowledged: the delivery is tried again until one of both succeeds.
            self._note(item, failure)
            return self._later(item)
        return None

    async def _let_go(self, item: Item) -> None:
        """Tell the consumer that the entry's dead letter is durable."""
        if self._spec.gave_up is not None and item.entry.is_decodable:
            await self._spec.gave_up(_delivery(item, self._book(item.entry) or b""))

    def _letter(self, item: Item, error: BaseException) -> bytes:
        spec, entry = self._spec, item.entry
        book = self._book(entry) if entry.is_decodable else None
        return letters.delivery_letter(
            book or entry.book,
            _text(error),
            attempts=item.failures,
            is_transient=is_transient(error),
            component=spec.component,
            component_type=spec.component_type,
            now_ns=self._clock.now_ns(),
        )

    def _later(self, item: Item) -> Wait:
        return partial(self._sleep, self._options.delay_s(item.failures))

    def _note(self, item: Item, error: BaseException) -> None:
        self.last_error = f"{_place(item.entry)}: {_text(error)}"
        is_defect = not isinstance(error, AngzarrError)
        _log.warning(
            "%s failed on %s, attempt %d: %s",
            self._spec.component,
            _place(item.entry),
            item.failures,
            _text(error),
            exc_info=error if is_defect else None,
        )


async def _never() -> None:
    """What an entry waits for whose consumer has lost its lease: its lanes are over by now."""


def _delivery(item: Item, book: bytes) -> Delivery:
    entry = item.entry
    return Delivery(entry.cover, book, entry.first, entry.last, entry.position, item.failures + 1)


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _place(entry: Entry) -> str:
    cover = entry.cover
    correlation = f", correlation id {cover.correlation_id}" if cover.correlation_id else ""
    return f"log position {entry.position} ({cover}{correlation})"
