"""A read store of the user's own, with positions in tables, passes the contract as well."""

from __future__ import annotations

import pathlib

import pytest
from async_store import AsyncStore

from angzarr.cover import Cover
from angzarr.readstores import TableUnit
from angzarr.testing.contracts import ReadStoreContract


class TestAsynchronous(ReadStoreContract):
    can_clear = False

    @pytest.fixture
    def store(self, tmp_path: pathlib.Path):
        return AsyncStore(tmp_path / "rows.sqlite")

    async def write(self, db, key: str, value: str) -> None:
        await db.execute("INSERT INTO row VALUES (?, ?)", key, value)

    async def rows(self, store) -> dict[str, str]:
        reader = store.reader()
        found = dict(await reader.rows("SELECT key, value FROM row"))
        reader.close()
        return found


async def test_placeholders_are_the_databases_own() -> None:
    said: list[str] = []

    async def execute(sql: str, *arguments: object) -> None:
        said.append(sql)

    async def fetch(sql: str, *arguments: object) -> object:
        said.append(sql)

    unit = TableUnit(None, "p", execute=execute, fetch=fetch, placeholder="${}".format)
    await unit.position(Cover("account", bytes(16)))
    await unit.put_cursor(7)

    assert "projector = $1 AND domain = $2 AND edition = $3 AND root = $4" in said[0]
    assert "SET position = $1 WHERE projector = $2" in said[1]


@pytest.mark.spec("PROJ-9")
async def test_an_adapter_may_say_how_rows_are_cleared() -> None:
    cleared: list[str] = []

    async def execute(sql: str, *arguments: object) -> None: ...

    async def clear() -> None:
        cleared.append("rows")

    unit = TableUnit(None, "p", execute=execute, fetch=execute, clear=clear)

    assert await unit.clear()
    assert cleared == ["rows"]
