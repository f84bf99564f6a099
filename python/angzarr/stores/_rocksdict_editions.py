"""The edition store on rocksdict, and what editions hold."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from angzarr.cover import MAIN
from angzarr.ports.clock import Clock
from angzarr.ports.edition_store import Branch, EditionRecord, Usage
from angzarr.stores import _pages
from angzarr.stores import _rocksdict_db as keys
from angzarr.stores._declared import check_quota
from angzarr.stores._rocksdict_db import text
from angzarr.stores._rocksdict_streams import Streams

if TYPE_CHECKING:
    from angzarr.stores._rocksdict_writer import Writer

_encode = msgspec.msgpack.Encoder().encode


class Usages:
    """Pages and bytes of editions. Those with a quota are counted once and then kept in memory;
    all but `of` runs under the writers' lock."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._shared = streams.shared
        self._kept: dict[str, Usage] = {}

    def of(self, edition: str) -> Usage:
        """Counted now."""
        page_count = byte_count = 0
        for _, timeline in self._shared.timelines_of(edition):
            begin = keys.EVENT + timeline
            for _, frame in self._shared.db.items(begin, keys.after(begin)):
                page_count += 1
                byte_count += len(_pages.unframe(frame))
        return Usage(page_count, byte_count)

    def has_pages(self, edition: str) -> bool:
        """Whether it has any, in any domain."""
        timelines = self._shared.timelines_of(edition)
        return any(next(self._streams.roots(timeline), None) for _, timeline in timelines)

    def check(self, record: EditionRecord, pages: Sequence[bytes]) -> None:
        """QuotaExceeded if the pages are more than the edition may still take."""
        if pages and (record.max_pages or record.max_bytes):
            if record.name not in self._kept:
                self._kept[record.name] = self.of(record.name)
            more = Usage(len(pages), sum(map(len, pages)))
            check_quota(record, self._kept[record.name], more)

    def add(self, edition: str, pages: Sequence[bytes]) -> None:
        """Count pages that were written."""
        held = self._kept.get(edition)
        if held is not None:
            size_bytes = held.byte_count + sum(map(len, pages))
            self._kept[edition] = Usage(held.page_count + len(pages), size_bytes)

    def forget(self, edition: str) -> None:
        """Count anew when it is needed."""
        self._kept.pop(edition, None)


class DictEditions:
    """Records of declared editions, and what the streams say of all editions."""

    def __init__(self, streams: Streams, writer: Writer, usages: Usages, clock: Clock) -> None:
        self._streams = streams
        self._writer = writer
        self._usages = usages
        self._clock = clock
        self._shared = streams.shared
        self._db = streams.shared.db

    async def declare(
        self,
        name: str,
        *,
        parent: str = MAIN,
        expires_at_ns: int = 0,
        max_pages: int = 0,
        max_bytes: int = 0,
    ) -> EditionRecord:
        with self._shared.lock:
            self._db.check()
            declared = self._shared.declared
            wanted = EditionRecord(
                name, parent, self._clock.now_ns(), expires_at_ns, max_pages, max_bytes
            )
            has_pages = declared.get(name) is None and self._usages.has_pages(name)
            record = declared.judged(wanted, has_pages=has_pages)
            if record != declared.get(name):
                batch = self._db.batch()
                batch.put(keys.EDITION + text(name), _encode(record))
                self._shared.write(batch)
                declared.put(record)
            return record

    async def get(self, name: str) -> EditionRecord | None:
        self._db.check()
        return self._shared.declared.get(name)

    async def list(self) -> list[EditionRecord]:
        with self._shared.lock:
            self._db.check()
            return self._shared.declared.all()

    async def forget(self, name: str) -> bool:
        with self._shared.lock:
            self._db.check()
            declared = self._shared.declared
            if declared.get(name) is None:
                return False
            declared.check_unused(name, has_pages=self._usages.has_pages(name))
            for domain, timeline in self._shared.timelines_of(name):
                self._writer.delete_timeline(domain, name, timeline, [])
            batch = self._db.batch()
            batch.delete(keys.EDITION + text(name))
            self._shared.write(batch)
            declared.drop(name)
            self._usages.forget(name)
            return True

    async def usage(self, name: str) -> Usage:
        self._db.check()
        return self._usages.of(name or MAIN)

    async def branches(
        self, domain: str, edition: str = "", *, after: bytes = b"", limit: int = 1_000
    ) -> list[Branch]:
        self._db.check()
        edition = edition or MAIN
        timeline = self._shared.timeline(domain, edition)
        if timeline is None:
            return []
        roots = islice(self._streams.roots(timeline, after), limit)
        heads = ((root, self._streams.head((domain, edition, root))) for root in roots)
        return [Branch(root, head.base or 0, head.next_sequence) for root, head in heads]
