"""Timers of sagas and process managers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from google.protobuf.any_pb2 import Any
from warehouse import (
    CREATED,
    FULFILMENT,
    HOUR,
    ROOT,
    CancelOrder,
    Done,
    Fulfilment,
    Order,
    OrderPaid,
    Remind,
    Ship,
    Shipment,
    Shipped,
    book,
    commands,
    events,
    fired,
    managed,
    reacted,
    returning,
    timer,
)

from angzarr import (
    Cancel,
    ProcessManager,
    Saga,
    Schedule,
    Send,
    Trigger,
    applies,
    codec,
    handles,
    wakes,
    wire,
)
from angzarr.cover import root_of
from angzarr.errors import CorruptData, InvalidInput

PAID = OrderPaid("Elm St 1")


@pytest.mark.spec("TIMER-1")
async def test_a_wake_up_is_a_command_to_the_system():
    saga = returning(Schedule("t", Remind(2), after=timedelta(minutes=90)))

    answer = await reacted(saga, book("order", PAID))

    scheduled = timer(answer.commands[0], wire.ScheduleTimer)
    assert (scheduled.name, scheduled.HasField("command")) == ("t", False)
    assert scheduled.due_at.ToSeconds() - 5400 == CREATED.timestamp()
    assert scheduled.payload == codec.pack(Remind(2), "returning")


@pytest.mark.spec("TIMER-1")
async def test_a_command_may_be_scheduled():
    saga = returning(Schedule("t", Send(Ship("late"), root="x", merge="strict"), at=CREATED + HOUR))

    answer = await reacted(saga, book("order", PAID))

    scheduled = timer(answer.commands[0], wire.ScheduleTimer)
    assert not scheduled.HasField("payload")
    assert scheduled.due_at.ToSeconds() - 3600 == CREATED.timestamp()
    assert commands([scheduled.command], Ship) == [Ship("late")]
    assert scheduled.command.cover.root.value == root_of("x")
    assert scheduled.command.pages[0].merge_strategy == wire.MERGE_STRICT
    assert not scheduled.command.pages[0].HasField("header")


@pytest.mark.spec("TIMER-3")
async def test_a_timer_is_cancelled_by_name():
    answer = await reacted(returning(Cancel("t")), book("order", PAID))

    assert timer(answer.commands[0], wire.CancelTimer) == wire.CancelTimer(name="t")


async def test_a_timer_that_nobody_hears_fails_for_good():
    with pytest.raises(
        InvalidInput,
        match=r"Returning\.on scheduled returning\.Ship, which no @wakes method takes: returning",
    ):
        await reacted(returning(Schedule("t", Ship(""), after=HOUR)), book("order", PAID))


async def test_a_timer_counts_from_no_event_without_a_time():
    published = book("order", PAID)
    published.pages[0].ClearField("created_at")

    with pytest.raises(InvalidInput, match="without created_at; give it at"):
        await reacted(returning(Schedule("t", Remind(), after=HOUR)), published)


class Reminding(Saga, source="order", targets=["mail"]):
    @handles
    def on(self, event: OrderPaid, at: Trigger) -> Schedule:
        return Schedule("remind", Remind(1), at=at.created_at)

    @wakes
    def remind(self, payload: Remind, at: Trigger) -> list[Send | Schedule]:
        assert (at.domain, at.root, at.sequence, at.created_at) == ("order", ROOT, 4, CREATED)
        again = Schedule("remind", Remind(payload.count + 1), after=HOUR)
        return [Send(Ship(str(payload.count))), again]


@pytest.mark.spec("TIMER-4")
async def test_a_timer_wakes_the_method_of_its_payload():
    answer = await reacted(Reminding, book("order", fired(Remind(1), "reminding"), first=4))

    assert commands(answer.commands[:1], Ship) == [Ship("1")]
    assert answer.commands[0].cover.root.value == ROOT
    again = timer(answer.commands[1], wire.ScheduleTimer)
    assert again.payload == codec.pack(Remind(2), "reminding")


@pytest.mark.spec("TIMER-4")
@pytest.mark.parametrize(("payload", "said"), [(Ship(""), r"reminding\.Ship"), (None, "no payl")])
async def test_a_wake_up_that_nobody_hears_fails_for_good(payload: object, said: str):
    with pytest.raises(
        InvalidInput,
        match=f"saga:reminding is woken by the timer 'remind' with {said}.*: reminding",
    ):
        await reacted(Reminding, book("order", fired(payload, "reminding")))


async def test_a_wake_up_that_does_not_parse_is_corrupt():
    broken = Any(type_url="type.googleapis.com/angzarr.TimerFired", value=b"\xff")

    with pytest.raises(CorruptData, match=r"angzarr\.TimerFired"):
        await reacted(Reminding, book("order", broken))


# -- of process managers


@pytest.mark.spec("TIMER-1")
async def test_a_wake_up_is_scheduled_with_a_payload_of_its_domain():
    answer = await managed(Fulfilment, book("order", PAID))

    scheduled = timer(answer.commands[1], wire.ScheduleTimer)
    assert scheduled.payload == codec.pack(Remind(1), FULFILMENT)
    assert scheduled.due_at.ToSeconds() - 3600 == CREATED.timestamp()


@pytest.mark.spec("TIMER-4")
async def test_a_timer_wakes_it_in_its_own_stream():
    places: list[Trigger] = []

    class Waking(ProcessManager, domain=FULFILMENT, sources=[Order, Shipment], targets=[Order]):
        @handles
        def on(self, event: OrderPaid | Shipped) -> None: ...

        @wakes
        def woken(self, payload: Remind, at: Trigger) -> Iterator[Done | Send]:
            places.append(at)
            yield Done()
            yield Send(CancelOrder(str(payload.count)), root=at.correlation_id)

        @applies
        def done(self, event: Done) -> None: ...

    answer = await managed(Waking, book(FULFILMENT, fired(Remind(2), FULFILMENT), first=6))

    assert events([answer.process_events], Done, domain=FULFILMENT) == [Done()]
    assert commands(answer.commands, CancelOrder) == [CancelOrder("2")]
    assert [(at.domain, at.sequence) for at in places] == [(FULFILMENT, 6)]


@pytest.mark.spec("TIMER-4")
async def test_a_process_managers_wake_up_that_nobody_hears_fails_for_good():
    trigger = book(FULFILMENT, fired(Ship(""), FULFILMENT))

    with pytest.raises(InvalidInput, match=r"_manager:fulfilment is woken .*fulfilment\.Ship"):
        await managed(Fulfilment, trigger)
