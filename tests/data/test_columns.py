"""Payload fields as columns: what they say is what decoding the events says."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.context.attribute_context_pb2 import AttributeContext
from google.type.money_pb2 import Money
from hypothesis import given, settings
from hypothesis import strategies as st

from angzarr import App, Upcaster, data, upcasts
from angzarr.errors import InvalidInput, UpcasterFailed

from .conftest import Account, Deposited, History, OldDeposited, Place, Shop, Withdrawn

UTC = datetime.UTC


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Mixed:
    """Of every shape."""

    __type_name__ = "account.Mixed"

    whole: int
    real: float
    exact: Decimal
    is_so: bool
    name: str
    colour: Colour
    size: Literal[1, 2]
    tags: dict[str, int]
    several: tuple[int, ...]
    either: int | str
    maybe: int | None
    place: Place | None
    at: datetime.datetime


def mixed(**more: Any) -> Mixed:
    plain: dict[str, Any] = {
        "whole": 1,
        "real": 0.5,
        "exact": Decimal("1.25"),
        "is_so": True,
        "name": "n",
        "colour": Colour.BLUE,
        "size": 2,
        "tags": {"a": 7},
        "several": (1, 2),
        "either": "x",
        "maybe": None,
        "place": Place("Ulm"),
        "at": datetime.datetime(2026, 1, 31, 12, tzinfo=UTC),
    }
    return Mixed(**plain | more)


def read(events: Sequence[Any], fields: Any, **more: Any) -> data.Batch:
    """The columns of these events, of one stream."""
    with App(Account, *more.pop("definitions", ()), store="memory://") as calls:
        if events:
            calls.domain(Account).record("r", *events)
        return data.read(calls, fields=fields, **more)


def one(path: str, kind: Any = None, **more: Any) -> Any:
    """The value of a field of Mixed."""
    rows = read([mixed(**more)], {"x": data.Field(Mixed, path, kind)})
    if not rows.valid["x"][0]:
        return None
    return (rows.text("x") if "x" in rows.categories else rows["x"])[0]


deposits = st.builds(
    Deposited,
    st.integers(-(2**63), 2**63 - 1),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.floats(allow_nan=False, allow_infinity=False),
    st.one_of(
        st.integers(-(2**53), 2**53),
        st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-9, max_value=9),
    ),
    st.booleans(),
    st.none() | st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)),
    st.none() | st.builds(Place, st.text(max_size=3), st.none() | st.integers(0, 9)),
)
withdrawals = st.builds(Withdrawn, st.integers(0, 100))


def expected(event: Any, path: str) -> Any:
    """A field of an event; None where there is no such thing."""
    value = event
    for name in path.split("."):
        value = getattr(value, name, None)
    return value


@pytest.mark.spec("DATA-4", "DATA-5")
@settings(max_examples=60, deadline=None)
@given(st.lists(deposits | withdrawals, max_size=12), st.integers(1, 5))
def test_columns_hold_what_the_events_hold(events: list[Any], batch_rows: int) -> None:
    paths = ["cents", "note", "rate", "chips", "is_large", "at", "place.city", "place.floor"]

    rows = read(events, paths, batch_rows=batch_rows)

    for path in paths:
        column, mask = rows[path.replace(".", "_")], rows.valid[path.replace(".", "_")]
        if path in ("note", "place.city"):
            column = rows.text(path.replace(".", "_"))
        wanted = [expected(event, path) for event in events]
        assert mask.tolist() == [value is not None for value in wanted]
        for found, value in zip(column, wanted, strict=True):
            if value is None:
                assert found is None or found != found or found == 0
            elif path == "at":
                assert found == np.datetime64(value, "ns")
            elif path == "chips":
                assert found == float(value)
            else:
                assert found == value


money = st.builds(
    Money,
    currency_code=st.sampled_from(["", "EUR", "USD"]),
    units=st.integers(-(2**63), 2**63 - 1),
    nanos=st.integers(-(2**31), 2**31 - 1),
)


@pytest.mark.spec("DATA-4", "DATA-5")
@settings(max_examples=40, deadline=None)
@given(st.lists(money, max_size=8))
def test_messages_have_the_defaults_of_their_absent_fields(events: list[Money]) -> None:
    fields = {name: (Money, name) for name in ("currency_code", "units", "nanos")}

    rows = read(events, fields)

    assert rows.text("currency_code").tolist() == [event.currency_code for event in events]
    assert rows["units"].tolist() == [event.units for event in events]
    assert rows["nanos"].tolist() == [event.nanos for event in events]
    assert all(rows.valid[name].all() for name in fields)


@pytest.mark.spec("DATA-4")
def test_timestamps_of_messages_are_times() -> None:
    request = AttributeContext.Request(size=5, time=Timestamp(seconds=-3, nanos=7))
    events = [AttributeContext(request=request), AttributeContext()]

    rows = read(events, {"at": (AttributeContext, "request.time")})

    assert rows["at"].astype(np.int64)[0] == -3_000_000_000 + 7
    assert rows.valid["at"].tolist() == [True, False]
    assert np.isnat(rows["at"][1])


@pytest.mark.spec("DATA-4")
def test_fields_inside_of_messages_are_read() -> None:
    inner = AttributeContext.Request(size=5, auth=AttributeContext.Auth(principal="me"))
    fields = {
        "size": (AttributeContext, "request.size"),
        "who": (AttributeContext, "request.auth.principal"),
    }

    rows = read([AttributeContext(request=inner)], fields)

    assert rows["size"].tolist() == [5]
    assert rows.text("who").tolist() == ["me"]


@pytest.mark.spec("DATA-4")
@pytest.mark.parametrize(
    ("path", "kind", "value"),
    [
        ("whole", None, 1),
        ("whole", "float", 1.0),
        ("exact", None, 1.25),
        ("exact", "text", "1.25"),
        ("is_so", None, True),
        ("colour", None, "blue"),
        ("colour", "strings", "blue"),
        ("size", None, 2),
        ("tags.a", None, 7),
        ("place.city", None, "Ulm"),
        ("either", "text", "x"),
        ("either", "int", None),
        ("at", None, np.datetime64("2026-01-31T12:00:00", "ns")),
        ("at", "text", "2026-01-31T12:00:00Z"),
        ("tags.b", None, None),
        ("maybe", None, None),
        ("place.floor", None, None),
    ],
)
def test_a_fields_column_is_of_its_kind(path: str, kind: Any, value: Any) -> None:
    assert one(path, kind) == value


@pytest.mark.spec("DATA-4")
@pytest.mark.parametrize("path", ["several", "tags", "place", "either"])
def test_what_is_no_scalar_of_one_kind_has_no_column(path: str) -> None:
    with pytest.raises(InvalidInput, match="one kind"):
        read([], {"x": (Mixed, path)})


@pytest.mark.spec("DATA-4")
def test_a_kind_that_the_field_can_not_be_is_refused() -> None:
    with pytest.raises(InvalidInput, match="of kind bool"):
        read([], {"x": data.Field(Mixed, "whole", "bool")})


@pytest.mark.spec("DATA-4")
def test_one_column_has_fields_of_several_types() -> None:
    fields = {"x": [(Deposited, "cents"), (Withdrawn, "cents"), (Mixed, "whole")]}

    rows = read([Deposited(5), Withdrawn(6), mixed()], fields)

    assert rows["x"].tolist() == [5, 6, 1]


@pytest.mark.spec("DATA-4")
def test_fields_of_two_kinds_are_no_column() -> None:
    with pytest.raises(InvalidInput, match="int and text"):
        read([], {"x": [(Deposited, "cents"), (Deposited, "note")]})


@pytest.mark.spec("DATA-4")
def test_a_field_that_no_class_has_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="nearest: city"):
        read([], {"x": (Mixed, "place.citty")})


@pytest.mark.spec("DATA-4")
@pytest.mark.parametrize("name", ["type", "", "a/b", "branch", "a.b"])
def test_a_columns_name_has_to_be_free(name: str) -> None:
    with pytest.raises(InvalidInput, match="column's name"):
        read([], {name: "cents"})


@pytest.mark.spec("DATA-4")
def test_a_type_without_a_class_needs_a_kind() -> None:
    with pytest.raises(InvalidInput, match="given a kind"):
        read([], {"x": ("account.Unheard", "cents")})

    rows = read([Withdrawn(4)], {"x": data.Field("account.Withdrawn", "cents", "float")})
    assert rows["x"].tolist() == [4.0]


@pytest.mark.spec("DATA-5")
def test_an_absent_field_has_its_default_and_a_null_has_none() -> None:
    """As events that were stored before the field was there decode."""

    @dataclass(frozen=True)
    class Deposited:
        cents: int

    rows = read([Deposited(5)], ["note", "fee", "currency", "at", "rate", "is_large"])

    assert rows.text("note").tolist() == [""]
    assert rows.text("currency").tolist() == ["EUR"]
    assert rows["fee"].tolist() == [7]
    assert rows["rate"].tolist() == [1.0]
    assert rows["is_large"].tolist() == [False]
    assert rows.valid["fee"].tolist() == rows.valid["is_large"].tolist() == [True]
    assert rows.valid["at"].tolist() == [False]


@pytest.mark.spec("DATA-5")
def test_a_default_of_another_kind_is_no_value() -> None:
    @dataclass(frozen=True)
    class Either:
        __type_name__ = "account.Either"
        x: int | str = 5

    @dataclass(frozen=True)
    class Empty:
        __type_name__ = "account.Either"

    fields = {"n": data.Field(Either, "x", "int"), "t": data.Field(Either, "x", "strings")}

    rows = read([Empty()], fields)

    assert rows["n"].tolist() == [5]
    assert rows["t"].tolist() == [None]
    assert rows.valid["t"].tolist() == [False]


@pytest.mark.spec("DATA-5")
def test_a_number_that_is_too_big_does_not_become_the_default() -> None:
    @dataclass(frozen=True)
    class Deposited:
        cents: int
        fee: int

    rows = read([Deposited(5, 2**70)], ["fee"])

    assert rows.valid["fee"].tolist() == [False]


@pytest.mark.spec("DATA-5")
def test_values_of_another_kind_are_none() -> None:
    @dataclass(frozen=True)
    class Wrong:
        __type_name__ = "account.Withdrawn"
        cents: str

    with App(Account, Shop, store="memory://") as calls:
        calls.domain(Shop).record("s", Wrong("many"))
        rows = data.read(calls, fields={"cents": (Withdrawn, "cents")})

    assert rows.valid["cents"].tolist() == [False]
    assert rows["cents"].tolist() == [0]


@pytest.mark.spec("DATA-6")
def test_old_events_are_upcast_before_they_are_read() -> None:
    events = [OldDeposited(3), Deposited(4, note="new"), OldDeposited(5)]

    rows = read(events, ["cents", "note"], definitions=[History], payloads=True, batch_rows=2)

    assert rows.text("type").tolist() == ["account.Deposited"] * 3
    assert rows["cents"].tolist() == [300, 4, 500]
    assert rows.text("note").tolist() == ["", "new", ""]
    assert rows.payloads is not None
    assert b'"cents":300' in rows.payloads[0]


@pytest.mark.spec("DATA-6")
def test_types_are_chosen_as_they_are_after_upcasting() -> None:
    events = [OldDeposited(3), Withdrawn(4)]

    rows = read(events, ["cents"], definitions=[History], types=[Deposited])

    assert rows["cents"].tolist() == [300]


@pytest.mark.spec("DATA-6")
def test_a_failing_upcaster_ends_the_reading() -> None:
    class Broken(Upcaster, domain="account"):
        @upcasts
        def never(self, old: OldDeposited) -> Deposited:
            raise ValueError("no idea")

    with pytest.raises(UpcasterFailed, match="no idea"):
        read([OldDeposited(3)], ["cents"], definitions=[Broken])
