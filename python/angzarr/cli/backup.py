"""`angzarr backup`: a consistent copy of a store, of a running server's or of one at rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from angzarr import stores, wire
from angzarr.cli import options
from angzarr.cli.outcome import FAILED, USAGE, fail, told
from angzarr.cli.progress import byte_bar, human_bytes

BACKUP = "/angzarr.AdminService/Backup"


def backup(
    target: Annotated[Path, typer.Argument(help="A new or empty directory.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", help="Copy this store, which no server has open."),
    ] = None,
    address: options.Address = options.DEFAULT_ADDRESS,
) -> None:
    """Copy the store while it is served; the copy is complete and consistent, or there is none.

    Without --data the server at --address makes it, on its own machine. `angzarr restore` checks
    a backup and makes a store of it.
    """
    target = target.absolute()
    if data is not None and not data.is_dir():
        raise fail(f"there is no store at {data}", USAGE)
    with told("" if data else address), byte_bar("backing up") as progress:
        if data is None:
            total = asyncio.run(_ask(address, target, progress))
        else:
            total = asyncio.run(_copy(data, target, progress))
    typer.echo(f"{human_bytes(total)} in {target}")


async def _ask(address: str, target: Path, progress: Callable[[int, int], None]) -> int:
    from angzarr.rpc.client_transport import GrpcTransport

    transport = GrpcTransport(address)
    latest = wire.BackupProgress()
    try:
        request = wire.BackupRequest(target=str(target)).SerializeToString()
        async for data in transport.stream(BACKUP, request):
            latest = wire.BackupProgress.FromString(data)
            progress(latest.done_bytes, latest.total_bytes)
    finally:
        await transport.close()
    if not latest.is_complete:
        raise fail(f"the server ended the backup early; {target} is not complete", FAILED)
    return latest.total_bytes


async def _copy(data: Path, target: Path, progress: Callable[[int, int], None]) -> int:
    total = 0

    def note(done_bytes: int, total_bytes: int) -> None:
        nonlocal total
        total = total_bytes
        progress(done_bytes, total_bytes)

    opened = stores.open_stores(str(data))
    try:
        await opened.backup(target, note)
        await asyncio.sleep(0)  # the last note is on its way through the loop
    finally:
        await opened.close()
    return total


command = backup
