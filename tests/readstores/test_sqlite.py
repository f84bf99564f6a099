"""What an SQLite read store does beside the contract: errors, locks, checkpoints, its files."""

from __future__ import annotations

import asyncio
import logging
import pathlib
import sqlite3
import threading

import pytest

from angzarr.errors import (
    FormatTooNew,
    HandlerFailed,
    InvalidInput,
    ReadStoreUnavailable,
    StoreClosed,
)
from angzarr.readstores import Sqlite, _sqlite, _sqlite_checkpoints, read_store
from angzarr.readstores import sqlite as module
from angzarr.readstores.sqlite import SqliteModel
from angzarr.testing.pages import cover_of

SCHEMA = "CREATE TABLE IF NOT EXISTS row (key TEXT PRIMARY KEY, value TEXT)"
ALICE = cover_of("alice")


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Sqlite:
    return Sqlite(tmp_path / "rows.sqlite", SCHEMA)


async def write(model: SqliteModel, key: str = "a", size: int = 1) -> None:
    async with model.transaction() as unit:
        unit.db.execute("INSERT INTO row VALUES (?, ?)", (key, "x" * size))


def rows(store: Sqlite) -> list[str]:
    reader = store.reader()
    found = [str(row["key"]) for row in reader.rows("SELECT key FROM row ORDER BY key")]
    reader.close()
    return found


@pytest.mark.spec("PROJ-4")
@pytest.mark.parametrize("act", ["commit", "rollback", "close"])
async def test_a_handler_can_not_end_the_transaction(store: Sqlite, act: str) -> None:
    model = await store.open("p")

    async with model.transaction() as unit:
        unit.db.execute("INSERT INTO row VALUES ('a', '1')")
        with pytest.raises(sqlite3.ProgrammingError, match="committed together"):
            getattr(unit.db, act)()

    assert rows(store) == ["a"]
    await model.close()


@pytest.mark.spec("PROJ-4")
async def test_a_with_block_of_the_connection_commits_nothing(store: Sqlite) -> None:
    model = await store.open("p")

    async with model.transaction() as unit:
        with unit.db:
            unit.db.execute("INSERT INTO row VALUES ('a', '1')")
        before = rows(store)

    assert before == []
    await model.close()


@pytest.mark.spec("PROJ-4")
async def test_a_handler_that_commits_by_sql_is_told(store: Sqlite) -> None:
    model = await store.open("p")

    with pytest.raises(HandlerFailed, match="projector:p failed: a handler ended the transaction"):
        async with model.transaction() as unit:
            unit.db.execute("COMMIT")

    await write(model)
    assert rows(store) == ["a"]
    await model.close()


@pytest.mark.spec("PROJ-4")
async def test_a_full_disk_is_the_environments_failure(store: Sqlite) -> None:
    """SQLite says so within the handler, whose error it is not."""
    model = await store.open("p")
    await write(model, "kept")
    model.db.execute(
        f"PRAGMA max_page_count = {model.db.execute('PRAGMA page_count').fetchone()[0]}"
    )

    async def handle() -> None:
        async with model.transaction() as unit:
            await unit.put_position(ALICE, 5)
            try:
                unit.db.execute("INSERT INTO row VALUES ('big', ?)", ("x" * 100_000,))
            except sqlite3.Error as error:
                raise HandlerFailed("projector:p", "it failed") from error

    with pytest.raises(ReadStoreUnavailable, match="the disk is full"):
        await handle()

    model.db.execute("PRAGMA max_page_count = 1000000")
    assert rows(store) == ["kept"]
    async with model.transaction() as unit:
        assert await unit.position(ALICE) is None
    await model.close()


@pytest.mark.spec("PROJ-4")
async def test_wrong_sql_is_the_handlers_own_error(store: Sqlite) -> None:
    model = await store.open("p")

    with pytest.raises(sqlite3.IntegrityError):
        async with model.transaction() as unit:
            unit.db.execute("INSERT INTO row VALUES ('a', '1'), ('a', '2')")

    await model.close()


@pytest.mark.parametrize("what", ["no database", "a directory"])
async def test_a_file_that_is_none_of_ours_is_unavailable(store: Sqlite, what: str) -> None:
    if what == "a directory":
        store.path.mkdir()
    else:
        store.path.write_bytes(b"not a database, but long enough to be looked at" * 100)

    with pytest.raises(ReadStoreUnavailable, match=str(store.path)):
        await store.open("p")


async def test_another_projectors_file_is_refused(store: Sqlite) -> None:
    await (await store.open("first")).close()

    with pytest.raises(InvalidInput, match="read model of projector first, not of second"):
        await store.open("second")


async def test_a_newer_format_is_refused(store: Sqlite) -> None:
    await (await store.open("p")).close()
    with sqlite3.connect(store.path) as db:
        db.execute(f"UPDATE {_sqlite.FACTS} SET format = {_sqlite.FORMAT + 1}")
    db.close()

    with pytest.raises(FormatTooNew):
        await store.open("p")


