"""The event store of an overlay: the memory store's, over streams that are lent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from angzarr import wire
from angzarr.cover import MAIN, Cover, Provenance
from angzarr.ports.clock import Clock
from angzarr.ports.columns import Columns, FieldSpec
from angzarr.ports.event_store import (
    Accepted,
    Appended,
    Book,
    Decision,
    Dropped,
    Duplicate,
    Limits,
    LogEntry,
    Obligation,
    Pending,
    SnapshotPolicy,
)
from angzarr.stores import _pages, _rules
from angzarr.stores._lending import Lender, sequence_of
from angzarr.stores._lent import End, LentStream, lending
from angzarr.stores._memory_streams import Commit, Key
from angzarr.stores._overlay_ports import LentSnapshots, LentStreams
from angzarr.stores._scanning import Rows, Selection, check_scan
from angzarr.stores._waiters import Waiters
from angzarr.stores.memory import MemoryEvents

if TYPE_CHECKING:
    from angzarr.stores.overlay import OverlayStores


@dataclass(frozen=True, slots=True)
class Written:
    """An append as it was asked for, that was carried out; `first` the sequence that it began at.

    cover: with its correlation id.
    """

    cover: Cover
    first: int
    pages: tuple[bytes, ...]
    snapshot: bytes | None
    cascade_id: str
    provenance: Provenance | None
    external_id: str
    answer: bytes


class OverlayEvents(MemoryEvents):
    """Reads look into the base where the overlay has nothing, appends stay in memory.

    Cascades, obligations and the log beyond the base's are the overlay's own.
    """

    def __init__(
        self,
        stores: OverlayStores,
        streams: LentStreams,
        snapshots: LentSnapshots,
        lender: Lender,
        limits: Limits,
        clock: Clock,
        waiters: Waiters,
    ) -> None:
        super().__init__(stores, streams, limits, clock, waiters)
        self._log_head = lender.head
        self._lent = streams
        self._lent_snapshots = snapshots
        self._lender = lender
        self._asked_keys: set[tuple[tuple[str, str, bytes], bytes]] = set()
        self._asked_decisions: set[str] = set()
        self._asked_correlations: set[str] = set()
        self.written: list[Written] = []

    async def append(
        self,
        cover: Cover,
        expected_sequence: int,
        pages: Sequence[bytes],
        *,
        divergence: int | None = None,
        snapshot: bytes | None = None,
        snapshot_policy: SnapshotPolicy = SnapshotPolicy(),
        cascade_id: str = "",
        provenance: Provenance | None = None,
        external_id: str = "",
        answer: bytes = b"",
        obligations: Sequence[Obligation | Dropped] = (),
        sync: bool | None = None,
    ) -> Appended | Duplicate:
        if provenance is not None or external_id:
            await self._know_key(cover, provenance, external_id)
        if cascade_id:
            await self._know_decision(cascade_id)
        if snapshot is not None:
            await self._lent_snapshots.take_over(cover)
        result = await lending(
            partial(
                super().append,
                cover,
                expected_sequence,
                pages,
                divergence=divergence,
                snapshot=snapshot,
                snapshot_policy=snapshot_policy,
                cascade_id=cascade_id,
                provenance=provenance,
                external_id=external_id,
                answer=answer,
                obligations=obligations,
                sync=sync,
            )
        )
        if isinstance(result, Appended):
            self.written.append(
                Written(
                    cover,
                    expected_sequence,
                    tuple(pages),
                    snapshot,
                    cascade_id,
                    provenance,
                    external_id,
                    answer,
                )
            )
        return result

    async def load(
        self,
        cover: Cover,
        *,
        start: int = 0,
        stop: int | None = None,
        divergence: int | None = None,
    ) -> Book:
        return await lending(
            partial(super().load, cover, start=start, stop=stop, divergence=divergence)
        )

    async def load_until(
        self, cover: Cover, time_ns: int, *, divergence: int | None = None
    ) -> Book:
        return await lending(partial(super().load_until, cover, time_ns, divergence=divergence))

    async def load_latest(self, cover: Cover, *, divergence: int | None = None) -> Book:
        key = _rules.stream_of(cover)
        await self._lent.fetch(key, reads_end=True)
        stream = self._lent.by_key.get(key)
        if isinstance(stream, LentStream) and stream.last is not None:
            with self._serving():
                _rules.branch_point(cover, stream.base, divergence, 0)
                if not self._lent_snapshots.is_changed(stream):
                    return _latest(cover, stream, stream.last)
        return await lending(partial(super().load_latest, cover, divergence=divergence))

    async def next_sequence(self, cover: Cover, *, divergence: int | None = None) -> int:
        return await lending(partial(super().next_sequence, cover, divergence=divergence))

    async def length_at(self, cover: Cover, position: int, *, divergence: int | None = None) -> int:
        return await lending(partial(super().length_at, cover, position, divergence=divergence))

    async def divergence(self, cover: Cover) -> int | None:
        return await lending(partial(super().divergence, cover))

    async def pending(self, cover: Cover) -> list[Pending]:
        return await lending(partial(super().pending, cover))

    async def roots(self, domain: str, edition: str = "") -> list[bytes]:
        await self._lent.fetch_edition(domain, edition or MAIN)
        return await super().roots(domain, edition)

    async def domains(self) -> list[str]:
        for domain in await self._lender.base.events.domains():
            await self._find_any(domain)
        return await super().domains()

    async def editions(self, domain: str) -> list[str]:
        for edition in await self._lender.base.events.editions(domain):
            await self._lent.fetch_edition(domain, edition)
        return await super().editions(domain)

    async def by_correlation(
        self, correlation_id: str, *, domain: str | None = None, edition: str | None = None
    ) -> list[Book]:
        if correlation_id and correlation_id not in self._asked_correlations:
            for book in await self._lender.base.events.by_correlation(correlation_id):
                await self._correlate(book, correlation_id)
            self._asked_correlations.add(correlation_id)
        return await lending(
            partial(super().by_correlation, correlation_id, domain=domain, edition=edition)
        )

    async def find_by_provenance(self, cover: Cover, provenance: Provenance) -> Accepted | None:
        await self._know_key(cover, provenance, "")
        return await lending(partial(super().find_by_provenance, cover, provenance))

    async def find_by_external_id(self, cover: Cover, external_id: str) -> Accepted | None:
        await self._know_key(cover, None, external_id)
        return await lending(partial(super().find_by_external_id, cover, external_id))

    async def delete_edition(self, domain: str, edition: str) -> int:
        await self._lent.declared.fetch_all()
        await self._lent.fetch_edition(domain, edition or MAIN)
        count = await super().delete_edition(domain, edition)
        self._lent.forget_edition(domain, edition)
        return count

    async def decide_cascade(self, cascade_id: str, outcome: str, reason: str = "") -> Decision:
        await self._know_decision(cascade_id)
        return await super().decide_cascade(cascade_id, outcome, reason)

    async def decision(self, cascade_id: str) -> Decision | None:
        await self._know_decision(cascade_id)
        return await super().decision(cascade_id)

    async def resolve_cascade(self, cover: Cover, cascade_id: str) -> bytes | None:
        await self._know_decision(cascade_id)
        return await lending(partial(super().resolve_cascade, cover, cascade_id))

    async def tail(self, after: int, *, limit: int = 256, wait_s: float = 0.0) -> list[LogEntry]:
        entries = await self._lent_entries(after, limit) if after < self._lender.head else []
        if not entries:
            return await super().tail(after, limit=limit, wait_s=wait_s)
        return entries + await super().tail(after, limit=limit - len(entries))

    async def scan(
        self,
        after: int,
        *,
        limit: int = 65_536,
        editions: Sequence[str] | None = None,
        domains: Sequence[str] | None = None,
        fields: Sequence[FieldSpec] = (),
    ) -> Columns:
        check_scan(limit, fields)
        entries = await self._lent_entries(after, limit) if after < self._lender.head else []
        if not entries:
            return await super().scan(
                after, limit=limit, editions=editions, domains=domains, fields=fields
            )
        selection, rows, last = Selection(editions, domains), Rows(fields), after
        for entry in entries:
            if last > after and entry.position - after > limit:
                break
            last = entry.position
            book = wire.EventBook.FromString(entry.book)
            key = _stream_in(book).stream
            if selection.has(key):
                rows.add(key, entry.first_position, book.pages, after)
        return rows.columns(last)

    async def _lent_entries(self, after: int, limit: int) -> list[LogEntry]:
        """The base's entries that there are of lent pages; with what is left of their pages."""
        found: list[LogEntry] = []
        while logged := await self._lender.logged(after, limit - len(found)):
            for entry in logged:
                shown = await self._shown(entry)
                if shown is not None:
                    found.append(shown)
            after = logged[-1].position
            if len(found) == limit:
                break
        return found

    async def _shown(self, entry: LogEntry) -> LogEntry | None:
        book = wire.EventBook.FromString(entry.book)
        key = _stream_in(book).stream
        await self._lent.fetch(key)
        stream = self._lent.by_key.get(key)
        end = stream.end if isinstance(stream, LentStream) else 0
        kept = [page for page in book.pages if page.header.sequence < end]
        if len(kept) == len(book.pages):
            return entry
        if not kept:
            return None
        cut = len(book.pages) - len(kept)
        del book.pages[len(kept) :]
        book.next_sequence = kept[-1].header.sequence + 1
        return LogEntry(entry.position - cut, entry.first_position, book.SerializeToString())

    async def _find_any(self, domain: str) -> None:
        """Take over streams of the domain until one has pages."""
        events = self._lender.base.events
        for edition in await events.editions(domain):
            for root in await events.roots(domain, edition):
                key = domain, edition, root
                await self._lent.fetch(key)
                if (stream := self._lent.by_key.get(key)) is not None and stream.pages:
                    return

    async def _know_key(
        self, cover: Cover, provenance: Provenance | None, external_id: str
    ) -> None:
        """Have what the key stands for in the base among the stream's keys."""
        place = _rules.stream_of(cover), _rules.key_of(provenance, external_id)
        if not place[1] or place in self._asked_keys:
            return
        await self._lent.fetch(place[0], reads_end=True)
        stream = self._lent.by_key.get(place[0])
        if isinstance(stream, LentStream):
            found = await self._lender.accepted(stream, provenance, external_id)
            if found is not None:
                first = sequence_of(found.pages[0])
                stream.keys.setdefault(place[1], Key(first, len(found.pages), "", found.answer))
        self._asked_keys.add(place)

    async def _know_decision(self, cascade_id: str) -> None:
        if cascade_id in self._asked_decisions:
            return
        found = await self._lender.base.events.decision(cascade_id)
        self._asked_decisions.add(cascade_id)
        if found is not None:
            self._decisions.setdefault(cascade_id, found)

    async def _correlate(self, found: Book, correlation_id: str) -> None:
        """Put lent pages with the id among their stream's commits."""
        book = wire.EventBook.FromString(found.data)
        key = _stream_in(book).stream
        await self._lent.fetch(key)
        stream = self._lent.by_key.get(key)
        if not isinstance(stream, LentStream):
            return
        numbers = [page.header.sequence for page in book.pages]
        commits = [
            Commit(number, 1, correlation_id, position=self._lender.head)
            for number in numbers
            if number < stream.end
        ]
        if commits and not any(commit in stream.commits for commit in commits):
            stream.commits[:0] = commits
            stream.published_count += len(commits)


def _latest(cover: Cover, stream: LentStream, last: End) -> Book:
    """What the base gave of the stream, and its own pages behind that, not taken apart."""
    following = stream.next_sequence
    own = stream.own(stream.end, following - stream.end)
    frames = last.frames + _pages.frames_of(page.data for page in own)
    data = _pages.book_bytes(replace(cover, correlation_id=""), frames, following, last.snapshot)
    return Book(data, following, last.is_plain and all(page.is_plain for page in own))


def _stream_in(book: wire.EventBook) -> Cover:
    cover = book.cover
    return Cover(cover.domain, cover.root.value, cover.edition.name)
