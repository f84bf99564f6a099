"""The bus on the log: writers beside consumers that keep up, lag, or are stuck for ever."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from angzarr.coordinators.consumers import Consumers, ConsumerSpec, Delivery
from angzarr.coordinators.turns import Turns
from angzarr.ports.clock import SystemClock
from angzarr.ports.components import Subscription
from angzarr.ports.stores import Stores
from benches.harness import OURS, Bench, Run, Target, scratch
from benches.pages import DOMAIN, PAGES, fresh
from benches.stores import IN_FLIGHT, Loop, opened

CONSUMERS = 100
WARM_S = 0.5
"""The stuck one has filled its window by then."""
MEASURED_S = 3.0
"""Of each run. Beside 100 consumers a second's rate varies by a third, whether or not one is stuck:
they are behind, and what they catch up with they take from the writers.
"""
ALONE_S = 1.0


@contextlib.asynccontextmanager
async def consuming(
    stores: Stores, deliver: Callable[[int], Callable[[Delivery], Awaitable[None]]]
) -> AsyncIterator[Consumers]:
    """100 new consumers of every event; `deliver` says how each of them handles one."""
    consumers = Consumers(stores, SystemClock(), Turns())
    names = uuid.uuid4().hex[:8]
    for number in range(CONSUMERS):
        component = f"{names}-{number}"
        consumers.add(
            ConsumerSpec(
                name=f"saga-{component}",
                component=f"saga:{component}",
                component_type="saga",
                subscriptions=(Subscription(DOMAIN),),
                deliver=deliver(number),
                from_now=True,
            )
        )
    await consumers.start()
    try:
        yield consumers
    finally:
        await consumers.stop()


async def write(stores: Stores, seconds: float) -> float:
    """Durable appends per second of 64 writers, each with a stream of its own."""
    until = time.perf_counter() + seconds
    count = 0

    async def work() -> None:
        nonlocal count
        append = stores.events.append
        while True:
            cover = fresh()
            for sequence, page in enumerate(PAGES):
                if time.perf_counter() > until:
                    return
                await append(cover, sequence, (page,))
                count += 1

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return count / (time.perf_counter() - began)


async def beside(stores: Stores, stuck: Callable[[int], bool]) -> float:
    """The writers' rate beside consumers, of which some are stuck until it is measured."""
    over = asyncio.Event()

    async def handled(_: Delivery) -> None:
        """Nothing is the least that a consumer does."""

    async def held(_: Delivery) -> None:
        await over.wait()

    async with consuming(stores, lambda number: held if stuck(number) else handled):
        await write(stores, WARM_S)
        figure = await write(stores, MEASURED_S)
        over.set()
    return figure


@contextlib.contextmanager
def stuck() -> Iterator[dict[str, Run]]:
    with scratch() as folder, contextlib.closing(Loop()) as loop:
        with opened("rocksdb", folder, loop) as stores:
            # Which of the 100 is stuck must not matter.
            numbers = itertools.cycle((0, CONSUMERS - 1, CONSUMERS // 2))

            def one_stuck() -> float:
                number = next(numbers)
                return loop(beside(stores, lambda other: other == number))

            yield {
                OURS: one_stuck,
                "all healthy": lambda: loop(beside(stores, lambda _: False)),
                "no consumers": lambda: loop(write(stores, ALONE_S)),
            }


BENCHES = [
    Bench(
        "stuck",
        "durable append, 64 in flight, beside 100 consumers of which one is stuck",
        "appends/s",
        "bus",
        stuck,
        (Target("all healthy", 0.95),),
        rounds=15,
    ),
]
