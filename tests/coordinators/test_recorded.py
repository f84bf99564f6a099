"""Outputs of process managers that outlive the delivery that recorded them (PM-6, PM-8)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from angzarr import wire
from angzarr.cover import Cover
from angzarr.errors import (
    CommandRejected,
    HandlerFailed,
    InvalidInput,
    RemoteError,
    SequenceMismatch,
    StoreUnavailable,
)

from .reacting import (
    OTHER,
    ROOT,
    STATE,
    Delivery,
    Manager,
    cascade,
    command,
    cover,
    decides,
    deferred,
    fact,
    indexes,
    trigger,
)

DOWN = RemoteError("UNAVAILABLE", "connection refused")
BUG = HandlerFailed("process_manager:fulfilment", "a bug")
HEAD_START_S = 30


async def crash_at(town, manager, book: bytes, domain: str, flow=None) -> None:
    """React, and lose the process while the first message to `domain` is on its way."""
    entered = asyncio.Event()

    async def hang():
        entered.set()
        await asyncio.Event().wait()

    town.road.fails(domain, hang)
    running = asyncio.create_task(manager.react(book, *([flow] if flow else [])))
    await entered.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.spec("PM-6", "PM-8")
async def test_after_a_crash_the_worker_carries_out_what_was_recorded(town):
    answer = decides(
        command("shipment", "a=1"),
        command("order", "b=1", root=STATE),
        events=["begun=1"],
        facts=[fact("shipment", "c=1")],
    )
    script = Manager(answer)
    book = await trigger(town, domain="table")
    await crash_at(town, town.manager(script), book, "order")
    town.clock.advance(HEAD_START_S)
    reborn = town.manager(script)

    [done] = await town.worker.run_due()

    assert done.startswith("output:")
    assert len(script.seen) == 1
    assert await town.values("shipment") == ["a=1", "c=1"]
    assert await town.values("order", STATE) == ["b=1"]
    await reborn.close()
    assert await town.open() == []


@pytest.mark.spec("PM-8")
async def test_after_a_crash_a_redelivery_carries_it_out(town):
    script = Manager(decides(command("shipment", "a=1"), events=["begun=1"]))
    book = await trigger(town)
    await crash_at(town, town.manager(script), book, "shipment")
    reborn = town.manager(script)

    outcome = await reborn.react(book)
    await reborn.close()

    assert indexes(outcome) == ([0], [])
    assert len(script.seen) == 1
    assert await town.values("shipment") == ["a=1"]
    assert await town.open() == []


@pytest.mark.spec("PM-6")
async def test_the_worker_leaves_it_to_the_delivery_for_a_while(town):
    script = Manager(decides(command("shipment", "a=1")))
    await crash_at(town, town.manager(script), await trigger(town), "shipment")
    town.clock.advance(HEAD_START_S - 1)

    assert await town.worker.run_due() == []


@pytest.mark.spec("PM-6")
async def test_delivery_and_worker_never_carry_it_out_at_once(town):
    script = Manager(decides(command("shipment", "a=1")))
    manager = town.manager(script)
    entered, gate = asyncio.Event(), asyncio.Event()

    async def wait():
        entered.set()
        await gate.wait()

    town.road.fails("shipment", wait)
    delivery = asyncio.create_task(manager.react(await trigger(town)))
    await entered.wait()
    town.clock.advance(HEAD_START_S)
    worker = asyncio.create_task(town.worker.run_due())
    for _ in range(20):
        await asyncio.sleep(0)
    sent_meanwhile = len(town.road.sent)
    gate.set()
    await asyncio.gather(delivery, worker)

    assert sent_meanwhile == 1
    assert len(town.road.sent) == 1


@pytest.mark.spec("PM-9", "SAGA-12")
async def test_a_mismatch_after_a_crash_runs_on_the_first_runs_state(town):
    def handle(asked):
        stamp = asked.destination_sequences["shipment"]
        return decides(command("shipment", "a=1", at=stamp), events=["begun=1"])

    script = Manager(decides(events=["earlier=1"]), handle)
    script.prepares = [cover("shipment")]
    manager = town.manager(script)
    await manager.react(await trigger(town))
    book = await trigger(town)
    await crash_at(town, manager, book, "shipment")
    await town.fill("shipment", 2)
    await town.published("later=1", domain="fulfilment", root=STATE)
    town.clock.advance(HEAD_START_S)
    reborn = town.manager(script)

    await town.worker.run_due()
    await reborn.close()

    first, second = script.seen[1:]
    assert second.process_state == first.process_state
    assert second.trigger == first.trigger
    assert second.destination_sequences["shipment"] == 2
    assert [item.stamps for item in town.road.sent] == [[0], [0], [2]]
    assert await town.values("fulfilment", STATE) == ["earlier=1", "begun=1", "later=1"]


@pytest.mark.spec("PM-6", "SAGA-8", "SAGA-9")
async def test_recorded_commands_are_what_they_were(town):
    answer = decides(
        command("shipment", "a=1", header=deferred()),
        command("shipment", "b=1", root=OTHER, at=77),
        command("order", "c=1", root=OTHER),
        events=["begun=1"],
    )
    script = Manager(answer)
    await crash_at(town, town.manager(script), await trigger(town), "shipment")
    await town.fill("shipment", 2, OTHER)
    await town.fill("order", 1, OTHER)
    town.clock.advance(HEAD_START_S)
    town.manager(script)

    await town.worker.run_due()

    sent = town.road.sent[1:]
    assert [item.provenance.index for item in sent] == [0, 1, 2]
    assert sent[0].request.command.pages[0].header.HasField("angzarr_deferred")
    assert [item.stamps for item in sent[1:]] == [[2], [1]]
    assert sent[0].provenance == town.road.sent[0].provenance
    assert sent[1].request.command.cover.correlation_id == "c-1"


@pytest.mark.spec("COMP-3", "PM-8")
async def test_a_command_that_was_refused_before_the_crash_is_not_sent_again(town):
    town.handlers["shipment"].answer = CommandRejected("no stock")
    answer = decides(command("shipment", "a=1"), command("order", "b=1", root=STATE))
    script = Manager(answer)
    await crash_at(town, town.manager(script), await trigger(town, domain="table"), "order")
    town.handlers["shipment"].answer = None
    town.clock.advance(HEAD_START_S)
    reborn = town.manager(script)

    await town.worker.run_due()
    await reborn.close()

    assert await town.values("shipment") == []
    assert await town.values("order", STATE) == ["b=1"]
    assert len(town.told.rejections) == 1


@pytest.mark.spec("PM-8", "DLQ-3")
async def test_failures_are_retried_and_then_a_dead_letter(town):
    script = Manager(decides(facts=[fact("order", "b=1", root=OTHER)]))
    manager = town.manager(script)
    book = await trigger(town)
    town.road.fails("order", *[DOWN] * 10)
    await manager.deliver(Delivery(book))

    for _ in range(9):
        town.clock.advance(HEAD_START_S)
        await town.worker.run_due()

    assert len(town.road.facts) == 10
    [letter] = await town.letters()
    assert letter.rejected_events == wire.EventBook.FromString(book)
    assert letter.cover.domain == "order"
    assert letter.source_component == "process_manager:fulfilment"
    assert letter.source_component_type == "process_manager"
    assert (
        letter.rejection_reason == "Event processing failed after 10 attempts: connection refused"
    )
    details = letter.event_processing_failed
    assert (details.error, details.retry_count, details.is_transient) == (
        "connection refused",
        9,
        True,
    )
    assert await town.worker.run_due() == []


@pytest.mark.spec("PM-8", "DLQ-3")
async def test_a_permanent_failure_is_a_dead_letter_at_once(town):
    script = Manager(decides(facts=[fact("order", "b=1", root=OTHER)]))
    manager = town.manager(script)
    refusal = InvalidInput("pages", "at most 100", 101)
    town.road.fails("order", DOWN, refusal)
    await manager.deliver(Delivery(await trigger(town)))
    town.clock.advance(1)

    await town.worker.run_due()

    [letter] = await town.letters()
    assert not letter.event_processing_failed.is_transient


@pytest.mark.spec("PM-8", "DLQ-8")
async def test_when_its_dead_letter_is_replayed_the_rest_is_done(town):
    script = Manager(decides(command("shipment", "a=1"), facts=[fact("order", "b=1", root=OTHER)]))
    manager = town.manager(script)
    book = await trigger(town)
    town.road.fails("order", DOWN, InvalidInput("pages", "at most 100", 101), DOWN)
    await manager.deliver(Delivery(book))
    town.clock.advance(1)
    await town.worker.run_due()

    with pytest.raises(RemoteError):
        await manager.deliver(Delivery(book))
    await manager.deliver(Delivery(book))
    await manager.close()

    assert await town.values("order", OTHER) == ["b=1"]
    assert await town.values("shipment") == ["a=1"]
    assert await town.open() == []


@pytest.mark.spec("PM-8")
async def test_a_dead_letter_that_cannot_be_written_is_tried_again(town):
    script = Manager(decides(facts=[fact("order", "b=1", root=OTHER)]))
    manager = town.manager(script)
    town.road.fails("order", DOWN)
    await manager.deliver(Delivery(await trigger(town)))
    [obligation] = await town.open()
    town.stores.dead_letters.faults["put"] = StoreUnavailable("data", "gone")
    duty = town.worker.duties[obligation.kind]

    with pytest.raises(StoreUnavailable):
        await duty.give_up(replace(obligation, attempts=10), DOWN)

    assert await town.stores.obligations.get(obligation.id) == obligation


@pytest.mark.spec("PM-8", "SAGA-5")
async def test_a_rerun_that_fails_is_tried_again(town):
    script = Manager(decides(command("shipment", "a=1")), BUG, decides(command("shipment", "a=1")))
    manager = town.manager(script)
    town.road.fails("shipment", SequenceMismatch(Cover("shipment", ROOT), 0, 1))
    outcome = await manager.react(await trigger(town))
    town.clock.advance(1)

    await town.worker.run_due()
    await manager.close()

    assert outcome.failure is BUG
    assert await town.values("shipment") == ["a=1"]
    assert await town.open() == []


# Cascades


async def left_in_a_cascade(town, script: Manager):
    """A reaction in cascade X that was left before its first command."""
    manager = town.manager(script)
    book = await trigger(town, cascade_id="X")
    await crash_at(town, manager, book, "shipment", cascade(cascade_id="X"))
    town.clock.advance(HEAD_START_S)
    return manager


@pytest.mark.spec("PM-8", "CAS-2")
async def test_in_an_undecided_cascade_the_rest_is_done_in_it(town):
    script = Manager(decides(command("shipment", "a=1"), events=["begun=1"]))
    await left_in_a_cascade(town, script)

    await town.worker.run_due()

    [page] = await town.pages("shipment")
    assert (page.committed, page.cascade_id) == (False, "X")


@pytest.mark.spec("PM-8")
async def test_after_a_rollback_the_rest_is_void(town):
    script = Manager(decides(command("shipment", "a=1"), events=["begun=1"]))
    manager = await left_in_a_cascade(town, script)
    await town.events.decide_cascade("X", "ROLLBACK", "timeout")

    await town.worker.run_due()
    await manager.close()

    assert await town.values("shipment") == []
    assert (town.told.rejections, await town.open(), await town.letters()) == ([], [], [])


@pytest.mark.spec("PM-8")
async def test_after_a_commit_the_rest_is_done_outside_it(town):
    script = Manager(decides(command("shipment", "a=1"), events=["begun=1"]))
    manager = await left_in_a_cascade(town, script)
    await town.events.decide_cascade("X", "COMMIT")

    await town.worker.run_due()
    await manager.close()

    [page] = await town.pages("shipment")
    assert (page.committed, page.HasField("cascade_id")) == (True, False)
    assert await town.open() == []


@pytest.mark.spec("PM-8", "SYNC-4")
async def test_what_a_deadline_cut_short_goes_on_by_itself(town):
    import time

    from angzarr.ports.components import CallContext

    script = Manager(decides(command("shipment", "a=1")))
    manager = town.manager(script)
    town.road.fails("shipment", DOWN)
    flow = cascade(context=CallContext(deadline_ns=time.monotonic_ns()))

    outcome = await manager.react(await trigger(town), flow)
    town.clock.advance(1)
    await town.worker.run_due()

    assert outcome.failure.code == "DEADLINE_EXCEEDED"
    assert town.told.rejections == []
    assert await town.values("shipment") == ["a=1"]
    assert town.road.sent[1].request.sync_mode == wire.SYNC_MODE_ASYNC
