"""The edition store port: declared editions, what they hold, and where their streams left their
base (EDN-19 to EDN-25)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from angzarr.cover import MAIN

EDITION_DEPTH_MAX: Final = 16
"""Levels of branches above main (EDN-21)."""


@dataclass(frozen=True, slots=True)
class EditionRecord:
    """A declared edition.

    parent: what it is a branch of. expires_at_ns: nanoseconds since the epoch, 0 is never.
    max_pages, max_bytes: of its own pages over all domains, encoded; 0 is no limit.
    """

    name: str
    parent: str = MAIN
    created_at_ns: int = 0
    expires_at_ns: int = 0
    max_pages: int = 0
    max_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What an edition holds of its own, over all domains; bytes are those of encoded pages."""

    page_count: int
    byte_count: int


@dataclass(frozen=True, slots=True)
class Branch:
    """A stream of an edition: where it left its base (0 on main), and its first free sequence."""

    root: bytes
    divergence: int
    next_sequence: int


class EditionStore(Protocol):
    """Records of declared editions, by name. They hold for all domains of the store."""

    async def declare(
        self,
        name: str,
        *,
        parent: str = MAIN,
        expires_at_ns: int = 0,
        max_pages: int = 0,
        max_bytes: int = 0,
    ) -> EditionRecord:
        """Make the record, or change the limits of the one that there is; the record in force.

        O(1) whatever the history. Durable on return, and in force for what begins later. Any
        spelling of main as `parent` is main. A child gets its parent's expires_at_ns where none is
        given; created_at_ns is the store's clock at the first declaration.

        Raises InvalidInput (a chain of parents that would be longer than EDITION_DEPTH_MAX or come
        back to `name`, counting the branches that it has already; an expiry after the parent's or,
        of a parent, before a child's; negative numbers), MainProtected("") for main,
        EditionConflict for a declared edition with another parent, and for one with pages that were
        written on another base. Order of the checks: main,
        numbers, conflict, chain, expiry.
        """
        ...

    async def get(self, name: str) -> EditionRecord | None:
        """The record; None for main and for an edition that was never declared."""
        ...

    async def list(self) -> list[EditionRecord]:
        """All records, names ascending."""
        ...

    async def forget(self, name: str) -> bool:
        """Remove the record; whether there was one.

        With it goes what streams without pages have left: their pins, keys, snapshots, positions.
        Raises EditionInUse where declared editions have it as parent, or it has pages in any
        domain.
        """
        ...

    async def usage(self, name: str) -> Usage:
        """What is stored of the edition; its cost may grow with that, never with the rest."""
        ...

    async def branches(
        self, domain: str, edition: str = "", *, after: bytes = b"", limit: int = 1_000
    ) -> list[Branch]:
        """Streams with at least one page on exactly this edition, roots ascending, those above
        `after`, at most `limit`."""
        ...
