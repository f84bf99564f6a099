"""Editions, as callers see them: the same over gRPC and in process.

    await client.editions.declare("whatif", ttl=timedelta(days=1))
    async for difference in client.editions.diff("", "whatif", domain=Hand):
        print(difference.first_sequence, difference.fields)

`edition_caller_sync.py` is generated from this file: the same names, without `await`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from angzarr import editions, wire
from angzarr.cover import Root
from angzarr.editions import Branch, Choice, Declared, Deleted, Difference, Edition, Promotion
from angzarr.handlers.aggregate import Aggregate

if TYPE_CHECKING:
    from angzarr.caller import Transport


class Editions:
    """Branches of history by name: declared, listed, compared, promoted, deleted.

    A branch needs no declaration: it begins with the first command that is sent to it. Declaring it
    gives it a parent other than main, a time to live, a quota. Main is "".
    """

    def __init__(
        self, transport: Transport, aggregates: Mapping[str, type[Aggregate]] | None = None
    ) -> None:
        self._transport = transport
        self._aggregates = aggregates or {}

    async def declare(
        self,
        name: str,
        *,
        parent: str = "",
        ttl: timedelta | None = None,
        expires_at: datetime | None = None,
        max_pages: int = 0,
        max_bytes: int = 0,
        timeout_s: float | None = None,
    ) -> Declared:
        """Make the edition's record, or change its limits to these; the record in force (EDN-20).

        parent: the edition that it is a branch of; it never changes. ttl, expires_at: when it takes
        no more events and is deleted; ttl is from now on, by the server's clock. max_pages,
        max_bytes: quota of its own pages over all domains, 0 is none.

        Raises EditionConflict for another parent than it has, InvalidInput for a chain of parents
        that is too long or circular and for an expiry after the parent's, MainProtected.
        """
        request = editions.declare_request(
            name,
            parent=parent,
            ttl=ttl,
            expires_at=expires_at,
            max_pages=max_pages,
            max_bytes=max_bytes,
        )
        return editions.declared(
            await self._transport.unary(editions.DECLARE, request, timeout_s=timeout_s)
        )

    async def get(self, name: str, *, timeout_s: float | None = None) -> Edition:
        """The edition's record, and what it holds. Raises UnknownEdition for one that was neither
        declared nor written to."""
        request = wire.GetEditionRequest(name=name).SerializeToString()
        return editions.edition(
            await self._transport.unary(editions.GET, request, timeout_s=timeout_s)
        )

    async def list(
        self, *, domain: str | type[Aggregate] = "", timeout_s: float | None = None
    ) -> AsyncIterator[Edition]:
        """All editions but main, names ascending; of one domain those with streams in it."""
        wanted = wire.ListEditionsRequest(domain=editions.domain_of(domain))
        request = wanted.SerializeToString()
        async for data in self._transport.stream(editions.LIST, request, timeout_s=timeout_s):
            yield editions.edition(data)

    async def branches(
        self,
        name: str,
        *,
        domain: str | type[Aggregate] = "",
        timeout_s: float | None = None,
    ) -> AsyncIterator[Branch]:
        """The edition's own streams, and where each left its base, in the order (domain, root)."""
        wanted = wire.ListBranchesRequest(edition=name, domain=editions.domain_of(domain))
        request = wanted.SerializeToString()
        transport = self._transport
        async for data in transport.stream(editions.LIST_BRANCHES, request, timeout_s=timeout_s):
            yield editions.branch(data, name)

    async def delete(self, name: str, *, timeout_s: float | None = None) -> Deleted:
        """Delete the edition in every domain, and its record (EDN-25). One that is not there is
        fine; after a failure half-way it can be called again.

        Raises EditionInUse while other editions are branches of it, PendingPages while cascades are
        undecided, MainProtected.
        """
        request = wire.DeleteEditionRequest(name=name).SerializeToString()
        return editions.deleted(
            await self._transport.unary(editions.DELETE, request, timeout_s=timeout_s)
        )

    async def diff(
        self,
        left: str,
        right: str,
        *,
        domain: str | type[Aggregate] = "",
        root: Root | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[Difference]:
        """The streams that differ, from where on, and both states, in the order (domain, root)
        (EDN-26).

        left, right: two editions; "" is main. domain: one only; its class reads events and states,
        as the classes do that the client has. root: one stream of it. Raises UnknownEdition.
        """
        request = editions.diff_request(left, right, editions.domain_of(domain), root)
        known = editions.known(self._aggregates, domain)
        found = editions.Differences(left, right, known)
        async for data in self._transport.stream(editions.DIFF, request, timeout_s=timeout_s):
            difference = found.add(data)
            if difference is not None:
                yield difference

    async def promote(
        self,
        name: str,
        *choices: Choice,
        dry_run: bool = False,
        accept_conflicts: bool = False,
        correlation_id: str = "",
        timeout_s: float | None = None,
    ) -> Promotion:
        """Record events of the branch as facts on main, unless main has changed what they change
        (EDN-27); the report, stream by stream.

        choices: which streams, and which events of them; without any all of the edition's own. With
        a conflict in any stream nothing is recorded, which `is_recorded` and `conflicts` of the
        report say, unless conflicts are accepted. dry_run: report only. The same events are
        recorded once, however often they are promoted.

        Raises UnknownEdition, UnknownDomain, and InvalidInput for what can't be promoted: pages
        that the branch inherits, that are pending or revoked, framework events.
        """
        request = editions.promote_request(
            name,
            choices,
            dry_run=dry_run,
            accept_conflicts=accept_conflicts,
            correlation_id=correlation_id,
        )
        found = editions.Promotions(self._aggregates)
        streams: list[editions.PromotedStream] = []
        async for data in self._transport.stream(editions.PROMOTE, request, timeout_s=timeout_s):
            stream = found.add(data)
            if stream is not None:
                streams.append(stream)
        return Promotion(name, tuple(streams), dry_run)
