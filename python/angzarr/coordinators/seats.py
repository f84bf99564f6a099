"""Which process works for a consumer: a lease for each of its partitions (DEP-14)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from angzarr.coordinators.delivery import ConsumerSpec, DeliveryOptions
from angzarr.coordinators.places import Place
from angzarr.coordinators.runs import Run
from angzarr.errors import AngzarrError, StoreClosed
from angzarr.ports.clock import Clock
from angzarr.ports.event_store import EventStore
from angzarr.ports.position_store import PositionStore

NS_PER_S = 1_000_000_000

_log = logging.getLogger(__name__)


class Seat:
    """This process's claim to one partition of a consumer. run: what works while it holds the
    lease, and is not paused. last_cursor: where the consumer was, while nothing runs here.

    The lease is counted from before it was asked for, so it ends here before it ends in the store.
    A clock that was set back ends it, too.
    """

    def __init__(
        self,
        spec: ConsumerSpec,
        partition: int,
        *,
        holder: str,
        positions: PositionStore,
        clock: Clock,
        options: DeliveryOptions,
        make_run: Callable[[Seat, int], Run],
    ) -> None:
        self.spec = spec
        self.partition = partition
        self.place = Place(positions, spec.name, partition, options.partitions)
        self.run: Run | None = None
        self.is_paused = False
        self.last_cursor = 0
        self._holder = holder
        self._positions = positions
        self._clock = clock
        self._options = options
        self._make_run = make_run
        self._asked_ns = 0
        self._until_ns = 0
        self._beginning: asyncio.Task[None] | None = None

    def is_held(self) -> bool:
        """Whether the lease is this process's now."""
        return self._asked_ns <= self._clock.now_ns() < self._until_ns

    @property
    def is_leading(self) -> bool:
        """Whether it works for the partition."""
        return self.run is not None and not self.run.is_over

    def may_work(self) -> bool:
        """As `is_held`; when it is not, the run ends."""
        if self.is_held():
            return True
        if self.run is not None:
            self.run.end()
        return False

    async def renew(self, events: EventStore) -> None:
        """Ask for the lease, or for more of it, and begin or end to work accordingly.

        An error of the store is logged; the lease then lasts as long as it did. Raises StoreClosed.
        """
        try:
            await self._ask()
            if self.run is not None and self.run.is_over:
                # What still runs of the last term goes first: one entry is worked on once a time.
                if not self.run.is_idle:
                    return
                self.run = None
            if self.run is not None:
                return
            if self.is_held() and not self.is_paused:
                await self._begin(events)
            else:
                self.last_cursor = await self.place.stored() or 0
        except StoreClosed:
            raise
        except AngzarrError as error:
            _log.warning("the lease of %s was not renewed: %s", self.place.name, error)
            self.may_work()

    async def begin_not(self) -> None:
        """Let go of a run that is about to begin."""
        beginning, self._beginning = self._beginning, None
        if beginning is not None:
            beginning.cancel()
            await asyncio.gather(beginning, return_exceptions=True)

    async def give_back(self) -> None:
        """Let others have the lease at once."""
        if self._until_ns:
            self._until_ns = 0
            await self._positions.lease(self.spec.name, self.partition, self._holder, 0)

    async def _ask(self) -> None:
        asked_ns, ttl_s = self._clock.now_ns(), self._options.lease_s
        is_ours = await self._positions.lease(self.spec.name, self.partition, self._holder, ttl_s)
        self._asked_ns = asked_ns
        self._until_ns = asked_ns + int(ttl_s * NS_PER_S) if is_ours else 0
        if not self.may_work() and self.run is not None:
            why = "ran out before it was renewed" if is_ours else "is another process's now"
            _log.warning("the lease of %s %s", self.place.name, why)

    async def _begin(self, events: EventStore) -> None:
        if self.spec.begin is None:
            await self._go_on(events)
        elif self._beginning is None or self._beginning.done():
            work = self._prepare(self.spec.begin, events)
            self._beginning = asyncio.get_running_loop().create_task(work)

    async def _prepare(self, begin: Callable[[], Awaitable[None]], events: EventStore) -> None:
        """Begin beside the renewing of leases, which must not wait for it; the next renewal tries
        again.
        """
        try:
            await begin()
            await self._go_on(events)
        except StoreClosed:
            _log.info("%s does not begin: the store is closed", self.place.name)
        except AngzarrError as error:
            _log.warning("%s can't begin, and tries it again: %s", self.place.name, error)
        except Exception:
            _log.exception("%s failed to begin, and tries it again", self.place.name)

    async def _go_on(self, events: EventStore) -> None:
        start = await self.place.start(events, from_now=self.spec.from_now)
        if self.run is None and self.is_held() and not self.is_paused:
            self.run = self._make_run(self, start)
            self.run.begin()
