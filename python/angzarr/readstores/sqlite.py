"""A read store in an SQLite file: rows, positions and cursor in one transaction (PROJ-4).

    class Statement(Projector, source="account", read_store=Sqlite("statement.sqlite", schema=...)):

The file is in WAL mode, so that queries read while the projector writes. Writing is done on the
event loop: a transaction takes some 70 µs there, and a thread would add more than that by waiting
for the interpreter's lock (decision 015). Flushes never happen there: `synchronous = NORMAL` leaves
them to checkpoints, and these run in a thread.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from angzarr.cover import MAIN, Cover
from angzarr.errors import (
    FormatTooNew,
    HandlerFailed,
    InvalidInput,
    ReadStoreUnavailable,
    StoreClosed,
)
from angzarr.ports.read_store import CatchUp, Comparison, ReadModel
from angzarr.readstores import _sqlite as lite
from angzarr.readstores._sqlite_checkpoints import Checkpoints
from angzarr.readstores.sqlite_reader import SqliteReader

POSITIONS_KEPT: Final = 10_000
"""Streams whose positions are kept in memory; beyond it the oldest are read again when needed."""

BUSY_FIRST_S: Final = 0.001
BUSY_CAP_S: Final = 0.05
BUSY_TRIES: Final = 400
"""Looks at a lock that another process has, about 20 s, before the file counts as unavailable."""

Sleep = Callable[[float], Awaitable[None]]
Stream = tuple[str, str, bytes]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sqlite:
    """Where a projector's SQLite read model is. Nothing is touched before it is opened.

    path: the file; directories are made as needed. One projector owns it. schema: statements, each
    `CREATE … IF NOT EXISTS`, that are run when it is opened.
    """

    path: Path
    schema: str = ""

    def __init__(self, path: str | Path, schema: str = "") -> None:
        object.__setattr__(self, "path", Path(path))
        object.__setattr__(self, "schema", schema)

    @property
    def place(self) -> str:
        """The file's path."""
        return str(self.path)

    def at(self, path: str | Path) -> Sqlite:
        """The same tables in another file."""
        return Sqlite(path, self.schema)

    async def open(self, projector: str, *, sleep: Sleep = asyncio.sleep) -> SqliteModel:
        """Open the projector's file. sleep: waits, in seconds, for another process's lock.

        Raises ReadStoreUnavailable, InvalidInput if it is another projector's, FormatTooNew.
        """
        try:
            db = lite.connect(self.path)
        except (sqlite3.Error, OSError) as error:
            raise _unavailable(self.path, error) from error
        model = SqliteModel(self, projector, db, sleep)
        try:
            await model.prepare()
        except BaseException:
            await model.close()
            raise
        return model

    def reader(self) -> SqliteReader:
        """Read-only access for query services, from any number of threads."""
        return SqliteReader(self.path)

    def beside(self) -> Sqlite:
        """Where the read model is built anew: `<file>.new`."""
        return self.at(self.path.with_name(self.path.name + ".new"))

    async def compare(self, projector: str, catch_up: CatchUp) -> Comparison:
        """Bring `<file>.new` to the events of this file, and tell how their rows differ."""
        from angzarr.readstores import _sqlite_beside

        return await _sqlite_beside.compare(self, projector, catch_up)

    async def switch(self, projector: str, catch_up: CatchUp) -> None:
        """Make this file what `<file>.new` is, in one step for readers and writers."""
        from angzarr.readstores import _sqlite_beside

        await _sqlite_beside.switch(self, projector, catch_up)

    async def discard(self) -> None:
        """Delete `<file>.new`. Idempotent."""
        new = self.beside().path
        for suffix in ("", "-wal", "-shm"):
            new.with_name(new.name + suffix).unlink(missing_ok=True)


