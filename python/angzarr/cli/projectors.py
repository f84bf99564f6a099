"""`angzarr projectors`: what read models there are, and how they are made anew."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from angzarr import projectors, wire
from angzarr.app import App
from angzarr.assembly import open_store
from angzarr.cli import options
from angzarr.cli.loading import load_app
from angzarr.cli.outcome import EXIT_CODES, FAILED, UNREACHABLE, USAGE, fail, told
from angzarr.cli.progress import count_bar
from angzarr.coordinators.rebuild import Rebuilt
from angzarr.coordinators.replays import Beside, replay_at_rest
from angzarr.errors import StoreLocked
from angzarr.handlers import Projector
from angzarr.ports.clock import SystemClock
from angzarr.ports.read_store import Comparison, Progress, TableDifference
from angzarr.ports.stores import Stores

DIFFERENT: Final = FAILED
REPLAY: Final = "/angzarr.AdminService/ReplayProjector"
PIPE_COLUMNS: Final = 160
FAILURES_SHOWN: Final = 10

Name = Annotated[str, typer.Argument(metavar="NAME", help="The projector's name.")]

app = typer.Typer(
    help="Read models: list them, replay them, compare, and switch to a new one.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
    rich_markup_mode=None,
)


@app.command("list", epilog=EXIT_CODES)
def list_projectors(
    module: options.Module,
    config: options.ConfigFile = None,
    data: options.Data = None,
    store: options.Store = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Show each projector with its sources, its read model, and how far that is behind the log."""
    with told():
        found = _loaded(module, config, data, store)
        rows = asyncio.run(_rows(found))
    if as_json:
        for row in rows:
            sys.stdout.write(json.dumps(row) + "\n")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("projector", "sources", "editions", "read model", "position", "behind"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row.values()))
    _console().print(table)


@app.command(epilog=EXIT_CODES)
def replay(
    module: options.Module,
    name: Name,
    in_place: Annotated[
        bool,
        typer.Option("--in-place", help="Delete the rows, and read the log into the same place."),
    ] = False,
    passes_failures: Annotated[
        bool,
        typer.Option("--pass-failures", help="Leave out events that the projector fails on."),
    ] = False,
    address: Annotated[
        str, typer.Option("--address", "-a", help="With --in-place: the server that feeds it.")
    ] = "",
    config: options.ConfigFile = None,
    data: options.Data = None,
    store: options.Store = "",
) -> None:
    """Build a read model anew, from all events.

    It is built beside the one that serves, which is left alone; `compare` shows how they differ,
    and `switch` puts the new one in place. With --in-place the server at --address deletes the rows
    and reads the log into the same place; without an address no server may feed the projector.
    """
    if address and not in_place:
        raise fail("--address is for --in-place; beside, any process can build it: --store", USAGE)
    with told(address):
        if address:
            with count_bar(f"replaying {name}") as progress:
                asyncio.run(_ask(address, name, progress))
            typer.echo(f"{name} is replayed")
            return
        found = _loaded(module, config, data, store)
        cls = _named(found, name)
        if not in_place:
            with count_bar(f"building {name}") as progress:
                rebuilt = asyncio.run(_build(found, cls, progress, passes_failures))
            _tell_built(found, cls, rebuilt)
            return
        if passes_failures:
            raise fail("--pass-failures is for read models that are built beside", USAGE)
        with count_bar(f"replaying {name}") as progress:
            asyncio.run(_replay_in_place(found, cls, progress))
    typer.echo(f"{name} is replayed")


@app.command(epilog=EXIT_CODES)
def compare(
    module: options.Module,
    name: Name,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    config: options.ConfigFile = None,
    data: options.Data = None,
    store: options.Store = "",
) -> None:
    """Show how the read model that was built anew differs from the one that serves.

    Both are compared at the same events. Exit code 1 if they differ.
    """
    with told():
        found = _loaded(module, config, data, store)
        cls = _named(found, name)
        with count_bar(f"comparing {name}") as progress:
            comparison = asyncio.run(_compare(found, cls, progress))
    if as_json:
        sys.stdout.write(json.dumps(_plain(comparison)) + "\n")
    else:
        _show(comparison)
    if not comparison.is_equal:
        raise typer.Exit(DIFFERENT)


@app.command(epilog=EXIT_CODES)
def switch(
    module: options.Module,
    name: Name,
    config: options.ConfigFile = None,
    data: options.Data = None,
    store: options.Store = "",
) -> None:
    """Put the read model that was built anew in the place of the one that serves.

    Readers see all of the old rows or all of the new ones. The old ones are gone afterwards.
    """
    with told():
        found = _loaded(module, config, data, store)
        cls = _named(found, name)
        with count_bar(f"switching {name}") as progress:
            asyncio.run(_switch(found, cls, progress))
    typer.echo(f"{name} is served from the new read model")


async def _rows(found: App) -> list[dict[str, object]]:
    settings = found.config
    async with _opened(found) as opened:
        head = await opened.events.log_head()
        rows: list[dict[str, object]] = []
        for cls in _classes(found):
            table = cls.projector_table()
            consumer = f"projector-{table.name}"
            position = await opened.positions.cursor(consumer) or 0
            store = projectors.read_store_of(cls, settings)
            rows.append(
                {
                    "projector": table.name,
                    "sources": ", ".join(table.sources),
                    "editions": "*" if table.editions is None else ", ".join(table.editions),
                    "read_model": "its own" if store is None else store.place,
                    "position": position,
                    "behind": max(head - position, 0),
                }
            )
        return rows


