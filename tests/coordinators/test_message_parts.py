"""Answers in messages of bounded size (QRY-11)."""

from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any

from angzarr import wire
from angzarr.coordinators.message_parts import Parts


def page(number, size=100):
    made = wire.EventPage(event=Any(type_url="t/test.Set", value=bytes(size)))
    made.header.sequence = number
    return made


def head():
    made = wire.StreamDifference(first_sequence=4)
    made.cover.domain = "account"
    return made


def cut(items, **limits):
    parts = Parts(head(), **{"items_max": 1_000, "bytes_max": 1_000_000, **limits})
    data = [part for field, item in items for part in parts.add(field, item)]
    return [*data, parts.last()]


@pytest.mark.spec("QRY-11")
def test_no_message_is_larger_than_the_limit():
    data = cut([("left", page(number)) for number in range(50)], bytes_max=1_000)

    assert all(len(part) <= 1_000 for part in data)
    assert sum(len(wire.StreamDifference.FromString(part).left) for part in data) == 50


@pytest.mark.spec("QRY-11")
def test_no_message_has_more_items_than_the_limit():
    data = cut([("left", page(number)) for number in range(5)], items_max=2)

    assert [len(wire.StreamDifference.FromString(part).left) for part in data] == [2, 2, 1]


def test_an_item_that_is_too_large_has_a_message_of_its_own():
    sizes = (10, 2_000, 10)

    data = cut([("left", page(n, size)) for n, size in enumerate(sizes)], bytes_max=1_000)

    assert [len(wire.StreamDifference.FromString(part).left) for part in data] == [1, 1, 1]


def test_every_message_has_the_head_and_the_last_one_says_so():
    data = cut([("left", page(0)), ("right", page(0)), ("fields", "a")], items_max=1)

    parts = [wire.StreamDifference.FromString(part) for part in data]
    assert [(part.cover.domain, part.first_sequence) for part in parts] == [("account", 4)] * 3
    assert [part.is_last for part in parts] == [False, False, True]


def test_without_items_there_is_one_message():
    [data] = cut([])

    assert wire.StreamDifference.FromString(data).is_last
