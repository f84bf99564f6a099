"""No event is ever skipped: an adversary delays commits and reads, loses answers, and stops and
kills consumers, while many write (STO-14, STO-25, STO-26, SAGA-2, PROJ-2, DEP-14).
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from angzarr.coordinators.consumers import ConsumerSpec, Delivery
from angzarr.coordinators.entries import Entry
from angzarr.coordinators.runs import Wanted
from angzarr.cover import Cover
from angzarr.errors import SequenceConflict, StoreUnavailable
from angzarr.ports.components import Subscription
from angzarr.ports.event_store import COMMIT, ROLLBACK
from angzarr.ports.stores import Stores
from angzarr.stores.registry import open_stores
from angzarr.testing.pages import cover_of, page, pages

from .bus import MEMORY_DISK, Bus, Time, spec

SEEDS = {"memory": 24, "rocksdb": 8, "rocksdict": 4}
STREAMS, WRITERS, COMMITS, ROUNDS = 6, 5, 18, 6
PAID = "type.googleapis.com/shop.Paid"


class Adversary:
    """One process's way to a store: everything takes as long as the adversary wants, in any order;
    answers get lost; after `kill` none comes any more.
    """

    def __init__(self, stores: Stores, dice: random.Random, checked: Callable) -> None:
        self._dice = dice
        self._is_dead = False
        self.events = Way(self, stores.events, {"tail": self._short})
        self.positions = Way(self, stores.positions, {"put_cursor": checked})
        self.dead_letters = Way(self, stores.dead_letters, {})

    def kill(self) -> None:
        self._is_dead = True

    async def pause(self) -> None:
        for _ in range(self._dice.choice((0, 0, 1, 2, 5, 20))):
            await asyncio.sleep(0)
        if self._is_dead:
            await asyncio.Event().wait()

    def fail(self, name: str) -> None:
        if name != "append" and self._dice.random() < 0.04:
            raise StoreUnavailable("the adversary", f"{name} was lost")

    async def _short(self, real: Callable, after: int, *, limit: int = 256, wait_s: float = 0.0):
        """Fewer entries than there are, which a store may give, but not none."""
        return await real(after, limit=self._dice.randint(1, limit), wait_s=wait_s)


class Way:
    """A port, as the adversary lets it be seen."""

    def __init__(self, adversary: Adversary, port: object, ways: dict[str, Callable]) -> None:
        self._adversary = adversary
        self._port = port
        self._ways = ways

    def __getattr__(self, name: str) -> object:
        real, way = getattr(self._port, name), self._ways.get(name)

        async def call(*args: object, **more: object) -> object:
            await self._adversary.pause()
            self._adversary.fail(name)
            answer = await (way(real, *args, **more) if way else real(*args, **more))
            await self._adversary.pause()
            self._adversary.fail(name)
            return answer

        return call


@dataclass
class Watched:
    """A consumer's history: (whether it is the end of a delivery, stream, first sequence)."""

    dice: random.Random
    is_flaky: bool
    history: list[tuple[bool, tuple[str, str, bytes], int]] = field(default_factory=list)
    finished: set[int] = field(default_factory=set)

    async def __call__(self, delivery: Delivery) -> None:
        place = delivery.cover.stream, delivery.first
        self.history.append((False, *place))
        for _ in range(self.dice.choice((0, 0, 1, 3))):
            await asyncio.sleep(0)
        if self.is_flaky and self.dice.random() < 0.15:
            raise StoreUnavailable("elsewhere", "a handler's call failed")
        self.history.append((True, *place))
        self.finished.add(delivery.position)


