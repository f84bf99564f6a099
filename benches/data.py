"""Benches of training data: futures explored, the log as arrays."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import pathlib
import random
import statistics
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from angzarr import Aggregate, applies, command, data
from angzarr.codec import pack
from angzarr.cover import Cover
from angzarr.ports.stores import Stores
from angzarr.wire import EventPage
from benches.harness import OURS, Bench, Run, Target, rate, scratch
from benches.stores import Loop, both, opened

HAND_EVENTS = 30
FORK_AT = 20
BRANCHES = 10_000
BASELINE_BRANCHES = 2_000
BATCH = 1_000
IN_FLIGHT = 512
ENGINE_RATE_MIN = 5_000

EXPORTED = 300_000
BASELINE_EXPORTED = 30_000
LARGE = 10_000_000
MEMORY_MIB_MAX = 384
COMMITS = (1, 2, 3)
"""Events a commit, in turns."""


@dataclass(frozen=True)
class Bet:
    player: int
    amount: int


@dataclass(frozen=True)
class Placed:
    player: int
    amount: int


class BenchHand(Aggregate, domain="hand"):
    """As much of a hand as costs nothing: what is measured is what is around it."""

    pot: int = 0
    bets: int = 0

    @command
    def bet(self, cmd: Bet) -> Placed:
        return Placed(cmd.player, cmd.amount)

    @applies
    def placed(self, event: Placed) -> None:
        self.pot += event.amount
        self.bets += 1


def page(sequence: int) -> bytes:
    """An encoded page as a coordinator makes it."""
    made = EventPage(committed=True)
    made.header.sequence = sequence
    made.created_at.seconds, made.created_at.nanos = 1_700_000_000 + sequence, sequence
    made.event.CopyFrom(pack(Placed(sequence % 6, 100 * sequence), "hand"))
    return made.SerializeToString(deterministic=True)


PAGES = [page(sequence) for sequence in range(HAND_EVENTS)]


async def dealt(stores: Stores) -> Cover:
    """A hand of 30 events."""
    cover = Cover("hand", uuid.uuid4().bytes)
    await stores.events.append(cover, 0, PAGES)
    return cover


# ---- explore ----


def policy(hand: BenchHand, chance: random.Random, branch: data.Branch) -> Bet | None:
    """Ten bets of any size, so that the hand is as long as the real one."""
    if hand.bets == HAND_EVENTS:
        return None
    return Bet(branch.step % 6, chance.randrange(100, 10_000))


async def explored(stores: Stores, cover: Cover, count: int, store_as: str) -> None:
    """Branches from the middle of a hand, stored, and their events as arrays."""
    found = data.explore(
        stores,
        BenchHand,
        [data.Point(cover.root, FORK_AT)],
        policy,
        branches=count,
        fields={"amount": (Placed, "amount")},
        observe=lambda hand: {"pot": hand.pot},
        batch=BATCH,
        store_as=store_as,
    )
    event_count = 0
    async for part in found:
        event_count += int((part.events["amount"] > 0).sum())
    assert event_count == count * (HAND_EVENTS - FORK_AT)


async def forked(stores: Stores, cover: Cover, count: int, store_as: str) -> None:
    """What the engine does in it: as many branches of as many events, made before."""
    free = asyncio.Semaphore(IN_FLIGHT)

    async def write(number: int) -> None:
        async with free:
            branch = cover.on(f"{store_as}-{number}")
            await stores.events.append(branch, FORK_AT, PAGES[FORK_AT:], divergence=FORK_AT)

    await asyncio.gather(*(write(number) for number in range(count)))


@contextlib.contextmanager
def explore() -> Iterator[dict[str, Run]]:
    with both() as (loop, ours, baseline):
        hand, theirs, numbers = loop(dealt(ours)), loop(dealt(baseline)), itertools.count()

        def name() -> str:
            return f"run-{next(numbers)}"

        few = BASELINE_BRANCHES
        yield {
            OURS: lambda: rate(BRANCHES, lambda: loop(explored(ours, hand, BRANCHES, name()))),
            "rocksdict": lambda: rate(few, lambda: loop(explored(baseline, theirs, few, name()))),
            "engine's part": lambda: rate(
                BRANCHES, lambda: loop(forked(ours, hand, BRANCHES, name()))
            ),
            "not stored": lambda: rate(BRANCHES, lambda: loop(explored(ours, hand, BRANCHES, ""))),
        }


def explore_checks(figures: dict[str, list[float]], _flush_us: float) -> tuple[str, bool]:
    engine = statistics.median(figures["engine's part"])
    text = f"engine's part ≥ {ENGINE_RATE_MIN:,} branches/s ({engine:,.0f})"
    return text, engine >= ENGINE_RATE_MIN


# ---- export ----


async def fill(stores: Stores, count: int) -> None:
    """`count` events in hands of 30, the commits of many hands mixed with one another."""
    covers = [Cover("hand", uuid.uuid4().bytes) for _ in range(count // HAND_EVENTS)]
    firsts = dict.fromkeys(range(len(covers)), 0)
    for size in itertools.cycle(COMMITS):
        group = list(firsts)
        for begin in range(0, len(group), IN_FLIGHT):
            taken = group[begin : begin + IN_FLIGHT]
            await asyncio.gather(
                *(
                    stores.events.append(
                        covers[n], firsts[n], PAGES[firsts[n] : firsts[n] + size], sync=False
                    )
                    for n in taken
                )
            )
        firsts = {n: at + size for n, at in firsts.items() if at + size < HAND_EVENTS}
        if not firsts:
            return


async def exported(stores: Stores, count: int) -> None:
    """All columns, and a field of the payload."""
    row_count, total = 0, 0
    async for batch in data.batches(
        stores, fields={"amount": (Placed, "amount")}, definitions=[BenchHand]
    ):
        row_count += len(batch)
        total += int(batch["amount"].sum())
    assert row_count == count
    assert total == count // HAND_EVENTS * sum(100 * n for n in range(HAND_EVENTS))


@contextlib.contextmanager
def export() -> Iterator[dict[str, Run]]:
    with both() as (loop, ours, baseline):
        loop(fill(ours, EXPORTED))
        loop(fill(baseline, BASELINE_EXPORTED))
        few = BASELINE_EXPORTED
        yield {
            OURS: lambda: rate(EXPORTED, lambda: loop(exported(ours, EXPORTED))),
            "rocksdict": lambda: rate(few, lambda: loop(exported(baseline, few))),
        }


def export_checks(figures: dict[str, list[float]], _flush_us: float) -> tuple[str, bool]:
    """The rate, and what a process of its own takes for a log of ten million events."""
    ours = statistics.median(figures[OURS])
    with scratch() as folder:
        told = [subprocess_of(folder, task) for task in ("fill", "export")]
    memory_mib, large = told[1]
    text = (
        f"≥ 1,000,000 events/s ({ours:,.0f}); at 10 M events {large:,.0f}/s and at most "
        f"{MEMORY_MIB_MAX} MiB resident ({memory_mib:,.0f})"
    )
    return text, ours >= 1e6 and memory_mib <= MEMORY_MIB_MAX


def subprocess_of(folder: pathlib.Path, task: str) -> tuple[float, float]:
    """Peak resident MiB and events a second of a process that does the task."""
    command_line = [sys.executable, "-m", "benches.large_log", task, str(folder)]
    done = subprocess.run(command_line, check=True, stdout=subprocess.PIPE, text=True)
    memory_mib, per_s = map(float, done.stdout.split())
    return memory_mib, per_s


def large_log(task: str, folder: pathlib.Path) -> float:
    """Fill a store with ten million events, or export them; events a second."""
    with contextlib.closing(Loop()) as loop, opened("rocksdb", folder, loop) as stores:
        work = {"fill": fill_fast, "export": exported}[task]
        return rate(LARGE, lambda: loop(work(stores, LARGE // HAND_EVENTS * HAND_EVENTS)))


async def fill_fast(stores: Stores, count: int) -> None:
    """`count` events, a hand in a commit."""
    for begin in range(0, count, HAND_EVENTS * IN_FLIGHT):
        hands = min(IN_FLIGHT, (count - begin) // HAND_EVENTS)
        await asyncio.gather(
            *(
                stores.events.append(Cover("hand", uuid.uuid4().bytes), 0, PAGES, sync=False)
                for _ in range(hands)
            )
        )


BENCHES = [
    Bench(
        "explore",
        "10,000 branches of ten commands from the middle of a hand, stored, and as arrays",
        "branches/s",
        "data",
        explore,
        (Target("rocksdict", 3),),
        checks=explore_checks,
    ),
    Bench(
        "export",
        "the log to numpy, all columns and a field of the payload",
        "events/s",
        "data",
        export,
        (Target("rocksdict", 10),),
        checks=export_checks,
    ),
]
