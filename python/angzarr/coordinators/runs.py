"""One term of one partition of a consumer: it reads the log from its place on and delivers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from google.protobuf.message import DecodeError

from angzarr.coordinators.attempts import Attempts
from angzarr.coordinators.delivery import ConsumerSpec, DeliveryOptions
from angzarr.coordinators.entries import NOWHERE, Entry
from angzarr.coordinators.follower import LogFollower, persist
from angzarr.coordinators.lanes import Lanes, Slices
from angzarr.coordinators.pipeline import Sleep
from angzarr.coordinators.places import Place, partition_of
from angzarr.coordinators.subscriptions import Filter, editions_of


class Wanted:
    """Which entries are for one partition of a consumer."""

    def __init__(self, spec: ConsumerSpec, partition: int, count: int) -> None:
        self._spec = spec
        self._filter = Filter(spec.subscriptions)
        self._editions = editions_of(spec.editions)
        self._partition = partition
        self._count = count

    def has_domain(self, domain: str) -> bool:
        """Whether anything of the domain is subscribed."""
        return self._filter.wants(domain)

    def has(self, entry: Entry) -> bool:
        """Whether the entry is for it. What can't be decoded is, since nobody can tell."""
        cover = entry.cover
        if cover is NOWHERE:
            return self._partition == 0
        if self._editions is not None and cover.edition not in self._editions:
            return False
        if self._spec.skips_without_correlation and not cover.correlation_id:
            return False
        if self._count > 1 and partition_of(cover.root, self._count) != self._partition:
            return False
        if self._spec.keeps_positions:
            return self._filter.wants(cover.domain)
        try:
            return self._filter.wants_any(cover.domain, entry.types)
        except DecodeError:
            return self._filter.wants(cover.domain)


class Run:
    """A `Feed` that delivers. cursor: everything up to it is finished.

    place: where its cursor is kept. start: log position that it goes on after. stored: the cursor
    as it was stored last. moved: called when entries were finished.
    """

    def __init__(
        self,
        place: Place,
        wanted: Wanted,
        attempts: Attempts,
        *,
        follower: LogFollower,
        options: DeliveryOptions,
        concurrency: int,
        slices: Slices,
        start: int,
        moved: Callable[[Run], None],
        sleep: Sleep,
    ) -> None:
        self.place = place
        self.name = place.name
        self._wanted = wanted
        self._follower = follower
        self._options = options
        self._moved = moved
        self._sleep = sleep
        self._own = start
        self._is_attached = False
        self._is_over = False
        self._news = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._refilling: asyncio.Task[None] | None = None
        self.attempts = attempts
        self.stored = start
        self.lanes = Lanes(
            attempts.work,
            concurrency=concurrency,
            window=options.window,
            window_bytes=options.window_bytes,
            slices=slices,
            told=self._told,
        )

    @property
    def read(self) -> int:
        """Log position up to which it has seen everything."""
        return max(self._own, self._follower.position) if self._is_attached else self._own

    @property
    def cursor(self) -> int:
        """Log position up to which everything is finished."""
        lowest = self.lanes.lowest()
        return self.read if lowest is None else lowest - 1

    @property
    def is_attached(self) -> bool:
        """Whether it keeps up with the log, and so is fed by the follower."""
        return self._is_attached

    @property
    def is_over(self) -> bool:
        """Whether it was ended."""
        return self._is_over

    @property
    def is_idle(self) -> bool:
        """Whether no delivery runs."""
        return not self.lanes.running_count

    def begin(self) -> None:
        """Read and deliver from now on."""
        self._read_on()

    def end(self) -> None:
        """Start no further delivery. Idempotent."""
        if self._is_over:
            return
        self._own, self._is_attached, self._is_over = self.read, False, True
        self._follower.detach(self)
        self.lanes.end()
        for task in (self._reading, self._refilling):
            if task is not None:
                task.cancel()

    async def ended(self) -> None:
        """Wait, after `end`, for the deliveries that run; they are given up with the wait."""
        tasks = [task for task in (self._reading, self._refilling) if task is not None]
        tasks += self.lanes.tasks()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        except asyncio.CancelledError:  # which has cancelled all of them
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    def wants_domain(self, domain: str) -> bool:
        return self._wanted.has_domain(domain)

    def take(self, entry: Entry) -> bool:
        return not self._wanted.has(entry) or self.lanes.offer(entry)

    def left_behind(self, read: int) -> None:
        self._own, self._is_attached = read, False
        self._read_on()

    def look_again(self) -> None:
        """Notice deliveries that don't end, from time to time (`Lanes.notice_stalls`)."""
        self.lanes.notice_stalls()
        self._news.set()

    def _read_on(self) -> None:
        work = f"{self.name}: reading the log"
        loop = asyncio.get_running_loop()
        self._reading = loop.create_task(persist(work, self._read_step, self._options, self._sleep))

    async def _read_step(self) -> bool:
        """Read a page of the log; True when the follower goes on from here."""
        await self._room()
        entries, seen = await self._follower.log.look(self._own)
        for entry in entries:
            if not self.take(entry):
                return False
            self._own = entry.position
        self._own = seen
        self._is_attached = self._follower.attach(self, is_at_end=not entries)
        return self._is_attached

    async def _room(self) -> None:
        while not self.lanes.make_room():
            self._news.clear()
            await self._news.wait()

    def _told(self) -> None:
        """Entries were finished, or wait."""
        self._moved(self)
        if not self._news.is_set() and self.lanes.is_roomy():
            self._news.set()
        if self.lanes.is_hungry and self._refilling is None and not self._is_over:
            self._refilling = asyncio.get_running_loop().create_task(self._refill())

    async def _refill(self) -> None:
        work = f"{self.name}: reading the log once more"
        await persist(work, self._refill_step, self._options, self._sleep)
        self._refilling = None

    async def _refill_step(self) -> bool:
        """Give streams that got on what they had let go of; True when all have it."""
        hungry = self.lanes.hungry()
        if not hungry:
            return True
        await self._room()
        spilled = [lane.spilled for lane in hungry.values() if lane.spilled is not None]
        entries, seen = await self._follower.log.look(min(spilled) - 1)
        for entry in entries:
            if entry.position > self.read:
                break  # it is still to be offered
            lane = hungry.get(entry.cover.stream)
            if lane is None or lane.spilled is None or entry.position < lane.spilled:
                continue
            if self._wanted.has(entry) and not self.lanes.refill(lane, entry):
                del hungry[lane.key]
        for lane in hungry.values():
            if seen >= self.read:
                self.lanes.refilled(lane)
            else:
                self.lanes.read_past(lane, seen)
        return False
