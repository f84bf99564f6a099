"""Saga hops: from an event to the accepted, durable command in the other aggregate.

64 callers each write to a stream of their own over the public API, and send the next command when
the hop of the last one is done, so 64 hops are under way at all times. The commands that cause the
hops run in the same process, and are part of what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import statistics
import sys
import uuid
from collections.abc import AsyncIterator, Iterator

from angzarr import App
from angzarr.coordinators.entries import cover_in
from angzarr.gathering import give_way
from angzarr.ports.event_store import EventStore
from benches import hops_app
from benches.harness import OURS, Bench, Run, Target, rate, scratch
from benches.hops_app import Order, Pay, Shipment
from benches.peers import process
from benches.stores import IN_FLIGHT, Loop

EACH = 50
"""Hops of each stream in a round."""
HOPS = EACH * IN_FLIGHT
HOPS_PER_S_LEAST = 2_000
WITHOUT_SAGA = "*,-saga:shipping"
HERE = pathlib.Path(__file__).resolve().parent
LOOK_S = 0.001
"""How long the others work between two looks at what has arrived, which share the process with
them."""


class Arrivals:
    """Sees what is durable in the log, and tells who waits for a hop to a root."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self._grown = asyncio.Event()
        self._count = 0

    def hop_to(self, root: bytes) -> asyncio.Future[None]:
        """Done when the next event of the shipment is in the log."""
        future = self._waiting[root] = asyncio.get_running_loop().create_future()
        return future

    async def all_of(self, count: int) -> None:
        """Return when so many hops have been seen."""
        while self._count < count:
            self._grown.clear()
            await self._grown.wait()

    async def watch(self, position: int) -> None:
        """From a position of the log on, until it is cancelled."""
        while True:
            for entry in await self._events.tail(position, limit=1024, wait_s=5.0):
                position = entry.position
                cover = cover_in(entry.book)
                if cover.domain == Shipment.table().domain:
                    self._count += 1
                    waiting = self._waiting.pop(cover.root, None)
                    if waiting is not None:
                        waiting.set_result(None)
            self._grown.set()
            await give_way(LOOK_S)


@contextlib.asynccontextmanager
async def arrivals(app: App, after: int | None = None) -> AsyncIterator[Arrivals]:
    events = app.stores.events
    seen = Arrivals(events)
    position = await events.log_head() if after is None else after
    watching = asyncio.get_running_loop().create_task(seen.watch(position))
    try:
        yield seen
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def hops(app: App, each: int = EACH) -> None:
    """64 callers, each of whom waits for its hop before it causes the next one."""
    orders = app.domain(Order)
    async with arrivals(app) as seen:

        async def work() -> None:
            root = uuid.uuid4()
            for _ in range(each):
                arrived = seen.hop_to(root.bytes)
                await orders.send(root, Pay(1))
                await arrived

        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))


async def commands(app: App) -> None:
    """The same commands without waiting for what follows."""
    orders = app.domain(Order)

    async def work() -> None:
        root = uuid.uuid4()
        for _ in range(EACH):
            await orders.send(root, Pay(1))

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))


def made(folder: pathlib.Path, select: str = "*") -> App:
    store = f"rocksdb://{folder / 'data'}"
    return App(*hops_app.app.definitions, store=store, select=select)


@contextlib.contextmanager
def running(loop: Loop, folder: pathlib.Path, select: str = "*") -> Iterator[App]:
    """The selected components in this process; both aggregates and the saga by default."""
    app = made(folder, select)
    loop(app.start())
    try:
        yield app
    finally:
        loop(app.stop())


@contextlib.contextmanager
def split(loop: Loop, folder: pathlib.Path) -> Iterator[App]:
    """The aggregates and their store here, the saga in a process of its own."""
    with running(loop, folder, WITHOUT_SAGA) as app:
        server = loop(app.serve(port=0))
        try:
            address = server.addresses[0]
            serve = [sys.executable, "-m", "angzarr.cli", "serve", HERE / "hops_app.py"]
            apart = ["--select", "saga:shipping", "--store", f"grpc://{address}", "--port", 0]
            with process([*serve, *apart]):
                loop(hops(app, 1))  # it is there when these have arrived
                yield app
        finally:
            loop(server.stop())


def drained(loop: Loop, folder: pathlib.Path) -> float:
    """Hops per second out of a backlog, the start of the app included."""

    async def fill() -> int:
        async with made(folder, WITHOUT_SAGA) as app:
            await commands(app)
            return await app.stores.events.log_head()

    async def drain(head: int) -> None:
        async with made(folder) as app, arrivals(app, head) as seen:
            await seen.all_of(HOPS)

    head = loop(fill())
    return rate(HOPS, lambda: loop(drain(head)))


@contextlib.contextmanager
def hop() -> Iterator[dict[str, Run]]:
    with contextlib.ExitStack() as stack:
        one, other, third = (stack.enter_context(scratch()) for _ in range(3))
        loop = stack.enter_context(contextlib.closing(Loop()))
        app = stack.enter_context(running(loop, one))
        plain = stack.enter_context(running(loop, third, WITHOUT_SAGA))
        yield {
            OURS: lambda: rate(HOPS, lambda: loop(hops(app))),
            "out of a backlog": lambda: drained(loop, other),
            "their commands alone": lambda: rate(HOPS, lambda: loop(commands(plain))),
        }


def hop_checks(figures: dict[str, list[float]], _flush_us: float) -> tuple[str, bool]:
    return f"≥ {HOPS_PER_S_LEAST:,} hops/s", statistics.median(figures[OURS]) >= HOPS_PER_S_LEAST


@contextlib.contextmanager
def hopsplit() -> Iterator[dict[str, Run]]:
    with scratch() as one, scratch() as other, contextlib.closing(Loop()) as loop:
        with running(loop, one) as together, split(loop, other) as apart:
            yield {
                OURS: lambda: rate(HOPS, lambda: loop(hops(apart))),
                "collocated": lambda: rate(HOPS, lambda: loop(hops(together))),
            }


BENCHES = [
    Bench(
        "hop",
        "saga hop, 64 concurrent, collocated",
        "hops/s",
        "hops",
        hop,
        checks=hop_checks,
    ),
    Bench(
        "hopsplit",
        "saga hop, 64 concurrent, the saga in a process of its own",
        "hops/s",
        "hops",
        hopsplit,
        (Target("collocated", 0.4),),
    ),
]
