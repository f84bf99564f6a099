"""Mistakes in a process manager class are told when it is made, in the names of its author."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from google.protobuf.duration_pb2 import Duration
from warehouse import (
    Done,
    Fulfilment,
    Order,
    OrderPaid,
    Remind,
    Ship,
    Shipment,
    Shipped,
    Waiting,
)

from angzarr import (
    Cover,
    ProcessManager,
    Rejection,
    Revocation,
    Saga,
    Schedule,
    Send,
    Trigger,
    applies,
    command,
    handles,
    prepares,
    rejected,
    routes,
    wakes,
)
from angzarr.ports.components import Subscription


class Opaque:
    pass


def test_a_process_manager_is_named_after_its_class():
    class OrderFulfilment(ProcessManager, domain="fulfilment", source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...

    class Other(ProcessManager, domain="fulfilment", source="order", name="fulfilment-2"):
        @handles
        def on(self, event: OrderPaid) -> None: ...

    assert OrderFulfilment.table().component == "process_manager:order-fulfilment"
    assert Other.table().component == "process_manager:fulfilment-2"


def test_its_own_domain_may_be_a_source():
    class Following(ProcessManager, domain="following", sources=["order", "following"]):
        @handles
        def on_paid(self, event: OrderPaid) -> Done: ...
        @handles
        def on_done(self, event: Done) -> None: ...
        @applies
        def done(self, event: Done) -> None: ...

    assert Following.table().subscriptions == (
        Subscription("order", ("order.OrderPaid",)),
        Subscription("following", ("following.Done",)),
    )


def test_its_events_may_be_a_sagas_source():
    class Telling(Saga, source=Fulfilment, targets=["mail"]):
        @handles
        def on(self, event: Done) -> None: ...

    assert Telling.table().subscriptions == (Subscription("fulfilment", ("fulfilment.Done",)),)


def test_the_state_has_defaults_of_its_own():
    class Listing(ProcessManager, domain="listing", source="order"):
        roots: list[bytes] = []
        _cache: int = 0

        @handles
        def on(self, event: OrderPaid) -> None: ...

    first = Listing()
    first.roots.append(b"1")

    assert (Listing().roots, Listing(roots=[b"1"])) == ([], first)


def test_the_state_may_be_one_message():
    class Timing(ProcessManager, domain="timing", source="order"):
        elapsed: Duration

        @handles
        def on(self, event: OrderPaid) -> None: ...

    assert Timing.table().state.states.name == "google.protobuf.Duration"


def test_a_method_beside_one_that_names_its_source_need_not_name_it():
    """`@prepares` stands for every source there is; it was refused beside `@handles(source=…)`."""

    class Joining(ProcessManager, domain="joining", sources=["order", "shipment"]):
        @handles(source="order")
        def on_paid(self, event: OrderPaid) -> None: ...
        @handles(source="shipment")
        def on_shipped(self, event: Shipped) -> None: ...
        @prepares
        def streams(self, event: OrderPaid) -> Cover: ...

    assert Joining.table().prepares.find("order", "type/order.OrderPaid") is not None


def test_what_methods_return_may_be_said_in_many_ways():
    class Anything(ProcessManager, domain="anything", sources=[Order, Shipment]):
        @handles
        def one(self, event: OrderPaid) -> Send | Done | None: ...
        @handles
        async def many(self, event: Shipped) -> AsyncIterator[Done | Schedule]: ...
        @wakes
        def unsaid(self, payload: Remind): ...
        @prepares
        def streams(self, event: OrderPaid) -> Iterator[Cover]: ...
        @rejected
        def refused(self, rejection: Rejection[Ship]) -> list[Done] | Revocation: ...
        @applies
        def done(self, event: Done): ...

    assert Anything.table().prepares


def no_domain():
    class Broken(ProcessManager, source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def reserved_domain():
    class Broken(ProcessManager, domain="_order", source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def no_source():
    class Broken(ProcessManager, domain="broken"):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def source_and_sources():
    class Broken(ProcessManager, domain="broken", source="order", sources=["shipment"]):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def bad_name():
    class Broken(ProcessManager, domain="broken", source="order", name="9"):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def negative_snapshots():
    class Broken(ProcessManager, domain="broken", source="order", snapshot_every=-1):
        @handles
        def on(self, event: OrderPaid) -> None: ...


def hides_table():
    class Broken(ProcessManager, domain="broken", source="order"):
        table: int = 0


def field_without_default():
    class Broken(ProcessManager, domain="broken", source="order"):
        roots: list[str]


def field_without_json():
    class Broken(ProcessManager, domain="broken", source="order"):
        opaque: Opaque = Opaque()


def returns_what_it_does_not_apply():
    class Broken(ProcessManager, domain="broken", source="order"):
        @handles
        def on(self, event: OrderPaid) -> Iterator[Waiting | Send]: ...


def wakes_and_returns_what_it_does_not_apply():
    class Broken(ProcessManager, domain="broken", source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @wakes
        def woken(self, payload: Remind) -> Done: ...


def rejection_returns_an_output():
    class Broken(ProcessManager, domain="broken", source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @rejected
        def refused(self, rejection: Rejection[Ship]) -> Send: ...


def own_event_that_it_does_not_apply():
    class Broken(ProcessManager, domain="broken", source="broken"):
        @handles
        def on(self, event: Done) -> None: ...


def prepares_no_covers():
    class Broken(ProcessManager, domain="broken", source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @prepares
        def streams(self, event: OrderPaid) -> Send: ...


def prepares_for_what_is_not_handled():
    class Broken(ProcessManager, domain="broken", source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @prepares
        def streams(self, event: Shipped) -> Cover: ...


def async_applier():
    class Broken(ProcessManager, domain="broken", source="order"):
        @applies
        async def done(self, event: Done) -> None: ...


def applier_with_place():
    class Broken(ProcessManager, domain="broken", source="order"):
        @applies
        def done(self, event: Done, at: Trigger) -> None: ...


def with_command():
    class Broken(ProcessManager, domain="broken", source="order"):
        @command
        def on(self, event: OrderPaid) -> None: ...


def with_routes():
    class Broken(ProcessManager, domain="broken", source="order"):
        @routes
        def on(self, event: OrderPaid) -> str: ...


def two_methods():
    class Broken(ProcessManager, domain="broken", source="order"):
        @handles
        def on(self, event: OrderPaid) -> None: ...
        @handles
        def again(self, event: OrderPaid) -> None: ...


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        (no_domain, "Broken needs a domain"),
        (reserved_domain, "Broken needs a domain of 1-64"),
        (no_source, "Broken needs a source"),
        (source_and_sources, "Broken has source and sources"),
        (bad_name, "Broken: name '9' must be"),
        (negative_snapshots, "Broken: snapshot_every is a count"),
        (hides_table, r"Broken\.table hides ProcessManager\.table"),
        (field_without_default, r"Broken\.roots needs a default"),
        (field_without_json, r"Broken\.opaque has type Opaque"),
        (returns_what_it_does_not_apply, r"Broken\.on returns Waiting, which no @applies"),
        (wakes_and_returns_what_it_does_not_apply, r"Broken\.woken returns Done, which no @app"),
        (rejection_returns_an_output, r"Broken\.refused returns Send; a process manager answers"),
        (own_event_that_it_does_not_apply, r"Broken\.on takes Done, which no source applies"),
        (prepares_no_covers, r"Broken\.streams returns Send; @prepares methods name Covers"),
        (
            prepares_for_what_is_not_handled,
            r"Broken\.streams takes order\.Shipped, which no @handles method takes",
        ),
        (async_applier, r"Broken\.done is async"),
        (applier_with_place, r"Broken\.done must take self and one payload, as @applies"),
        (with_command, r"Broken\.on: @command methods don't belong in a ProcessManager"),
        (with_routes, r"Broken\.on: @routes methods don't belong in a ProcessManager"),
        (two_methods, r"Broken\.again and Broken\.on both handle event order\.OrderPaid"),
    ],
)
def test_a_mistake_is_told_when_the_class_is_made(mistake: Callable[[], None], told: str):
    with pytest.raises(TypeError, match=told):
        mistake()
