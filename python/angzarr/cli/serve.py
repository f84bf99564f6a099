"""`angzarr serve`: an app behind a port, until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer

from angzarr.app import App
from angzarr.cli import options
from angzarr.cli.loading import load_app
from angzarr.cli.outcome import told
from angzarr.cli.signals import started, until_told
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
    async with until_told() as told_to_stop, AsyncExitStack() as stack:
        if not await started(app, told_to_stop):
            return
        stack.push_async_callback(app.stop)
        server = await app.serve(socket=uds)
        try:
            for address in server.addresses:
                sys.stdout.write(f"listening on {address}\n")
            sys.stdout.flush()
            # What is loaded by now stays; a collection need not walk it again and again.
            gc.collect()
            gc.freeze()
            await told_to_stop.wait()
        finally:
            # A second signal ends the process at once; what was acknowledged is durable anyway.
            told_to_stop.forget()
            await server.stop()


command = serve
