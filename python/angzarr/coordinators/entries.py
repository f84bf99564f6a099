"""The log's entries as all consumers of a process share them: cover and types are found once."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.coordinators import books, subscriptions
from angzarr.cover import Cover
from angzarr.ports.event_store import LogEntry

COVERS_KEPT: Final = 8192
NOWHERE: Final = Cover("", b"")
"""The cover of a book that can't be decoded."""


class Entry:
    """A log entry. cover: its book's, found without parsing the pages; NOWHERE where there is none
    that parses.
    """

    __slots__ = ("_facts", "book", "cover", "first_position", "position", "size_bytes")

    def __init__(self, entry: LogEntry) -> None:
        self.position = entry.position
        self.first_position = entry.first_position
        self.book = entry.book
        self.size_bytes = len(entry.book)
        self.cover = cover_in(entry.book)
        self._facts: tuple[int, int, tuple[str, ...]] | None = None

    @property
    def first(self) -> int:
        """Sequence of its first page. Raises DecodeError, as `last` and `types` do."""
        return self._parsed()[0]

    @property
    def last(self) -> int:
        """Sequence of its last page."""
        return self._parsed()[1]

    @property
    def types(self) -> tuple[str, ...]:
        """Type URLs of its pages' payloads, as `Filter` takes them."""
        return self._parsed()[2]

    @property
    def is_decodable(self) -> bool:
        """Whether it has a cover, and pages that parse."""
        if self.cover is NOWHERE:
            return False
        try:
            self._parsed()
        except DecodeError:
            return False
        return True

    def _parsed(self) -> tuple[int, int, tuple[str, ...]]:
        if self._facts is None:
            pages = wire.EventBook.FromString(self.book).pages
            if not pages:
                raise DecodeError("a published book without pages")
            sequences = pages[0].header.sequence, pages[-1].header.sequence
            self._facts = (*sequences, subscriptions.type_urls(pages))
        return self._facts


def cover_in(book: bytes) -> Cover:
    """The cover of an encoded EventBook, its first field; NOWHERE without a domain and a root."""
    try:
        if book[:1] != books.TAG_1:
            return NOWHERE
        at, end = books.field_at(book, 0)
        return _cover(book[at:end])
    except (DecodeError, IndexError):
        return NOWHERE


@lru_cache(maxsize=COVERS_KEPT)
def _cover(data: bytes) -> Cover:
    cover = books.cover_of(wire.Cover.FromString(data))
    return cover if cover.domain and cover.root else NOWHERE
