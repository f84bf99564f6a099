"""What differs between two states."""

from __future__ import annotations

from enum import Enum

import pytest
from bank import Account
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from angzarr import Aggregate, wire
from angzarr.handlers import LocalCommandHandler
from angzarr.handlers.state import diff_messages


class Seat(Enum):
    NORTH = "n"


class Everything(Aggregate, domain="everything"):
    number: float = 0
    names: set[str] = set()
    seats: dict[Seat, int] = {}
    nested: dict[str, list[int]] = {}


class Timed(Aggregate, domain="timed"):
    state: wire.Notification


def encoded(state: Aggregate) -> bytes:
    states = state.table().states
    return Any(type_url=states.type_url, value=states.encode(state)).SerializeToString()


def differing(before: Aggregate, after: Aggregate) -> frozenset[str]:
    return LocalCommandHandler(type(before)).diff(encoded(before), encoded(after))


@pytest.mark.spec("CMD-21")
@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        (Account(), Account(), set()),
        (Account(balance=1), Account(balance=2), {"balance"}),
        (Account(history=[1]), Account(history=[1, 2]), {"history"}),
        (Account(balance=1, history=[1]), Account(), {"balance", "history"}),
        (Account(notes={"a": 1, "b": 1}), Account(notes={"a": 1, "b": 2}), {"notes[b]"}),
        (Account(notes={"a": 1}), Account(notes={"b": 1}), {"notes[a]", "notes[b]"}),
        (Everything(names={"a", "b"}), Everything(names={"b", "a"}), set()),
        (Everything(seats={Seat.NORTH: 1}), Everything(), {"seats[n]"}),
        (Everything(nested={"a": [1]}), Everything(nested={"a": [2]}), {"nested[a]"}),
    ],
)
def test_top_level_fields_that_differ_are_named_and_maps_by_key(
    before: Aggregate, after: Aggregate, fields: set[str]
):
    assert differing(before, after) == fields


@pytest.mark.spec("CMD-21")
def test_an_empty_stream_has_the_initial_state():
    handler = LocalCommandHandler(Account)

    assert handler.diff(b"", encoded(Account(balance=3))) == {"balance"}


@pytest.mark.spec("CMD-21")
def test_states_of_different_types_differ_in_everything():
    handler = LocalCommandHandler(Account)
    other = Any(type_url="account.Other", value=b"{}").SerializeToString()

    assert handler.diff(other, encoded(Account())) == {"*"}


@pytest.mark.parametrize("state", [b"\xff", Any(type_url="account.Account").SerializeToString()])
def test_a_state_that_does_not_parse_differs_in_everything(state: bytes):
    assert LocalCommandHandler(Account).diff(state, encoded(Account())) == {"*"}


def test_a_cache_is_neither_encoded_nor_compared():
    before, after = Account(), Account()
    after._seen.append("x")

    assert differing(before, after) == set()


def test_a_state_comes_back_from_its_bytes():
    states = Everything.table().states
    state = Everything(number=1.5, names={"a"}, seats={Seat.NORTH: 2}, nested={"a": [1]})

    assert states.decode(states.encode(state)) == state


def test_the_order_of_a_map_survives():
    states = Account.table().states

    decoded = states.decode(states.encode(Account(notes={"b": 1, "a": 2})))

    assert list(decoded.notes) == ["b", "a"]


@pytest.mark.spec("CMD-21")
@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        (Duration(seconds=1), Duration(seconds=1), set()),
        (Duration(seconds=1), Duration(seconds=2, nanos=1), {"seconds", "nanos"}),
        (Duration(seconds=1), Timestamp(seconds=1), {"*"}),
        (wire.SequenceSet(values=[1]), wire.SequenceSet(values=[2]), {"values"}),
        (wire.Cover(), wire.Cover(root=wire.UUID()), {"root"}),
        (wire.SequenceRange(), wire.SequenceRange(upper=0), {"upper"}),
        (Duration(), Duration.FromString(b"\x50\x01"), {"*"}),
    ],
)
def test_messages_are_compared_by_descriptor(before: object, after: object, fields: set[str]):
    assert diff_messages(before, after) == fields


@pytest.mark.spec("CMD-21")
def test_maps_of_messages_are_compared_by_key():
    before, after = Struct(), Struct()
    before.update({"a": 1, "b": {"c": 1}})
    after.update({"a": 1, "b": {"c": 2}, "d": None})

    assert diff_messages(before, after) == {"fields[b]", "fields[d]"}


def test_a_message_state_is_compared_by_its_own_fields():
    before = Timed()
    after = Timed(state=wire.Notification(metadata={"a": "1"}, cover=wire.Cover(domain="x")))

    assert differing(before, after) == {"metadata[a]", "cover"}
