"""What a reaction is told of the event that it handles, beside the event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from angzarr import wire
from angzarr.cover import Cover

UNDATED: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""`created_at` of a page that carries none, as one made by hand may."""


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
    return Trigger(
        domain=cover.domain,
        root=cover.root.value,
        edition=cover.edition.name,
        correlation_id=cover.correlation_id,
        sequence=page.header.sequence,
        created_at=page.created_at.ToDatetime(UTC),
        next_sequences=next_sequences,
    )
