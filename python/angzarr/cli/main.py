"""The command line's root: which subcommands there are, and what their exit codes mean."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from angzarr.cli import (
    backup,
    dlq,
    doctor,
    editions,
    events,
    export,
    projectors,
    restore,
    run,
    schema,
    send,
    serve,
    snapshots,
    state,
)
from angzarr.cli.outcome import EXIT_CODES
from angzarr.version import version as version_of_package

app = typer.Typer(
    name="angzarr",
    help="Event-sourced systems in Python on a native store.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (serve, run, send, events, state, export, doctor, backup, restore):
    app.command(epilog=EXIT_CODES)(module.command)
app.add_typer(dlq.command, name="dlq")
app.add_typer(editions.command, name="editions")
app.add_typer(projectors.app, name="projectors")
app.add_typer(schema.app, name="schema")
app.add_typer(snapshots.app, name="snapshots")


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"angzarr {version_of_package()}\n")
        raise typer.Exit


@app.callback()
def _root(  # pyright: ignore[reportUnusedFunction]  # typer calls it
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and end.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; exits with the codes of `outcome`."""
    app()
