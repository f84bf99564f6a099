"""CASCADE requests with a cascade id: the root decides at its end (SYNC-8, CAS-10, CAS-12, CAS-13,
CAS-15, CAS-16, CAS-25).
"""

from __future__ import annotations

import asyncio
import logging

import pytest

from angzarr import wire
from angzarr.coordinators import books
from angzarr.coordinators.provenance import METADATA, encoded
from angzarr.cover import Cover
from angzarr.errors import (
    CascadeDecided,
    CascadeRolledBack,
    CascadeUndecided,
    CommandRejected,
    ReactionFailed,
    StoreUnavailable,
)
from angzarr.rpc import status

from .syncing import ORDER, ORIGIN, PARCEL, World

ASYNC, SIMPLE, CASCADE = (
    wire.SYNC_MODE_ASYNC,
    wire.SYNC_MODE_SIMPLE,
    wire.SYNC_MODE_CASCADE,
)
FAIL_FAST = wire.CASCADE_ERROR_FAIL_FAST
CONTINUE = wire.CASCADE_ERROR_CONTINUE
COMPENSATE = wire.CASCADE_ERROR_COMPENSATE
DEAD_LETTER = wire.CASCADE_ERROR_DEAD_LETTER
ORDERS = Cover("order", ORDER, correlation_id="c-1")

failing_modes = pytest.mark.parametrize("errors", [FAIL_FAST, COMPENSATE])
passing_modes = pytest.mark.parametrize("errors", [CONTINUE, DEAD_LETTER])
all_modes = pytest.mark.parametrize("errors", [FAIL_FAST, CONTINUE, COMPENSATE, DEAD_LETTER])


@pytest.fixture
async def world():
    made = World()
    made.refused["refused=1"] = CommandRejected("no room")
    yield made
    await made.close()


async def sees(world, domain="order", root=None):
    """What a handler that is asked now sees of the stream."""
    handler = world.handlers[domain]
    await world.send(
        "look=1", domain=domain, root=root or (ORDER if domain == "order" else PARCEL), mode=ASYNC
    )
    return [
        page.event.value.decode()
        for page in handler.seen[-1].events.pages
        if page.event.type_url.startswith("type.googleapis.com/")
    ]


# Success


@all_modes
@pytest.mark.spec("CAS-12", "CAS-16", "SYNC-8")
async def test_a_root_request_commits_at_its_end(world, errors):
    world.saga(commands=[("shipment", "ship=1")])

    answer = await world.send(cascade_id="X", errors=errors)

    decision = await world.events.decision("X")
    assert decision.outcome == "COMMIT"
    assert [page.committed for page in answer.events.pages] == [True]
    assert await world.values() == ["paid=1", "angzarr.Confirmation"]
    assert await world.values("shipment") == ["ship=1", "angzarr.Confirmation"]
    assert await world.real.events.query_cascade_participants("X") == []


@pytest.mark.spec("CAS-12")
async def test_without_any_reaction_a_root_request_commits_too(world):
    await world.send(cascade_id="X")

    assert (await world.events.decision("X")).outcome == "COMMIT"
    assert await sees(world) == ["paid=1"]


@pytest.mark.spec("CAS-2", "CAS-10")
async def test_reactions_read_the_pending_pages_and_their_commands_are_pending_too(world):
    saga = world.saga(commands=[("shipment", "ship=1")])
    pending = []

    async def look():
        pending.append(await world.real.events.query_cascade_participants("X"))

    inner = world.saga("saga:inner", domain="shipment", gate=look)

    await world.send(cascade_id="X")

    assert (saga.seen, inner.seen) == ([["paid=1"]], [["ship=1"]])
    assert [flow.cascade_id for flow in (*saga.flows, *inner.flows)] == ["X", "X"]
    assert [item.cover.domain for item in pending[0]] == ["order", "shipment"]


@pytest.mark.spec("CAS-10")
async def test_projectors_run_after_the_commit_for_visible_pages(world):
    projector = world.projector()
    decided = []

    async def look():
        decided.append(await world.real.events.decision("X"))

    projector.gate = look
    saga = world.saga(gate=look)

    answer = await world.send(cascade_id="X")

    assert [decision and decision.outcome for decision in decided] == [None, "COMMIT"]
    assert len(saga.seen) == 1
    assert projector.shown == [(0, "paid=1", True)]
    assert len(answer.projections) == 1


