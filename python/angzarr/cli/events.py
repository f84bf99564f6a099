"""`angzarr events`: what a stream holds, as a table or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from angzarr import points
from angzarr.caller_sync import SyncDomain
from angzarr.calls import Event
from angzarr.cli import options
from angzarr.cli.outcome import told
from angzarr.cli.payloads import Payloads, compact
from angzarr.client import connect_sync

TABLE_ROWS: Final = 1_000
"""Rows that one table lays out together; a longer stream is several tables."""

PIPE_COLUMNS: Final = 160
"""Width where the output is no terminal, which would say."""


def events(
    domain: Annotated[str, typer.Argument(help="The aggregate's domain.")],
    root: Annotated[str, typer.Argument(help="A name, or a UUID.")],
    address: options.Address = options.DEFAULT_ADDRESS,
    edition: options.Edition = "",
    at: options.At = "",
    first: Annotated[int | None, typer.Option(min=0, help="From this sequence on.")] = None,
    last: Annotated[int | None, typer.Option(min=0, help="Up to this sequence.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new events.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    descriptors: options.Descriptors = "",
    timeout_s: options.Timeout = 30.0,
) -> None:
    """Print the events of one stream, oldest first."""
    if sum((bool(at), first is not None or last is not None, follow and last is not None)) > 1:
        raise typer.BadParameter("choose one of --at, --first/--last; --follow takes --first only")
    if follow and at:
        raise typer.BadParameter("--follow shows what comes; it does not go with --at")
    with told(address), connect_sync(address) as client:
        payloads = Payloads(descriptors)
        target = client.domain(domain, edition=edition)
        found = _found(target, root, at, first, last, follow, timeout_s)
        if as_json:
            for event in found:
                sys.stdout.write(compact(payloads.row(event)) + "\n")
                sys.stdout.flush()
        elif follow:
            _lines(found, payloads)
        elif not _tables(found, payloads):
            sys.stderr.write(f"no events in {domain}/{root}\n")


def _found(
    target: SyncDomain[Any],
    root: str,
    at: str,
    first: int | None,
    last: int | None,
    follow: bool,
    timeout_s: float,
) -> Iterator[Event]:
    if follow:
        return target.follow(root, first=first or 0)
    point = points.parse(at, "--at") if at else None
    return target.events(root, first=first, last=last, at=point, timeout_s=timeout_s)


def _tables(found: Iterator[Event], payloads: Payloads) -> int:
    """Print tables of at most TABLE_ROWS; how many events there were."""
    console = _console()
    count = 0
    while rows := list(islice(found, TABLE_ROWS)):
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("seq", justify="right", no_wrap=True)
        table.add_column("time (UTC)", no_wrap=True)
        table.add_column("type", overflow="fold")
        table.add_column("payload", overflow="fold", ratio=1)
        for event in rows:
            table.add_row(*map(Text, _cells(event, payloads)))
        console.print(table)
        count += len(rows)
    return count


def _lines(found: Iterable[Event], payloads: Payloads) -> None:
    for event in found:
        sys.stdout.write("  ".join(_cells(event, payloads)) + "\n")
        sys.stdout.flush()


def _cells(event: Event, payloads: Payloads) -> tuple[str, str, str, str]:
    created = event.created_at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    name = event.type_name + (" (pending)" if event.is_pending else "")
    return str(event.sequence), created, name, compact(payloads.open(event.page.event))


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=PIPE_COLUMNS, color_system=None)


command = events
