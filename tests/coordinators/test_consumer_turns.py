"""The log's deliveries beside requests that run reactions and projectors themselves (SYNC-3,
SYNC-10, PROJ-7, PROJ-16).
"""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from angzarr.errors import StoreUnavailable
from angzarr.testing.pages import cover_of, pages

from .bus import ALICE, BOB, Bus, Recorder, projector, spec, turns

SAGA, PROJECTOR = "saga-shipping", "projector-orders"


@pytest.mark.spec("SYNC-3")
async def test_a_reaction_that_ran_in_a_request_is_not_run_by_the_log(bus):
    got = Recorder()
    consumers = bus.consumers(spec(got))
    for count in (2, 3, 1):
        await bus.publish(ALICE, count)

    await consumers.advance(SAGA, ALICE, 4)
    await consumers.start()
    await got.until(2)

    assert got.of(ALICE) == [0, 5]


@pytest.mark.spec("SYNC-3")
async def test_reactions_to_earlier_pages_that_the_log_has_not_run_are_not_lost(timed):
    """The log lags behind a request that reacts to a later commit of the stream."""
    is_down = [True]

    def fault(delivery):
        if is_down[0]:
            raise StoreUnavailable("elsewhere", "it is down")

    got = Recorder(fault)
    consumers = await timed.start(spec(got))
    for _ in range(3):
        await timed.publish(ALICE)
    await turns()

    await consumers.advance(SAGA, ALICE, 2)
    is_down[0] = False
    await timed.time.advance(1.0)

    assert got.of(ALICE) == [0, 1]


@pytest.mark.spec("SYNC-3", "CAS-9")
async def test_pages_that_a_cascade_holds_below_a_marked_commit_are_delivered_later(timed):
    got = Recorder()
    consumers = await timed.start(spec(got))
    events = timed.stores.events
    await events.append(ALICE, 0, pages(0, 1, cascade_id="x"), cascade_id="x")
    await events.append(ALICE, 1, pages(1, 1))
    await consumers.advance(SAGA, ALICE, 1)

    await events.decide_cascade("x", "COMMIT")
    await events.resolve_cascade(ALICE, "x")
    await turns()

    assert got.of(ALICE) == [0]


@pytest.mark.spec("SYNC-3")
@pytest.mark.parametrize(
    ("consumer", "cover", "last"),
    [
        ("saga-other", ALICE, 1),
        (SAGA, BOB, 1),
        (SAGA, ALICE.on("what-if"), 1),
        (SAGA, ALICE, 0),
        (SAGA, ALICE, 2),
    ],
)
async def test_a_mark_is_for_one_commit_of_one_stream_and_consumer(timed, consumer, cover, last):
    got = Recorder()
    consumers = timed.consumers(spec(got))
    await timed.publish(ALICE, 2)

    await consumers.advance(consumer, cover, last)
    await consumers.start()
    await turns()

    assert got.of(ALICE) == [0]


@pytest.mark.spec("SYNC-3")
async def test_a_mark_survives_a_restart_and_works_for_other_processes(bus):
    await bus.publish(ALICE)
    await bus.publish(BOB)
    await bus.consumers().advance(SAGA, ALICE, 0)  # which doesn't feed the saga itself

    got = Recorder()
    elsewhere = Bus(bus.stores, bus.time)
    await elsewhere.start(spec(got))
    await got.until(1)

    assert [d.cover.stream for d in got.done] == [BOB.stream]
    await elsewhere.close()


@pytest.mark.spec("SYNC-3", "EDN-14", "EDN-17")
async def test_a_mark_goes_with_its_edition(timed):
    branch = cover_of("alice", edition="what-if")
    got = Recorder()
    consumers = timed.consumers(spec(got))
    await timed.publish(branch)
    await consumers.advance(SAGA, branch, 0)
    await timed.stores.events.delete_edition("account", "what-if")

    await timed.publish(branch)  # the name is used again, from sequence 0 on
    await consumers.start()
    await turns()

    assert got.of(branch) == [0]


@pytest.mark.spec("SYNC-10")
async def test_the_log_waits_for_a_request_that_reacts_to_its_pages(timed):
    got = Recorder()
    consumers = await timed.start(spec(got))

    async with timed.turns.intend([SAGA], ALICE) as intent:
        await timed.publish(ALICE, 2)
        intent.wrote(0, 1)
        await turns()
        assert got.got == []
        await consumers.advance(SAGA, ALICE, 1)
    await turns()

    assert got.got == []
    await timed.publish(ALICE)
    await turns()
    assert got.of(ALICE) == [2]


