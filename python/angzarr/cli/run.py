"""`angzarr run`: an app in this process, on its embedded store, without a port."""

from __future__ import annotations

import asyncio
import inspect
import sys
from contextlib import AsyncExitStack

from angzarr.app import App
from angzarr.cli import options
from angzarr.cli.loading import load_app
from angzarr.cli.outcome import told
from angzarr.cli.signals import started, until_told


def run(
    module: options.Module,
    data: options.Data = None,
    select: options.Select = "",
    config: options.ConfigFile = None,
) -> None:
    """Run the components of a module; nothing listens.

    If the module has a function `main(app)`, plain or async, it is called with the running app, and
    the process ends with it; else the app runs until SIGTERM or Ctrl-C.
    """
    with told():
        app = load_app(module)
        options.configure(app, config=config, data=data, select=select)
        options.start_logging(app.config.log.filter)
        asyncio.run(_run(app))


async def _run(app: App) -> None:
    origin = sys.modules[app.definitions[0].__module__] if app.definitions else None
    main = getattr(origin, "main", None)
    async with until_told() as told_to_stop, AsyncExitStack() as stack:
        if not await started(app, told_to_stop):
            return
        stack.push_async_callback(app.stop)
        if callable(main) and len(inspect.signature(main).parameters) == 1:
            told_to_stop.forget()
            answer = main(app)
            if inspect.isawaitable(answer):
                await answer
            return
        sys.stdout.write(f"running {', '.join(app.components())}\n")
        sys.stdout.flush()
        await told_to_stop.wait()


command = run
