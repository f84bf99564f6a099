"""An overlay is a store: over an empty base it keeps every contract but durability."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from angzarr.ports.event_store import Limits
from angzarr.ports.stores import Stores
from angzarr.stores.memory import MemoryStores
from angzarr.stores.overlay import lay_over
from angzarr.testing.clock import ManualClock
from angzarr.testing.contracts import (
    DeadLetterContract,
    EventStoreContract,
    ObligationStoreContract,
    PositionStoreContract,
    SnapshotStoreContract,
)


class OverNothing:
    """The one overlay of a test; opening it again gives it as it is, as with `memory://`."""

    is_durable = False

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._stores: Stores | None = None

    async def __call__(self, *, limits: Limits | None = None, sync: bool = True) -> Stores:
        if self._stores is None:
            base = MemoryStores("", Limits(), self._clock)
            self._stores = await lay_over(base, clock=self._clock, limits=limits)
        return self._stores

    async def close(self) -> None:
        if self._stores is not None:
            await self._stores.close()


class Overlaid:
    @pytest.fixture
    async def opener(self, clock: ManualClock) -> AsyncIterator[OverNothing]:
        opener = OverNothing(clock)
        yield opener
        await opener.close()


class TestEvents(Overlaid, EventStoreContract): ...


class TestSnapshots(Overlaid, SnapshotStoreContract): ...


class TestPositions(Overlaid, PositionStoreContract): ...


class TestObligations(Overlaid, ObligationStoreContract): ...


class TestDeadLetters(Overlaid, DeadLetterContract): ...
