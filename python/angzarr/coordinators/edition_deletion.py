"""Deleting editions, in one domain or as a whole (EDN-14, EDN-25)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from angzarr import wire
from angzarr.coordinators import audit, books
from angzarr.coordinators.audit import Audit
from angzarr.cover import MAIN, Cover
from angzarr.errors import EditionInUse, MainProtected, PendingPages
from angzarr.ports.clock import Clock
from angzarr.ports.stores import Stores

ROUNDS: Final = 10
"""Attempts at a whole edition; somebody may write to it between its pages' end and its record's."""

_ALWAYS_NS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class DeletedDomain:
    """What was deleted in one domain, and the audit page that tells of it, with its stream."""

    domain: str
    page_count: int
    stream: Cover
    page: wire.EventPage


@dataclass(frozen=True, slots=True)
class DeletedEdition:
    """What was deleted of an edition: the domains that had pages of it, and whether there was a
    record."""

    domains: Sequence[DeletedDomain]
    was_declared: bool


class EditionDeletion:
    """Deletes over the ports, and keeps audit pages of it."""

    def __init__(self, stores: Stores, clock: Clock) -> None:
        self._stores = stores
        self._clock = clock
        self._audit = Audit(stores.events, clock)

    async def in_domain(self, edition: str, domain: str, correlation_id: str = "") -> DeletedDomain:
        """Delete its pages in the domain; absent ones are 0.

        Raises MainProtected, InvalidInput for an empty domain, EditionInUse, PendingPages.
        """
        count = await self._stores.events.delete_edition(domain, edition)
        return await self._told(edition, domain, count, correlation_id)

    async def whole(self, edition: str, correlation_id: str = "") -> DeletedEdition:
        """Delete it in every domain, then its record. After a failure half-way it can be called
        again.

        Raises MainProtected, EditionInUse and PendingPages; where it was so from the start, nothing
        was deleted.
        """
        if edition in ("", MAIN):
            raise MainProtected("")
        await self._check_pending(edition)
        deleted: dict[str, DeletedDomain] = {}
        for attempt in range(ROUNDS):
            for domain in await self._stores.events.domains():
                # What has no page of it may still have keys of it, so every domain is asked; the
                # first one refuses an edition with branches.
                count = await self._stores.events.delete_edition(domain, edition)
                if count:
                    deleted[domain] = await self._told(edition, domain, count, correlation_id)
            try:
                was_declared = await self._stores.editions.forget(edition)
                return DeletedEdition(tuple(deleted.values()), was_declared)
            except EditionInUse as error:
                if error.children or attempt == ROUNDS - 1:
                    raise
        raise AssertionError("the last round ends one way or the other")

    async def _check_pending(self, edition: str) -> None:
        """Refuse before the first domain is gone: the store looks at one domain only."""
        events = self._stores.events
        for cascade_id in await events.query_stale_cascades(_ALWAYS_NS):
            for participant in await events.query_cascade_participants(cascade_id):
                if participant.cover.edition == edition:
                    raise PendingPages(participant.cover.domain, edition, [cascade_id])

    async def _told(
        self, edition: str, domain: str, count: int, correlation_id: str
    ) -> DeletedDomain:
        event = wire.EditionEventsDeleted(
            edition=edition,
            domain=domain,
            deleted_count=min(count, books.UINT32_MASK),
            deleted_at=books.rfc3339(self._clock.now_ns()),
        )
        stream = audit.stream_of(wire.DeleteEditionEvents, edition, domain, correlation_id)
        page = await self._audit.record(event, stream)
        return DeletedDomain(domain, count, stream, page)
