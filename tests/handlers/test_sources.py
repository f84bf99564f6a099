"""Which events a saga or process manager takes, and what is delivered to it for that."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import Int64Value
from warehouse import (
    Fulfilment,
    Order,
    OrderCancelled,
    OrderPaid,
    Send,
    Ship,
    Shipment,
    Shipped,
    Shipping,
    book,
    commands,
    reacted,
)

from angzarr import Saga, handles
from angzarr.ports.components import Subscription


@dataclass(frozen=True)
class Named:
    __type_name__ = "shop.v1.Named"


def subscriptions(cls: type) -> dict[str, tuple[str, ...]]:
    return {s.domain: s.types for s in cls.table().subscriptions}


@pytest.mark.spec("SAGA-1", "SAGA-3")
def test_a_sagas_inputs_follow_from_its_methods():
    assert Shipping.table().subscriptions == (
        Subscription("order", ("order.OrderPaid", "order.OrderCancelled")),
    )


@pytest.mark.spec("SAGA-3")
def test_a_message_and_a_named_dataclass_have_one_name_everywhere():
    class Audit(Saga, sources=["order", "billing.*", "*"]):
        @handles
        def on(self, event: Duration | Named) -> None: ...

    names = ("google.protobuf.Duration", "shop.v1.Named")
    assert subscriptions(Audit) == {"order": names, "billing.*": names, "*": names}


@pytest.mark.spec("SAGA-3")
def test_a_dataclass_of_a_pattern_is_subscribed_by_its_last_component():
    class Audit(Saga, source="*"):
        @handles
        def on(self, event: OrderPaid | Shipped) -> None: ...

    assert subscriptions(Audit) == {"*": ("OrderPaid", "Shipped")}


def test_an_event_belongs_to_the_class_that_applies_it():
    assert subscriptions(Fulfilment) == {
        "order": ("order.OrderPaid",),
        "shipment": ("shipment.Shipped",),
    }


def test_an_event_that_no_class_applies_belongs_to_the_named_sources():
    class Both(Saga, sources=[Order, "shipment", "billing"]):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @handles
        def on_shipped(self, event: Shipped) -> None: ...

    assert subscriptions(Both) == {
        "order": ("order.OrderPaid",),
        "shipment": ("shipment.Shipped",),
        "billing": ("billing.Shipped",),
    }


def test_a_method_may_name_its_source():
    class Both(Saga, sources=["order", Shipment]):
        @handles(source="order")
        def on(self, event: Shipped) -> None: ...
        @handles(source=Shipment)
        def on_shipped(self, event: Shipped) -> None: ...

    assert subscriptions(Both) == {
        "order": ("order.Shipped",),
        "shipment": ("shipment.Shipped",),
    }


async def test_an_event_of_another_source_is_another_event():
    class Both(Saga, sources=["order", "shipment"], targets=["mail"]):
        @handles(source="order")
        def on_order(self, event: Shipped) -> Send:
            return Send(Ship("order"))

        @handles(source="shipment")
        def on_shipment(self, event: Shipped) -> Send:
            return Send(Ship("shipment"))

    answers = [await reacted(Both, book(domain, Shipped())) for domain in ("order", "shipment")]

    assert [commands(a.commands, Ship) for a in answers] == [[Ship("order")], [Ship("shipment")]]


async def test_a_message_is_told_apart_by_its_source():
    class Both(Saga, sources=["order", "shipment"], targets=["mail"]):
        @handles(source="order")
        def on_order(self, event: Int64Value) -> Send:
            return Send(Ship("order"))

        @handles(source="shipment")
        def on_shipment(self, event: Int64Value) -> Send:
            return Send(Ship("shipment"))

    answer = await reacted(Both, book("shipment", Int64Value(value=1)))

    assert commands(answer.commands, Ship) == [Ship("shipment")]


async def test_events_of_a_domain_that_is_no_source_are_passed_over():
    answer = await reacted(Shipping, book("billing", OrderPaid("x")))

    assert not answer.commands


async def test_a_pattern_takes_the_events_of_every_domain():
    class Audit(Saga, source="*", targets=["mail"]):
        @handles
        def on(self, event: OrderPaid) -> Send:
            return Send(Ship(event.address))

    for domain in ("order", "billing", "_angzarr"):
        answer = await reacted(Audit, book(domain, OrderPaid(domain)))
        assert commands(answer.commands, Ship) == [Ship(domain)]


async def test_a_prefix_takes_the_events_of_domains_below_it():
    class Audit(Saga, source="billing.*", targets=["mail"]):
        @handles
        def on(self, event: Int64Value) -> Send:
            return Send(Ship(""))

    taken = [
        bool((await reacted(Audit, book(domain, Int64Value()))).commands)
        for domain in ("billing.eu", "billing", "billings", "")
    ]

    assert taken == [True, False, False, False]


async def test_the_most_exact_source_takes_an_event():
    class Audit(Saga, sources=["*", "eu.*", "order"], targets=["mail"]):
        @handles(source="*")
        def on_any(self, event: OrderPaid) -> Send:
            return Send(Ship("any"))

        @handles(source="eu.*")
        def on_eu(self, event: OrderPaid) -> Send:
            return Send(Ship("eu"))

        @handles(source="order")
        def on_order(self, event: OrderPaid) -> Send:
            return Send(Ship("order"))

    answers = [
        commands((await reacted(Audit, book(domain, OrderPaid("")))).commands, Ship)
        for domain in ("order", "eu.order", "other")
    ]

    assert answers == [[Ship("order")], [Ship("eu")], [Ship("any")]]


def no_source():
    class Broken(Saga):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def source_and_sources():
    class Broken(Saga, source="order", sources=["shipment"]):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def wrong_source():
    class Broken(Saga, source="Order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def source_that_is_a_saga():
    class Broken(Saga, source=Shipping):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def source_twice():
    class Broken(Saga, sources=["order", Order]):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def source_without_method():
    class Broken(Saga, sources=[Order, Shipment]):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def nothing_handled():
    class Broken(Saga, source="order"): ...


def event_of_no_source():
    class Broken(Saga, source=Order):
        @handles
        def on(self, event: Shipped) -> None: ...


def source_of_a_method_that_the_saga_lacks():
    class Broken(Saga, source="order"):
        @handles(source=Shipment)
        def on(self, event: Shipped) -> None: ...


def two_methods():
    class Broken(Saga, source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @handles
        def again(self, event: OrderPaid | OrderCancelled) -> None: ...


def two_methods_of_a_pattern():
    other = dataclass(type("OrderPaid", (), {}))

    class Broken(Saga, source="*"):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @handles
        def again(self, event: other) -> None: ...


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (no_source, "Broken needs a source"),
        (source_and_sources, "Broken has source and sources"),
        (wrong_source, "Broken: source 'Order' must be a domain"),
        (source_that_is_a_saga, "Broken: Shipping is neither a domain nor an Aggregate class"),
        (source_twice, "Broken names the source order twice"),
        (source_without_method, "Broken has the source shipment, but no @handles method for it"),
        (nothing_handled, "Broken has the source order, but no @handles method for it"),
        (event_of_no_source, r"Broken\.on takes Shipped, which no source applies: order"),
        (
            source_of_a_method_that_the_saga_lacks,
            r"Broken\.on names the source shipment, which Broken has not",
        ),
        (two_methods, r"Broken\.again and Broken\.on both handle event order\.OrderPaid"),
        (two_methods_of_a_pattern, r"Broken\.again and Broken\.on both handle event OrderPaid;"),
    ],
)
def test_a_mistake_is_told_when_the_class_is_made(mistake, told: str):
    with pytest.raises(TypeError, match=told):
        mistake()
