"""A read store as a user would write one for an asynchronous driver: tables.py does the rest."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import sqlite3
from collections.abc import AsyncIterator

from angzarr.errors import ReadStoreUnavailable, StoreClosed
from angzarr.readstores import TableUnit, create_tables


class Driver:
    """A connection with asynchronous calls; each goes through a thread, as aiosqlite's do."""

    def __init__(self, path: pathlib.Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=20)
        self._db.execute("PRAGMA journal_mode = WAL")

    async def execute(self, sql: str, *arguments: object) -> None:
        await asyncio.to_thread(self._db.execute, sql, arguments)

    async def fetch(self, sql: str, *arguments: object) -> object:
        """The first column of the first row."""
        row = await asyncio.to_thread(lambda: self._db.execute(sql, arguments).fetchone())
        return row and row[0]

    async def rows(self, sql: str) -> list[tuple[object, ...]]:
        return await asyncio.to_thread(lambda: self._db.execute(sql).fetchall())

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        await self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            await asyncio.shield(self.execute("ROLLBACK"))
            raise
        await self.execute("COMMIT")

    def close(self) -> None:
        self._db.close()


class AsyncModel:
    def __init__(self, path: pathlib.Path, projector: str) -> None:
        self._path = path
        self._projector = projector
        self._driver: Driver | None = Driver(path)
        self._turn = asyncio.Lock()

    async def prepare(self) -> AsyncModel:
        assert self._driver
        await create_tables(self._driver.execute, bytes_type="BLOB")
        await self._driver.execute("CREATE TABLE IF NOT EXISTS row (key TEXT, value TEXT)")
        return self

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[TableUnit[Driver]]:
        async with self._turn:
            if self._driver is None:
                raise StoreClosed(str(self._path))
            try:
                async with self._driver.transaction():
                    unit = TableUnit(
                        self._driver,
                        self._projector,
                        execute=self._driver.execute,
                        fetch=self._driver.fetch,
                        placeholder="?{}".format,
                    )
                    await unit.begin()
                    yield unit
            except sqlite3.OperationalError as error:
                raise ReadStoreUnavailable(str(self._path), str(error)) from error

    async def close(self) -> None:
        async with self._turn:
            driver, self._driver = self._driver, None
            if driver:
                driver.close()


class AsyncStore:
    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    @property
    def place(self) -> str:
        return str(self._path)

    async def open(self, projector: str) -> AsyncModel:
        return await AsyncModel(self._path, projector).prepare()

    def reader(self) -> Driver:
        return Driver(self._path)
