"""`angzarr snapshots`: which there are, and away with those that a change of code made useless."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from angzarr import wire
from angzarr.cli import options
from angzarr.cli.outcome import EXIT_CODES, told
from angzarr.client import connect_sync
from angzarr.cover import root_of

LIST: Final = "/angzarr.AdminService/ListSnapshots"
DELETE: Final = "/angzarr.AdminService/DeleteSnapshots"
PIPE_COLUMNS: Final = 160
TABLE_ROWS: Final = 1_000
_RETENTION: Final = len("RETENTION_")

Domain = Annotated[str, typer.Argument(help="The aggregate's domain.")]
Root = Annotated[str, typer.Argument(help="A name, or a UUID; all streams without it.")]
Edition = Annotated[str, typer.Option(help="Of this branch only; `angzarr` is main.")]

app = typer.Typer(
    help="Snapshots: list them, and drop those of a state whose class has changed.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
    rich_markup_mode=None,
)


@app.command("list", epilog=EXIT_CODES)
def list_snapshots(
    domain: Domain,
    root: Root = "",
    address: options.Address = options.DEFAULT_ADDRESS,
    edition: Edition = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Show the snapshots of a domain, or of one aggregate: where each is, its type and its size."""
    with told(address), connect_sync(address) as client:
        answers = client.transport.stream(LIST, _request(domain, root, edition))
        rows = (_row(wire.SnapshotEntry.FromString(data)) for data in answers)
        if as_json:
            for row in rows:
                sys.stdout.write(json.dumps(row) + "\n")
            return
        if not _tables(rows):
            sys.stderr.write(f"no snapshots of {'/'.join(filter(None, (domain, root)))}\n")


@app.command(epilog=EXIT_CODES)
def delete(
    domain: Domain,
    root: Root = "",
    address: options.Address = options.DEFAULT_ADDRESS,
    edition: Edition = "",
) -> None:
    """Delete the snapshots of a domain, or of one aggregate; no event is touched.

    The next command to a stream reads its events from the first one on. A snapshot that its class
    no longer reads is skipped anyway; this is for a change that its fields do not show, such as
    another meaning of one of them.
    """
    with told(address), connect_sync(address) as client:
        answer = client.transport.unary(DELETE, _request(domain, root, edition))
        deleted = wire.DeleteSnapshotsResponse.FromString(answer).deleted
    typer.echo(f"{deleted:,} deleted")


def _request(domain: str, root: str, edition: str) -> bytes:
    request = wire.SnapshotsRequest(domain=domain, edition=edition)
    if root:
        request.root.value = root_of(root)
    return request.SerializeToString()


def _row(entry: wire.SnapshotEntry) -> dict[str, str | int]:
    return {
        "edition": entry.cover.edition.name,
        "root": str(uuid.UUID(bytes=entry.cover.root.value)),
        "sequence": entry.sequence,
        "retention": wire.SnapshotRetention.Name(entry.retention)[_RETENTION:].lower(),
        "type": entry.type,
        "size_bytes": entry.size_bytes,
    }


def _tables(rows: Iterator[dict[str, str | int]]) -> int:
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_COLUMNS, color_system=None)
    count = 0
    while part := list(islice(rows, TABLE_ROWS)):
        table = Table(box=None, header_style="bold", pad_edge=False)
        for title in part[0]:
            is_number = isinstance(part[0][title], int)
            table.add_column(title.replace("_", " "), justify="right" if is_number else "left")
        for row in part:
            table.add_row(*(Text(str(value)) for value in row.values()))
        console.print(table)
        count += len(part)
    return count
