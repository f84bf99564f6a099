"""One SVG per group: how many times the peer's rate ours is, on a logarithmic axis; or how a
latency is distributed."""

from __future__ import annotations

import math
import pathlib
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "angzarr"  # the same figures give the same file
from matplotlib import pyplot as plt  # noqa: E402

TICKS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
TICKS_MS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
SHARES = (0, 0.5, 0.9, 0.99, 0.999)


def draw(rows: list[dict[str, Any]], folder: pathlib.Path) -> None:
    """Write `<group>.svg` for each group that has rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        if "distribution" in row:
            draw_distribution(row, folder)
    for group in dict.fromkeys(row["group"] for row in rows if "distribution" not in row):
        bars = [
            (f"{row['id']} ÷ {peer}", ratio)
            for row in rows
            if row["group"] == group
            for peer, ratio in row["ratios"].items()
            if "|" not in peer
        ]
        figure, axes = plt.subplots(figsize=(8, 0.8 + 0.38 * len(bars)))
        labels, ratios = [label for label, _ in bars][::-1], [ratio for _, ratio in bars][::-1]
        axes.barh(
            labels, ratios, color=["#2a6f97" if ratio >= 1 else "#bc4b51" for ratio in ratios]
        )
        for index, ratio in enumerate(ratios):
            axes.annotate(f" {ratio:.2f}×", (ratio, index), va="center", fontsize=8)
        axes.axvline(1, color="#333333", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_xlim(min(0.25, *ratios) * 0.8, max(4, *ratios) * 2)
        ticks = [tick for tick in TICKS if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
        axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlabel("our rate ÷ the other's (median of rounds, log scale)")
        axes.set_title(group)
        axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        figure.savefig(folder / f"{group}.svg", metadata={"Date": None})
        plt.close(figure)


def draw_distribution(row: dict[str, Any], folder: pathlib.Path) -> None:
    """`<group>.svg`: which share of all cases takes at most so long; the rarer, the more room."""
    shares, times_ms = row["distribution"]["share"], row["distribution"]["ms"]
    points = [
        (nines(share), max(ms, TICKS_MS[0])) for share, ms in zip(shares, times_ms, strict=True)
    ]
    top = nines(SHARES[-1]) + 0.3
    figure, axes = plt.subplots(figsize=(8, 3.4))
    axes.plot([ms for _, ms in points], [min(place, top) for place, _ in points], color="#2a6f97")
    for share in SHARES[1:]:
        ms = times_ms[min(index for index, found in enumerate(shares) if found >= share)]
        axes.annotate(f" {ms:.2f} ms", (max(ms, TICKS_MS[0]), nines(share)), va="top", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(TICKS_MS[0], max(10.0, 1.2 * times_ms[-1]))
    ticks = [tick for tick in TICKS_MS if tick <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_yticks([nines(share) for share in SHARES], [f"{share:.1%}" for share in SHARES])
    axes.set_ylim(0, top)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_xlabel("ms (log scale)")
    axes.set_title(row["work"], fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(folder / f"{row['group']}.svg", metadata={"Date": None})
    plt.close(figure)


def nines(share: float) -> float:
    """0, 1, 2, 3 for all but 100 %, 10 %, 1 %, 0.1 %."""
    return -math.log10(max(1 - share, 1e-6))
