"""Rounds of commands, then facts (SAGA-10, SAGA-12 to SAGA-15, SAGA-18), and what is recorded of
rejections (COMP-1, COMP-3).
"""

from __future__ import annotations

import time

import pytest

from angzarr import wire
from angzarr.coordinators.flow import Flow
from angzarr.coordinators.options import Backoff
from angzarr.coordinators.outputs import source_of
from angzarr.cover import REFUSED, Cover
from angzarr.errors import (
    CascadeConflict,
    CommandRejected,
    InvalidInput,
    Overloaded,
    ReactionUnknown,
    RemoteError,
    SequenceConflict,
    SequenceExhausted,
    SequenceMismatch,
    StorageFailed,
    StoreClosed,
    StoreUnavailable,
    UnknownDomain,
)
from angzarr.ports.components import CallContext

from .reacting import OTHER, ROOT, Script, cascade, command, deferred, fact, indexes, sends

PLAYER = Cover("player", ROOT)
MISMATCH = SequenceMismatch(PLAYER, 7, 8)
DOWN = RemoteError("UNAVAILABLE", "connection refused")


def stamped(*texts_by_domain: tuple[str, str]):
    """A handler that stamps a command a (domain, text) with the map's number."""

    def handle(asked: wire.SagaHandleRequest) -> wire.SagaResponse:
        sequences = asked.destination_sequences
        return sends(
            *(command(domain, text, at=sequences[domain]) for domain, text in texts_by_domain)
        )

    return handle


# SAGA-15's example, and SAGA-10


@pytest.mark.spec("SAGA-6", "SAGA-7", "SAGA-12", "SAGA-14", "SAGA-15")
async def test_the_example_of_the_rule(town):
    """Source order/7f seq 4; the map says {player: 7, table: 2}; player/7f is meanwhile at 8."""
    await town.fill("player", 7)
    await town.fill("table", 2)
    await town.fill("order", 4)
    script = Script(stamped(("player", "seat=1"), ("table", "seat=1")))
    saga = town.saga(script)
    book = await town.published("paid=1")
    town.road.fails("player", lambda: town.fill("player", 1))

    outcome = await saga.react(book)

    maps = [dict(asked.destination_sequences) for asked in script.seen]
    assert maps == [{"player": 7, "table": 2}, {"player": 8, "table": 3}]
    assert [item.stamps for item in town.road.to("player")] == [[7], [8]]
    assert [item.stamps for item in town.road.to("table")] == [[2]]
    assert [item.provenance.index for item in town.road.sent] == [0, 1, 0]
    assert indexes(outcome) == ([0, 1], [])
    made = [[page.header.sequence for page in item.book.pages] for item in outcome.executed]
    assert made == [[8], [2]]
    [delay_s] = town.slept
    assert 0.005 <= delay_s <= 0.010


@pytest.mark.spec("SAGA-15", "CMD-28")
async def test_a_redelivery_is_answered_from_the_destinations(town):
    saga = town.saga(Script(stamped(("player", "seat=1"), ("table", "seat=1"))))
    book = await town.published("paid=1")
    first = await saga.react(book)

    again = await saga.react(book)

    assert again == first
    assert await town.values("player") == await town.values("table") == ["seat=1"]


@pytest.mark.spec("SAGA-10")
async def test_the_example_of_two_commands_to_one_root(town):
    """Two commands to player/7f stamped 7 and 7: the first makes pages 7 and 8, the second is
    raised to 9."""
    await town.fill("player", 7)
    handle = stamped(("player", "a=1;b=1"), ("player", "c=1"))
    saga = town.saga(Script(handle))

    outcome = await saga.react(await town.published("paid=1"))

    assert [item.stamps for item in town.road.to("player")] == [[7], [9]]
    assert (await town.values("player"))[7:] == ["a=1", "b=1", "c=1"]
    assert indexes(outcome) == ([0, 1], [])
    assert town.slept == []


