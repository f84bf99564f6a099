"""Read models: how soon an event is visible in one, and how fast one is rebuilt."""

from __future__ import annotations

import array
import asyncio
import contextlib
import pathlib
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from angzarr import App, Projector, Sqlite, Trigger, codec, projects
from angzarr.cover import Cover
from angzarr.ports.event_store import EventStore
from angzarr.projectors import beside_of
from angzarr.wire import EventPage
from benches import projections_peer as theirs
from benches.harness import OURS, Bench, Run, Target, rate, scratch
from benches.projections_peer import BALANCE, LINE, SCHEMA
from benches.stores import IN_FLIGHT, Loop

DOMAIN = "account"
ACCOUNTS = 100
EACH = 200
"""Events of one account, each an append of its own; those of all accounts are mixed in the log."""
EVENTS = ACCOUNTS * EACH
FLUSHED_EVENTS = EVENTS // 8
"""Those that the peer is waited for where it flushes each."""

EVENTS_PER_S = 1_000
ROUND_S = 5
SETTLED_S = 1
"""The start of each round, which is left out: files and caches are warm after it."""
ROUND_EVENTS = EVENTS_PER_S * ROUND_S
NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
QUANTILES = (*(step / 200 for step in range(200)), 0.999, 1.0)


@dataclass(frozen=True)
class Deposited:
    amount_cents: int


@dataclass(frozen=True)
class Happened:
    number: int


class Statement(Projector, source=DOMAIN, read_store=Sqlite("statement.sqlite", ";".join(SCHEMA))):
    """A line an event, and the balance."""

    @projects
    def deposited(self, event: Deposited, at: Trigger, db: sqlite3.Connection) -> None:
        db.execute(LINE, (at.root, at.sequence, event.amount_cents))
        db.execute(BALANCE, (at.root, event.amount_cents))


ROWS = "CREATE TABLE IF NOT EXISTS seen (number INTEGER PRIMARY KEY, event INTEGER NOT NULL)"


