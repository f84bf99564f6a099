"""A read model that is built beside the one that serves, compared with it, and put in its place."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final

from angzarr.cover import Cover
from angzarr.errors import InvalidInput, ReadStoreUnavailable
from angzarr.ports.read_store import CatchUp, Comparison, TableDifference
from angzarr.readstores import _sqlite as lite
from angzarr.readstores.sqlite import Sleep, Sqlite

SAMPLES_MAX: Final = 5
"""Differing rows of one side of a table that are shown."""

LOOKS: Final = 20
LOOK_AFTER_S: Final = 0.1
"""How often the old read model is looked at while it is behind the new one, and how long apart."""

LOCK_S: Final = 30.0
RETRY_S: Final = 0.005
"""How long, and how often, those who write the file are waited for."""

_AHEAD: Final = (
    f"SELECT count(*) FROM new.{lite.POSITIONS} AS n LEFT JOIN main.{lite.POSITIONS} AS o "
    "USING (domain, edition, root) WHERE o.sequence IS NULL OR n.sequence > o.sequence"
)
_POSITION: Final = (
    f"SELECT sequence FROM main.{lite.POSITIONS} WHERE domain = ? AND edition = ? AND root = ?"
)


async def compare(
    store: Sqlite, projector: str, catch_up: CatchUp, *, sleep: Sleep = asyncio.sleep
) -> Comparison:
    """How the rows of `<file>.new` differ from the file's, both at the same events.

    The file is read as it is at one moment, the new one is brought to that moment, and nobody who
    writes or reads the file waits. Raises InvalidInput if either is not there,
    ReadStoreUnavailable.
    """
    with _opened(store) as both:
        ahead = await asyncio.to_thread(_count, both, _AHEAD)
        for _ in range(LOOKS):
            if not ahead:
                break
            await sleep(LOOK_AFTER_S)
            ahead = await asyncio.to_thread(_count, both, _AHEAD)
        # From here on the file is seen as it is now. The new one is not touched by this, so what is
        # written to it below is seen when it is first read.
        both.execute("BEGIN")
        _count(both, "SELECT count(*) FROM main.sqlite_schema")

        def position(cover: Cover) -> int | None:
            found = both.execute(_POSITION, cover.stream).fetchone()
            return None if found is None else int(found[0])

        new = await store.beside().open(projector)
        try:
            await catch_up(new, position)
        finally:
            await new.close()
        return Comparison(await asyncio.to_thread(_differences, both), ahead)


async def switch(store: Sqlite, projector: str, catch_up: CatchUp) -> None:
    """Make the file what `<file>.new` is: one transaction of the file, so that a reader sees all of
    the old rows or all of the new ones.

    Who writes the file waits meanwhile; what was written to it since is in the log, and fed once
    more at the end. Raises InvalidInput if there is no new one, ReadStoreUnavailable.
    """
    _require(store.beside().path)
    new = await store.beside().open(projector)
    try:
        await catch_up(new, None)
        await new.checkpoint()
    finally:
        await new.close()
    try:
        await asyncio.to_thread(_copy, store.beside().path, store.path)
    except sqlite3.Error as error:
        raise _unavailable(store.path, error) from error
    served = await store.open(projector)
    try:
        await catch_up(served, None)
    finally:
        await served.close()
    await store.discard()


def _copy(source: Path, target: Path) -> None:
    until = time.monotonic() + LOCK_S

    def look(status: int, _remaining: int, _total: int) -> None:
        if status != sqlite3.SQLITE_DONE and time.monotonic() > until:
            raise ReadStoreUnavailable(str(target), "another process or connection writes it")

    with (
        contextlib.closing(sqlite3.connect(source)) as new,
        contextlib.closing(sqlite3.connect(target, timeout=0)) as old,
    ):
        old.execute("PRAGMA synchronous = FULL")  # the source is deleted after it
        # All pages in one step, which is tried again while another connection writes.
        new.backup(old, progress=look, sleep=RETRY_S)


@contextlib.contextmanager
def _opened(store: Sqlite) -> Generator[sqlite3.Connection]:
    """Both files on one read-only connection, as `main` and `new`."""
    _require(store.path)
    _require(store.beside().path)
    try:
        with contextlib.closing(lite.connect_read_only(store.path)) as both:
            uri = store.beside().path.absolute().as_uri()
            both.execute("ATTACH DATABASE ? AS new", (f"{uri}?mode=ro",))
            yield both
    except sqlite3.Error as error:
        raise _unavailable(store.path, error) from error


def _require(path: Path) -> None:
    if not path.exists():
        message = f"there is no {path}; build it with: angzarr projectors replay"
        raise InvalidInput("read_store", "a file that is there", path, message)


def _differences(both: sqlite3.Connection) -> tuple[TableDifference, ...]:
    old, new = _tables(both, "main"), _tables(both, "new")
    return tuple(_difference(both, name, old, new) for name in sorted(old.keys() | new.keys()))


def _difference(
    both: sqlite3.Connection,
    table: str,
    old: dict[str, list[str]],
    new: dict[str, list[str]],
) -> TableDifference:
    name = _quoted(table)
    old_count = _count(both, f"SELECT count(*) FROM main.{name}") if table in old else 0
    new_count = _count(both, f"SELECT count(*) FROM new.{name}") if table in new else 0
    old_columns, new_columns = old.get(table, []), new.get(table, [])
    shared = [column for column in old_columns if column in new_columns]
    if not shared:
        return TableDifference(
            table, old_count, new_count, old_count, new_count, (*old_columns,), (*new_columns,)
        )
    columns = ", ".join(map(_quoted, shared))
    sides = {
        side: f"SELECT {columns}, count(*) FROM {schema}.{name} GROUP BY {columns}"
        for side, schema in (("old", "main"), ("new", "new"))
    }
    only = {
        "old": f"{sides['old']} EXCEPT {sides['new']}",
        "new": f"{sides['new']} EXCEPT {sides['old']}",
    }
    counts = {side: _count(both, f"SELECT count(*) FROM ({sql})") for side, sql in only.items()}
    samples = tuple(
        (side, tuple(row)[:-1])
        for side, sql in only.items()
        if counts[side]
        for row in both.execute(f"{sql} LIMIT {SAMPLES_MAX}")
    )
    return TableDifference(
        table,
        old_count,
        new_count,
        counts["old"],
        counts["new"],
        tuple(column for column in old_columns if column not in shared),
        tuple(column for column in new_columns if column not in shared),
        samples,
    )


def _tables(both: sqlite3.Connection, schema: str) -> dict[str, list[str]]:
    """The projector's tables and their columns; those that virtual tables keep are left out."""
    listed = both.execute(f"PRAGMA {schema}.table_list").fetchall()
    names = [
        str(row["name"])
        for row in listed
        if row["schema"] == schema
        and row["type"] in ("table", "virtual")
        and not lite.is_own_table(row["name"])
    ]
    return {
        name: [
            str(column["name"])
            for column in both.execute(f"PRAGMA {schema}.table_info({_quoted(name)})")
        ]
        for name in names
    }


def _count(db: sqlite3.Connection, sql: str) -> int:
    return int(db.execute(sql).fetchone()[0])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _unavailable(path: Path, error: sqlite3.Error) -> ReadStoreUnavailable:
    return lite.unavailable(path, error) or ReadStoreUnavailable(str(path), str(error))
