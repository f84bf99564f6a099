"""The parts of an overlay beside its event store: what it keeps in memory, and looks for in its
base."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from angzarr.cover import MAIN, Cover
from angzarr.ports.clock import Clock
from angzarr.ports.edition_store import Branch, EditionRecord, Usage
from angzarr.ports.event_store import Limits, SnapshotPolicy
from angzarr.stores import _pages, _rules
from angzarr.stores._declared import DeclaredEditions
from angzarr.stores._lending import Lender
from angzarr.stores._lent import LentStream, Missing, is_made_up, lending
from angzarr.stores._memory_editions import MemoryEditions
from angzarr.stores._memory_ports import MemoryPositions, MemorySnapshots, StoredSnapshot
from angzarr.stores._memory_streams import Stream, StreamKey, Streams
from angzarr.stores._rules import Kept

Serving = Callable[[], AbstractContextManager[None]]


class LentEditions(DeclaredEditions):
    """Declared editions of the base and of the overlay. Limits of the base's do not hold here,
    where nothing is stored."""

    def __init__(self, lender: Lender) -> None:
        super().__init__()
        self._lender = lender
        self._asked = {MAIN}
        self._knows_all = False
        self._originals: dict[str, EditionRecord] = {}

    def get(self, name: str) -> EditionRecord | None:
        self._need(name)
        return super().get(name)

    def parent(self, name: str) -> str:
        self._need(name)
        return super().parent(name)

    def put(self, record: EditionRecord) -> None:
        self._originals.pop(record.name, None)
        super().put(record)

    def drop(self, name: str) -> None:
        self._originals.pop(name, None)
        super().drop(name)

    def original(self, record: EditionRecord) -> EditionRecord:
        """A record with the limits that it has in the base."""
        return self._originals.get(record.name, record)

    async def fetch(self, name: str) -> None:
        """Take over the base's record."""
        if name not in self._asked and not self._knows_all:
            self._lend(name, await self._lender.base.editions.get(name))

    async def fetch_all(self) -> None:
        """Take over all that the base has."""
        if not self._knows_all:
            for record in await self._lender.base.editions.list():
                self._lend(record.name, record)
            self._knows_all = True

    def _lend(self, name: str, record: EditionRecord | None) -> None:
        if name in self._asked:
            return
        self._asked.add(name)
        if record is not None:
            self.put(replace(record, expires_at_ns=0, max_pages=0, max_bytes=0))
            self._originals[name] = record

    def _need(self, name: str) -> None:
        if name not in self._asked and not self._knows_all:
            raise Missing(partial(self.fetch, name))


