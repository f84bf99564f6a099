"""destination_sequences: which root a number is of, and where it comes from (SAGA-6, PM-4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from angzarr import wire
from angzarr.coordinators import QueryCoordinator
from angzarr.coordinators.destinations import (
    QueryDestinations,
    RoutedDestinations,
    StoreDestinations,
    describe,
    describe_covers,
    map_bytes,
)
from angzarr.coordinators.outputs import Described, Source
from angzarr.cover import Cover, root_of
from angzarr.errors import DivergenceConflict, InvalidDivergence

from .reacting import OTHER, ROOT, cover

SOURCE = Source(component="saga:shipping", cover=Cover("order", ROOT), sequence=4)


def on(edition: str = "", correlation_id: str = "", **divergences: int) -> Source:
    """The source on an edition."""
    message = cover("order", edition=edition, divergences=divergences)
    return Source(
        component="saga:shipping",
        cover=Cover("order", ROOT, edition, correlation_id),
        sequence=4,
        edition=message.edition if edition else None,
    )


@pytest.fixture(params=["store", "queries", "routed"])
def destinations(town, request):
    """The same answers from the store here, and over another coordinator's query service."""
    here = StoreDestinations(town.events, ["player", "table"])
    there = QueryDestinations(QueryCoordinator(town.events), ["player", "table"])
    if request.param == "routed":
        return RoutedDestinations(
            StoreDestinations(town.events, []), {"player": there, "table": here}
        )
    return {"store": here, "queries": there}[request.param]


@pytest.mark.spec("SAGA-6")
async def test_without_routing_the_source_root_is_described(town, destinations):
    await town.fill("player", 7)
    await town.fill("table", 2)

    found = await describe(destinations, ["player", "table"], SOURCE, ROOT)

    assert found == {"player": Described(ROOT, 7), "table": Described(ROOT, 2)}


@pytest.mark.spec("SAGA-6", "SAGA-1")
async def test_a_declared_routings_root_is_described(town, destinations):
    await town.fill("player", 3)
    await town.fill("player", 1, OTHER)

    found = await describe(destinations, ["player"], SOURCE, ROOT, routed=lambda domain: OTHER)

    assert found == {"player": Described(OTHER, 1)}


@pytest.mark.spec("SAGA-6")
async def test_an_empty_stream_gives_way_to_the_one_that_carries_the_correlation_id(
    town, destinations
):
    await town.fill("player", 2, OTHER)
    await town.fill("player", 1, OTHER, correlation_id="c-1")
    await town.fill("table", 5, OTHER, correlation_id="c-1")

    found = await describe(destinations, ["player"], on(correlation_id="c-1"), ROOT)

    assert found == {"player": Described(OTHER, 3)}


@pytest.mark.spec("SAGA-6")
async def test_of_several_that_carry_it_the_one_written_last_counts(town, destinations):
    roots = sorted([root_of("a"), root_of("b"), root_of("c")])
    for root in (roots[0], roots[2], roots[1]):
        town.clock.advance(1)
        await town.fill("player", 1, root, correlation_id="c-1")

    found = await describe(destinations, ["player"], on(correlation_id="c-1"), ROOT)

    assert found == {"player": Described(roots[1], 1)}


@pytest.mark.spec("SAGA-6")
async def test_a_branch_carries_nothing_for_main(town, destinations):
    await town.fill("player", 1, OTHER, correlation_id="c-1", edition="what-if")

    found = await describe(destinations, ["player"], on(correlation_id="c-1"), ROOT)

    assert found == {"player": Described(ROOT, 0)}


@pytest.mark.spec("SAGA-6")
async def test_a_stream_that_is_not_empty_is_described_whatever_carries_the_id(town, destinations):
    await town.fill("player", 1)
    await town.fill("player", 3, OTHER, correlation_id="c-1")

    found = await describe(destinations, ["player"], on(correlation_id="c-1"), ROOT)

    assert found == {"player": Described(ROOT, 1)}


@pytest.mark.spec("SAGA-6")
async def test_a_declared_routing_excludes_the_correlation_id(town, destinations):
    await town.fill("player", 3, OTHER, correlation_id="c-1")

    found = await describe(
        destinations, ["player"], on(correlation_id="c-1"), ROOT, routed=lambda domain: ROOT
    )

    assert found == {"player": Described(ROOT, 0)}


@pytest.mark.spec("SAGA-6", "COMPAT-6")
@pytest.mark.parametrize("correlation_id", ["", "c-1"])
async def test_a_new_aggregate_has_the_number_0(destinations, correlation_id):
    source = on(correlation_id=correlation_id)

    found = await describe(destinations, ["player", "table"], source, ROOT)

    assert found == {"player": Described(ROOT, 0), "table": Described(ROOT, 0)}


@pytest.mark.spec("SAGA-6", "EDN-3")
async def test_numbers_are_those_of_the_sources_edition(town, destinations):
    await town.fill("player", 3)
    await town.fill("player", 2, edition="what-if")

    assert (await describe(destinations, ["player"], on("what-if"), ROOT))["player"].sequence == 5
    assert (await describe(destinations, ["player"], on("another"), ROOT))["player"].sequence == 3
    assert (await describe(destinations, ["player"], on(), ROOT))["player"].sequence == 3


