"""Commands to `_angzarr`: deleting editions, deciding cascades (EDN-14 to EDN-16, CAS-11 to
CAS-15).
"""

from __future__ import annotations

from angzarr import wire
from angzarr.coordinators import audit, books, validate
from angzarr.coordinators.audit import Audit
from angzarr.coordinators.edition_deletion import EditionDeletion
from angzarr.coordinators.pipeline import storing
from angzarr.coordinators.resolution import resolve
from angzarr.cover import Cover
from angzarr.errors import (
    CascadeDecided,
    InvalidInput,
    UnknownCascade,
)
from angzarr.ports.clock import Clock
from angzarr.ports.event_store import COMMIT, ROLLBACK
from angzarr.ports.stores import Stores


class System:
    """Handles them over the stores."""

    def __init__(self, stores: Stores, clock: Clock) -> None:
        self._events = stores.events
        self._audit = Audit(stores.events, clock)
        self._deletion = EditionDeletion(stores, clock)

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
        deleted = await self._deletion.in_domain(
            wanted.edition, wanted.domain, cover.correlation_id
        )
        page = deleted.page
        return books.book_bytes(
            deleted.stream, [page.SerializeToString()], next_sequence=page.header.sequence + 1
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
        stream = audit.stream_of(command, cascade_id, "", cover.correlation_id)
        if known is None:
            await self._audit.record(command, stream)
        markers: list[bytes] = []
        following = 0
        for resolved in await resolve(events, cascade_id, cover.correlation_id):
            markers.append(resolved.marker)
            following = resolved.sequence + 1
        return books.book_bytes(stream, markers, next_sequence=following)
