"""Benches of branching: forks, states at a branch, branches of branches."""

from __future__ import annotations

import contextlib
import pathlib
import statistics
from collections.abc import Awaitable, Iterator

from angzarr.cover import Cover
from angzarr.ports.event_store import SnapshotPolicy
from angzarr.ports.stores import Stores
from angzarr.stores import open_stores
from benches.harness import OURS, Bench, Run, Target, rate, scratch
from benches.pages import fresh, page, snapshot
from benches.stores import READS, Loop, both, read_many

SHORT = 100
LONG = 1_000_000
FORKS = 2_000
SYNCED_FORKS = 200
SIZED_FORKS = 20_000
FORK_US_MAX = 100
FORK_BYTES_MAX = 1_024
BATCH = 1_000


async def history(stores: Stores, count: int) -> Cover:
    """A stream of `count` events on main."""
    cover = fresh()
    for first in range(0, count, BATCH):
        pages = [page(sequence) for sequence in range(first, min(first + BATCH, count))]
        await stores.events.append(cover, first, pages, sync=False)
    return cover


# ---- forks ----


class Forks:
    """Editions of one stream, each declared and given an event of its own that is then read."""

    def __init__(self, stores: Stores, cover: Cover, count: int) -> None:
        self._stores = stores
        self._cover = cover
        self._at = count // 2
        self._page = page(self._at)
        self._made = 0

    async def make(self, count: int) -> None:
        editions, events = self._stores.editions, self._stores.events
        for _ in range(count):
            self._made += 1
            branch = self._cover.on(f"fork-{self._made}")
            await editions.declare(branch.edition)
            await events.append(branch, self._at, (self._page,), divergence=self._at)
            assert (await events.load(branch, start=self._at)).next_sequence == self._at + 1


@contextlib.contextmanager
def fork() -> Iterator[dict[str, Run]]:
    """Ours and the baseline without a flush and with a million events of history; beside them ours
    with a hundred events, and ours with a flush for each declaration and each append."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch())
        loop = stack.enter_context(contextlib.closing(Loop()))

        def forks(name: str, scheme: str, events: int, *, sync: bool = False) -> Forks:
            stores = open_stores(f"{scheme}://{folder / name}", sync=sync)
            stack.callback(lambda: loop(stores.close()))
            return Forks(stores, loop(history(stores, events)), events)

        made = {
            OURS: (forks("long", "rocksdb", LONG), FORKS),
            "100 events": (forks("short", "rocksdb", SHORT), FORKS),
            "flushed": (forks("flushed", "rocksdb", SHORT, sync=True), SYNCED_FORKS),
            "rocksdict": (forks("baseline", "rocksdict", LONG), FORKS // 2),
        }
        yield {
            name: lambda forks=forks, count=count: rate(count, lambda: loop(forks.make(count)))
            for name, (forks, count) in made.items()
        }


def fork_checks(figures: dict[str, list[float]], flush_us: float) -> tuple[str, bool]:
    """Each length of history has to keep to both bounds."""
    us = {name: 1e6 / statistics.median(rates) for name, rates in figures.items()}
    size_bytes = {count: bytes_per_fork(count) for count in (SHORT, LONG)}
    text = (
        f"≤ {FORK_US_MAX} µs (with 1 M events {us[OURS]:.0f}, with 100 {us['100 events']:.0f}; "
        f"with two flushes of {flush_us:.0f} each {us['flushed']:.0f}); ≤ {FORK_BYTES_MAX} bytes "
        f"on disk (with 1 M events {size_bytes[LONG]:.0f}, with 100 {size_bytes[SHORT]:.0f})"
    )
    is_fast = max(us[OURS], us["100 events"]) <= FORK_US_MAX
    return text, is_fast and max(size_bytes.values()) <= FORK_BYTES_MAX


def bytes_per_fork(events: int) -> float:
    """What many forks add to a store's folder, once everything is in its tables."""
    with scratch() as folder, contextlib.closing(Loop()) as loop:
        stores = open_stores(f"rocksdb://{folder / 'store'}", sync=False)
        cover = loop(history(stores, events))
        loop(stores.backup(folder / "before"))
        loop(Forks(stores, cover, events).make(SIZED_FORKS))
        loop(stores.backup(folder / "after"))
        loop(stores.close())
        return (size_of(folder / "after") - size_of(folder / "before")) / SIZED_FORKS


