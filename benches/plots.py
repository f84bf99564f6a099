"""One SVG per group: how many times the peer's rate ours is, on a logarithmic axis, the target as a
mark."""

from __future__ import annotations

import pathlib
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "angzarr"  # the same figures give the same file
from matplotlib import pyplot as plt  # noqa: E402

TICKS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def draw(rows: list[dict[str, Any]], folder: pathlib.Path) -> None:
    """Write `<group>.svg` for each group that has rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for group in dict.fromkeys(row["group"] for row in rows):
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
