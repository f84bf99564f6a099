"""The time that a trigger tells of an event."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from angzarr import wire
from angzarr.handlers.trigger import trigger_of

COVER = wire.Cover(domain="account", root=wire.UUID(value=bytes(16)))


def created_at(seconds: int, nanos: int = 0) -> datetime:
    page = wire.EventPage()
    page.created_at.seconds, page.created_at.nanos = seconds, nanos
    return trigger_of(COVER, page, {}).created_at


def test_the_time_is_told_to_the_microsecond() -> None:
    assert created_at(1_767_225_600, 999_999_999) == datetime(
        2026, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC
    )


def test_times_before_1970_are_told_too() -> None:
    assert created_at(-1, 500_000_000) == datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(("seconds", "nanos"), [(2**60, 0), (-(2**60), 0), (0, -1), (0, 2**30)])
def test_what_is_no_time_is_an_error(seconds: int, nanos: int) -> None:
    with pytest.raises(ValueError, match="Timestamp is not valid"):
        created_at(seconds, nanos)