def size_of(folder: pathlib.Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


# ---- states at a branch ----

HISTORY = 100_000
TAIL = 10
LOADS = 20_000
"""A load takes little more than a microsecond; who is measured needs some time for itself."""


@contextlib.contextmanager
def branchload() -> Iterator[dict[str, Run]]:
    """100,000 events of main with a snapshot below the last ten, and a branch that leaves main
    there and has ten events of its own."""
    with both() as (loop, ours, baseline):
        runs: dict[str, Run] = {}
        for name, stores in ((OURS, ours), ("rocksdict", baseline)):
            cover = loop(snapped_history(stores))
            runs[name] = loads(loop, stores, cover.on("whatif"), LOADS)
            if name == OURS:
                runs["on main"] = loads(loop, stores, cover, LOADS)
                bare = loop(branched(stores, loop(history(stores, HISTORY))))
                runs["no snapshot"] = loads(loop, stores, bare, 5)
        yield runs


async def snapped_history(stores: Stores) -> Cover:
    cover = await history(stores, HISTORY)
    kept = snapshot(HISTORY - TAIL - 1)
    await stores.snapshots.put(cover, kept, SnapshotPolicy())
    await branched(stores, cover)
    return cover


async def branched(stores: Stores, cover: Cover) -> Cover:
    """A branch with the last events of main replaced by its own."""
    branch, at = cover.on("whatif"), HISTORY - TAIL
    for sequence in range(at, HISTORY):
        await stores.events.append(branch, sequence, (page(sequence),), divergence=at, sync=False)
    return branch


def loads(loop: Loop, stores: Stores, cover: Cover, count: int) -> Run:
    def load() -> Awaitable[object]:
        return stores.events.load_latest(cover)

    return lambda: rate(count, lambda: loop(read_many(load, count)))


# ---- branches of branches ----


@contextlib.contextmanager
def nested() -> Iterator[dict[str, Run]]:
    """1,000 events, a quarter of them from main and from each of three levels; `one level` is ours
    with half of them from main and half from a branch."""
    with both() as (loop, ours, baseline):
        runs: dict[str, Run] = {}
        for name, stores in ((OURS, ours), ("rocksdict", baseline)):
            levels = loop(stacked(stores, ["a", "b", "c"]))
            runs[name] = reads(loop, stores, levels, READS * (10 if name == OURS else 1))
            if name == OURS:
                one = loop(stacked(stores, ["one"]))
                runs["one level"] = reads(loop, stores, one, READS * 10)
        yield runs


async def stacked(stores: Stores, names: list[str]) -> Cover:
    """A stream of 1,000 events in appends of one, as commands make them, in equal parts on main and
    on each of `names`, which are branches of one another."""
    cover, share = fresh(), BATCH // (len(names) + 1)
    for level, name in enumerate(["", *names]):
        if level > 1:
            await stores.editions.declare(name, parent=names[level - 2])
        for sequence in range(level * share, (level + 1) * share):
            made = (page(sequence),)
            await stores.events.append(cover.on(name), sequence, made, sync=False)
    return cover.on(names[-1])


def reads(loop: Loop, stores: Stores, cover: Cover, count: int) -> Run:
    def load() -> Awaitable[object]:
        return stores.events.load(cover)

    return lambda: rate(count, lambda: loop(read_many(load, count)))


BENCHES = [
    Bench(
        "fork",
        "declare an edition, give it an event, read it; not flushed",
        "forks/s",
        "time",
        fork,
        (Target("100 events", 0.5),),
        checks=fork_checks,
    ),
    Bench(
        "branchload",
        "state at a branch of 100,000 events, a snapshot just below it",
        "loads/s",
        "time",
        branchload,
        (Target("on main", 1 / 1.2), Target("no snapshot", 50)),
        rounds=11,
    ),
    Bench(
        "nested",
        "1,000 events through three divergences",
        "books/s",
        "time",
        nested,
        (Target("rocksdict", 6), Target("one level", 1 / 1.3)),
    ),
]
