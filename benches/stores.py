"""Benches of the store: appends, reads, growth. `ours` is the native store, `rocksdict` the
pure-Python baseline."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import pathlib
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import asyncpg
import umadb

from angzarr.cover import Cover
from angzarr.ports.stores import Stores
from angzarr.stores import open_stores
from benches.harness import OURS, Bench, Run, Target, rate, scratch
from benches.pages import DOMAIN, PAGES, PAYLOAD, fresh, snapshot
from benches.peers import postgres_server, umadb_server

T = TypeVar("T")

IN_FLIGHT = 64
APPENDS = 3_000
SLOW_APPENDS = 1_000
FLUSHED_BYTES = 1 << 20
BATCH = 1_000
READS = 300
COLD_STREAMS = 3_000
GROWN_EVENTS = 10_000_000
EARLY_EVENTS = 100_000


class Loop:
    """An event loop that lives as long as a bench."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def __call__(self, work: Awaitable[T]) -> T:
        async def run() -> T:
            return await work

        return self._runner.run(run())

    def close(self) -> None:
        self._runner.close()


@contextlib.contextmanager
def opened(scheme: str, folder: pathlib.Path, loop: Loop) -> Iterator[Stores]:
    stores = open_stores(f"{scheme}://{folder / scheme}")
    try:
        yield stores
    finally:
        loop(stores.close())


@contextlib.contextmanager
def both() -> Iterator[tuple[Loop, Stores, Stores]]:
    """Ours and the baseline on empty folders, and the loop that drives them."""
    with scratch() as folder, contextlib.closing(Loop()) as loop:
        with opened("rocksdb", folder, loop) as ours, opened("rocksdict", folder, loop) as baseline:
            yield loop, ours, baseline


# ---- appends ----


