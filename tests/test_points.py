"""Points in time as callers give and write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from angzarr import Position, points, wire
from angzarr.errors import InvalidInput

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.spec("QRY-8")
def test_a_number_is_a_sequence() -> None:
    assert points.temporal(7) == wire.TemporalQuery(as_of_sequence=7)


@pytest.mark.spec("QRY-8")
def test_a_datetime_is_an_instant() -> None:
    later = NOON.astimezone(timezone(timedelta(hours=5))) + timedelta(microseconds=1)

    found = points.temporal(later).as_of_time

    assert (found.seconds, found.nanos) == (int(NOON.timestamp()), 1_000)


@pytest.mark.spec("QRY-16")
def test_a_position_is_one_of_the_log() -> None:
    assert points.temporal(Position(2**40)) == wire.TemporalQuery(as_of_position=2**40)


def test_the_first_sequence_and_the_empty_log_are_points() -> None:
    assert points.temporal(0).WhichOneof("point_in_time") == "as_of_sequence"
    assert points.temporal(Position(0)).WhichOneof("point_in_time") == "as_of_position"


@pytest.mark.parametrize("at", [-1, 2**32, Position(-1), Position(2**64)])
def test_a_number_that_does_not_fit_is_a_mistake(at: points.At) -> None:
    with pytest.raises(ValueError, match="must be 0 to"):
        points.temporal(at)


@pytest.mark.parametrize("at", ["7", 7.0, True])
def test_another_type_is_a_mistake(at: points.At) -> None:
    with pytest.raises(TypeError, match="a sequence, a datetime or a Position"):
        points.temporal(at)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("7", 7),
        ("position:4711", Position(4711)),
        ("2026-01-31T12:00:00Z", NOON),
        ("2026-01-31T12:00:00", NOON),
        ("2026-01-31 13:00+01:00", NOON),
    ],
)
def test_what_people_write_is_read(text: str, at: points.At) -> None:
    assert points.parse(text) == at


@pytest.mark.parametrize("text", ["", "-1", "noon", "position:", "position:x", "4294967296", "٧"])
def test_what_is_no_point_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"position|fits"):
        points.parse(text)


def test_a_position_is_written_as_it_is_read() -> None:
    assert points.parse(str(Position(5))) == Position(5)
