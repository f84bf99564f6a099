"""`angzarr restore`: a verified store out of a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from angzarr.cli.outcome import told
from angzarr.cli.progress import byte_bar
from angzarr.stores.backup import restore as restore_store


def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="What `angzarr backup` wrote.")],
    target: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty directory.")],
) -> None:
    """Copy a backup to a directory and check every event of it; then serve it with --data DIR."""
    with told(), byte_bar("restoring") as progress:
        found = restore_store(source, target, progress)
    counted = f"{found.page_count:,} events in {found.stream_count:,} streams"
    typer.echo(f"restored to {target} and verified: {counted}")


command = restore