@pytest.mark.spec("SAGA-10")
async def test_a_third_command_is_raised_past_both(town):
    saga = town.saga(Script(stamped(("player", "a=1;b=1"), ("player", "c=1"), ("player", "d=1"))))

    await saga.react(await town.published("paid=1"))

    assert [item.stamps for item in town.road.to("player")] == [[0], [2], [3]]


@pytest.mark.spec("SAGA-8", "SAGA-10")
async def test_commands_without_header_are_raised_like_stamped_ones(town):
    saga = town.saga(Script(sends(command("player", "a=1;b=1"), command("player", "c=1"))))

    await saga.react(await town.published("paid=1"))

    assert [item.stamps for item in town.road.to("player")] == [[0], [2]]


@pytest.mark.spec("SAGA-10")
async def test_pages_that_do_not_begin_at_the_stamp_raise_nothing(town):
    def handle(asked):
        return sends(command("player", "a=1;b=1", at=0), command("player", "c=1", at=2))

    saga = town.saga(Script(handle))

    await saga.react(await town.published("paid=1"))

    assert [item.stamps for item in town.road.to("player")] == [[0], [2]]


@pytest.mark.spec("SAGA-10")
async def test_a_command_without_events_raises_nothing(town):
    saga = town.saga(Script(stamped(("player", ""), ("player", "c=1"))))

    await saga.react(await town.published("paid=1"))

    assert [item.stamps for item in town.road.to("player")] == [[0], [0]]
    assert await town.values("player") == ["c=1"]


@pytest.mark.spec("SAGA-10")
async def test_only_the_same_roots_pages_raise(town):
    books = [command("player", "a=1", at=0, root=OTHER), command("player", "b=1", at=0)]
    saga = town.saga(Script(sends(*books)))

    await saga.react(await town.published("paid=1"))

    assert [item.stamps for item in town.road.to("player")] == [[0], [0]]


@pytest.mark.spec("SAGA-8")
async def test_each_page_of_a_command_gets_its_own_number(town):
    await town.fill("player", 3, OTHER)
    saga = town.saga(Script(sends(command("player", "a=1", "b=1", root=OTHER, at=0))))

    await saga.react(await town.published("paid=1"))

    assert town.road.to("player")[0].stamps == [3, 4]


@pytest.mark.spec("SAGA-10")
async def test_each_page_of_a_raised_command_is_raised(town):
    book = command("player", "c=1", "d=1", at=0)
    book.pages[1].header.sequence = 1
    saga = town.saga(Script(sends(command("player", "a=1", at=0), book)))

    await saga.react(await town.published("paid=1"))

    assert town.road.to("player")[1].stamps == [1, 2]


@pytest.mark.spec("SAGA-9")
async def test_a_deferred_command_is_appended_at_the_head(town):
    await town.fill("player", 2)
    saga = town.saga(Script(sends(command("player", "a=1", header=deferred()))))
    book = await town.published("paid=1")

    await saga.react(book)
    await saga.react(book)

    assert (await town.values("player"))[2:] == ["a=1"]


@pytest.mark.spec("COMPAT-10", "SAGA-11", "CMD-29")
async def test_two_commands_of_one_event_to_one_root_are_two(town):
    header = deferred()
    books = [command("player", "a=1", header=header), command("player", "a=1", header=header)]
    saga = town.saga(Script(sends(*books)))

    await saga.react(await town.published("paid=1"))

    assert await town.values("player") == ["a=1", "a=1"]


# SAGA-12


