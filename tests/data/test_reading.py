"""The log as batches: what the arrays say is what the streams hold."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from angzarr import App, data
from angzarr.caller_sync import SyncCaller
from angzarr.cover import root_of
from angzarr.errors import InvalidInput, TooLarge
from angzarr.stores import open_stores

from .conftest import Account, Deposit, Withdrawn


@pytest.mark.spec("DATA-1")
def test_rows_are_the_events_of_main_in_the_logs_order(shop: SyncCaller) -> None:
    rows = data.read(shop)

    assert rows["position"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 11]
    assert rows.text("domain").tolist() == ["account"] * 6 + ["shop", "account", "account"]
    assert rows["sequence"].tolist() == [0, 0, 0, 1, 1, 1, 0, 2, 2]


@pytest.mark.spec("DATA-2")
def test_columns_have_the_dtypes_that_the_rule_says(shop: SyncCaller) -> None:
    rows = data.read(shop)

    assert {name: rows[name].dtype.str for name in rows} == {
        "position": "<u8",
        "sequence": "<u4",
        "time": "<M8[ns]",
        "domain": "<i4",
        "edition": "<i4",
        "type": "<i4",
        "root": "|V16",
    }


@pytest.mark.spec("DATA-2")
def test_roots_are_their_sixteen_bytes(shop: SyncCaller) -> None:
    rows = data.read(shop, domains="shop")

    assert rows["root"][0].tobytes() == root_of("s")


@pytest.mark.spec("DATA-2")
def test_times_are_those_of_the_events(shop: SyncCaller) -> None:
    rows = data.read(shop, domains="account")

    events = list(shop.domain(Account).events("a0"))
    mine = rows.where(rows["root"] == np.void(root_of("a0")))
    micros = [int(e.created_at.timestamp() * 1e6) for e in events]
    assert (mine["time"].astype(np.int64) // 1_000).tolist() == pytest.approx(micros, abs=1)


@pytest.mark.spec("DATA-1")
def test_one_edition_is_read_where_it_is_named(shop: SyncCaller) -> None:
    rows = data.read(shop, editions="what-if")

    assert rows["position"].tolist() == [9, 10]
    assert rows.text("edition").tolist() == ["what-if"] * 2


@pytest.mark.spec("DATA-1")
def test_a_star_reads_all_editions(shop: SyncCaller) -> None:
    assert data.read(shop, editions="*")["position"].tolist() == list(range(1, 12))


@pytest.mark.spec("DATA-1")
@pytest.mark.parametrize("main", ["", "main", "angzarr"])
def test_main_has_three_names(shop: SyncCaller, main: str) -> None:
    assert len(data.read(shop, editions=[main, "what-if"])) == 11


@pytest.mark.spec("DATA-1")
def test_types_are_chosen_by_class_or_name(shop: SyncCaller) -> None:
    by_class = data.read(shop, types=[Withdrawn])
    by_name = data.read(shop, types=["Withdrawn"])
    by_full_name = data.read(shop, types=["account.Withdrawn"])

    assert by_class["position"].tolist() == [8, 11]
    assert by_name["position"].tolist() == by_full_name["position"].tolist() == [8, 11]


def test_a_type_that_no_class_has_is_refused_with_the_nearest(shop: SyncCaller) -> None:
    with pytest.raises(InvalidInput, match=r"nearest: account\.Withdrawn"):
        data.batches(shop, types=["Withdrawm"])


@pytest.mark.spec("DATA-3")
def test_categories_are_those_of_all_batches(shop: SyncCaller) -> None:
    found = list(data.batches(shop, editions="*", batch_rows=2))

    assert len(found) == 6
    assert len({id(batch.categories["type"]) for batch in found}) == 1
    whole = data.read(shop, editions="*")
    codes = np.concatenate([batch["type"] for batch in found])
    assert codes.tolist() == whole["type"].tolist()


@pytest.mark.spec("DATA-3")
def test_too_many_categories_are_refused(shop: SyncCaller) -> None:
    with pytest.raises(TooLarge, match="categories of"):
        data.read(shop, fields=["note"], categories_max=1)


@pytest.mark.spec("DATA-7")
def test_reading_ends_where_the_log_ended_when_it_began(shop: SyncCaller) -> None:
    found = iter(data.batches(shop, batch_rows=4))
    first = next(found)
    shop.domain(Account).send("later", Deposit(1))

    rest = [int(position) for batch in found for position in batch["position"]]

    assert first["position"].tolist() == [1, 2, 3, 4]
    assert rest == [5, 6, 7, 8, 11]


@pytest.mark.spec("DATA-7")
def test_positions_after_and_until_bound_the_rows(shop: SyncCaller) -> None:
    rows = data.read(shop, editions="*", after=3, until=9)

    assert rows["position"].tolist() == [4, 5, 6, 7, 8, 9]
    assert rows.position == 9


@pytest.mark.spec("DATA-7")
def test_reading_goes_on_at_a_batchs_position(shop: SyncCaller) -> None:
    first = next(iter(data.batches(shop, batch_rows=5)))

    rest = data.read(shop, after=first.position)

    assert first["position"].tolist() + rest["position"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 11]
    assert data.read(shop, after=rest.position).position == rest.position == 11


@pytest.mark.spec("DATA-7")
def test_progress_is_told_in_log_positions(shop: SyncCaller) -> None:
    told: list[tuple[int, int]] = []

    data.read(shop, batch_rows=4, after=1, progress=lambda done, total: told.append((done, total)))

    assert told == [(4, 10), (8, 10), (10, 10)]


def test_nothing_is_an_empty_batch_with_all_columns(shop: SyncCaller) -> None:
    rows = data.read(shop, domains="nowhere", fields=["cents"])

    assert len(rows) == 0
    assert rows["cents"].dtype == np.int64


def test_more_rows_than_read_puts_together_are_refused(shop: SyncCaller) -> None:
    with pytest.raises(TooLarge, match="max_rows"):
        data.read(shop, max_rows=3)


async def test_a_running_app_is_read_with_async_for(app: App) -> None:
    async with app:
        await app.domain(Account).send("a", Deposit(5))
        await app.domain(Account).send("a", Deposit(6))

        batches = [batch async for batch in data.batches(app, fields=["cents"])]
        whole = await data.read_async(app, fields=["cents"])

    assert batches[0]["cents"].tolist() == whole["cents"].tolist() == [5, 6]


async def test_a_plain_for_in_the_apps_own_loop_is_refused(app: App) -> None:
    async with app:
        with pytest.raises(RuntimeError, match="async for"):
            next(iter(data.batches(app)))


def test_reading_makes_no_store(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InvalidInput, match="the directory of a store"):
        data.read(tmp_path / "nothing")

    assert not (tmp_path / "nothing").exists()


async def test_an_open_store_is_read_and_stays_open() -> None:
    stores = open_stores("memory://")

    rows = await data.read_async(stores)

    assert len(rows) == 0
    assert await stores.events.log_head() == 0


def test_an_iteration_that_is_left_early_leaves_nothing_behind(shop: SyncCaller) -> None:
    for batch in data.batches(shop, batch_rows=1):
        assert len(batch) == 1
        break

    assert len(data.read(shop)) == 9