class LentStreams(Streams):
    """Streams of the base, as they are first looked at, and of the overlay."""

    def __init__(self, lender: Lender, snapshots: LentSnapshots) -> None:
        super().__init__()
        self.declared: LentEditions = LentEditions(lender)
        self._lender = lender
        self._snapshots = snapshots
        self._asked: set[StreamKey] = set()
        self._gone: set[tuple[str, str]] = set()

    def get(self, key: StreamKey) -> Stream | None:
        if key not in self._asked:
            raise Missing(partial(self.fetch, key, reads_end=True))
        return self.by_key.get(key)

    def need(self, key: StreamKey) -> None:
        """Missing, unless the stream was looked at; what was inherited in ways that no port tells
        is no stream."""
        if key not in self._asked and not is_made_up(key):
            raise Missing(partial(self.fetch, key))

    async def fetch(self, key: StreamKey, *, reads_end: bool = False) -> None:
        """Take over the stream; reads_end: what a command needs of it, too."""
        if key in self._asked:
            return
        stream = None if key[:2] in self._gone else await self._lender.stream(key)
        if stream is not None:
            below = await self._below(stream)
            if below is not None:
                stream.inherited = [s._replace(key=below.stream) for s in stream.inherited]
            if reads_end:
                await self._lender.read_end(stream, below)
        if key in self._asked:
            return  # another task was faster
        self._asked.add(key)
        if stream is not None:
            self.by_key[key] = stream
            self._add_usage(key[1], stream.end - stream.base, 0)
            self._snapshots.lend(stream)

    async def fetch_edition(self, domain: str, edition: str) -> None:
        """Take over every stream of the edition in the domain."""
        if (domain, edition) not in self._gone:
            for root in await self._lender.base.events.roots(domain, edition):
                await self.fetch((domain, edition, root))

    async def fetch_domain(self, domain: str, edition: str | None) -> list[Cover]:
        """Take over every stream of the domain, on one edition or on all of them; their covers."""
        events = self._lender.base.events
        names = [edition or MAIN] if edition is not None else await events.editions(domain)
        for name in names:
            await self.fetch_edition(domain, name)
        keys = [key for key in self.by_key if key[0] == domain and key[1] in names]
        return [_pages.cover_of(key) for key in keys]

    def lent_of(self, edition: str) -> list[LentStream]:
        """Streams of the edition that come from the base, as far as they were looked at."""
        found = (stream for key, stream in self.by_key.items() if key[1] == edition)
        return [stream for stream in found if isinstance(stream, LentStream)]

    def forget_edition(self, domain: str, edition: str) -> None:
        """Look for nothing of it in the base any more."""
        self._gone.add((domain, edition))

    def drop(self, keys: Sequence[StreamKey]) -> int:
        """Of lent pages the bytes are in the usage only if they were counted."""
        count = 0
        for key in keys:
            stream = self.by_key.pop(key)
            first = stream.end if isinstance(stream, LentStream) else stream.base
            own = stream.own(first, stream.next_sequence - first)
            self._add_usage(key[1], -len(stream.pages), -sum(len(page.data) for page in own))
            if isinstance(stream, LentStream):
                self._add_usage(key[1], 0, -stream.counted_bytes)
            count += len(stream.pages)
        return count

    def count_lent(self, stream: LentStream) -> None:
        """Put the bytes of its lent pages into the usage, once; Missing until they are here."""
        if not stream.counted_bytes:
            pages = stream.own(stream.base, stream.end - stream.base)
            stream.counted_bytes = sum(len(page.data) for page in pages)
            self._add_usage(stream.cover.edition, 0, stream.counted_bytes)

    async def _below(self, stream: LentStream) -> Cover | None:
        """Where the snapshots of the stream's inherited part are: on main, if that is what it is a
        branch of."""
        cover = stream.cover
        if not stream.base:
            return None
        await self.declared.fetch(cover.edition)
        return cover.on(MAIN) if self.declared.parent(cover.edition) == MAIN else None

    def _add_usage(self, edition: str, page_count: int, byte_count: int) -> None:
        held = self.usage(edition)
        self._usage[edition] = Usage(held.page_count + page_count, held.byte_count + byte_count)


class LentSnapshots(MemorySnapshots):
    """Snapshots of lent streams, and those that were put here."""

    def __init__(self, serving: Serving, limits: Limits, clock: Clock, lender: Lender) -> None:
        super().__init__(serving, limits, clock)
        self._lender = lender
        self._ends: dict[StreamKey, tuple[Cover, int]] = {}
        self._asked: set[tuple[StreamKey, int]] = set()
        self._changed: set[StreamKey] = set()
        self.streams: LentStreams | None = None

    async def get(self, cover: Cover) -> bytes | None:
        await self._know(cover)
        return await lending(partial(super().get, cover))

    async def get_at(self, cover: Cover, sequence: int) -> bytes | None:
        await self._know(cover)
        return await lending(partial(super().get_at, cover, sequence))

    async def put(
        self, cover: Cover, snapshot: bytes, policy: SnapshotPolicy = SnapshotPolicy()
    ) -> None:
        await self.take_over(cover)
        await super().put(cover, snapshot, policy)

    async def delete(self, cover: Cover) -> int:
        await self.take_over(cover)
        return await super().delete(cover)

    async def delete_all(self, domain: str, edition: str | None = None) -> int:
        assert self.streams is not None
        for cover in await self.streams.fetch_domain(domain, edition):
            await self.take_over(cover)
        return await super().delete_all(domain, edition)

    def at(self, stream_key: StreamKey, sequence: int | None) -> tuple[int, bytes] | None:
        found = super().at(stream_key, sequence)
        if stream_key not in self._ends:
            assert self.streams is not None
            self.streams.need(stream_key)
            return found
        cover, end = self._ends[stream_key]
        highest = end - 1 if sequence is None else min(sequence, end - 1)
        is_best = found is not None and found[0] >= highest
        if highest >= 0 and not is_best and (stream_key, highest) not in self._asked:
            raise Missing(partial(self._fetch, stream_key, cover, highest))
        return found

    def lend(self, stream: LentStream) -> None:
        """Look for the stream's snapshots in the base from now on; its newest one may be known."""
        key = stream.cover.stream
        self._ends[key] = stream.cover, stream.end
        last = stream.last
        if last is None:
            return
        if last.snapshot is None:
            ends = {(below.key, below.stop - 1) for below in stream.inherited}
            self._asked |= {(key, stream.end - 1), *ends}
        elif last.start > stream.base:  # else it may be that of what was inherited, or its own
            self._asked.add((key, stream.end - 1))
            if key not in self._changed:
                self._keep(key, last.snapshot)

    def is_changed(self, stream: LentStream) -> bool:
        """Whether any of the snapshots of the stream, or of what it has inherited, are not the
        base's."""
        keys = stream.cover.stream, *(stretch.key for stretch in stream.inherited)
        return not self._changed.isdisjoint(keys)

    def store(
        self,
        stream_key: StreamKey,
        data: bytes,
        sequence: int,
        retention: int,
        policy: SnapshotPolicy,
    ) -> None:
        self._changed.add(stream_key)
        super().store(stream_key, data, sequence, retention, policy)

    async def take_over(self, cover: Cover) -> None:
        """Have all of the stream's own snapshots here, since some will be removed."""
        await self._know(cover)
        key = _rules.stream_of(cover)
        asked, end = self._ends.get(key, (cover, 0))
        while end and (found := await self._lender.snapshot(asked, end - 1)) is not None:
            end = self._keep(key, found)
        self._ends.pop(key, None)
        self._changed.add(key)

    def drop_edition(self, domain: str, edition: str) -> None:
        super().drop_edition(domain, edition)
        self._ends = {k: v for k, v in self._ends.items() if k[:2] != (domain, edition)}

    async def _know(self, cover: Cover) -> None:
        assert self.streams is not None
        await self.streams.fetch(_rules.stream_of(cover))

    async def _fetch(self, key: StreamKey, cover: Cover, sequence: int) -> None:
        found = await self._lender.snapshot(cover, sequence)
        self._asked.add((key, sequence))
        if found is not None and key in self._ends:
            self._keep(key, found)

    def _keep(self, key: StreamKey, data: bytes) -> int:
        """Its sequence."""
        sequence, retention = _pages.read_snapshot(data)
        kept = Kept(sequence, retention, self._clock.now_ns())
        self._streams.setdefault(key, {}).setdefault(sequence, StoredSnapshot(data, kept))
        return sequence


