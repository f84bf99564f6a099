"""`python -m angzarr.examples.holdem.demo`: real hands, a real server, and a real kill -9.

Starts `angzarr serve` in a process of its own, and has the published hands played through it over
gRPC: players deposit, join tables, play hand after hand, and leave. Kills the server half-way while
commands and sagas are in flight, starts it again on the same data, and goes on from where the
streams stand. At the end the results of all hands and the standings of all players are compared
with the published ones, and the money is counted. Exits 1 on a difference.

Then one of the hands is asked what if the loser had folded (what_if.py): its history is forked,
and stays as it was.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from angzarr.caller import Caller
from angzarr.client import connect
from angzarr.errors import RemoteError
from angzarr.examples.holdem import report, training, what_if
from angzarr.examples.holdem.hand import Hand
from angzarr.examples.holdem.hands import PublishedHand, published_hands
from angzarr.examples.holdem.play import TIMEOUT_S, Heard, play
from angzarr.examples.holdem.results import (
    bankrolls,
    player_results,
    results,
    standings_when_complete,
)
from angzarr.examples.holdem.server import ServerFailed, read_model, serving

PIPED_COLUMNS = 120
HAND = Hand.table().domain

Acknowledged = dict[tuple[str, str], int]
"""By domain and root, the next sequence that the last answer told."""


def main() -> int:
    """Run the demo; 0 if all results are as published."""
    parser = argparse.ArgumentParser(description="Real hands, a real server, and a real kill -9.")
    parser.add_argument("--store", default="rocksdb", help="rocksdb or rocksdict [rocksdb]")
    parser.add_argument("--hands", type=int, help="play only the first so many [all]")
    parser.add_argument(
        "--branches", type=int, default=training.BRANCHES, help="of the training set [%(default)s]"
    )
    parser.add_argument(
        "--out", type=Path, help="a folder to keep the picture and the training set in"
    )
    options = parser.parse_args()
    hands = published_hands()[: options.hands]
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else PIPED_COLUMNS)
    with tempfile.TemporaryDirectory(prefix="angzarr-holdem-") as folder:
        try:
            out = options.out or Path(folder)
            demo = _demo(console, Path(folder), hands, options.store, out, options.branches)
            return asyncio.run(demo)
        except ServerFailed as error:
            console.print(str(error), style="red", markup=False, highlight=False)
            return 1


async def _demo(
    console: Console,
    folder: Path,
    hands: Sequence[PublishedHand],
    scheme: str,
    out: Path,
    branches: int,
) -> int:
    action_count = sum(len(hand.actions) for hand in hands)
    console.print(report.programme(hands))
    acknowledged: Acknowledged = {}
    with _progress(console) as progress:
        task = progress.add_task("playing", total=action_count)

        def heard(domain: str, root: str, next_sequence: int) -> None:
            acknowledged[domain, root] = next_sequence
            progress.advance(task, domain == HAND)

        async with serving(folder, scheme) as (server, address):
            console.print(f"server {server.pid} listens on {address}")
            await _play_until_killed(server, address, hands, heard, action_count // 2)
        acknowledged_count = sum(acknowledged.values())
        console.print(f"killed it with -9 after {acknowledged_count:,} acknowledged events")
        started = time.perf_counter()
        async with serving(folder, scheme) as (server, address):
            took_ms = (time.perf_counter() - started) * 1000
            console.print(f"server {server.pid} listens on {address} after {took_ms:.0f} ms")
            async with connect(address) as client:
                lost_count = await _lost(client, acknowledged)
                await play(client, hands, heard)
                progress.update(task, completed=action_count)
                played = await results(client, hands)
                money = await bankrolls(client, hands)
            with closing(read_model(folder)) as reader:
                found = await standings_when_complete(reader, hands)
    players = player_results(hands, found, money)
    console.print(report.of_hands(played))
    console.print(report.of_players(players))
    console.print(report.summary(played, players))
    console.print(f"acknowledged before the kill and lost: {lost_count}")
    is_right = all(result.is_as_published for result in (*played, *players))
    async with serving(folder, scheme) as (_, address), connect(address) as client:
        asked = next((hand for hand in hands if hand.name == what_if.HAND), hands[0])
        await what_if.show(console, client, asked, out, branches=branches)
        is_untouched = await results(client, hands) == played
    console.print(f"what was really played is {'as it was' if is_untouched else 'not as it was'}")
    return 0 if is_right and is_untouched and not lost_count else 1


async def _play_until_killed(
    server: Process, address: str, hands: Sequence[PublishedHand], heard: Heard, half: int
) -> None:
    """Play; after `half` actions kill the server under the feet of those in flight."""
    action_count = 0

    def heard_here(domain: str, root: str, next_sequence: int) -> None:
        nonlocal action_count
        heard(domain, root, next_sequence)
        action_count += domain == HAND
        if action_count == half:
            server.kill()

    async with connect(address) as client:
        try:
            await play(client, hands, heard_here)
        except* RemoteError as errors:
            unexpected = errors.split(_is_away)[1]
            if unexpected is not None:
                raise unexpected from None
    await server.wait()


def _is_away(error: BaseException) -> bool:
    return isinstance(error, RemoteError) and error.code == "UNAVAILABLE"


async def _lost(client: Caller, acknowledged: Acknowledged) -> int:
    """How many acknowledged events are not there."""
    lost_count = 0
    for (domain, root), next_sequence in acknowledged.items():
        book = await client.domain(domain).book(root, timeout_s=TIMEOUT_S)
        lost_count += max(0, next_sequence - len(book))
    return lost_count


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True)


if __name__ == "__main__":
    sys.exit(main())