@pytest.mark.spec("SAGA-6", "EDN-5")
async def test_an_explicit_divergence_of_the_source_counts(town, destinations):
    await town.fill("player", 3)

    found = await describe(destinations, ["player"], on("what-if", player=1, table=0), ROOT)

    assert found["player"].sequence == 1


@pytest.mark.spec("SAGA-6", "EDN-7", "EDN-8")
async def test_impossible_divergences_are_told(town, destinations):
    await town.fill("player", 3)
    await town.fill("player", 1, edition="what-if")

    with pytest.raises(InvalidDivergence):
        await describe(destinations, ["player"], on("other", player=9), ROOT)
    with pytest.raises(DivergenceConflict):
        await describe(destinations, ["player"], on("what-if", player=1), ROOT)


@pytest.mark.spec("SAGA-6", "EDN-3")
async def test_on_a_branch_an_inherited_stream_carries_the_id(town):
    await town.fill("player", 2, OTHER, correlation_id="c-1")
    here = StoreDestinations(town.events, ["player"])

    found = await describe(here, ["player"], on("what-if", "c-1"), ROOT)

    assert found == {"player": Described(OTHER, 2)}


@pytest.mark.spec("SAGA-6", "EDN-3")
async def test_what_main_wrote_after_the_branch_began_carries_nothing(town):
    await town.fill("player", 1, OTHER)
    await town.fill("player", 1, OTHER, edition="what-if")
    await town.fill("player", 1, OTHER, correlation_id="c-1")
    here = StoreDestinations(town.events, ["player"])

    assert await here.carrying("player", "what-if", "c-1") is None
    assert await here.carrying("player", "angzarr", "c-1") == Cover("player", OTHER)


@pytest.mark.spec("PM-4")
async def test_of_several_prepared_covers_of_a_domain_the_first_is_described(town, destinations):
    await town.fill("player", 3)
    await town.fill("player", 1, OTHER)
    covers = [cover("player", OTHER), cover("player", ROOT), cover("table")]

    found = await describe_covers(destinations, covers, SOURCE)

    assert found == {"player": Described(OTHER, 1), "table": Described(ROOT, 0)}


@pytest.mark.spec("PM-3", "PM-4")
async def test_prepared_covers_take_the_triggers_edition(town, destinations):
    await town.fill("player", 3)
    await town.fill("player", 1, edition="what-if")

    found = await describe_covers(destinations, [cover("player", edition="x")], on("what-if"))

    assert found == {"player": Described(ROOT, 4)}


@pytest.mark.spec("SAGA-6", "WIRE-3")
def test_the_map_is_bytes_that_read_as_one():
    described = {"player": Described(ROOT, 2**32 - 1), "table": Described(ROOT, 0)}

    read = wire.SagaHandleRequest.FromString(map_bytes(described, b"\x22"))

    assert dict(read.destination_sequences) == {"player": 2**32 - 1, "table": 0}


async def test_a_far_stream_is_transferred_once(town):
    """EventQueryService tells where a stream ends by its last page only."""
    await town.fill("player", 5)
    queries = Counting(QueryCoordinator(town.events))
    there = QueryDestinations(queries, ["player"])
    at = Cover("player", ROOT)

    ends = [await there.next_sequence(at), await there.next_sequence(at)]
    await town.fill("player", 2)
    ends.append(await there.next_sequence(at))

    assert ends == [5, 5, 7]
    assert queries.page_counts == [5, 1, 3]


async def test_a_far_stream_that_was_deleted_meanwhile_is_read_anew(town):
    await town.fill("player", 5, edition="what-if")
    there = QueryDestinations(QueryCoordinator(town.events), ["player"])
    at = Cover("player", ROOT, "what-if")
    await there.next_sequence(at)
    await town.stores.real.events.delete_edition("player", "what-if")

    assert await there.next_sequence(at) == 0


async def test_only_so_many_ends_are_kept(town, monkeypatch):
    monkeypatch.setattr("angzarr.coordinators.destinations.ENDS_KEPT", 1)
    await town.fill("player", 3)
    queries = Counting(QueryCoordinator(town.events))
    there = QueryDestinations(queries, ["player"])

    for root in (ROOT, OTHER, ROOT):
        await there.next_sequence(Cover("player", root))

    assert set(there.domains) == {"player"}
    assert queries.page_counts == [3, 0, 3]


async def test_routed_destinations_know_all_domains(town):
    here = StoreDestinations(town.events, ["player"])
    there = QueryDestinations(QueryCoordinator(town.events), ["table"])

    both = RoutedDestinations(here, {"table": there})

    assert set(both.domains) == {"player", "table"}
    assert both.is_near("player")
    assert not both.is_near("table")


class Counting:
    """A query service that counts the pages it gave."""

    def __init__(self, queries: QueryCoordinator) -> None:
        self._queries = queries
        self.page_counts: list[int] = []

    async def get_events(self, request, context):
        async for book in self._queries.get_events(request, context):
            self.page_counts.append(len(wire.EventBook.FromString(book).pages))
            yield book


def test_a_source_names_its_branchs_start_per_domain():
    source = replace(on("what-if", player=2))

    assert source.divergence("player") == 2
    assert source.divergence("table") is None
    assert on().divergence("player") is None
