"""docs/benchmarks/README.md, written from the results, so that no figure in it is typed by hand."""

from __future__ import annotations

import pathlib
from typing import Any

HEAD = """# Benchmarks

`make bench` measures, writes `benches/results/latest.json` and this page; `make bench ONLY=batch`
runs one. Every contender runs in every round, in turn, after a warm-up; a figure is the median, a
ratio the median over rounds of ours ÷ theirs, with the disk's flush time (append of 200 bytes and
fdatasync) taken in each round. All durable figures are flushed before they are acknowledged.

- **rocksdict** is the same event store in pure Python (`angzarr/stores/rocksdict.py`), held to the
  same contract suite; **umadb** its own server and client; **postgres** a plain versioned table on
  PostgreSQL 15, a connection a writer; **eventsourcing** 9.5 on SQLite, and its projection runner.
- **bare echo** is a grpc.aio server that answers as many bytes; **direct** a call of the remote
  handler without us; **bare flush** what the disk does alone, in a file that
  grows; **allocated flush** the same in a file that is there already.

"""
NOTES = """
A target that is missed stays here as missed. What to know of those that are close:

- **append1.** One caller's commit is one flush, for PostgreSQL as for us; *allocated flush*, the
  flush of a file whose blocks are there, is what a store with one flush a commit can't surpass. A
  lone writer commits on its own thread (decision 008), which brought 0.6 of that to 0.85-0.9. Nine
  runs gave 1.43 to 1.78 against PostgreSQL (its own rate varies by a third) and 3.5 to 3.9 against
  umadb; where a flush takes a millisecond, both ratios must go towards 1 for PostgreSQL.
- **diverge1000** gave 0.91 to 0.97 of a plain read.
- **rebuild100** gave 20.2 to 21.3.
- **hop** is the rate at which 64 callers, each on a stream of its own of up to 50 events, get their
  hops done: they send the next command when the last hop's event is durable, so these commands are
  part of the figure. *Out of a backlog* are hops without them, the start of the app included;
  *their commands alone* is what the callers do without the saga. A hop takes 330 to 360 µs of the
  event loop's thread here, of which 95 are the command that causes it; Python bounds it, not the
  disk. Four runs gave 2,780 to 2,940 a second.
- **hopsplit** has the callers, both aggregates and the store in one process, the saga in another
  that follows the log over gRPC and sends its commands over it: a round trip for the command, and
  one shared by many for what it asks the store. Three runs on a quiet machine gave 1.04 to 1.06 of
  the collocated rate, since there are two cores, a busy one 0.71; with a call for each question it
  was 0.52.
- **visible** is taken by a process that reads the read model as a query service does, with pauses
  of 0.2 ms, which count as not yet visible. The appends come 1,000 a second whatever becomes of
  those before. On a quiet machine the median is 0.3 ms and p99 1.4 to 3 ms, nearly all of it
  checkpoints of SQLite's log, for which a transaction waits. Where other programs want both cores
  the median stays, and p99 is theirs: 4 to 50 ms here. How late a bare timer is beside it says so.
- **readmodel** gives both the same events and the same two tables; the peer's events are in memory,
  since its SQLite recorder can't be subscribed to, ours in the store. It flushes each event as it
  comes; *unflushed* has SQLite set as ours is. Four runs gave 6.4 to 8.6 times that, and 18 to 26
  times what it does as it comes. *In place* goes through the consumer that feeds the projector at
  other times, event by event, with its retries.
- **stuck** gave 0.96 to 1.04: a consumer that is stuck holds its window and is fed no more. *No
  consumers* shows what 100 of them cost writers on the same event loop: each append is 100
  deliveries of 2 to 10 µs, and it is these that the writers share the processor with.
- **fork** is a declaration, a first append and a read of it, one after the other, in a store that
  leaves the flush to the machine; *flushed* is with a flush for each of the two writes. Two runs
  gave 73 and 88 µs with a million events of history, 61 and 76 with a hundred, other programs
  running beside them. On disk a fork takes 69 bytes.
- **branchload** gave 0.86 and 0.88 of main, **nested** 0.96 and 0.99 of one level: both answer from
  the hot ends of the streams. Where other programs want the cores, single rounds are off by half.
- **explore** is bound by Python, which does all of it but the *engine's part*: *not stored* leaves
  the store out, and is twice as fast. Two runs gave 4.6 and 4.7 times the baseline.
- **export** reads with two threads. Two runs gave 10.5 and 10.6 times the baseline; where other
  programs want both cores it was 6 to 7, since the baseline needs but one.

The calls over gRPC are answered by our own front door (decision 007). Seven runs gave 1.4 to 1.8
for grpc64, 3.1 to 3.8 for grpcbook and 0.9 to 1.3 for grpcremote, in which one process of the
published client handles for both sides; with grpc.aio's server they were 0.46, 0.71 to 0.84 and
0.54. Of the 60 to 75 µs that a HandleCommand costs the event loop's thread here the door is some 6;
the rest is the command path in Python.
"""


def write(data: dict[str, Any], folder: pathlib.Path) -> None:
    """Write the page into `folder`, beside the plots."""
    machine, versions = data["machine"], data["versions"]
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        HEAD,
        f"{data['date']}, {machine['cores']} × {machine['cpu']}, {machine['system']}; {names}.\n",
        "| id | work | ours | others | ours ÷ theirs | flush µs | target | met |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in data["results"]:
        others = "<br>".join(f"{name} {figure:,.0f}" for name, figure in row["compared"].items())
        ratios = "<br>".join(f"{ratio:.2f} × {name}" for name, ratio in row["ratios"].items())
        cells = [
            row["id"],
            row["work"],
            f"{row['ours']:,.0f} {row['unit']}",
            others,
            ratios.replace("|", " or "),
            f"{row['flush_us']:.0f}",
            row["target"],
            "yes" if row["met"] else "**no**",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    plots = dict.fromkeys(row["group"] for row in data["results"])
    lines += ["", *(f"![{group}]({group}.svg)\n" for group in plots)]
    (folder / "README.md").write_text("\n".join(lines) + NOTES)
