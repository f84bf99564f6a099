"""An SQLite read model that is built beside the one that serves (PROJ-17)."""

from __future__ import annotations

import pathlib
import sqlite3
import threading
from collections.abc import Callable

import pytest

from angzarr.cover import Cover
from angzarr.errors import InvalidInput, ReadStoreUnavailable
from angzarr.ports.read_store import Comparison, ReadModel, TableDifference
from angzarr.readstores import Sqlite, _sqlite_beside
from angzarr.testing.pages import cover_of

SCHEMA = "CREATE TABLE IF NOT EXISTS line (key TEXT, cents INTEGER)"
ALICE, BOB = cover_of("alice"), cover_of("bob")
Line = tuple[str, int]


async def nothing(model: ReadModel[object], limit: Callable[[Cover], int | None] | None) -> None:
    """There is nothing new in the log."""


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Sqlite:
    return Sqlite(tmp_path / "rows.sqlite", SCHEMA)


async def fill(store: Sqlite, *lines: Line, schema: str = SCHEMA, **positions: int) -> None:
    model = await Sqlite(store.path, schema).open("p")
    async with model.transaction() as unit:
        unit.db.executemany("INSERT INTO line (key, cents) VALUES (?, ?)", lines)
        for name, sequence in positions.items():
            await unit.put_position(cover_of(name), sequence)
    await model.close()


async def compared(store: Sqlite) -> Comparison:
    return await store.compare("p", nothing)


def lines(store: Sqlite) -> list[Line]:
    reader = store.reader()
    found = [(row["key"], row["cents"]) for row in reader.rows("SELECT * FROM line ORDER BY key")]
    reader.close()
    return found


@pytest.mark.spec("PROJ-17")
async def test_the_same_rows_in_any_order_are_equal(store: Sqlite) -> None:
    await fill(store, ("a", 1), ("b", 2))
    await fill(store.beside(), ("b", 2), ("a", 1))

    found = await compared(store)

    assert found == Comparison((TableDifference("line", 2, 2),))
    assert found.is_equal


@pytest.mark.spec("PROJ-17")
async def test_differing_rows_are_counted_and_shown(store: Sqlite) -> None:
    await fill(store, ("a", 1), ("b", 2), ("c", 3))
    await fill(store.beside(), ("a", 1), ("b", 20))

    found = await compared(store)

    (table,) = found.tables
    assert not found.is_equal
    assert (table.old_count, table.new_count) == (3, 2)
    assert (table.old_only, table.new_only) == (2, 1)
    assert table.samples == (("old", ("b", 2)), ("old", ("c", 3)), ("new", ("b", 20)))


@pytest.mark.spec("PROJ-17")
async def test_a_row_that_is_there_twice_differs(store: Sqlite) -> None:
    await fill(store, ("a", 1), ("a", 1))
    await fill(store.beside(), ("a", 1))

    (table,) = (await compared(store)).tables

    assert (table.old_only, table.new_only) == (1, 1)


@pytest.mark.spec("PROJ-17")
async def test_few_of_many_differing_rows_are_shown(store: Sqlite) -> None:
    await fill(store, *((str(number), number) for number in range(100)))
    await fill(store.beside())

    (table,) = (await compared(store)).tables

    assert table.old_only == 100
    assert len(table.samples) == _sqlite_beside.SAMPLES_MAX


@pytest.mark.spec("PROJ-17")
async def test_a_column_that_one_side_lacks_is_told(store: Sqlite) -> None:
    """As after a change of the schema: the other columns are compared."""
    await fill(store, ("a", 1))
    wider = "CREATE TABLE IF NOT EXISTS line (key TEXT, cents INTEGER, note TEXT)"
    await fill(store.beside(), ("a", 1), schema=wider)

    (table,) = (await compared(store)).tables

    assert (table.old_only, table.new_only) == (0, 0)
    assert (table.old_columns, table.new_columns) == ((), ("note",))
    assert not table.is_equal


