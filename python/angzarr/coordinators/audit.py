"""Audit pages: what was done to the store beside commands of the domain (EDN-16)."""

from __future__ import annotations

import uuid
from typing import Final

from google.protobuf.message import Message

from angzarr import wire
from angzarr.coordinators import books, validate
from angzarr.cover import NAMESPACE, Cover
from angzarr.errors import SequenceConflict
from angzarr.ports.clock import Clock
from angzarr.ports.event_store import EventStore

TRIES: Final = 100
"""Attempts at an audit page; only another audit of the very same thing can be in the way."""


class Audit:
    """Keeps audit pages in `_angzarr`."""

    def __init__(self, events: EventStore, clock: Clock) -> None:
        self._events = events
        self._clock = clock

    async def record(self, event: Message, stream: Cover) -> wire.EventPage:
        """Append `event` to the audit stream; its page, dated now."""
        now_ns = self._clock.now_ns()
        page = wire.EventPage(committed=True, created_at=books.timestamp(now_ns))
        books.pack_framework(page, event)
        for attempt in range(TRIES):
            sequence = await self._events.next_sequence(stream)
            page.header.sequence = sequence
            try:
                await self._events.append(
                    stream, sequence, [page.SerializeToString(deterministic=True)]
                )
                break
            except SequenceConflict:
                if attempt == TRIES - 1:
                    raise
        return page


def stream_of(
    command: type[Message] | Message, subject: str, domain: str, correlation_id: str = ""
) -> Cover:
    """Where audit pages of such a command lie. subject: an edition, or a cascade's id; domain: ""
    where there is none.
    """
    name = f"{command.DESCRIPTOR.full_name}:{subject}:{domain}"
    root = uuid.uuid5(NAMESPACE, name).bytes
    return Cover(validate.SYSTEM, root, correlation_id=correlation_id)
