"""`angzarr export`: a store's events as a file for analysis."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

import typer

from angzarr.cli import options
from angzarr.cli.loading import load_app
from angzarr.cli.outcome import USAGE, fail, told
from angzarr.cli.progress import count_bar, human_bytes
from angzarr.client import connect_sync

if TYPE_CHECKING:
    from angzarr.data import Batches, Writer
    from angzarr.data.fields import Selector
    from angzarr.parts import Definition

Format = Literal["parquet", "arrow", "npz", "npy"]
KINDS = ("int", "float", "bool", "text", "strings", "datetime")


def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="The file: .parquet, .arrow, .npz.")],
    module: Annotated[
        str, typer.Argument(metavar="[APP]", help="app.py, whose classes know the fields.")
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", help="Read this store, which no server has open."),
    ] = None,
    store: Annotated[
        str, typer.Option(help="Read the store at this URL, such as rocksdict://PATH.")
    ] = "",
    address: options.Address = options.DEFAULT_ADDRESS,
    format: Annotated[
        str, typer.Option(help="parquet, arrow, npz, or npy: a directory of arrays.")
    ] = "",
    editions: Annotated[
        list[str] | None, typer.Option("--edition", help="A branch, or * for all [main].")
    ] = None,
    domains: Annotated[list[str] | None, typer.Option("--domain", help="Only these.")] = None,
    types: Annotated[list[str] | None, typer.Option("--type", help="Only these events.")] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            metavar="NAME=[TYPE.]PATH[:KIND]",
            help="A column of a payload field; the kind (int, float, bool, text, strings, "
            "datetime) where the app has no class for the type.",
        ),
    ] = None,
    payloads: Annotated[bool, typer.Option("--payloads", help="Whole payloads, too.")] = False,
    inherited: Annotated[
        bool, typer.Option("--inherited", help="Streams of branches with what they inherit.")
    ] = False,
    after: Annotated[int, typer.Option(min=0, help="Go on after this log position.")] = 0,
    until: Annotated[int | None, typer.Option(min=0, help="Up to this log position.")] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace the file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A summary as JSON.")] = False,
) -> None:
    """Write the events of a store to a file, a column for each field.

    Without --data and --store it is the store of the server at --address, on this machine.
    Example: angzarr export app.py --out hands.parquet --domain hand --field to=BetOrRaised.to
    """
    if format and format not in get_args(Format):
        raise typer.BadParameter("one of " + ", ".join(get_args(Format)), param_hint="--format")
    if data is not None and not data.is_dir():
        raise fail(f"there is no store at {data}", USAGE)
    if data is not None and store:
        raise typer.BadParameter("--data is a directory, --store a URL: give one of them")
    chosen = cast("Format", format) if format else None
    with told("" if data or store else address), contextlib.ExitStack() as stack:
        from angzarr.data import batches

        start = time.monotonic()
        definitions = load_app(module).definitions if module else ()
        progress = stack.enter_context(count_bar("exporting"))
        found = batches(
            data or store or stack.enter_context(connect_sync(address)),
            editions=editions or "main",
            domains=domains or None,
            types=types or None,
            fields=dict(_selector(field, definitions) for field in fields or ()),
            payloads=payloads,
            inherited=inherited,
            after=after,
            until=until,
            definitions=definitions,
            progress=progress,
        )
        file = found.save(out, chosen, overwrite=force)
    _tell(found, file, time.monotonic() - start, as_json)


def _selector(text: str, definitions: Sequence[Definition]) -> tuple[str, Selector]:
    """The column's name and its field: `to=BetOrRaised.to`, `cents=cents`, `cents`."""
    from angzarr.data.fields import Catalog, Field

    name, separator, path = text.partition("=")
    if not separator:
        name, path = text.rpartition(".")[2], text
        name = name.partition(":")[0]
    path, _, kind = path.partition(":")
    if kind and kind not in KINDS:
        raise typer.BadParameter(
            f"{text}: a kind is one of {', '.join(KINDS)}", param_hint="--field"
        )
    event, rest = Catalog(definitions).split(path)
    if event is None:
        if kind:
            raise typer.BadParameter(f"{text}: a kind goes with a type", param_hint="--field")
        return name, path
    return name, Field(event, rest, kind or None)


def _tell(found: Batches, file: Writer, elapsed_s: float, as_json: bool) -> None:
    if as_json:
        summary = {
            "path": str(file.path),
            "format": file.format,
            "rows": file.row_count,
            "size_bytes": file.size_bytes,
            "position": found.position,
            "elapsed_s": round(elapsed_s, 3),
        }
        sys.stdout.write(json.dumps(summary) + "\n")
        return
    rate = f"{file.row_count / elapsed_s:,.0f} a second" if elapsed_s else "at once"
    size = human_bytes(file.size_bytes)
    typer.echo(f"{file.row_count:,} events, {size}, in {file.path} ({rate})")
    typer.echo(f"the log goes on after position {found.position}: --after {found.position}")


command = export
