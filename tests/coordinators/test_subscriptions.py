"""Which events a consumer gets (SAGA-3, EDN-13)."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import wire
from angzarr.coordinators.subscriptions import EXTERNAL, Filter, editions_of, matches, type_urls
from angzarr.ports.components import Subscription

USER = "type.googleapis.com/"
OURS = "type.angzarr.io/"


def _book(*types: str, domain: str = "order", first: int = 0) -> wire.EventBook:
    book = wire.EventBook(next_sequence=first + len(types))
    book.cover.domain, book.cover.root.value = domain, bytes(16)
    for number, name in enumerate(types):
        page = book.pages.add(event=Any(type_url=name))
        page.header.sequence = first + number
    return book


def _sequences(pages) -> list[int]:
    return [page.header.sequence for page in pages]


@pytest.mark.spec("SAGA-3")
@pytest.mark.parametrize(
    ("pattern", "domain", "is_match"),
    [
        ("order", "order", True),
        ("order", "orders", False),
        ("order", "order.eu", False),
        ("*", "order", True),
        ("order.*", "order.eu", True),
        ("order.*", "order.eu.north", True),
        ("order.*", "order", False),
        ("order.*", "orders.eu", False),
        ("", "", False),
        ("", "order", False),
    ],
)
def test_a_domain_matches_exactly_by_star_or_by_prefix(pattern, domain, is_match):
    assert matches(Subscription(pattern), domain, "shop.Created") is is_match


@pytest.mark.spec("SAGA-3", "PROJ-1")
def test_star_leaves_out_domains_with_an_underscore():
    assert not matches(Subscription("*"), "_angzarr", "shop.Created")


@pytest.mark.spec("SAGA-3", "PROJ-1")
@pytest.mark.parametrize("pattern", ["_angzarr.orders", "_angzarr.*"])
def test_a_domain_with_an_underscore_is_subscribed_by_name(pattern):
    assert matches(Subscription(pattern), "_angzarr.orders", "shop.Created")


@pytest.mark.spec("SAGA-3")
@pytest.mark.parametrize(
    ("wanted", "name", "is_match"),
    [
        ("shop.Created", "shop.Created", True),
        ("Created", "shop.Created", True),
        ("Created", "Created", True),
        ("Created", "shop.OrderCreated", False),
        ("Created", "shop.Created.Old", False),
        ("hop.Created", "shop.Created", False),
        ("shop.Created", "toys.Created", False),
        ("Order.Created", "shop.Order.Created", False),
    ],
)
def test_a_type_matches_by_full_name_or_last_component_never_by_suffix(wanted, name, is_match):
    assert matches(Subscription("order", (wanted,)), "order", name) is is_match


@pytest.mark.spec("SAGA-3", "COMPAT-16")
@pytest.mark.parametrize("prefix", ["type.googleapis.com/", "example.org/a/", "/", ""])
def test_the_prefix_of_a_type_url_is_never_compared(prefix):
    assert matches(Subscription("order", ("shop.Created",)), "order", f"{prefix}shop.Created")
    assert matches(Subscription("order", (f"{prefix}shop.Created",)), "order", "shop.Created")


@pytest.mark.spec("SAGA-3")
def test_an_empty_type_list_means_all_types():
    assert matches(Subscription("order"), "order", "shop.Created")


@pytest.mark.spec("SAGA-3")
def test_a_list_with_an_empty_name_means_no_type():
    assert not matches(Subscription("order", ("",)), "order", "shop.Created")


@pytest.mark.spec("SAGA-3", "PROJ-13")
@pytest.mark.parametrize("types", [(), ("NoOp",), ("angzarr.NoOp",)])
def test_a_no_op_is_never_subscribed(types):
    assert not matches(Subscription("order", types), "order", f"{OURS}angzarr.NoOp")


@pytest.mark.spec("SAGA-3")
@pytest.mark.parametrize(
    ("types", "is_match"),
    [
        ((), True),
        (("angzarr.SagaCompensationFailed",), True),
        (("SagaCompensationFailed",), False),
    ],
)
def test_framework_messages_have_no_short_names(types, is_match):
    name = f"{OURS}angzarr.SagaCompensationFailed"

    assert matches(Subscription("*", types), "angzarr-saga-failures", name) is is_match


@pytest.mark.spec("SAGA-3")
def test_a_filter_takes_what_one_of_its_subscriptions_takes():
    wanted = Filter([Subscription("order", ("Paid",)), Subscription("*", ("shop.Created",))])
    pages = _book(f"{USER}shop.Paid", f"{USER}shop.Shipped", f"{USER}shop.Created").pages

    assert _sequences(wanted.pages("order", pages)) == [0, 2]
    assert _sequences(wanted.pages("stock", pages)) == [2]
    assert wanted.wants("stock")


@pytest.mark.spec("SAGA-3")
def test_a_filter_wants_no_other_domains():
    wanted = Filter([Subscription("order")])

    assert (wanted.wants("order"), wanted.wants("stock")) == (True, False)
    assert wanted.pages("stock", _book(f"{USER}shop.Paid").pages) == []


@pytest.mark.spec("SAGA-3", "SAGA-2")
def test_no_ops_are_no_pages_for_anyone():
    pages = _book(f"{USER}shop.Paid", f"{OURS}angzarr.NoOp").pages

    assert _sequences(Filter([Subscription("order")]).pages("order", pages)) == [0]


@pytest.mark.spec("SAGA-3")
def test_a_payload_that_is_elsewhere_is_wanted_since_its_type_does_not_show():
    book = _book(f"{USER}shop.Paid", f"{USER}shop.Paid")
    book.pages[1].external.uri = "file:///x"
    wanted = Filter([Subscription("order", ("Created",))])

    assert type_urls(book.pages) == (f"{USER}shop.Paid", EXTERNAL)
    assert _sequences(wanted.pages("order", book.pages)) == [1]
    assert wanted.wants_any("order", type_urls(book.pages))
    assert not wanted.wants_any("stock", type_urls(book.pages))


@pytest.mark.spec("SAGA-2")
def test_a_book_with_subscribed_pages_only_is_itself():
    book = _book(f"{USER}shop.Paid", f"{USER}shop.Paid").SerializeToString() + b"\xa0\x06\x01"

    assert Filter([Subscription("order", ("Paid",))]).book(book) is book


@pytest.mark.spec("SAGA-2", "WIRE-9")
def test_a_book_loses_the_pages_that_are_not_subscribed():
    book = _book(f"{USER}shop.Paid", f"{USER}shop.Created", f"{USER}shop.Paid", first=5)
    book.cover.correlation_id = "c-1"

    kept = Filter([Subscription("order", ("Created",))]).book(book.SerializeToString())

    assert kept is not None
    found = wire.EventBook.FromString(kept)
    assert (found.cover, list(found.pages)) == (book.cover, [book.pages[1]])
    assert found.next_sequence == 7


@pytest.mark.spec("SAGA-2")
@pytest.mark.parametrize("name", [f"{USER}shop.Paid", f"{OURS}angzarr.NoOp"])
def test_a_book_with_no_subscribed_page_is_none(name):
    wanted = Filter([Subscription("order", ("Created",))])

    assert wanted.book(_book(name).SerializeToString()) is None


def test_a_filter_keeps_few_of_many_made_up_domains(monkeypatch):
    monkeypatch.setattr("angzarr.coordinators.subscriptions.DOMAINS_KEPT", 2)
    wanted = Filter([Subscription("*", ("Paid",))])

    assert all(wanted.wants(f"domain-{number}") for number in range(5))


@pytest.mark.spec("EDN-13", "WIRE-7")
def test_editions_are_named_as_covers_name_them():
    assert editions_of(("main", "what-if")) == {"angzarr", "what-if"}
    assert editions_of(("",)) == {"angzarr"}
    assert editions_of(None) is None
