"""Components in a process of their own, where that process, or the way there, fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from angzarr import wire
from angzarr.coordinators import sync_projectors, synchronous
from angzarr.coordinators.elsewhere import Attending, TakingTurns
from angzarr.coordinators.flow import Flow, Outcome
from angzarr.cover import Cover
from angzarr.errors import (
    CommandRejected,
    HandlerFailed,
    ReactionFailed,
    ReactionUnknown,
    RemoteError,
    StoreUnavailable,
)
from angzarr.ports.components import CallContext, Subscription
from angzarr.rpc.remote import Endpoint
from angzarr.rpc.remote_components import RemoteProjection, RemoteReaction
from angzarr.rpc.status import status_of

from ..coordinators.syncing import ORDER, Sends, World
from .splitting import SplitWorld

ORDERS = Cover("order", ORDER)
SIMPLE, CASCADE = wire.SYNC_MODE_SIMPLE, wire.SYNC_MODE_CASCADE
FAIL_FAST = wire.CASCADE_ERROR_FAIL_FAST
CONTINUE = wire.CASCADE_ERROR_CONTINUE
COMPENSATE = wire.CASCADE_ERROR_COMPENSATE

pytestmark = pytest.mark.spec("SYNC-11")


@pytest.fixture
async def world() -> AsyncIterator[SplitWorld]:
    made = SplitWorld()
    await made.start()
    yield made
    await made.close()


async def outcome(world: World, errors: int, **more: Any) -> Any:
    """The response, or the error."""
    [found] = await asyncio.gather(world.send(errors=errors, **more), return_exceptions=True)
    return found


@pytest.mark.spec("DEP-3")
async def test_near_and_far_have_the_face_of_one_protocol(world: SplitWorld) -> None:
    def face(protocol: type) -> set[str]:
        return {name for name in vars(protocol) if not name.startswith("_")}

    reaction = world.near(Sends(world))
    projection = world.near(world.projector())

    assert face(synchronous.Reacting) <= set(dir(reaction))
    assert face(sync_projectors.Projecting) <= set(dir(projection))
    assert isinstance(reaction, Attending)
    assert isinstance(projection, TakingTurns)


# A process that is not there


@pytest.mark.spec("SYNC-6", "DEP-12")
@pytest.mark.parametrize("errors", [FAIL_FAST, CONTINUE])
async def test_a_process_that_is_gone_is_a_failed_reaction(world: SplitWorld, errors: int) -> None:
    saga = world.saga()
    await world.back.stop()

    found = await outcome(world, errors)

    if errors == FAIL_FAST:
        assert isinstance(found, ReactionFailed)
        assert str(found).startswith("Saga shipping failed: ")
        assert status_of(found).code.name == "UNAVAILABLE"
    else:
        assert [item.component_name for item in found.cascade_errors] == ["shipping"]
    assert saga.seen == []
    await world.deliver()
    assert saga.seen == [["paid=1"]]


@pytest.mark.spec("SYNC-6", "DEP-12")
async def test_what_may_have_been_executed_is_not_taken_for_undone(world: SplitWorld) -> None:
    """COMPENSATE has to undo all that was executed; where that can't be told, the log goes on."""
    near = Near("saga:near")
    world.sync.add_saga(near)
    saga = world.saga(commands=[("ledger", "booked=1")])
    after = world.saga("saga:after")
    saga.gate = world.back.stop

    found = await outcome(world, COMPENSATE)

    assert isinstance(found, ReactionUnknown)
    assert (status_of(found).code.name, found.kind) == ("UNAVAILABLE", "unavailable")
    assert await world.open() == []
    assert world.log.marked == set()
    saga.gate = None
    await world.deliver()
    assert (saga.seen[-1], after.seen) == (["paid=1"], [["paid=1"]])
    assert await world.values("ledger") == ["booked=1"]


@pytest.mark.spec("SYNC-8", "DEP-12")
async def test_within_a_cascade_the_rollback_undoes_it(world: SplitWorld) -> None:
    saga = world.saga(commands=[("ledger", "booked=1")])
    saga.gate = world.back.stop

    found = await outcome(world, COMPENSATE, cascade_id="k-1")

    assert isinstance(found, ReactionFailed)
    decision = await world.real.events.decision("k-1")
    assert decision is not None
    assert decision.outcome == "ROLLBACK"


@pytest.mark.spec("SYNC-6")
async def test_a_component_that_does_not_run_there_has_done_nothing(world: SplitWorld) -> None:
    world.sync.add_saga(world.near(Sends(world)))
    world.hosted.clear()

    found = await outcome(world, COMPENSATE)

    assert isinstance(found, ReactionFailed)
    assert "component must be one of those that run here" in str(found)


@pytest.mark.spec("COMP-3")
async def test_a_refusal_that_cannot_be_recorded_is_what_it_is_here(world: SplitWorld) -> None:
    saga = world.saga(commands=[("shipment", "refused=1")])
    world.refused["refused=1"] = CommandRejected("no room")
    world.obligations.faults["put"] = StoreUnavailable("data", "full")

    book = await published(world)
    with pytest.raises(StoreUnavailable, match="store data is unavailable: full"):
        await world.near(saga).react(book, Flow(sync_mode=CASCADE))


