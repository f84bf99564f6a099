"""Payloads and their bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from angzarr import codec
from angzarr.errors import CorruptData, InvalidInput


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 7


@dataclass(frozen=True)
class Everything:
    text: str
    whole: int
    real: float
    is_true: bool
    raw: bytes
    amount: Decimal
    identity: UUID
    moment: datetime
    day: date
    span: timedelta
    colour: Colour
    point: Point
    maybe: str | None
    chips: int | Decimal
    points: list[Point] = field(default_factory=list)
    by_name: dict[str, Point] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    pair: tuple[int, str] = (0, "")


@dataclass(frozen=True)
class Renamed:
    __type_name__ = "shop.OrderPlaced"
    number: int = 0


@dataclass(frozen=True, slots=True)
class Slotted:
    number: int


class Opaque:
    pass


@dataclass
class Holder:
    opaque: Opaque


@dataclass
class Nested:
    holders: list[dict[str, Holder | None]]


EVERYTHING = Everything(
    text="grüße ☂",
    whole=-(2**63),
    real=0.1,
    is_true=True,
    raw=bytes(range(256)),
    amount=Decimal("12345678901234567890.10"),
    identity=UUID(int=7),
    moment=datetime(2024, 2, 29, 23, 59, 59, 999999, UTC),
    day=date(2024, 2, 29),
    span=timedelta(days=1, microseconds=1),
    colour=Colour.BLUE,
    point=Point(1, 2),
    maybe=None,
    chips=Decimal("1.25"),
    points=[Point(3)],
    by_name={"a": Point(4)},
    names=frozenset({"b"}),
    pair=(5, "c"),
)


def test_a_dataclass_of_all_kinds_of_fields_comes_back_equal():
    packed = codec.pack(EVERYTHING, "shop")

    assert codec.unpack(packed, Everything, "shop") == EVERYTHING


@given(st.builds(Point, st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1)))
def test_any_point_comes_back_equal(point: Point):
    assert codec.unpack(codec.pack(point, "shop"), Point, "shop") == point


def test_a_slotted_dataclass_comes_back_equal():
    assert codec.unpack(codec.pack(Slotted(3), "shop"), Slotted, "shop") == Slotted(3)


def test_a_dataclass_is_named_by_domain_and_class():
    assert codec.pack(Point(1), "shop").type_url == "json.angzarr.io/shop.Point"


def test_a_class_may_keep_a_name_of_its_own():
    assert codec.encode(Renamed(), "other")[0] == "json.angzarr.io/shop.OrderPlaced"


def test_a_subclass_does_not_inherit_the_name():
    @dataclass(frozen=True)
    class More(Renamed):
        pass

    assert codec.encode(More(), "other")[0] == "json.angzarr.io/other.More"


@pytest.mark.parametrize("name", ["", "a/b", "a..b", ".a", "a b", 3])
def test_a_name_that_is_not_dotted_is_refused(name: object):
    cls = dataclass(type("Odd", (), {"__type_name__": name}))

    with pytest.raises(TypeError, match="Odd"):
        codec.payload_type(cls, "shop")


@pytest.mark.spec("WIRE-4")
def test_a_message_has_the_public_prefix_and_its_own_bytes():
    packed = codec.pack(Duration(seconds=3), "shop")

    assert packed == Any(
        type_url="type.googleapis.com/google.protobuf.Duration",
        value=Duration(seconds=3).SerializeToString(),
    )


def test_a_message_comes_back_equal():
    packed = codec.pack(Duration(seconds=3), "shop")

    assert codec.unpack(packed, Duration, "shop") == Duration(seconds=3)


@pytest.mark.spec("WIRE-6", "COMPAT-16")
@pytest.mark.parametrize(
    ("type_url", "name"),
    [
        ("type.googleapis.com/shop.Point", "shop.Point"),
        ("a/b/c/shop.Point", "shop.Point"),
        ("/shop.Point", "shop.Point"),
        ("shop.Point", "shop.Point"),
        ("", ""),
    ],
)
def test_the_full_name_is_what_follows_the_last_slash(type_url: str, name: str):
    assert codec.full_name(type_url) == name


@pytest.mark.spec("WIRE-6", "COMPAT-16")
def test_any_prefix_is_read():
    packed = Any(type_url="elsewhere.example/shop.Point", value=b'{"x":1}')

    assert codec.unpack(packed, Point, "shop") == Point(1)


def test_unknown_fields_are_ignored():
    packed = Any(type_url="shop.Point", value=b'{"x":1,"z":[{}]}')

    assert codec.unpack(packed, Point, "shop") == Point(1)


def test_a_missing_field_takes_its_default():
    assert codec.payload_type(Point, "shop").decode(b'{"x":1}').y == 7


def test_a_stored_payload_without_a_field_is_corrupt_and_names_it():
    packed = Any(type_url="shop.Point", value=b"{}")

    with pytest.raises(CorruptData, match=r"field `x`.*shop\.Point"):
        codec.unpack(packed, Point, "shop")


def test_a_stored_payload_of_another_type_is_corrupt():
    packed = Any(type_url="shop.Line", value=b"{}")

    with pytest.raises(CorruptData, match=r"found shop\.Line, wanted shop\.Point"):
        codec.unpack(packed, Point, "shop")


@pytest.mark.parametrize("value", [b"", b"{", b"\xff", b'"\xff"', b"null", b"[]", b'{"x":"1"}'])
def test_a_sent_payload_that_does_not_parse_is_invalid_input(value: bytes):
    with pytest.raises(InvalidInput, match=r"shop\.Point"):
        codec.payload_type(Point, "shop").read_command(value)


def test_a_sent_message_that_does_not_parse_is_invalid_input():
    with pytest.raises(InvalidInput, match=r"google\.protobuf\.Duration"):
        codec.payload_type(Duration, "shop").read_command(b"\xff")


@pytest.mark.parametrize(
    ("value", "field_name"),
    [
        (b'{"x":"1"}', "shop.Point.x"),
        (b'{"y":1}', "shop.Point.x"),
        (b"[]", "shop.Point"),
    ],
)
def test_the_error_of_a_sent_payload_names_the_field(value: bytes, field_name: str):
    with pytest.raises(InvalidInput) as caught:
        codec.payload_type(Point, "shop").read_command(value)

    assert caught.value.field == field_name


@pytest.mark.parametrize("cls", [int, str, object, dict, Opaque])
def test_other_classes_are_no_payloads(cls: type):
    with pytest.raises(TypeError, match=cls.__name__):
        codec.payload_type(cls, "shop")


def test_a_field_without_json_form_is_named():
    with pytest.raises(TypeError, match=r"Holder\.opaque has type Opaque"):
        codec.payload_type(Holder, "shop")


def test_a_field_without_json_form_is_found_in_depth():
    with pytest.raises(TypeError, match=r"Nested\.holders\.opaque has type Opaque"):
        codec.payload_type(Nested, "shop")


def test_a_field_of_unknown_type_is_named():
    @dataclass
    class Lost:
        thing: Nowhere  # noqa: F821

    with pytest.raises(TypeError, match=r"Lost.*Nowhere"):
        codec.payload_type(Lost, "shop")


def test_json_can_be_shown_without_its_class():
    assert codec.plain("json.angzarr.io/shop.Unknown", b'{"x":[1]}') == {"x": [1]}


def test_a_message_can_be_shown():
    packed = codec.pack(Duration(seconds=3), "shop")

    assert codec.plain(packed.type_url, packed.value) == "3s"


def test_a_message_without_descriptor_is_not_shown():
    assert codec.plain("type.googleapis.com/shop.Unknown", b"") is None


def test_what_does_not_parse_is_not_shown_but_raised():
    with pytest.raises(CorruptData, match=r"shop\.Point"):
        codec.plain("json.angzarr.io/shop.Point", b"{")
