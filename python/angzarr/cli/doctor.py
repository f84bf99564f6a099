"""`angzarr doctor`: what would run here, with which settings, on what store and disk."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from angzarr import wire
from angzarr.app import App
from angzarr.assembly import open_store
from angzarr.cli import options
from angzarr.cli.events import PIPE_COLUMNS
from angzarr.cli.loading import load_app
from angzarr.cli.outcome import UNREACHABLE, USAGE, fail, told
from angzarr.config import Config
from angzarr.errors import RemoteError, StoreLocked, StoreUnavailable
from angzarr.ports.clock import SystemClock
from angzarr.ports.stores import StoreFacts
from angzarr.version import version

FLUSH_ROUNDS: Final = 50
FLUSH_BYTES: Final = 4096
GET_STATUS: Final = "/angzarr.AdminService/GetStatus"


def doctor(
    module: Annotated[
        str, typer.Argument(metavar="[APP]", help="app.py, app.py:name or package.module.")
    ] = "",
    data: options.Data = None,
    select: options.Select = "",
    config: options.ConfigFile = None,
    address: options.Address = options.DEFAULT_ADDRESS,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read and check the whole store.")
    ] = False,
) -> None:
    """Show components, settings with their origins, the store's state and the disk's flush time.

    A store that a running server has open is described by that server, at --address.
    """
    with told():
        app = load_app(module) if module else App()
        options.configure(app, config=config, data=data, select=select)
        console = (
            Console() if sys.stdout.isatty() else Console(width=PIPE_COLUMNS, color_system=None)
        )
        settings = app.config
        _show_versions(console)
        _show_components(console, app)
        _show_settings(console, settings)
        _show_disk(console, settings)
        storage = settings.storage
        is_on_disk = storage.type not in ("memory", "grpc")
        if is_on_disk and not Path(storage.path).exists():
            _section(console, "Store", Text(f"{storage.url}: not there; the first start makes it"))
            return
        asyncio.run(_show_store(console, settings, address, verify))
        if verify:
            _verify(console, settings)


def _show_versions(console: Console) -> None:
    others = ", ".join(f"{name} {metadata.version(name)}" for name in ("grpcio", "protobuf"))
    system = f"Python {platform.python_version()}, {platform.system()} {platform.release()}"
    console.print(Text(f"angzarr {version()}; {others}; {system}"))


def _show_components(console: Console, app: App) -> None:
    table = _table("component", "endpoint", "role", "set by", "defined in")
    for component in app.components().values():
        row = (component.name, component.endpoint, "" if component.is_local else component.role)
        table.add_row(*map(Text, (*row, component.origin, component.definition)))
    _section(console, "Components", table)


def _show_settings(console: Console, config: Config) -> None:
    table = _table("setting", "value", "set by")
    for key, value, origin in config.rows():
        table.add_row(Text(key), Text("" if value is None else str(value)), Text(origin))
    _section(console, "Settings", table)


def _show_disk(console: Console, config: Config) -> None:
    if config.storage.type in ("memory", "grpc"):
        return
    directory = _existing(Path(config.storage.path))
    try:
        low, middle, high = flush_us(directory)
    except OSError as error:
        line = f"{directory}: can't be written: {error.strerror}"
    else:
        line = (
            f"{directory}: a flush of {FLUSH_BYTES} bytes takes {middle:,.0f} µs "
            f"(median of {FLUSH_ROUNDS}; {low:,.0f} to {high:,.0f})"
        )
    _section(console, "Disk", Text(line))


def flush_us(directory: Path, rounds: int = FLUSH_ROUNDS) -> tuple[float, float, float]:
    """Shortest, median and longest time of an fdatasync of 4 KiB there, in microseconds."""
    times: list[float] = []
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".angzarr-flush-") as file:
        block = b"\0" * FLUSH_BYTES
        for _ in range(rounds):
            os.write(file.fileno(), block)
            start = time.perf_counter_ns()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter_ns() - start) / 1_000)
    return min(times), median(times), max(times)


async def _show_store(console: Console, config: Config, address: str, verify: bool) -> None:
    if config.storage.type == "grpc":
        _section(console, "Store", await _ask_remote(config))
        return
    try:
        opened = open_store(config, SystemClock())
    except StoreLocked as locked:
        if verify:
            raise fail(f"{locked}; --verify needs the store for itself", UNREACHABLE) from None
        _section(console, "Store", await _ask(address, locked))
        return
    try:
        _section(console, "Store", _facts(opened.facts(), await opened.events.log_head()))
    finally:
        await opened.close()


async def _ask_remote(config: Config) -> Table | Text:
    """What is told of a store that another process's server has open."""
    from angzarr.rpc.remote_store import RemoteStores

    opened = open_store(config, SystemClock())
    assert isinstance(opened, RemoteStores)
    try:
        return _facts(await opened.ask_facts(), await opened.events.log_head())
    except StoreUnavailable as error:
        return Text(str(error))
    finally:
        await opened.close()


