"""A log to publish to, consumers that record what they get, and time that the test owns."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path

from angzarr import wire
from angzarr.coordinators.consumers import Consumers, ConsumerSpec, Delivery, DeliveryOptions
from angzarr.coordinators.turns import Turns
from angzarr.cover import Cover
from angzarr.ports.components import Subscription
from angzarr.ports.stores import Stores
from angzarr.testing.clock import NS_PER_S, ManualClock
from angzarr.testing.pages import cover_of, pages

MEMORY_DISK = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""What is only written to be read again needs no real disk."""
ALICE, BOB = cover_of("alice"), cover_of("bob")


class Time:
    """A clock and a sleep that move only by `advance`. delays: what was slept, in seconds."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.delays: list[float] = []
        self._sleeping: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    async def sleep(self, delay_s: float) -> None:
        self.delays.append(delay_s)
        due_ns = self.clock.now_ns() + round(delay_s * NS_PER_S)
        future = asyncio.get_running_loop().create_future()
        entry = (due_ns, next(self._numbers), future)
        self._sleeping.append(entry)
        try:
            await future
        finally:
            self._sleeping.remove(entry)

    async def advance(self, seconds: float) -> None:
        """Let time go by, whatever is due on the way being done."""
        end_ns = self.clock.now_ns() + round(seconds * NS_PER_S)
        await turns()
        while due := [entry for entry in self._sleeping if entry[0] <= end_ns]:
            due_ns, _, future = min(due, key=lambda entry: entry[:2])
            self.clock.set(max(due_ns, self.clock.now_ns()))
            if not future.done():
                future.set_result(None)
            await turns()
        self.clock.set(end_ns)
        await turns()


async def turns(count: int = 40) -> None:
    """Let everything run that can, as far as it needs no other thread."""
    for _ in range(count):
        await asyncio.sleep(0)


class Recorder:
    """A consumer's handler. got: what it was given, failed attempts included; done: what it
    finished. fault: called with each delivery; what it returns is awaited, what it raises raised.
    """

    def __init__(self, fault: Callable[[Delivery], Awaitable[None] | None] | None = None) -> None:
        self.fault = fault
        self.got: list[Delivery] = []
        self.done: list[Delivery] = []
        self._news = asyncio.Event()

    async def __call__(self, delivery: Delivery) -> None:
        self.got.append(delivery)
        self._tell()
        if self.fault is not None:
            waiting = self.fault(delivery)
            if waiting is not None:
                await waiting
        self.done.append(delivery)
        self._tell()

    async def until(self, is_enough: Callable[[Recorder], bool] | int) -> None:
        """Wait until so many deliveries are done, or until what is asked holds."""
        while not (len(self.done) >= is_enough if isinstance(is_enough, int) else is_enough(self)):
            self._news.clear()
            await self._news.wait()

    @property
    def sequences(self) -> list[int]:
        """First sequences of what is done."""
        return [delivery.first for delivery in self.done]

    def of(self, cover: Cover) -> list[int]:
        """First sequences of what is done of one stream."""
        return [d.first for d in self.done if d.cover.stream == cover.stream]

    def _tell(self) -> None:
        self._news.set()


class Bus:
    """One process on a store: what it started is stopped by `close`."""

    def __init__(self, stores: Stores, time: Time, **options: object) -> None:
        self.stores = stores
        self.time = time
        self.turns = Turns()
        self.made: list[Consumers] = []
        self.options = options

    def consumers(self, *specs: ConsumerSpec, holder: str = "", **options: object) -> Consumers:
        """Consumers with these specs, not started."""
        made = Consumers(
            self.stores,
            self.time.clock,
            self.turns,
            options=DeliveryOptions(**(self.options | options)),
            holder=holder,
            sleep=self.time.sleep,
        )
        for one in specs:
            made.add(one)
        self.made.append(made)
        return made

    async def start(self, *specs: ConsumerSpec, **more: object) -> Consumers:
        made = self.consumers(*specs, **more)
        await made.start()
        return made

    async def publish(self, cover: Cover = ALICE, count: int = 1) -> None:
        """One commit of `count` pages at the head of the stream."""
        first = await self.stores.events.next_sequence(cover)
        await self.stores.events.append(cover, first, pages(first, count))

    async def letters(self) -> list[wire.AngzarrDeadLetter]:
        """Dead letters, oldest first."""
        letters = await self.stores.dead_letters.list(limit=1000)
        return [wire.AngzarrDeadLetter.FromString(item.letter) for item in reversed(letters)]

    async def close(self) -> None:
        """Stop what was started, also what a test has left stuck."""
        for made in self.made:
            stopping = asyncio.create_task(made.stop())
            await asyncio.wait([stopping], timeout=0.1)
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)


def spec(
    deliver: Callable[[Delivery], Awaitable[None]],
    name: str = "shipping",
    *,
    kind: str = "saga",
    domain: str = "account",
    subscriptions: tuple[Subscription, ...] | None = None,
    **more: object,
) -> ConsumerSpec:
    """A saga that subscribes to a domain, unless told otherwise."""
    return ConsumerSpec(
        name=f"{kind}-{name}",
        component=f"{kind}:{name}",
        component_type=kind,
        subscriptions=subscriptions or (Subscription(domain),),
        deliver=deliver,
        **more,
    )


def projector(deliver: Callable[[Delivery], Awaitable[None]], **more: object) -> ConsumerSpec:
    """A projector, which keeps its positions itself."""
    return spec(deliver, "orders", kind="projector", keeps_positions=True, **more)
