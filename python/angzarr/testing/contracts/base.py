"""What every contract stands on: the fixtures, and the ways of asking that claims share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

import pytest

from angzarr.cover import Cover
from angzarr.errors import AngzarrError
from angzarr.ports.event_store import Appended, Duplicate, EventStore, Limits, LogEntry
from angzarr.ports.stores import Stores
from angzarr.stores.registry import open_stores
from angzarr.testing.clock import ManualClock
from angzarr.testing.pages import page, pages, sequences_of


class Opener:
    """Opens the one place of a test, again after closing what was open there.

    open_stores: called with sync, limits and clock. is_durable: the place outlives close(); where
    it does not, opening again gives the same open object, so that claims about reopening hold for
    what such a backend promises.
    """

    def __init__(
        self, open_stores: Callable[..., Stores], clock: ManualClock, *, is_durable: bool
    ) -> None:
        self.is_durable = is_durable
        self._open_stores = open_stores
        self._clock = clock
        self._stores: Stores | None = None

    async def __call__(self, *, limits: Limits | None = None, sync: bool = True) -> Stores:
        """The place's stores, freshly opened; one that is not durable keeps its first limits."""
        if self._stores is not None and not self.is_durable:
            return self._stores
        await self.close()
        self._stores = self._open_stores(sync=sync, limits=limits or Limits(), clock=self._clock)
        return self._stores

    async def close(self) -> None:
        """Close what is open."""
        if self._stores is not None:
            await self._stores.close()


class StoreContract:
    """Base of the contracts. A subclass gives `place`, a store URL, or an `opener` of its own.

    class TestEvents(EventStoreContract):
        @pytest.fixture
        def place(self, tmp_path):
            return f"rocksdb://{tmp_path}/store"

    Tests are coroutines: pytest-asyncio in auto mode runs them.
    """

    @pytest.fixture
    def place(self) -> str:
        """URL of an empty store."""
        raise NotImplementedError("give a `place` fixture with the URL of an empty store")

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The clock that the stores are opened with."""
        return ManualClock()

    @pytest.fixture
    async def opener(self, place: str, clock: ManualClock) -> AsyncIterator[Opener]:
        """Opens the place; closed after the test."""
        is_durable = not place.startswith("memory://")
        opener = Opener(partial(open_stores, place), clock, is_durable=is_durable)
        yield opener
        await opener.close()

    @pytest.fixture
    async def stores(self, opener: Opener) -> Stores:
        """Open stores on an empty place."""
        return await opener()

    @pytest.fixture
    def events(self, stores: Stores) -> EventStore:
        """The event store of `stores`."""
        return stores.events


async def given_pages(
    events: EventStore, cover: Cover, count: int, *, divergence: int | None = None
) -> list[bytes]:
    """Append `count` pages at the head of the stream, 1,000 a time; the pages."""
    first = await events.next_sequence(cover, divergence=divergence)
    made = pages(first, count)
    for start in range(0, count, 1_000):
        batch = made[start : start + 1_000]
        await events.append(cover, first + start, batch, divergence=divergence)
    return made


async def given_pending(
    events: EventStore, cover: Cover, cascade_id: str, count: int = 1
) -> list[bytes]:
    """Append `count` pages of an undecided cascade at the head of the stream; the pages."""
    first = await events.next_sequence(cover)
    made = pages(first, count, cascade_id=cascade_id)
    await events.append(cover, first, made, cascade_id=cascade_id)
    return made


async def given_aged(events: EventStore, cover: Cover, cascade_id: str, created_at_ns: int) -> None:
    """One pending page with a time of its own at the head of the stream."""
    first = await events.next_sequence(cover)
    made = page(first, created_at_ns=created_at_ns, cascade_id=cascade_id)
    await events.append(cover, first, [made], cascade_id=cascade_id)


async def attempt(
    call: Awaitable[Appended | Duplicate],
) -> Appended | Duplicate | AngzarrError:
    """Await an append; its result, or the AngzarrError that it raised."""
    try:
        return await call
    except AngzarrError as error:
        return error


async def whole_log(events: EventStore, after: int = 0) -> list[LogEntry]:
    """Every entry after `after`, read page by page."""
    entries: list[LogEntry] = []
    while batch := await events.tail(after, limit=3):
        entries += batch
        after = batch[-1].position
    return entries


def logged_sequences(entries: Sequence[LogEntry]) -> list[int]:
    """Sequences of all pages of the entries, in log order."""
    return [sequence for entry in entries for sequence in sequences_of(entry.book)]


async def traces_of(stores: Stores, cover: Cover, *, cascade_id: str = "") -> list[object]:
    """All that an append could have left: in the stream, indexes, the log and other stores."""
    events = stores.events
    return [
        await events.load(cover),
        await events.next_sequence(cover),
        await events.divergence(cover),
        await events.pending(cover),
        await events.roots(cover.domain, cover.edition),
        await events.domains(),
        await events.editions(cover.domain),
        await events.by_correlation(cover.correlation_id),
        await events.log_head(),
        await whole_log(events),
        await events.query_cascade_participants(cascade_id),
        await stores.snapshots.get(cover),
        await stores.obligations.due(2**62, limit=100, lease_s=0),
    ]