class OverlayEditions(MemoryEditions):
    """The edition store of an overlay."""

    def __init__(
        self,
        serving: Serving,
        streams: LentStreams,
        lender: Lender,
        clock: Clock,
        forget_streams: Callable[[str], None],
    ) -> None:
        super().__init__(serving, streams, clock, forget_streams)
        self._lent = streams
        self._lender = lender

    async def declare(
        self,
        name: str,
        *,
        parent: str = MAIN,
        expires_at_ns: int = 0,
        max_pages: int = 0,
        max_bytes: int = 0,
    ) -> EditionRecord:
        await self._count(name)
        return await super().declare(
            name,
            parent=parent,
            expires_at_ns=expires_at_ns,
            max_pages=max_pages,
            max_bytes=max_bytes,
        )

    async def get(self, name: str) -> EditionRecord | None:
        found = await lending(partial(super().get, name))
        return None if found is None else self._lent.declared.original(found)

    async def list(self) -> list[EditionRecord]:
        await self._lent.declared.fetch_all()
        return [self._lent.declared.original(record) for record in await super().list()]

    async def forget(self, name: str) -> bool:
        await self._know(name)
        return await super().forget(name)

    async def usage(self, name: str) -> Usage:
        """What lies in the base is read for it."""
        await self._count(name)
        return await super().usage(name)

    async def branches(
        self, domain: str, edition: str = "", *, after: bytes = b"", limit: int = 1_000
    ) -> list[Branch]:
        await self._lent.fetch_edition(domain, edition or MAIN)
        return await super().branches(domain, edition, after=after, limit=limit)

    async def _count(self, name: str) -> None:
        """Have all of the edition's pages counted."""
        await self._know(name)
        for stream in self._lent.lent_of(name or MAIN):
            await lending(partial(self._counted, stream))

    async def _counted(self, stream: LentStream) -> None:
        self._lent.count_lent(stream)

    async def _know(self, name: str) -> None:
        """Have every record, and all streams of the edition."""
        await self._lent.declared.fetch_all()
        for domain in await self._lender.base.events.domains():
            if (name or MAIN) in await self._lender.base.events.editions(domain):
                await self._lent.fetch_edition(domain, name or MAIN)


class OverlayPositions(MemoryPositions):
    """Positions of the overlay's own consumers, which begin where the base's log ended: what lies
    before was reacted to there."""

    def __init__(self, serving: Serving, clock: Clock, head: int) -> None:
        super().__init__(serving, clock)
        self._head = head

    async def cursor(self, consumer: str) -> int | None:
        found = await super().cursor(consumer)
        return found if found is not None or not self._head else self._head
