"""Read-only access to an SQLite read model, for query services (DEP-7)."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Final

from angzarr.errors import ReadStoreUnavailable, StoreClosed
from angzarr.readstores import _sqlite as lite

IDLE_MAX: Final = 16
"""Connections that are kept for the next reader; as many as a servicer's threads."""

Value = str | int | float | bytes | None


class SqliteReader:
    """Connections that read one file, from any number of threads, in this process or another.

    Each call sees one state of the read model: whole transactions of the projector. Raises
    ReadStoreUnavailable while there is no file yet, StoreClosed after close(), sqlite3.Error for
    wrong SQL.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._is_closed = False

    @contextlib.contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """A connection of the caller's own; all its statements see the same state.

        Rows come as sqlite3.Row, by index or by name.
        """
        db = self._take()
        is_sound = True
        try:
            db.execute("BEGIN")
            yield db
        except sqlite3.Error as error:
            if (why := lite.unavailable(self.path, error)) is not None:
                is_sound = False
                raise why from error
            raise
        finally:
            self._give(db, is_sound)

    def rows(self, sql: str, *parameters: Value) -> list[sqlite3.Row]:
        """All rows of one statement."""
        with self.reading() as db:
            return db.execute(sql, parameters).fetchall()

    def row(self, sql: str, *parameters: Value) -> sqlite3.Row | None:
        """The first row of one statement, if there is one."""
        with self.reading() as db:
            found: sqlite3.Row | None = db.execute(sql, parameters).fetchone()
            return found

    def close(self) -> None:
        """Close the connections that nobody uses, and the others when they are given back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._is_closed:
                raise StoreClosed(str(self.path))
            if self._idle:
                return self._idle.pop()
        try:
            return lite.connect_read_only(self.path)
        except sqlite3.Error as error:
            why = "its projector has not made it yet" if not self.path.exists() else str(error)
            raise ReadStoreUnavailable(str(self.path), why) from error

    def _give(self, db: sqlite3.Connection, is_sound: bool) -> None:
        if is_sound and db.in_transaction:
            db.execute("ROLLBACK")
        with self._lock:
            if is_sound and not self._is_closed and len(self._idle) < IDLE_MAX:
                self._idle.append(db)
                return
        db.close()
