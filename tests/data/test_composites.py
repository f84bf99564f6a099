"""Branches as they read: with what they inherit, once each."""

from __future__ import annotations

import pytest

from angzarr import App, data
from angzarr.caller_sync import SyncCaller
from angzarr.cover import root_of

from .conftest import Account, Deposit, Deposited, History, OldDeposited


@pytest.mark.spec("DATA-8")
def test_a_branchs_streams_have_the_events_that_they_inherit(shop: SyncCaller) -> None:
    rows = data.read(shop, editions="what-if", inherited=True, fields=["cents"])

    assert rows["sequence"].tolist() == [0, 1, 2, 3, 4]
    assert rows["cents"].tolist() == [0, 300, 50, 10, 20]
    assert rows["inherited"].tolist() == [True, True, True, False, False]
    assert set(rows.text("edition")) == {"what-if"}
    assert {root.tobytes() for root in rows["root"]} == {root_of("a0")}


@pytest.mark.spec("DATA-8")
def test_there_is_no_position(shop: SyncCaller) -> None:
    assert "position" not in data.read(shop, editions="what-if", inherited=True).columns
    assert "position" not in data.read(shop, editions="nothing", inherited=True).columns


@pytest.mark.spec("DATA-8")
def test_mains_part_comes_once_for_each_branch(shop: SyncCaller) -> None:
    other = shop.domain(Account).on("other", divergence=1)
    other.send("a0", Deposit(7))

    rows = data.read(shop, editions=["other", "what-if", "main"], inherited=True)

    named = rows.text("edition").tolist()
    assert named == ["other"] * 2 + ["what-if"] * 5 + ["angzarr"] * 9


@pytest.mark.spec("DATA-8")
@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_streams_come_in_the_order_of_domain_root_and_sequence(
    shop: SyncCaller, batch_rows: int
) -> None:
    found = data.batches(shop, inherited=True, batch_rows=batch_rows)
    keys = [
        (domain, root.tobytes(), sequence)
        for batch in found
        for domain, root, sequence in zip(
            batch.text("domain"), batch["root"], batch["sequence"].tolist(), strict=True
        )
    ]

    assert keys == sorted(keys)
    assert len(keys) == 9


@pytest.mark.spec("DATA-8")
def test_streams_are_as_they_were_at_a_position(shop: SyncCaller) -> None:
    rows = data.read(shop, editions="what-if", inherited=True, until=9)

    assert rows["sequence"].tolist() == [0, 1, 2, 3]


@pytest.mark.spec("DATA-8")
def test_a_nested_branch_reads_through_its_parents(shop: SyncCaller, app: App) -> None:
    thread = shop.transport.thread  # type: ignore[attr-defined]
    thread.run(app.stores.editions.declare("kid", parent="what-if"))
    shop.domain(Account).on("kid", divergence=4).send("a0", Deposit(1))

    rows = data.read(shop, editions="kid", inherited=True, fields=["cents"])

    assert rows["cents"].tolist() == [0, 300, 50, 10, 1]
    assert rows["inherited"].tolist() == [True] * 4 + [False]


@pytest.mark.spec("DATA-8", "DATA-6")
def test_inherited_events_are_upcast() -> None:
    with App(Account, History, store="memory://") as calls:
        calls.domain(Account).record("a", OldDeposited(3))
        calls.domain(Account).on("b").send("a", Deposit(5))

        rows = data.read(calls, editions="b", inherited=True, fields=["cents"], types=[Deposited])

    assert rows["cents"].tolist() == [300, 5]


@pytest.mark.spec("DATA-8")
def test_pending_pages_are_left_out(shop: SyncCaller) -> None:
    shop.domain(Account).send("a2", Deposit(9), cascade_id="c1")

    rows = data.read(shop, inherited=True)

    assert len(rows) == 9
