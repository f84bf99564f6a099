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
  PostgreSQL 15, a connection a writer; **eventsourcing** 9.5 on SQLite.
- **bare echo** is a grpc.aio server that answers as many bytes; **direct** a call of the remote
  handler without us; **bare flush** what the disk does alone.

"""
NOTES = """
A target that is missed stays here as missed. What stands in the way:

- **append1.** One caller's commit is one flush, for PostgreSQL as for us: it overwrites a
  preallocated log as ours does, and its round trip over a socket costs little more than our
  hand-over to the committer and back. Where a flush takes 100 µs the ratio has little room above
  1.3; runs on this machine gave 1.1 to 1.3 against PostgreSQL and 2.5 to 3.7 against umadb. A
  growing log measured some 30 µs worse, O_DIRECT with O_DSYNC 8 to 15 µs better (bare C loops), a
  committer that spins before it sleeps nothing.
- **diverge1000 against a plain read** gave 0.85, 0.87 and 0.93 in three runs, around its target:
  a branch looks at four hot tails where main looks at one, 0.9 µs of 5.7.

The calls over gRPC are met since the server is our own front door (decision 007). Five runs gave
1.4 to 1.8 for grpc64, 3.1 to 3.8 for grpcbook and 0.9 to 1.3 for grpcremote, in which one process
of the published client handles for both sides; with grpc.aio's server they were 0.46, 0.71 to 0.84
and 0.54. Of the 60 to 75 µs that a HandleCommand costs the event loop's thread here the door is
some 6; the rest is the command path in Python.
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
