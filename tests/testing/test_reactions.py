"""given … when … then for sagas and process managers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration

from angzarr import (
    Aggregate,
    Cancel,
    Cover,
    ProcessManager,
    Record,
    Rejection,
    Revocation,
    Saga,
    Schedule,
    Send,
    Trigger,
    applies,
    handles,
    prepares,
    rejected,
    routes,
    wakes,
)
from angzarr.cover import root_of
from angzarr.errors import HandlerFailed, InvalidInput
from angzarr.testing import given

HOUR = timedelta(hours=1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class OrderPaid:
    address: str


@dataclass(frozen=True)
class OrderShipped:
    pass


@dataclass(frozen=True)
class Ship:
    address: str


@dataclass(frozen=True)
class Refund:
    reason: str = ""


@dataclass(frozen=True)
class Remind:
    pass


@dataclass(frozen=True)
class Waiting:
    address: str


@dataclass(frozen=True)
class Told:
    what: str


class Shipment(Aggregate, domain="shipment"):
    @applies
    def shipped(self, event: OrderShipped) -> None: ...


class Shipping(Saga, source="order", targets=["shipment"]):
    @handles
    def on_paid(self, event: OrderPaid, at: Trigger) -> Iterator[Send | Record | Schedule]:
        yield Send(Ship(event.address))
        if event.address == "slow":
            yield Schedule("remind", Remind(), after=HOUR)
        if event.address == "told":
            yield Record(Told(f"{at}, {at.sequence}, {dict(at.next_sequences)}"))

    @wakes
    def remind(self, payload: Remind, at: Trigger) -> Send | Cancel:
        return Send(Ship("again")) if at.correlation_id == "workflow" else Cancel("remind")

    @rejected
    def refused(self, rejection: Rejection[Ship]) -> Send | None:
        return Send(Refund(rejection.reason), domain="order") if rejection.command.address else None


class Fulfilment(
    ProcessManager, domain="fulfilment", sources=["order", Shipment], targets=["shipment", "order"]
):
    address: str = ""
    reminded: int = 0

    @handles
    def on_paid(self, event: OrderPaid, at: Trigger) -> Iterator[Waiting | Send | Schedule]:
        yield Waiting(event.address)
        yield Send(Ship(event.address), domain="shipment", root=at.root)
        yield Schedule("refund", Send(Refund(), domain="order", root=at.root), after=HOUR)

    @handles
    def on_shipped(self, event: OrderShipped) -> Cancel | None:
        return Cancel("refund") if self.address else None

    @wakes
    def remind(self, payload: Remind, at: Trigger) -> Iterator[Waiting | Send]:
        yield Waiting(f"{at.domain} {self.address}")
        yield Send(Refund(), domain="order", root=at.correlation_id)

    @prepares
    def streams(self, event: OrderPaid, at: Trigger) -> Cover:
        return Cover("shipment", at.root)

    @rejected
    def refused(self, rejection: Rejection[Ship]) -> Waiting | Revocation:
        if rejection.reason == "later":
            return Waiting(self.address + "?")
        return Revocation(rejection.reason, escalate=True)

    @applies
    def waiting(self, event: Waiting) -> None:
        self.address = event.address


def test_the_right_outputs_pass():
    given(Shipping).when(OrderPaid("Elm St 1")).then(Send(Ship("Elm St 1")))


def test_what_an_expectation_leaves_out_is_completed():
    given(Shipping).when(OrderPaid("x"), root="o-1").then(
        Send(Ship("x"), domain="shipment", root=root_of("o-1"))
    )


def test_several_events_are_one_book():
    given(Shipping).when(OrderPaid("a"), OrderPaid("b")).then(Send(Ship("a")), Send(Ship("b")))


def test_the_place_of_the_events_may_be_said():
    given(Shipping).when(
        OrderPaid("told"),
        root="o-1",
        edition="what-if",
        sequence=4,
        next_sequences={"shipment": 7},
    ).then(
        Send(Ship("told")),
        Record(Told(f"{Cover.of('order', 'o-1')}@what-if, 4, {{'shipment': 7}}")),
    )


def test_a_timer_is_the_same_after_the_event_and_at_its_time():
    outcome = given(Shipping).when(OrderPaid("slow"), created_at=NOON)

    outcome.then(Send(Ship("slow")), Schedule("remind", Remind(), after=HOUR))
    outcome.then(Send(Ship("slow")), Schedule("remind", Remind(), at=NOON + HOUR))


@pytest.mark.spec("TIMER-4")
def test_a_timer_wakes_a_saga():
    given(Shipping).when_woken(Remind()).then(Send(Ship("again")))
    given(Shipping).when_woken(Remind(), correlation_id="").then(Cancel("remind"))


@pytest.mark.spec("COMP-13")
def test_a_saga_hears_of_a_refusal():
    given(Shipping).when_rejected(Ship("x"), "closed").then(Send(Refund("closed"), domain="order"))
    given(Shipping).when_rejected(Ship("")).then_nothing()


def test_a_route_completes_an_expectation_too():
    class Routed(Saga, source="order", targets=["shipment"]):
        @handles
        def on(self, event: OrderPaid) -> Send:
            return Send(Ship(""))

        @routes
        def to(self, event: OrderPaid) -> str:
            return event.address

    given(Routed).when(OrderPaid("p-1")).then(Send(Ship(""))).then(Send(Ship(""), root="p-1"))


def test_a_saga_of_messages_is_tested_alike():
    class Timing(Saga, source="clock", targets=["lamp"]):
        @handles
        def on(self, event: Duration) -> Send:
            return Send(Duration(seconds=event.seconds * 2))

    given(Timing).when(Duration(seconds=2)).then(Send(Duration(seconds=4)))


def test_a_process_manager_records_and_sends_in_one_order():
    outcome = given(Fulfilment).when(OrderPaid("Elm St 1"), root="o-1")

    outcome.then(
        Waiting("Elm St 1"),
        Send(Ship("Elm St 1"), domain="shipment", root="o-1"),
        Schedule("refund", Send(Refund(), domain="order", root="o-1"), after=HOUR),
    ).then_state(address="Elm St 1", reminded=0)


def test_a_process_manager_reacts_in_its_state():
    given(Fulfilment, Waiting("x")).when(OrderShipped()).then(Cancel("refund"))
    given(Fulfilment).when(OrderShipped()).then_nothing()
    given(Fulfilment, Waiting("x"), Waiting("y")).then_state(address="y")


@pytest.mark.spec("TIMER-4")
def test_a_timer_wakes_a_process_manager_in_its_own_stream():
    given(Fulfilment, Waiting("x")).when_woken(Remind(), correlation_id="o-1").then(
        Waiting("fulfilment x"), Send(Refund(), domain="order", root="o-1")
    ).then_state(address="fulfilment x")


@pytest.mark.spec("PM-12")
def test_a_process_manager_hears_of_a_refusal():
    waiting = given(Fulfilment, Waiting("x"))

    waiting.when_rejected(Ship("x"), "later", domain="shipment").then(Waiting("x?")).then_state(
        address="x?"
    )
    waiting.when_rejected(Ship("x"), "closed", domain="shipment").then(
        Revocation("closed", escalate=True)
    )
    waiting.when_rejected(Refund(), domain="order").then_nothing()


@pytest.mark.spec("PM-3")
def test_prepared_streams_are_seen():
    outcome = given(Fulfilment).when(OrderPaid("x"), root="o-1")

    outcome.then_prepared(Cover.of("shipment", "o-1"))
    with pytest.raises(AssertionError, match="other streams"):
        outcome.then_prepared()


async def test_it_works_where_a_loop_runs():
    given(Shipping).when(OrderPaid("x")).then(Send(Ship("x")))


# -- what fails


def test_other_outputs_fail_with_both_shown():
    with pytest.raises(AssertionError) as caught:
        given(Shipping).when(OrderPaid("x"), root=bytes(16)).then(Send(Ship("y")))

    lines = str(caught.value).splitlines()
    root = "00000000-0000-0000-0000-000000000000"
    assert f"- Send(Ship(address='y'), domain='shipment', root='{root}')" in lines
    assert f"+ Send(Ship(address='x'), domain='shipment', root='{root}')" in lines


@pytest.mark.parametrize(
    "expected",
    [
        Send(Ship("x"), root="other"),
        Send(Ship("x"), merge="strict"),
        Send(Ship("x"), at_head=True),
        Record(Ship("x")),
        Cancel("x"),
        Schedule("x", Send(Ship("x")), after=HOUR),
    ],
)
def test_another_output_fails(expected: object):
    with pytest.raises(AssertionError, match="something else than expected"):
        given(Shipping).when(OrderPaid("x")).then(expected)


def test_missing_and_further_outputs_fail():
    with pytest.raises(AssertionError, match=r"\+ nothing"):
        given(Shipping).when_rejected(Ship("")).then(Send(Refund(), domain="order"))
    with pytest.raises(AssertionError, match=r"\+ Send"):
        given(Shipping).when(OrderPaid("x")).then_nothing()
    with pytest.raises(AssertionError, match=r"\+ Schedule"):
        given(Shipping).when(OrderPaid("slow")).then(Send(Ship("slow")))


def test_outputs_of_another_order_fail():
    with pytest.raises(AssertionError):
        given(Fulfilment).when(OrderPaid("x")).then(
            Send(Ship("x"), domain="shipment", root="root"),
            Waiting("x"),
            Schedule("refund", Send(Refund(), domain="order", root="root"), after=HOUR),
        )


def test_another_state_fails():
    with pytest.raises(AssertionError, match=r"- address = 'y'\n\+ address = 'x'"):
        given(Fulfilment).when(OrderPaid("x")).then_state(address="y")
    with pytest.raises(AssertionError, match="another state"):
        given(Fulfilment, Waiting("x")).then_state(address="y")


def test_a_payload_that_its_receiver_cannot_read_fails():
    with pytest.raises(AssertionError, match="can't be read by its receiver"):
        given(Lying).when(OrderPaid("x")).then_nothing()


class Lying(Saga, source="order", targets=["shipment"]):
    @handles
    def on(self, event: OrderPaid) -> Send:
        return Send(Ship(3))


def test_a_wrong_test_is_told():
    with pytest.raises(TypeError, match="is a saga: it has no events of its own"):
        given(Shipping, OrderPaid("x"))
    with pytest.raises(TypeError, match=r"Fulfilment applies no fulfilment\.OrderPaid"):
        given(Fulfilment, OrderPaid("x")).when(OrderShipped())
    with pytest.raises(TypeError, match="Shipping has no @handles method for Refund"):
        given(Shipping).when(Refund())
    with pytest.raises(TypeError, match=r"say which source of Fulfilment is meant, .*: order, s"):
        given(Fulfilment).when()
    with pytest.raises(InvalidInput, match="no @wakes method takes"):
        given(Shipping).when_woken(Ship("x"))
    with pytest.raises(InvalidInput, match="the expectation returned a Send for order without a"):
        given(Fulfilment).when(OrderShipped()).then(Send(Refund(), domain="order"))


def test_an_event_of_several_sources_needs_one():
    class Both(Saga, sources=["order", "billing"], targets=["shipment"]):
        @handles
        def on(self, event: OrderPaid, at: Trigger) -> Send:
            return Send(Ship(at.domain))

    with pytest.raises(TypeError, match="say which source of Both is meant, source=…: order, bill"):
        given(Both).when(OrderPaid("x"))
    given(Both).when(OrderPaid("x"), source="billing").then(Send(Ship("billing")))


def test_an_exception_of_the_class_is_raised():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid) -> Send:
            raise ZeroDivisionError("by design")

    with pytest.raises(HandlerFailed, match="by design"):
        given(Broken).when(OrderPaid("x"))