async def test_a_wrong_schema_is_told(tmp_path: pathlib.Path) -> None:
    store = Sqlite(tmp_path / "rows.sqlite", "CREATE TABEL row (key)")

    with pytest.raises(InvalidInput, match=r"schema of .*rows.sqlite.*TABEL"):
        await store.open("p")


async def test_a_changed_schema_is_told(store: Sqlite, caplog: pytest.LogCaptureFixture) -> None:
    await (await store.open("p")).close()
    later = Sqlite(store.path, SCHEMA + "; CREATE TABLE IF NOT EXISTS more (key)")

    with caplog.at_level(logging.WARNING):
        model = await later.open("p")

    assert "schema" in caplog.text
    assert "replay" in caplog.text
    async with model.transaction() as unit:
        unit.db.execute("INSERT INTO more VALUES (1)")  # what was missing is there
    await model.close()


def test_statements_are_told_apart() -> None:
    script = """
        CREATE TABLE a (x TEXT DEFAULT ';'); -- one; two
        CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; SELECT 1; END;
        CREATE INDEX i ON a (x)
    """

    found = list(_sqlite.statements(script))

    assert len(found) == 3
    assert "END;" in found[1]
    db = sqlite3.connect(":memory:")
    for statement in found:
        db.execute(statement)
    db.close()


@pytest.mark.spec("PROJ-9")
async def test_clearing_drops_all_that_a_schema_can_make(tmp_path: pathlib.Path) -> None:
    schema = """
        CREATE TABLE IF NOT EXISTS row (key TEXT PRIMARY KEY, value TEXT);
        CREATE TABLE IF NOT EXISTS part (key TEXT REFERENCES row (key));
        CREATE INDEX IF NOT EXISTS by_value ON row (value);
        CREATE VIEW IF NOT EXISTS keys AS SELECT key FROM row;
        CREATE TRIGGER IF NOT EXISTS noted AFTER INSERT ON row
            BEGIN INSERT INTO part VALUES (new.key); END;
        CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (text);
    """
    store = Sqlite(tmp_path / "rows.sqlite", schema)
    model = await store.open("p")
    await write(model)
    async with model.transaction() as unit:
        unit.db.execute("INSERT INTO words VALUES ('hello')")
        unit.db.execute('CREATE TABLE "made by ""hand""" (x)')

    async with model.transaction() as unit:
        await unit.clear()

    reader = store.reader()
    assert [
        tuple(r) for r in reader.rows("SELECT (SELECT count(*) FROM row), count(*) FROM words")
    ] == [(0, 0)]
    assert not reader.rows("SELECT 1 FROM sqlite_schema WHERE name LIKE 'made%'")
    reader.close()
    await write(model)
    await model.close()


@pytest.mark.spec("PROJ-4", "DEP-14")
async def test_positions_that_another_connection_put_count(store: Sqlite) -> None:
    """What is kept in memory is old when somebody else has written."""
    first, second = await store.open("p"), await store.open("p")
    async with first.transaction() as unit:
        await unit.put_position(ALICE, 5)

    async with second.transaction() as unit:
        assert await unit.position(ALICE) == 5
        await unit.put_position(ALICE, 6)

    async with first.transaction() as unit:
        assert await unit.position(ALICE) == 6
    await first.close()
    await second.close()


async def test_few_positions_are_kept_in_memory(
    store: Sqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POSITIONS_KEPT", 2)
    model = await store.open("p")
    covers = [cover_of(f"account-{number}") for number in range(5)]
    for sequence, cover in enumerate(covers):
        async with model.transaction() as unit:
            await unit.put_position(cover, sequence)

    assert len(model.positions) <= 2
    async with model.transaction() as unit:
        assert [await unit.position(cover) for cover in covers] == [0, 1, 2, 3, 4]
    await model.close()


async def test_a_lock_of_another_process_is_waited_for(store: Sqlite) -> None:
    other = sqlite3.connect(store.path, isolation_level=None)
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)
        if len(slept) == 3:
            other.execute("ROLLBACK")

    model = await store.open("p", sleep=sleep)
    other.execute("BEGIN IMMEDIATE")

    await write(model)

    assert slept == [0.001, 0.002, 0.004]
    assert rows(store) == ["a"]
    await model.close()
    other.close()


async def test_a_lock_that_is_never_given_back_is_unavailable(store: Sqlite) -> None:
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)

    model = await store.open("p", sleep=sleep)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(ReadStoreUnavailable, match="another process"):
        await write(model)

    assert 15 < sum(slept) < 25
    other.execute("ROLLBACK")
    await write(model)
    await model.close()
    other.close()