async def append_many(stores: Stores, tasks: int, count: int) -> None:
    """`count` single events from `tasks` tasks, each with a stream of its own."""

    async def work() -> None:
        cover, append = fresh(), stores.events.append
        for sequence in range(count // tasks):
            await append(cover, sequence, (PAGES[sequence],))

    await asyncio.gather(*(work() for _ in range(tasks)))


def append_threads(stores: Stores, threads: int, count: int) -> None:
    """The same from threads, each with its own event loop."""
    barrier = threading.Barrier(threads)

    def work() -> None:
        barrier.wait()
        asyncio.run(append_many(stores, 1, count // threads))

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()


def umadb_appends(url: str, threads: int, count: int, batch: int = 1) -> None:
    """Appends guarded by a condition on the stream's tag, from threads with a client each."""

    def work() -> None:
        client = umadb.Client(url)
        tag = f"{DOMAIN}/{fresh().root.hex()}"
        query = umadb.Query([umadb.QueryItem(tags=[tag])])
        events = [umadb.Event("Happened", PAYLOAD, [tag]) for _ in range(batch)]
        head: int | None = None
        for _ in range(count // threads // batch):
            head = client.append(events, umadb.AppendCondition(query, head))

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()


class Postgres:
    """A plain versioned table, one connection a task, prepared statements, autocommit."""

    TABLE = """CREATE TABLE IF NOT EXISTS events
               (domain text, edition text, root bytea, sequence bigint, page bytea,
               position bigserial, PRIMARY KEY (domain, edition, root, sequence))"""
    INSERT = (
        "INSERT INTO events (domain, edition, root, sequence, page) VALUES ($1, $2, $3, $4, $5)"
    )

    def __init__(self, socket: pathlib.Path, loop: Loop, connections: int) -> None:
        self._loop = loop
        self._connections = loop(self._connect(str(socket), connections))

    async def _connect(self, socket: str, count: int) -> list[asyncpg.Connection]:
        made = [
            await asyncpg.connect(host=socket, user="bench", database="postgres")
            for _ in range(count)
        ]
        await made[0].execute(self.TABLE)
        return made

    async def append_many(self, count: int) -> None:
        each = count // len(self._connections)

        async def work(connection: asyncpg.Connection) -> None:
            cover, insert = fresh(), await connection.prepare(self.INSERT)
            for sequence in range(each):
                await insert.fetch(
                    cover.domain, cover.edition, cover.root, sequence, PAGES[sequence]
                )

        await asyncio.gather(*(work(connection) for connection in self._connections))

    def close(self) -> None:
        for connection in self._connections:
            self._loop(connection.close())


@contextlib.contextmanager
def append64() -> Iterator[dict[str, Run]]:
    with both() as (loop, ours, baseline), umadb_server() as url, postgres_server() as socket:
        with contextlib.closing(Postgres(socket, loop, IN_FLIGHT)) as postgres:
            few = SLOW_APPENDS
            yield {
                OURS: lambda: rate(
                    APPENDS * 4, lambda: loop(append_many(ours, IN_FLIGHT, APPENDS * 4))
                ),
                "rocksdict": lambda: rate(few, lambda: loop(append_many(baseline, IN_FLIGHT, few))),
                "rocksdict 64 threads": lambda: rate(
                    few, lambda: append_threads(baseline, IN_FLIGHT, few)
                ),
                "umadb": lambda: rate(APPENDS, lambda: umadb_appends(url, IN_FLIGHT, APPENDS)),
                "postgres": lambda: rate(APPENDS, lambda: loop(postgres.append_many(APPENDS))),
            }


@contextlib.contextmanager
def append1() -> Iterator[dict[str, Run]]:
    with (
        both() as (loop, ours, baseline),
        umadb_server() as url,
        postgres_server() as socket,
        scratch() as folder,
        contextlib.closing(Postgres(socket, loop, 1)) as postgres,
        open(folder / "raw", "wb", 0) as raw,
        open(folder / "allocated", "wb", 0) as allocated,
    ):
        allocated.write(bytes(FLUSHED_BYTES))
        os.fsync(allocated.fileno())
        few = SLOW_APPENDS
        yield {
            OURS: lambda: rate(few, lambda: loop(append_many(ours, 1, few))),
            "rocksdict": lambda: rate(few, lambda: loop(append_many(baseline, 1, few))),
            "umadb": lambda: rate(few, lambda: umadb_appends(url, 1, few)),
            "postgres": lambda: rate(few, lambda: loop(postgres.append_many(few))),
            "bare flush": lambda: rate(few, lambda: flushes(raw, few)),
            "allocated flush": lambda: rate(few, lambda: flushes(allocated, few)),
        }


def flushes(file: io.FileIO, count: int) -> None:
    """What the disk gives: write 200 bytes, fdatasync, again. In a file that is allocated already
    this is what a store with one flush a commit can't surpass, whatever else it does."""
    descriptor = file.fileno()
    os.lseek(descriptor, 0, os.SEEK_SET if file.name.endswith("allocated") else os.SEEK_END)
    for _ in range(count):
        os.write(descriptor, PAGES[0] + PAYLOAD[:50])
        os.fdatasync(descriptor)


def append1_checks(figures: dict[str, list[float]], flush_us: float) -> tuple[str, bool]:
    """The share of the disk's flush rate that is asked depends on the flush; one flush a commit is
    counted by strace."""
    least = 0.9 if flush_us > 1_000 else 0.6
    share = statistics.median(
        o / b for o, b in zip(figures[OURS], figures["bare flush"], strict=True)
    )
    per_commit = flushes_per_commit()
    text = f"≥ {least} × bare flush; one flush a commit (strace: {per_commit:.3f})"
    return text, share >= least and per_commit == 1.0


def flushes_per_commit(count: int = 200) -> float:
    """fsync, fdatasync and sync_file_range calls of `count` single appends, by strace, per
    append."""
    if not shutil.which("strace"):
        raise SystemExit("append1 needs strace")
    with scratch() as folder:
        trace = folder / "trace"
        calls = "trace=fsync,fdatasync,sync_file_range,msync,write"
        command = [
            "strace",
            "-f",
            "-o",
            trace,
            "-e",
            calls,
            sys.executable,
            "-m",
            "benches.appender",
            folder / "db",
            str(count),
        ]
        subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL)
        text = trace.read_text()
        within = text.split("BEGIN-APPENDS", 1)[1].split("END-APPENDS", 1)[0]
        return len(re.findall(r"\b(?:fsync|fdatasync|sync_file_range|msync)\(", within)) / count


@contextlib.contextmanager
def batch() -> Iterator[dict[str, Run]]:
    async def batches(stores: Stores, count: int) -> None:
        for _ in range(count):
            await stores.events.append(fresh(), 0, PAGES[:BATCH])

    with both() as (loop, ours, baseline), umadb_server() as url:
        yield {
            OURS: lambda: rate(50 * BATCH, lambda: loop(batches(ours, 50))),
            "rocksdict": lambda: rate(20 * BATCH, lambda: loop(batches(baseline, 20))),
            "umadb": lambda: rate(20 * BATCH, lambda: umadb_appends(url, 1, 20 * BATCH, BATCH)),
        }


# ---- reads ----


async def fill(stores: Stores, count: int) -> Cover:
    """A stream of `count` events in appends of one, as commands make them."""
    cover = fresh()
    for sequence in range(count):
        await stores.events.append(cover, sequence, (PAGES[sequence],), sync=False)
    return cover


async def read_many(read: Callable[[], Awaitable[object]], count: int) -> None:
    for _ in range(count):
        await read()


@contextlib.contextmanager
def book1000() -> Iterator[dict[str, Run]]:
    with both() as (loop, ours, baseline):
        runs: dict[str, Run] = {}
        for name, stores in ((OURS, ours), ("rocksdict", baseline)):
            cover = loop(fill(stores, 1_000))
            runs[name] = reader(loop, stores, cover, name)
        yield runs


@contextlib.contextmanager
def diverge1000() -> Iterator[dict[str, Run]]:
    """500 events of main and 500 of a branch; `plain read` is ours of 1,000 on main."""
    with both() as (loop, ours, baseline):
        runs: dict[str, Run] = {}
        for name, stores in ((OURS, ours), ("rocksdict", baseline)):
            cover = loop(fill(stores, 1_000))
            branch = cover.on("whatif")
            for sequence in range(500, 1_000):
                page = PAGES[sequence]
                loop(stores.events.append(branch, sequence, (page,), divergence=500, sync=False))
            runs[name] = reader(loop, stores, branch, name)
            if name == OURS:
                runs["plain read"] = reader(loop, stores, cover, name)
        yield runs


def reader(loop: Loop, stores: Stores, cover: Cover, name: str) -> Run:
    count = READS if name == "rocksdict" else 10 * READS  # ours would be over in a millisecond

    def run() -> float:
        return rate(count, lambda: loop(read_many(lambda: stores.events.load(cover), count)))

    return run


@contextlib.contextmanager
def snaphot() -> Iterator[dict[str, Run]]:
    with both() as (loop, ours, baseline):
        runs: dict[str, Run] = {}
        for name, stores in ((OURS, ours), ("rocksdict", baseline)):
            cover = loop(snapped(stores))

            def run(stores: Stores = stores, cover: Cover = cover) -> float:
                count = READS * 20
                return rate(
                    count, lambda: loop(read_many(lambda: stores.events.load_latest(cover), count))
                )

            runs[name] = run
        yield runs


async def snapped(stores: Stores) -> Cover:
    """A stream with a snapshot at 19 and ten events after it."""
    cover = fresh()
    await stores.events.append(cover, 0, PAGES[:20], snapshot=snapshot(19), sync=False)
    for sequence in range(20, 30):
        await stores.events.append(cover, sequence, (PAGES[sequence],), sync=False)
    return cover


@contextlib.contextmanager
def snapcold() -> Iterator[dict[str, Run]]:
    """Each run opens the store anew and reads every stream once, in random order."""
    with scratch() as folder, contextlib.closing(Loop()) as loop:
        runs: dict[str, Run] = {}
        for name, scheme in ((OURS, "rocksdb"), ("rocksdict", "rocksdict")):

            async def prepare(stores: Stores) -> list[Cover]:
                return [await snapped(stores) for _ in range(COLD_STREAMS)]

            with opened(scheme, folder, loop) as stores:
                covers = loop(prepare(stores))

            def run(scheme: str = scheme, covers: list[Cover] = covers) -> float:
                order = random.sample(covers, len(covers))

                async def read(stores: Stores) -> None:
                    for cover in order:
                        await stores.events.load_latest(cover)

                with opened(scheme, folder, loop) as stores:
                    return rate(len(order), lambda: loop(read(stores)))

            runs[name] = run
        yield runs


# ---- growth ----

MEMORY_BOUND_MIB = 1_024


@contextlib.contextmanager
def growth() -> Iterator[dict[str, Run]]:
    """`at 100 k` is a store with 100,000 events, ours one with 10 million; appends of one event,
    64 in flight."""
    with scratch() as folder, contextlib.closing(Loop()) as loop:
        small, large = folder / "small", folder / "large"
        with opened("rocksdb", small, loop) as early, opened("rocksdb", large, loop) as grown:
            loop(grow(early, EARLY_EVENTS))
            loop(grow(grown, GROWN_EVENTS))
            GROWN.update(folder=str(large / "rocksdb"), loop=loop, memory_mib=resident_mib())
            yield {
                OURS: lambda: rate(
                    APPENDS * 2, lambda: loop(append_many(grown, IN_FLIGHT, APPENDS * 2))
                ),
                "at 100 k": lambda: rate(
                    APPENDS * 2, lambda: loop(append_many(early, IN_FLIGHT, APPENDS * 2))
                ),
            }
        began = time.perf_counter()
        with opened("rocksdb", large, loop) as grown:
            loop(grown.events.log_head())
            GROWN["reopen_s"] = time.perf_counter() - began


GROWN: dict[str, object] = {}


async def grow(stores: Stores, count: int) -> None:
    """`count` events, 100 to a stream."""
    for _ in range(count // 10_000):
        await asyncio.gather(
            *(stores.events.append(fresh(), 0, PAGES[:100], sync=False) for _ in range(100))
        )


def growth_checks(_figures: dict[str, list[float]], _flush_us: float) -> tuple[str, bool]:
    reopen_s, memory_mib = float(str(GROWN["reopen_s"])), float(str(GROWN["memory_mib"]))
    text = (
        f"reopen ≤ 1 s ({reopen_s:.2f} s); "
        f"resident ≤ {MEMORY_BOUND_MIB} MiB for two stores ({memory_mib:.0f} MiB)"
    )
    return text, reopen_s <= 1.0 and memory_mib <= MEMORY_BOUND_MIB


def resident_mib() -> float:
    """Peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


BENCHES = [
    Bench(
        "append64",
        "durable append, 1 event, 64 in flight",
        "appends/s",
        "appends",
        append64,
        (Target("rocksdict", 10), Target("rocksdict 64 threads", 2), Target("umadb|postgres", 2)),
    ),
    Bench(
        "append1",
        "durable append, 1 event, 1 caller",
        "appends/s",
        "appends",
        append1,
        (Target("postgres", 1.5), Target("umadb", 3)),
        rounds=15,  # a fifth of the disk's flushes take twice as long, whoever asks for them
        checks=append1_checks,
    ),
    Bench(
        "batch",
        "durable append of 1,000 events",
        "events/s",
        "appends",
        batch,
        (Target("rocksdict", 3), Target("umadb", 2)),
    ),
    Bench(
        "book1000",
        "1,000 events to an EventBook",
        "books/s",
        "reads",
        book1000,
        (Target("rocksdict", 6),),
    ),
    Bench(
        "diverge1000",
        "1,000 events through a divergence",
        "books/s",
        "reads",
        diverge1000,
        (Target("rocksdict", 6), Target("plain read", 1 / 1.15)),
    ),
    Bench(
        "snaphot",
        "snapshot + 10 events, hot",
        "loads/s",
        "reads",
        snaphot,
        (Target("rocksdict", 5),),
    ),
    Bench(
        "snapcold",
        "snapshot + 10 events, cold",
        "loads/s",
        "reads",
        snapcold,
        (Target("rocksdict", 1.2),),
    ),
    Bench(
        "growth",
        "append rate at 10 M events against 100 k",
        "appends/s",
        "growth",
        growth,
        (Target("at 100 k", 0.9),),
        checks=growth_checks,
    ),
]
