"""`angzarr schema check`: stored events that the classes of an app don't read."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from angzarr import schema, stores
from angzarr.aggregates import is_aggregate, tls_files
from angzarr.app import App
from angzarr.cli import options
from angzarr.cli.loading import load_app
from angzarr.cli.outcome import EXIT_CODES, FAILED, USAGE, fail, told
from angzarr.cli.payloads import Json, compact
from angzarr.cli.progress import count_bar
from angzarr.ports.components import Upcaster
from angzarr.ports.stores import Stores
from angzarr.schema import Example, SchemaCheck, TypeFound

PIPE_COLUMNS: Final = 160

app = typer.Typer(
    help="What events the store has, and which of them the classes of today read.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
    rich_markup_mode=None,
)


@app.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction]  # makes `check` a subcommand
    pass


@app.command(epilog=EXIT_CODES)
def check(
    module: options.Module,
    address: options.Address = options.DEFAULT_ADDRESS,
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", help="Look at this store, which no server has open."),
    ] = None,
    config: options.ConfigFile = None,
    domain: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be given several times.")
    ] = None,
    tries_all: Annotated[
        bool, typer.Option("--all", help="Decode every event, not only samples.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per type.")] = False,
) -> None:
    """Find event types in the store that no class of the app reads.

    A type is read if an aggregate applies it, a saga, process manager or projector handles it, or
    an upcaster makes a type of it that one of them does. What nobody reads is skipped wherever it
    comes, so that its part of the state is missing. Without --data the store of the server at
    --address is looked at, whatever code that server runs. Exit code 1 if something is not read.
    """
    if data is not None and not data.is_dir():
        raise fail(f"there is no store at {data}", USAGE)
    with told("" if data else address), count_bar("looking at events") as progress:
        loaded = load_app(module)
        options.configure(loaded, config=config, data=None)
        found = asyncio.run(_run(loaded, address, data, domain or [], tries_all, progress))
    for row in map(_row, found) if as_json else ():
        sys.stdout.write(compact(row) + "\n")
    if not as_json:
        _show(found)
    unread = [one for one in found if not one.is_readable]
    if unread:
        names = ", ".join(f"{one.domain}: {one.name}" for one in unread)
        raise fail(f"{len(unread)} of {len(found)} types can't be read: {names}", FAILED)


async def _run(
    loaded: App,
    address: str,
    data: Path | None,
    domains: Sequence[str],
    tries_all: bool,
    progress: Callable[[int, int], None],
) -> list[TypeFound]:
    opened = stores.open_stores(str(data)) if data else _served(address)
    upcasters = _Upcasters(loaded)
    try:
        checking = SchemaCheck(
            opened.events,
            schema.readers_of(loaded.definitions),
            upcasters.by_domain,
            elsewhere=_elsewhere(loaded),
        )
        return await checking.run(domains=domains, tries_all=tries_all, progress=progress)
    finally:
        await upcasters.close()
        await opened.close()


def _served(address: str) -> Stores:
    from angzarr.components import grpc_target, parse_endpoint
    from angzarr.rpc.remote_store import RemoteStores

    return RemoteStores(grpc_target(parse_endpoint(address, "--address")))


class _Upcasters:
    """Those of the app: its classes, and the remote one that its configuration names."""

    def __init__(self, loaded: App) -> None:
        self.by_domain: dict[str, Upcaster] = schema.upcasters_in(loaded.definitions)
        self._endpoint = None
        configured = loaded.config.upcaster
        if configured.enabled and configured.address:
            from angzarr.components import parse_endpoint
            from angzarr.rpc.remote import Endpoint, RemoteUpcaster

            where = parse_endpoint(configured.address, "upcaster.address")
            self._endpoint = Endpoint(where, tls=tls_files(loaded.config))
            remote = RemoteUpcaster(self._endpoint)
            for component in loaded.components().values():
                if is_aggregate(component.name):
                    self.by_domain.setdefault(component.domain, remote)

    async def close(self) -> None:
        if self._endpoint is not None:
            await self._endpoint.close()


def _elsewhere(loaded: App) -> Mapping[str, str]:
    """Domains that are decided on in other processes without a class here."""
    return {
        component.domain: f"{component.name} at {component.endpoint}"
        for component in loaded.components().values()
        if is_aggregate(component.name) and not component.definition
    }


def _show(found: Sequence[TypeFound]) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_COLUMNS, color_system=None)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("domain", "type", "events", "positions", "read by"):
        table.add_column(title, justify="right" if title == "events" else "left", overflow="fold")
    for one in found:
        name = " → ".join((one.name, *sorted(one.became)))
        positions = f"{one.first_position:,}-{one.last_position:,}"
        row = (one.domain, name, f"{one.count:,}", positions, _verdict(one))
        table.add_row(*map(Text, row))
    console.print(table)


def _verdict(one: TypeFound) -> str:
    if one.failures:
        failure = one.failures[0]
        count = f"{one.failure_count:,} of {one.tried_count:,} tried"
        return f"FAILS ({count}): {_where(failure.example)}: {failure.reason}"
    if not one.readers:
        return f"NOBODY; the first is {_where(one.example)}"
    return ", ".join(sorted(one.readers))


def _where(example: Example) -> str:
    cover = example.cover
    edition = "" if cover.is_main else f" on {cover.edition}"
    return f"{cover.domain}/{uuid.UUID(bytes=cover.root)} {example.sequence}{edition}"


def _row(one: TypeFound) -> dict[str, Json]:
    return {
        "domain": one.domain,
        "type": one.name,
        "count": one.count,
        "first_position": one.first_position,
        "last_position": one.last_position,
        "example": _example(one.example),
        "became": list[Json](sorted(one.became)),
        "readers": list[Json](sorted(one.readers)),
        "tried": one.tried_count,
        "failed": one.failure_count,
        "failures": [{**_example(f.example), "reason": f.reason} for f in one.failures],
        "is_readable": one.is_readable,
    }


def _example(example: Example) -> dict[str, Json]:
    return {
        "edition": example.cover.edition,
        "root": str(uuid.UUID(bytes=example.cover.root)),
        "sequence": example.sequence,
    }
