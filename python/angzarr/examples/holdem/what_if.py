"""`python -m angzarr.examples.holdem.what_if [HAND]`: what if the loser had folded?

Plays a published hand in this process, forks it at each decision of the player who lost most, and
has that player fold there. Each fork is an edition of its own, so history is as it was. Prints and
plots what each would have cost, and then plays thousands of branches at random, as a training set.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from angzarr import App
from angzarr.caller import Caller
from angzarr.examples.holdem import folding, plots, report, training
from angzarr.examples.holdem.dealer import Dealer
from angzarr.examples.holdem.hand import Hand
from angzarr.examples.holdem.hands import PublishedHand, published_hands
from angzarr.examples.holdem.play import play
from angzarr.examples.holdem.player import Player
from angzarr.examples.holdem.sagas import Cashier, Payout, Usher
from angzarr.examples.holdem.table import Table

HAND = "dwan-ivey-2009"
ROOM = (Player, Table, Hand, Dealer, Cashier, Usher, Payout)
"""What it takes to play a hand."""

PIPED_COLUMNS = 120
PLOT = "what-if.svg"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when done."""
    parser = argparse.ArgumentParser(description="What if the loser had folded?")
    parser.add_argument("hand", nargs="?", default=HAND, help=f"a published hand [{HAND}]")
    parser.add_argument("--branches", type=int, default=training.BRANCHES, help="[%(default)s]")
    parser.add_argument(
        "--out", type=Path, help="a folder to keep the data in, and the training set"
    )
    options = parser.parse_args(arguments)
    hands = {hand.name: hand for hand in published_hands()}
    if options.hand not in hands:
        parser.error(f"no such hand; there are {', '.join(hands)}")
    console = Console(width=None if sys.stdout.isatty() else PIPED_COLUMNS)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    kept = nullcontext(options.out) if options.out else tempfile.TemporaryDirectory()
    with kept as folder:
        asyncio.run(_play(console, hands[options.hand], Path(folder), options.branches))
    return 0


async def _play(console: Console, hand: PublishedHand, folder: Path, branches: int) -> None:
    async with App(*ROOM, store=f"rocksdb://{folder / 'store'}") as app:
        await play(app, [hand])
        await show(console, app, hand, folder, branches=branches)


async def show(
    console: Console, client: Caller, hand: PublishedHand, folder: Path, *, branches: int
) -> None:
    """Answer the question for a hand that has been played, and make a training set of it.

    client: an app, or a client of a server on this machine. folder: for the training set and the
    plot.
    """
    found = await folding.alternatives(client, hand)
    console.print(report.question(hand))
    console.print(report.of_alternatives(hand, found))
    console.print(report.bars(hand, found))
    plots.draw(hand, found, folder / PLOT)
    decisions = [alternative.decision for alternative in found]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("exploring", total=branches)
        learnt = await training.write(
            client,
            hand,
            decisions,
            folder,
            branches=branches,
            progress=lambda done, _: progress.update(task, completed=done),
        )
    console.print(report.of_training(hand, found, learnt))
    console.print(report.of_files([folder / file for file in (PLOT, *training.FILES)]))


if __name__ == "__main__":
    sys.exit(main())
