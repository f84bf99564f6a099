"""Timers of sagas and process managers (TIMER-1 to TIMER-5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from angzarr import wire
from angzarr.cover import Cover, Provenance
from angzarr.errors import CommandRejected, HandlerFailed, InvalidInput, RemoteError
from angzarr.ports.event_store import Obligation
from angzarr.testing.clock import NS_PER_S

from .reacting import (
    OTHER,
    ROOT,
    STATE,
    Delivery,
    Manager,
    Script,
    cancel,
    cascade,
    command,
    decides,
    indexes,
    schedule,
    sends,
    trigger,
)

DOWN = RemoteError("UNAVAILABLE", "connection refused")


def later(town, seconds: float = 60) -> int:
    return town.clock.now_ns() + int(seconds * NS_PER_S)


def fired_in(book: wire.EventBook) -> wire.TimerFired:
    [page] = book.pages
    assert page.event.type_url == "type.googleapis.com/angzarr.TimerFired"
    return wire.TimerFired.FromString(page.event.value)


# TIMER-1, TIMER-2: scheduling


@pytest.mark.spec("TIMER-1", "TIMER-2")
async def test_a_sagas_timer_is_durable_before_the_trigger_is_acknowledged(town):
    due_ns = later(town)
    saga = town.saga(Script(sends(schedule("remind", due_ns), command("player", "a=1"))))

    outcome = await saga.react(await town.published("paid=1"))

    [timer] = await town.open()
    assert (timer.kind, timer.due_ns) == ("timer:saga:shipping", due_ns)
    assert timer.id == f"timer:saga:shipping/angzarr/order/{ROOT.hex()}/remind"
    assert town.worker.woken == 1
    assert indexes(outcome) == ([1], [])
    assert town.road.sent[0].provenance.index == 1


@pytest.mark.spec("TIMER-2")
async def test_a_pms_timer_is_in_the_write_of_its_events(town):
    manager = town.manager(Manager(decides(schedule("remind", later(town)), events=["begun=1"])))
    book = await trigger(town)
    seen: list[list[object]] = []

    async def append(real, cover, expected, pages, *, obligations=(), **options):
        seen.append([len(pages), *obligations])
        return await real(cover, expected, pages, obligations=obligations, **options)

    town.events.faults["append"] = append

    await manager.react(book)

    [[page_count, timer]] = seen
    assert page_count == 1
    assert timer.id == f"timer:pm:fulfilment/angzarr/fulfilment/{STATE.hex()}/remind"
    assert town.road.sent == []


@pytest.mark.spec("TIMER-2")
@pytest.mark.parametrize("is_manager", [False, True])
async def test_scheduling_a_name_again_replaces_the_earlier_timer(town, is_manager):
    first, second = (schedule("remind", later(town, s)) for s in (60, 120))
    if is_manager:
        reacts = town.manager(Manager(decides(first), decides(second)))
    else:
        reacts = town.saga(Script(sends(first), sends(second)))

    await reacts.react(await trigger(town))
    await reacts.react(await trigger(town))

    [timer] = await town.open()
    assert timer.due_ns == later(town, 120)


@pytest.mark.spec("TIMER-1", "TIMER-2")
async def test_names_and_streams_have_timers_of_their_own(town):
    saga = town.saga(Script(sends(schedule("a", later(town)), schedule("b", later(town)))))

    await saga.react(await town.published("paid=1"))
    await saga.react(await town.published("paid=1", root=OTHER))
    await saga.react(await town.published("paid=1", edition="what-if"))

    assert len(await town.open()) == 6


@pytest.mark.spec("TIMER-2")
async def test_in_one_reaction_the_last_of_a_name_counts(town):
    answer = decides(
        schedule("a", later(town, 1)),
        schedule("a", later(town, 2)),
        schedule("b", later(town)),
        cancel("b"),
    )

    await town.manager(Manager(answer)).react(await trigger(town))

    [timer] = await town.open()
    assert timer.due_ns == later(town, 2)


@pytest.mark.spec("TIMER-2", "COMP-3")
async def test_a_redelivery_does_not_schedule_again(town):
    """The timer may have fired since, and would fire a second time."""
    script = Script(lambda asked: sends(schedule("remind", later(town))))
    saga = town.saga(script)
    book = await town.published("paid=1")
    await saga.react(book)
    await town.stores.obligations.close((await town.open())[0].id)

    await saga.react(book)

    assert await town.open() == []


@pytest.mark.spec("TIMER-3", "COMP-3")
async def test_a_redelivered_cancel_leaves_a_later_timer_alone(town):
    saga = town.saga(
        Script(sends(cancel("a")), sends(schedule("a", later(town))), sends(cancel("a")))
    )
    first = await town.published("paid=1")
    await saga.react(first)
    await saga.react(await town.published("paid=1"))

    await saga.react(first)

    assert len(await town.open()) == 1


@pytest.mark.spec("TIMER-1", "SAGA-17")
async def test_a_malformed_timer_fails_the_reaction_before_anything_is_sent(town):
    saga = town.saga(Script(sends(command("player", "a=1"), schedule("no name", 1))))

    outcome = await saga.react(await town.published("paid=1"))

    assert isinstance(outcome.failure, InvalidInput)
    assert (town.road.sent, await town.open()) == ([], [])


# TIMER-3


@pytest.mark.spec("TIMER-3")
@pytest.mark.parametrize("is_manager", [False, True])
async def test_a_cancelled_timer_does_not_fire(town, is_manager):
    books = schedule("remind", later(town)), cancel("remind")
    if is_manager:
        script = Manager(*(decides(book) for book in books))
        reacts = town.manager(script)
    else:
        script = Script(*(sends(book) for book in books))
        reacts = town.saga(script)
    await reacts.react(await trigger(town))

    await reacts.react(await trigger(town))
    town.clock.advance(60)

    assert await town.worker.run_due() == []
    assert len(script.seen) == 2


@pytest.mark.spec("TIMER-3")
async def test_cancelling_an_unknown_name_is_no_error(town):
    outcome = await town.saga(Script(sends(cancel("never")))).react(await town.published("paid=1"))

    assert (outcome.failure, await town.open()) == (None, [])


# TIMER-4: with a command


@pytest.mark.spec("TIMER-4", "SAGA-8", "SAGA-11", "SAGA-16")
async def test_at_its_time_the_command_is_sent_without_the_handler(town):
    script = Script(sends(schedule("late", later(town), command=command("player", "a=1"))))
    saga = town.saga(script)
    await town.published("old=1", correlation_id="c-1")
    await saga.react(await town.published("paid=1", correlation_id="c-1"))
    await town.fill("player", 2)
    town.clock.advance(59)
    assert await town.worker.run_due() == []
    town.clock.advance(1)

    await town.worker.run_due()

    assert len(script.seen) == 1
    [sent] = town.road.sent
    assert sent.stamps == [2]
    provenance = sent.provenance
    assert (provenance.component, provenance.source_seq, provenance.index) == (
        "saga:shipping",
        1,
        0,
    )
    assert provenance.source.correlation_id == sent.request.command.cover.correlation_id == "c-1"
    assert (await town.values("player"))[2:] == ["a=1"]
    assert await town.open() == []


@pytest.mark.spec("TIMER-4", "TIMER-1")
async def test_a_time_in_the_past_is_due_at_once(town):
    saga = town.saga(Script(sends(schedule("now", 5, command=command("player", "a=1")))))
    await saga.react(await town.published("paid=1"))

    await town.worker.run_due()

    assert await town.values("player") == ["a=1"]


@pytest.mark.spec("TIMER-4")
async def test_a_timer_outlives_the_process(town):
    script = Script(sends(schedule("late", later(town), command=command("player", "a=1"))))
    await town.saga(script).react(await town.published("paid=1"))
    town.clock.advance(3600)
    town.saga(Script())

    await town.worker.run_due()

    assert await town.values("player") == ["a=1"]


@pytest.mark.spec("TIMER-4", "CMD-28")
async def test_a_timer_that_fires_twice_executes_its_command_once(town):
    saga = town.saga(Script(sends(schedule("late", 5, command=command("player", "a=1")))))
    await saga.react(await town.published("paid=1"))
    [timer] = await town.open()

    await town.worker.run_due()
    await saga.duties[0].fulfil(timer)

    assert len(town.road.sent) == 2
    assert await town.values("player") == ["a=1"]


@pytest.mark.spec("TIMER-4", "SAGA-13", "COMP-1", "COMP-3")
async def test_a_rejected_command_of_a_timer_is_compensated_once(town):
    town.handlers["player"].answer = CommandRejected("no funds")
    saga = town.saga(Script(sends(schedule("late", 5, command=command("player", "a=1")))))
    await saga.react(await town.published("paid=1"))
    [timer] = await town.open()

    await town.worker.run_due()
    await saga.duties[0].fulfil(timer)

    [(_, provenance, reason)] = town.told.rejections
    assert (provenance.source.domain, provenance.source_seq, provenance.index) == ("order", 0, 0)
    assert reason == "no funds"
    assert [item.kind for item in await town.open()] == ["rejection"]


@pytest.mark.spec("TIMER-4", "PM-12")
async def test_a_rejected_command_of_a_pms_timer_goes_back_to_its_stream(town):
    town.handlers["shipment"].answer = CommandRejected("no stock")
    timer = schedule("late", 5, command=command("shipment", "a=1"))
    manager = town.manager(Manager(decides(timer, events=["begun=1"])))
    await manager.react(await trigger(town))

    await town.worker.run_due()

    [(_, provenance, _)] = town.told.rejections
    assert provenance == Provenance(Cover("fulfilment", STATE, "", "c-1"), 0, "pm:fulfilment", 0)


@pytest.mark.spec("TIMER-4", "SAGA-12")
async def test_a_mismatch_of_a_timers_command_is_stamped_anew(town):
    script = Script(sends(schedule("late", 5, command=command("player", "a=1"))))
    saga = town.saga(script)
    await saga.react(await town.published("paid=1"))
    town.road.fails("player", lambda: town.fill("player", 1))

    await town.worker.run_due()

    assert [item.stamps for item in town.road.sent] == [[0], [1]]
    assert len(script.seen) == 1


@pytest.mark.spec("TIMER-4", "SAGA-7")
async def test_a_stamp_that_the_rule_keeps_is_validated_when_it_fires(town):
    """`only if nothing has happened since`."""
    timer = schedule("late", 5, command=command("player", "a=1", at=0))
    saga = town.saga(Script(sends(timer)))
    await saga.react(await town.published("paid=1"))
    await town.fill("player", 1)

    await town.worker.run_due()

    assert {tuple(item.stamps) for item in town.road.sent} == {(0,)}
    assert [p.index for _, p, _ in town.told.rejections] == [0]


@pytest.mark.spec("TIMER-4", "SAGA-16", "EDN-12")
async def test_on_a_branch_it_stays_on_the_branch(town):
    saga = town.saga(Script(sends(schedule("late", 5, command=command("player", "a=1")))))
    await saga.react(await town.published("paid=1", edition="what-if"))

    await town.worker.run_due()

    assert await town.values("player", edition="what-if") == ["a=1"]
    assert town.road.sent[0].provenance.source.edition.name == "what-if"


# TIMER-4: without a command


@pytest.mark.spec("TIMER-4")
async def test_without_a_command_the_saga_is_woken(town):
    due_ns = later(town)
    script = Script(
        sends(schedule("remind", due_ns, payload="call")), sends(command("player", "a=1"))
    )
    saga = town.saga(script)
    await town.published("old=1", correlation_id="c-1")
    await saga.react(await town.published("paid=1", correlation_id="c-1"))
    town.clock.advance(90)

    await town.worker.run_due()

    book = script.seen[1].source
    fired = fired_in(book)
    assert (fired.name, fired.payload.value) == ("remind", b"call")
    assert fired.due_at.seconds == due_ns // NS_PER_S
    assert (book.cover.domain, book.cover.root.value) == ("order", ROOT)
    assert book.cover.correlation_id == "c-1"
    assert book.pages[0].header.sequence == 1
    assert book.pages[0].created_at.seconds == town.clock.now_ns() // NS_PER_S
    assert await town.values("player") == ["a=1"]
    assert await town.open() == []


@pytest.mark.spec("TIMER-4", "CMD-26")
async def test_what_it_does_then_is_not_taken_for_what_it_did_before(town):
    """Both have the sequence that scheduled; without the occasion the second command would be taken
    for a repeat of the first, and be lost."""
    script = Script(
        sends(command("player", "a=1"), schedule("remind", 5)), sends(command("player", "b=1"))
    )
    saga = town.saga(script)
    await saga.react(await town.published("paid=1"))

    await town.worker.run_due()

    assert await town.values("player") == ["a=1", "b=1"]
    first, second = (item.provenance for item in town.road.sent)
    assert (first.source_seq, first.index) == (second.source_seq, second.index) == (0, 0)
    assert first.occasion == b""
    assert len(second.occasion) == 16


@pytest.mark.spec("TIMER-4", "TIMER-2")
@pytest.mark.parametrize("is_manager", [False, True])
async def test_a_timer_that_is_set_again_whenever_it_fires_goes_on(town, is_manager):
    answers = sends if not is_manager else decides
    script = (Manager if is_manager else Script)(
        lambda asked: answers(
            schedule("tick", later(town)), command("order", f"t{town.clock.now_ns()}=1", root=OTHER)
        ),
        targets=("order",),
    )
    reacts = town.manager(script) if is_manager else town.saga(script)
    await reacts.react(await trigger(town))
    for _ in range(3):
        town.clock.advance(60)
        await town.worker.run_due()

    assert len(await town.values("order", OTHER)) == 4
    assert [item.due_ns for item in await town.open() if item.kind.startswith("timer")] == [
        later(town)
    ]


@pytest.mark.spec("TIMER-4", "PM-8")
async def test_a_pm_is_woken_once_for_a_name_and_time(town):
    due_ns = later(town)
    script = Manager(
        decides(schedule("remind", due_ns, payload="call"), events=["begun=1"]),
        decides(events=["reminded=1"]),
    )
    manager = town.manager(script)
    await manager.react(await trigger(town))
    [timer] = await town.open()
    town.clock.advance(60)

    await town.worker.run_due()
    await manager.duties[0].fulfil(timer)

    asked = script.seen[1]
    assert fired_in(asked.trigger).name == "remind"
    assert (asked.trigger.cover.domain, asked.trigger.cover.root.value) == ("fulfilment", STATE)
    assert asked.trigger.cover.correlation_id == "c-1"
    assert asked.trigger.pages[0].header.sequence == 0
    assert [page.event.value for page in asked.process_state.pages] == [b"begun=1"]
    assert len(script.seen) == 2
    assert await town.values("fulfilment", STATE) == ["begun=1", "reminded=1"]


@pytest.mark.spec("TIMER-4")
async def test_two_times_of_one_name_wake_a_pm_twice(town):
    script = Manager(
        decides(schedule("tick", 5), events=["begun=1"]), decides(schedule("tick", 6)), decides()
    )
    await town.manager(script).react(await trigger(town))

    await town.worker.run_due()
    await town.worker.run_due()

    times = [fired_in(asked.trigger).due_at.nanos for asked in script.seen[1:]]
    assert times == [5, 6]


@pytest.mark.spec("TIMER-4")
async def test_what_a_woken_pm_recorded_goes_on_by_itself(town):
    from .reacting import fact

    script = Manager(decides(schedule("a", 5)), decides(facts=[fact("order", "b=1", root=OTHER)]))
    await town.manager(script).react(await trigger(town))
    town.road.fails("order", DOWN)

    await town.worker.run_due()
    town.clock.advance(1)
    await town.worker.run_due()

    assert len(script.seen) == 2
    assert await town.values("order", OTHER) == ["b=1"]


@pytest.mark.spec("TIMER-4", "DLQ-3")
async def test_a_woken_sagas_failures_are_retried_and_then_a_dead_letter(town):
    bug = HandlerFailed("saga:shipping", "a bug")
    script = Script(sends(schedule("remind", 5, payload="call")), bug)
    await town.saga(script).react(await town.published("paid=1", correlation_id="c-1"))

    for _ in range(10):
        await town.worker.run_due()
        town.clock.advance(30)

    assert len(script.seen) == 11
    [letter] = await town.letters()
    assert fired_in(letter.rejected_events).name == "remind"
    assert letter.rejected_events.cover.correlation_id == "c-1"
    assert (letter.source_component, letter.source_component_type) == ("saga:shipping", "saga")
    text = "Event processing failed after 10 attempts: saga:shipping failed: a bug"
    assert letter.rejection_reason == text
    assert letter.event_processing_failed.retry_count == 9
    assert await town.open() == []


@pytest.mark.spec("TIMER-4", "DLQ-8")
@pytest.mark.parametrize("is_manager", [False, True])
async def test_the_dead_letter_of_a_woken_component_is_replayed_like_the_timer(town, is_manager):
    answers = decides if is_manager else sends
    script = (Manager if is_manager else Script)(
        answers(command("order", "a=1", root=OTHER), schedule("remind", 5)),
        InvalidInput("x", "y", "z"),
        answers(command("order", "b=1", root=OTHER)),
        targets=("order",),
    )
    reacts = town.manager(script) if is_manager else town.saga(script)
    await reacts.react(await trigger(town))
    await town.worker.run_due()
    [letter] = await town.letters()

    await reacts.deliver(Delivery(letter.rejected_events.SerializeToString()))

    assert await town.values("order", OTHER) == ["a=1", "b=1"]


@pytest.mark.spec("TIMER-4", "DLQ-3")
async def test_a_permanent_failure_is_a_dead_letter_at_once(town):
    script = Script(sends(schedule("remind", 5)), sends(command("nowhere", "a=1")))
    await town.saga(script).react(await town.published("paid=1"))

    await town.worker.run_due()

    [letter] = await town.letters()
    assert letter.event_processing_failed.retry_count == 0
    assert not letter.event_processing_failed.is_transient


@pytest.mark.spec("TIMER-4", "DLQ-2")
async def test_the_letter_of_a_timer_with_a_command_holds_the_command(town):
    saga = town.saga(Script(sends(schedule("late", 5, command=command("player", "a=1")))))
    await saga.react(await town.published("paid=1"))
    [timer] = await town.open()

    await saga.duties[0].give_up(replace(timer, attempts=10), DOWN)

    [letter] = await town.letters()
    assert letter.rejected_command.pages[0].command.value == b"a=1"
    assert letter.cover.domain == "player"


@pytest.mark.spec("TIMER-4", "DLQ-3")
def test_its_budget_is_that_of_deliveries(town):
    for duty in (*town.saga(Script()).duties, *town.manager(Manager()).duties):
        assert (duty.backoff.first_s, duty.backoff.cap_s, duty.max_attempts) == (0.1, 30.0, 10)


# TIMER-5


@pytest.mark.spec("TIMER-5")
@pytest.mark.parametrize("is_manager", [False, True])
async def test_deleting_the_edition_leaves_its_timers_without_effect(town, is_manager):
    book = schedule("late", later(town), command=command("order", "late=1", root=OTHER))
    if is_manager:
        reacts = town.manager(Manager(decides(book)))
    else:
        reacts = town.saga(Script(sends(book), targets=("order",)))
    await reacts.react(await trigger(town, edition="what-if"))
    await town.stores.real.events.delete_edition("fulfilment" if is_manager else "order", "what-if")
    town.clock.advance(60)

    await town.worker.run_due()

    assert (town.road.sent, await town.open(), await town.letters()) == ([], [], [])


@pytest.mark.spec("TIMER-5", "EDN-17")
async def test_a_later_edition_of_the_same_name_does_not_revive_them(town):
    saga = town.saga(Script(sends(schedule("late", later(town), command=command("player", "a=1")))))
    await saga.react(await town.published("paid=1", edition="what-if"))
    await town.stores.real.events.delete_edition("order", "what-if")
    await town.published("again=1", edition="what-if")
    town.clock.advance(60)

    await town.worker.run_due()

    assert (town.road.sent, await town.open()) == ([], [])


@pytest.mark.spec("TIMER-5")
@pytest.mark.parametrize("is_manager", [False, True])
@pytest.mark.parametrize(("outcome", "is_sent"), [("ROLLBACK", False), ("COMMIT", True)])
async def test_a_timer_of_a_cascade_waits_for_its_decision(town, is_manager, outcome, is_sent):
    timer = schedule("late", 5, command=command("order", "late=1", root=OTHER))
    if is_manager:
        reacts = town.manager(Manager(decides(timer, events=["begun=1"])))
    else:
        reacts = town.saga(Script(sends(timer), targets=("order",)))
    await reacts.react(await trigger(town, cascade_id="X"), cascade(cascade_id="X"))

    await town.worker.run_due()
    waited = list(town.worker.postponed)
    await town.events.decide_cascade("X", outcome)
    town.clock.advance(1)
    await town.worker.run_due()

    assert waited == ["cascade X is undecided"]
    assert await town.values("order", OTHER) == (["late=1"] if is_sent else [])
    assert await town.open() == []


async def test_kinds_tell_components_apart(town):
    """A process fires the timers of its own components only."""
    town.worker.duties.clear()
    saga = town.saga(Script())
    foreign = Obligation("timer:saga:billing/x", "timer:saga:billing", b"", 0)
    await town.stores.obligations.put(foreign)

    assert await town.worker.run_due() == []
    assert saga.duties[0].kind == "timer:saga:shipping"