@pytest.mark.spec("CAS-10", "SYNC-1")
async def test_projectors_of_all_streams_of_the_cascade_run_before_the_answer(world):
    shipments = world.projector("projector:shipments", domain="shipment")
    world.saga(commands=[("shipment", "ship=1")])

    answer = await world.send(cascade_id="X")

    assert shipments.shown == [(0, "ship=1", True)]
    assert len(answer.projections) == 0  # those are of the request's own domain


@pytest.mark.spec("CAS-10", "SYNC-2")
async def test_a_failing_projector_is_listed_after_the_commit_too(world):
    world.projector("projector:shipments", domain="shipment", failure=ValueError("boom"))
    world.projector(failure=ValueError("bang"))
    world.saga(commands=[("shipment", "ship=1")])

    answer = await world.send(cascade_id="X")

    assert [(e.component_name, e.error_message) for e in answer.cascade_errors] == [
        ("orders", "bang"),
        ("shipments", "boom"),
    ]


@pytest.mark.spec("CAS-9", "CAS-10")
async def test_what_another_cascade_holds_back_is_not_projected(world):
    projector = world.projector()
    shipments = world.projector("projector:shipments", domain="shipment")
    world.saga(on="paid=1", commands=[("shipment", "ship=1")])
    await world.send("other=1", cascade_id="Y", mode=ASYNC)
    await world.send("other=1", cascade_id="Y", mode=ASYNC, domain="shipment", root=PARCEL)
    for handler in world.handlers.values():
        handler.diff = lambda *_: frozenset()  # the cascades lock nothing

    await world.send(cascade_id="X")

    assert (await world.events.decision("X")).outcome == "COMMIT"
    assert (projector.shown, shipments.shown) == ([], [])


@pytest.mark.spec("PROJ-16", "CAS-10")
async def test_the_projectors_turns_are_taken_before_the_decision(world):
    """The log publishes the pages with the commit, and must not project them first."""
    projector = world.projector()
    other = world.projector("projector:shipments", domain="shipment")
    world.saga(commands=[("shipment", "ship=1")])
    taken = []

    async def decide(real, *args):
        taken.extend(world.turns._waiting)
        return await real(*args)

    world.events.faults["decide_cascade"] = decide

    await world.send(cascade_id="X")

    assert {key[:2] for key in taken} == {
        (projector.consumer, "order"),
        (other.consumer, "shipment"),
    }
    assert not world.turns._waiting


@pytest.mark.spec("CAS-13", "SYNC-8")
@pytest.mark.parametrize("mode", [ASYNC, SIMPLE])
async def test_in_other_modes_nothing_is_decided(world, mode):
    saga, projector = world.saga(), world.projector()

    answer = await world.send(cascade_id="X", mode=mode)

    assert await world.events.decision("X") is None
    assert [page.committed for page in answer.events.pages] == [False]
    assert (saga.seen, projector.books) == ([], [])


@pytest.mark.spec("CAS-13")
@pytest.mark.parametrize("fails", [False, True])
async def test_a_request_of_a_reaction_decides_nothing(world, fails):
    world.saga(failure=CommandRejected("no") if fails else None)
    metadata = {METADATA: encoded(ORIGIN)}

    await asyncio.gather(world.send(cascade_id="X", metadata=metadata), return_exceptions=True)

    assert await world.events.decision("X") is None


@pytest.mark.spec("CAS-13")
async def test_a_root_decides_for_all_that_joined(world):
    await world.send("joined=1", cascade_id="X", mode=ASYNC, domain="ledger", root=PARCEL)

    await world.send(cascade_id="X")

    assert await world.values("ledger") == ["joined=1", "angzarr.Confirmation"]


@pytest.mark.spec("CAS-15")
async def test_a_root_request_that_wrote_nothing_needs_no_decision(world):
    world.handlers["order"].answer = wire.BusinessResponse()

    await world.send(cascade_id="X")

    assert await world.events.decision("X") is None


@pytest.mark.spec("CAS-12", "CAS-15")
async def test_one_that_wrote_nothing_decides_what_others_wrote(world):
    await world.send("joined=1", cascade_id="X", mode=ASYNC, domain="ledger", root=PARCEL)
    world.handlers["order"].answer = wire.BusinessResponse()

    await world.send(cascade_id="X")

    assert (await world.events.decision("X")).outcome == "COMMIT"


@pytest.mark.spec("CAS-15")
async def test_a_refused_root_command_decides_nothing(world):
    with pytest.raises(CommandRejected):
        await world.send("refused=1", cascade_id="X")

    assert await world.events.decision("X") is None


