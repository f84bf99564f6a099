"""The server of the demo: a process of its own, and where it keeps its data."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator
from pathlib import Path

from angzarr.examples.holdem.standings import READ_STORE
from angzarr.readstores import SqliteReader

START_S_MAX = 60.0
LISTENING = "listening on "
SERVE = "from angzarr.cli import main; main()"


class ServerFailed(Exception):
    """The server ended before it listened; the message has its last words."""


@contextlib.asynccontextmanager
async def serving(folder: Path, scheme: str) -> AsyncGenerator[tuple[Process, str]]:
    """A server of the app on the data in `folder`, and its address; it is stopped at the end.

    scheme: that of the store's URL.
    Raises ServerFailed if it does not listen within START_S_MAX.
    """
    app = Path(__file__).with_name("app.py")
    log = folder / "server.log"
    with log.open("ab") as errors:
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SERVE, "serve", str(app)),
            *("--port", "0", "--store", f"{scheme}://data"),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=errors,
            cwd=folder,  # where the standings are
        )
    try:
        async with asyncio.timeout(START_S_MAX):
            address = await _address(server)
    except (TimeoutError, ServerFailed) as error:
        await _stop(server)
        raise ServerFailed(f"the server did not start: {log.read_text()[-2000:]}") from error
    drain = asyncio.create_task(_drain(server))
    try:
        yield server, address
    finally:
        await _stop(server)
        await drain


def read_model(folder: Path) -> SqliteReader:
    """The standings, read beside the server that writes them."""
    return READ_STORE.at(folder / READ_STORE.path).reader()


async def _address(server: Process) -> str:
    assert server.stdout is not None
    async for line in server.stdout:
        text = line.decode().strip()
        if text.startswith(LISTENING):
            return text.removeprefix(LISTENING)
    raise ServerFailed("it ended")


async def _drain(server: Process) -> None:
    assert server.stdout is not None
    while await server.stdout.read(65_536):
        pass


async def _stop(server: Process) -> None:
    if server.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            server.terminate()
    await server.wait()
