"""Bringing a file's write-ahead log into the file, in a thread: flushes take milliseconds."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

EVERY_COMMITS: Final = 32
"""Commits between two looks at the log's size, which cost 2 µs."""

BYTES_MAX: Final = 4 * 1024 * 1024
"""Size of the write-ahead log from which on it is brought into the file; SQLite's own choice."""

_log = logging.getLogger(__name__)


class Checkpoints:
    """Checkpoints of one file, one at a time. turn: the lock that a writer holds.

    The greater part is done while others write. For the rest they wait, off the loop, so that the
    log starts anew and does not grow for ever under steady load.
    """

    def __init__(self, path: Path, turn: asyncio.Lock) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._turn = turn
        self._pool: ThreadPoolExecutor | None = None
        self._task: asyncio.Task[None] | None = None
        self._commit_count = 0

    def consider(self) -> None:
        """Start one if it is time; called after each transaction."""
        self._commit_count += 1
        if self._commit_count % EVERY_COMMITS or self._task is not None:
            return
        try:
            is_due = os.stat(self._wal).st_size > BYTES_MAX
        except FileNotFoundError:
            return
        if is_due:
            self._task = asyncio.get_running_loop().create_task(self.run())
            self._task.add_done_callback(self._done)

    async def run(self) -> None:
        """Checkpoint everything that is committed when it begins. Raises sqlite3.Error."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="angzarr-checkpoint")
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._pool, _checkpoint, self._path, "PASSIVE")
        async with self._turn:
            await loop.run_in_executor(self._pool, _checkpoint, self._path, "TRUNCATE")

    async def settled(self) -> None:
        """Wait for one that was started."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def close(self) -> None:
        """Wait for a running one. Idempotent."""
        await self.settled()
        if self._pool is not None:
            self._pool.shutdown()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("checkpoint of %s failed, tried again later: %s", self._path, error)


def _checkpoint(path: Path, mode: str) -> None:
    # A connection of the thread's own: the loop's one stays free for writers. Without a timeout, a
    # long reader makes TRUNCATE do what PASSIVE does, and is not waited for.
    db = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA wal_checkpoint({mode})")
    finally:
        db.close()