@pytest.mark.spec("SAGA-12", "SAGA-13")
@pytest.mark.parametrize("error", [MISMATCH, SequenceConflict(PLAYER, 7, 8)])
async def test_ten_tries_with_growing_delays_then_it_is_rejected(town, error):
    script = Script(stamped(("player", "a=1")))
    saga = town.saga(script)
    town.road.fails("player", *[error] * 10)

    outcome = await saga.react(await town.published("paid=1"))

    assert len(script.seen) == len(town.road.to("player")) == 10
    longest = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.0]
    assert len(town.slept) == 9
    assert all(d / 2 <= s <= d for s, d in zip(town.slept, longest, strict=True))
    assert indexes(outcome) == ([], [0])
    assert outcome.failure is None
    [(book, provenance, reason)] = town.told.rejections
    assert (provenance.component, provenance.index, reason) == ("saga:shipping", 0, str(error))
    assert book.pages[0].command.value == b"a=1"


@pytest.mark.spec("SAGA-12")
@pytest.mark.parametrize(
    "error",
    [
        CascadeConflict(PLAYER, ["X"], ["a"]),
        RemoteError("ABORTED", "Cascade conflict: fields {a} locked by cascades [X]"),
        RemoteError("FAILED_PRECONDITION", "Sequence conflict: expected 7, got 8"),
    ],
)
async def test_after_a_conflict_the_handler_runs_again(town, error):
    script = Script(stamped(("player", "a=1")))
    saga = town.saga(script)
    town.road.fails("player", error)

    outcome = await saga.react(await town.published("paid=1"))

    assert len(script.seen) == 2
    assert indexes(outcome) == ([0], [])


@pytest.mark.spec("SAGA-12")
@pytest.mark.parametrize(
    "error",
    [
        DOWN,
        RemoteError("DEADLINE_EXCEEDED", "Deadline Exceeded"),
        RemoteError("CANCELLED", "stopping"),
        Overloaded("queue of aggregate:player", 1024),
        StorageFailed("persist events", "disk full"),
    ],
    ids=str,
)
async def test_what_was_not_decided_is_resent_without_the_handler(town, error):
    script = Script(stamped(("player", "a=1"), ("table", "a=1")))
    saga = town.saga(script)
    town.road.fails("player", error, error)

    outcome = await saga.react(await town.published("paid=1"))

    assert len(script.seen) == 1
    assert [item.provenance.index for item in town.road.sent] == [0, 1, 0, 0]
    assert len(town.slept) == 2
    assert indexes(outcome) == ([0, 1], [])


@pytest.mark.spec("SAGA-12")
async def test_a_resent_command_of_the_coordinators_stamp_is_stamped_anew(town):
    saga = town.saga(Script(sends(command("player", "a=1", root=OTHER))))
    town.road.fails("player", DOWN)
    town.before_sleep = lambda: town.fill("player", 2, OTHER)

    outcome = await saga.react(await town.published("paid=1"))

    assert [item.stamps for item in town.road.to("player")] == [[0], [2]]
    assert indexes(outcome) == ([0], [])


@pytest.mark.spec("SAGA-12")
async def test_both_share_one_budget(town):
    script = Script(stamped(("player", "a=1"), ("table", "a=1")))
    saga = town.saga(script)
    town.road.fails("player", *[DOWN] * 4, MISMATCH, *[DOWN] * 4, MISMATCH)

    outcome = await saga.react(await town.published("paid=1"))

    assert len(town.road.to("player")) == 10
    assert len(script.seen) == 2
    assert indexes(outcome) == ([1], [0])


@pytest.mark.spec("SAGA-12")
async def test_a_command_whose_destination_stays_away_is_not_rejected(town):
    """Its last answer may have got lost: a transfer was credited and given back, both."""
    outputs = sends(
        command("player", "a=1"), command("table", "a=1"), events=[fact("table", "b=1")]
    )
    saga = town.saga(Script(outputs))
    town.road.fails("player", *[DOWN] * 10)

    outcome = await saga.react(await town.published("paid=1"))

    assert outcome.failure is DOWN
    assert indexes(outcome) == ([1], [])
    assert town.told.rejections == []
    assert town.road.facts == []


