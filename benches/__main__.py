"""Run the benches, print a table, write results/latest.json and a plot per group in
docs/benchmarks."""

from __future__ import annotations

import argparse
import json
import pathlib
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata

from rich.console import Console
from rich.table import Table

from benches import bus, commands, data, editions, hops, page, projections, rpc, stores
from benches.harness import measure
from benches.plots import draw

HERE = pathlib.Path(__file__).resolve().parent
LATEST = HERE / "results" / "latest.json"
PAGES = HERE.parent / "docs" / "benchmarks"
MODULES = (stores, commands, rpc, hops, projections, bus, editions, data)
BENCHES = {bench.id: bench for module in MODULES for bench in module.BENCHES}
PACKAGES = ("angzarr", "grpcio", "protobuf", "rocksdict", "umadb", "eventsourcing", "asyncpg")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=sorted(BENCHES), metavar="ID", help=", ".join(BENCHES)
    )
    parser.add_argument("--out", type=pathlib.Path, default=LATEST)
    options = parser.parse_args()
    console = Console()
    rows = []
    for bench_id in options.only or BENCHES:
        row = measure(BENCHES[bench_id], console.print).as_json()
        rows.append(row)
        keep(rows, options.out)
    console.print(table(rows))
    if options.out == LATEST:
        data = json.loads(options.out.read_text())
        draw(data["results"], PAGES)
        page.write(data, PAGES)
    sys.exit(0 if all(row["met"] for row in rows) else 1)


def keep(rows: list[dict[str, object]], path: pathlib.Path) -> None:
    """Put `rows` into the file in place of older ones of the same id."""
    old = json.loads(path.read_text())["results"] if path.exists() else []
    ids = {row["id"] for row in rows}
    merged = {row["id"]: row for row in [*(r for r in old if r["id"] not in ids), *rows]}
    results = [merged[name] for name in BENCHES if name in merged]
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        json.dumps({**surroundings(), "results": results}, indent=1, ensure_ascii=False) + "\n"
    )


def surroundings() -> dict[str, object]:
    """The machine, the versions and the commit that the figures belong to."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True
    )
    cpu = [
        line.split(":")[1].strip()
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "machine": {
            "cpu": cpu[0] if cpu else platform.processor(),
            "cores": len(cpu),
            "system": platform.platform(),
        },
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in PACKAGES},
    }


def table(rows: list[dict[str, object]]) -> Table:
    """The results as a person reads them."""
    out = Table("id", "work", "ours", "compared", "ratio", "flush µs", "target", "met")
    for row in rows:
        compared, ratios = row["compared"], row["ratios"]
        assert isinstance(compared, dict)
        assert isinstance(ratios, dict)
        out.add_row(
            str(row["id"]),
            str(row["work"]),
            f"{row['ours']:,.0f} {row['unit']}",
            "\n".join(f"{name} {figure:,.0f}" for name, figure in compared.items()),
            "\n".join(f"{ratio:.2f} × {name}" for name, ratio in ratios.items()),
            f"{row['flush_us']:.0f}",
            str(row["target"]),
            "yes" if row["met"] else "[red]no[/red]",
        )
    return out


if __name__ == "__main__":
    main()