class SqliteModel:
    """An open file: one connection that writes; `ports.read_store.ReadModel`."""

    def __init__(
        self, store: Sqlite, projector: str, db: lite.HandlerConnection, sleep: Sleep
    ) -> None:
        self.path = store.path
        self.db = db
        self.positions: dict[Stream, int | None] = {}
        self._schema = store.schema
        self._projector = projector
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._seen_version = -1
        self._is_closed = False
        self.checkpoints = Checkpoints(store.path, self._turn)

    def transaction(self) -> AbstractAsyncContextManager[SqliteUnit]:
        """A transaction that writes, when it is its turn."""
        return SqliteUnit(self)

    async def prepare(self) -> None:
        """Make or check the tables."""
        async with self.transaction() as unit:
            for statement in lite.TABLES:
                unit.db.execute(statement)
            facts = unit.db.execute(f"SELECT format, projector, schema FROM {lite.FACTS}")
            known: tuple[int, str, str] | None = facts.fetchone()
            if known is not None:
                self._check(*known)
            self.make_tables()
            if known is None:
                unit.db.execute(
                    f"INSERT INTO {lite.FACTS} VALUES (1, ?, ?, ?, ?, NULL)",
                    (lite.FORMAT, self._projector, self._schema, uuid.uuid4().hex),
                )

    def make_tables(self) -> None:
        """Run the schema within the running transaction."""
        try:
            for statement in lite.statements(self._schema):
                self.db.execute(statement)
        except sqlite3.Error as error:
            if lite.unavailable(self.path, error):
                raise
            raise InvalidInput(f"schema of {self.path}", "statements of SQLite", error) from error

    async def begin(self) -> None:
        """Take the turn and the file's lock. Raises ReadStoreUnavailable, StoreClosed."""
        await self._turn.acquire()
        if self._is_closed:
            self._turn.release()
            raise StoreClosed(str(self.path))
        try:
            await self._lock()
            version: int = self.db.execute("PRAGMA data_version").fetchone()[0]
        except BaseException as error:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            self._turn.release()
            if isinstance(error, sqlite3.Error):
                raise _unavailable(self.path, error) from error
            raise
        if version != self._seen_version:  # another connection has written: what is kept is old
            self._seen_version = version
            self.positions.clear()

    def end(self, *, is_committed: bool) -> None:
        """Commit or roll back, and give back the turn. Raises sqlite3.Error from the commit."""
        try:
            if not is_committed:
                self.positions.clear()  # some may have been read from what is undone
                if self.db.in_transaction:  # SQLite has rolled back already when a disk is full
                    self.db.execute("ROLLBACK")
            elif self.db.in_transaction:
                try:
                    self.db.execute("COMMIT")
                except sqlite3.Error:
                    if self.db.in_transaction:
                        self.db.execute("ROLLBACK")
                    raise
            else:
                raise HandlerFailed(
                    f"projector:{self._projector}",
                    "a handler ended the transaction; rows and position are committed after it",
                )
        finally:
            self._turn.release()
        self.checkpoints.consider()

    def keep(self, positions: dict[Stream, int | None]) -> None:
        """Remember committed positions."""
        self.positions.update(positions)
        while len(self.positions) > POSITIONS_KEPT:
            del self.positions[next(iter(self.positions))]

    async def checkpoint(self) -> None:
        """Bring everything into the file itself, flushed."""
        await self.checkpoints.run()

    async def close(self) -> None:
        """Let go of the file when the running transaction is over. Idempotent."""
        async with self._turn:
            if self._is_closed:
                return
            self._is_closed = True
        await self.checkpoints.close()
        self.db.is_ours = True
        try:
            self.db.close()  # the last connection brings the write-ahead log into the file
        except sqlite3.Error as error:
            raise _unavailable(self.path, error) from error

    async def _lock(self) -> None:
        delay_s = BUSY_FIRST_S
        for _ in range(BUSY_TRIES):
            try:
                self.db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not lite.is_busy(error):
                    raise
            await self._sleep(delay_s)
            delay_s = min(2 * delay_s, BUSY_CAP_S)
        self.db.execute("BEGIN IMMEDIATE")

    def _check(self, found_format: int, projector: str, schema: str) -> None:
        if found_format > lite.FORMAT:
            raise FormatTooNew(str(self.path), found_format, lite.FORMAT)
        if projector != self._projector:
            raise InvalidInput(
                "read_store",
                f"a file of projector {self._projector}'s own",
                self.path,
                f"{self.path} is the read model of projector {projector}, "
                f"not of {self._projector}; give each a file of its own",
            )
        if schema != self._schema:
            _log.warning(
                "the schema of %s has changed since it was made; only what is missing is added. "
                "Replay it: angzarr projectors replay",
                self.path,
            )


