"""Branching history in plain lists and dicts: what all stores are compared with.

A branch is a copy here. Its first write copies the pages that it inherits, so nothing that anybody
writes later can change them, and a read has nothing to put together. Refused names the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAIN, PERSIST, TRANSIENT = "angzarr", 1, 2
Key = tuple[str, str, bytes]  # domain, edition, root


class Refused(Exception): ...


@dataclass(frozen=True)
class Page:
    data: bytes
    sequence: int
    key: Key  # of the stream that it was written to
    time: int
    position: int
    commit: int  # the position of its commit's last page
    correlation_id: str


@dataclass(frozen=True)
class Record:
    parent: str = MAIN  # below, 0 is never and no limit
    expires_at: int = 0
    max_pages: int = 0
    max_bytes: int = 0


class Model:
    """One store. streams: all that is read of what was written to, inherited pages first. pins:
    where branches left their base. snapshots: retention and time by sequence."""

    def __init__(self) -> None:
        self.streams: dict[Key, list[Page]] = {}
        self.pins: dict[Key, int] = {}
        self.snapshots: dict[Key, dict[int, tuple[int, int]]] = {}
        self.external: dict[Key, dict[str, list[Page]]] = {}
        self.records: dict[str, Record] = {}
        self.log: list[Page] = []
        self.log_head = 0

    def read(self, key: Key, divergence: int | None = None) -> list[Page]:
        if key[1] != MAIN and divergence not in (None, self.pins.get(key, divergence)):
            raise Refused("DivergenceConflict")
        if key[1] == MAIN or key in self.streams:
            return self.streams.get(key, [])
        inherited = self.read((key[0], self.parent(key[1]), key[2]))
        if divergence is not None and divergence > len(inherited):
            raise Refused("InvalidDivergence")
        return inherited[:divergence]

    def append(
        self, key: Key, expected: int, data: list[bytes], *, now: int, time: int = 0,
        divergence: int | None = None, external_id: str = "", correlation_id: str = "",
    ) -> tuple[int, int]:  # fmt: skip
        """First and last sequence, of the first acceptance where the external id is known."""
        if known := self.external.get(key, {}).get(external_id):
            return known[0].sequence, known[-1].sequence
        record = self.records.get(key[1], Record())
        if 0 < record.expires_at <= now:
            raise Refused("EditionExpired")
        seen = self.read(key, divergence)
        if key not in self.streams and divergence is None and key[1] != MAIN:
            seen = seen[:expected]  # a branch starts where it is first written
        if len(seen) != expected:
            raise Refused("SequenceConflict")
        page_count, byte_count = self.usage(key[1], data)
        if 0 < record.max_pages < page_count or 0 < record.max_bytes < byte_count:
            raise Refused("QuotaExceeded")
        before, self.log_head = self.log_head, self.log_head + len(data)
        pages = [
            Page(one, expected + n, key, time, before + 1 + n, self.log_head, correlation_id)
            for n, one in enumerate(data)
        ]
        if key[1] != MAIN:
            self.pins.setdefault(key, expected)
        self.streams[key] = seen + pages
        self.log += pages
        if external_id:
            self.external.setdefault(key, {})[external_id] = pages
        return expected, expected + len(data) - 1

    def put_snapshot(
        self, key: Key, sequence: int, how: int, *, keep_last: int, age_max: int, now: int
    ) -> None:
        kept = self.snapshots.setdefault(key, {})
        kept[sequence] = how, now
        for rank, (each, (how, since)) in list(enumerate(sorted(kept.items(), reverse=True)))[1:]:
            is_surplus = each <= sequence and (how == TRANSIENT or rank >= keep_last)
            is_old = 0 < age_max < now - since
            if how != PERSIST and (is_surplus or is_old):
                del kept[each]

    def base_of_state(self, pages: list[Page]) -> int | None:
        """The newest of these pages that has a snapshot where it was written."""
        found = [p.sequence for p in pages if p.sequence in self.snapshots.get(p.key, {})]
        return max(found, default=None)

    def declare(self, name: str, made: Record) -> None:
        if name == MAIN:
            raise Refused("MainProtected")
        if min(made.expires_at, made.max_pages, made.max_bytes) < 0:
            raise Refused("InvalidInput")
        if made.parent != self.parent(name) and (name in self.records or self.usage(name)[0]):
            raise Refused("EditionConflict")
        above = made.parent
        while above not in (MAIN, name):
            above = self.parent(above)
        last = self.records.get(made.parent, Record()).expires_at
        ends = made.expires_at or last
        children = [self.records[child].expires_at for child in self.children(name)]
        is_first = ends and any(not 0 < end <= ends for end in children)
        if above == name or 0 < last < ends or is_first:
            raise Refused("InvalidInput")
        self.records[name] = Record(made.parent, ends, made.max_pages, made.max_bytes)

    def forget(self, name: str) -> bool:
        if name in self.records and (self.children(name) or self.usage(name)[0]):
            raise Refused("EditionInUse")
        return self.records.pop(name, None) is not None

    def delete(self, domain: str, edition: str) -> int:
        if edition == MAIN or self.children(edition):
            raise Refused("MainProtected" if edition == MAIN else "EditionInUse")
        before = len(self.log)
        self.log = [page for page in self.log if page.key[:2] != (domain, edition)]
        for kept in (self.streams, self.pins, self.snapshots, self.external):
            for key in [key for key in kept if key[:2] == (domain, edition)]:
                del kept[key]
        return before - len(self.log)

    def parent(self, edition: str) -> str:
        return self.records.get(edition, Record()).parent

    def children(self, edition: str) -> list[str]:
        return sorted(name for name, record in self.records.items() if record.parent == edition)

    def usage(self, edition: str, more: Sequence[bytes] = ()) -> tuple[int, int]:
        own = [*more, *(page.data for page in self.log if page.key[1] == edition)]
        return len(own), sum(map(len, own))