@pytest.mark.spec("SAGA-12")
async def test_a_command_whose_answer_got_lost_is_executed_once(town):
    saga = town.saga(Script(stamped(("player", "a=1"))))
    book = await town.published("paid=1")

    async def executed_but_lost() -> None:
        sent = town.road.sent[-1]
        await town.commands.handle_command(sent.request.SerializeToString(), sent.context)
        raise DOWN

    town.road.fails("player", executed_but_lost, *[DOWN] * 9)
    await saga.react(book)

    outcome = await saga.react(book)

    assert indexes(outcome) == ([0], [])
    assert await town.values("player") == ["a=1"]


@pytest.mark.spec("SAGA-12", "SAGA-14")
async def test_later_commands_to_a_root_that_stays_away_are_not_sent(town):
    saga = town.saga(Script(stamped(("player", "a=1"), ("player", "b=1"))))
    town.road.fails("player", *[DOWN] * 10)

    outcome = await saga.react(await town.published("paid=1"))

    assert len(town.road.to("player")) == 10
    assert indexes(outcome) == ([], [])


@pytest.mark.spec("SAGA-12", "SYNC-6")
async def test_what_has_to_be_undone_must_not_be_unknown(town):
    saga = town.saga(Script(stamped(("player", "a=1"))))
    town.road.fails("player", *[DOWN] * 10)

    with pytest.raises(ReactionUnknown, match=r"Saga shipping .* connection refused"):
        await saga.react(
            await town.published("paid=1"), cascade(error_mode=wire.CASCADE_ERROR_COMPENSATE)
        )


@pytest.mark.spec("SAGA-12")
async def test_a_command_that_a_rerun_no_longer_makes_is_dropped(town):
    saga = town.saga(Script(stamped(("player", "a=1")), sends()))
    town.road.fails("player", MISMATCH)

    outcome = await saga.react(await town.published("paid=1"))

    assert indexes(outcome) == ([], [])
    assert town.told.rejections == []


@pytest.mark.spec("SAGA-12", "SAGA-5")
async def test_a_rerun_that_fails_fails_the_reaction(town):
    saga = town.saga(Script(stamped(("table", "a=1"), ("player", "a=1")), DOWN))
    town.road.fails("player", MISMATCH)

    outcome = await saga.react(await town.published("paid=1"))

    assert outcome.failure is DOWN
    assert indexes(outcome) == ([0], [])
    assert town.told.rejections == []


@pytest.mark.spec("SAGA-12")
async def test_a_rerun_is_checked_like_the_first_run(town):
    saga = town.saga(Script(stamped(("player", "a=1")), sends(command("nowhere", "a=1"))))
    town.road.fails("player", MISMATCH)

    outcome = await saga.react(await town.published("paid=1"))

    assert isinstance(outcome.failure, InvalidInput)


@pytest.mark.spec("SAGA-12", "SYNC-4")
async def test_a_deadline_before_the_next_round_fails_and_rejects_nothing(town):
    saga = town.saga(Script(stamped(("player", "a=1"))))
    town.road.fails("player", *[DOWN] * 10)
    soon = CallContext(deadline_ns=time.monotonic_ns())

    outcome = await saga.react(await town.published("paid=1"), cascade(context=soon))

    assert outcome.failure.code == "DEADLINE_EXCEEDED"
    assert (town.slept, town.told.rejections, outcome.refused) == ([], [], ())


@pytest.mark.spec("SAGA-12", "SYNC-6")
async def test_a_stored_command_whose_reactions_failed_is_accepted(town):
    """Were it taken for rejected, its source would be told to undo what has happened."""
    stored = wire.EventBook()
    stored.pages.add().header.sequence = 3
    nested = RemoteError(
        "FAILED_PRECONDITION",
        "Saga billing failed: no credit",
        error_kind="reaction_failed",
        details=stored.SerializeToString(),
    )
    saga = town.saga(Script(stamped(("player", "a=1"), ("table", "a=1"))))
    town.road.fails("player", nested)

    outcome = await saga.react(await town.published("paid=1"), cascade())

    assert outcome.failure is nested
    assert indexes(outcome) == ([0, 1], [])
    assert outcome.executed[0].book == stored
    assert town.told.rejections == []
    assert len(town.road.to("player")) == 1


