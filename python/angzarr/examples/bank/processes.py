"""`angzarr serve` in processes of its own, for the demo to kill."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL, PIPE
from asyncio.subprocess import Process as Child
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

START_S_MAX: Final = 60.0
LISTENING: Final = "listening on "
SERVE: Final = "from angzarr.cli import main; main()"
BANK: Final = Path(__file__).with_name("bank.py")


class ProcessFailed(Exception):
    """A process ended before it listened; the message has its last words."""


class Process:
    """One process that serves components of the bank. address: where it listens."""

    def __init__(self, child: Child, address: str) -> None:
        self._child = child
        self._drain = asyncio.create_task(_drained(child))
        self.pid = child.pid
        self.address = address

    def kill(self) -> None:
        """kill -9, if it lives."""
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()

    async def stop(self) -> None:
        """Let it finish what it does, and wait for its end. Idempotent."""
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.terminate()
        await self._child.wait()
        await self._drain


@contextlib.asynccontextmanager
async def serving(
    folder: Path, select: str, store: str, *, port: int = 0
) -> AsyncGenerator[Process]:
    """A process with the selected components, in `folder`; it is stopped at the end, if it lives.

    store: a URL. port: 0 takes a free one. What it says beside its address is in
    `<folder>/bank.log`. Raises ProcessFailed if it does not listen within START_S_MAX.
    """
    log = folder / "bank.log"
    with log.open("ab") as errors:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SERVE, "serve", str(BANK), "--config", "bank.yaml"),
            *("--select", select, "--store", store, "--port", str(port)),
            cwd=folder,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=errors,
        )
    try:
        async with asyncio.timeout(START_S_MAX):
            address = await _address(child)
    except (TimeoutError, ProcessFailed) as error:
        if child.returncode is None:
            child.kill()
        await child.wait()
        raise ProcessFailed(f"{select} did not start: {log.read_text()[-2000:]}") from error
    process = Process(child, address)
    try:
        yield process
    finally:
        await process.stop()


async def _address(child: Child) -> str:
    assert child.stdout is not None
    async for line in child.stdout:
        text = line.decode().strip()
        if text.startswith(LISTENING):
            return text.removeprefix(LISTENING)
    raise ProcessFailed("it ended")


async def _drained(child: Child) -> None:
    assert child.stdout is not None
    while await child.stdout.read(65_536):
        pass