@pytest.mark.spec("PROJ-17")
async def test_a_table_that_one_side_lacks_is_told(store: Sqlite) -> None:
    await fill(store, ("a", 1))
    more = SCHEMA + "; CREATE TABLE IF NOT EXISTS more (x); INSERT INTO more VALUES (1)"
    await fill(store.beside(), ("a", 1), schema=more)

    line, extra = (await compared(store)).tables

    assert line.is_equal
    assert (extra.table, extra.old_count, extra.new_count) == ("more", 0, 1)
    assert not extra.is_equal


@pytest.mark.spec("PROJ-17")
async def test_what_a_virtual_table_keeps_is_not_compared(store: Sqlite) -> None:
    schema = SCHEMA + "; CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (text)"
    await fill(store, schema=schema)
    await fill(store.beside(), schema=schema)

    found = await Sqlite(store.path, schema).compare("p", nothing)

    assert [table.table for table in found.tables] == ["line", "words"]


@pytest.mark.spec("PROJ-17")
async def test_the_new_one_is_brought_to_the_events_of_the_old_one(store: Sqlite) -> None:
    await fill(store, ("a", 1), ("b", 2), alice=4)
    await fill(store.beside(), ("a", 1), alice=3)
    wanted: dict[str, int | None] = {}

    async def catch_up(
        model: ReadModel[sqlite3.Connection], limit: Callable[[Cover], int | None] | None
    ) -> None:
        assert limit
        wanted.update(alice=limit(ALICE), bob=limit(BOB))
        async with model.transaction() as unit:
            unit.db.execute("INSERT INTO line VALUES ('b', 2)")
            await unit.put_position(ALICE, 4)

    found = await store.compare("p", catch_up)

    assert wanted == {"alice": 4, "bob": None}
    assert found.is_equal


@pytest.mark.spec("PROJ-17")
async def test_what_is_written_while_they_are_compared_is_left_out(store: Sqlite) -> None:
    await fill(store, ("a", 1), alice=3)
    await fill(store.beside(), ("a", 1), alice=3)

    async def catch_up(model: object, limit: object) -> None:
        await fill(store, ("late", 9), alice=4)

    found = await store.compare("p", catch_up)

    assert found.is_equal
    assert lines(store) == [("a", 1), ("late", 9)]


@pytest.mark.spec("PROJ-17")
async def test_an_old_one_that_is_behind_is_waited_for(store: Sqlite) -> None:
    await fill(store, ("a", 1), alice=3)
    await fill(store.beside(), ("a", 1), ("b", 2), alice=4)
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)
        if len(slept) == 2:
            await fill(store, ("b", 2), alice=4)

    found = await _sqlite_beside.compare(store, "p", nothing, sleep=sleep)

    assert len(slept) == 2
    assert found.is_equal
    assert found.streams_ahead == 0


@pytest.mark.spec("PROJ-17")
async def test_an_old_one_that_stays_behind_is_told(store: Sqlite) -> None:
    await fill(store, ("a", 1), alice=3)
    await fill(store.beside(), ("a", 1), ("b", 2), ("c", 3), alice=4, bob=0)

    async def sleep(delay_s: float) -> None: ...

    found = await _sqlite_beside.compare(store, "p", nothing, sleep=sleep)

    assert found.streams_ahead == 2
    assert not found.is_equal


@pytest.mark.spec("PROJ-17")
async def test_a_switch_puts_the_new_rows_in_place(store: Sqlite) -> None:
    await fill(store, ("old", 1), alice=3)
    await fill(store.beside(), ("new", 2), alice=3)

    await store.switch("p", nothing)

    assert lines(store) == [("new", 2)]
    assert not store.beside().path.exists()


