"""Sagas and process managers that hear of their own commands' refusal."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from google.protobuf.any_pb2 import Any
from warehouse import (
    CORRELATION,
    CREATED,
    FULFILMENT,
    HOUR,
    ROOT,
    CancelOrder,
    Done,
    Fulfilment,
    Order,
    OrderCancelled,
    OrderPaid,
    Recall,
    Ship,
    Shipping,
    Waiting,
    book,
    commands,
    events,
    made_up,
    refused,
    rejection,
    timer,
)

from angzarr import (
    ProcessManager,
    Record,
    Rejection,
    Revocation,
    Saga,
    Schedule,
    Send,
    applies,
    codec,
    handles,
    rejected,
    wire,
)
from angzarr.errors import HandlerFailed, InvalidInput
from angzarr.handlers import LocalProcessManager
from angzarr.ports.components import CallContext


@pytest.mark.spec("COMP-13")
async def test_a_rejected_command_is_made_up_for_at_the_source():
    answer = await made_up(Shipping, rejection(Ship("x")))

    (sent,) = answer.commands
    assert commands([sent], CancelOrder) == [CancelOrder("unknown street")]
    assert (sent.cover.domain, sent.cover.root.value) == ("order", ROOT)
    assert not sent.pages[0].HasField("header")


@pytest.mark.spec("COMP-13")
async def test_a_rejection_that_no_method_takes_is_left_to_the_source():
    assert await made_up(Shipping, rejection(Recall())) is None


@pytest.mark.spec("COMP-13")
async def test_an_empty_answer_is_no_answer():
    assert await made_up(Shipping, rejection(Ship("x"), "")) is None


@pytest.mark.spec("COMP-13")
async def test_a_plain_rejection_takes_all_others():
    class Any_(Saga, source=Order, targets=["shipment", "mail"]):
        @handles
        def on(self, event: OrderPaid) -> None: ...

        @rejected
        async def refused(self, refusal: Rejection) -> AsyncIterator[Send | Record | Schedule]:
            assert (refusal.domain, refusal.root, refusal.correlation_id) == (
                "shipment",
                ROOT,
                CORRELATION,
            )
            yield Send(CancelOrder(refusal.reason))
            yield Send(Ship("again"), domain="mail", root="m")
            yield Record(OrderCancelled())
            yield Schedule("again", Send(Ship("later"), domain="shipment"), after=HOUR)

    answer = await made_up(Any_, rejection(Recall(), "why"))

    assert [sent.cover.domain for sent in answer.commands] == ["order", "mail", "_angzarr"]
    assert [fact.cover.domain for fact in answer.events] == ["order"]
    due = timer(answer.commands[2], wire.ScheduleTimer).due_at
    assert due.ToSeconds() - 3600 == CREATED.timestamp()


@pytest.mark.spec("COMP-13", "SAGA-17")
async def test_what_makes_up_goes_to_declared_targets_and_the_source_alone():
    class Lost(Saga, source="order", targets=["shipment"]):
        @handles
        def on(self, event: OrderPaid) -> None: ...

        @rejected
        def refused(self, rejection: Rejection) -> Send:
            return Send(CancelOrder(), domain="billing")

    with pytest.raises(InvalidInput, match=r"for billing, which is not among .*: shipment, order"):
        await made_up(Lost, rejection(Ship("x")))


@pytest.mark.spec("COMP-13")
async def test_what_makes_up_names_its_domain_where_it_can_not_be_told():
    class Lost(Saga, source="order", targets=["shipment"]):
        @handles
        def on(self, event: OrderPaid) -> None: ...

        @rejected
        def refused(self, rejection: Rejection) -> Send:
            return Send(CancelOrder())

    with pytest.raises(InvalidInput, match="without a domain: one of shipment, order"):
        await made_up(Lost, rejection(Ship("x")))


async def test_an_exception_on_a_rejection_is_the_sagas_failure():
    class Failing(Saga, source="order", targets=["shipment"]):
        @handles
        def on(self, event: OrderPaid) -> None: ...

        @rejected
        def refused(self, rejection: Rejection[Ship]) -> Send:
            raise ZeroDivisionError("by design")

    with pytest.raises(HandlerFailed, match=r"Failing\.refused: ZeroDivisionError"):
        await made_up(Failing, rejection(Ship("x")))


async def test_a_notification_of_something_else_is_no_rejection():
    told = wire.Notification(payload=codec.pack(wire.Compensate(reason="x"), ""))

    assert await made_up(Shipping, told) is None


async def test_a_refused_command_that_does_not_parse_is_invalid():
    told = rejection(Ship("x"))
    refused = wire.RejectionNotification.FromString(told.payload.value)
    refused.rejected_command.pages[0].command.value = b"{"
    told.payload.CopyFrom(codec.pack(refused, ""))

    with pytest.raises(InvalidInput, match=r"shipment\.Ship"):
        await made_up(Shipping, told)


async def test_a_notification_whose_payload_does_not_parse_is_invalid():
    broken = Any(type_url="angzarr.RejectionNotification", value=b"\xff")

    with pytest.raises(InvalidInput, match=r"notification\.payload"):
        await made_up(Shipping, wire.Notification(payload=broken))


# -- of process managers

STATE = book(FULFILMENT, Waiting("Oak St 2"))


class Silent(ProcessManager, domain=FULFILMENT, source="order"):
    @handles
    def on(self, event: OrderPaid) -> None: ...


@pytest.mark.spec("PM-12", "COMP-7")
async def test_a_process_manager_answers_a_rejection_with_events():
    answer = await refused(Fulfilment, rejection(Ship("x"), source=FULFILMENT), STATE)

    assert events([answer.events], Done, domain=FULFILMENT) == [Done()]
    assert not answer.events.HasField("cover")
    assert not answer.events.pages[0].HasField("header")


@pytest.mark.spec("PM-12", "COMP-8")
async def test_a_process_manager_answers_a_rejection_with_revocation_flags():
    answer = await refused(Fulfilment, rejection(Ship("x"), "closed", source=FULFILMENT), STATE)

    assert answer.revocation == wire.RevocationResponse(reason="closed", escalate=True)


@pytest.mark.spec("PM-12", "COMP-11")
async def test_none_of_a_process_manager_is_an_empty_answer():
    answer = await refused(Fulfilment, rejection(Ship("x"), "", source=FULFILMENT), STATE)

    assert answer == wire.BusinessResponse()


@pytest.mark.spec("PM-12")
@pytest.mark.parametrize(
    ("cls", "told"),
    [
        (Fulfilment, rejection(Recall(), source=FULFILMENT)),
        (Silent, rejection(Ship("x"), source=FULFILMENT)),
        (Fulfilment, wire.Notification(payload=codec.pack(wire.Compensate(), ""))),
    ],
)
async def test_a_process_manager_without_a_method_for_it_has_no_say(
    cls: type[ProcessManager], told: wire.Notification
):
    assert await refused(cls, told, STATE) is None


async def test_what_is_no_notification_is_no_rejection():
    request = wire.ContextualCommand(events=STATE)
    request.command.pages.add(command=codec.pack(Ship(""), FULFILMENT))

    answer = LocalProcessManager(Fulfilment).refused(request.SerializeToString(), CallContext())

    assert await answer is None


async def test_a_process_manager_answers_in_the_state_of_its_stream():
    class Looking(ProcessManager, domain=FULFILMENT, source="order"):
        address: str = ""

        @handles
        def on(self, event: OrderPaid) -> None: ...

        @rejected
        async def refused(self, rejection: Rejection) -> AsyncIterator[Waiting]:
            yield Waiting(f"{self.address}!")
            yield Waiting(f"{self.address}!")

        @applies
        def waiting(self, event: Waiting) -> None:
            self.address = event.address

    answer = await refused(Looking, rejection(Ship("x"), source=FULFILMENT), STATE)

    found = events([answer.events], Waiting, domain=FULFILMENT)
    assert found == [Waiting("Oak St 2!"), Waiting("Oak St 2!!")]


@pytest.mark.parametrize(
    "answer",
    [Send(Ship(""), root="x"), [Done(), Revocation()], [Revocation(), Done()], [Revocation()] * 2],
)
async def test_another_answer_to_a_rejection_fails_for_good(answer: object):
    class Wrong(ProcessManager, domain=FULFILMENT, source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...

        @rejected
        def refused(self, rejection: Rejection):
            return answer

        @applies
        def done(self, event: Done) -> None: ...

    with pytest.raises(
        InvalidInput,
        match=r"Wrong\.refused returned \w+; it returns events that it applies, or one Revocation",
    ):
        await refused(Wrong, rejection(Ship("x"), source=FULFILMENT), STATE)


async def test_an_exception_on_a_rejection_is_the_process_managers_failure():
    class Failing(ProcessManager, domain=FULFILMENT, source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...

        @rejected
        def refused(self, rejection: Rejection) -> None:
            raise ZeroDivisionError("by design")

    with pytest.raises(HandlerFailed, match=r"process_manager:failing failed: Failing\.refused: Z"):
        await refused(Failing, rejection(Ship("x"), source=FULFILMENT), STATE)
