"""What the memory store keeps of one stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from angzarr.stores._pages import Page


@dataclass(slots=True)
class Commit:
    """One append's pages in their stream: `count` of them from sequence `first` on."""

    first: int
    count: int
    correlation_id: str
    cascade_id: str = ""
    is_marker: bool = False


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
    unresolved: cascade ids of the pending pages that no marker names yet, by sequence, ascending.
    published_count: how many of the commits are in the log, always a prefix of them.
    """

    base: int
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


class View(NamedTuple):
    """A composite stream: main's pages below `base`, then the stream's own (EDN-3)."""

    base: int
    main: list[Page]
    own: list[Page]

    @property
    def next_sequence(self) -> int:
        return self.base + len(self.own)

    def pages(self, start: int = 0, stop: int | None = None) -> list[Page]:
        """Those in [start, stop)."""
        end = self.next_sequence if stop is None else stop
        inherited = self.main[start : min(end, self.base)]
        return inherited + self.own[max(start - self.base, 0) : max(end - self.base, 0)]
