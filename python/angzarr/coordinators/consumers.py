"""The in-process bus on the log: every consumer gets every commit it subscribed, in order, at least
once (STO-25 to STO-27).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from angzarr.coordinators.attempts import Attempts, Marks
from angzarr.coordinators.cursors import Cursors
from angzarr.coordinators.delivery import ConsumerSpec, Deliver, Delivery, DeliveryOptions
from angzarr.coordinators.follower import LogFollower, persist
from angzarr.coordinators.lanes import Slices
from angzarr.coordinators.pipeline import Sleep, real_sleep
from angzarr.coordinators.runs import Run, Wanted
from angzarr.coordinators.seats import Seat
from angzarr.coordinators.turns import Turns
from angzarr.cover import Cover
from angzarr.errors import AngzarrError, InvalidInput, NotPermitted, StoreClosed
from angzarr.ports.clock import Clock
from angzarr.ports.dead_letters import DeadLetterQueue
from angzarr.ports.stores import Stores

__all__ = ["ConsumerSpec", "ConsumerState", "Consumers", "Deliver", "Delivery", "DeliveryOptions"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """How a consumer is doing, as far as this process knows.

    position: its cursor; of partitions, the lowest. lag: pages between it and the newest position
    that was seen. partitions: those that this process leads; none is standing by. waiting: streams
    whose next delivery waits, after a failure or for a request. last_error: "" without one.
    """

    position: int
    lag: int
    partitions: tuple[int, ...]
    waiting: int
    last_error: str

    @property
    def is_leading(self) -> bool:
        """Whether this process works for it."""
        return bool(self.partitions)


class Consumers:
    """Feeds consumers from the log of one store.

    turns: shared with the requests of this process. holder: names this process in leases, "" is a
    name of its own each time; a process that is the only one to open its store gives the same name
    after a restart, so that it need not wait for its old leases to end. dead_letters: those of the
    store unless given. sleep: waits, in seconds. It is used by one event loop.
    """

    def __init__(
        self,
        stores: Stores,
        clock: Clock,
        turns: Turns,
        *,
        options: DeliveryOptions | None = None,
        holder: str = "",
        dead_letters: DeadLetterQueue | None = None,
        sleep: Sleep = real_sleep,
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._turns = turns
        self._options = options = options or DeliveryOptions()
        self._holder = holder or str(uuid.uuid4())
        self._dead_letters = dead_letters or stores.dead_letters
        self._sleep = sleep
        self._follower = LogFollower(stores.events, options=options, sleep=sleep)
        self._cursors = Cursors(options=options, sleep=sleep)
        self._marks = Marks(stores.positions)
        self._slices = Slices()
        self._specs: dict[str, ConsumerSpec] = {}
        self._seats: dict[str, list[Seat]] = {}
        self._leading: asyncio.Task[None] | None = None
        self._resetting = asyncio.Lock()

    def add(self, spec: ConsumerSpec) -> None:
        """Feed a consumer, from the next `start` on. Raises InvalidInput for a name that is taken,
        or one without subscriptions.
        """
        if spec.name in self._specs:
            raise InvalidInput("consumer", "one of a name", spec.name)
        if not spec.subscriptions:
            raise InvalidInput(f"{spec.component}.subscriptions", "at least one", "none")
        self._specs[spec.name] = spec
        self._seats[spec.name] = [
            Seat(
                spec,
                partition,
                holder=self._holder,
                positions=self._stores.positions,
                clock=self._clock,
                options=self._options,
                make_run=self._make_run,
            )
            for partition in range(self._options.partitions)
        ]

    async def remove(self, consumer: str) -> None:
        """Feed it no more: its deliveries are over, its cursor is stored and others may have its
        leases when it returns. Raises InvalidInput for an unknown one.
        """
        seats = self._seats_of(consumer)
        del self._seats[consumer], self._specs[consumer]
        await self._vacate(seats)

    async def start(self) -> None:
        """Begin to deliver. Consumers whose lease another process has stand by.

        Once started, it begins with those that were added meanwhile.
        """
        self._follower.start()
        self._cursors.start()
        if self._leading is None:
            self._leading = asyncio.get_running_loop().create_task(
                persist("leasing consumers", self._lead, self._options, self._sleep)
            )
        await self._renew([seat for seat in self._all_seats() if seat.run is None])

    async def stop(self) -> None:
        """Start no further delivery, wait for those that run, store the cursors, and give the
        leases back (OPS-3). Idempotent; `start` goes on from there.

        A cursor that can't be stored is logged: what came after the last one is delivered again.
        """
        leading, self._leading = self._leading, None
        if leading is None:
            return
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
        await self._follower.stop()
        try:
            await self._vacate(self._all_seats())
        finally:
            await self._cursors.stop()

    async def advance(self, consumer: str, cover: Cover, sequence: int) -> None:
        """The consumer's reaction to the commit of the stream that ends with page `sequence` is
        done: the log does not deliver it. Durable on return (SYNC-3).

        It need not be fed here. Pages below that commit are delivered all the same, as they may be
        on their way still.
        """
        await self._marks.put(consumer, cover, sequence)

    async def reset(
        self, consumer: str, between: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Forget the consumer's positions and cursor, and deliver the log from its beginning.

        Deliveries that ran before are over when it returns. between: called while nothing is
        delivered, before the positions are forgotten; what it raises leaves them as they are.
        Raises InvalidInput for an unknown consumer, NotPermitted while another process leads it.
        """
        async with self._resetting:
            seats = self._seats_of(consumer)
            for seat in seats:
                seat.is_paused = True
            try:
                await self._renew(seats)
                if not all(seat.is_held() for seat in seats):
                    raise NotPermitted(
                        f"{consumer} is led by another process; reset it there, or stop that one"
                    )
                await asyncio.gather(*map(self._leave, seats))
                if between is not None:
                    await between()
                await seats[0].place.reset()
                for seat in seats:
                    seat.last_cursor = 0
            finally:
                for seat in seats:
                    seat.is_paused = False
            await (self._vacate(seats) if self._leading is None else self._renew(seats))

    async def redeliver(self, consumer: str, book: bytes) -> None:
        """Deliver the book of a dead letter once more, to the consumer of this name or of this
        component (DLQ-8). What the delivery raises is raised. Raises InvalidInput for an unknown
        one, CorruptData for a book that does not parse.
        """
        names = [s.name for s in self._specs.values() if consumer in (s.name, s.component)]
        seat = self._seats_of(names[0] if names else consumer)[0]
        await self._attempts(seat).redeliver(book)

    def lag(self, consumer: str) -> int:
        """Pages between the consumer's cursor and the newest position that was seen (PROJ-6)."""
        return self._state(self._seats_of(consumer)).lag

    def states(self) -> Mapping[str, ConsumerState]:
        """How each consumer is doing, by name."""
        return {name: self._state(seats) for name, seats in self._seats.items()}

    def _state(self, seats: list[Seat]) -> ConsumerState:
        runs = [(seat, seat.run) for seat in seats if seat.run is not None]
        cursors = [seat.run.cursor if seat.run else seat.last_cursor for seat in seats]
        head = max(self._follower.head, *(run.read for _, run in runs), 0)
        errors = [run.attempts.last_error for _, run in runs if run.attempts.last_error]
        return ConsumerState(
            position=min(cursors),
            lag=max(head - min(cursors), 0),
            partitions=tuple(seat.partition for seat in seats if seat.is_leading),
            waiting=sum(run.lanes.waiting_count for _, run in runs),
            last_error=errors[0] if errors else "",
        )

    async def _lead(self) -> bool:
        await self._sleep(self._options.lease_s / 3)
        seats = self._all_seats()
        for seat in seats:
            if seat.run is not None:
                seat.run.look_again()
        await self._renew(seats)
        await self._cursors.store_all(seat.run for seat in seats if seat.run is not None)
        for seat in seats:
            await seat.place.share()
        return False

    async def _renew(self, seats: list[Seat]) -> None:
        await asyncio.gather(*(seat.renew(self._stores.events) for seat in seats))

    async def _vacate(self, seats: list[Seat]) -> None:
        """Leave the seats, and let others have them."""
        await asyncio.gather(*map(self._leave, seats))
        for seat in seats:
            await self._logged(seat.place.share)
        await asyncio.gather(*(self._logged(seat.give_back) for seat in seats))

    async def _leave(self, seat: Seat) -> None:
        """End the seat's run, and store what it finished."""
        await seat.begin_not()
        run = seat.run
        if run is None:
            return
        run.end()
        await run.ended()
        await self._logged(lambda: self._cursors.store(run))
        seat.last_cursor, seat.run = run.cursor, None

    async def _logged(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except AngzarrError as error:
            level = logging.INFO if isinstance(error, StoreClosed) else logging.WARNING
            _log.log(level, "not stored at the stop, so some is delivered again: %s", error)

    def _make_run(self, seat: Seat, start: int) -> Run:
        spec, options = seat.spec, self._options
        return Run(
            seat.place,
            Wanted(spec, seat.partition, options.partitions),
            self._attempts(seat),
            follower=self._follower,
            options=options,
            concurrency=spec.concurrency,
            slices=self._slices,
            start=start,
            moved=self._cursors.moved,
            sleep=self._sleep,
        )

    def _attempts(self, seat: Seat) -> Attempts:
        return Attempts(
            seat.spec,
            positions=self._stores.positions,
            dead_letters=self._dead_letters,
            clock=self._clock,
            turns=self._turns,
            options=self._options,
            sleep=self._sleep,
            may_work=seat.may_work,
        )

    def _seats_of(self, consumer: str) -> list[Seat]:
        if consumer not in self._seats:
            known = ", ".join(sorted(self._seats)) or "none"
            raise InvalidInput("consumer", f"one of: {known}", consumer)
        return self._seats[consumer]

    def _all_seats(self) -> list[Seat]:
        return [seat for seats in self._seats.values() for seat in seats]