def _verify(console: Console, config: Config) -> None:
    """Read everything; CorruptData ends the command with DAMAGED."""
    from angzarr.stores.backup import verify

    if config.storage.type != "rocksdb":
        raise fail(f"--verify is for rocksdb stores, not for {config.storage.url}", USAGE)
    start = time.monotonic()
    with console.status("verifying"):
        found = verify(Path(config.storage.path))
    counted = f"{found.page_count:,} events in {found.stream_count:,} streams"
    console.print(Text(f"verified in {time.monotonic() - start:.1f} s: {counted}, all sound"))


async def _ask(address: str, locked: StoreLocked) -> Table | Text:
    """What the server that has the store says of it."""
    from angzarr.rpc.client_transport import GrpcTransport

    transport = GrpcTransport(address)
    try:
        answer = await transport.unary(
            GET_STATUS, wire.GetStatusRequest().SerializeToString(), timeout_s=5.0
        )
    except RemoteError as error:
        return Text(f"{locked}; at {address} nobody can say more of it ({error})")
    finally:
        await transport.close()
    status = wire.ServerStatus.FromString(answer)
    store = status.store
    facts = StoreFacts(
        store.url, store.is_durable, store.format_version, store.size_bytes, dict(store.details)
    )
    table = _facts(facts, store.log_head)
    table.add_row("served by", f"process {status.process_id} at {', '.join(status.addresses)}")
    for component in status.components:
        state = "serving" if component.is_serving else "not serving"
        table.add_row(component.name, f"{component.endpoint}, {state}")
    for name, count in sorted(status.counters.items()):
        table.add_row(name, f"{count:,} since the start")
    for consumer in status.consumers:
        table.add_row(consumer.name, Text(_progress(consumer)))
    return table


def _progress(consumer: wire.ConsumerStatus) -> str:
    """How far a consumer has come in the log, and what keeps it."""
    said = [f"at {consumer.position:,}, {consumer.lag:,} behind"]
    if not consumer.is_leading:
        said.append("another process feeds it")
    if consumer.waiting:
        said.append(f"{consumer.waiting:,} streams wait")
    if consumer.last_error:
        said.append(consumer.last_error)
    return "; ".join(said)


def _facts(facts: StoreFacts, log_head: int) -> Table:
    table = _table("fact", "value")
    rows = {
        "url": facts.url,
        "durable": "yes" if facts.is_durable else "no: a crash of the machine loses events",
        "format": str(facts.format_version),
        "size": f"{facts.size_bytes:,} bytes",
        "events in the log": f"{log_head:,}",
    }
    for name, value in {**rows, **facts.details}.items():
        table.add_row(Text(name), Text(value))
    return table


def _existing(path: Path) -> Path:
    """The directory, or the nearest one above that exists."""
    path = path.resolve()
    while not path.is_dir():
        path = path.parent
    return path


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _section(console: Console, title: str, body: Table | Text) -> None:
    console.print()
    console.print(Text(title, style="bold underline"))
    console.print(body)


command = doctor