@pytest.mark.spec("SAGA-12")
async def test_a_store_that_is_closed_decides_nothing(town):
    saga = town.saga(Script(stamped(("player", "a=1"))))
    town.road.fails("player", StoreClosed("data"))

    with pytest.raises(StoreClosed):
        await saga.react(await town.published("paid=1"))
    assert town.slept == []


@pytest.mark.spec("SAGA-12")
async def test_the_budget_is_an_option(town):
    saga = town.saga(
        Script(stamped(("player", "a=1"))), options=town.options(backoff=Backoff(0.1, 1.0, 2))
    )
    town.road.fails("player", MISMATCH, MISMATCH)

    outcome = await saga.react(await town.published("paid=1"))

    assert 0.05 <= town.slept[0] <= 0.1
    assert indexes(outcome) == ([], [0])


@pytest.mark.spec("SAGA-8", "CMD-38")
async def test_a_stamp_beyond_the_last_sequence_is_refused(town):
    saga = town.saga(Script(sends(command("player", "a=1", "b=1", root=OTHER))))
    town.events.faults |= {"next_sequence": end_at(2**32 - 1), "append": append_at_the_end}

    outcome = await saga.react(await town.published("paid=1"))

    assert isinstance(outcome.refused[0].error, SequenceExhausted)
    assert town.road.sent == []


async def append_at_the_end(real, cover, sequence, pages, **options):
    return await real(cover, 0 if cover.root == OTHER else sequence, pages, **options)


def end_at(sequence: int):
    async def next_sequence(real, cover, **options):
        return sequence if cover.root == OTHER else await real(cover, **options)

    return next_sequence


# SAGA-13, SAGA-14


@pytest.mark.spec("SAGA-13", "SAGA-14", "COMP-1")
async def test_a_business_rejection_is_final_at_once_and_siblings_go_on(town):
    town.handlers["player"].answer = CommandRejected("no funds")
    script = Script(stamped(("player", "a=1"), ("player", "b=1"), ("table", "a=1")))
    saga = town.saga(script)

    outcome = await saga.react(await town.published("paid=1"))

    assert len(script.seen) == 1
    assert indexes(outcome) == ([2], [0, 1])
    assert str(outcome.error) == "no funds"
    assert [reason for _, _, reason in town.told.rejections] == ["no funds", "no funds"]
    assert [p.index for _, p, _ in town.told.rejections] == [0, 1]


@pytest.mark.spec("SAGA-13")
async def test_failed_precondition_alone_is_a_business_rejection(town):
    script = Script(stamped(("player", "a=1")))
    saga = town.saga(script)
    town.road.fails("player", RemoteError("FAILED_PRECONDITION", "Insufficient funds"))

    outcome = await saga.react(await town.published("paid=1"))

    assert len(script.seen) == 1
    assert indexes(outcome) == ([], [0])


@pytest.mark.spec("SAGA-13", "CMD-4")
async def test_an_unknown_domain_is_a_rejection(town):
    saga = town.saga(Script(sends(command("nowhere", "a=1")), targets=()))

    outcome = await saga.react(await town.published("paid=1"))

    assert isinstance(outcome.refused[0].error, UnknownDomain)
    assert town.told.rejections[0][2] == "No aggregate registered for domain: nowhere"


@pytest.mark.spec("SAGA-13", "CMD-18")
async def test_a_parked_command_is_neither_retried_nor_notified(town):
    await town.fill("player", 3)
    book = command("player", "a=1", at=1, strategy=wire.MERGE_MANUAL)
    saga = town.saga(Script(sends(book)))
    source = await town.published("paid=1")

    outcome = await saga.react(source)

    assert [(item.index, item.is_parked) for item in outcome.refused] == [(0, True)]
    assert (town.slept, town.told.rejections) == ([], [])
    assert len(await town.letters()) == 1


