"""A server as users start one, `python -m angzarr.cli serve`, for tests that kill it."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final, Self

BANK: Final = "angzarr.examples.bank.full"
DEATH_S_MAX: Final = 30.0
"""How long a server may take to start, and to end; far more than it needs."""


class ServerProcess:
    """A server on the directory `data`, on a free port; killed at the end unless it ended before.

    app: what `angzarr serve` takes. failpoints: where the engine kills it
    (rust/core/src/failpoint.rs).
    """

    def __init__(self, data: Path, *, app: str | Path = BANK, failpoints: str = "") -> None:
        self._data = data
        self._app = app
        self._environment = {**os.environ, "ANGZARR_FAILPOINTS": failpoints}
        self.address = ""
        self.errors = ""

    async def __aenter__(self) -> Self:
        command = ["-m", "angzarr.cli", "serve", str(self._app), "--port", "0"]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            "--data",
            str(self._data),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            cwd=self._data.parent,  # where no config.yaml is
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.signal(signal.SIGKILL)
        await self.ended()

    async def ready(self) -> bool:
        """Whether it listens, at `address`; False if it died before."""
        self.address = (await self.line()).removeprefix("listening on ")
        return bool(self.address)

    async def line(self) -> str:
        """Its next line on stdout; "" if it ended."""
        assert self.process.stdout
        async with asyncio.timeout(DEATH_S_MAX):
            return (await self.process.stdout.readline()).decode().strip()

    def tell(self, line: str) -> None:
        """Write a line to its stdin."""
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n".encode())

    def signal(self, number: int) -> None:
        """Send a signal, if it lives."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, once it has ended; minus the signal's number. `errors`: its stderr."""
        assert self.process.stderr
        async with asyncio.timeout(DEATH_S_MAX):
            if not self.process.stderr.at_eof():
                _, errors = await self.process.communicate()
                self.errors += errors.decode()
            return await self.process.wait()

    def limit_files(self, size_bytes: int) -> None:
        """Let no file of it grow beyond this, as if the disk were full."""
        _, most = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size_bytes, most))
