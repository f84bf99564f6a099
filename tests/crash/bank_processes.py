"""The parent's side of the bank's processes: started by forks, told where to die, killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from bank_child import Job
from bank_points import Point

ZYGOTE: Final = Path(__file__).with_name("bank_zygote.py")
START_S_MAX: Final = 60.0
"""How long a process may take to be ready; far more than it needs."""


class Zygote:
    """The process that forks the others."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, str(ZYGOTE), str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()

    def fork(self, job: Job) -> tuple[int, socket.socket]:
        """A new process: its pid, and our end of its socket."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        data = json.dumps(asdict(job)).encode()
        socket.send_fds(self._socket, [data], [theirs.fileno()])
        theirs.close()
        return self._answer(), ours

    def wait(self, pid: int) -> int:
        """The exit code of one that is ending; minus the signal's number."""
        self._socket.send(json.dumps(pid).encode())
        return self._answer()

    def close(self) -> None:
        """End it and all that it has forked."""
        self._socket.close()
        self._process.wait()

    def _answer(self) -> int:
        data = self._socket.recv(4096)
        assert data, "the zygote is gone"
        return json.loads(data)


@contextmanager
def zygote() -> Iterator[Zygote]:
    """A zygote for a test."""
    made = Zygote()
    try:
        yield made
    finally:
        made.close()


class Process:
    """A process of the bank. exit_code: minus the signal's number; None before `ended`."""

    def __init__(self, zygote: Zygote, job: Job) -> None:
        self.job = job
        self.exit_code: int | None = None
        self._zygote = zygote
        self._lines: list[str] = []
        self.pid, self._socket = zygote.fork(job)

    async def ready(self) -> bool:
        """Wait until it works; False if it has ended before."""
        async with asyncio.timeout(START_S_MAX):
            while not self._lines and await self._hear():
                pass
        return self._lines[:1] == ["ready"]

    def arm(self, point: Point) -> None:
        """Have it kill itself there."""
        self._socket.send(str(point).encode())

    def kill(self) -> None:
        """Kill -9. One that has ended by itself is a zombie until `ended` has returned."""
        if self.exit_code is None:
            os.kill(self.pid, signal.SIGKILL)

    def pause(self) -> None:
        """Stop it without a word, as a machine that sleeps does, until `go_on`."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again where it was."""
        os.kill(self.pid, signal.SIGCONT)

    async def ended(self) -> int:
        """Wait for its end; its exit code."""
        while await self._hear():
            pass
        if self.exit_code is None:
            self._socket.close()
            self.exit_code = self._zygote.wait(self.pid)
        return self.exit_code

    async def _hear(self) -> bytes:
        if self.exit_code is not None:
            return b""
        loop = asyncio.get_running_loop()
        try:
            data = await loop.sock_recv(self._socket, 4096)
        except ConnectionResetError:  # it was killed before it read what it was told
            return b""
        self._lines += [data.decode()] if data else []
        return data
