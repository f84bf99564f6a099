"""Which stored events the classes of today read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from google.protobuf.any_pb2 import Any
from tests.lifted import (
    Lines,
    Listed,
    Note,
    OldOrder,
    OldWatch,
    Order,
    Ordered,
    OrderHistory,
    Place,
    Placed,
    Reserve,
    Reserving,
    Stock,
    Watch,
    WatchHistory,
)

from angzarr import Aggregate, App, Projector, Upcaster, applies, codec, projects, upcasts, wire
from angzarr.cover import Cover, root_of
from angzarr.schema import SchemaCheck, TypeFound, readers_of, upcasters_in
from angzarr.testing.clock import ManualClock


@dataclass
class Other:
    """The type of today's name, with another field."""

    __type_name__ = "order.Ordered"

    count: int


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """A store with two old events and a new one of an order, and one of the stock."""
    async with App(OldOrder, Stock, store="memory://", clock=ManualClock()) as app:
        await app.domain(OldOrder).send("o-1", Place("tea"))
        await app.domain(Stock).send("s-1", Reserve("tea"))
        await app.domain(OldOrder).send("o-2", Place("milk"))
        page = wire.EventPage(committed=True, event=codec.pack(Ordered(["egg"]), "order"))
        page.header.sequence = 1
        await app.stores.events.append(
            Cover("order", root_of("o-2")), 1, [page.SerializeToString()]
        )
        yield app


async def check(app: App, *classes: type, **more: object) -> dict[str, TypeFound]:
    """What a check with the classes says, by type."""
    checking = SchemaCheck(app.stores.events, readers_of(classes), upcasters_in(classes))
    return {found.name: found for found in await checking.run(**more)}


@pytest.mark.spec("UPC-6")
async def test_each_type_has_its_count_its_positions_and_an_example(app: App) -> None:
    found = (await check(app, OldOrder))["order.Placed"]

    assert (found.domain, found.count, found.first_position, found.last_position) == (
        "order",
        2,
        1,
        3,
    )
    assert (found.example.cover, found.example.sequence) == (Cover("order", root_of("o-1")), 0)


@pytest.mark.spec("UPC-6")
async def test_types_come_by_domain_and_name(app: App) -> None:
    assert list(await check(app)) == ["order.Ordered", "order.Placed", "stock.Reserved"]


@pytest.mark.spec("UPC-6")
async def test_a_type_that_no_class_takes_is_not_readable(app: App) -> None:
    found = await check(app, Order, Stock)

    assert {name: one.is_readable for name, one in found.items()} == {
        "order.Ordered": True,
        "order.Placed": False,
        "stock.Reserved": True,
    }
    assert found["order.Placed"].readers == set()


@pytest.mark.spec("UPC-6")
async def test_a_type_that_an_upcaster_makes_a_read_one_of_is_readable(app: App) -> None:
    found = (await check(app, Order, OrderHistory))["order.Placed"]

    assert found.is_readable
    assert (found.became, found.readers) == ({"order.Ordered"}, {"aggregate:order"})


@pytest.mark.spec("UPC-6")
async def test_all_kinds_of_components_read(app: App) -> None:
    found = await check(app, Order, Reserving, Watch, Listed, Lines)

    assert found["order.Ordered"].readers == {
        "aggregate:order",
        "saga:reserving",
        "process_manager:watch",
        "projector:listed",
        "projector:lines",
    }


@pytest.mark.spec("UPC-6")
async def test_a_chain_that_ends_where_nobody_reads_is_told(app: App) -> None:
    found = (await check(app, OldWatch, OrderHistory))["order.Placed"]

    assert not found.is_readable
    assert found.failures[0].reason == "it becomes order.Ordered, which no class reads"


@pytest.mark.spec("UPC-6")
async def test_a_payload_that_the_class_does_not_read_is_told_with_its_place(app: App) -> None:
    class Order(Aggregate, domain="order"):
        @applies
        def ordered(self, event: Other) -> None: ...

    found = (await check(app, Order))["order.Ordered"]

    assert not found.is_readable
    [failure] = found.failures
    assert (failure.example.cover.root, failure.example.sequence) == (root_of("o-2"), 1)
    assert failure.reason.startswith("aggregate:order: ")


