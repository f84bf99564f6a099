"""Events of the benches: 100 bytes of payload in an EventPage."""

from __future__ import annotations

import uuid

from angzarr.cover import Cover
from angzarr.wire import EventPage, Snapshot

TYPE_URL = "type.googleapis.com/bench.Happened"
PAYLOAD = bytes(range(100))
DOMAIN = "bench"


def page(sequence: int) -> bytes:
    """An encoded page as a coordinator makes it."""
    made = EventPage(committed=True)
    made.header.sequence = sequence
    made.created_at.seconds, made.created_at.nanos = 1_700_000_000, sequence % 1_000_000_000
    made.event.type_url, made.event.value = TYPE_URL, PAYLOAD
    return made.SerializeToString(deterministic=True)


def snapshot(sequence: int) -> bytes:
    """A snapshot with 1 KB of state."""
    made = Snapshot(sequence=sequence)
    made.state.type_url, made.state.value = "type.googleapis.com/bench.State", bytes(1000)
    return made.SerializeToString(deterministic=True)


def fresh(edition: str = "") -> Cover:
    """A new stream."""
    return Cover(DOMAIN, uuid.uuid4().bytes, edition)


PAGES = [page(sequence) for sequence in range(2000)]