@pytest.mark.spec("SAGA-13")
async def test_a_parked_command_is_not_parked_again(town):
    await town.fill("player", 3)
    book = command("player", "a=1", at=1, strategy=wire.MERGE_MANUAL)
    saga = town.saga(Script(sends(book)))
    source = await town.published("paid=1")
    await saga.react(source)

    again = await saga.react(source)

    assert again.refused[0].is_parked
    assert len(await town.letters()) == 1


@pytest.mark.spec("SAGA-14")
async def test_a_mismatch_holds_back_later_commands_to_the_same_root(town):
    script = Script(stamped(("player", "a=1"), ("player", "b=1"), ("table", "a=1")))
    saga = town.saga(script)
    town.road.fails("player", MISMATCH)

    outcome = await saga.react(await town.published("paid=1"))

    assert [item.provenance.index for item in town.road.sent] == [0, 2, 0, 1]
    assert await town.values("player") == ["a=1", "b=1"]
    assert indexes(outcome) == ([0, 1, 2], [])


@pytest.mark.spec("SAGA-14")
async def test_what_is_to_be_resent_holds_back_too(town):
    saga = town.saga(Script(stamped(("player", "a=1"), ("player", "b=1"))))
    town.road.fails("player", DOWN)

    await saga.react(await town.published("paid=1"))

    assert await town.values("player") == ["a=1", "b=1"]


@pytest.mark.spec("SAGA-14")
async def test_a_mismatch_holds_back_nobody_elses_commands(town):
    books = [command("player", "a=1", root=OTHER), command("player", "b=1")]
    saga = town.saga(Script(sends(*books)))
    town.road.fails("player", MISMATCH)

    await saga.react(await town.published("paid=1"))

    assert [item.provenance.index for item in town.road.sent] == [0, 1, 0]


@pytest.mark.spec("SAGA-13", "SAGA-14")
async def test_a_command_that_ran_out_of_tries_does_not_stop_the_next_to_its_root(town):
    saga = town.saga(Script(stamped(("player", "a=1"), ("player", "b=1"))))
    town.road.fails("player", *[MISMATCH] * 10)

    outcome = await saga.react(await town.published("paid=1"))

    assert indexes(outcome) == ([1], [0])
    assert await town.values("player") == ["b=1"]


@pytest.mark.spec("SAGA-15")
async def test_another_command_at_an_accepted_index_is_not_sent(town):
    first = stamped(("table", "a=1"), ("player", "a=1"))
    second = stamped(("table", "other=1"), ("player", "b=1"))
    saga = town.saga(Script(first, second))
    town.road.fails("player", MISMATCH)

    await saga.react(await town.published("paid=1"))

    assert await town.values("table") == ["a=1"]
    assert await town.values("player") == ["b=1"]


@pytest.mark.spec("SAGA-15")
async def test_on_redelivery_the_first_acceptance_counts(town):
    saga = town.saga(Script(stamped(("table", "a=1")), stamped(("table", "other=1"))))
    book = await town.published("paid=1")
    await saga.react(book)

    await saga.react(book)

    assert await town.values("table") == ["a=1"]


# COMP-3: what is recorded of a rejection


@pytest.mark.spec("COMP-3", "SAGA-13")
async def test_a_rejection_is_durable_on_return_and_wakes_the_worker(town):
    town.handlers["player"].answer = CommandRejected("no funds")
    saga = town.saga(Script(stamped(("player", "a=1"))))

    await saga.react(await town.published("paid=1"))

    [obligation] = await town.open()
    assert (obligation.kind, obligation.payload) == ("rejection", b"no funds")
    assert town.worker.woken == 1


@pytest.mark.spec("COMP-3", "SAGA-13", "SYNC-7")
@pytest.mark.parametrize("flow", [Flow(), cascade(), cascade(cascade_id="X")])
async def test_in_every_mode(town, flow):
    town.handlers["player"].answer = CommandRejected("no funds")
    saga = town.saga(Script(stamped(("player", "a=1"))))

    await saga.react(await town.published("paid=1"), flow)

    assert len(await town.open()) == 1


