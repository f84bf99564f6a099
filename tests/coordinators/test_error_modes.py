"""The four error modes of CASCADE requests, row by row of the table (SYNC-6, SYNC-7)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr import wire
from angzarr.coordinators import books
from angzarr.cover import Cover
from angzarr.errors import (
    CommandRejected,
    HandlerFailed,
    ReactionFailed,
    RemoteError,
    StoreUnavailable,
    TooLarge,
    UnknownDomain,
)
from angzarr.rpc import status

from .syncing import ORDER, PARCEL, World

FAIL_FAST = wire.CASCADE_ERROR_FAIL_FAST
CONTINUE = wire.CASCADE_ERROR_CONTINUE
COMPENSATE = wire.CASCADE_ERROR_COMPENSATE
DEAD_LETTER = wire.CASCADE_ERROR_DEAD_LETTER
MODES = {
    "FAIL_FAST": FAIL_FAST,
    "CONTINUE": CONTINUE,
    "COMPENSATE": COMPENSATE,
    "DEAD_LETTER": DEAD_LETTER,
}
FAILING = (FAIL_FAST, COMPENSATE)

HANDLER, REJECTED, PARKED, FACT = "handler failure", "rejected", "parked", "failing fact"
CASES = {
    HANDLER: ("no trucks", "FAILED_PRECONDITION"),
    REJECTED: ("no room", "FAILED_PRECONDITION"),
    PARKED: (
        "Sequence mismatch: command expects 77, aggregate at 0. Sent to DLQ for manual review.",
        "ABORTED",
    ),
    FACT: ("No aggregate registered for domain: nowhere", "NOT_FOUND"),
}
"""What makes a reaction fail: the reason, and the code that it has."""

modes = pytest.mark.parametrize("errors", MODES.values(), ids=MODES)
cases = pytest.mark.parametrize("case", CASES)
kinds = pytest.mark.parametrize("kind", ["saga", "process_manager"])


@pytest.fixture
async def world():
    made = World()
    made.refused["refused=1"] = CommandRejected("no room")
    yield made
    await made.close()


def failing(world, case, kind="saga"):
    """A reaction that fails as the case says, after it has executed a command."""
    add = world.saga if kind == "saga" else world.manager
    name = f"{kind}:failing"
    match case:
        case "handler failure":
            return add(name, failure=CommandRejected("no trucks"))
        case "rejected":
            return add(name, commands=[("ledger", "booked=1"), ("shipment", "refused=1")])
        case "parked":
            return add(name, commands=[("shipment", "ship=1")], parks=True)
        case _:
            return add(name, facts=[("nowhere", "known=1")])


async def outcome(world, errors, **options):
    """The response, or the error."""
    [found] = await asyncio.gather(world.send(errors=errors, **options), return_exceptions=True)
    return found


@modes
@cases
@kinds
@pytest.mark.spec("SYNC-6")
async def test_the_request_fails_or_not(world, errors, case, kind):
    failing(world, case, kind)
    reason, code = CASES[case]

    found = await outcome(world, errors)

    if errors in FAILING:
        label = "Saga" if kind == "saga" else "Process manager"
        assert isinstance(found, ReactionFailed)
        assert str(found) == f"{label} failing failed: {reason}"
        assert status.status_of(found).code.name == code
    else:
        assert [page.event.value for page in found.events.pages] == [b"paid=1"]


@modes
@cases
@kinds
@pytest.mark.spec("SYNC-6")
async def test_failures_are_listed_by_continue_alone(world, errors, case, kind):
    failing(world, case, kind)
    reason, _ = CASES[case]

    found = await outcome(world, errors)

    listed = [] if errors in FAILING else list(found.cascade_errors)
    wanted = wire.CascadeError(
        component_name="failing", component_type=kind, error_message=reason, source_domain="order"
    )
    assert listed == ([wanted] if errors == CONTINUE else [])


@modes
@cases
@pytest.mark.spec("SYNC-6", "SYNC-3")
async def test_other_reactions_run_or_are_left(world, errors, case):
    before = world.saga("saga:before", commands=[("ledger", "before=1")])
    failing(world, case)
    after = world.saga("saga:after", commands=[("ledger", "after=1")])
    manager = world.manager("process_manager:after", commands=[("ledger", "managed=1")])

    await outcome(world, errors)

    is_stopped = errors in FAILING
    assert (len(before.seen), len(after.seen), len(manager.seen)) == (
        (1, 0, 0) if is_stopped else (1, 1, 1)
    )
    ledger = await world.values("ledger")
    assert "before=1" in ledger  # executed ones keep their effects
    assert ("after=1" in ledger) == (not is_stopped)


@modes
@cases
@pytest.mark.spec("SYNC-3", "SYNC-6")
async def test_the_log_does_what_was_left_and_nothing_twice(world, errors, case):
    failed = failing(world, case)
    after = world.saga("saga:after", commands=[("ledger", "after=1")])
    await outcome(world, errors)
    failed.failure = None

    await world.deliver()

    is_left = errors == FAIL_FAST
    is_retried = case in (HANDLER, FACT) and errors in (FAIL_FAST, CONTINUE)
    assert len(after.seen) == (0 if errors == COMPENSATE else 1)
    assert ("after=1" in await world.values("ledger")) == (is_left or errors not in FAILING)
    assert len(failed.seen) == 1 + is_retried


@modes
@cases
@pytest.mark.spec("SYNC-6")
async def test_what_was_executed_is_compensated_by_compensate_alone(world, errors, case):
    world.saga("saga:before", commands=[("ledger", "before=1"), ("ledger", "before=2")])
    failing(world, case)
    world.saga("saga:after", commands=[("shipment", "after=1")])

    await outcome(world, errors)
    recorded = (await world.open()).count("compensate")
    await world.settle()

    reason, _ = CASES[case]
    told = [*world.told("ledger"), *world.told("shipment")]
    compensated = {
        (item.target.domain, tuple(item.sequences), item.reason)
        for item in told
        if isinstance(item, wire.Compensate)
    }
    wanted = {("ledger", (0,), reason), ("ledger", (1,), reason)}
    if case == REJECTED:
        wanted |= {("ledger", (2,), reason)}  # the failing reaction's other command
    assert compensated == (wanted if errors == COMPENSATE else set())
    assert recorded == len(compensated)


@modes
@cases
@pytest.mark.spec("SYNC-6", "DLQ-1", "DLQ-2")
async def test_dead_letters_are_written_by_dead_letter_alone(world, errors, case):
    failing(world, case)
    reason, _ = CASES[case]

    await outcome(world, errors)

    found = await world.letters()
    if case == PARKED:  # which has its letter in every mode, and no second one
        assert [letter.source_component_type for letter in found] == ["aggregate"]
        return
    assert len(found) == (errors == DEAD_LETTER)
    for letter in found:
        assert (letter.source_component, letter.source_component_type) == ("saga:failing", "saga")
        assert letter.occurred_at == books.timestamp(world.clock.now_ns())
        if case == REJECTED:
            assert letter.cover.domain == "shipment"
            assert letter.rejected_command.pages[0].command.value == b"refused=1"
            assert letter.rejection_reason == reason
            assert letter.event_processing_failed.error == reason
        else:
            assert letter.cover.domain == "order"
            assert [page.event.value for page in letter.rejected_events.pages] == [b"paid=1"]
            text = f"Event processing failed after 1 attempts: {reason}"
            assert letter.rejection_reason == text
            assert letter.event_processing_failed == wire.EventProcessingFailedDetails(error=reason)


@pytest.mark.spec("SYNC-6", "DLQ-2")
async def test_a_process_managers_dead_letter_names_it(world):
    failing(world, REJECTED, "process_manager")

    await outcome(world, DEAD_LETTER)

    [letter] = await world.letters()
    assert letter.source_component == "process_manager:failing"
    assert letter.source_component_type == "process_manager"


@modes
@cases
@pytest.mark.spec("SYNC-7", "COMP-1", "COMP-4")
async def test_each_rejection_is_notified_in_every_mode(world, errors, case):
    failing(world, case)

    await outcome(world, errors)
    await world.settle()

    told = [item for item in world.told() if isinstance(item, wire.RejectionNotification)]
    assert [item.rejection_reason for item in told] == (["no room"] if case == REJECTED else [])
    events = await world.values()
    assert events == ["paid=1", "RejectionNotification=1"][: 2 if case == REJECTED else 1]


@modes
@cases
@pytest.mark.spec("SYNC-7")
async def test_the_originating_events_stay_stored_and_visible(world, errors, case):
    failing(world, case)

    await outcome(world, errors)

    [entry, *_] = await world.real.events.tail(0)
    assert wire.EventBook.FromString(entry.book).pages[0].event.value == b"paid=1"


@modes
@pytest.mark.spec("COMP-3", "SYNC-6")
@pytest.mark.parametrize("fault", [StoreUnavailable("data", "full"), TooLarge("x", "1", 2)])
async def test_what_cannot_be_recorded_fails_the_request_and_is_not_delivered(world, errors, fault):
    saga = failing(world, REJECTED)
    world.obligations.faults["put"] = fault

    found = await outcome(world, errors)
    await world.settle()

    assert isinstance(found, StoreUnavailable)
    assert world.told() == []
    world.obligations.faults.clear()
    await world.deliver()
    await world.settle()
    assert len(saga.seen) == 2
    assert len(world.told()) == 1


# COMPENSATE


@pytest.mark.spec("SYNC-6", "COMP-3")
async def test_compensations_are_durable_before_the_answer(world):
    world.saga("saga:before", commands=[("ledger", "before=1")])
    failing(world, HANDLER)

    await outcome(world, COMPENSATE)
    world.restart()
    await world.settle()

    assert await world.values("ledger") == ["before=1", "Compensate=1"]


@pytest.mark.spec("SYNC-6", "COMP-3")
@pytest.mark.parametrize("fault", ["obligations", "log"])
async def test_compensations_that_cannot_be_recorded_fail_the_request(world, fault):
    world.saga("saga:before", commands=[("ledger", "before=1")])
    failing(world, HANDLER)
    failure = StoreUnavailable("data", "disk full")
    if fault == "log":
        world.log.failure = failure
    else:
        world.obligations.faults["put"] = failure

    assert isinstance(await outcome(world, COMPENSATE), StoreUnavailable)


@pytest.mark.spec("SYNC-6")
async def test_a_command_that_wrote_nothing_is_not_compensated(world):
    world.handlers["ledger"].answer = wire.BusinessResponse()
    world.saga("saga:before", commands=[("ledger", "before=1")])
    failing(world, HANDLER)

    await outcome(world, COMPENSATE)

    assert await world.open() == []


@pytest.mark.spec("SYNC-6")
async def test_all_pages_of_a_command_are_named(world):
    answer = world.handlers["ledger"].answer
    world.handlers["ledger"].answer = lambda asked: (
        answer(asked)
        if asked.command.pages[0].command.type_url.startswith("type.googleapis.com/angzarr.")
        else two_events()
    )
    world.saga("saga:before", commands=[("ledger", "before=1")])
    failing(world, HANDLER)

    await outcome(world, COMPENSATE)
    await world.settle()

    assert [list(item.sequences) for item in world.told("ledger")] == [[0, 1]]


def two_events():
    made = wire.BusinessResponse()
    for _ in range(2):
        made.events.pages.add().event.type_url = "type.googleapis.com/test.Set"
    return made


@pytest.mark.spec("SYNC-6", "SYNC-3")
async def test_after_compensate_no_reaction_runs_again_not_even_those_that_never_ran(world):
    before = world.saga("saga:before", commands=[("ledger", "before=1")])
    failed = failing(world, HANDLER)
    after = world.saga("saga:after")

    await outcome(world, COMPENSATE)
    world.restart()
    await world.deliver()

    assert [len(saga.seen) for saga in (before, failed, after)] == [1, 1, 0]


@pytest.mark.spec("SYNC-6")
async def test_a_command_that_is_repeated_is_compensated_once(world):
    world.saga("saga:before", commands=[("ledger", "before=1")])
    failing(world, HANDLER)
    await outcome(world, COMPENSATE)
    await world.settle()
    [book] = [e.book for e in await world.real.events.tail(0) if b"paid=1" in e.book]

    async with world.sync.begin(
        Cover("order", ORDER, correlation_id="c-1"),
        sync_mode=wire.SYNC_MODE_CASCADE,
        cascade_error_mode=COMPENSATE,
        cascade_id="",
        context=world.sagas[0].flows[0].context,
    ) as work:
        with pytest.raises(ReactionFailed):
            await work.run(book)
    await world.settle()

    assert await world.values("ledger") == ["before=1", "Compensate=1"]


# Cascades within cascades


@modes
@pytest.mark.spec("SYNC-6", "SYNC-1")
async def test_a_failure_within_the_cascade_reaches_the_root(world, errors):
    world.saga("saga:outer", commands=[("ledger", "booked=1")])
    world.saga("saga:inner", domain="ledger", commands=[("shipment", "refused=1")])

    found = await outcome(world, errors)

    if errors in FAILING:
        assert str(found) == "Saga outer failed: Saga inner failed: no room"
        assert status.status_of(found).code.name == "FAILED_PRECONDITION"
    else:
        names = [(e.component_name, e.source_domain) for e in found.cascade_errors]
        assert names == ([("inner", "ledger")] if errors == CONTINUE else [])


@modes
@pytest.mark.spec("SYNC-6", "COMP-1")
async def test_a_command_that_was_accepted_is_not_taken_for_rejected(world, errors):
    """Its answer is an error; but what failed is what followed from it."""
    world.saga("saga:outer", commands=[("ledger", "booked=1")])
    world.saga("saga:inner", domain="ledger", commands=[("shipment", "refused=1")])

    await outcome(world, errors)
    await world.settle()

    assert world.told("order") == []
    rejections = [i for i in world.told("ledger") if isinstance(i, wire.RejectionNotification)]
    assert len(rejections) == 1


@pytest.mark.spec("SYNC-6")
async def test_compensate_undoes_the_command_whose_followers_failed(world):
    world.saga("saga:outer", commands=[("ledger", "booked=1")])
    world.saga("saga:inner", domain="ledger", failure=HandlerFailed("saga:inner", "boom"))

    await outcome(world, COMPENSATE)
    await world.settle()

    assert await world.values("ledger") == ["booked=1", "Compensate=1"]


@pytest.mark.spec("SYNC-6", "WIRE-10")
async def test_the_error_tells_what_was_stored(world):
    failing(world, HANDLER)
    await world.send("first=1", errors=CONTINUE)

    found = await outcome(world, FAIL_FAST)

    stored = wire.EventBook.FromString(found.book)
    assert books.cover_of(stored.cover) == Cover("order", ORDER, correlation_id="c-1")
    assert [page.header.sequence for page in stored.pages] == [1]
    assert stored.next_sequence == 2
    assert not stored.pages[0].HasField("event")


# What reactions raise


@pytest.mark.spec("SYNC-6")
async def test_a_reaction_that_raises_has_failed(world):
    saga = world.saga()

    async def react(book, flow):
        raise UnknownDomain("elsewhere")

    saga.react = react

    found = await outcome(world, FAIL_FAST)

    assert str(found) == "Saga shipping failed: No aggregate registered for domain: elsewhere"


@pytest.mark.spec("COMP-3")
@modes
async def test_a_reaction_whose_store_is_gone_fails_the_request_unavailable(world, errors):
    saga = world.saga()

    async def react(book, flow):
        raise StoreUnavailable("data", "disk full")

    saga.react = react

    assert isinstance(await outcome(world, errors), StoreUnavailable)
    assert world.log.marked == set()


@pytest.mark.spec("SYNC-6")
async def test_several_failures_of_one_reaction_are_all_told(world):
    world.refused["refused=2"] = CommandRejected("no drivers")
    world.saga(commands=[("shipment", "refused=1"), ("shipment", "refused=2")])

    listed = await outcome(world, CONTINUE)
    await outcome(world, DEAD_LETTER)

    assert [e.error_message for e in listed.cascade_errors] == ["no room", "no drivers"]
    assert {letter.rejection_reason for letter in await world.letters()} == {
        "no room", "no drivers",
    }  # fmt: skip


@pytest.mark.spec("DLQ-5", "SYNC-6")
@pytest.mark.parametrize("fault", [StoreUnavailable("dlq", "full"), RemoteError("INTERNAL", "x")])
async def test_a_dead_letter_that_cannot_be_written_fails_the_request(world, fault):
    saga = failing(world, HANDLER)
    world.dead_letters.faults["put"] = fault

    found = await outcome(world, DEAD_LETTER)
    await world.deliver()

    assert isinstance(found, StoreUnavailable)
    assert len(saga.seen) == 2


@pytest.mark.spec("SYNC-6", "WIRE-2")
async def test_an_unknown_error_mode_is_fail_fast(world):
    failing(world, HANDLER)

    assert isinstance(await outcome(world, 9), ReactionFailed)


@pytest.mark.spec("SYNC-6")
@modes
async def test_they_apply_to_cascade_only(world, errors):
    saga = failing(world, HANDLER)

    found = await outcome(world, errors, mode=wire.SYNC_MODE_SIMPLE)

    assert [page.event.value for page in found.events.pages] == [b"paid=1"]
    assert saga.seen == []


@pytest.mark.spec("SYNC-6", "FACT-2")
async def test_a_facts_cascade_fails_fast_and_the_fact_stays(world):
    failing(world, HANDLER)

    with pytest.raises(ReactionFailed, match="Saga failing failed: no trucks"):
        await world.record("paid=1")

    assert await world.values() == ["paid=1"]


async def test_the_origin_of_a_command_is_that_of_its_reaction_where_it_is_not_told(world):
    """Coordinators elsewhere may not say it; each command needs an obligation of its own."""
    saga = world.saga("saga:before", commands=[("ledger", "a=1"), ("ledger", "b=1")])
    react = saga.react

    async def forgetful(book, flow):
        made = await react(book, flow)
        for executed in made.executed:
            object.__setattr__(executed, "provenance", None)
        return made

    saga.react = forgetful
    failing(world, HANDLER)

    await outcome(world, COMPENSATE)
    await world.settle()

    assert await world.values("ledger") == ["a=1", "b=1", "Compensate=1", "Compensate=1"]
    assert await world.values("ledger", root=PARCEL) == await world.values("ledger")
