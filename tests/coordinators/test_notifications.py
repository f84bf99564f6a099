"""Sources told of rejected commands (COMP-1 to COMP-8, COMP-11 to COMP-13, COMPAT-13, SYNC-9)."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from dataclasses import replace

import pytest

from angzarr import wire
from angzarr.coordinators import books
from angzarr.coordinators.notices import Notice
from angzarr.coordinators.options import Backoff, CompensationOptions
from angzarr.coordinators.provenance import METADATA, encoded
from angzarr.cover import COMPENSATE, REJECTION, Cover, root_of
from angzarr.errors import (
    CascadeConflict,
    CommandRejected,
    CorruptData,
    HandlerFailed,
    InvalidInput,
    NotPermitted,
    Overloaded,
    RemoteError,
    SequenceConflict,
    StoreUnavailable,
    TooLarge,
)
from angzarr.testing.clock import NS_PER_S, START_NS

from .conftest import EVENT
from .syncing import (
    ORDER,
    ORIGIN,
    PARCEL,
    SOURCE,
    World,
    answering,
    failures,
    rejected,
    response,
    ship,
)

GOOGLE = "type.googleapis.com/angzarr."
REVOKE = wire.RevocationResponse


@pytest.fixture
async def world():
    made = World()
    await made.send(mode=0)
    made.handlers["order"].seen.clear()
    yield made
    await made.close()


async def compensated(world, *, sequences=(3, 4), origin=ORIGIN, reason="Saga b failed"):
    target = Cover("shipment", PARCEL, correlation_id="c-1")
    await world.duties.record(world.notifications.compensate(target, sequences, reason, origin))


# What is recorded


@pytest.mark.spec("COMP-1")
@pytest.mark.parametrize("component", ["saga:shipping", "pm:fulfilment"])
@pytest.mark.parametrize(
    "header",
    [
        None,
        wire.PageHeader(sequence=7),
        wire.PageHeader(angzarr_deferred=wire.AngzarrDeferredSequence(source_seq=0)),
    ],
    ids=["by the coordinator", "by the handler", "deferred"],
)
async def test_a_rejected_command_gives_one_obligation(world, component, header):
    origin = replace(ORIGIN, component=component)

    for _ in range(2):
        await rejected(world, origin=origin, command=ship(header=header))

    assert await world.open() == ["rejection"]


@pytest.mark.spec("COMP-1")
@pytest.mark.parametrize(
    "other",
    [
        {"index": 3},
        {"source_seq": 1},
        {"component": "saga:billing"},
        {"source": Cover("order", root_of("order-2"))},
        {"source": Cover("order", ORDER, "what-if")},
        {"occasion": bytes(16)},
    ],
)
async def test_each_output_has_an_obligation_of_its_own(world, other):
    await rejected(world)
    await rejected(world, origin=replace(ORIGIN, **other))

    assert await world.open() == ["rejection"] * 2


@pytest.mark.spec("COMP-1")
async def test_commands_of_direct_clients_give_none(world):
    world.refused["no"] = CommandRejected("no")

    with pytest.raises(CommandRejected):
        await world.send("no")

    assert await world.open() == []


@pytest.mark.spec("COMP-5")
async def test_a_rejection_and_a_compensation_of_one_output_are_two(world):
    await rejected(world)
    await compensated(world)

    assert await world.open() == ["compensate", "rejection"]


def test_a_payload_that_is_none_is_told():
    with pytest.raises(CorruptData, match="an obligation"):
        Notice.read(b"\x81")


# The notification


@pytest.mark.spec("COMP-2", "COMPAT-13", "WIRE-5")
async def test_the_source_is_told_of_the_command_and_the_reason(world):
    command = await rejected(world)
    world.clock.advance(5)

    await world.duties.run_due()

    [asked] = world.handlers["order"].seen
    cover = wire.Cover(domain="order", root=wire.UUID(value=ORDER), correlation_id="c-1")
    cover.edition.name = "angzarr"
    [page] = asked.command.pages
    assert asked.command.cover == cover
    assert page.merge_strategy == wire.MERGE_COMMUTATIVE
    assert page.command.type_url == GOOGLE + "Notification"
    told = wire.Notification.FromString(page.command.value)
    assert told.cover == cover
    assert told.sent_at == books.timestamp(START_NS)
    assert dict(told.metadata) == {"attempt": "1"}
    assert told.payload.type_url == GOOGLE + "RejectionNotification"
    assert wire.RejectionNotification.FromString(told.payload.value) == wire.RejectionNotification(
        rejected_command=command, rejection_reason="no trucks"
    )


@pytest.mark.spec("COMP-2")
async def test_the_envelope_is_deferred_and_asynchronous(world):
    requests = []

    async def handle_compensation(request, context):
        requests.append((wire.CommandRequest.FromString(request), context))
        return b""

    world.to.handle_compensation = handle_compensation
    await rejected(world)

    await world.duties.run_due()

    [(request, context)] = requests
    deferred = request.command.pages[0].header.angzarr_deferred
    assert books.cover_of(deferred.source) == SOURCE
    assert deferred.source_seq == 0
    assert request.sync_mode == wire.SYNC_MODE_ASYNC
    assert context.metadata[METADATA] == encoded(replace(ORIGIN, kind=REJECTION))
    assert context.metadata["x-correlation-id"] == "c-1"
    assert context.deadline_ns > time.monotonic_ns()


@pytest.mark.spec("COMP-2")
async def test_a_missing_correlation_id_is_that_of_the_command(world):
    await rejected(world, origin=replace(ORIGIN, source=Cover("order", ORDER)))

    await world.duties.run_due()

    assert world.handlers["order"].seen[0].command.cover.correlation_id == "c-1"


@pytest.mark.spec("COMP-2", "EDN-12")
async def test_a_rejection_on_a_branch_returns_to_the_branch(world):
    await world.send(mode=0, edition="what-if")
    await rejected(
        world, origin=replace(ORIGIN, source=Cover("order", ORDER, "what-if"), source_seq=1)
    )

    await world.duties.run_due()

    assert await world.values(edition="what-if") == [
        "paid=1", "paid=1", "RejectionNotification=1",
    ]  # fmt: skip
    assert await world.values() == ["paid=1"]


@pytest.mark.spec("COMP-2")
async def test_attempts_are_counted_for_the_source(world):
    answering(world, RemoteError("UNAVAILABLE", "away"))
    await rejected(world)

    await world.duties.run_due()
    world.clock.advance(1)
    await world.duties.run_due()

    attempts = [
        wire.Notification.FromString(asked.command.pages[0].command.value).metadata["attempt"]
        for asked in world.handlers["order"].seen
    ]
    assert attempts == ["1", "2"]


@pytest.mark.spec("SYNC-9", "COMPAT-13")
async def test_what_is_to_be_compensated_is_told_to_the_stream_that_has_it(world):
    await compensated(world)

    await world.duties.run_due()

    [asked] = world.handlers["shipment"].seen
    [page] = asked.command.pages
    told = wire.Notification.FromString(page.command.value)
    assert page.command.type_url == GOOGLE + "Notification"
    assert told.payload.type_url == GOOGLE + "Compensate"
    compensate = wire.Compensate.FromString(told.payload.value)
    assert books.cover_of(compensate.target) == Cover("shipment", PARCEL, correlation_id="c-1")
    assert (list(compensate.sequences), compensate.reason) == ([3, 4], "Saga b failed")
    assert asked.command.cover == told.cover == compensate.target
    assert page.merge_strategy == wire.MERGE_COMMUTATIVE
    assert dict(told.metadata) == {"attempt": "1"}


@pytest.mark.spec("SYNC-9", "COMP-5")
async def test_a_compensation_is_named_by_the_command_that_it_undoes(world):
    await compensated(world)

    await world.duties.run_due()

    key = replace(ORIGIN, kind=COMPENSATE)
    found = await world.events.find_by_provenance(Cover("shipment", PARCEL), key)
    assert found is not None


@pytest.mark.spec("SYNC-9")
async def test_compensated_events_stay_visible_and_a_stored_marker_reads_as_a_noop(world):
    await world.send("sent=1", domain="shipment", mode=0)
    marker = wire.BusinessResponse()
    marker.events.pages.add().event.type_url = "type.angzarr.io/angzarr.Compensate"
    answering(world, marker, "shipment")
    target = Cover("shipment", ORDER)
    await world.duties.record(world.notifications.compensate(target, (0,), "Saga b failed", ORIGIN))
    await world.duties.run_due()
    answering(world, response(), "shipment")

    await world.send("more=1", domain="shipment", mode=0)

    seen = [page.event for page in world.handlers["shipment"].seen[-1].events.pages]
    assert [event.type_url for event in seen] == [EVENT, "type.angzarr.io/angzarr.NoOp"]
    assert seen[0].value == b"sent=1"


# Delivery


TRANSIENT = [
    *(
        RemoteError(code, "away")
        for code in (
            "UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL",
            "UNKNOWN", "CANCELLED",
        )
    ),
    StoreUnavailable("data", "disk full"),
    Overloaded("queue", 1),
    CascadeConflict(SOURCE, ["X"], ["gold"]),
    SequenceConflict(SOURCE, 1, 2),
    HandlerFailed("aggregate:order", "KeyError: 'x'"),
]  # fmt: skip


@pytest.mark.spec("COMP-4", "COMP-11")
@pytest.mark.parametrize("error", TRANSIENT, ids=lambda e: getattr(e, "code", type(e).__name__))
async def test_a_transient_error_is_tried_again_until_it_is_gone(world, error):
    answering(world, error)
    await rejected(world)
    await world.duties.run_due()
    answering(world, response("undone=1"))

    assert await world.open() == ["rejection"]
    await world.settle()

    assert await world.open() == []
    assert await world.values() == ["paid=1", "undone=1"]
    assert await world.values("angzarr-saga-failures") == []


@pytest.mark.spec("COMP-4")
async def test_deliveries_back_off_with_strictly_growing_delays(world):
    answering(world, RemoteError("UNAVAILABLE", "away"))
    await rejected(world)
    due = []

    for _ in range(9):
        await world.duties.run_due()
        due.append(await world.real.obligations.next_due())
        world.clock.set(due[-1])

    delays = [later - earlier for earlier, later in itertools.pairwise(due)]
    assert due[0] == START_NS + NS_PER_S // 10
    assert delays == sorted(set(delays))
    assert delays[-1] == round(25.6 * NS_PER_S)


@pytest.mark.spec("COMP-4")
async def test_what_was_recorded_is_delivered_after_a_restart(world):
    await rejected(world)
    await compensated(world)

    world.restart()
    await world.duties.run_due()

    assert await world.values() == ["paid=1", "RejectionNotification=1"]
    assert await world.values("shipment") == ["Compensate=1"]


@pytest.mark.spec("COMP-4", "COMP-5")
async def test_a_process_that_dies_after_the_delivery_delivers_again_without_effect(world):
    await rejected(world)
    world.obligations.faults["close"] = lambda *_, **__: asyncio.Event().wait()
    dying = asyncio.create_task(world.duties.run_due())
    while len(await world.values()) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    world.obligations.faults.clear()

    world.restart()
    await world.settle()

    assert await world.values() == ["paid=1", "RejectionNotification=1"]
    assert len(world.handlers["order"].seen) == 1
    assert await world.open() == []


@pytest.mark.spec("COMP-5")
@pytest.mark.parametrize("send_to_dlq", [True, False])
async def test_an_answer_without_events_is_kept_and_not_asked_for_again(world, send_to_dlq):
    flags = REVOKE(send_to_dead_letter_queue=send_to_dlq, reason="no")
    answering(world, wire.BusinessResponse(revocation=flags))
    await rejected(world)
    await world.duties.run_due()

    await rejected(world)
    await world.duties.run_due()

    assert len(world.handlers["order"].seen) == 1
    assert len(await world.letters()) == 2 * send_to_dlq


@pytest.mark.spec("COMP-5")
async def test_rejection_compensation_and_command_of_one_output_do_not_collide(world):
    origin = replace(ORIGIN, source=Cover("shipment", PARCEL, correlation_id="c-1"))
    await world.send("ship=1", domain="shipment", metadata={METADATA: encoded(origin)}, mode=0)
    await rejected(world, origin=origin)
    await compensated(world, origin=origin)

    await world.duties.run_due()

    assert await world.values("shipment", root=ORDER) == ["ship=1"]
    assert await world.values("shipment") == ["Compensate=1", "RejectionNotification=1"]


@pytest.mark.spec("COMP-7")
async def test_an_answer_with_events_compensates_and_nothing_else_happens(world):
    answering(world, response("undone=1", "told=1"))
    await rejected(world)

    await world.duties.run_due()

    assert await world.values() == ["paid=1", "undone=1", "told=1"]
    assert await world.letters() == []
    assert world.webhooks.told == []
    assert await world.values("angzarr-saga-failures") == []
    assert await world.open() == []


# The budget


@pytest.mark.spec("COMP-6", "DLQ-2", "DLQ-3")
async def test_the_budgets_end_is_a_dead_letter_with_the_envelope(world):
    answering(world, RemoteError("UNAVAILABLE", "away"))
    await rejected(world)

    await world.settle()

    [letter] = await world.letters()
    [page] = letter.rejected_command.pages
    told = wire.Notification.FromString(page.command.value)
    assert len(world.handlers["order"].seen) == 10
    assert letter.cover == letter.rejected_command.cover
    assert letter.cover.domain == "order"
    assert told.metadata["attempt"] == "10"
    assert dict(letter.metadata) == {"attempts": "10", "last_error": "away"}
    assert letter.rejection_reason == "Event processing failed after 10 attempts: away"
    assert letter.event_processing_failed == wire.EventProcessingFailedDetails(
        error="away", retry_count=9, is_transient=True
    )
    assert (letter.source_component, letter.source_component_type) == ("saga:shipping", "saga")
    assert letter.occurred_at.seconds > 0
    assert await world.open() == []


@pytest.mark.spec("COMP-6")
async def test_the_budget_is_configurable(world):
    world.options = CompensationOptions(backoff=Backoff(0.1, 60.0, tries=2))
    world.restart()
    answering(world, RemoteError("UNAVAILABLE", "away"))
    await rejected(world, origin=replace(ORIGIN, component="pm:fulfilment"))

    await world.settle()

    [letter] = await world.letters()
    assert len(world.handlers["order"].seen) == 2
    assert letter.source_component == "process_manager:fulfilment"
    assert letter.source_component_type == "process_manager"


@pytest.mark.spec("COMP-6", "DLQ-5")
async def test_without_a_dead_letter_nothing_is_closed(world, caplog):
    world.options = CompensationOptions(backoff=Backoff(0.1, 60.0, tries=1))
    world.restart()
    answering(world, RemoteError("UNAVAILABLE", "away"))
    world.dead_letters.faults["put"] = StoreUnavailable("dead letters", "full")
    await rejected(world)

    with caplog.at_level(logging.ERROR):
        await world.duties.run_due()
    kept = await world.open()
    world.dead_letters.faults.clear()
    await world.settle()

    assert kept == ["rejection"]
    assert "can't be given up" in caplog.text
    assert len(await world.letters()) == 1
    assert await world.open() == []


# Answers without events


@pytest.mark.spec("COMP-11", "COMPAT-13")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (wire.BusinessResponse(), "client logic returned empty response"),
        (wire.BusinessResponse(events=wire.EventBook()), "client logic returned empty response"),
        (
            wire.BusinessResponse(notification=wire.Notification()),
            "client logic returned empty response",
        ),
        (RemoteError("INVALID_ARGUMENT", "what?"), "client logic returned empty response"),
        (RemoteError("UNIMPLEMENTED", "what?"), "client logic returned empty response"),
        (InvalidInput("type_url", "known", "x"), "client logic returned empty response"),
        (CommandRejected("not undoable"), "gRPC error: not undoable"),
        (RemoteError("PERMISSION_DENIED", "no"), "gRPC error: no"),
        (RemoteError("FAILED_PRECONDITION", "no"), "gRPC error: no"),
        (NotPermitted("no"), "gRPC error: no"),
        (TooLarge("pages", "at most 1", 2), "gRPC error: pages must be at most 1, got '2'"),
        (CorruptData("x", "a", "b"), "gRPC error: corrupt data at x: found a, wanted b"),
    ],
    ids=str,
)
async def test_no_answer_and_permanent_errors_have_the_configured_consequences(
    world, answer, reason
):
    answering(world, answer)
    await rejected(world)

    await world.duties.run_due()

    [failed] = await failures(world)
    assert failed.compensation_failure_reason == reason
    assert await world.letters() == []
    assert world.webhooks.told == []
    assert await world.open() == []


@pytest.mark.spec("COMP-4", "COMP-11")
async def test_a_refusal_within_the_handlers_failure_is_an_answer(world):
    error = HandlerFailed("aggregate:order", "not undoable")
    error.__cause__ = CommandRejected("not undoable")
    answering(world, error)
    await rejected(world)

    await world.duties.run_due()

    assert await world.open() == []


@pytest.mark.spec("COMP-11")
async def test_the_configured_flags_are_carried_out(world):
    world.options = CompensationOptions(
        fallback_emit_system_revocation=False, fallback_send_to_dlq=True, fallback_escalate=True
    )
    world.restart()
    world.compensates = False
    await rejected(world)

    await world.duties.run_due()

    assert await failures(world) == []
    assert len(await world.letters()) == 1
    [told] = world.webhooks.told
    assert told.compensation_reason == "client logic returned empty response"


@pytest.mark.spec("COMP-11", "PM-12")
async def test_a_source_without_handler_has_the_consequences_at_once(world):
    source = Cover("nobody", ORDER, correlation_id="c-1")
    await rejected(world, origin=replace(ORIGIN, source=source, component="pm:fulfilment"))

    await world.duties.run_due()

    [failed] = await failures(world)
    reason = "gRPC error: No aggregate registered for domain: nobody"
    assert failed.compensation_failure_reason == reason
    assert failed.saga_name == "fulfilment"
    assert await world.open() == []


@pytest.mark.spec("COMPAT-13", "SYNC-9")
async def test_a_compensation_that_nobody_takes_has_the_consequences_too(world):
    answering(world, RemoteError("UNIMPLEMENTED", "what?"), "shipment")
    await compensated(world)

    await world.duties.run_due()

    [failed] = await failures(world)
    assert failed.rejection_reason == "Saga b failed"
    payload = failed.rejected_command.pages[0].command
    told = wire.Notification.FromString(payload.value)
    assert told.payload.type_url == GOOGLE + "Compensate"
    assert await world.open() == []


# What caused it


async def _pending(world, cascade_id="X"):
    await world.send("more=1", cascade_id=cascade_id, mode=0)
    return replace(ORIGIN, source_seq=1)


@pytest.mark.spec("COMP-12")
@pytest.mark.parametrize("is_resolved", [True, False])
async def test_a_rolled_back_cause_is_not_notified(world, is_resolved):
    origin = await _pending(world)
    await rejected(world, origin=origin)
    await world.events.decide_cascade("X", "ROLLBACK", "no")
    if is_resolved:
        await world.events.resolve_cascade(SOURCE, "X")

    await world.duties.run_due()

    assert world.told() == []
    assert await world.open() == []


@pytest.mark.spec("COMP-12")
async def test_a_committed_cause_is_notified(world):
    origin = await _pending(world)
    await rejected(world, origin=origin)
    await world.events.decide_cascade("X", "COMMIT")
    await world.events.resolve_cascade(SOURCE, "X")

    await world.duties.run_due()

    assert len(world.told()) == 1


@pytest.mark.spec("COMP-12")
async def test_an_undecided_cause_is_waited_for_and_costs_no_attempt(world):
    """The source would be told of a command that its rollback undoes, or not see the event."""
    origin = await _pending(world)
    await rejected(world, origin=origin)

    for _ in range(20):
        await world.duties.run_due()
        world.clock.set(await world.real.obligations.next_due())
    early = world.told()
    await world.events.decide_cascade("X", "COMMIT")
    await world.duties.run_due()

    assert early == []
    [asked] = world.handlers["order"].seen[1:]
    told = wire.Notification.FromString(asked.command.pages[0].command.value)
    assert told.metadata["attempt"] == "1"


@pytest.mark.spec("COMP-12")
async def test_the_waits_for_a_decision_grow_up_to_a_minute(world):
    origin = await _pending(world)
    await rejected(world, origin=origin)
    due = [world.clock.now_ns()]

    for _ in range(16):
        await world.duties.run_due()
        due.append(await world.real.obligations.next_due())
        world.clock.set(due[-1])

    waits = [(later - earlier) / NS_PER_S for earlier, later in itertools.pairwise(due)]
    assert waits[:4] == [0.1, 0.1, 0.2, 0.4]
    assert waits[-1] == 60.0


@pytest.mark.spec("COMP-12")
async def test_a_cause_that_was_deleted_with_its_edition_is_not_notified(world):
    """Its notification would have begun the deleted branch anew."""
    await world.send(mode=0, edition="what-if")
    origin = replace(ORIGIN, source=SOURCE.on("what-if"), source_seq=1)
    await rejected(world, origin=origin)
    await world.events.delete_edition("order", "what-if")

    await world.duties.run_due()

    assert world.told() == []
    assert await world.open() == []


async def test_a_store_that_cannot_tell_of_the_cause_is_asked_again(world):
    await rejected(world)
    world.events.faults["load"] = StoreUnavailable("data", "disk full")

    await world.duties.run_due()
    world.events.faults.clear()
    await world.settle()

    assert len(world.told()) == 1


# Sagas and process managers that are asked themselves


class Asked:
    """A saga's or process manager's own say. answer: what it says, or raises."""

    def __init__(self, answer):
        self.answer = answer
        self.seen = []

    async def make_up(self, notification, rejected, context):
        self.seen.append((wire.Notification.FromString(notification), rejected, context))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def compensate(self, command, context):
        self.seen.append((command, context))
        return self.answer


def ask_saga(world, answer):
    saga = Asked(answer)
    world.duties.add(world.notifications.add_saga("saga:shipping", saga))
    return saga


@pytest.mark.spec("COMP-13")
async def test_a_saga_that_makes_up_for_it_is_asked_in_place_of_the_source(world):
    saga = ask_saga(world, True)
    command = await rejected(world)

    await world.duties.run_due()

    [(told, origin, context)] = saga.seen
    payload = wire.RejectionNotification.FromString(told.payload.value)
    assert payload.rejected_command == command
    assert told.metadata["attempt"] == "1"
    assert origin == ORIGIN
    assert context.deadline_ns is not None
    assert world.told() == []
    assert await world.open() == []


@pytest.mark.spec("COMP-13")
async def test_a_saga_without_an_answer_leaves_it_to_the_source(world):
    ask_saga(world, False)
    await rejected(world)

    await world.duties.run_due()

    assert len(world.told()) == 1


@pytest.mark.spec("COMP-13")
async def test_other_sagas_are_not_asked(world):
    saga = ask_saga(world, True)
    await rejected(world, origin=replace(ORIGIN, component="saga:billing"))

    await world.duties.run_due()

    assert saga.seen == []
    assert len(world.told()) == 1


@pytest.mark.spec("COMP-13")
async def test_only_a_process_that_has_the_saga_takes_its_rejections(world):
    """Another one, with the same store, would notify the source without asking the saga."""
    ask_saga(world, True)
    await rejected(world)

    world.restart()

    assert await world.duties.run_due() == 0
    assert await world.open() == ["rejection:saga:shipping"]


@pytest.mark.spec("COMP-13", "COMP-4")
@pytest.mark.parametrize("error", [RemoteError("UNAVAILABLE", "x"), SequenceConflict(SOURCE, 1, 2)])
async def test_a_saga_that_did_not_get_through_is_asked_again(world, error):
    saga = ask_saga(world, error)
    await rejected(world)
    await world.duties.run_due()
    saga.answer = True

    await world.settle()

    attempts = [told.metadata["attempt"] for told, _, _ in saga.seen]
    assert attempts == ["1", "2"]
    assert world.told() == []


@pytest.mark.spec("COMP-13", "COMP-6")
async def test_a_refused_command_that_makes_up_is_a_dead_letter_at_once(world):
    saga = ask_saga(world, CommandRejected("refund refused"))
    await rejected(world)

    await world.duties.run_due()

    [letter] = await world.letters()
    assert dict(letter.metadata) == {"attempts": "1", "last_error": "refund refused"}
    assert letter.cover.domain == "order"
    assert len(saga.seen) == 1
    assert await world.open() == []


@pytest.mark.spec("COMP-13", "COMP-6")
async def test_a_saga_that_never_gets_through_is_a_dead_letter_when_the_budget_ends(world):
    saga = ask_saga(world, RemoteError("UNAVAILABLE", "away"))
    await rejected(world)

    await world.settle()

    [letter] = await world.letters()
    assert len(saga.seen) == 10
    assert letter.metadata["attempts"] == "10"


@pytest.mark.spec("COMP-13", "COMP-12")
async def test_a_saga_is_not_asked_about_what_was_rolled_back(world):
    saga = ask_saga(world, True)
    origin = await _pending(world)
    await rejected(world, origin=origin)
    await world.events.decide_cascade("X", "ROLLBACK", "no")

    await world.duties.run_due()

    assert saga.seen == []


@pytest.mark.spec("PM-12")
async def test_a_process_manager_is_asked_at_its_own_stream(world):
    manager = Asked(response("undone=1").SerializeToString())
    world.duties.add(world.notifications.add_process_manager("pm:fulfilment", manager))
    source = Cover("fulfilment", ORDER, correlation_id="c-1")
    origin = replace(ORIGIN, component="pm:fulfilment", source=source)
    await rejected(world, origin=origin)

    await world.duties.run_due()

    [(command, context)] = manager.seen
    assert books.cover_of(command.cover) == source
    assert command.pages[0].command.type_url == GOOGLE + "Notification"
    assert context.metadata[METADATA] == encoded(replace(origin, kind=REJECTION))
    assert await world.open() == []


@pytest.mark.spec("PM-12", "COMP-8")
async def test_a_process_manager_may_answer_with_flags(world):
    flags = wire.BusinessResponse(revocation=REVOKE(send_to_dead_letter_queue=True))
    manager = Asked(flags.SerializeToString())
    world.duties.add(world.notifications.add_process_manager("pm:fulfilment", manager))
    await rejected(world, origin=replace(ORIGIN, component="pm:fulfilment"))

    await world.duties.run_due()

    assert len(await world.letters()) == 1


@pytest.mark.spec("PM-12")
async def test_without_a_say_of_its_own_the_command_handler_of_its_domain_is_told(world):
    manager = Asked(None)
    world.duties.add(world.notifications.add_process_manager("pm:fulfilment", manager))
    await rejected(world, origin=replace(ORIGIN, component="pm:fulfilment"))

    await world.duties.run_due()

    assert len(manager.seen) == 1
    assert len(world.told()) == 1