@pytest.mark.spec("UPC-6")
async def test_a_class_of_another_component_may_not_read_what_the_aggregate_reads(
    app: App,
) -> None:
    class Counts(Projector, source="order"):
        @projects
        def ordered(self, event: Other) -> None: ...

    found = (await check(app, Order, Counts))["order.Ordered"]

    assert found.failures[0].reason.startswith("projector:counts: ")


@pytest.mark.spec("UPC-6")
async def test_an_upcaster_that_raises_is_told(app: App) -> None:
    class History(Upcaster, domain="order"):
        @upcasts
        def to_list(self, old: Placed) -> Ordered:
            raise ValueError(f"no {old.item}")

    found = (await check(app, Order, History, tries_all=True))["order.Placed"]

    assert (found.tried_count, found.failure_count) == (2, 2)
    assert "no tea" in found.failures[0].reason


@pytest.mark.spec("UPC-6")
async def test_all_events_are_tried_if_that_is_asked(app: App) -> None:
    for index in range(3):
        page = wire.EventPage(committed=True, event=Any(type_url="json.angzarr.io/order.Ordered"))
        page.event.value = b'{"items": []}' if index != 1 else b"{"
        page.header.sequence = index
        await app.stores.events.append(
            Cover("order", root_of("o-3")), index, [page.SerializeToString()]
        )

    sampled = (await check(app, Order))["order.Ordered"]
    tried = (await check(app, Order, tries_all=True))["order.Ordered"]

    assert (sampled.tried_count, sampled.is_readable) == (1, True)
    assert (tried.tried_count, tried.failure_count, tried.is_readable) == (4, 1, False)
    assert tried.failures[0].example.sequence == 1


@pytest.mark.spec("UPC-6")
async def test_events_of_branches_are_looked_at(app: App) -> None:
    page = wire.EventPage(committed=True, event=Any(type_url="json.angzarr.io/order.Strange"))
    page.header.sequence = 0
    what_if = Cover("order", root_of("o-9"), "what-if")
    await app.stores.events.append(what_if, 0, [page.SerializeToString()])

    found = (await check(app, Order))["order.Strange"]

    assert found.example.cover == what_if
    assert not found.is_readable


@pytest.mark.spec("UPC-6")
async def test_only_the_domains_that_are_asked_for_are_looked_at(app: App) -> None:
    assert list(await check(app, domains=["stock"])) == ["stock.Reserved"]


@pytest.mark.spec("UPC-6")
async def test_angzarrs_own_events_are_left_out(app: App) -> None:
    await app.stores.events.delete_edition("order", "what-if")
    page = wire.EventPage(committed=True)
    page.event.type_url = "type.angzarr.io/angzarr.EditionEventsDeleted"
    page.header.sequence = 0
    system = Cover("_angzarr", root_of("audit"))
    await app.stores.events.append(system, 0, [page.SerializeToString()])

    assert "angzarr.EditionEventsDeleted" not in await check(app, Order)


@pytest.mark.spec("UPC-6")
async def test_what_is_decided_on_elsewhere_counts_as_read(app: App) -> None:
    checking = SchemaCheck(
        app.stores.events, readers_of([Order]), {}, elsewhere={"stock": "aggregate:stock at x"}
    )

    found = {one.name: one for one in await checking.run()}

    assert found["stock.Reserved"].readers == {"aggregate:stock at x"}
    assert found["stock.Reserved"].is_readable


@pytest.mark.spec("UPC-6")
async def test_progress_goes_to_the_logs_end(app: App) -> None:
    seen: list[tuple[int, int]] = []

    await check(app, Order, progress=lambda done, total: seen.append((done, total)))

    assert seen[-1] == (4, 4)


@pytest.mark.spec("UPC-6")
async def test_a_process_managers_own_old_events_are_looked_at() -> None:
    async with App(OldWatch, store="memory://") as app:
        await app.domain(OldWatch).send("c-1", Note(2))

        without = await check(app, Order, Watch)
        lifted = await check(app, Order, Watch, WatchHistory)

    assert not without["watch.Noted"].is_readable
    assert lifted["watch.Noted"].readers == {"process_manager:watch"}