class Seen(Projector, source=DOMAIN, read_store=Sqlite("seen.sqlite", ROWS)):
    """A row an event, numbered as they come."""

    @projects
    def happened(self, event: Happened, db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO seen (event) VALUES (?)", (event.number,))


def page(sequence: int, event: Deposited | Happened) -> bytes:
    """An encoded page as a coordinator makes it."""
    made = EventPage(committed=True, event=codec.pack(event, DOMAIN))
    made.header.sequence = sequence
    made.created_at.GetCurrentTime()
    return made.SerializeToString(deterministic=True)


@contextlib.contextmanager
def running(loop: Loop, folder: pathlib.Path, projector: type[Projector]) -> Iterator[App]:
    """An app with the projector alone, its read model in the folder."""
    name = projector.projector_table().name
    read_store = f"projection.projectors.{name}.read_store"
    app = App(
        projector,
        store=f"rocksdb://{folder / 'data'}",
        config={read_store: f"sqlite://{model(folder, name)}"},
    )
    loop(app.start())
    try:
        yield app
    finally:
        loop(app.stop())


def model(folder: pathlib.Path, name: str) -> pathlib.Path:
    return folder / f"{name}.sqlite"


# ---- readmodel ----


@contextlib.contextmanager
def readmodel() -> Iterator[dict[str, Run]]:
    """Ours is what `angzarr projectors replay` does, a new file beside the one that serves; `in
    place` is the replay of a running app, through the consumer that feeds it at other times, too.
    """
    with scratch() as folder, contextlib.closing(Loop()) as loop:
        with running(loop, folder, Statement) as app:
            loop(fill(app.stores.events))
            loop(app.settled())
            beside = beside_of(Statement, app.stores, app.config)
            served = model(folder, "statement")

            def ours() -> float:
                figure = rate(EVENTS, lambda: loop(beside.build()))
                check(served.with_name(served.name + ".new"))
                return figure

            def in_place() -> float:
                figure = rate(EVENTS, lambda: loop(app.replay("statement")))
                check(served)
                return figure

            recorder = theirs.filled(ACCOUNTS, EACH)

            def peer(view: type[theirs.View], count: int) -> float:
                path = folder / f"{uuid.uuid4()}.sqlite"
                began = time.perf_counter()
                count = theirs.project(recorder, view, path, count)
                return count / (time.perf_counter() - began)

            yield {
                OURS: ours,
                "angzarr in place": in_place,
                "eventsourcing": lambda: peer(theirs.SqliteView, FLUSHED_EVENTS),
                "eventsourcing unflushed": lambda: peer(theirs.UnflushedView, EVENTS),
            }


async def fill(events: EventStore) -> None:
    """A stream an account."""

    async def work() -> None:
        cover = Cover(DOMAIN, uuid.uuid4().bytes)
        for sequence in range(EACH):
            await events.append(cover, sequence, (page(sequence, Deposited(5)),), sync=False)

    await asyncio.gather(*(work() for _ in range(ACCOUNTS)))


def check(path: pathlib.Path) -> None:
    """Both tables hold what all events make of them."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        lines, cents = db.execute("SELECT count(*), sum(cents) FROM line").fetchone()
        balances = db.execute("SELECT sum(cents) FROM balance").fetchone()[0]
    if (lines, balances) != (EVENTS, cents):
        raise SystemExit(f"{path}: {lines} lines of {EVENTS}, {balances} cents of {cents}")


# ---- visible ----

LATENCIES_MS: list[list[float]] = []
"""Of each round, the warm-up first: acknowledged to visible; 0 where it was visible before."""


@contextlib.contextmanager
def visible() -> Iterator[dict[str, Run]]:
    LATENCIES_MS.clear()
    with scratch() as folder, contextlib.closing(Loop()) as loop:
        with running(loop, folder, Seen) as app:

            def run() -> float:
                first = len(LATENCIES_MS) * ROUND_EVENTS
                with looking(folder) as seen_ns:
                    acknowledged_ns = loop(load(app.stores.events, first))
                    loop(app.settled())
                late_ms = [
                    max(0, seen_ns[number] - acknowledged_ns[number]) / NS_PER_MS
                    for number in range(first + EVENTS_PER_S * SETTLED_S, first + ROUND_EVENTS)
                ]
                LATENCIES_MS.append(late_ms)
                return quantile(late_ms, 0.5) * 1e3

            yield {OURS: run}


async def load(events: EventStore, first: int) -> dict[int, int]:
    """Durable appends at a steady rate, whatever becomes of those before, to 64 streams in turn;
    the monotonic ns at which each event, numbered from `first`, was acknowledged.
    """
    streams = [Stream(events) for _ in range(IN_FLIGHT)]
    acknowledged_ns: dict[int, int] = {}
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def append(number: int) -> None:
        await streams[number % IN_FLIGHT].append(Happened(number))
        acknowledged_ns[number] = time.monotonic_ns()

    began_ns = time.monotonic_ns()
    for index in range(ROUND_EVENTS):
        due_ns = began_ns + index * NS_PER_S // EVENTS_PER_S
        while (early_ns := due_ns - time.monotonic_ns()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(early_ns / NS_PER_S)
        task = loop.create_task(append(first + index))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return acknowledged_ns


class Stream:
    """A new stream that is appended to by one at a time."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._cover = Cover(DOMAIN, uuid.uuid4().bytes)
        self._next = 0
        self._turn = asyncio.Lock()

    async def append(self, event: Happened) -> None:
        async with self._turn:
            await self._events.append(self._cover, self._next, (page(self._next, event),))
            self._next += 1


@contextlib.contextmanager
def looking(folder: pathlib.Path) -> Iterator[dict[int, int]]:
    """A process that reads the read model all the time; when each event was first seen is in the
    answer at the end, in monotonic ns.
    """
    out = folder / "seen"
    command = [sys.executable, "-m", "benches.visible_reader", model(folder, "seen"), out]
    reader = subprocess.Popen(
        [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    seen_ns: dict[int, int] = {}
    try:
        assert reader.stdin
        assert reader.stdout
        if reader.stdout.readline() != b"ready\n":
            raise SystemExit("the reader did not start")
        yield seen_ns
        reader.stdin.close()
        if reader.wait(30):
            raise SystemExit(f"the reader ended with {reader.returncode}")
    finally:
        reader.kill()
        reader.wait()
    pairs = array.array("q", out.read_bytes())
    seen_ns.update(zip(pairs[::2], pairs[1::2], strict=True))


def quantile(values: list[float], share: float) -> float:
    """The smallest of the values that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def measured_ms() -> list[float]:
    """Latencies of all rounds but the warm-up."""
    return [late_ms for late in LATENCIES_MS[1:] for late_ms in late]


def visible_checks(_figures: dict[str, list[float]], flush_us: float) -> tuple[str, bool]:
    latencies, flush_ms = measured_ms(), flush_us / 1e3
    p50, p99 = quantile(latencies, 0.5), quantile(latencies, 0.99)
    text = f"p50 ≤ 2 ms + a flush ({p50:.2f} ms); p99 ≤ 10 ms + 3 flushes ({p99:.2f} ms)"
    return text, p50 <= 2 + flush_ms and p99 <= 10 + 3 * flush_ms


def visible_distribution() -> dict[str, list[float]]:
    ordered = sorted(measured_ms())
    return {
        "share": list(QUANTILES),
        "ms": [round(ordered[min(int(q * len(ordered)), len(ordered) - 1)], 3) for q in QUANTILES],
    }


BENCHES = [
    Bench(
        "visible",
        "durable append acknowledged to visible in a SQLite read model, 1,000 events/s",
        "µs (median)",
        "visible",
        visible,
        checks=visible_checks,
        distribution=visible_distribution,
    ),
    Bench(
        "readmodel",
        "read model rebuilt through a Python projector",
        "events/s",
        "readmodel",
        readmodel,
        (Target("eventsourcing|eventsourcing unflushed", 5),),
    ),
]
