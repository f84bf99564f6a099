"""Positions in two tables of your own SQL database: most of a read store of yours.

class PostgresModel:                                     # an angzarr.ports.read_store.ReadModel
    @asynccontextmanager
    async def transaction(self):
        async with self.pool.acquire() as db, db.transaction():
            unit = TableUnit(db, self.projector, execute=db.execute, fetch=db.fetchval,
                             placeholder="${}".format)
            await unit.begin()
            yield unit
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from angzarr.cover import MAIN, Cover

Db = TypeVar("Db")
Value = str | int | bytes | None
Execute = Callable[..., Awaitable[object]]
Fetch = Callable[..., Awaitable[object]]

POSITIONS: Final = "angzarr_position"
CURSORS: Final = "angzarr_cursor"


async def create_tables(execute: Execute, *, bytes_type: str = "BYTEA") -> None:
    """Make the two tables where they are not there yet.

    execute: (sql, *arguments). bytes_type: the database's word for bytes, BLOB in SQLite.
    """
    await execute(
        f"CREATE TABLE IF NOT EXISTS {POSITIONS} (projector TEXT NOT NULL, domain TEXT NOT NULL, "
        f"edition TEXT NOT NULL, root {bytes_type} NOT NULL, sequence BIGINT NOT NULL, "
        "PRIMARY KEY (projector, domain, edition, root))"
    )
    await execute(
        f"CREATE TABLE IF NOT EXISTS {CURSORS} "
        "(projector TEXT NOT NULL PRIMARY KEY, position BIGINT)"
    )


class TableUnit(Generic[Db]):
    """The positions' part of a transaction, for any SQL database that has `ON CONFLICT`.

    db: what handlers are given. execute, fetch: run (sql, *arguments) within the transaction; fetch
    answers with the first column of the first row, None without one. placeholder: that of the n-th
    argument, from 1; `"${}".format` for `$1`, the default is `?`. clear: deletes the rows of the
    projector, for the replay of one that has no `reset`.
    """

    def __init__(
        self,
        db: Db,
        projector: str,
        *,
        execute: Execute,
        fetch: Fetch,
        placeholder: Callable[[int], str] = lambda _: "?",
        clear: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.db = db
        self._projector = projector
        self._execute = execute
        self._fetch = fetch
        self._mark = placeholder
        self._clear = clear

    async def begin(self) -> None:
        """Take the projector's turn, until the transaction ends, by a lock on its cursor's row."""
        await self._execute(
            self._sql(f"INSERT INTO {CURSORS} (projector) VALUES (?) ON CONFLICT DO NOTHING"),
            self._projector,
        )
        await self._execute(
            self._sql(f"UPDATE {CURSORS} SET position = position WHERE projector = ?"),
            self._projector,
        )

    async def position(self, cover: Cover) -> int | None:
        """Last sequence of the stream that was put."""
        found = await self._fetch(
            self._sql(
                f"SELECT sequence FROM {POSITIONS} "
                "WHERE projector = ? AND domain = ? AND edition = ? AND root = ?"
            ),
            self._projector,
            *cover.stream,
        )
        return _number(found)

    async def put_position(self, cover: Cover, sequence: int) -> None:
        """Note that the stream is applied up to `sequence`."""
        await self._execute(
            self._sql(
                f"INSERT INTO {POSITIONS} (projector, domain, edition, root, sequence) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT (projector, domain, edition, root) "
                "DO UPDATE SET sequence = excluded.sequence"
            ),
            self._projector,
            *cover.stream,
            sequence,
        )

    async def cursor(self) -> int | None:
        """The log position up to which everything is in the read model."""
        return _number(
            await self._fetch(
                self._sql(f"SELECT position FROM {CURSORS} WHERE projector = ?"), self._projector
            )
        )

    async def put_cursor(self, position: int) -> None:
        """Note that everything up to this log position is in the read model."""
        await self._put_cursor(position)

    async def generation(self) -> str:
        """Nothing takes the place of these tables."""
        return ""

    async def forget(self) -> None:
        """Forget all positions and the cursor."""
        await self._execute(
            self._sql(f"DELETE FROM {POSITIONS} WHERE projector = ?"), self._projector
        )
        await self._put_cursor(None)

    async def forget_edition(self, domain: str, edition: str) -> None:
        """Forget the positions of the domain's streams on the edition."""
        await self._execute(
            self._sql(
                f"DELETE FROM {POSITIONS} WHERE projector = ? AND domain = ? AND edition = ?"
            ),
            self._projector,
            domain,
            edition or MAIN,
        )

    async def clear(self) -> bool:
        """Delete the projector's rows, where the database's adapter knows how."""
        if self._clear is None:
            return False
        await self._clear()
        return True

    async def _put_cursor(self, position: int | None) -> None:
        await self._execute(
            self._sql(f"UPDATE {CURSORS} SET position = ? WHERE projector = ?"),
            position,
            self._projector,
        )

    def _sql(self, sql: str) -> str:
        """The statement with the database's own placeholders."""
        first, *rest = sql.split("?")
        return first + "".join(
            self._mark(number) + part for number, part in enumerate(rest, start=1)
        )


def _number(found: object) -> int | None:
    return found if isinstance(found, int) else None
