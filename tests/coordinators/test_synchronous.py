"""SIMPLE and CASCADE requests (SYNC-1 to SYNC-5, SYNC-10, PROJ-16)."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time

import pytest

from angzarr import wire
from angzarr.coordinators.flow import DEPTH, depth_of
from angzarr.coordinators.options import SyncOptions
from angzarr.cover import Cover
from angzarr.errors import CommandRejected, HandlerFailed, ReactionFailed, StoreUnavailable
from angzarr.ports.components import CallContext

from .syncing import ORDER, PARCEL, World

ASYNC, SIMPLE, CASCADE = (
    wire.SYNC_MODE_ASYNC,
    wire.SYNC_MODE_SIMPLE,
    wire.SYNC_MODE_CASCADE,
)
CONTINUE = wire.CASCADE_ERROR_CONTINUE
ORDERS = Cover("order", ORDER, correlation_id="c-1")


@pytest.fixture
async def world():
    made = World()
    yield made
    await made.close()


async def until(condition):
    """Let the others run until it holds."""
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came")


# SYNC-1


@pytest.mark.spec("SYNC-1", "WIRE-2")
@pytest.mark.parametrize("mode", [ASYNC, 7])
async def test_asynchronous_and_unknown_modes_ask_for_nothing_more(world, mode):
    saga, projector = world.saga(), world.projector()

    answer = await world.send(mode=mode)

    assert (saga.seen, projector.books) == ([], [])
    assert len(answer.projections) == 0
    assert await world.values() == ["paid=1"]


@pytest.mark.spec("SYNC-1", "CMD-39")
async def test_simple_runs_the_synchronous_projectors_of_the_domain(world):
    saga, projector = world.saga(), world.projector()
    other, lazy = (
        world.projector("projector:ledgers", domain="ledger"),
        world.projector("projector:lazy", is_synchronous=False),
    )

    answer = await world.send(mode=SIMPLE)

    [projection] = answer.projections
    assert (projection.projector, projection.sequence) == ("projector:orders", 0)
    assert projector.shown == [(0, "paid=1", True)]
    assert (other.books, lazy.books, saga.seen) == ([], [], [])


@pytest.mark.spec("SYNC-2", "PROJ-1")
async def test_a_branch_is_shown_to_projectors_of_its_edition_only(world):
    """What was written on a branch reached the rows of main by way of requests, though the log
    does not deliver it."""
    main, every, branch = (
        world.projector(),
        world.projector("projector:every", editions=None),
        world.projector("projector:branch", editions=("what-if",)),
    )

    await world.send(mode=SIMPLE, edition="what-if")
    await world.send("paid=2", mode=SIMPLE)

    assert [value for _, value, _ in main.shown] == ["paid=2"]
    assert [value for _, value, _ in every.shown] == ["paid=1", "paid=2"]
    assert [value for _, value, _ in branch.shown] == ["paid=1"]


@pytest.mark.spec("SYNC-1")
async def test_the_append_is_durable_before_anything_follows(world):
    projector = world.projector()
    stored = []

    async def look():
        stored.append(await world.values())

    projector.gate = look

    await world.send(mode=SIMPLE)

    assert stored == [["paid=1"]]


@pytest.mark.spec("SYNC-1")
async def test_cascade_runs_projectors_then_sagas_then_process_managers(world):
    order = []

    def noting(name):
        async def gate():
            order.append(name)

        return gate

    world.manager(gate=noting("manager"))
    world.saga(gate=noting("saga"))
    world.projector(gate=noting("projector"))

    answer = await world.send()

    assert order == ["projector", "saga", "manager"]
    assert len(answer.projections) == 1


@pytest.mark.spec("SYNC-1")
async def test_commands_of_a_cascade_run_in_cascade_too(world):
    world.saga(commands=[("shipment", "ship=1")])
    billing = world.saga("saga:billing", domain="shipment", commands=[("ledger", "bill=1")])
    projector = world.projector("projector:ledger", domain="ledger")

    await world.send(errors=CONTINUE)

    assert await world.values("shipment") == ["ship=1"]
    assert await world.values("ledger") == ["bill=1"]
    assert [flow.sync_mode for flow in billing.flows] == [CASCADE]
    assert [flow.error_mode for flow in billing.flows] == [CONTINUE]
    assert len(projector.books) == 1


@pytest.mark.spec("SYNC-1")
@pytest.mark.parametrize("mode", [ASYNC, SIMPLE, CASCADE])
async def test_the_events_are_published_from_the_log_in_every_mode(world, mode):
    world.saga()
    world.projector()

    await world.send(mode=mode)

    [entry] = await world.real.events.tail(0)
    assert wire.EventBook.FromString(entry.book).pages[0].event.value == b"paid=1"


@pytest.mark.spec("SYNC-1")
async def test_reactions_get_the_pages_that_they_subscribe(world):
    wanted = world.saga(types=("test.Set",))
    unwanted = world.saga("saga:other", types=("test.Other", "et"))

    await world.send()

    assert wanted.seen == [["paid=1"]]
    assert unwanted.seen == []


@pytest.mark.spec("SYNC-1", "CMD-35")
async def test_without_new_pages_nothing_follows(world):
    saga, projector = world.saga(), world.projector()
    world.handlers["order"].answer = wire.BusinessResponse()

    await world.send()

    assert (saga.seen, projector.books) == ([], [])


@pytest.mark.spec("SYNC-1", "FACT-2")
async def test_facts_have_their_synchronous_work(world):
    saga, projector = world.saga(), world.projector()

    simple = await world.record("paid=1", mode=SIMPLE)
    cascade = await world.record("paid=2", mode=CASCADE)
    asynchronous = await world.record("paid=3", mode=ASYNC)

    found = [len(answer.projections) for answer in (simple, cascade, asynchronous)]
    assert found == [1, 1, 0]
    assert saga.seen == [["paid=2"]]
    assert [book.pages[0].event.value for book in projector.books] == [b"paid=1", b"paid=2"]


@pytest.mark.spec("FACT-2", "FACT-3", "CMD-28")
async def test_a_known_facts_synchronous_work_runs_again(world):
    projector = world.projector()

    for _ in range(2):
        await world.record("paid=1", mode=SIMPLE)

    assert projector.shown == [(0, "paid=1", True)] * 2


@pytest.mark.spec("CMD-28", "SYNC-1")
async def test_a_repeated_commands_synchronous_work_runs_again(world):
    shipments = world.projector("projector:shipments", domain="shipment")
    saga = world.saga(commands=[("shipment", "ship=1")])
    await world.send()

    await saga.react((await world.real.events.tail(0))[0].book, saga.flows[0])

    assert await world.values("shipment") == ["ship=1"]
    assert shipments.shown == [(0, "ship=1", True)] * 2


# SYNC-2


@pytest.mark.spec("SYNC-2", "PROJ-9")
@pytest.mark.parametrize("mode", [SIMPLE, CASCADE])
@pytest.mark.parametrize("error", [HandlerFailed("projector:orders", "boom"), ValueError("boom")])
async def test_a_failing_projector_is_listed_and_fails_nothing(world, mode, error):
    world.projector(failure=error)
    other = world.projector("projector:other")
    saga = world.saga()

    answer = await world.send(mode=mode)

    assert list(answer.cascade_errors) == [
        wire.CascadeError(
            component_name="orders",
            component_type="projector",
            error_message=str(error),
            source_domain="order",
        )
    ]
    assert len(other.books) == 1
    assert len(saga.seen) == (mode == CASCADE)
    assert len(answer.projections) == 1


@pytest.mark.spec("SYNC-2", "SYNC-3")
async def test_what_a_projector_failed_on_is_left_to_the_log(world):
    world.projector(failure=ValueError("boom"))

    await world.send(mode=SIMPLE)

    assert world.log.marked == set()


@pytest.mark.spec("SYNC-2")
async def test_a_projector_within_the_cascade_is_listed_too(world):
    world.saga(commands=[("shipment", "ship=1")])
    world.projector("projector:shipments", domain="shipment", failure=ValueError("boom"))

    answer = await world.send()

    assert [(e.component_name, e.source_domain) for e in answer.cascade_errors] == [
        ("shipments", "shipment")
    ]


@pytest.mark.spec("CAS-9", "CAS-10")
@pytest.mark.parametrize("mode", [SIMPLE, CASCADE])
async def test_pages_that_the_log_holds_back_are_not_projected(world, mode):
    """A projector that had passed an undecided page would never see it."""
    projector = world.projector()
    await world.send("pending=1", mode=ASYNC, cascade_id="X")

    await world.send("paid=1", mode=mode)
    held = list(projector.shown)
    await world.events.decide_cascade("X", "COMMIT")
    await world.events.resolve_cascade(ORDERS, "X")
    await world.send("paid=2", mode=mode)

    assert held == []
    assert projector.shown == [(3, "paid=2", True)]


# SYNC-3


@pytest.mark.spec("SYNC-3")
async def test_a_completed_reaction_is_not_delivered_by_the_log(world):
    saga = world.saga(commands=[("shipment", "ship=1")])
    manager = world.manager()

    await world.send()
    await world.deliver()

    assert (len(saga.seen), len(manager.seen)) == (1, 1)
    assert world.log.marked >= {
        ("saga-shipping", ORDERS.stream, 0),
        ("process-manager-fulfilment", ORDERS.stream, 0),
    }


@pytest.mark.spec("SYNC-3")
@pytest.mark.parametrize("errors", [CONTINUE, wire.CASCADE_ERROR_FAIL_FAST])
async def test_a_handlers_failure_is_done_from_the_log(world, errors):
    saga = world.saga(commands=[("shipment", "ship=1")], failure=CommandRejected("not now"))
    await asyncio.gather(world.send(errors=errors), return_exceptions=True)
    saga.failure = None

    await world.deliver()

    assert len(saga.seen) == 2
    assert await world.values("shipment") == ["ship=1"]


@pytest.mark.spec("SYNC-3")
async def test_a_reaction_that_was_never_started_is_done_from_the_log(world):
    world.saga(failure=CommandRejected("no"))
    second = world.saga("saga:second", commands=[("shipment", "ship=1")])

    with pytest.raises(ReactionFailed):
        await world.send()
    early = list(second.seen)
    await world.deliver()

    assert early == []
    assert second.seen == [["paid=1"]]
    assert await world.values("shipment") == ["ship=1"]


@pytest.mark.spec("SYNC-3")
async def test_a_log_that_cannot_be_told_makes_the_second_run_harmless(world, caplog):
    saga = world.saga(commands=[("shipment", "ship=1")])
    world.log.failure = StoreUnavailable("data", "disk full")

    with caplog.at_level(logging.WARNING):
        await world.send()
    await world.deliver()

    assert "will run again" in caplog.text
    assert len(saga.seen) == 2
    assert await world.values("shipment") == ["ship=1"]


@pytest.mark.spec("SYNC-3")
async def test_a_client_that_goes_away_leaves_everything_to_the_log(world):
    saga = world.saga(commands=[("shipment", "ship=1")], gate=lambda: asyncio.Event().wait())
    sending = asyncio.create_task(world.send())
    await saga.entered.wait()

    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    saga.gate = None
    await world.deliver()

    assert await world.values() == ["paid=1"]
    assert await world.values("shipment") == ["ship=1"]


# SYNC-4, SYNC-5


@pytest.mark.spec("SYNC-4")
async def test_depth_is_counted_along_the_cascade(world):
    world.saga(commands=[("shipment", "ship=1")])
    inner = world.saga("saga:billing", domain="shipment", commands=[("ledger", "bill=1")])
    innermost = world.saga("saga:audit", domain="ledger")

    await world.send()

    assert inner.flows[0].context.metadata[DEPTH] == "1"
    assert innermost.flows[0].context.metadata[DEPTH] == "2"


@pytest.mark.spec("SYNC-4")
async def test_beyond_the_limit_the_reaction_fails(world):
    saga = world.saga()
    metadata = {DEPTH: "32"}
    await world.send(metadata=metadata)

    with pytest.raises(ReactionFailed, match="deeper than 32 requests") as caught:
        await world.send(metadata={DEPTH: "33"})

    assert caught.value.__cause__.kind == "too_large"
    assert len(saga.seen) == 1


@pytest.mark.spec("SYNC-4")
async def test_two_sagas_that_answer_each_other_end_at_the_limit(world):
    world.sync_options = SyncOptions(max_cascade_depth=3)
    world.restart()
    there = world.saga(commands=[("shipment", "ping=1")])
    back = world.saga("saga:back", domain="shipment", commands=[("ledger", "pong=1")])
    again = world.saga("saga:again", domain="ledger", commands=[("shipment", "ping=1")])

    answer = await world.send(errors=CONTINUE)

    assert (len(there.seen), len(back.seen) + len(again.seen)) == (1, 3)
    assert [e.component_name for e in answer.cascade_errors] == ["again"]


@pytest.mark.spec("SYNC-4")
@pytest.mark.parametrize(
    ("given", "depth"), [({}, 0), ({DEPTH: "7"}, 7), ({DEPTH: b"7"}, 7), ({DEPTH: "x"}, 0)]
)
def test_a_depth_is_read_from_the_metadata(given, depth):
    assert depth_of(CallContext(metadata=given)) == depth


@pytest.mark.spec("SYNC-4")
async def test_the_callers_deadline_is_passed_down(world):
    saga, projector = world.saga(), world.projector()
    deadline_ns = time.monotonic_ns() + 10**10

    await world.send(deadline_ns=deadline_ns)

    assert saga.flows[0].context.deadline_ns == deadline_ns
    assert projector.contexts[0].deadline_ns == deadline_ns


@pytest.mark.spec("SYNC-5")
async def test_process_managers_are_skipped_without_a_correlation_id(world):
    saga, manager = world.saga(), world.manager()

    await world.send(correlation_id="")

    assert (len(saga.seen), manager.seen) == (1, [])


# SYNC-10, PROJ-16


@pytest.mark.spec("SYNC-10")
async def test_while_a_request_runs_the_log_waits(world):
    gate = asyncio.Event()
    saga = world.saga(gate=gate.wait)
    sending = asyncio.create_task(world.send())
    await saga.entered.wait()

    delivering = asyncio.create_task(world.deliver())
    await asyncio.sleep(0.0)
    await asyncio.sleep(0.0)
    early = len(saga.seen)
    gate.set()
    await asyncio.gather(sending, delivering)

    assert early == 1
    assert len(saga.seen) == 1


@pytest.mark.spec("SYNC-10")
async def test_the_log_waits_from_before_the_append_on(world):
    """It could have delivered the pages before the request had said which they are."""
    saga = world.saga()
    waiting = []

    async def append(real, *args, **options):
        done = await real(*args, **options)
        waiting.append(asyncio.create_task(world.turns.settled(saga.consumer, ORDERS, 0, 0)))
        await asyncio.sleep(0)
        waiting.append(waiting[0].done())
        return done

    world.events.faults["append"] = append

    await world.send()
    await waiting[0]

    assert waiting[1] is False


@pytest.mark.spec("SYNC-10")
async def test_earlier_pages_are_delivered_while_a_request_works_on_later_ones(world):
    await world.send("first=1", mode=ASYNC)
    gate = asyncio.Event()
    saga = world.saga(gate=gate.wait)
    sending = asyncio.create_task(world.send("second=1"))
    await saga.entered.wait()

    await world.turns.settled(saga.consumer, ORDERS, 0, 0)
    gate.set()
    await sending


@pytest.mark.spec("SYNC-10")
@pytest.mark.parametrize("ending", ["refused", "empty", "failed"])
async def test_a_request_that_is_over_keeps_nobody_waiting(world, ending):
    saga = world.saga(failure=CommandRejected("no") if ending == "failed" else None)
    world.refused["no"] = CommandRejected("no")
    if ending == "empty":
        world.handlers["order"].answer = wire.BusinessResponse()

    await asyncio.gather(
        world.send("no" if ending == "refused" else "paid=1"), return_exceptions=True
    )

    async with asyncio.timeout(1):
        await world.turns.settled(saga.consumer, ORDERS, 0, 2**32 - 1)


@pytest.mark.spec("SYNC-10", "CMD-28")
async def test_a_repeat_waits_for_the_reaction_that_is_running(world):
    world.saga(commands=[("shipment", "ship=1")])
    gate = asyncio.Event()
    billing = world.saga("saga:billing", domain="shipment", gate=gate.wait)
    first = asyncio.create_task(world.send())
    await billing.entered.wait()
    [source] = await world.real.events.tail(0, limit=1)

    again = asyncio.create_task(world.sagas[0].react(source.book, world.sagas[0].flows[0]))
    await until(lambda: "find_by_provenance" in world.calls)
    for _ in range(20):
        await asyncio.sleep(0)
    early = len(billing.seen)
    gate.set()
    await asyncio.gather(first, again)

    assert early == 1
    assert len(billing.seen) == 2


@pytest.mark.spec("SYNC-10")
async def test_cascades_that_write_to_each_others_streams_end(world):
    """With exclusive turns, each would wait for the other's stream."""
    both = asyncio.Barrier(2)
    world.saga(on="go=1", commands=[("shipment", "a=1")], gate=both.wait)
    world.saga(
        "saga:back", domain="shipment", on="go=1", commands=[("order", "b=1")], gate=both.wait
    )

    async with asyncio.timeout(5):
        await asyncio.gather(
            world.send("go=1", root=PARCEL), world.send("go=1", domain="shipment", root=PARCEL)
        )

    assert await world.values("order", root=PARCEL) == ["go=1", "b=1"]
    assert await world.values("shipment") == ["go=1", "a=1"]


