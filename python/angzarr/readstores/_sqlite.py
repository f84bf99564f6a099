"""What the parts of the SQLite read store share: connections, errors, statements, tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

from angzarr.errors import ReadStoreUnavailable

FORMAT: Final = 1

POSITIONS: Final = "angzarr_position"
FACTS: Final = "angzarr_read_model"

TABLES: Final = (
    f"CREATE TABLE IF NOT EXISTS {POSITIONS} (domain TEXT, edition TEXT, root BLOB, "
    "sequence INTEGER NOT NULL, PRIMARY KEY (domain, edition, root)) WITHOUT ROWID",
    f"CREATE TABLE IF NOT EXISTS {FACTS} (id INTEGER PRIMARY KEY CHECK (id = 1), "
    "format INTEGER NOT NULL, projector TEXT NOT NULL, schema TEXT NOT NULL, "
    "generation TEXT NOT NULL, cursor INTEGER)",
)

ENVIRONMENT: Final = {
    sqlite3.SQLITE_BUSY: "another process or connection writes it",
    sqlite3.SQLITE_LOCKED: "another process or connection writes it",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_IOERR: "the disk failed",
    sqlite3.SQLITE_CORRUPT: "it is damaged; delete it, or replay it anew",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened",
    sqlite3.SQLITE_PROTOCOL: "its locks can't be had",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database",
}
"""Primary result codes that say nothing about what was asked, with what they mean here."""

_PRIMARY_CODE: Final = 0xFF


class HandlerConnection(sqlite3.Connection):
    """A connection whose transaction belongs to the projector's coordinator: a handler can neither
    end it nor close it, and `with db:` changes nothing."""

    is_ours: bool = False

    def commit(self) -> None:
        self._refuse("commit")
        super().commit()

    def rollback(self) -> None:
        self._refuse("roll back")
        super().rollback()

    def close(self) -> None:
        self._refuse("close")
        super().close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Literal[False]:
        return False

    def _refuse(self, what: str) -> None:
        if not self.is_ours:
            raise sqlite3.ProgrammingError(
                f"a projector does not {what}: rows and position are committed together, after it"
            )


def connect(path: Path) -> HandlerConnection:
    """The connection that writes. Raises sqlite3.Error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Waiting for another process's lock is done on the event loop, never within SQLite.
    db = sqlite3.connect(
        path, timeout=0, isolation_level=None, check_same_thread=False, factory=HandlerConnection
    )
    db.is_ours = True
    try:
        db.execute("PRAGMA journal_mode = WAL")
        # What a crash of the machine takes of the newest commits comes from the log again, since
        # rows and positions are in one file.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA wal_autocheckpoint = 0")  # checkpoints have a thread of their own
    except BaseException:
        db.close()
        raise
    db.is_ours = False
    return db


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection that can't change anything. Raises sqlite3.Error."""
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=5,
        isolation_level=None,
        check_same_thread=False,
    )
    db.execute("PRAGMA query_only = ON")
    db.row_factory = sqlite3.Row
    return db


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection has the lock."""
    return _primary(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def unavailable(path: Path, error: BaseException | None) -> ReadStoreUnavailable | None:
    """The environment's failure that `error`, or what caused it, stands for; None for others."""
    while error is not None:
        if isinstance(error, sqlite3.Error) and (code := _primary(error)) in ENVIRONMENT:
            return ReadStoreUnavailable(str(path), f"{ENVIRONMENT[code]} ({error})")
        error = error.__cause__
    return None


def statements(script: str) -> Iterator[str]:
    """The statements of a script. `executescript` would end the transaction."""
    statement = ""
    for part in script.split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
    rest = statement.removesuffix(";").strip()
    if rest:
        yield rest  # without an end, or a comment; SQLite says which


def is_own_table(name: str) -> bool:
    """Whether a table is SQLite's or ours, and so no part of what the projector made."""
    return name.startswith(("sqlite_", "angzarr_"))


def user_objects(db: sqlite3.Connection, schema: str = "main") -> list[tuple[str, str, str]]:
    """(type, name, sql) of what the projector made, virtual tables first, then views, tables."""
    rows = db.execute(f"SELECT type, name, coalesce(sql, '') FROM {schema}.sqlite_schema")
    found = [(kind, name, sql) for kind, name, sql in rows.fetchall() if not is_own_table(name)]
    return sorted(found, key=lambda item: (not _is_virtual(item[2]), item[0] != "view", item[1]))


def _is_virtual(sql: str) -> bool:
    return sql.upper().lstrip().startswith("CREATE VIRTUAL")


def _primary(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
