"""A decided cascade's markers, on every stream that has pages of it (CAS-14)."""

from __future__ import annotations

from dataclasses import dataclass

from angzarr import wire
from angzarr.cover import Cover
from angzarr.ports.event_store import EventStore


@dataclass(frozen=True, slots=True)
class Resolved:
    """A stream that got its marker. sequences: the pages that it names, ascending. sequence: its
    own."""

    cover: Cover
    sequences: tuple[int, ...]
    marker: bytes
    sequence: int


async def resolve(events: EventStore, cascade_id: str, correlation_id: str) -> list[Resolved]:
    """Write the markers that the cascade's decision asks for; those that were missing, in the order
    of the streams (domain, edition, root). What others resolve meanwhile is passed over.

    Raises UnknownCascade without a decision, and what the store raises; what is missing then is the
    reaper's (CAS-17).
    """
    found: list[Resolved] = []
    for participant in await events.query_cascade_participants(cascade_id):
        target = participant.cover
        cover = Cover(target.domain, target.root, target.edition, correlation_id)
        marker = await events.resolve_cascade(cover, cascade_id)
        if marker is not None:
            sequence = wire.EventPage.FromString(marker).header.sequence
            found.append(Resolved(cover, participant.sequences, marker, sequence))
    return found