@pytest.mark.spec("SYNC-2", "DEP-12")
@pytest.mark.parametrize("mode", [SIMPLE, CASCADE])
async def test_a_projectors_process_that_is_gone_fails_no_command(
    world: SplitWorld, mode: int
) -> None:
    world.projector()
    await world.back.stop()

    found = await world.send(mode=mode)

    assert [page.event.value for page in found.events.pages] == [b"paid=1"]
    assert [item.component_name for item in found.cascade_errors] == ["orders"]


@pytest.mark.spec("SYNC-2")
async def test_a_projectors_process_that_goes_while_it_has_the_turn_fails_no_command(
    world: SplitWorld,
) -> None:
    projector = world.projector()
    projector.gate = world.back.stop

    found = await world.send(mode=SIMPLE)

    assert [item.component_name for item in found.cascade_errors] == ["orders"]


@pytest.mark.spec("SYNC-2", "DEP-12")
async def test_a_projectors_failure_has_its_text_and_the_turn_is_back(world: SplitWorld) -> None:
    projector = world.projector(failure=HandlerFailed("projector:orders", "boom"))

    found = await world.send(mode=SIMPLE)

    assert [item.error_message for item in found.cascade_errors] == [
        "projector:orders failed: boom"
    ]
    async with world.turns.alone(projector.consumer, ORDERS):
        pass


# Turns that are taken elsewhere


@pytest.mark.spec("SYNC-10")
async def test_a_caller_that_is_gone_keeps_nobody_waiting(world: SplitWorld) -> None:
    saga = world.saga()
    remote = world.near(saga)
    async with remote.attend(ORDERS, CallContext()) as attendance:
        await attendance.holds()
        is_held = not world.turns.is_settled(saga.consumer, ORDERS, 0)

        await world.to_back.close()
        await world.turns.settled(saga.consumer, ORDERS, 0, 0)

    assert is_held


@pytest.mark.spec("SYNC-10")
async def test_an_attendance_tells_what_was_written(world: SplitWorld) -> None:
    saga = world.saga()
    async with world.near(saga).attend(ORDERS, CallContext()) as attendance:
        await attendance.holds()
        await attendance.wrote(4, 5)

        await world.turns.settled(saga.consumer, ORDERS, 3, 3)

        assert not world.turns.is_settled(saga.consumer, ORDERS, 4)


@pytest.mark.spec("SYNC-10")
async def test_an_attendance_ends_when_nothing_was_written(world: SplitWorld) -> None:
    saga = world.saga()
    async with world.near(saga).attend(ORDERS, CallContext()) as attendance:
        await attendance.holds()
        await attendance.wrote(0, -1)

        await world.turns.settled(saga.consumer, ORDERS, 0, 0)


@pytest.mark.spec("SYNC-10")
@pytest.mark.parametrize("deadline_ns", [None, 1])
async def test_an_attendance_that_cannot_be_told_stops_nothing(
    caplog: pytest.LogCaptureFixture, deadline_ns: int | None
) -> None:
    caplog.set_level(logging.INFO, logger="angzarr")
    endpoint = Endpoint("127.0.0.1:1")
    remote = RemoteReaction("saga:shipping", "saga-shipping", (Subscription("order"),), endpoint)

    async with remote.attend(ORDERS, CallContext(deadline_ns)) as attendance:
        await attendance.holds()
        await attendance.wrote(0, 0)

    assert "saga:shipping has not heard of a request" in caplog.text
    await endpoint.close()


@pytest.mark.spec("PROJ-16")
async def test_a_turn_that_cannot_be_had_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="angzarr")
    endpoint = Endpoint("127.0.0.1:1")
    remote = RemoteProjection(
        "projector:orders", "projector-orders", (Subscription("order"),), True, endpoint
    )

    async with remote.turn(ORDERS, CallContext()):
        with pytest.raises(RemoteError):
            await remote.project(book_of(ORDERS), CallContext())

    assert "no turn of projector:orders" in caplog.text
    await endpoint.close()


@pytest.mark.spec("PROJ-7")
async def test_a_book_is_projected_without_a_turn_that_is_held_too(world: SplitWorld) -> None:
    projector = world.projector()

    projection = await world.near(projector).project(book_of(ORDERS), CallContext())

    assert projection is not None
    assert wire.Projection.FromString(projection).projector == "projector:orders"
    assert projector.shown == [(0, "paid=1", False)]


class Near:
    """A saga of this process that does nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.consumer = name.replace(":", "-")
        self.subscriptions = (Subscription("order"),)

    async def react(self, book: bytes, flow: Flow) -> Outcome:
        return Outcome()


def book_of(cover: Cover) -> bytes:
    book = wire.EventBook(next_sequence=1)
    book.cover.domain, book.cover.root.value = cover.domain, cover.root
    page = book.pages.add()
    page.header.sequence = 0
    page.event.value = b"paid=1"
    return book.SerializeToString()


async def published(world: World) -> bytes:
    """The book of an event of the order."""
    await world.send(mode=wire.SYNC_MODE_ASYNC)
    [entry] = await world.real.events.tail(0)
    return bytes(entry.book)
