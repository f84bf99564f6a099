"""Interleaved rounds: every contender of a bench runs once a round, so that a noisy minute hits all
alike.

A figure is a rate, greater is better, unless the bench says otherwise; the ratio to a peer is the
median over rounds of ours ÷ theirs in the same round. The disk's flush time is taken in every round
beside the figures.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

OURS = "angzarr"

Run = Callable[[], float]


@dataclass(frozen=True)
class Target:
    """A promise: the ratio to `peer` is at least `least`; several peers joined by "|" mean the
    better of them."""

    peer: str
    least: float

    def __str__(self) -> str:
        return f"≥ {self.least:g} × {self.peer.replace('|', ' or ')}"


@dataclass(frozen=True)
class Bench:
    """One line of the table. `contenders` opens what it needs and yields name → run.

    distribution: shares of all cases, and the ms that each share takes at most, for a plot.
    """

    id: str
    work: str
    unit: str
    group: str
    contenders: Callable[[], contextlib.AbstractContextManager[dict[str, Run]]]
    targets: tuple[Target, ...] = ()
    rounds: int = 5
    checks: Callable[[dict[str, list[float]], float], tuple[str, bool]] | None = None
    distribution: Callable[[], dict[str, list[float]]] | None = None


@dataclass
class Result:
    """Medians, ratios and whether the targets were met, as `latest.json` keeps them."""

    bench: Bench
    figures: dict[str, list[float]] = field(default_factory=dict)
    flush_us: list[float] = field(default_factory=list)

    def median(self, name: str) -> float:
        return statistics.median(self.figures[name])

    def ratio(self, peer: str) -> float:
        """Median over rounds of ours ÷ the better of `peer`."""
        names = [name for name in peer.split("|") if name in self.figures]
        rounds = zip(self.figures[OURS], *(self.figures[name] for name in names), strict=True)
        return statistics.median(ours / max(theirs) for ours, *theirs in rounds)

    def as_json(self) -> dict[str, object]:
        bench = self.bench
        peers = [name for name in self.figures if name != OURS]
        ratios = {peer: self.ratio(peer) for peer in peers}
        ratios |= {target.peer: self.ratio(target.peer) for target in bench.targets}
        wanted = [str(target) for target in bench.targets]
        is_met = all(ratios[target.peer] >= target.least for target in bench.targets)
        flush_us = statistics.median(self.flush_us)
        if bench.checks:
            text, passed = bench.checks(self.figures, flush_us)
            wanted.append(text)
            is_met = is_met and passed
        distribution = {"distribution": bench.distribution()} if bench.distribution else {}
        return {
            "id": bench.id,
            "work": bench.work,
            "ours": round(self.median(OURS), 3),
            "unit": bench.unit,
            "compared": {peer: round(self.median(peer), 3) for peer in peers},
            "ratios": {peer: round(ratio, 3) for peer, ratio in ratios.items()},
            "spread": {
                name: [round(min(f), 3), round(max(f), 3)] for name, f in self.figures.items()
            },
            "flush_us": round(flush_us, 1),
            "rounds": len(self.flush_us),
            "target": "; ".join(wanted),
            "met": is_met,
            "group": bench.group,
            **distribution,
        }


def measure(bench: Bench, say: Callable[[str], None]) -> Result:
    """Run the bench's rounds, one warm-up round before them."""
    result = Result(bench)
    with bench.contenders() as runs:
        for run in runs.values():
            run()
        for number in range(bench.rounds):
            result.flush_us.append(flush_us())
            names = list(runs)
            order = names if number % 2 == 0 else names[::-1]
            for name in order:
                gc.collect()  # nobody pays for what another left behind
                result.figures.setdefault(name, []).append(runs[name]())
            figures = ", ".join(f"{name} {result.figures[name][-1]:,.1f}" for name in names)
            say(f"{bench.id} round {number + 1}/{bench.rounds}: {figures} {bench.unit}")
    return result


def flush_us(count: int = 200) -> float:
    """Median time of an append of 200 bytes and its fdatasync, in the folder where the benches keep
    their stores."""
    with scratch() as folder:
        descriptor = os.open(folder / "flush", os.O_WRONLY | os.O_CREAT)
        times: list[float] = []
        for _ in range(count):
            began = time.perf_counter()
            os.write(descriptor, b"x" * 200)
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - began)
        os.close(descriptor)
    return statistics.median(times) * 1e6


@contextlib.contextmanager
def scratch() -> Iterator[pathlib.Path]:
    """A folder on the disk under test (ANGZARR_BENCH_DIR, else the temporary folder)."""
    with tempfile.TemporaryDirectory(
        dir=os.environ.get("ANGZARR_BENCH_DIR"), prefix="bench-"
    ) as folder:
        yield pathlib.Path(folder)


def rate(count: int, work: Callable[[], object]) -> float:
    """`count` per second of wall time that `work` takes."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)