class SqliteUnit:
    """One transaction of a file; `ports.read_store.Unit`, and its own context manager."""

    __slots__ = ("_cursor", "_model", "_put", "db")

    def __init__(self, model: SqliteModel) -> None:
        self._model = model
        self._put: dict[Stream, int | None] = {}
        self._cursor: int | None = None
        self.db: sqlite3.Connection = model.db

    async def __aenter__(self) -> SqliteUnit:
        await self._model.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        model = self._model
        if error is None:
            try:
                self._write()
            except BaseException:
                model.end(is_committed=False)
                raise
        try:
            model.end(is_committed=error is None)
        except sqlite3.Error as failure:
            raise _unavailable(model.path, failure) from failure
        if error is None:
            model.keep(self._put)
        elif (why := lite.unavailable(model.path, error)) is not None:
            raise why from error

    async def position(self, cover: Cover) -> int | None:
        """Last sequence of the stream that was put."""
        stream = cover.stream
        if stream in self._put:
            return self._put[stream]
        kept = self._model.positions
        if stream in kept:
            return kept[stream]
        found = self.db.execute(
            f"SELECT sequence FROM {lite.POSITIONS} WHERE domain = ? AND edition = ? AND root = ?",
            stream,
        ).fetchone()
        kept[stream] = position = found[0] if found else None
        return position

    async def put_position(self, cover: Cover, sequence: int) -> None:
        """Note that the stream is applied up to `sequence`."""
        self._put[cover.stream] = sequence

    async def cursor(self) -> int | None:
        """The log position up to which everything is in the file."""
        if self._cursor is not None:
            return self._cursor
        return self.db.execute(f"SELECT cursor FROM {lite.FACTS}").fetchone()[0]

    async def put_cursor(self, position: int) -> None:
        """Note that everything up to this log position is in the file."""
        self._cursor = position

    async def generation(self) -> str:
        """Made with the file, and taken over with all of its content by `switch`."""
        found: str = self.db.execute(f"SELECT generation FROM {lite.FACTS}").fetchone()[0]
        return found

    async def forget(self) -> None:
        """Forget all positions and the cursor."""
        self._forget()
        self.db.execute(f"DELETE FROM {lite.POSITIONS}")
        self._cursor = None
        self.db.execute(f"UPDATE {lite.FACTS} SET cursor = NULL")

    async def forget_edition(self, domain: str, edition: str) -> None:
        """Forget the positions of the domain's streams on the edition."""
        self._write()
        self._forget()
        self.db.execute(
            f"DELETE FROM {lite.POSITIONS} WHERE domain = ? AND edition = ?",
            (domain, edition or MAIN),
        )

    async def clear(self) -> bool:
        """Drop what the projector made, and run the schema anew."""
        for kind, name, _ in lite.user_objects(self.db):
            quoted = name.replace('"', '""')
            if kind in ("view", "table"):  # indexes and triggers go with their tables
                self.db.execute(f'DROP {kind} IF EXISTS "{quoted}"')
        self._model.make_tables()
        return True

    def _forget(self) -> None:
        self._put.clear()
        self._model.positions.clear()

    def _write(self) -> None:
        """Put positions and cursor into the transaction."""
        if self._put:
            self.db.executemany(
                f"INSERT INTO {lite.POSITIONS} VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET sequence = excluded.sequence",
                [(*stream, sequence) for stream, sequence in self._put.items()],
            )
        if self._cursor is not None:
            self.db.execute(f"UPDATE {lite.FACTS} SET cursor = ?", (self._cursor,))


def read_store(path: str, *, schema: str) -> Sqlite:
    """What `sqlite://PATH` names."""
    return Sqlite(path, schema)


def _unavailable(path: Path, error: Exception) -> ReadStoreUnavailable:
    return lite.unavailable(path, error) or ReadStoreUnavailable(str(path), str(error))


_IS_READ_MODEL: type[ReadModel[sqlite3.Connection]] = SqliteModel
