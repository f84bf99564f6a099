"""What the memory store keeps of streams, and how composite streams are put together of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from angzarr.cover import MAIN, Cover
from angzarr.ports.edition_store import Usage
from angzarr.stores import _rules
from angzarr.stores._declared import DeclaredEditions
from angzarr.stores._pages import Page

StreamKey = tuple[str, str, bytes]
NOTHING = Usage(0, 0)


@dataclass(slots=True)
class Commit:
    """One append's pages in their stream: `count` of them from sequence `first` on.

    position: that of its last page in the log; 0 while it is not there.
    """

    first: int
    count: int
    correlation_id: str
    cascade_id: str = ""
    is_marker: bool = False
    position: int = 0


@dataclass(slots=True)
class Key:
    """What an idempotency key was accepted for; `cascade_id` of its pages."""

    first: int
    count: int
    cascade_id: str
    answer: bytes


@dataclass(slots=True)
class Stream:
    """One (domain, edition, root).

    base: sequence of its first own page, 0 on main, else where the branch is pinned.
    inherited: what the pages below `base` are, pinned with it (EDN-21).
    unresolved: cascade ids of the pending pages that no marker names yet, by sequence, ascending.
    published_count: how many of the commits are in the log, always a prefix of them.
    """

    base: int
    inherited: Sequence[Stretch] = ()
    pages: list[Page] = field(default_factory=list[Page])
    commits: list[Commit] = field(default_factory=list[Commit])
    published_count: int = 0
    unresolved: dict[int, str] = field(default_factory=dict[int, str])
    keys: dict[bytes, Key] = field(default_factory=dict[bytes, Key])

    @property
    def next_sequence(self) -> int:
        return self.base + len(self.pages)

    def own(self, first: int, count: int) -> list[Page]:
        """The stream's own pages, `count` from sequence `first` on."""
        return self.pages[first - self.base : first - self.base + count]

    def sequences_of(self, cascade_id: str) -> tuple[int, ...]:
        """The unresolved ones of a cascade, ascending."""
        return tuple(n for n, held_by in self.unresolved.items() if held_by == cascade_id)

    def published_at(self, position: int) -> int:
        """The first sequence that was not in the log when its head was at `position`."""
        in_log, commits = self.published_count, self.commits
        before = bisect_right(commits, position, hi=in_log, key=lambda commit: commit.position)
        if before < in_log:
            commit = commits[before]
            return commit.first + max(position - (commit.position - commit.count), 0)
        return commits[in_log - 1].first + commits[in_log - 1].count if in_log else self.base


class Stretch(NamedTuple):
    """A stream's own pages below `stop`, as a part of a composite stream."""

    key: StreamKey
    stream: Stream
    stop: int


class View(NamedTuple):
    """A composite stream: what it inherits below `base`, then its own pages (EDN-3, EDN-21)."""

    base: int
    inherited: Sequence[Stretch]
    own: Stretch | None

    @property
    def next_sequence(self) -> int:
        return self.own.stop if self.own else self.base

    @property
    def stretches(self) -> list[Stretch]:
        """All of it, ascending."""
        return [*self.inherited, self.own] if self.own else list(self.inherited)

    def pages(self, start: int = 0, stop: int | None = None) -> list[Page]:
        """Those in [start, stop)."""
        end = self.next_sequence if stop is None else stop
        found: list[Page] = []
        for _, stream, stretch_stop in self.stretches:
            begin = max(start, stream.base)
            found += stream.own(begin, max(min(end, stretch_stop) - begin, 0))
        return found


class Streams:
    """All streams, and the declared editions that say how they hang together; all of it runs under
    the store's lock."""

    def __init__(self) -> None:
        self.by_key: dict[StreamKey, Stream] = {}
        self.declared = DeclaredEditions()
        self._usage: dict[str, Usage] = {}

    def get(self, key: StreamKey) -> Stream | None:
        """The stream, if anything was written there."""
        return self.by_key.get(key)

    def written(self) -> list[StreamKey]:
        """Streams with pages."""
        return [key for key, stream in self.by_key.items() if stream.pages]

    def usage(self, edition: str) -> Usage:
        """What an edition holds over all domains."""
        return self._usage.get(edition, NOTHING)

    def count(self, edition: str, pages: Sequence[Page]) -> None:
        """Add pages to an edition's usage."""
        held, more = self.usage(edition), usage_of(pages)
        self._usage[edition] = Usage(
            held.page_count + more.page_count, held.byte_count + more.byte_count
        )

    def drop(self, keys: Sequence[StreamKey]) -> int:
        """Forget streams; count of their pages."""
        count = 0
        for key in keys:
            held, less = self.usage(key[1]), usage_of(self.by_key.pop(key).pages)
            self._usage[key[1]] = Usage(
                held.page_count - less.page_count, held.byte_count - less.byte_count
            )
            count += less.page_count
        return count

    def view(self, cover: Cover, divergence: int | None) -> View:
        """The composite stream; InvalidDivergence, DivergenceConflict."""
        key = _rules.stream_of(cover)
        stream = self.get(key)
        if stream is not None:
            base = _rules.branch_point(cover, stream.base, divergence, 0)
            own = Stretch(key, stream, stream.next_sequence) if stream.pages else None
            return View(base, stream.inherited, own)
        above = self.above(key)
        base = _rules.branch_point(cover, None, divergence, above.next_sequence)
        return View(base, cut(above.stretches, base), None)

    def above(self, key: StreamKey) -> View:
        """What the stream of a branch is on its parent now, which its first write leaves."""
        domain, edition, root = key
        if edition == MAIN:
            return View(0, (), None)
        return self.view(Cover(domain, root, self.declared.parent(edition)), None)

    def begun(self, cover: Cover, expected_sequence: int, divergence: int | None) -> Stream:
        """The stream to append to, not kept yet if it is new; the errors of `view`."""
        key = _rules.stream_of(cover)
        stream = self.get(key)
        above = self.above(key) if stream is None else View(0, (), None)
        base = _rules.first_write_point(
            cover,
            stream.base if stream else None,
            divergence,
            above.next_sequence,
            expected_sequence,
        )
        return stream or Stream(base, cut(above.stretches, base))


def cut(stretches: Sequence[Stretch], stop: int) -> list[Stretch]:
    """What of the stretches lies below `stop`."""
    return [s._replace(stop=min(s.stop, stop)) for s in stretches if s.stream.base < stop]


def usage_of(pages: Sequence[Page]) -> Usage:
    """Count and encoded bytes of pages."""
    return Usage(len(pages), sum(len(page.data) for page in pages))
