"""Branches in memory: what runs there, what they see, and that nothing of it is real."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from angzarr import (
    App,
    CommandRejected,
    Position,
    Projector,
    Sqlite,
    projects,
    wire,
)
from angzarr.errors import EditionGone, InvalidInput, RemoteError
from angzarr.testing.clock import START_NS, ManualClock
from angzarr.testing.contracts.base import whole_log

from .what_if_shop import SHOP, Order, Place, Placed, Refund, Shipment

START = datetime.fromtimestamp(START_NS // 10**9, UTC)
ORDER = (Order, "o-1")


@asynccontextmanager
async def shop(*items: str, classes: tuple[Any, ...] = SHOP, **more: Any) -> AsyncIterator[App]:
    """A running shop, where these items were ordered and shipped."""
    more.setdefault("store", "memory://")
    async with App(*classes, **more) as app:
        for item in items:
            await app.domain(Order).send("o-1", Place(item))
            await app.settled()
        yield app


async def traces(app: App) -> list[object]:
    """All that a leak could have touched."""
    stores = app.stores
    return [
        await whole_log(stores.events),
        await stores.events.log_head(),
        await stores.events.domains(),
        await stores.events.editions("order"),
        await stores.obligations.due(2**62, limit=100, lease_s=0),
        await stores.dead_letters.list(),
        await stores.editions.list(),
        [await stores.positions.cursor(f"saga:{name}") for name in ("shipping", "watch")],
    ]


@pytest.mark.spec("SPEC-6")
@pytest.mark.parametrize("store", ["memory://", "rocksdb://data", "rocksdict://data"])
async def test_a_branch_decides_on_what_is_stored(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with shop("book", "pen", store=store) as app, app.what_if() as branch:
        sent = await branch.domain(Order).send("o-1", Place("vase"))

        assert sent.sequences == (2,)
        assert (await branch.domain(Order).state("o-1")).items == "book pen vase "
        assert (await app.domain(Order).state("o-1")).items == "book pen "


@pytest.mark.spec("SPEC-6")
async def test_nothing_of_a_branch_is_left_behind() -> None:
    async with shop("book", clock=ManualClock()) as app:
        before = await traces(app)

        async with app.what_if() as branch:
            orders = branch.domain(Order)
            await orders.send("o-1", Place("vase"), correlation_id="c-1")  # and a timer
            await orders.send("o-2", Place("piano"))  # a compensation
            await orders.send("o-3", Place("ghost"))  # a dead letter, in time
            await orders.record("o-1", Placed("hat"), external_id="fact-1")
            await orders.on("left").send("o-1", Place("lamp"))
            with pytest.raises(CommandRejected):
                await orders.send("o-1", Place("book"))
            await branch.domain(Order).send("o-4", Place("cup"))

        await app.settled()
        assert await traces(app) == before


@pytest.mark.spec("SPEC-6")
async def test_sagas_and_process_managers_react_on_the_branch() -> None:
    async with shop("book") as app, app.what_if() as branch:
        await branch.domain(Order).send("o-1", Place("vase"), correlation_id="c-1")
        await branch.domain(Order).send("o-1", Place("piano"))
        await branch.settled()

        assert (await branch.domain(Shipment).state("o-1")).items == "book vase "
        assert (await branch.domain(Order).state("o-1")).why == "too heavy"
        assert [cover.domain for cover in branch.changed()] == ["order", "shipment", "watch"]


@pytest.mark.spec("SPEC-6")
async def test_without_reactions_nothing_reacts() -> None:
    async with shop("book") as app, app.what_if(reactions=False) as branch:
        await branch.domain(Order).send("o-1", Place("vase"))
        await branch.settled()

        assert (await branch.domain(Shipment).state("o-1")).items == "book "


@pytest.mark.spec("SPEC-6")
async def test_what_was_stored_before_is_not_reacted_to_again() -> None:
    async with shop("book") as app, app.what_if() as branch:
        await branch.settled()

        assert branch.changed() == []


@pytest.mark.spec("SPEC-6", "TIMER-2")
async def test_a_timer_of_the_branch_fires_there_alone() -> None:
    clock = ManualClock()
    async with shop("book", clock=clock) as app, app.what_if() as branch:
        await branch.domain(Order).send("o-1", Place("vase"), correlation_id="c-1")
        await branch.settled()

        clock.advance(61)
        await branch.settled()
        await app.settled()

        assert (await branch.domain(Order).state("o-1")).why == "asked for"
        assert (await app.domain(Order).state("o-1")).why == ""


SCHEMA = "CREATE TABLE IF NOT EXISTS line (item TEXT)"


class Lines(Projector, source="order", read_store=Sqlite("lines.sqlite", SCHEMA), synchronous=True):
    @projects
    def placed(self, event: Placed, db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO line VALUES (?)", (event.item,))


@pytest.mark.spec("SPEC-6")
async def test_projectors_do_not_see_the_branch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with shop("book", classes=(*SHOP, Lines)) as app, app.what_if() as branch:
        sent = await branch.domain(Order).send("o-1", Place("vase"), sync_mode="simple")
        await branch.settled()

        assert sent.projections == ()
        rows = sqlite3.connect("lines.sqlite").execute("SELECT item FROM line").fetchall()
        assert rows == [("book",)]


@pytest.mark.spec("SPEC-6")
async def test_what_is_stored_meanwhile_is_not_seen() -> None:
    async with shop("book") as app, app.what_if() as branch:
        await app.domain(Order).send("o-1", Place("pen"))
        await app.settled()

        sent = await branch.domain(Order).send("o-1", Place("pen"))
        await branch.settled()

        assert sent.sequences == (1,)
        assert (await branch.domain(Shipment).state("o-1")).items == "book pen "


@pytest.mark.spec("SPEC-6")
async def test_a_branch_as_of_a_page_has_all_streams_as_they_were() -> None:
    async with shop("book", "pen", "vase") as app, app.what_if(at=1, of=ORDER) as branch:
        # The page is in the log before what it led to.
        assert (await branch.domain(Shipment).state("o-1")).items == "book "

        await branch.domain(Order).send("o-1", Place("hat"))
        await branch.settled()

        assert (await branch.domain(Order).state("o-1")).items == "book pen hat "
        assert (await branch.domain(Shipment).state("o-1")).items == "book hat "


@pytest.mark.spec("SPEC-6", "CMD-26")
async def test_a_reaction_that_is_done_later_in_the_base_is_done_on_the_branch_too() -> None:
    async with shop("book", "pen") as app, app.what_if(at=0, of=ORDER) as branch:
        # In the base page 1 has led to a command with the very same key.
        await branch.domain(Order).send("o-1", Place("pen"))
        await branch.settled()

        assert (await branch.domain(Shipment).state("o-1")).items == "pen "


@pytest.mark.spec("SPEC-6")
async def test_a_branch_as_of_a_position() -> None:
    async with shop("book") as app:
        position = await app.position()
        await app.domain(Order).send("o-1", Place("pen"))

        async with app.what_if(at=position) as branch:
            assert (await branch.domain(Order).state("o-1")).items == "book "
        async with app.what_if(at=Position(0)) as branch:
            assert (await branch.domain(Order).state("o-1")).items == ""


@pytest.mark.spec("SPEC-6")
async def test_a_branch_as_of_a_time() -> None:
    clock = ManualClock()
    async with shop("book", clock=clock) as app:
        clock.advance(60)
        await app.domain(Order).send("o-1", Place("pen"))

        async with app.what_if(at=START + timedelta(seconds=59)) as branch:
            await branch.domain(Order).send("o-1", Place("vase"))

            assert (await branch.domain(Order).state("o-1")).items == "book vase "


@pytest.mark.spec("SPEC-6")
async def test_a_page_that_is_not_there_is_no_point() -> None:
    async with shop("book") as app:
        with pytest.raises(InvalidInput, match="below 1"):
            await app.what_if(at=1, of=ORDER).__aenter__()
        with pytest.raises(ValueError, match="of which stream"):
            await app.what_if(at=1).__aenter__()


@pytest.mark.spec("SPEC-6", "EDN-21")
async def test_a_branch_of_a_nested_edition() -> None:
    async with shop("book", "pen", clock=ManualClock()) as app:
        left = app.domain(Order, edition="left", divergence=1)
        await left.send("o-1", Place("lamp"))
        await app.stores.editions.declare("kid", parent="left")
        await app.domain(Order, edition="kid", divergence=2).send("o-1", Place("hat"))
        await app.settled()
        before = await traces(app)

        async with app.what_if("kid") as branch:
            sent = await branch.domain(Order).send("o-1", Place("cup"))
            await branch.settled()

            assert sent.cover.edition == "kid"
            assert (await branch.domain(Order).state("o-1")).items == "book lamp hat cup "
            assert "cup" in (await branch.domain(Shipment).state("o-1")).items

        assert await traces(app) == before


@pytest.mark.spec("SPEC-6", "EDN-14")
async def test_an_edition_that_is_deleted_meanwhile_is_missed() -> None:
    async with shop("book") as app:
        await app.domain(Order, edition="left").send("o-1", Place("lamp"))
        await app.domain(Order, edition="left").send("o-2", Place("lamp"))
        await app.settled()

        async with app.what_if("left", reactions=False) as branch:
            await branch.domain(Order).send("o-1", Place("hat"))
            await delete(app, "left", "order")

            assert (await branch.domain(Order).state("o-1")).items == "book lamp hat "
            with pytest.raises(EditionGone):
                await branch.domain(Order).send("o-2", Place("hat"))


@pytest.mark.spec("SPEC-6", "EDN-17")
async def test_a_name_that_was_deleted_before_is_one_like_any_other() -> None:
    async with shop("book") as app:
        await app.domain(Order, edition="left").send("o-1", Place("lamp"))
        await delete(app, "left", "order")

        async with app.what_if("left") as branch:
            await branch.domain(Order).send("o-1", Place("hat"))

            assert (await branch.domain(Order).state("o-1")).items == "book hat "


async def delete(app: App, edition: str, domain: str) -> None:
    page = wire.CommandPage()
    command = wire.DeleteEditionEvents(edition=edition, domain=domain)
    page.command.Pack(command, "type.angzarr.io/")
    await app.domain("_angzarr").send(bytes(16), page.command)


@pytest.mark.spec("SPEC-6")
async def test_nobody_can_subscribe_to_a_branch() -> None:
    async with shop("book") as app, app.what_if() as branch:
        with pytest.raises(RemoteError, match="not selected"):
            async for _ in branch.follow("c-1"):
                pass


async def test_many_calls_at_once_take_each_sequence_once() -> None:
    async with shop("book") as app, app.what_if() as branch:
        orders = branch.domain(Order)

        sent = await asyncio.gather(
            *(orders.send(f"o-{n % 3}", Place(f"item-{n}")) for n in range(30))
        )

        taken = sorted((one.cover.root, *one.sequences) for one in sent)
        assert len(set(taken)) == 30
        assert (await orders.state("o-1")).items.split()[0] == "book"


async def test_branches_of_one_app_see_nothing_of_each_other() -> None:
    async with shop("book") as app, app.what_if() as one, app.what_if() as other:
        await one.domain(Order).send("o-1", Place("pen"))
        await one.settled()

        assert (await other.domain(Order).state("o-1")).items == "book "


@pytest.mark.spec("SPEC-6")
async def test_a_branch_has_branches_of_its_own() -> None:
    async with shop("book") as app, app.what_if() as branch:
        await branch.domain(Order).send("o-1", Place("pen"))
        await branch.settled()
        await branch.domain(Order).send("o-1", Place("vase"))

        async with branch.what_if(at=1, of=ORDER) as inner:
            await inner.domain(Order).send("o-1", Place("hat"))
            await inner.settled()

            assert (await inner.domain(Shipment).state("o-1")).items == "book hat "
        assert (await branch.domain(Order).state("o-1")).items == "book pen vase "


@pytest.mark.spec("SPEC-6")
async def test_commands_are_speculated_on_a_branch_too() -> None:
    async with shop("book") as app:
        await app.domain(Order, edition="left").send("o-1", Place("lamp"))
        async with app.what_if("left") as branch:
            await branch.domain(Order).send("o-1", Place("pen"))

            tried = await branch.speculate([(Order, "o-1", Place("hat"))])

            assert tried.state(Order, "o-1").items == "book lamp pen hat "
            assert (await branch.domain(Order).state("o-1")).items == "book lamp pen "


@pytest.mark.spec("SPEC-7", "EDN-21")
async def test_a_branch_that_is_stored_has_the_same_events() -> None:
    async with shop("book", "pen") as app:
        async with app.what_if(at=0, of=ORDER) as branch:
            await branch.domain(Order).send("o-1", Place("hat"), correlation_id="c-1")
            await branch.domain(Order).send("o-1", Place("piano"))
            await branch.settled()
            order = (await branch.domain(Order).book("o-1")).events
            await branch.store("hats")
        await app.settled()

        kept = (await app.domain(Order, edition="hats").book("o-1")).events
        assert [event.page for event in kept] == [event.page for event in order]
        assert (await app.domain(Shipment, edition="hats").state("o-1")).items == "hat "
        assert (await app.domain(Order).state("o-1")).items == "book pen "
        record = await app.stores.editions.get("hats")
        assert record is not None
        assert record.parent == "angzarr"


@pytest.mark.spec("SPEC-7")
async def test_reactions_that_were_stored_do_not_run_again() -> None:
    async with shop("book") as app:
        async with app.what_if() as branch:
            await branch.domain(Order).send("o-1", Place("hat"))
            await branch.store("hats")
        head = await app.stores.events.log_head()

        await app.settled()

        assert await app.stores.events.log_head() == head


@pytest.mark.spec("SPEC-7")
async def test_what_did_not_react_on_the_branch_reacts_when_it_is_stored() -> None:
    async with shop("book") as app:
        async with app.what_if(reactions=False) as branch:
            await branch.domain(Order).send("o-1", Place("hat"))
            await branch.store("hats")
        await app.settled()

        assert (await app.domain(Shipment, edition="hats").state("o-1")).items == "book hat "


@pytest.mark.spec("SPEC-7", "CMD-28")
async def test_keys_come_along() -> None:
    async with shop("book") as app:
        async with app.what_if() as branch:
            await branch.domain(Order).send("o-1", Place("hat"), idempotency="order-7")
            await branch.store("hats")

        again = await app.domain(Order, edition="hats").send(
            "o-1", Place("hat"), idempotency="order-7"
        )

        assert again.sequences == (1,)


@pytest.mark.spec("SPEC-7")
async def test_a_stored_branch_of_an_edition_is_its_child() -> None:
    async with shop("book") as app:
        await app.domain(Order, edition="left").send("o-1", Place("lamp"))
        await app.settled()

        async with app.what_if("left") as branch:
            await branch.domain(Order).send("o-1", Place("hat"))
            await branch.store("hats")
        await app.settled()

        state = await app.domain(Order, edition="hats").state("o-1")
        record = await app.stores.editions.get("hats")
        assert (state.items, record and record.parent) == ("book lamp hat ", "left")


@pytest.mark.spec("SPEC-7")
@pytest.mark.parametrize("name", ["angzarr", "", "left", "No Name"])
async def test_a_name_that_cannot_be_taken_is_refused(name: str) -> None:
    async with shop("book", clock=ManualClock()) as app:
        await app.domain(Order, edition="left").send("o-1", Place("lamp"))
        await app.settled()
        before = await traces(app)

        async with app.what_if() as branch:
            await branch.domain(Order).send("o-1", Place("hat"))
            with pytest.raises(Exception, match=r"store_as|main timeline"):
                await branch.store(name)

        assert await traces(app) == before


@pytest.mark.spec("SPEC-7")
async def test_writes_to_other_editions_are_not_stored() -> None:
    async with shop("book", clock=ManualClock()) as app:
        before = await traces(app)
        async with app.what_if() as branch:
            await branch.domain(Order, edition="left").send("o-1", Place("hat"))
            with pytest.raises(InvalidInput, match="store_as"):
                await branch.store("hats")

        assert await traces(app) == before


@pytest.mark.spec("SPEC-7")
async def test_an_edition_that_began_elsewhere_meanwhile_is_refused() -> None:
    async with shop("book", "pen") as app:
        await app.stores.editions.declare("left")

        async with app.what_if("left") as branch:
            await branch.domain(Order).send("o-1", Place("hat"))
            await app.domain(Order, edition="left", divergence=1).send("o-1", Place("lamp"))
            with pytest.raises(Exception, match="is at 1, expected 2"):
                await branch.store("hats")

        assert await app.stores.editions.get("hats") is None


async def test_a_sync_command_of_a_branch_waits_for_its_reactions() -> None:
    async with shop("book") as app, app.what_if() as branch:
        await branch.domain(Order).send("o-1", Place("hat"), sync_mode="cascade")

        assert (await branch.domain(Shipment).state("o-1")).items == "book hat "


async def test_an_app_without_aggregates_has_no_branches() -> None:
    async with shop(classes=()) as app:
        with pytest.raises(InvalidInput, match="what_if"):
            app.what_if()


async def test_a_branch_ends_with_its_context_even_after_an_error() -> None:
    async with shop("book", clock=ManualClock()) as app:
        before = await traces(app)

        async def refused() -> None:
            async with app.what_if() as branch:
                await branch.domain(Order).send("o-1", Refund())
                await branch.domain(Order).send("o-1", Place("book"))

        with pytest.raises(CommandRejected):
            await refused()

        assert await traces(app) == before
