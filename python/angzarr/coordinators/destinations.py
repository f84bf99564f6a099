"""Where other streams end: what sagas and process managers stamp commands with (SAGA-6, PM-4)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol

from angzarr import wire
from angzarr.coordinators import books
from angzarr.coordinators.lineage import Lineage
from angzarr.coordinators.outputs import Described, Source
from angzarr.cover import MAIN, Cover
from angzarr.ports.components import CallContext
from angzarr.ports.event_store import EventStore

ENDS_KEPT: Final = 4_096


class Destinations(Protocol):
    """Looks at streams without reading their events; raises what the store behind it raises."""

    @property
    def domains(self) -> Collection[str]:
        """The domains that have an aggregate, here or elsewhere."""
        ...

    def is_near(self, domain: str) -> bool:
        """Whether looking costs no RPC, so that looks are not worth to be made at once."""
        ...

    async def next_sequence(self, cover: Cover, divergence: int | None = None) -> int:
        """First free sequence of the stream of `cover`, composite; 0 when it is empty."""
        ...

    async def carrying(self, domain: str, edition: str, correlation_id: str) -> Cover | None:
        """The stream of the domain that carries the id, of several the one written last."""
        ...


class Routing(Protocol):
    """The root that a source leads to in an output domain; None where none is declared (SAGA-1)."""

    def __call__(self, domain: str) -> bytes | None: ...


async def describe(
    destinations: Destinations,
    domains: Iterable[str],
    source: Source,
    root: bytes,
    *,
    routed: Routing | None = None,
) -> dict[str, Described]:
    """Per domain the described root and its next sequence, in the source's edition (SAGA-6).

    root: what stands for the source's own one. Raises what the destinations raise.
    """
    found: dict[str, Described] = {}
    far: list[str] = []
    for domain in domains:
        if destinations.is_near(domain):
            found[domain] = await _describe(destinations, domain, source, root, routed)
        else:
            far.append(domain)
    looks = (_describe(destinations, domain, source, root, routed) for domain in far)
    found.update(zip(far, await asyncio.gather(*looks) if far else (), strict=True))
    return found


async def describe_covers(
    destinations: Destinations, covers: Sequence[wire.Cover], source: Source
) -> dict[str, Described]:
    """Per domain the first of `covers` and its next sequence, in the source's edition (PM-4)."""
    found: dict[str, Described] = {}
    for cover in covers:
        domain, root = cover.domain, cover.root.value
        if domain not in found:
            stream = Cover(domain, root, source.cover.edition)
            end = await destinations.next_sequence(stream, source.divergence(domain))
            found[domain] = Described(root, end)
    return found


def map_bytes(described: Mapping[str, Described], tag: bytes) -> bytes:
    """The encoded map<string, uint64> under `tag` (WIRE-3)."""
    entries: list[bytes] = []
    for domain, at in described.items():
        entry = books.frame(books.TAG_1, domain.encode()) + b"\x10" + books.varint(at.sequence)
        entries.append(books.frame(tag, entry))
    return b"".join(entries)


async def _describe(
    destinations: Destinations, domain: str, source: Source, root: bytes, routed: Routing | None
) -> Described:
    edition, divergence = source.cover.edition, source.divergence(domain)
    declared = routed(domain) if routed else None
    at = Cover(domain, root if declared is None else declared, edition)
    sequence = await destinations.next_sequence(at, divergence)
    correlation_id = source.cover.correlation_id
    if sequence or declared is not None or not correlation_id:
        return Described(at.root, sequence)
    carrying = await destinations.carrying(domain, edition, correlation_id)
    if carrying is None:
        return Described(at.root, 0)
    return Described(carrying.root, await destinations.next_sequence(carrying, divergence))


class StoreDestinations:
    """Over the event store of this process, for the domains that write to it.

    lineage: what nested editions read through; without it every edition is a branch of main.
    """

    def __init__(
        self, events: EventStore, domains: Collection[str], lineage: Lineage | None = None
    ) -> None:
        self._events = events
        self._lineage = lineage
        self._domains = frozenset(domains)

    @property
    def domains(self) -> Collection[str]:
        """Those that write to this store."""
        return self._domains

    def is_near(self, domain: str) -> bool:
        """Always: the engine answers from memory."""
        return True

    async def next_sequence(self, cover: Cover, divergence: int | None = None) -> int:
        """As the port says. Raises InvalidDivergence, DivergenceConflict."""
        return await self._events.next_sequence(cover, divergence=divergence)

    async def carrying(self, domain: str, edition: str, correlation_id: str) -> Cover | None:
        """As the port says; on a branch the streams of main, and of what else it reads through,
        count as far as it inherits them."""
        found = [
            wire.EventBook.FromString(book.data)
            for book in await self._events.by_correlation(
                correlation_id, domain=domain, edition=edition
            )
        ]
        if edition != MAIN:
            found += await self._inherited(domain, edition, correlation_id)
        return _written_last(found, edition)

    async def _inherited(
        self, domain: str, edition: str, correlation_id: str
    ) -> list[wire.EventBook]:
        """The books of what the branch reads through, with the pages that it inherits, where there
        are any."""
        above = (await self._lineage.chain(edition))[1:] if self._lineage else [MAIN]
        found: list[wire.EventBook] = []
        for parent in above:
            for stored in await self._events.by_correlation(
                correlation_id, domain=domain, edition=parent
            ):
                book = wire.EventBook.FromString(stored.data)
                branch = Cover(domain, book.cover.root.value, edition)
                if self._lineage and len(above) > 1:
                    pages = await self._lineage.inherited(branch, book.pages)
                else:
                    end = await self._events.divergence(branch)
                    pages = [p for p in book.pages if end is None or p.header.sequence < end]
                if pages:
                    found.append(wire.EventBook(cover=book.cover, pages=pages))
        return found