# Failure


@failing_modes
@pytest.mark.spec("SYNC-8", "CAS-12")
async def test_a_failing_reaction_rolls_everything_back(world, errors):
    world.saga(commands=[("ledger", "booked=1"), ("shipment", "refused=1")])
    projector = world.projector()

    with pytest.raises(ReactionFailed, match=r"^Saga shipping failed: no room$"):
        await world.send(cascade_id="X", errors=errors)

    decision = await world.events.decision("X")
    assert (decision.outcome, decision.reason) == ("ROLLBACK", "Saga shipping failed: no room")
    assert await world.values() == ["paid=1", "angzarr.Revocation"]
    assert await world.values("ledger") == ["booked=1", "angzarr.Revocation"]
    assert await sees(world) == []
    assert await sees(world, "ledger") == []
    assert projector.books == []


@failing_modes
@pytest.mark.spec("SYNC-8", "COMP-12")
async def test_a_rollback_needs_neither_compensations_nor_notifications(world, errors):
    world.saga(commands=[("ledger", "booked=1"), ("shipment", "refused=1")])

    with pytest.raises(ReactionFailed):
        await world.send(cascade_id="X", errors=errors)
    await world.settle()

    assert [*world.told("order"), *world.told("ledger")] == []
    assert await world.open() == []


@passing_modes
@pytest.mark.spec("SYNC-8", "SYNC-7")
async def test_what_was_accepted_is_committed_in_spite_of_failures(world, errors):
    world.saga(commands=[("ledger", "booked=1"), ("shipment", "refused=1")])

    answer = await world.send(cascade_id="X", errors=errors)
    await world.settle()

    assert (await world.events.decision("X")).outcome == "COMMIT"
    assert len(answer.cascade_errors) == (errors == CONTINUE)
    assert len(await world.letters()) == (errors == DEAD_LETTER)
    assert await world.values("ledger") == ["booked=1", "angzarr.Confirmation"]
    assert [type(item).__name__ for item in world.told()] == ["RejectionNotification"]


@failing_modes
@pytest.mark.spec("SYNC-8", "SYNC-6")
async def test_a_failure_deep_in_the_cascade_rolls_the_root_back(world, errors):
    world.saga("saga:outer", commands=[("ledger", "booked=1")])
    world.saga("saga:inner", domain="ledger", commands=[("shipment", "refused=1")])

    with pytest.raises(ReactionFailed, match="Saga outer failed: Saga inner failed: no room"):
        await world.send(cascade_id="X", errors=errors)

    assert await world.values("ledger") == ["booked=1", "angzarr.Revocation"]


@pytest.mark.spec("COMP-3", "SYNC-8")
async def test_what_could_not_be_recorded_rolls_back_too(world):
    world.saga(commands=[("ledger", "booked=1"), ("shipment", "refused=1")])
    world.obligations.faults["put"] = StoreUnavailable("data", "disk full")

    with pytest.raises(StoreUnavailable):
        await world.send(cascade_id="X", errors=CONTINUE)

    assert (await world.events.decision("X")).outcome == "ROLLBACK"


@pytest.mark.spec("CAS-17", "SYNC-3")
async def test_a_client_that_goes_away_leaves_the_cascade_to_the_reaper(world):
    saga = world.saga(gate=lambda: asyncio.Event().wait())
    sending = asyncio.create_task(world.send(cascade_id="X"))
    await saga.entered.wait()

    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)

    assert await world.events.decision("X") is None
    assert len(await world.real.events.query_cascade_participants("X")) == 1


# Others decide, or nobody can


@all_modes
@pytest.mark.spec("CAS-16", "CAS-25")
async def test_a_cascade_that_was_reaped_ends_aborted(world, errors):
    async def reap():
        await world.real.events.decide_cascade("X", "ROLLBACK", "timeout")

    world.saga(gate=reap)

    with pytest.raises(CascadeRolledBack, match=r"^Cascade X rolled back: timeout$") as caught:
        await world.send(cascade_id="X", errors=errors)

    found = status.status_of(caught.value)
    assert found.code.name == "ABORTED"
    assert dict(found.trailers)[status.KIND] == "cascade_decided"
    assert await world.values() == ["paid=1", "angzarr.Revocation"]
    assert await world.open() == []


