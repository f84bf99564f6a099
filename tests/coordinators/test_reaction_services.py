"""The coordinators' services of sagas and process managers, with several of them (SAGA-19, PM-11,
SPEC-5).
"""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from angzarr import wire
from angzarr.coordinators.reaction_services import ProcessManagerService, SagaService
from angzarr.coordinators.turns import Turns
from angzarr.cover import Cover
from angzarr.errors import CommandRejected, InvalidInput, OrchestrationFailed
from angzarr.ports.components import CallContext, Subscription

from .reacting import (
    ROOT,
    STATE,
    Manager,
    Script,
    command,
    decides,
    sends,
    trigger,
)

CONTEXT = CallContext()
ORDER = Cover("order", ROOT)


def script(name, *answers, subscriptions=("order",), **more):
    made = Script(*answers, **more)
    made.name = f"saga:{name}"
    made.subscriptions = tuple(Subscription(domain) for domain in subscriptions)
    return made


def manager(name, *answers, subscriptions=("order",), **more):
    made = Manager(*answers, **more)
    made.name, made.domain = f"process_manager:{name}", name
    made.subscriptions = tuple(Subscription(domain) for domain in subscriptions)
    return made


def sagas(town, *scripts, turns=None):
    return SagaService([town.saga(item) for item in scripts], turns or Turns())


def managers(town, *scripts, turns=None):
    return ProcessManagerService([town.manager(item) for item in scripts], turns or Turns())


def execute(book, **more):
    request = wire.SagaHandleRequest(**more)
    request.source.ParseFromString(book)
    return request.SerializeToString()


def speculate(book, **more):
    request = wire.SpeculateSagaRequest()
    request.request.ParseFromString(execute(book, **more))
    return request.SerializeToString()


def handle(book, **more):
    request = wire.ProcessManagerCoordinatorRequest(**more)
    request.trigger.ParseFromString(book)
    return request.SerializeToString()


def speculate_pm(book, **more):
    request = wire.SpeculatePmRequest(request=wire.ProcessManagerHandleRequest(**more))
    request.request.trigger.ParseFromString(book)
    return request.SerializeToString()


def elsewhere(call):
    """A task in a context of its own: who has a turn may have it again."""
    return asyncio.get_running_loop().create_task(call, context=contextvars.Context())


# Execute


@pytest.mark.spec("SAGA-19", "SAGA-3")
async def test_execute_runs_every_saga_that_subscribes(town):
    first = script("first", sends(command("player", "a=1")))
    second = script("second", sends(command("table", "b=1")))
    other = script("other", subscriptions=["shipment"])
    service = sagas(town, first, other, second)

    answer = await service.execute(execute(await town.published("paid=1")), CONTEXT)

    assert answer == b""
    assert (await town.values("player"), await town.values("table")) == (["a=1"], ["b=1"])
    assert other.seen == []


@pytest.mark.spec("SAGA-19", "SAGA-3")
async def test_each_gets_the_pages_that_it_subscribes(town):
    whole, part = script("whole"), script("part")
    part.subscriptions = (Subscription("order", ("Set",)),)
    none = script("none")
    none.subscriptions = (Subscription("order", ("Unset",)),)
    book = wire.EventBook.FromString(await town.published("paid=1;sent=1"))
    book.pages[0].event.type_url = "type.googleapis.com/test.Other"

    await sagas(town, whole, part, none).execute(execute(book.SerializeToString()), CONTEXT)

    assert [len(item.seen) for item in (whole, part, none)] == [1, 1, 0]
    assert whole.seen[0].source == book
    assert list(part.seen[0].source.pages) == list(book.pages)[1:]
    assert part.seen[0].source.cover == book.cover


@pytest.mark.spec("SAGA-19")
async def test_nobody_who_subscribes_is_a_success(town):
    service = sagas(town, script("other", subscriptions=["shipment"]))

    assert await service.execute(execute(await town.published("paid=1")), CONTEXT) == b""


@pytest.mark.spec("SAGA-19")
async def test_all_run_and_the_first_failure_is_told(town):
    failing = script("failing", CommandRejected("no trucks"))
    also = script("also", CommandRejected("no drivers"))
    last = script("last", sends(command("player", "a=1")))
    service = sagas(town, last, failing, also)

    with pytest.raises(OrchestrationFailed, match="Saga orchestration failed: no trucks"):
        await service.execute(execute(await town.published("paid=1")), CONTEXT)

    assert await town.values("player") == ["a=1"]
    assert len(also.seen) == 1


@pytest.mark.spec("SAGA-19", "SYNC-10")
async def test_execute_waits_for_the_logs_delivery_of_the_same_book(town):
    turns = Turns()
    item = script("shipping")
    service = sagas(town, item, turns=turns)
    request = execute(await town.published("paid=1"))

    async with turns.book("saga-shipping", ORDER, 0):
        call = elsewhere(service.execute(request, CONTEXT))
        for _ in range(10):
            await asyncio.sleep(0)
        seen = len(item.seen)
    await call

    assert (seen, len(item.seen)) == (0, 1)


@pytest.mark.spec("SAGA-19", "SPEC-5")
async def test_a_missing_source_is_invalid_whoever_subscribes(town):
    service = sagas(town)

    with pytest.raises(InvalidInput, match="SagaHandleRequest must have a source"):
        await service.execute(b"", CONTEXT)
    with pytest.raises(InvalidInput, match=r"SpeculateSagaRequest\.request must have a source"):
        await service.execute_speculative(b"", CONTEXT)


