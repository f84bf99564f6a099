"""Reading by correlation id (STO-42, QRY-1, EDN-10)."""

from __future__ import annotations

import pytest

from angzarr.cover import Cover
from angzarr.ports.event_store import COMMIT, Book, EventStore
from angzarr.testing.contracts.base import StoreContract, given_pages
from angzarr.testing.pages import book_of, cover_of, pages, parse_book, sequences_of


class CorrelationContract(StoreContract):
    """Claims about `by_correlation`."""

    @pytest.mark.spec("STO-42")
    async def test_a_correlated_stream_is_found(self, events: EventStore) -> None:
        cover = cover_of(correlation_id="corr-1")
        made = await given_pages(events, cover, 3)

        books = await events.by_correlation("corr-1")

        assert books == [Book(book_of(cover, made), next_sequence=3, is_plain=True)]

    @pytest.mark.spec("STO-42")
    async def test_an_unknown_correlation_finds_nothing(self, events: EventStore) -> None:
        await given_pages(events, cover_of(correlation_id="corr-1"), 3)

        assert await events.by_correlation("corr") == []
        assert await events.by_correlation("corr-11") == []

    @pytest.mark.spec("STO-42")
    async def test_the_empty_correlation_finds_nothing(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 3)

        assert await events.by_correlation("") == []

    @pytest.mark.spec("STO-42", "QRY-1")
    async def test_only_pages_with_the_id_are_in_the_book(self, events: EventStore) -> None:
        await events.append(cover_of(correlation_id="other"), 0, pages(0, 2))
        await events.append(cover_of(correlation_id="corr-1"), 2, pages(2, 2))
        await events.append(cover_of(), 4, pages(4, 1))
        await events.append(cover_of(correlation_id="corr-1"), 5, pages(5, 1))

        [book] = await events.by_correlation("corr-1")

        assert sequences_of(book.data) == [2, 3, 5]

    @pytest.mark.spec("STO-42", "QRY-1")
    async def test_the_next_sequence_is_the_streams(self, events: EventStore) -> None:
        cover = cover_of(correlation_id="corr-1")
        await events.append(cover, 0, pages(0, 2))
        await events.append(cover_of(), 2, pages(2, 5))

        [book] = await events.by_correlation("corr-1")

        assert book.next_sequence == 7
        assert book.data == book_of(cover, pages(0, 2), next_sequence=7)

    @pytest.mark.spec("STO-42")
    async def test_several_domains_give_several_books(self, events: EventStore) -> None:
        for domain in ("order", "account", "stock"):
            await given_pages(events, cover_of(domain=domain, correlation_id="corr-1"), 1)

        books = await events.by_correlation("corr-1")

        found = [parse_book(book.data).cover.domain for book in books]
        assert found == ["account", "order", "stock"]

    @pytest.mark.spec("STO-42", "EDN-10")
    async def test_several_editions_give_several_books(self, events: EventStore) -> None:
        for edition in ("whatif", "", "a"):
            await given_pages(events, cover_of(edition=edition, correlation_id="corr-1"), 1)

        books = await events.by_correlation("corr-1")

        found = [parse_book(book.data).cover.edition.name for book in books]
        assert found == ["a", "angzarr", "whatif"]

    @pytest.mark.spec("STO-42", "EDN-10")
    async def test_a_branchs_book_has_only_its_own_pages(self, events: EventStore) -> None:
        await given_pages(events, cover_of(correlation_id="corr-1"), 3)
        await given_pages(events, cover_of(edition="whatif", correlation_id="corr-1"), 2)

        [book] = await events.by_correlation("corr-1", edition="whatif")

        assert sequences_of(book.data) == [3, 4]
        assert book.next_sequence == 5

    @pytest.mark.spec("STO-42")
    async def test_books_come_by_domain_then_edition_then_root(self, events: EventStore) -> None:
        covers = [
            Cover(domain, root, edition, "corr-1")
            for root in (b"\xff" * 16, bytes(16))
            for edition in ("whatif", "angzarr", "a")
            for domain in ("order", "account")
        ]
        for cover in covers:
            await given_pages(events, cover, 1)

        books = await events.by_correlation("corr-1")

        streams = [
            (book.cover.domain, book.cover.edition.name, book.cover.root.value)
            for book in (parse_book(book.data) for book in books)
        ]
        assert streams == sorted(cover.stream for cover in covers)

    @pytest.mark.spec("STO-42")
    async def test_a_domain_narrows_the_search(self, events: EventStore) -> None:
        for domain in ("a", "ab"):
            await given_pages(events, cover_of(domain=domain, correlation_id="corr-1"), 1)

        books = await events.by_correlation("corr-1", domain="a")

        assert [parse_book(book.data).cover.domain for book in books] == ["a"]

    @pytest.mark.spec("STO-42")
    @pytest.mark.parametrize("edition", ["whatif", "angzarr"])
    async def test_an_edition_narrows_the_search(self, events: EventStore, edition: str) -> None:
        for made_on in ("", "whatif"):
            await given_pages(events, cover_of(edition=made_on, correlation_id="corr-1"), 1)

        books = await events.by_correlation("corr-1", edition=edition)

        assert [parse_book(book.data).cover.edition.name for book in books] == [edition]

    @pytest.mark.spec("STO-42")
    async def test_a_long_correlation_is_found_whole(self, events: EventStore) -> None:
        cover = cover_of(correlation_id="c" * 128)
        for sequence in range(100):
            await events.append(cover, sequence, pages(sequence, 1))

        [book] = await events.by_correlation("c" * 128)

        assert sequences_of(book.data) == list(range(100))

    @pytest.mark.spec("STO-42", "CAS-9")
    async def test_a_marker_is_found_under_the_deciders_id(self, events: EventStore) -> None:
        await events.append(
            cover_of(correlation_id="writer"),
            0,
            pages(0, 1, cascade_id="casc-1"),
            cascade_id="casc-1",
        )
        await events.decide_cascade("casc-1", COMMIT)
        await events.resolve_cascade(cover_of(correlation_id="decider"), "casc-1")

        found = [
            [sequences_of(book.data) for book in await events.by_correlation(correlation_id)]
            for correlation_id in ("writer", "decider")
        ]

        assert found == [[[0]], [[1]]]

    @pytest.mark.spec("STO-42", "CAS-5")
    async def test_a_pending_page_makes_its_book_not_plain(self, events: EventStore) -> None:
        cover = cover_of(correlation_id="corr-1")
        await events.append(cover, 0, pages(0, 1, cascade_id="casc-1"), cascade_id="casc-1")

        [book] = await events.by_correlation("corr-1")

        assert not book.is_plain