class Scene:
    """The whole: writers and consumers on one store, and what has to come out."""

    def __init__(self, stores: Stores, seed: int) -> None:
        self.dice = random.Random(seed)
        self.stores = stores
        self.time = Time()
        self.partitions = self.dice.choice((1, 1, 3))
        self.specs: dict[str, ConsumerSpec] = {}
        self.watched: dict[str, Watched] = {}
        self._add("plain")
        self._add("flaky", is_flaky=True)
        self._add("typed", subscriptions=(Subscription("*", ("Paid",)),))
        self._add("ordered", concurrency=1)
        self._add("main", editions=("main",), concurrency=2)
        self._add("projector", keeps_positions=True, is_flaky=True)

    def _add(self, name: str, *, is_flaky: bool = False, **more: object) -> None:
        watched = Watched(self.dice, is_flaky)
        made = spec(watched, name, **({"subscriptions": (Subscription("*"),)} | more))
        self.specs[made.name], self.watched[made.name] = made, watched

    def process(self) -> tuple[Bus, Adversary]:
        """A process with all the consumers, not started."""
        adversary = Adversary(self.stores, self.dice, self.put_cursor)
        bus = Bus(adversary, self.time, window=self.dice.choice((3, 8, 200)), wait_s=0.2)
        options = {"partitions": self.partitions, "max_attempts": 10**9}
        bus.consumers(*self.specs.values(), **options)
        return bus, adversary

    async def put_cursor(self, real: Callable, consumer: str, position: int) -> int:
        """A stored cursor promises that everything below it is finished."""
        name, _, partition = consumer.partition("/")
        number = int(partition.split("of")[0]) if partition else None
        for entry in await self.wanted(name, number):
            assert entry.position > position or entry.position in self.watched[name].finished
        return await real(consumer, position)

    async def wanted(self, name: str, partition: int | None = None) -> list[Entry]:
        """The entries of the log that are for a consumer, or for one of its partitions."""
        count = 1 if partition is None else self.partitions
        wanted = Wanted(self.specs[name], partition or 0, count)
        entries = [Entry(one) for one in await self.stores.events.tail(0, limit=100_000)]
        return [entry for entry in entries if wanted.has(entry)]

    async def write(self, number: int) -> None:
        """One writer's commits, delayed at will."""
        way = Adversary(self.stores, self.dice, self.put_cursor).events
        for commit in range(COMMITS):
            name = f"root-{self.dice.randrange(STREAMS)}"
            edition = self.dice.choice(("", "", "what-if"))
            cover = cover_of(name, domain=self.dice.choice(("order", "stock")), edition=edition)
            cascade_id = f"{number}-{commit}" if self.dice.random() < 0.25 else ""
            await self._append(way, cover, cascade_id)
            if cascade_id:
                await self._decide(cover, cascade_id)

    async def _append(self, way: Way, cover: Cover, cascade_id: str) -> None:
        count = self.dice.randint(1, 3)
        while True:
            first = await self.stores.events.next_sequence(cover)
            made = pages(first, count, cascade_id=cascade_id)
            if self.dice.random() < 0.5:
                made[0] = page(first, type_url=PAID, cascade_id=cascade_id)
            try:
                await way.append(cover, first, made, cascade_id=cascade_id)
                return
            except SequenceConflict:
                continue

    async def _decide(self, cover: Cover, cascade_id: str) -> None:
        for _ in range(self.dice.randrange(60)):
            await asyncio.sleep(0)
        outcome = self.dice.choice((COMMIT, COMMIT, ROLLBACK))
        await self.stores.events.decide_cascade(cascade_id, outcome)
        await self.stores.events.resolve_cascade(cover, cascade_id)

    async def run(self) -> None:
        """Write and consume, with processes that come, stop and are killed."""
        writing = asyncio.gather(*(self.write(number) for number in range(WRITERS)))
        passing = asyncio.create_task(self._pass())
        processes: list[Bus] = []
        for _ in range(ROUNDS):
            bus, adversary = self.process()
            processes.append(bus)
            starting = asyncio.create_task(bus.made[0].start())
            for _ in range(self.dice.randrange(600)):
                await asyncio.sleep(0)
            if self.dice.random() < 0.5:
                adversary.kill()
            elif self.dice.random() < 0.7:
                await starting
                await bus.made[0].stop()
            if not starting.done():
                starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        await writing
        bus, _ = self.process()
        processes.append(bus)
        await bus.made[0].start()
        for name, watched in self.watched.items():
            expected = {entry.position for entry in await self.wanted(name)}
            while not expected <= watched.finished:
                await self.time.advance(0.5)
        await asyncio.gather(*(one.close() for one in processes))
        passing.cancel()

    async def _pass(self) -> None:
        while True:
            await self.time.advance(0.1)


@pytest.mark.spec("STO-14", "STO-25", "STO-26", "STO-46", "STO-50")
@pytest.mark.spec("SAGA-2", "PROJ-2", "PROJ-14", "DEP-14", "OPS-3")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("backend", "seed"), [(name, seed) for name, count in SEEDS.items() for seed in range(count)]
)
async def test_every_consumer_gets_every_commit_in_order_at_least_once(backend, seed):
    require(backend)
    with tempfile.TemporaryDirectory(prefix="angzarr-", dir=MEMORY_DISK) as path:
        url = "memory://" if backend == "memory" else f"{backend}://{path}/store"
        time = Time()
        stores = open_stores(url, clock=time.clock)
        scene = Scene(stores, seed)
        scene.time.clock = time.clock
        await scene.run()
        expected = {name: await scene.wanted(name) for name in scene.specs}
        await stores.close()

    for name, entries in expected.items():
        check(scene.watched[name], entries)


def check(watched: Watched, entries: list[Entry]) -> None:
    """Of each stream every commit was finished, and none begun before all earlier ones were."""
    by_stream: dict[tuple[str, str, bytes], list[int]] = {}
    for entry in entries:
        by_stream.setdefault(entry.cover.stream, []).append(entry.first)
    done: dict[tuple[str, str, bytes], set[int]] = {stream: set() for stream in by_stream}
    for is_end, stream, first in watched.history:
        if is_end:
            done[stream].add(first)
        else:
            earlier = by_stream[stream][: by_stream[stream].index(first)]
            assert done[stream] >= set(earlier)
    assert {stream: sorted(found) for stream, found in done.items()} == by_stream


def require(backend: str) -> None:
    """Skip without the backend's package, or fail where it is required."""
    is_here = backend != "rocksdict" or importlib.util.find_spec("rocksdict")
    if not is_here and not os.environ.get("ANGZARR_REQUIRE_BACKENDS"):
        pytest.skip(f"{backend} is not here")