@pytest.mark.spec("PROJ-16")
@pytest.mark.parametrize("mode", [SIMPLE, CASCADE])
async def test_a_projectors_turn_is_taken_before_the_append_and_kept_until_it_ran(world, mode):
    projector = world.projector()
    free = []

    async def look():
        free.append(await is_free(world, projector))

    async def append(real, *args, **options):
        await look()
        return await real(*args, **options)

    world.events.faults["append"] = append
    projector.gate = look

    await world.send(mode=mode)
    await look()

    assert free == [False, False, True]


async def is_free(world, projector):
    """Whether a delivery of the log could have the projector's turn at the order now."""

    async def take():
        async with world.turns.alone(projector.consumer, ORDERS):
            pass

    # In a context of its own, as the log's: who has a turn may have it again.
    taking = asyncio.get_running_loop().create_task(take(), context=contextvars.Context())
    for _ in range(3):
        await asyncio.sleep(0)
    was_free = taking.done()
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    return was_free


@pytest.mark.spec("PROJ-16", "SYNC-10")
async def test_reactions_run_without_the_projectors_turns(world):
    """A saga's command to the same stream, in the same cascade, would wait for itself."""
    world.projector()
    world.projector("projector:parcels", domain="shipment")
    world.saga(on="paid=1", commands=[("shipment", "ship=1")])
    world.saga("saga:loop", domain="shipment", commands=[("order", "shipped=1")])

    async with asyncio.timeout(5):
        await world.send(root=PARCEL)

    assert await world.values("order", root=PARCEL) == ["paid=1", "shipped=1"]


@pytest.mark.spec("PROJ-16")
async def test_a_refused_command_gives_the_turn_back(world):
    projector = world.projector()
    world.refused["no"] = CommandRejected("no")

    with pytest.raises(CommandRejected):
        await world.send("no", mode=SIMPLE)

    assert await is_free(world, projector)


@pytest.mark.spec("PROJ-16")
async def test_a_caller_that_goes_while_turns_are_taken_gives_them_back(world):
    first = world.projector("projector:a")
    second = world.projector("projector:b")
    async with world.turns.alone(second.consumer, ORDERS):
        # In a context of its own: who has a turn may have it again.
        sending = asyncio.get_running_loop().create_task(
            world.send(mode=SIMPLE), context=contextvars.Context()
        )
        while await is_free(world, first):
            pass
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)

        async with world.turns.alone(first.consumer, ORDERS):
            pass