@pytest.mark.spec("SYNC-10", "SYNC-3")
async def test_what_a_request_left_undone_is_done_by_the_log(timed):
    got = Recorder()
    await timed.start(spec(got))

    async with timed.turns.intend([SAGA], ALICE) as intent:
        await timed.publish(ALICE)
        intent.wrote(0, 0)
        await turns()
    await turns()

    assert got.of(ALICE) == [0]


@pytest.mark.spec("SYNC-10")
async def test_a_request_that_wrote_later_pages_holds_earlier_ones_back_no_longer(timed):
    got = Recorder()
    await timed.start(spec(got))

    async with timed.turns.intend([SAGA], ALICE) as intent:
        await timed.publish(ALICE)
        await turns()
        assert got.got == []
        await timed.publish(ALICE)
        intent.wrote(1, 1)
        await turns()
        assert got.of(ALICE) == [0]
    await turns()

    assert got.of(ALICE) == [0, 1]


@pytest.mark.spec("SYNC-10")
async def test_deliveries_that_wait_for_requests_take_no_place_from_others(timed):
    got = Recorder()
    await timed.start(spec(got, concurrency=2))
    covers = [cover_of(f"root-{number}") for number in range(10)]
    intents = [timed.turns.intend([SAGA], cover) for cover in covers]
    for intent, cover in zip(intents, covers, strict=True):
        await intent.__aenter__()
        await timed.publish(cover)

    await timed.publish(BOB)
    await turns()
    assert [d.cover.stream for d in got.done] == [BOB.stream]

    for intent in intents:
        await intent.__aexit__(None, None, None)
    await turns()
    assert len(got.done) == 11


@pytest.mark.spec("SYNC-10")
async def test_the_log_and_a_repeat_of_the_request_react_one_after_the_other(timed):
    gate = asyncio.Event()
    got = Recorder(lambda d: gate.wait())
    await timed.start(spec(got))
    await timed.publish(ALICE)
    await turns()
    entered = asyncio.Event()

    async def repeat() -> None:
        async with timed.turns.book(SAGA, ALICE, 0):
            entered.set()

    task = asyncio.create_task(repeat())
    await turns()
    assert not entered.is_set()
    gate.set()
    await task

    assert got.of(ALICE) == [0]


@pytest.mark.spec("SYNC-10", "SYNC-3")
async def test_the_log_finds_what_a_repeat_of_the_request_has_done_meanwhile(timed):
    got = Recorder()
    consumers = await timed.start(spec(got))

    async with timed.turns.book(SAGA, ALICE, 0):
        await timed.publish(ALICE)
        await turns()
        await consumers.advance(SAGA, ALICE, 0)
    await turns()

    assert got.got == []


@pytest.mark.spec("PROJ-16", "PROJ-7")
async def test_the_log_delivers_to_a_projector_when_a_request_gives_its_stream_back(timed):
    got = Recorder()
    await timed.start(projector(got))

    async with timed.turns.alone(PROJECTOR, ALICE):
        await timed.publish(ALICE)
        await timed.publish(BOB)
        await turns()
        assert [d.cover.stream for d in got.done] == [BOB.stream]
    await turns()

    assert got.of(ALICE) == [0]


@pytest.mark.spec("PROJ-7")
async def test_a_request_waits_for_a_delivery_of_its_stream_to_the_projector(timed):
    gate, entered = asyncio.Event(), asyncio.Event()
    await timed.start(projector(Recorder(lambda d: gate.wait())))
    await timed.publish(ALICE)
    await turns()

    async def request() -> None:
        async with timed.turns.alone(PROJECTOR, ALICE):
            entered.set()

    task = asyncio.create_task(request())
    await turns()
    assert not entered.is_set()
    gate.set()
    await task


@pytest.mark.spec("PROJ-7")
async def test_a_projector_that_takes_its_turn_itself_is_not_in_its_own_way(timed):
    async def deliver(delivery):
        async with timed.turns.alone(PROJECTOR, delivery.cover):
            await got(delivery)

    got = Recorder()
    await timed.start(projector(deliver))

    await timed.publish(ALICE)
    await turns()

    assert got.of(ALICE) == [0]


@pytest.mark.spec("PROJ-7", "DLQ-8")
async def test_a_redelivery_takes_its_turn_too(timed):
    got = Recorder()
    consumers = await timed.start(projector(got))
    await timed.publish(ALICE)
    await turns()

    async with timed.turns.alone(PROJECTOR, ALICE):
        again = consumers.redeliver(PROJECTOR, got.done[0].book)
        task = asyncio.create_task(again, context=contextvars.Context())
        await turns()
        assert not task.done()
    await task

    assert len(got.done) == 2
