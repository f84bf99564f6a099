"""Covers and types of the log's entries, found once for all consumers."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError

from angzarr import wire
from angzarr.coordinators.entries import NOWHERE, Entry, cover_in
from angzarr.cover import Cover, root_of
from angzarr.ports.event_store import LogEntry
from angzarr.testing.pages import TYPE_URL, book_of, cover_of, page, pages

NAMED = cover_of("alice", edition="what-if", correlation_id="c-1")


def _entry(book: bytes) -> Entry:
    return Entry(LogEntry(9, 7, book))


@pytest.mark.parametrize("cover", [NAMED, cover_of("bob"), cover_of("x", domain="d" * 64)])
def test_the_cover_is_found_without_the_pages(cover):
    book = book_of(cover, [b"no page at all"], next_sequence=1)

    assert cover_in(book) == cover


def test_a_cover_without_an_edition_is_on_main():
    cover = wire.Cover(domain="order", root=wire.UUID(value=root_of("x")))

    found = cover_in(wire.EventBook(cover=cover).SerializeToString())

    assert found == Cover("order", root_of("x"), "angzarr")


@pytest.mark.parametrize(
    "book",
    [
        b"",
        b"\x0a",
        b"\x0a\xff",
        b"no book",
        b"\x0a\x05abcde",
        wire.EventBook(next_sequence=1).SerializeToString(),
        wire.EventBook(cover=wire.Cover(domain="order")).SerializeToString(),
        wire.EventBook(cover=wire.Cover(root=wire.UUID(value=b"x"))).SerializeToString(),
    ],
)
@pytest.mark.spec("STO-26")
def test_a_book_without_an_address_is_nowhere(book):
    assert cover_in(book) is NOWHERE
    assert not _entry(book).is_decodable


def test_an_entry_tells_its_place_its_sequences_and_its_types():
    entry = _entry(book_of(NAMED, [page(3), page(4, type_url="type.googleapis.com/x.Y"), page(5)]))

    assert (entry.first_position, entry.position) == (7, 9)
    assert (entry.first, entry.last) == (3, 5)
    assert entry.types == (TYPE_URL, "type.googleapis.com/x.Y", TYPE_URL)
    assert entry.is_decodable


def test_the_last_sequence_is_found_where_no_next_one_is():
    entry = _entry(book_of(NAMED, [page(2**32 - 1)], next_sequence=0))

    assert entry.last == 2**32 - 1


@pytest.mark.spec("STO-26")
@pytest.mark.parametrize("content", [[b"\xff\xff"], []])
def test_an_entry_without_pages_that_parse_is_not_decodable(content):
    entry = _entry(book_of(NAMED, content, next_sequence=1))

    assert not entry.is_decodable
    with pytest.raises(DecodeError):
        _ = entry.first


def test_pages_are_parsed_once(monkeypatch):
    entry = _entry(book_of(NAMED, pages(0, 2)))
    assert entry.first == 0

    entry.book = b"gone"

    assert (entry.last, entry.types) == (1, (TYPE_URL, TYPE_URL))