@pytest.mark.spec("COMP-3", "SAGA-13")
async def test_a_rejected_command_is_not_sent_when_the_reaction_runs_again(town):
    """It might be accepted now, and its source be told of a rejection all the same."""
    town.handlers["player"].answer = CommandRejected("no funds")
    saga = town.saga(Script(stamped(("player", "a=1"), ("table", "a=1"))))
    book = await town.published("paid=1")
    await saga.react(book)
    town.handlers["player"].answer = None
    await town.stores.obligations.close((await town.open())[0].id)

    again = await saga.react(book)

    assert indexes(again) == ([1], [0])
    assert str(again.refused[0].error) == "no funds"
    assert again.refused[0].error.code == "FAILED_PRECONDITION"
    assert await town.values("player") == []
    assert len(town.told.rejections) == 1
    assert await town.open() == []


@pytest.mark.spec("COMP-3")
async def test_the_key_of_a_rejection_lies_in_the_sources_stream_and_is_not_published(town):
    town.handlers["player"].answer = CommandRejected("no funds")
    saga = town.saga(Script(stamped(("player", "a=1"))))
    book = await town.published("paid=1")
    head = await town.events.log_head()

    await saga.react(book)

    source = town.road.sent[0].provenance.source
    cover = Cover("order", source.root.value)
    key = source_of("saga:shipping", wire.EventBook.FromString(book)).provenance(0, REFUSED)
    assert (await town.events.find_by_provenance(cover, key)).pages == ()
    assert await town.events.log_head() == head
    assert await town.values("order") == ["paid=1"]


@pytest.mark.spec("COMP-3")
@pytest.mark.parametrize(
    "error", [StoreUnavailable("data", "disk full"), Overloaded("writer queue", 4096)]
)
async def test_a_rejection_that_cannot_be_recorded_is_unavailable(town, error):
    town.handlers["player"].answer = CommandRejected("no funds")
    saga = town.saga(Script(stamped(("player", "a=1"), ("table", "a=1"))))
    book = await town.published("paid=1")
    town.events.faults["append"] = error

    with pytest.raises(StoreUnavailable):
        await saga.react(book)

    assert await town.open() == []


@pytest.mark.spec("COMP-3")
async def test_a_rejection_is_recorded_in_a_stream_that_others_write_to(town):
    town.handlers["player"].answer = CommandRejected("no funds")
    saga = town.saga(Script(stamped(("player", "a=1"))))
    book = await town.published("paid=1")
    others = [1, 2, 3]

    async def append(real, cover, expected, pages, **options):
        if others and not pages:
            others.pop()
            await town.stores.real.events.append(cover, expected, [page_of(expected)])
        return await real(cover, expected, pages, **options)

    town.events.faults["append"] = append

    await saga.react(book)

    assert others == []
    assert len(await town.open()) == 1


@pytest.mark.spec("COMP-3")
async def test_a_stream_that_never_rests_is_unavailable(town):
    town.handlers["player"].answer = CommandRejected("no funds")
    saga = town.saga(Script(stamped(("player", "a=1"))))
    book = await town.published("paid=1")
    town.events.faults["append"] = SequenceConflict(Cover("order", ROOT), 1, 2)

    with pytest.raises(StoreUnavailable):
        await saga.react(book)


def page_of(sequence: int) -> bytes:
    page = wire.EventPage(committed=True)
    page.header.sequence = sequence
    return page.SerializeToString()


# SAGA-18