@pytest.mark.spec("SPEC-5")
async def test_speculation_puts_all_outputs_one_after_the_other(town):
    first = script("first", sends(command("player", "a=1")))
    second = script("second", sends(command("table", "b=1"), command("table", "c=1")))
    other = script("other", sends(command("table", "d=1")), subscriptions=["shipment"])
    service = sagas(town, first, other, second)
    request = speculate(await trigger(town), destination_sequences={"player": 9})

    answer = await service.execute_speculative(request, CONTEXT)

    found = wire.SagaResponse.FromString(answer)
    assert [book.pages[0].command.value for book in found.commands] == [b"a=1", b"b=1", b"c=1"]
    assert {book.cover.correlation_id for book in found.commands} == {"c-1"}
    assert first.seen[0].destination_sequences["player"] == 9
    assert await town.values("player") == []


@pytest.mark.spec("SPEC-5")
async def test_speculation_of_what_nobody_subscribes_is_empty(town):
    request = speculate(await town.published("paid=1"))

    assert await sagas(town).execute_speculative(request, CONTEXT) == b""


# Handle


@pytest.mark.spec("PM-11", "SAGA-3")
async def test_handle_runs_every_process_manager_that_subscribes(town):
    first = manager("fulfilment", decides(events=["begun=1"]))
    second = manager("shipment", decides(events=["also=1"]))
    other = manager("other", subscriptions=["player"])
    service = managers(town, first, other, second)

    assert await service.handle(handle(await trigger(town)), CONTEXT) == b""

    assert await town.values("fulfilment", STATE) == ["begun=1"]
    assert await town.values("shipment", STATE) == ["also=1"]
    assert other.seen == []


@pytest.mark.spec("PM-11", "SAGA-3")
async def test_each_process_manager_gets_the_pages_that_it_subscribes(town):
    part = manager("part")
    part.subscriptions = (Subscription("order", ("Set",)),)
    book = wire.EventBook.FromString(await trigger(town, "paid=1;sent=1"))
    book.pages[0].event.type_url = "type.googleapis.com/test.Other"

    await managers(town, part).handle(handle(book.SerializeToString()), CONTEXT)

    assert list(part.seen[0].trigger.pages) == list(book.pages)[1:]


@pytest.mark.spec("PM-11")
async def test_all_process_managers_run_and_the_first_failure_is_told(town):
    failing = manager("failing", CommandRejected("no trucks"))
    last = manager("fulfilment", decides(events=["begun=1"]))
    service = managers(town, failing, last)

    with pytest.raises(OrchestrationFailed, match="orchestration failed: no trucks"):
        await service.handle(handle(await trigger(town)), CONTEXT)

    assert await town.values("fulfilment", STATE) == ["begun=1"]


@pytest.mark.spec("PM-11", "SYNC-10")
async def test_handle_waits_for_the_logs_delivery_of_the_same_book(town):
    turns = Turns()
    item = manager("fulfilment")
    service = managers(town, item, turns=turns)
    request = handle(await trigger(town))

    async with turns.book("process-manager-fulfilment", ORDER, 0):
        call = elsewhere(service.handle(request, CONTEXT))
        for _ in range(10):
            await asyncio.sleep(0)
        seen = len(item.seen)
    await call

    assert (seen, len(item.seen)) == (0, 1)


@pytest.mark.spec("PM-1", "PM-11", "SPEC-5")
async def test_no_trigger_and_no_correlation_id_are_invalid_whoever_subscribes(town):
    service = managers(town)
    uncorrelated = await town.published("paid=1")

    for request in (b"", handle(uncorrelated)):
        with pytest.raises(InvalidInput):
            await service.handle(request, CONTEXT)
    for request in (b"", speculate_pm(uncorrelated)):
        with pytest.raises(InvalidInput):
            await service.handle_speculative(request, CONTEXT)


@pytest.mark.spec("SPEC-5")
async def test_the_first_process_manager_that_subscribes_speculates(town):
    other = manager("other", subscriptions=["player"])
    first = manager("first", decides(events=["begun=1"]))
    second = manager("second", decides(events=["also=1"]))
    service = managers(town, other, first, second)

    answer = await service.handle_speculative(speculate_pm(await trigger(town)), CONTEXT)

    found = wire.ProcessManagerHandleResponse.FromString(answer).process_events
    assert (found.cover.domain, found.pages[0].event.value) == ("first", b"begun=1")
    assert (other.seen, second.seen) == ([], [])
    assert await town.values("first", STATE) == []


@pytest.mark.spec("SPEC-5")
async def test_a_given_state_says_whose_it_is(town):
    first = manager("first", decides(events=["begun=1"]))
    second = manager("second", decides(events=["also=1"]))
    state = wire.EventBook(cover=wire.Cover(domain="second"))
    request = speculate_pm(await trigger(town), process_state=state)

    answer = await managers(town, first, second).handle_speculative(request, CONTEXT)

    found = wire.ProcessManagerHandleResponse.FromString(answer).process_events
    assert found.pages[0].event.value == b"also=1"


@pytest.mark.spec("SPEC-5")
async def test_a_process_managers_speculation_that_nobody_subscribes_is_empty(town):
    request = speculate_pm(await trigger(town))

    assert await managers(town).handle_speculative(request, CONTEXT) == b""
