"""Flags of sources that did nothing, and SagaCompensationFailed (COMP-8, COMP-9, COMP-11)."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace

import pytest

from angzarr import wire
from angzarr.coordinators import books
from angzarr.coordinators.fallback import Failure, Flags, failure_root
from angzarr.coordinators.names import bare, full, label, type_of
from angzarr.coordinators.options import CompensationOptions
from angzarr.cover import Cover, Provenance, root_of
from angzarr.errors import RemoteError, SequenceConflict, StoreUnavailable
from angzarr.testing.clock import START_NS

from .syncing import ORDER, ORIGIN, PARCEL, SOURCE, World, answering, failures, rejected, ship

FAILED = "angzarr-saga-failures"


@pytest.fixture
async def world():
    made = World()
    await made.send(mode=0)
    yield made
    await made.close()


def flagged(world, **flags):
    """Have the source answer with these flags."""
    revocation = wire.RevocationResponse(reason="nothing to undo", **flags)
    answering(world, wire.BusinessResponse(revocation=revocation))


ALL = {
    "send_to_dead_letter_queue": True,
    "escalate": True,
    "abort": True,
    "emit_system_revocation": True,
}


@pytest.mark.spec("COMP-8", "DLQ-1", "DLQ-2")
async def test_a_dead_letter_holds_the_command_and_the_original_reason(world):
    flagged(world, send_to_dead_letter_queue=True)
    command = await rejected(world)

    await world.duties.run_due()

    [letter] = await world.letters()
    assert letter.rejected_command == command
    assert letter.cover == command.cover
    assert letter.rejection_reason == "no trucks"
    assert letter.event_processing_failed == wire.EventProcessingFailedDetails(error="no trucks")
    assert (letter.source_component, letter.source_component_type) == ("saga:shipping", "saga")
    assert letter.occurred_at == books.timestamp(START_NS)
    assert await world.open() == []


@pytest.mark.spec("COMP-8", "COMP-10")
async def test_an_escalation_tells_what_happened(world):
    flagged(world, escalate=True)
    await rejected(world)

    await world.duties.run_due()

    [told] = world.webhooks.told
    assert told.source_domain == "order"
    assert told.source_root_id == ORDER.hex()
    assert told.source_seq == 0
    assert told.rejection_reason == "no trucks"
    assert told.compensation_reason == "nothing to undo"
    assert told.correlation_id == "c-1"
    assert told.occurred_at == "2026-01-01T00:00:00.000000000Z"


@pytest.mark.spec("COMP-8", "COMP-9")
async def test_a_system_revocation_is_stored_with_all_fields(world):
    flagged(world, emit_system_revocation=True)
    command = await rejected(world)

    await world.duties.run_due()

    [failed] = await failures(world)
    assert books.cover_of(failed.triggering_aggregate) == SOURCE
    assert failed.triggering_event_sequence == 0
    assert failed.saga_name == "shipping"
    assert failed.rejection_reason == "no trucks"
    assert failed.compensation_failure_reason == "nothing to undo"
    assert failed.rejected_command == command
    assert failed.occurred_at == books.timestamp(START_NS)


@pytest.mark.spec("COMP-9")
async def test_the_failure_is_a_fact_at_a_root_of_its_own(world):
    flagged(world, emit_system_revocation=True)
    command = await rejected(world)

    await world.duties.run_due()

    parts = (
        b"order", ORDER, bytes(4), command.SerializeToString(deterministic=True), b"no trucks",
    )  # fmt: skip
    digest = hashlib.sha256(b"".join(len(p).to_bytes(4, "big") + p for p in parts)).digest()
    stored = await world.real.events.load(Cover(FAILED, digest[:16]))
    [page] = wire.EventBook.FromString(stored.data).pages
    assert (page.committed, page.created_at) == (True, books.timestamp(START_NS))
    [published] = [
        book
        for entry in await world.real.events.tail(0)
        if (book := wire.EventBook.FromString(entry.book)).cover.domain == FAILED
    ]
    assert published.cover.correlation_id == "c-1"


@pytest.mark.spec("COMP-9")
@pytest.mark.parametrize(
    "other",
    [
        {"provenance": replace(ORIGIN, source=Cover("offer", ORDER))},
        {"provenance": replace(ORIGIN, source=Cover("order", PARCEL))},
        {"provenance": replace(ORIGIN, source_seq=1)},
        {"command": ship("ship=2")},
        {"reason": "no drivers"},
    ],
)
def test_each_part_of_a_failure_counts_for_its_root(other):
    failure = Failure(ship(), ORIGIN, "no trucks")

    assert failure_root(replace(failure, **other)) != failure_root(failure)
    assert failure_root(replace(failure)) == failure_root(failure)


@pytest.mark.spec("COMP-9")
async def test_repeated_failures_of_one_command_are_one_event(world):
    flagged(world, emit_system_revocation=True)
    for _ in range(3):
        await rejected(world)
        await world.duties.run_due()
        world.clock.advance(1)

    assert len(await failures(world)) == 1


@pytest.mark.spec("COMP-9")
async def test_failures_on_a_branch_are_stored_on_the_branch(world):
    await world.send(mode=0, edition="what-if")
    flagged(world, emit_system_revocation=True)
    await rejected(world, origin=replace(ORIGIN, source=SOURCE.on("what-if"), source_seq=1))

    await world.duties.run_due()

    assert await world.real.events.editions(FAILED) == ["what-if"]


@pytest.mark.spec("COMP-9")
async def test_the_domain_of_failures_is_configurable(world):
    world.options = CompensationOptions(fallback_domain="mishaps")
    world.restart()
    flagged(world, emit_system_revocation=True)
    await rejected(world)

    await world.duties.run_due()

    assert await world.real.events.domains() == ["mishaps", "order"]


@pytest.mark.spec("COMP-9")
async def test_another_writer_at_that_root_is_no_obstacle(world):
    flagged(world, emit_system_revocation=True)
    conflicts = [SequenceConflict(SOURCE, 0, 1)]

    async def append(real, cover, *args, **options):
        if cover.domain == FAILED and conflicts:
            raise conflicts.pop()
        return await real(cover, *args, **options)

    world.events.faults["append"] = append
    await rejected(world)

    await world.duties.run_due()

    assert len(await failures(world)) == 1


@pytest.mark.spec("COMP-8")
async def test_the_flags_are_carried_out_in_order(world):
    flagged(world, **{**ALL, "abort": False})
    order = []

    async def put(real, *args):
        order.append("dead letter")
        return await real(*args)

    async def append(real, cover, *args, **options):
        order.append(cover.domain)
        return await real(cover, *args, **options)

    async def escalate(_):
        order.append("escalation")

    world.dead_letters.faults["put"] = put
    world.webhooks.escalate = escalate
    world.events.faults["append"] = append
    await rejected(world)

    await world.duties.run_due()

    # The first append is that of the source's answer.
    assert order == ["order", "dead letter", "escalation", FAILED]


@pytest.mark.spec("COMP-8")
async def test_abort_stops_before_the_system_revocation(world, caplog):
    flagged(world, **ALL)
    await rejected(world)

    with caplog.at_level(logging.ERROR):
        await world.duties.run_due()

    assert "Compensation aborted: nothing to undo" in caplog.text
    assert len(await world.letters()) == 1
    assert len(world.webhooks.told) == 1
    assert await failures(world) == []
    assert await world.open() == []


@pytest.mark.spec("COMP-8")
async def test_without_a_flag_it_is_declined_logged_and_closed(world, caplog):
    flagged(world)
    await rejected(world)

    with caplog.at_level(logging.WARNING):
        await world.duties.run_due()

    assert "compensation declined: nothing to undo" in caplog.text
    assert await world.letters() == []
    assert world.webhooks.told == []
    assert await failures(world) == []
    assert await world.open() == []


@pytest.mark.spec("COMP-8")
async def test_a_failed_dead_letter_does_not_stop_the_rest_and_is_written_later(world, caplog):
    flagged(world, **{**ALL, "abort": False})
    world.dead_letters.faults["put"] = StoreUnavailable("dead letters", "full")
    await rejected(world)

    with caplog.at_level(logging.ERROR):
        await world.duties.run_due()
    early = len(await failures(world)), len(world.webhooks.told), len(await world.letters())
    world.dead_letters.faults.clear()
    await world.settle()

    assert early == (1, 1, 0)
    assert "the dead letter can't be written" in caplog.text
    assert len(await world.letters()) == 1
    assert len(world.webhooks.told) == 1
    assert len(await failures(world)) == 1


@pytest.mark.spec("COMP-8", "COMP-10")
async def test_a_failed_escalation_is_logged_and_does_not_stop_the_rest(world, caplog):
    flagged(world, **{**ALL, "abort": False})
    world.webhooks.failure = RemoteError("UNAVAILABLE", "http://x answered 503")
    await rejected(world)

    with caplog.at_level(logging.ERROR):
        await world.duties.run_due()

    assert "the escalation failed: http://x answered 503" in caplog.text
    assert len(await failures(world)) == 1
    assert await world.open() == []


@pytest.mark.spec("COMP-8", "COMP-9")
async def test_a_failure_that_could_not_be_stored_is_stored_later_and_nothing_done_twice(world):
    flagged(world, **{**ALL, "abort": False})

    async def append(real, cover, *args, **options):
        if cover.domain == FAILED:
            raise StoreUnavailable("data", "disk full")
        return await real(cover, *args, **options)

    world.events.faults["append"] = append
    await rejected(world)
    await world.duties.run_due()
    early = await failures(world)
    world.events.faults.clear()
    await world.settle()

    assert early == []
    assert len(await failures(world)) == 1
    assert len(await world.letters()) == 1
    assert len(world.webhooks.told) == 1


@pytest.mark.spec("COMP-10")
async def test_without_an_address_an_escalation_is_logged(world, caplog):
    world.webhooks = None
    world.restart()
    flagged(world, escalate=True)
    await rejected(world)

    with caplog.at_level(logging.ERROR):
        await world.duties.run_due()

    assert "nobody to escalate to: nothing to undo" in caplog.text
    assert await world.open() == []


class Extra:
    """One more target of dead letters."""

    def __init__(self, failure=None):
        self.failure = failure
        self.got = []

    async def put(self, letter):
        if self.failure:
            raise self.failure
        self.got.append(wire.AngzarrDeadLetter.FromString(letter))


@pytest.mark.spec("COMP-11")
async def test_an_extra_target_gets_the_dead_letters_too(world):
    world.extra = Extra()
    world.restart()
    flagged(world, send_to_dead_letter_queue=True)
    await rejected(world)

    await world.duties.run_due()

    assert world.extra.got == await world.letters()


@pytest.mark.spec("COMP-11", "COMP-6")
async def test_an_extra_target_gets_what_was_given_up(world):
    world.extra = Extra()
    world.restart()
    answering(world, RemoteError("UNAVAILABLE", "away"))
    await rejected(world)

    await world.settle()

    assert world.extra.got == await world.letters()
    assert len(world.extra.got) == 1


@pytest.mark.spec("COMP-11")
async def test_a_failing_extra_target_keeps_nobody(world, caplog):
    world.extra = Extra(StoreUnavailable("extra", "down"))
    world.restart()
    flagged(world, send_to_dead_letter_queue=True)
    await rejected(world)

    with caplog.at_level(logging.ERROR):
        await world.duties.run_due()

    assert "the extra dead letter target failed" in caplog.text
    assert len(await world.letters()) == 1
    assert await world.open() == []


@pytest.mark.spec("COMP-8")
def test_flags_are_read_from_the_answer():
    answer = wire.RevocationResponse(reason="why", **ALL)

    assert Flags.of(answer) == Flags(
        send_to_dead_letter_queue=True,
        escalate=True,
        abort=True,
        emit_system_revocation=True,
        reason="why",
    )
    assert Flags.of(wire.RevocationResponse()) == Flags()


@pytest.mark.parametrize(
    ("component", "names"),
    [
        ("saga:shipping", ("saga", "shipping", "saga:shipping", "Saga shipping")),
        (
            "pm:fulfilment",
            ("process_manager", "fulfilment", "process_manager:fulfilment",
             "Process manager fulfilment"),
        ),
        (
            "process_manager:fulfilment",
            ("process_manager", "fulfilment", "process_manager:fulfilment",
             "Process manager fulfilment"),
        ),
    ],
)  # fmt: skip
def test_a_component_has_these_names(component, names):
    assert (type_of(component), bare(component), full(component), label(component)) == names


def test_a_failures_correlation_id_is_the_commands_or_the_sources():
    bare_command = ship(correlation_id="")
    origin = Provenance(Cover("order", root_of("x"), correlation_id="c-2"), 0, "saga:shipping")

    assert Failure(ship(), origin, "").correlation_id == "c-1"
    assert Failure(bare_command, origin, "").correlation_id == "c-2"