async def _build(
    found: App, cls: type[Projector], progress: Progress, passes_failures: bool
) -> Rebuilt:
    async with _opened(found) as opened:
        return await _beside(found, cls, opened, progress, passes_failures).build()


async def _replay_in_place(found: App, cls: type[Projector], progress: Progress) -> None:
    async with _opened(found) as opened:
        upcasters = projectors.upcasters_of(found.definitions)
        coordinator = projectors.coordinator_of(cls, opened, found.config, upcasters=upcasters)
        await coordinator.open()
        try:
            await replay_at_rest(coordinator, opened, progress=progress)
        finally:
            await coordinator.close()


async def _ask(address: str, name: str, progress: Progress) -> None:
    """Have the server at the address replay one of its projectors in place."""
    from angzarr.rpc.client_transport import GrpcTransport

    transport = GrpcTransport(address)
    latest = wire.ReplayProgress()
    try:
        request = wire.ReplayProjectorRequest(name=name).SerializeToString()
        async for data in transport.stream(REPLAY, request):
            latest = wire.ReplayProgress.FromString(data)
            progress(latest.done, latest.total)
    finally:
        await transport.close()
    if not latest.is_complete:
        raise fail("the server ended before the replay; it goes on at its next start", FAILED)


async def _compare(found: App, cls: type[Projector], progress: Progress) -> Comparison:
    async with _opened(found) as opened:
        return await _beside(found, cls, opened, progress).compare()


async def _switch(found: App, cls: type[Projector], progress: Progress) -> None:
    async with _opened(found) as opened:
        await _beside(found, cls, opened, progress).switch()


def _beside(
    found: App,
    cls: type[Projector],
    opened: Stores,
    progress: Progress,
    passes_failures: bool = False,
) -> Beside:
    return projectors.beside_of(
        cls,
        opened,
        found.config,
        upcasters=projectors.upcasters_of(found.definitions),
        progress=progress,
        passes_failures=passes_failures,
    )


@contextlib.asynccontextmanager
async def _opened(found: App) -> AsyncGenerator[Stores]:
    try:
        opened = open_store(found.config, SystemClock())
    except StoreLocked as error:
        why = f"{error}; name its server: --store grpc://HOST:PORT"
        raise fail(why, UNREACHABLE) from None
    try:
        yield opened
    finally:
        await opened.close()


def _loaded(module: str, config: Path | None, data: Path | None, store: str) -> App:
    found = load_app(module)
    options.configure(found, config=config, data=data, store=store)
    storage = found.config.storage
    if storage.type not in ("memory", "grpc") and not Path(storage.path).exists():
        raise fail(f"there is no store at {storage.path}", USAGE)
    return found


def _classes(found: App) -> list[type[Projector]]:
    return [item for item in found.definitions if issubclass(item, Projector)]


def _named(found: App, name: str) -> type[Projector]:
    known = {cls.projector_table().name: cls for cls in _classes(found)}
    if name in known:
        return known[name]
    raise fail(f"there is no projector {name}; there are: {', '.join(known) or 'none'}", USAGE)


def _tell_built(found: App, cls: type[Projector], rebuilt: Rebuilt) -> None:
    store = projectors.replaced_read_store_of(cls, found.config)
    assert store is not None
    typer.echo(f"{rebuilt.entry_count:,} log entries in {store.beside().place}")
    for position, reason in sorted(rebuilt.failures.items())[:FAILURES_SHOWN]:
        typer.echo(f"left out at log position {position}: {reason}", err=True)
    rest = len(rebuilt.failures) - FAILURES_SHOWN
    if rest > 0:
        typer.echo(f"and {rest} more", err=True)


def _show(comparison: Comparison) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("table", "rows old", "rows new", "only old", "only new", "columns"):
        table.add_column(title, justify="left" if title in ("table", "columns") else "right")
    for item in comparison.tables:
        numbers = (item.old_count, item.new_count, item.old_only, item.new_only)
        table.add_row(Text(item.table), *(f"{number:,}" for number in numbers), _columns(item))
    console = _console()
    console.print(table)
    for item in comparison.tables:
        for side, row in item.samples:
            console.print(Text(f"{item.table}, only {side}: {row!r}"))
    if comparison.streams_ahead:
        console.print(
            f"the old read model is behind on {comparison.streams_ahead:,} streams: start its "
            "server, and compare again"
        )


def _columns(item: TableDifference) -> Text:
    names = [f"-{name}" for name in item.old_columns] + [f"+{name}" for name in item.new_columns]
    return Text(" ".join(names) or "same")


def _plain(comparison: Comparison) -> dict[str, object]:
    return {
        "is_equal": comparison.is_equal,
        "streams_ahead": comparison.streams_ahead,
        "tables": [
            {
                "table": item.table,
                "old_count": item.old_count,
                "new_count": item.new_count,
                "old_only": item.old_only,
                "new_only": item.new_only,
                "old_columns": item.old_columns,
                "new_columns": item.new_columns,
                "samples": [[side, [_shown(value) for value in row]] for side, row in item.samples],
            }
            for item in comparison.tables
        ],
    }


def _shown(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=PIPE_COLUMNS, color_system=None)
