"""What a reaction is told of the event that it handles, beside the event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from angzarr import wire
from angzarr.cover import Cover

UNDATED: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""`created_at` of a page that carries none, as one made by hand may."""

_SECONDS_MAX: Final = 250_000_000_000
"""Within what a datetime can hold."""
_NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger(Cover):
    """The stream whose event is handled, and the event's place in it.

    root, edition, correlation_id: the stream's, as every Cover has them. created_at: UTC, to the
    microsecond; of a timer's wake-up the time of the wake-up. next_sequences: per output domain the
    first free sequence of the stream that the event leads to there, 0 for an empty one; a stream of
    another root is not in it.
    """

    sequence: int
    created_at: datetime
    next_sequences: Mapping[str, int] = field(
        default_factory=dict[str, int], compare=False, repr=False
    )


def trigger_of(
    cover: wire.Cover, page: wire.EventPage, next_sequences: Mapping[str, int]
) -> Trigger:
    """The Trigger for a page of a book."""
    return trigger_at(cover_of(cover), page, next_sequences)


def trigger_at(cover: Cover, page: wire.EventPage, next_sequences: Mapping[str, int]) -> Trigger:
    """The same where the cover is at hand."""
    return Trigger(
        cover.domain,
        cover.root,
        cover.edition,
        cover.correlation_id,
        sequence=page.header.sequence,
        created_at=_moment(page.created_at),
        next_sequences=next_sequences,
    )


def cover_of(cover: wire.Cover) -> Cover:
    """The value object of a book's cover."""
    return Cover(cover.domain, cover.root.value, cover.edition.name, cover.correlation_id)


def _moment(time: Timestamp) -> datetime:
    seconds, nanos = time.seconds, time.nanos
    if 0 <= seconds < _SECONDS_MAX and 0 <= nanos < _NS_PER_S:
        return UNDATED + timedelta(0, seconds, nanos // 1000)
    return time.ToDatetime(UTC)  # which checks the bounds, and takes three times as long