async def test_the_write_ahead_log_does_not_grow_under_load(
    store: Sqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_checkpoints, "BYTES_MAX", 64 * 1024)
    monkeypatch.setattr(_sqlite_checkpoints, "EVERY_COMMITS", 4)
    model = await store.open("p")
    wal = store.path.with_name(store.path.name + "-wal")

    largest = 0
    for number in range(400):
        await write(model, str(number), size=4096)
        if number % 20 == 0:
            await model.checkpoints.settled()
        largest = max(largest, wal.stat().st_size)

    assert largest < 500_000  # 400 transactions write 5 MB
    assert len(rows(store)) == 400
    await model.close()


async def test_a_failed_checkpoint_is_logged_and_tried_again(
    store: Sqlite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_sqlite_checkpoints, "BYTES_MAX", 0)
    monkeypatch.setattr(_sqlite_checkpoints, "EVERY_COMMITS", 1)
    real = _sqlite_checkpoints._checkpoint
    failing = threading.Event()
    failing.set()

    def checkpoint(path: pathlib.Path, mode: str) -> None:
        if failing.is_set():
            raise sqlite3.OperationalError("disk I/O error")
        real(path, mode)

    monkeypatch.setattr(_sqlite_checkpoints, "_checkpoint", checkpoint)
    model = await store.open("p")

    await write(model, "a")
    await model.close()

    assert "checkpoint" in caplog.text
    failing.clear()
    model = await store.open("p")
    await write(model, "b")
    await model.close()
    assert rows(store) == ["a", "b"]


async def test_a_checkpoint_brings_all_rows_into_the_file(store: Sqlite) -> None:
    model = await store.open("p")
    await write(model)

    await model.checkpoint()

    assert store.path.with_name("rows.sqlite-wal").stat().st_size == 0
    await model.close()


@pytest.mark.spec("DEP-7")
def test_a_reader_of_no_file_says_who_makes_it(store: Sqlite) -> None:
    with pytest.raises(ReadStoreUnavailable, match="its projector has not made it yet"):
        store.reader().rows("SELECT 1")

    assert not store.path.exists()


@pytest.mark.spec("DEP-7")
async def test_a_reader_can_not_write(store: Sqlite) -> None:
    model = await store.open("p")
    reader = store.reader()

    with pytest.raises(ReadStoreUnavailable, match="read-only"):
        reader.rows("INSERT INTO row VALUES ('a', '1')")

    reader.close()
    await model.close()


@pytest.mark.spec("DEP-7")
async def test_all_statements_of_a_reading_see_one_state(store: Sqlite) -> None:
    model = await store.open("p")
    await write(model, "a")
    reader = store.reader()

    with reader.reading() as db:
        before = db.execute("SELECT count(*) FROM row").fetchone()[0]
        await write(model, "b")
        after = db.execute("SELECT count(*) FROM row").fetchone()[0]

    assert (before, after) == (1, 1)
    assert len(reader.rows("SELECT * FROM row")) == 2
    reader.close()
    await model.close()


@pytest.mark.spec("DEP-7")
async def test_readers_see_whole_transactions_only(store: Sqlite) -> None:
    model = await store.open("p")
    reader = store.reader()
    counts: set[int] = set()
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            found = reader.row("SELECT count(*) FROM row")
            assert found
            counts.add(found[0])

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(60):
        async with model.transaction() as unit:
            for part in range(5):
                unit.db.execute("INSERT INTO row VALUES (?, '')", (f"{number}-{part}",))
                await asyncio.sleep(0)
    is_over.set()
    for thread in threads:
        thread.join()

    assert all(count % 5 == 0 for count in counts)
    reader.close()
    await model.close()


async def test_a_reader_keeps_its_connections(store: Sqlite) -> None:
    model = await store.open("p")
    reader = store.reader()

    with reader.reading() as first:
        pass
    with reader.reading() as second:
        assert second is first
        with reader.reading() as third:
            assert third is not first

    reader.close()
    with pytest.raises(StoreClosed):
        reader.rows("SELECT 1")
    await model.close()


async def test_a_readers_error_is_its_own(store: Sqlite) -> None:
    model = await store.open("p")
    reader = store.reader()

    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        reader.rows("SELECT * FROM nowhere")

    assert reader.row("SELECT key FROM row") is None
    reader.close()
    await model.close()


def test_a_url_names_it() -> None:
    found = read_store("sqlite://var/rows.sqlite", schema=SCHEMA)

    assert found == Sqlite("var/rows.sqlite", SCHEMA)
    assert found.place == "var/rows.sqlite"


@pytest.mark.parametrize("url", ["rows.sqlite", "mongo://rows", "sqlite://"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="sqlite://PATH"):
        read_store(url)


def test_making_one_touches_nothing(store: Sqlite) -> None:
    store.beside()
    store.reader()

    assert not store.path.exists()
    assert store.beside().path.name == "rows.sqlite.new"
