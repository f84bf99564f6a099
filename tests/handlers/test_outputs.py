"""What sagas and process managers want done, as values."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from warehouse import HOUR, Order, Remind, Ship, Shipment, Shipped, Shipping

from angzarr import Cancel, Record, Schedule, Send
from angzarr.cover import root_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_root_is_named_as_callers_name_it():
    name = str(uuid.uuid4())

    roots = [Send(Ship(""), root=root).root for root in ("o-1", name, uuid.UUID(name), b"r" * 16)]

    assert roots == [root_of("o-1"), uuid.UUID(name).bytes, uuid.UUID(name).bytes, b"r" * 16]


def test_a_domain_is_a_name_or_a_class():
    assert Send(Ship(""), domain=Shipment) == Send(Ship(""), domain="shipment")
    assert Record(Shipped(), domain=Shipment) == Record(Shipped(), domain="shipment")


def test_a_message_is_a_payload():
    assert Send(Duration(seconds=1)).command == Duration(seconds=1)


def test_an_output_is_shown_as_one_writes_it():
    root = uuid.UUID(int=7)

    assert repr(Send(Ship("x"))) == "Send(Ship(address='x'))"
    assert repr(Send(Ship("x"), domain="shipment", root=root, merge="strict", at_head=True)) == (
        f"Send(Ship(address='x'), domain='shipment', root='{root}', merge='strict', at_head=True)"
    )
    assert repr(Record(Shipped(), external_id="e")) == (
        "Record(Shipped(carrier='bike'), external_id='e')"
    )
    assert repr(Schedule("a", Remind(), after=HOUR)) == (
        f"Schedule('a', Remind(count=0), after={HOUR!r})"
    )
    assert repr(Cancel("a")) == "Cancel(name='a')"


@pytest.mark.parametrize("payload", [Ship, 3, None, "Ship", Send(Ship("")), Order])
def test_what_is_no_payload_is_told_at_once(payload: object):
    for make in (Send, Record, lambda p: Record(p, domain="a")):
        with pytest.raises(TypeError, match=r"(Send|Record) takes a"):
            make(payload)


def test_a_timer_holds_a_payload_or_a_send():
    with pytest.raises(TypeError, match="Schedule takes a payload"):
        Schedule("a", Record(Shipped()), after=HOUR)


def test_a_root_of_another_length_is_told_at_once():
    with pytest.raises(ValueError, match="root must be 16 bytes, got 3"):
        Send(Ship(""), root=b"abc")


def test_an_unknown_strategy_is_told_at_once():
    with pytest.raises(ValueError, match="commutative, strict"):
        Send(Ship(""), merge="hopeful")


def test_a_class_without_a_domain_is_told_at_once():
    with pytest.raises(TypeError, match="neither a domain nor an Aggregate class"):
        Send(Ship(""), domain=Shipping)


@pytest.mark.parametrize("when", [{}, {"after": HOUR, "at": NOON}])
def test_a_timer_is_due_after_or_at(when: dict[str, object]):
    with pytest.raises(TypeError, match="either after or at"):
        Schedule("a", Remind(), **when)


def test_a_time_needs_a_zone():
    with pytest.raises(ValueError, match="time zone"):
        Schedule("a", Remind(), at=datetime(2026, 3, 1))


@pytest.mark.spec("TIMER-1")
@pytest.mark.parametrize("name", ["a", "A-Z_a.z:0-9", "x" * 128])
def test_a_timers_name_may_be(name: str):
    assert Schedule(name, Remind(), after=timedelta()).name == Cancel(name).name == name


@pytest.mark.spec("TIMER-1")
@pytest.mark.parametrize("name", ["", "x" * 129, "a b", "ä", "a/b", "a\n"])
def test_a_timers_name_may_not_be(name: str):
    with pytest.raises(ValueError, match="a timer's name"):
        Schedule(name, Remind(), after=timedelta())
    with pytest.raises(ValueError, match="a timer's name"):
        Cancel(name)