class Queries(Protocol):
    """What answers EventQueryService."""

    def get_events(self, request: bytes, context: CallContext) -> AsyncIterator[bytes]:
        """Query → EventBooks."""
        ...


class QueryDestinations:
    """Over the EventQueryService of another coordinator, for its domains.

    The service tells where a stream ends only by its last page. So the first look at a stream
    transfers it; where it ended is kept, and later looks start there.
    """

    def __init__(self, queries: Queries, domains: Collection[str]) -> None:
        self._queries = queries
        self._domains = frozenset(domains)
        self._ends: OrderedDict[tuple[str, str, bytes], int] = OrderedDict()

    @property
    def domains(self) -> Collection[str]:
        """Those of the other coordinator."""
        return self._domains

    def is_near(self, domain: str) -> bool:
        """Never: every look is an RPC."""
        return False

    async def next_sequence(self, cover: Cover, divergence: int | None = None) -> int:
        """As the port says."""
        query = wire.Query()
        _address(query.cover, cover.domain, cover.edition)
        query.cover.root.value = cover.root
        if divergence is not None:
            query.cover.edition.divergences.add(domain=cover.domain, sequence=divergence)
        known = self._ends.get(cover.stream, 0)
        if known:
            query.range.lower = known - 1
        end = await self._end(query)
        if known and not end:  # it is shorter than it was: its edition was deleted meanwhile
            query.ClearField("range")
            end = await self._end(query)
        self._keep(cover, end)
        return end

    async def carrying(self, domain: str, edition: str, correlation_id: str) -> Cover | None:
        """As the port says."""
        query = wire.Query()
        _address(query.cover, domain, edition)
        query.cover.correlation_id = correlation_id
        found = [
            wire.EventBook.FromString(data)
            async for data in self._queries.get_events(query.SerializeToString(), CallContext())
        ]
        return _written_last(found, edition)

    async def _end(self, query: wire.Query) -> int:
        end = 0
        async for data in self._queries.get_events(query.SerializeToString(), CallContext()):
            end = max(end, wire.EventBook.FromString(data).next_sequence)
        return end

    def _keep(self, cover: Cover, end: int) -> None:
        self._ends[cover.stream] = end
        self._ends.move_to_end(cover.stream)
        if len(self._ends) > ENDS_KEPT:
            self._ends.popitem(last=False)


class RoutedDestinations:
    """Each domain's own: `remote` by domain, the rest is `local`'s."""

    def __init__(self, local: Destinations, remote: Mapping[str, Destinations]) -> None:
        self._local = local
        self._remote = remote

    @property
    def domains(self) -> Collection[str]:
        """All of them."""
        return {*self._local.domains, *self._remote}

    def is_near(self, domain: str) -> bool:
        """As the domain's own."""
        return self._at(domain).is_near(domain)

    async def next_sequence(self, cover: Cover, divergence: int | None = None) -> int:
        """As the port says."""
        return await self._at(cover.domain).next_sequence(cover, divergence)

    async def carrying(self, domain: str, edition: str, correlation_id: str) -> Cover | None:
        """As the port says."""
        return await self._at(domain).carrying(domain, edition, correlation_id)

    def _at(self, domain: str) -> Destinations:
        return self._remote.get(domain, self._local)


def _address(cover: wire.Cover, domain: str, edition: str) -> None:
    cover.domain = domain
    cover.edition.name = edition  # main's name, too: without one a correlation id is any edition's


def _written_last(found: Sequence[wire.EventBook], edition: str) -> Cover | None:
    """The stream with the newest page; of equals the last in the order (domain, edition, root)."""
    newest: wire.EventBook | None = None
    newest_ns = -1
    for book in found:
        written_ns = books.nanoseconds(book.pages[-1].created_at) if book.pages else -1
        if written_ns >= newest_ns and book.pages:
            newest, newest_ns = book, written_ns
    if newest is None:
        return None
    return Cover(newest.cover.domain, newest.cover.root.value, edition)