@pytest.mark.spec("PROJ-17")
async def test_readers_see_all_of_the_old_or_all_of_the_new(store: Sqlite) -> None:
    await fill(store, *(("old", number) for number in range(2_000)))
    await fill(store.beside(), *(("new", number) for number in range(3_000)))
    reader = store.reader()
    seen: set[tuple[str, int]] = set()
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            found = reader.rows("SELECT key, count(*) FROM line GROUP BY key")
            seen.add(tuple(found[0]) if len(found) == 1 else ("mixed", len(found)))

    thread = threading.Thread(target=read)
    thread.start()
    await store.switch("p", nothing)
    is_over.set()
    thread.join()

    assert seen <= {("old", 2_000), ("new", 3_000)}
    assert [tuple(row) for row in reader.rows("SELECT key, count(*) FROM line")] == [("new", 3_000)]
    reader.close()


@pytest.mark.spec("PROJ-17")
async def test_who_writes_the_old_one_goes_on_with_the_new_one(store: Sqlite) -> None:
    """Positions that it had in memory are those of another read model now."""
    await fill(store, ("old", 1), alice=3)
    served = await store.open("p")
    async with served.transaction() as unit:
        assert await unit.position(ALICE) == 3
        old = await unit.generation()
    await fill(store.beside(), ("new", 2), alice=7)

    await store.switch("p", nothing)

    async with served.transaction() as unit:
        assert await unit.position(ALICE) == 7
        assert await unit.generation() != old
        unit.db.execute("INSERT INTO line VALUES ('more', 3)")
    await served.close()
    assert lines(store) == [("more", 3), ("new", 2)]


@pytest.mark.spec("PROJ-17")
async def test_what_was_written_during_the_switch_is_fed_once_more(store: Sqlite) -> None:
    await fill(store, ("old", 1), alice=3)
    await fill(store.beside(), ("new", 2), alice=3)
    fed: list[pathlib.Path] = []

    async def catch_up(model: ReadModel[sqlite3.Connection], limit: object) -> None:
        assert limit is None
        async with model.transaction() as unit:
            fed.append(pathlib.Path(unit.db.execute("PRAGMA database_list").fetchone()[2]))

    await store.switch("p", catch_up)

    assert fed == [store.beside().path, store.path]


@pytest.mark.spec("PROJ-17")
async def test_a_switch_that_broke_off_can_be_done_again(store: Sqlite) -> None:
    await fill(store, ("old", 1))
    await fill(store.beside(), ("new", 2))
    calls = 0

    async def catch_up(model: object, limit: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("the process is gone")

    with pytest.raises(RuntimeError):
        await store.switch("p", catch_up)
    await store.switch("p", nothing)

    assert lines(store) == [("new", 2)]
    assert not store.beside().path.exists()


@pytest.mark.spec("PROJ-17")
async def test_the_first_read_model_may_be_built_beside_nothing(store: Sqlite) -> None:
    await fill(store.beside(), ("new", 2))

    await store.switch("p", nothing)

    assert lines(store) == [("new", 2)]


@pytest.mark.spec("PROJ-17")
@pytest.mark.parametrize("there", ["nothing", "old", "new"])
async def test_without_both_there_is_nothing_to_compare(store: Sqlite, there: str) -> None:
    if there != "nothing":
        await fill(store if there == "old" else store.beside(), ("a", 1))

    with pytest.raises(InvalidInput, match=r"there is no .*rows\.sqlite"):
        await compared(store)


@pytest.mark.spec("PROJ-17")
async def test_without_a_new_one_there_is_nothing_to_switch_to(store: Sqlite) -> None:
    await fill(store, ("old", 1))

    with pytest.raises(InvalidInput, match=r"rows\.sqlite\.new"):
        await store.switch("p", nothing)

    assert lines(store) == [("old", 1)]


async def test_a_lock_that_is_kept_makes_the_switch_fail(
    store: Sqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sqlite_beside, "LOCK_S", 0.01)
    await fill(store, ("old", 1))
    await fill(store.beside(), ("new", 2))
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(ReadStoreUnavailable):
        await store.switch("p", nothing)

    other.close()
    assert lines(store) == [("old", 1)]
    assert store.beside().path.exists()


async def test_discarding_nothing_is_fine(store: Sqlite) -> None:
    await fill(store.beside(), ("new", 2))

    await store.discard()
    await store.discard()

    assert not list(store.path.parent.glob("*.new*"))
