"""Projector classes: what they take, and the mistakes that are told when they are made."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from bank import Account, Deposited, Noted
from google.protobuf.duration_pb2 import Duration

from angzarr import Aggregate, Projector, Service, Sqlite, Trigger, applies, projects
from angzarr.handlers.naming import bare_name
from angzarr.ports.components import Subscription

ROWS = Sqlite("rows.sqlite")


@dataclass(frozen=True)
class Shipped:
    pass


@dataclass(frozen=True)
class Renamed:
    __type_name__ = "bank.v1.Renamed"


@dataclass(frozen=True)
class Framework:
    __type_name__ = "angzarr.NoOp"


class Opaque:
    pass


class Order(Aggregate, domain="order"):
    @applies
    def shipped(self, event: Shipped) -> None: ...

    @applies
    def noted(self, event: Noted) -> None: ...


def no_source():
    class Broken(Projector):
        @projects
        def deposited(self, event: Deposited) -> None: ...


def two_ways_of_sources():
    class Broken(Projector, source="account", sources=["order"]):
        @projects
        def deposited(self, event: Deposited) -> None: ...


def bad_source():
    class Broken(Projector, source="Account"):
        @projects
        def deposited(self, event: Deposited) -> None: ...


def no_aggregate():
    class Broken(Projector, source=Deposited):
        @projects
        def deposited(self, event: Deposited) -> None: ...


def bad_name():
    class Broken(Projector, source="account", name="My Statement"):
        @projects
        def deposited(self, event: Deposited) -> None: ...


def bad_edition():
    class Broken(Projector, source="account", editions=["What If"]):
        @projects
        def deposited(self, event: Deposited) -> None: ...


def no_editions():
    class Broken(Projector, source="account", editions=[]):
        @projects
        def deposited(self, event: Deposited) -> None: ...


def no_methods():
    class Broken(Projector, source="account"): ...


def another_role():
    class Broken(Projector, source="account"):
        @applies
        def deposited(self, event: Deposited) -> None: ...


def no_event():
    class Broken(Projector, source="account"):
        @projects
        def deposited(self) -> None: ...


def unannotated_event():
    class Broken(Projector, source="account"):
        @projects
        def deposited(self, event) -> None: ...


def unknown_event():
    class Broken(Projector, source="account"):
        @projects
        def deposited(self, event: Nowhere) -> None: ...  # noqa: F821


def no_payload():
    class Broken(Projector, source="account"):
        @projects
        def deposited(self, event: Opaque) -> None: ...


def keyword_parameter():
    class Broken(Projector, source="account", read_store=ROWS):
        @projects
        def deposited(self, event: Deposited, *, db: sqlite3.Connection) -> None: ...


def four_parameters():
    class Broken(Projector, source="account", read_store=ROWS):
        @projects
        def deposited(self, event: Deposited, at: Trigger, db: object, more: object) -> None: ...


def two_places():
    class Broken(Projector, source="account", read_store=ROWS):
        @projects
        def deposited(self, event: Deposited, at: Trigger, too: Trigger) -> None: ...


def unannotated_place():
    class Broken(Projector, source="account", read_store=ROWS):
        @projects
        def deposited(self, event: Deposited, at, db: sqlite3.Connection) -> None: ...


def db_without_read_store():
    class Broken(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited, db: sqlite3.Connection) -> None: ...


def returned_value():
    class Broken(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited) -> Opaque: ...


def two_methods():
    class Broken(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited) -> None: ...

        @projects
        def again(self, event: Deposited) -> None: ...


def foreign_event():
    class Broken(Projector, source=Account):
        @projects
        def shipped(self, event: Shipped) -> None: ...


def foreign_source():
    class Broken(Projector, sources=["account", "order"]):
        @projects(source="shipment")
        def shipped(self, event: Shipped) -> None: ...


def framework_event():
    class Broken(Projector, source="account"):
        @projects
        def no_op(self, event: Framework) -> None: ...


def override_without_decorator():
    class Base(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited) -> None: ...

    class Broken(Base, source="account"):
        def deposited(self, event: Deposited) -> None: ...


def reset_with_db():
    class Broken(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited) -> None: ...

        def reset(self, db: sqlite3.Connection) -> None: ...


def reset_without_db():
    class Broken(Projector, source="account", read_store=ROWS):
        @projects
        def deposited(self, event: Deposited) -> None: ...

        def reset(self) -> None: ...


def in_an_aggregate():
    class Broken(Aggregate, domain="account"):
        @projects
        def deposited(self, event: Deposited) -> None: ...


MISTAKES: dict[Callable[[], None], str] = {
    no_source: "Broken needs a source",
    two_ways_of_sources: "Broken has source and sources",
    bad_source: "source 'Account' must be a domain",
    no_aggregate: "an Aggregate class, not .*Deposited",
    bad_name: "name 'My Statement' must be",
    bad_edition: "edition 'What If' must be",
    no_editions: "editions names none",
    no_methods: "Broken has no @projects method",
    another_role: "Broken.deposited: @applies does not belong to a Projector",
    no_event: "Broken.deposited must take an event",
    unannotated_event: "lacks the annotation of parameter 'event'",
    unknown_event: "'Nowhere', which is not known at run time",
    no_payload: "Broken.deposited: .*Opaque is neither a dataclass nor a protobuf message",
    keyword_parameter: "Broken.deposited must take an event",
    four_parameters: "Broken.deposited must take an event",
    two_places: "Broken.deposited must take an event",
    unannotated_place: "annotate the Trigger",
    db_without_read_store: "takes 'db', and Broken has no read_store",
    returned_value: "Broken.deposited: .*Opaque is neither a dataclass nor a protobuf message",
    two_methods: "Broken.again and Broken.deposited both handle account.Deposited",
    foreign_event: "Broken.shipped takes Shipped, which no source of Broken has; sources: account",
    foreign_source: "Broken.shipped takes Shipped, which no source",
    framework_event: "angzarr.NoOp is a name of the framework's events",
    override_without_decorator: "Broken.deposited overrides a method with @projects without it",
    reset_with_db: "Broken.reset must take self$",
    reset_without_db: "Broken.reset must take self and the read store's db",
    in_an_aggregate: "@projects methods belong to a Projector",
}


@pytest.mark.spec("PROJ-1")
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_told_when_the_class_is_made(mistake: Callable[[], None]) -> None:
    with pytest.raises(TypeError, match=MISTAKES[mistake]):
        mistake()


@pytest.mark.spec("PROJ-1")
def test_a_projector_declares_what_it_is() -> None:
    query = Service(print, object)

    class Statement(
        Projector,
        source="account",
        read_store=ROWS,
        query=query,
        synchronous=True,
        editions=["main", "whatif"],
    ):
        @projects
        def deposited(self, event: Deposited) -> None: ...

    table = Statement.projector_table()
    assert (table.component, table.read_store, table.is_synchronous) == (
        "projector:statement",
        ROWS,
        True,
    )
    assert table.subscriptions() == (Subscription("account", ("account.Deposited",)),)
    assert table.editions == ("main", "whatif")
    assert Statement.query_service() is query


@pytest.mark.spec("PROJ-1")
def test_what_is_not_said_is_main_asynchronous_and_named_after_the_class() -> None:
    class MonthlyStatement(Projector, source="account"):
        @projects
        def deposited(self, event: Deposited) -> None: ...

    table = MonthlyStatement.projector_table()
    assert table.component == "projector:monthly-statement"
    assert (table.editions, table.is_synchronous, table.read_store) == (("main",), False, None)
    assert MonthlyStatement.query_service() is None


@pytest.mark.parametrize(
    ("name", "kebab"),
    [("A", "a"), ("HTTPLog", "http-log"), ("OrdersV2", "orders-v2"), ("_Hidden", "hidden")],
)
def test_names_of_classes_become_names_of_components(name: str, kebab: str) -> None:
    assert bare_name(type(name, (), {}), None) == kebab


@pytest.mark.spec("PROJ-1")
def test_every_edition_is_a_star() -> None:
    class Statement(Projector, source="account", editions="*"):
        @projects
        def deposited(self, event: Deposited) -> None: ...

    assert Statement.projector_table().editions is None


@pytest.mark.spec("PROJ-1")
def test_an_event_is_named_in_each_source_that_has_it() -> None:
    class Everything(Projector, sources=[Account, Order]):
        @projects
        def noted(self, event: Noted) -> None: ...

        @projects
        def shipped(self, event: Shipped) -> None: ...

    assert Everything.projector_table().subscriptions() == (
        Subscription("account", ("account.Noted",)),
        Subscription("order", ("order.Noted", "order.Shipped")),
    )


@pytest.mark.spec("PROJ-1")
def test_a_method_may_be_for_one_source() -> None:
    class Everything(Projector, sources=["account", Order]):
        @projects(source="account")
        def from_account(self, event: Noted) -> None: ...

        @projects(source=Order)
        def from_order(self, event: Noted) -> None: ...

    table = Everything.projector_table()
    assert table.of_domain("account")["account.Noted"][1].name == "Everything.from_account"
    assert table.of_domain("order")["order.Noted"][1].name == "Everything.from_order"


@pytest.mark.spec("PROJ-1", "SAGA-3")
@pytest.mark.parametrize("pattern", ["*", "bank.*"])
def test_a_pattern_subscribes_last_components_where_names_depend_on_the_domain(
    pattern: str,
) -> None:
    class Everything(Projector, source=pattern):
        @projects
        def noted(self, event: Noted | Renamed) -> None: ...

        @projects
        def waited(self, event: Duration) -> None: ...

    assert Everything.projector_table().subscriptions() == (
        Subscription(pattern, ("Noted", "bank.v1.Renamed", "google.protobuf.Duration")),
    )
    assert "order.Noted" in Everything.projector_table().of_domain("order")