@pytest.mark.spec("SAGA-18")
async def test_facts_follow_all_commands(town):
    script = Script(sends(command("player", "a=1"), events=[fact("table", "seen=1")]))
    saga = town.saga(script)
    town.road.fails("player", MISMATCH)
    order: list[str] = []
    handle_command, handle_event = town.road.handle_command, town.road.handle_event

    async def noted_command(request, context):
        order.append("command")
        return await handle_command(request, context)

    async def noted_event(request, context):
        order.append("fact")
        return await handle_event(request, context)

    town.road.handle_command, town.road.handle_event = noted_command, noted_event

    outcome = await saga.react(await town.published("paid=1"))

    assert order == ["command", "command", "fact"]
    assert await town.values("table") == ["seen=1"]
    assert indexes(outcome) == ([0], [])


@pytest.mark.spec("SAGA-18", "SAGA-11")
@pytest.mark.parametrize("flow", [Flow(), cascade(cascade_id="X")])
async def test_facts_are_injected_asynchronously_with_their_provenance(town, flow):
    saga = town.saga(Script(sends(command("player", "a=1"), events=[fact("table", "seen=1")])))

    await saga.react(await town.published("paid=1"), flow)

    [sent] = town.road.facts
    assert sent.request.sync_mode == wire.SYNC_MODE_ASYNC
    provenance = sent.provenance
    assert (provenance.component, provenance.index) == ("saga:shipping", 1)
    assert provenance.kind == wire.FACT


@pytest.mark.spec("SAGA-18")
async def test_a_rejected_command_does_not_stop_the_facts(town):
    town.handlers["player"].answer = CommandRejected("no funds")
    saga = town.saga(Script(sends(command("player", "a=1"), events=[fact("table", "seen=1")])))

    await saga.react(await town.published("paid=1"))

    assert await town.values("table") == ["seen=1"]


@pytest.mark.spec("SAGA-18")
async def test_a_fact_for_an_unknown_domain_fails_the_reaction_before_any_command(town):
    books = [fact("table", "seen=1"), fact("nowhere", "seen=1")]
    saga = town.saga(Script(sends(command("player", "a=1"), events=books), targets=()))

    outcome = await saga.react(await town.published("paid=1"))

    assert str(outcome.failure) == "Target aggregate not found: nowhere"
    assert (town.road.sent, town.road.facts) == ([], [])


@pytest.mark.spec("SAGA-18")
async def test_a_domain_that_its_coordinator_does_not_know_fails_it_with_the_same_words(town):
    saga = town.saga(Script(sends(events=[fact("table", "seen=1")])))
    town.road.fails("table", UnknownDomain("table"))

    outcome = await saga.react(await town.published("paid=1"))

    assert str(outcome.failure) == "Target aggregate not found: table"


@pytest.mark.spec("SAGA-18")
async def test_the_first_error_stops_the_remaining_facts_and_the_retry_resumes(town):
    header = fact("table", "one=1", external_id="")
    books = [header, fact("table", "two=1", external_id="2"), fact("player", "three=1")]
    saga = town.saga(Script(sends(command("player", "a=1"), events=books)))
    book = await town.published("paid=1")
    town.road.fails("table", None, DOWN)

    outcome = await saga.react(book)

    assert outcome.failure is DOWN
    assert indexes(outcome) == ([0], [])
    assert await town.values("table") == ["one=1"]
    assert (await saga.react(book)).failure is None
    assert await town.values("table") == ["one=1", "two=1"]
    assert await town.values("player") == ["a=1", "three=1"]


@pytest.mark.spec("SAGA-18", "COMP-3")
async def test_when_a_fact_fails_the_rejections_before_it_are_recorded_and_stay(town):
    town.handlers["player"].answer = CommandRejected("no funds")
    saga = town.saga(Script(sends(command("player", "a=1"), events=[fact("table", "seen=1")])))
    book = await town.published("paid=1")
    town.road.fails("table", DOWN)
    first = await saga.react(book)
    town.handlers["player"].answer = None

    again = await saga.react(book)

    assert (first.failure, again.failure) == (DOWN, None)
    assert indexes(first) == indexes(again) == ([], [0])
    assert await town.values("player") == []
    assert len(await town.open()) == 1