@all_modes
@pytest.mark.spec("CAS-25", "CAS-3")
async def test_later_commands_of_a_reaped_cascade_are_refused_and_its_root_aborted(world, errors):
    async def reap():
        await world.real.events.decide_cascade("X", "ROLLBACK", "timeout")

    saga = world.saga(gate=reap, commands=[("shipment", "ship=1")])

    with pytest.raises(CascadeRolledBack, match="timeout"):
        await world.send(cascade_id="X", errors=errors)
    await world.settle()

    assert len(saga.seen) == 1
    assert await world.values("shipment") == []
    assert world.told() == []
    with pytest.raises(CascadeDecided):
        await world.send("more=1", cascade_id="X")


@failing_modes
@pytest.mark.spec("CAS-11", "SYNC-8")
async def test_a_commit_that_came_first_stands_and_the_request_fails_all_the_same(world, errors):
    async def commit():
        await world.real.events.decide_cascade("X", "COMMIT")

    world.saga(gate=commit, failure=CommandRejected("no trucks"))

    with pytest.raises(ReactionFailed, match="no trucks"):
        await world.send(cascade_id="X", errors=errors)

    assert await sees(world) == ["paid=1"]


@pytest.mark.spec("CAS-16")
@pytest.mark.parametrize(
    ("fails", "method"),
    [
        (False, "decide_cascade"),
        (True, "decide_cascade"),
        (False, "query_cascade_participants"),
    ],
)
async def test_a_decision_that_cannot_be_recorded_leaves_it_undecided(world, fails, method):
    world.saga(failure=CommandRejected("no") if fails else None)
    world.events.faults[method] = StoreUnavailable("data", "disk full")

    with pytest.raises(CascadeUndecided, match=r"^Cascade X undecided$") as caught:
        await world.send(cascade_id="X")

    assert status.status_of(caught.value).code.name == "UNAVAILABLE"
    assert await world.real.events.decision("X") is None
    assert len(await world.real.events.query_cascade_participants("X")) == 1


@pytest.mark.spec("CAS-17", "CAS-16")
async def test_missing_markers_fail_nothing_since_readers_follow_the_decision(world, caplog):
    world.events.faults["resolve_cascade"] = StoreUnavailable("data", "disk full")

    with caplog.at_level(logging.WARNING):
        answer = await world.send(cascade_id="X")

    assert [page.committed for page in answer.events.pages] == [True]
    assert "markers are missing" in caplog.text
    assert await sees(world) == ["paid=1"]


# The log


@pytest.mark.spec("SYNC-3", "CAS-9")
async def test_completed_reactions_are_passed_over_when_the_commit_publishes_them(world):
    saga = world.saga(commands=[("shipment", "ship=1")])
    inner = world.saga("saga:inner", domain="shipment")

    await world.send(cascade_id="X")
    await world.deliver()

    assert (len(saga.seen), len(inner.seen)) == (1, 1)


@pytest.mark.spec("SYNC-3", "CAS-9")
async def test_a_failed_reaction_is_done_from_the_log_after_the_commit(world):
    saga = world.saga(failure=CommandRejected("not now"), commands=[("shipment", "ship=1")])
    await world.send(cascade_id="X", errors=CONTINUE)
    saga.failure = None

    await world.deliver()

    assert len(saga.seen) == 2
    assert await world.values("shipment") == ["ship=1"]


@pytest.mark.spec("SYNC-3", "CAS-9")
async def test_what_had_joined_before_is_delivered(world):
    """The request's reactions are done; those to the page that joined before are not."""
    saga = world.saga()
    await world.send("joined=1", cascade_id="X", mode=ASYNC)

    await world.send("paid=1", cascade_id="X")
    await world.deliver()

    assert saga.seen == [["paid=1"], ["joined=1"]]


@pytest.mark.spec("SYNC-3", "COMP-12")
@failing_modes
async def test_after_a_rollback_the_log_has_nothing_to_react_to(world, errors):
    saga = world.saga(failure=CommandRejected("no"))

    with pytest.raises(ReactionFailed):
        await world.send(cascade_id="X", errors=errors)
    await world.deliver()

    assert len(saga.seen) == 1


@pytest.mark.spec("CAS-9")
async def test_a_markers_book_carries_the_requests_correlation_id(world):
    await world.send(cascade_id="X")

    covers = [
        books.cover_of(wire.EventBook.FromString(entry.book).cover)
        for entry in await world.real.events.tail(0)
    ]
    assert covers == [ORDERS, ORDERS]
