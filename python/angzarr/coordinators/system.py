"""Commands to `_angzarr`: deleting editions, deciding cascades (EDN-14 to EDN-16, CAS-11 to
CAS-15).
"""

from __future__ import annotations

import uuid
from typing import Final

from google.protobuf.message import Message

from angzarr import wire
from angzarr.coordinators import books, validate
from angzarr.coordinators.pipeline import storing
from angzarr.coordinators.resolution import resolve
from angzarr.cover import NAMESPACE, Cover
from angzarr.errors import (
    CascadeDecided,
    InvalidInput,
    SequenceConflict,
    UnknownCascade,
)
from angzarr.ports.clock import Clock
from angzarr.ports.event_store import COMMIT, ROLLBACK, EventStore

AUDIT_TRIES: Final = 100
"""Attempts at an audit page; only another audit of the very same thing can be in the way."""


class System:
    """Handles them over an event store."""

    def __init__(self, events: EventStore, clock: Clock) -> None:
        self._events = events
        self._clock = clock

    async def handle(self, command: wire.CommandBook, cover: Cover) -> bytes:
        """The encoded CommandResponse to a checked command of one page.

        Raises InvalidInput, MainProtected, PendingPages, CascadeDecided, UnknownCascade.
        """
        if len(command.pages) != 1:
            raise InvalidInput("command.pages", "1 for _angzarr", len(command.pages))
        payload = command.pages[0].command
        name = books.full_name(payload.type_url)
        with storing("persist events"):
            if name == "angzarr.DeleteEditionEvents":
                wanted = books.parse(wire.DeleteEditionEvents, payload.value)
                book = await self._delete_edition(wanted, cover)
            elif name == "angzarr.CascadeCommit":
                commit = books.parse(wire.CascadeCommit, payload.value)
                book = await self._decide(commit, COMMIT, "", cover)
            elif name == "angzarr.CascadeRollback":
                rollback = books.parse(wire.CascadeRollback, payload.value)
                book = await self._decide(rollback, ROLLBACK, rollback.reason, cover)
            else:
                raise InvalidInput(
                    "command.type_url",
                    "angzarr.DeleteEditionEvents, angzarr.CascadeCommit or angzarr.CascadeRollback",
                    name,
                )
        return books.frame(books.TAG_1, book)

    async def _delete_edition(self, wanted: wire.DeleteEditionEvents, cover: Cover) -> bytes:
        validate.domain(wanted.domain, "domain")
        validate.edition(wanted.edition, "edition")
        count = await self._events.delete_edition(wanted.domain, wanted.edition)
        now_ns = self._clock.now_ns()
        deleted = wire.EditionEventsDeleted(
            edition=wanted.edition,
            domain=wanted.domain,
            deleted_count=count,
            deleted_at=books.rfc3339(now_ns),
        )
        stream = _audit_stream(wanted, wanted.edition, wanted.domain, cover)
        page = await self._audit(deleted, stream, now_ns)
        return books.book_bytes(
            stream, [page.SerializeToString()], next_sequence=page.header.sequence + 1
        )

    async def _decide(
        self,
        command: wire.CascadeCommit | wire.CascadeRollback,
        outcome: str,
        reason: str,
        cover: Cover,
    ) -> bytes:
        cascade_id = validate.cascade_id(command.cascade_id)
        if not cascade_id:
            raise InvalidInput("cascade_id", "not empty", cascade_id)
        events = self._events
        known = await events.decision(cascade_id)
        if known is None and not await events.query_cascade_participants(cascade_id):
            raise UnknownCascade(cascade_id)
        decision = await events.decide_cascade(cascade_id, outcome, reason)
        if decision.outcome != outcome:
            raise CascadeDecided(cascade_id, decision.outcome, decision.reason)
        stream = _audit_stream(command, cascade_id, "", cover)
        if known is None:
            await self._audit(command, stream, self._clock.now_ns())
        markers: list[bytes] = []
        following = 0
        for resolved in await resolve(events, cascade_id, cover.correlation_id):
            markers.append(resolved.marker)
            following = resolved.sequence + 1
        return books.book_bytes(stream, markers, next_sequence=following)

    async def _audit(self, event: Message, stream: Cover, now_ns: int) -> wire.EventPage:
        """Append `event` to the audit stream; its page (EDN-16)."""
        page = wire.EventPage(committed=True, created_at=books.timestamp(now_ns))
        books.pack_framework(page, event)
        for attempt in range(AUDIT_TRIES):
            sequence = await self._events.next_sequence(stream)
            page.header.sequence = sequence
            try:
                await self._events.append(
                    stream, sequence, [page.SerializeToString(deterministic=True)]
                )
                break
            except SequenceConflict:
                if attempt == AUDIT_TRIES - 1:
                    raise
        return page


def deletions(edition: str, domain: str) -> Cover:
    """The audit stream of an edition's deletions in a domain: a page each (EDN-16)."""
    return _audit_stream(wire.DeleteEditionEvents(), edition, domain, Cover("", b""))


def _audit_stream(command: Message, subject: str, domain: str, cover: Cover) -> Cover:
    name = f"{command.DESCRIPTOR.full_name}:{subject}:{domain}"
    return Cover(
        validate.SYSTEM,
        uuid.uuid5(NAMESPACE, name).bytes,
        correlation_id=cover.correlation_id,
    )
