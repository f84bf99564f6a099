"""Speculations of several commands: the same in process, without an event loop, and over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import App, Position, wire
from angzarr.caller import Caller
from angzarr.client import connect, connect_sync
from angzarr.errors import (
    CommandRejected,
    InvalidInput,
    MainProtected,
    TooLarge,
    UnknownDomain,
)
from angzarr.testing.clock import ManualClock

from .test_what_if import START, shop, traces
from .what_if_shop import Order, Place, Refund, Ship, Shipment


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def app(clock: ManualClock) -> AsyncIterator[App]:
    async with shop("book", "pen", clock=clock) as app:
        yield app


@pytest.fixture(params=["in process", "over gRPC"])
async def caller(request: pytest.FixtureRequest, app: App) -> AsyncIterator[Caller]:
    if request.param == "in process":
        yield app
        return
    server = await app.serve(port=0)
    async with connect(server.addresses[0]) as client:
        yield client
    await server.stop()


@pytest.mark.spec("SPEC-6")
async def test_each_command_sees_what_those_before_it_led_to(caller: Caller) -> None:
    tried = await caller.speculate(
        [(Order, "o-1", Place("hat")), (Order, "o-1", Place("cup")), (Order, "o-2", Refund())]
    )

    assert [outcome.events[0].sequence for outcome in tried.outcomes] == [2, 3, 0]
    assert tried.error is None
    assert tried.state(Order, "o-1").items == "book pen hat cup "
    assert tried.state(Order, "o-2").why == "asked for"


@pytest.mark.spec("SPEC-6")
async def test_nothing_is_stored(app: App, caller: Caller) -> None:
    before = await traces(app)

    await caller.speculate([(Order, "o-1", Place("hat"))], reactions=True, correlation_id="c-1")
    await caller.speculate([(Order, "o-1", Place("piano"))], reactions=True)

    assert await traces(app) == before


@pytest.mark.spec("SPEC-6")
async def test_a_refused_command_ends_the_run(caller: Caller) -> None:
    tried = await caller.speculate(
        [(Order, "o-1", Place("hat")), (Order, "o-1", Place("pen")), (Order, "o-1", Place("cup"))]
    )

    assert len(tried.outcomes) == 2
    assert isinstance(tried.error, CommandRejected)
    assert str(tried.error) == "pen is ordered already"
    assert tried.state(Order, "o-1").items == "book pen hat "


@pytest.mark.spec("SPEC-6")
async def test_the_rest_is_tried_if_it_is_told_to_go_on(caller: Caller) -> None:
    tried = await caller.speculate(
        [(Order, "o-1", Place("pen")), (Order, "o-1", Place("cup"))], go_on=True
    )

    assert [bool(outcome.error) for outcome in tried.outcomes] == [True, False]
    assert tried.state(Order, "o-1").items == "book pen cup "


@pytest.mark.spec("SPEC-6")
async def test_reactions_run_where_they_are_asked_for(caller: Caller) -> None:
    commands = [(Order, "o-1", Place("hat")), (Order, "o-1", Place("piano"))]

    without = await caller.speculate(commands)
    tried = await caller.speculate([*commands, (Shipment, "o-9", Ship("box"))], reactions=True)

    assert [cover.domain for cover in without.states] == ["order"]
    assert tried.state(Shipment, "o-1").items == "book pen hat "
    assert tried.state(Order, "o-1").why == "too heavy"
    errors = [error.component_name for error in tried.outcomes[1].cascade_errors]
    assert errors == ["shipping"]


@pytest.mark.spec("SPEC-6", "SYNC-5")
async def test_process_managers_react_to_what_has_a_correlation_id(caller: Caller) -> None:
    tried = await caller.speculate(
        [(Order, "o-1", Place("hat"))], reactions=True, correlation_id="c-1"
    )

    assert "watch" in [cover.domain for cover in tried.states]


@pytest.mark.spec("SPEC-6")
async def test_a_saga_that_fails_is_told(caller: Caller) -> None:
    tried = await caller.speculate([(Order, "o-1", Place("ghost"))], reactions=True)

    (outcome,) = tried.outcomes
    assert outcome.error is None
    assert "no box" in outcome.cascade_errors[0].error_message


@pytest.mark.spec("SPEC-6")
@pytest.mark.parametrize("at", [0, Position(1), START + timedelta(seconds=30)])
async def test_it_starts_at_a_point(clock: ManualClock, at: int | Position | datetime) -> None:
    async with shop("book", clock=clock) as app:
        clock.advance(60)
        await app.domain(Order).send("o-1", Place("pen"))
        await app.settled()

        tried = await app.speculate([(Order, "o-1", Place("hat"))], at=at, reactions=True)

        assert tried.state(Order, "o-1").items == "book hat "


@pytest.mark.spec("SPEC-6")
async def test_a_sequence_is_of_one_stream(caller: Caller) -> None:
    commands = [(Order, "o-1", Place("hat")), (Order, "o-2", Place("hat"))]

    with pytest.raises(InvalidInput, match="point"):
        await caller.speculate(commands, at=0)
    with pytest.raises(InvalidInput, match="below 2"):
        await caller.speculate(commands[:1], at=2)


@pytest.mark.spec("SPEC-6", "CMD-2")
async def test_there_is_a_most_of_commands(caller: Caller) -> None:
    with pytest.raises(TooLarge, match="at most 100"):
        await caller.speculate([(Order, "o-1", Refund())] * 101)


@pytest.mark.spec("SPEC-6")
async def test_errors_are_those_of_a_call_of_ones_own(caller: Caller) -> None:
    tried = await caller.speculate(
        [("nowhere", "x", Refund()), ("order", "o-1", Ship("box"))], go_on=True
    )

    unknown, invalid = (outcome.error for outcome in tried.outcomes)
    assert isinstance(unknown, UnknownDomain)
    assert isinstance(invalid, InvalidInput)
    assert "has no command" in str(invalid)


@pytest.mark.spec("SPEC-6")
async def test_a_domain_that_is_named_is_known_by_its_class_where_that_is_given(
    app: App,
) -> None:
    server = await app.serve(port=0)
    async with (
        connect(server.addresses[0]) as plain,
        connect(server.addresses[0], aggregates=[Order]) as knowing,
    ):
        commands = [("order", "o-1", Place("hat"))]

        raw = await plain.speculate(commands)
        tried = await knowing.speculate(commands)

    assert isinstance(raw.state("order", "o-1"), Any)
    assert tried.state("order", "o-1") == Order(items="book pen hat ")
    await server.stop()


@pytest.mark.spec("SPEC-6")
async def test_what_did_not_change_has_no_state(caller: Caller) -> None:
    tried = await caller.speculate([(Order, "o-1", Place("hat"))])

    with pytest.raises(KeyError):
        tried.state(Order, "o-2")


@pytest.mark.spec("SPEC-6")
async def test_an_edition_is_a_base_like_main(caller: Caller) -> None:
    await caller.domain(Order, edition="left", divergence=1).send("o-1", Place("lamp"))

    tried = await caller.speculate([(Order, "o-1", Place("hat"))], edition="left")

    assert tried.state(Order, "o-1").items == "book lamp hat "
    assert {cover.edition for cover in tried.states} == {"left"}


@pytest.mark.spec("SPEC-7")
async def test_it_can_be_stored_as_an_edition(caller: Caller) -> None:
    tried = await caller.speculate(
        [(Order, "o-1", Place("hat"))], at=0, reactions=True, store_as="hats"
    )

    stored = await caller.domain(Order, edition="hats").book("o-1")
    assert tried.outcomes[0].events[0].page == stored.events[-1].page
    assert (await caller.domain(Shipment, edition="hats").state("o-1")).items == "hat "


@pytest.mark.spec("SPEC-7")
async def test_a_run_that_a_refusal_ended_is_not_stored(app: App, caller: Caller) -> None:
    commands = [(Order, "o-1", Place("hat")), (Order, "o-1", Place("pen"))]

    await caller.speculate(commands, store_as="hats")
    assert await app.stores.editions.get("hats") is None

    await caller.speculate(commands, store_as="hats", go_on=True)
    assert await app.stores.editions.get("hats") is not None


@pytest.mark.spec("SPEC-7", "EDN-15")
async def test_it_is_not_stored_as_main(caller: Caller) -> None:
    with pytest.raises(MainProtected):
        await caller.speculate([(Order, "o-1", Place("hat"))], store_as="angzarr")


async def test_threads_speculate_too() -> None:
    async with shop("book") as app:
        server = await app.serve(port=0)

        def ask() -> str:
            with connect_sync(server.addresses[0]) as client:
                tried = client.speculate([(Order, "o-1", Place("hat"))])
                return tried.state(Order, "o-1").items

        assert await asyncio.to_thread(ask) == "book hat "
        await server.stop()


@pytest.mark.spec("SPEC-6")
async def test_covers_name_no_other_edition(app: App) -> None:
    request = wire.SpeculationRequest(edition="left")
    book = request.commands.add()
    book.cover.domain, book.cover.root.value = "order", bytes(16)
    book.cover.edition.name = "right"

    with pytest.raises(InvalidInput, match=r"commands\.cover\.edition"):
        await app.transport.unary("/angzarr.SpeculationService/Run", request.SerializeToString())
