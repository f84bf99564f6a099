"""The SQLite read store passes the contract of read stores."""

from __future__ import annotations

import pathlib
import sqlite3

import pytest

from angzarr.readstores import Sqlite
from angzarr.testing.contracts import ReadStoreContract

SCHEMA = "CREATE TABLE IF NOT EXISTS row (key TEXT PRIMARY KEY, value TEXT)"


class TestSqlite(ReadStoreContract):
    @pytest.fixture
    def store(self, tmp_path: pathlib.Path) -> Sqlite:
        return Sqlite(tmp_path / "made" / "rows.sqlite", SCHEMA)

    async def write(self, db: sqlite3.Connection, key: str, value: str) -> None:
        db.execute("INSERT INTO row VALUES (?, ?)", (key, value))

    async def rows(self, store: Sqlite) -> dict[str, str]:
        reader = store.reader()
        found = {row["key"]: row["value"] for row in reader.rows("SELECT * FROM row")}
        reader.close()
        return found
