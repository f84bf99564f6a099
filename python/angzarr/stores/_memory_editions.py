"""The edition store in memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import islice

from angzarr.cover import MAIN
from angzarr.ports.clock import Clock
from angzarr.ports.edition_store import Branch, EditionRecord, Usage
from angzarr.stores._memory_streams import Streams


class MemoryEditions:
    """Records of declared editions, and what the streams say of all editions.

    serving: holds the store's lock and refuses when it is closed or forked. forget_streams: drops
    all that is kept of an edition without pages.
    """

    def __init__(
        self,
        serving: Callable[[], AbstractContextManager[None]],
        streams: Streams,
        clock: Clock,
        forget_streams: Callable[[str], None],
    ) -> None:
        self._serving = serving
        self._streams = streams
        self._declared = streams.declared
        self._clock = clock
        self._forget_streams = forget_streams

    async def declare(
        self,
        name: str,
        *,
        parent: str = MAIN,
        expires_at_ns: int = 0,
        max_pages: int = 0,
        max_bytes: int = 0,
    ) -> EditionRecord:
        with self._serving():
            wanted = EditionRecord(
                name, parent, self._clock.now_ns(), expires_at_ns, max_pages, max_bytes
            )
            has_pages = bool(self._streams.usage(name).page_count)
            record = self._declared.judged(wanted, has_pages=has_pages)
            self._declared.put(record)
            return record

    async def get(self, name: str) -> EditionRecord | None:
        with self._serving():
            return self._declared.get(name)

    async def list(self) -> list[EditionRecord]:
        with self._serving():
            return self._declared.all()

    async def forget(self, name: str) -> bool:
        with self._serving():
            if self._declared.get(name) is None:
                return False
            has_pages = bool(self._streams.usage(name).page_count)
            self._declared.check_unused(name, has_pages=has_pages)
            self._forget_streams(name)
            self._declared.drop(name)
            return True

    async def usage(self, name: str) -> Usage:
        with self._serving():
            return self._streams.usage(name or MAIN)

    async def branches(
        self, domain: str, edition: str = "", *, after: bytes = b"", limit: int = 1_000
    ) -> list[Branch]:
        with self._serving():
            wanted = domain, edition or MAIN
            above = sorted(
                key for key in self._streams.written() if key[:2] == wanted and key[2] > after
            )
            found = ((key[2], self._streams.by_key[key]) for key in islice(above, limit))
            return [Branch(root, stream.base, stream.next_sequence) for root, stream in found]
