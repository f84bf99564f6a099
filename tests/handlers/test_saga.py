"""Mistakes in a saga class are told when it is made, in the names of its author."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator

import pytest
from warehouse import (
    Order,
    OrderCancelled,
    OrderPaid,
    Remind,
    Ship,
    Shipped,
    Shipping,
)

from angzarr import (
    Aggregate,
    Cancel,
    Compensation,
    Cover,
    Record,
    Rejection,
    Saga,
    Schedule,
    Send,
    Trigger,
    applies,
    command,
    compensates,
    handles,
    prepares,
    rejected,
    routes,
    upcasts,
    wakes,
    wire,
)
from angzarr.handlers import Upcaster, sagas_of


class Holder:
    pass


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("Shipping", "saga:shipping"),
        ("OrderShipping", "saga:order-shipping"),
        ("HTTPCalls", "saga:http-calls"),
        ("V2Mail", "saga:v2-mail"),
        ("_Hidden", "saga:hidden"),
    ],
)
def test_a_saga_is_named_after_its_class(name: str, component: str):
    def on(self: object, event: OrderPaid) -> None: ...

    saga = type(Saga)(name, (Saga,), {"on": handles(on)}, source="order")

    assert saga.table().component == component


@pytest.mark.spec("SAGA-1")
def test_a_saga_may_be_named_otherwise():
    class Anything(Saga, source="order", targets="shipment", name="shipping_2"):
        @handles
        def on(self, event: OrderPaid) -> None: ...

    assert Anything.table().component == "saga:shipping_2"


@pytest.mark.spec("SAGA-1")
def test_targets_are_names_or_classes():
    class Anything(Saga, source="order", targets=[Order, "shipment"]):
        @handles
        def on(self, event: OrderPaid) -> None: ...

    assert Anything.table().targets.names == ("order", "shipment")


def test_what_methods_return_may_be_said_in_many_ways():
    class Anything(Saga, sources=["order", "shipment"]):
        @handles(source="order")
        def one(self, event: OrderPaid) -> Send | None: ...
        @handles(source="order")
        def many(self, event: OrderCancelled) -> Generator[Send | Schedule, None, str]: ...
        @handles(source="shipment")
        async def later(self, event: Shipped) -> AsyncIterator[Record | Cancel]: ...
        @wakes
        def unsaid(self, payload: Remind): ...
        @rejected
        def tuples(self, rejection: Rejection[Ship]) -> tuple[Send, ...] | list[Record]: ...

    assert Anything.table().wakes


def test_the_place_may_be_taken_as_a_cover():
    class Anything(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid, at: Cover) -> None: ...

    assert Anything.table().handles


def test_a_subclass_has_the_methods_of_its_base():
    class Faster(Shipping, source="order", targets=["shipment"]):
        pass

    assert Faster.table().component == "saga:faster"
    assert Faster.table().subscriptions == Shipping.table().subscriptions


@pytest.mark.spec("DEP-8")
def test_an_aggregate_may_declare_sagas_that_keep_their_own_names():
    class Basket(Aggregate, domain="order", sagas=[Shipping]):
        pass

    assert sagas_of(Basket) == (Shipping,)
    assert Shipping.table().component == "saga:shipping"
    assert sagas_of(Order) == ()


@pytest.mark.spec("DEP-8")
def test_the_sagas_of_a_base_stay_the_bases_own():
    class Basket(Aggregate, domain="order", sagas=[Shipping]):
        pass

    class Other(Basket, domain="other"):
        pass

    assert sagas_of(Other) == ()


def saga_of_another_domain():
    class Broken(Aggregate, domain="account", sagas=[Shipping]): ...


def saga_that_is_none():
    class Broken(Aggregate, domain="account", sagas=[Order]): ...


def bad_name():
    class Broken(Saga, source="order", name="Shipping"):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def name_of_another_script():
    class Versand_Ä(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def bad_target():
    class Broken(Saga, source="order", targets=["_angzarr"]):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def target_twice():
    class Broken(Saga, source="order", targets=["order", Order]):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def target_that_is_no_aggregate():
    class Broken(Saga, source="order", targets=[Holder]):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def unannotated_event():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event) -> None: ...


def unannotated_place():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid, at) -> None: ...


def another_place():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid, at: str) -> None: ...


def no_event():
    class Broken(Saga, source="order"):
        @handles
        def on(self) -> None: ...


def three_parameters():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid, at: Trigger, more: int) -> None: ...


def unknown_name():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: Nowhere) -> None: ...  # noqa: F821


def no_payload():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: int) -> None: ...


def returns_an_event():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid) -> Iterator[Shipped]: ...


def returns_anything():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid) -> object: ...


def rejection_returns_an_event():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @rejected
        def refused(self, rejection: Rejection) -> Shipped: ...


def framework_event():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: wire.NoOp) -> None: ...


def framework_payload():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @wakes
        def woken(self, payload: wire.TimerFired) -> None: ...


def two_wakes():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @wakes
        def woken(self, payload: Remind) -> None: ...
        @wakes
        def again(self, payload: Remind) -> None: ...


def two_rejected():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @rejected
        def refused(self, rejection: Rejection[Ship]) -> None: ...
        @rejected
        def again(self, rejection: Rejection[Ship]) -> None: ...


def rejected_of_what():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @rejected
        def refused(self, rejection: Ship) -> None: ...


def async_route():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @routes
        async def to(self, event: OrderPaid) -> str: ...


def route_of_an_event_that_is_not_handled():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @routes
        def to(self, event: OrderCancelled) -> str: ...


def route_to_no_target():
    class Broken(Saga, source="order", targets=["shipment"]):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @routes(domain="billing")
        def to(self, event: OrderPaid) -> str: ...


def two_routes():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @routes
        def to(self, event: OrderPaid) -> str: ...
        @routes
        def again(self, event: OrderPaid) -> str: ...


def with_command():
    class Broken(Saga, source="order"):
        @command
        def on(self, event: OrderPaid) -> None: ...


def with_applies():
    class Broken(Saga, source="order"):
        @applies
        def on(self, event: OrderPaid) -> None: ...


def with_prepares():
    class Broken(Saga, source="order"):
        @prepares
        def on(self, event: OrderPaid) -> Cover: ...


def with_compensates():
    class Broken(Saga, source="order"):
        @compensates
        def on(self, event: Compensation) -> None: ...


def handles_in_an_aggregate():
    class Broken(Aggregate, domain="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def wakes_in_an_upcaster():
    class Broken(Upcaster, domain="order"):
        @upcasts
        def lift(self, old: OrderPaid) -> OrderCancelled: ...
        @wakes
        def woken(self, payload: Remind) -> None: ...


def override_without_decorator():
    class Broken(Shipping, source="order", targets=["shipment"]):
        def on_paid(self, event: OrderPaid) -> Send: ...


def two_decorators():
    class Broken(Saga, source="order"):
        @handles
        @wakes
        def on(self, event: OrderPaid) -> None: ...


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (saga_of_another_domain, "Broken: Shipping takes no events of account"),
        (saga_that_is_none, "Broken: .*Order.* is no Saga"),
        (bad_name, "Broken: name 'Shipping' must be 1-128"),
        (name_of_another_script, "Versand_Ä: name 'versand_ä' must be"),
        (bad_target, "Broken: target '_angzarr' must be 1-64"),
        (target_twice, "Broken names the target order twice"),
        (target_that_is_no_aggregate, "Broken: Holder is neither a domain nor an Aggregate"),
        (unannotated_event, r"Broken\.on lacks the annotation of parameter 'event'"),
        (unannotated_place, r"Broken\.on lacks the annotation of parameter 'at'"),
        (another_place, r"Broken\.on: the second parameter is the Trigger, not str"),
        (no_event, r"Broken\.on must take self and one payload, and at most a Trigger"),
        (three_parameters, r"Broken\.on must take self and one payload, and at most a Trigger"),
        (unknown_name, r"Broken\.on is annotated with 'Nowhere'"),
        (no_payload, r"Broken\.on: int is neither a dataclass nor a protobuf message"),
        (returns_an_event, r"Broken\.on returns Shipped; a saga's methods return Send"),
        (returns_anything, r"Broken\.on is annotated object"),
        (rejection_returns_an_event, r"Broken\.refused returns Shipped; a saga's"),
        (framework_event, r"Broken\.on: angzarr\.NoOp is a name of the framework"),
        (framework_payload, r"Broken\.woken: angzarr\.TimerFired is a name of the framework"),
        (two_wakes, r"Broken\.again and Broken\.woken both handle the timer's payload broken\.Re"),
        (two_rejected, r"Broken\.again and refused both handle @rejected Ship"),
        (rejected_of_what, r"Broken\.refused must take a Rejection"),
        (async_route, r"Broken\.to is async; @routes methods are pure"),
        (
            route_of_an_event_that_is_not_handled,
            r"Broken\.to takes order\.OrderCancelled, which no @handles method takes",
        ),
        (route_to_no_target, r"Broken\.to is for billing, which is no target"),
        (two_routes, r"Broken\.again and Broken\.to both handle event order\.OrderPaid"),
        (with_command, r"Broken\.on: @command methods don't belong in a Saga"),
        (with_applies, r"Broken\.on: @applies methods don't belong in a Saga"),
        (with_prepares, r"Broken\.on: @prepares methods don't belong in a Saga"),
        (with_compensates, r"Broken\.on: @compensates methods don't belong in a Saga"),
        (handles_in_an_aggregate, r"Broken\.on: @handles methods belong to a Saga or"),
        (wakes_in_an_upcaster, r"Broken\.woken: @wakes methods don't belong in"),
        (override_without_decorator, r"Broken\.on_paid overrides a method with @handles"),
        (two_decorators, r"on has @wakes and @handles"),
    ],
)
def test_a_mistake_is_told_when_the_class_is_made(mistake: Callable[[], None], told: str):
    with pytest.raises(TypeError, match=told):
        mistake()


def test_a_decorator_refuses_what_is_no_method():
    for decorator in (handles, wakes, prepares, routes):
        with pytest.raises(TypeError, match="marks methods"):
            decorator(OrderPaid)
