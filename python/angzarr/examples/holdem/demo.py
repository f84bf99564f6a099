"""`python -m angzarr.examples.holdem.demo`: real hands, a real server, and a real kill -9.

Starts `angzarr serve` in a process of its own, plays the published hands through it over gRPC,
kills it half-way while commands are in flight, starts it again on the same data, goes on from
where the streams stand, and compares the results with the published ones. Exits 1 on a difference.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column, Table

from angzarr.client import connect
from angzarr.errors import RemoteError
from angzarr.examples.holdem.hands import PublishedHand, published_hands
from angzarr.examples.holdem.messages import Chips
from angzarr.examples.holdem.play import Result, play, results

START_S_MAX = 60.0
PIPED_COLUMNS = 120
LISTENING = "listening on "
SERVE = "from angzarr.cli import main; main()"


class ServerFailed(Exception):
    """The server ended before it listened; the message has its last words."""


def main() -> int:
    """Run the demo; 0 if all results are as published."""
    parser = argparse.ArgumentParser(description="Real hands, a real server, and a real kill -9.")
    parser.add_argument("--store", default="rocksdb", help="rocksdb or rocksdict [rocksdb]")
    parser.add_argument("--hands", type=int, help="play only the first so many [all]")
    options = parser.parse_args()
    hands = published_hands()[: options.hands]
    console = Console(width=None if sys.stdout.isatty() else PIPED_COLUMNS)
    with tempfile.TemporaryDirectory(prefix="angzarr-holdem-") as folder:
        try:
            return asyncio.run(_demo(console, Path(folder), hands, options.store))
        except ServerFailed as error:
            console.print(str(error), style="red", markup=False, highlight=False)
            return 1


async def _demo(console: Console, folder: Path, hands: Sequence[PublishedHand], scheme: str) -> int:
    command_count = sum(len(hand.commands) for hand in hands)
    console.print(f"{len(hands)} published hands, {command_count:,} commands")
    acknowledged: dict[str, int] = {}
    with _progress(console) as progress:
        task = progress.add_task("playing", total=command_count)
        async with serving(folder, scheme) as (server, address):
            console.print(f"server {server.pid} listens on {address}")
            await _play_until_killed(server, address, hands, acknowledged, progress)
        console.print(f"killed it with -9 after {sum(acknowledged.values()):,} events")
        started = time.perf_counter()
        async with serving(folder, scheme) as (server, address):
            took_ms = (time.perf_counter() - started) * 1000
            console.print(f"server {server.pid} listens on {address} after {took_ms:.0f} ms")
            async with connect(address) as client:
                lost = await _lost(address, hands, acknowledged)
                await play(client, hands, heard=lambda hand, sequence: progress.advance(task))
                progress.update(task, completed=command_count)
                found = await results(client, hands)
    console.print(_table(found))
    wrong = [result for result in found if not result.is_as_published]
    console.print(f"acknowledged before the kill and lost: {lost}")
    console.print(f"{len(found) - len(wrong)} of {len(found)} hands paid out as published")
    return 1 if wrong or lost else 0


@contextlib.asynccontextmanager
async def serving(folder: Path, scheme: str) -> AsyncGenerator[tuple[Process, str]]:
    """A server of the hands on the data in `folder`, and its address; it is stopped at the end.

    scheme: that of the store's URL.
    Raises ServerFailed if it does not listen within START_S_MAX.
    """
    app = Path(__file__).with_name("app.py")
    log = folder / "server.log"
    with log.open("ab") as errors:
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SERVE, "serve", str(app)),
            *("--port", "0", "--store", f"{scheme}://{folder / 'data'}"),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=errors,
        )
    try:
        async with asyncio.timeout(START_S_MAX):
            address = await _address(server)
    except (TimeoutError, ServerFailed) as error:
        await _stop(server)
        raise ServerFailed(f"the server did not start: {log.read_text()[-2000:]}") from error
    drain = asyncio.create_task(_drain(server))
    try:
        yield server, address
    finally:
        await _stop(server)
        await drain


async def _address(server: Process) -> str:
    assert server.stdout is not None
    async for line in server.stdout:
        text = line.decode().strip()
        if text.startswith(LISTENING):
            return text.removeprefix(LISTENING)
    raise ServerFailed("it ended")


async def _drain(server: Process) -> None:
    assert server.stdout is not None
    while await server.stdout.read(65_536):
        pass


async def _stop(server: Process) -> None:
    if server.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            server.terminate()
    await server.wait()


async def _play_until_killed(
    server: Process,
    address: str,
    hands: Sequence[PublishedHand],
    acknowledged: dict[str, int],
    progress: Progress,
) -> None:
    """Play; at half of the commands kill the server under the feet of those in flight."""
    half = sum(len(hand.commands) for hand in hands) // 2
    heard_count = 0

    def heard(hand: PublishedHand, next_sequence: int) -> None:
        nonlocal heard_count
        acknowledged[hand.root] = next_sequence
        progress.advance(progress.task_ids[0])
        heard_count += 1
        if heard_count == half:
            server.kill()

    async with connect(address) as client:
        try:
            await play(client, hands, heard=heard)
        except* RemoteError as errors:
            unexpected = errors.split(_is_away)[1]
            if unexpected is not None:
                raise unexpected from None
    await server.wait()


def _is_away(error: BaseException) -> bool:
    return isinstance(error, RemoteError) and error.code == "UNAVAILABLE"


async def _lost(address: str, hands: Sequence[PublishedHand], acknowledged: dict[str, int]) -> int:
    """How many acknowledged events are not there."""
    async with connect(address) as client:
        found = await results(client, hands)
    return sum(
        max(0, acknowledged.get(result.hand.root, 0) - result.event_count) for result in found
    )


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True)


def _table(found: Sequence[Result]) -> Table:
    table = Table(Column("hand", no_wrap=True), "game", "events", "paid out", "published", "")
    for result in found:
        is_right = result.is_as_published
        table.add_row(
            result.hand.root,
            result.hand.variant,
            str(result.event_count),
            _shown(result.payoffs),
            _shown(result.hand.payoffs),
            "[green]✓" if is_right else "[red]differs",
        )
    return table


def _shown(payoffs: tuple[Chips, ...]) -> str:
    """Each player's, in thousands (k) where that is exact."""
    return " ".join(map(_amount, payoffs))


def _amount(chips: Chips) -> str:
    if not chips:
        return "0"
    if chips % 1000:
        return f"{Decimal(chips).normalize():+,f}"
    return f"{int(chips) // 1000:+,}k"


if __name__ == "__main__":
    sys.exit(main())
