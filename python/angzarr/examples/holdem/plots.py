"""Payoffs, branch by branch, as a picture."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from angzarr.examples.holdem.folding import Alternative, loser_of
from angzarr.examples.holdem.hands import PublishedHand
from angzarr.examples.holdem.report import decided


def draw(hand: PublishedHand, alternatives: Sequence[Alternative], path: Path) -> None:
    """Write an SVG to `path`."""
    figures: Any = importlib.import_module("matplotlib.figure")  # pyplot looks for a display
    player = hand.players[loser_of(hand) - 1]
    labels = ["as played", *(f"folds at {a.decision.sequence}" for a in alternatives)]
    payoffs = [alternatives[0].payoff, *(a.payoff_folded for a in alternatives)]
    figure: Any = figures.Figure(figsize=(8, 1 + 0.5 * len(labels)), layout="tight")
    axes: Any = figure.subplots()
    axes.barh(labels[::-1], [float(payoff) for payoff in payoffs[::-1]], color="#2a6f97")
    for row, alternative in enumerate(reversed(alternatives)):
        text = f" instead of: {decided(alternative.played)}"
        axes.annotate(text, (0, row), va="center", fontsize=8)
    axes.axvline(0, color="#333333", linewidth=0.8)
    axes.set_title(f"{hand.name}: what {player} would have won by folding")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
