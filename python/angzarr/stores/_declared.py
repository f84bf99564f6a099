"""The table of declared editions, and its rules without I/O (EDN-20 to EDN-25)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from angzarr.cover import MAIN
from angzarr.errors import (
    EditionConflict,
    EditionExpired,
    EditionInUse,
    InvalidInput,
    MainProtected,
    QuotaExceeded,
)
from angzarr.ports.clock import Clock
from angzarr.ports.edition_store import EDITION_DEPTH_MAX, EditionRecord, Usage

NUMBER_MAX: Final = 2**63 - 1


class DeclaredEditions:
    """Records by name, with the children of each; a change is a dictionary's, so reads need no
    lock."""

    def __init__(self, records: Iterable[EditionRecord] = ()) -> None:
        self._records: dict[str, EditionRecord] = {}
        self._children: dict[str, dict[str, None]] = {}
        for record in records:
            self.put(record)

    def get(self, name: str) -> EditionRecord | None:
        """The record of an edition."""
        return self._records.get(name)

    def all(self) -> list[EditionRecord]:
        """Names ascending."""
        return [self._records[name] for name in sorted(self._records)]

    def parent(self, name: str) -> str:
        """What an edition is a branch of."""
        record = self._records.get(name)
        return record.parent if record else MAIN

    def put(self, record: EditionRecord) -> None:
        """Keep a record that `judged` has let pass."""
        self._children.setdefault(record.parent, {})[record.name] = None
        self._records[record.name] = record

    def drop(self, name: str) -> None:
        """Forget a record."""
        siblings = self._children[self._records.pop(name).parent]
        del siblings[name]

    def judged(self, wanted: EditionRecord, *, has_pages: bool) -> EditionRecord:
        """The record that declaring `wanted` leads to; the errors of `EditionStore.declare`.

        wanted: parent "" is main; created_at_ns is now. has_pages: in any domain.
        """
        name, parent = wanted.name, wanted.parent or MAIN
        check_name(name)
        check_numbers(wanted)
        known = self._records.get(name)
        if parent != (known.parent if known else MAIN) and (known or has_pages):
            raise EditionConflict(name, known.parent if known else MAIN, parent)
        if known is None:
            self._check_chain(name, parent)
        above = self._records.get(parent)
        above_ns = above.expires_at_ns if above else 0
        expires_at_ns = wanted.expires_at_ns or above_ns
        self._check_expiry(name, expires_at_ns, above_ns)
        created_at_ns = known.created_at_ns if known else wanted.created_at_ns
        return EditionRecord(
            name, parent, created_at_ns, expires_at_ns, wanted.max_pages, wanted.max_bytes
        )

    def check_unused(self, name: str, *, has_pages: bool = False) -> None:
        """EditionInUse where declared editions have it as parent, or it has pages."""
        children = self._children.get(name)
        if children or has_pages:
            raise EditionInUse(name, list(children or ()))

    def _check_chain(self, name: str, parent: str) -> None:
        """That a new branch of `parent` closes no circle and makes no chain too long (EDN-21)."""
        above, ancestor = 0, parent
        while ancestor != MAIN:
            above += 1
            if ancestor == name:
                raise InvalidInput("parent", f"no branch of {name}", parent)
            ancestor = self.parent(ancestor)
        levels = above + self._levels(name)
        if levels > EDITION_DEPTH_MAX:
            raise InvalidInput("parent", f"at most {EDITION_DEPTH_MAX} levels above main", levels)

    def _levels(self, name: str) -> int:
        """Those of the branches of `name` and its own."""
        return 1 + max((self._levels(child) for child in self._children.get(name, ())), default=0)

    def _check_expiry(self, name: str, expires_at_ns: int, above_ns: int) -> None:
        """That it is not after its parent's, nor before one of its children's (EDN-24)."""
        if above_ns and expires_at_ns > above_ns:
            raise InvalidInput("expires_at_ns", f"at most {above_ns}, the parent's", expires_at_ns)
        if not expires_at_ns:
            return
        below = [self._records[child].expires_at_ns for child in self._children.get(name, ())]
        if any(not child_ns for child_ns in below):
            raise InvalidInput("expires_at_ns", "0, which is that of a branch of it", expires_at_ns)
        if below and expires_at_ns < max(below):
            limit = f"at least {max(below)}, that of a branch of it"
            raise InvalidInput("expires_at_ns", limit, expires_at_ns)


def check_alive(record: EditionRecord, clock: Clock) -> None:
    """EditionExpired from its expiry on."""
    if record.expires_at_ns and clock.now_ns() >= record.expires_at_ns:
        raise EditionExpired(record.name, record.expires_at_ns)


def check_quota(record: EditionRecord, held: Usage, more: Usage) -> None:
    """QuotaExceeded if `more` than is `held` would go beyond the edition's limits."""
    if not more.page_count:
        return
    page_count = held.page_count + more.page_count
    if record.max_pages and page_count > record.max_pages:
        raise QuotaExceeded.of(record.name, "max_pages", record.max_pages, page_count)
    byte_count = held.byte_count + more.byte_count
    if record.max_bytes and byte_count > record.max_bytes:
        raise QuotaExceeded.of(record.name, "max_bytes", record.max_bytes, byte_count)


def check_name(name: str) -> None:
    """MainProtected for any spelling of main, which is never declared."""
    if name in ("", MAIN):
        raise MainProtected("")


def check_numbers(wanted: EditionRecord) -> None:
    """InvalidInput for a negative number, or one that has no place in 64 bits."""
    limits = {
        "expires_at_ns": wanted.expires_at_ns,
        "max_pages": wanted.max_pages,
        "max_bytes": wanted.max_bytes,
    }
    for field, value in limits.items():
        if not 0 <= value <= NUMBER_MAX:
            raise InvalidInput(field, f"0 to {NUMBER_MAX}", value)
