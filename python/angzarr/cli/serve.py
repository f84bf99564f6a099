"""`angzarr serve`: an app behind a port, until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from angzarr.app import App
from angzarr.cli import options
from angzarr.cli.loading import load_app
from angzarr.cli.outcome import told
from angzarr.config_sources import Flag


def serve(
    module: options.Module,
    port: Annotated[
        int | None, typer.Option("--port", "-p", help="0 takes a free one [1310].")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    uds: Annotated[Path | None, typer.Option(help="Listen on this Unix socket, too.")] = None,
    data: options.Data = None,
    store: options.Store = "",
    select: options.Select = "",
    config: options.ConfigFile = None,
) -> None:
    """Serve the aggregates of a module over gRPC.

    Prints `listening on HOST:PORT` when it is ready. SIGTERM and Ctrl-C let running calls finish
    (server.grace_s), close the store and exit with 0.
    """
    flags = {"server.port": ("--port", port), "server.host": ("--host", host)}
    more: dict[str, object] = {
        key: Flag(value, flag) for key, (flag, value) in flags.items() if value is not None
    }
    with told():
        app = load_app(module)
        options.configure(app, config=config, data=data, store=store, select=select, more=more)
        options.start_logging(app.config.log.filter)
        asyncio.run(_serve(app, uds))


async def _serve(app: App, uds: Path | None) -> None:
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop.set)
    async with app:
        server = await app.serve(socket=uds)
        try:
            for address in server.addresses:
                sys.stdout.write(f"listening on {address}\n")
            sys.stdout.flush()
            # What is loaded by now stays; a collection need not walk it again and again.
            gc.collect()
            gc.freeze()
            await asked_to_stop.wait()
        finally:
            # A second signal ends the process at once; what was acknowledged is durable anyway.
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
            await server.stop()


command = serve
