"""Branches: composite reads, where a branch starts, isolation (STO-43, EDN-3 to EDN-11)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from angzarr.cover import Cover
from angzarr.errors import DivergenceConflict, InvalidDivergence, SequenceConflict
from angzarr.ports.event_store import COMMIT, Appended, EventStore
from angzarr.testing.clock import NS_PER_S, START_NS
from angzarr.testing.contracts.base import StoreContract, attempt, given_pages, given_pending
from angzarr.testing.pages import (
    book_of,
    cover_of,
    page,
    pages,
    parse_book,
    sequences_of,
)

MAIN = cover_of()
WHATIF = cover_of(edition="whatif")
LIVE = cover_of(edition="live")

Ask = Callable[[EventStore, Cover, int], Awaitable[object]]

READS: dict[str, Ask] = {
    "load": lambda events, cover, n: events.load(cover, divergence=n),
    "load_until": lambda events, cover, n: events.load_until(cover, START_NS, divergence=n),
    "load_latest": lambda events, cover, n: events.load_latest(cover, divergence=n),
    "next_sequence": lambda events, cover, n: events.next_sequence(cover, divergence=n),
}
"""Every read that takes a divergence."""


async def given_whatif(events: EventStore) -> list[bytes]:
    """EDN-6's example: main 0–6, `whatif` at 3 with a page of its own, main grown to nine pages.

    The branch's pages.
    """
    await given_pages(events, MAIN, 7)
    own = [page(3, value=b"own")]
    await events.append(WHATIF, 3, own, divergence=3)
    await given_pages(events, MAIN, 2)
    return [*pages(0, 3), *own]


class EditionContract(StoreContract):
    """Claims about reads and writes of branches."""

    @pytest.mark.spec("STO-43", "EDN-10")
    async def test_a_branchs_append_changes_no_other_edition(self, events: EventStore) -> None:
        made = await given_pages(events, MAIN, 3)
        await given_pages(events, LIVE, 1)

        await given_pages(events, WHATIF, 5)

        assert (await events.load(MAIN)).data == book_of(MAIN, made)
        assert (await events.load(LIVE)).data == book_of(LIVE, pages(0, 4))

    @pytest.mark.spec("STO-43", "EDN-10")
    async def test_mains_append_changes_no_pinned_branch(self, events: EventStore) -> None:
        expected = await given_whatif(events)

        assert (await events.load(WHATIF)).data == book_of(WHATIF, expected)

    @pytest.mark.spec("EDN-3", "EDN-6", "STO-43")
    async def test_load_is_composite(self, events: EventStore) -> None:
        expected = await given_whatif(events)

        book = await events.load(WHATIF)

        assert book.data == book_of(WHATIF, expected)
        assert (book.next_sequence, book.is_plain) == (4, True)

    @pytest.mark.spec("EDN-3", "EDN-6", "STO-43")
    @pytest.mark.parametrize(
        ("start", "stop"),
        [(1, 4), (0, 2), (0, 3), (3, 4), (3, None), (2, None), (4, None), (9, 12)],
    )
    async def test_a_range_is_composite(
        self, events: EventStore, start: int, stop: int | None
    ) -> None:
        expected = await given_whatif(events)

        book = await events.load(WHATIF, start=start, stop=stop)

        assert book.data == book_of(WHATIF, expected[start:stop])
        assert book.next_sequence == 4

    @pytest.mark.spec("EDN-3", "STO-43")
    async def test_until_a_time_is_composite(self, events: EventStore) -> None:
        mains = [page(n, created_at_ns=START_NS + n) for n in range(4)]
        await events.append(MAIN, 0, mains)
        own = [page(2, created_at_ns=START_NS), page(3, created_at_ns=START_NS + 9)]
        await events.append(WHATIF, 2, own, divergence=2)

        book = await events.load_until(WHATIF, START_NS + 3)

        assert book.data == book_of(WHATIF, [*mains[:2], own[0]])
        assert book.next_sequence == 4

    @pytest.mark.spec("EDN-3", "STO-43")
    async def test_latest_is_composite(self, events: EventStore) -> None:
        expected = await given_whatif(events)

        assert (await events.load_latest(WHATIF)).data == book_of(WHATIF, expected)

    @pytest.mark.spec("EDN-3", "EDN-6")
    async def test_the_next_sequence_of_a_branch_follows_its_last_page(
        self, events: EventStore
    ) -> None:
        await given_whatif(events)

        assert await events.next_sequence(WHATIF) == 4

    @pytest.mark.spec("EDN-3", "STO-44")
    async def test_keys_belong_to_the_edition_they_were_written_to(
        self, events: EventStore
    ) -> None:
        await events.append(MAIN, 0, pages(0, 1), external_id="fact-1")

        assert await events.find_by_external_id(WHATIF, "fact-1") is None

    @pytest.mark.spec("EDN-3")
    async def test_composite_books_name_the_branch(self, events: EventStore) -> None:
        await given_whatif(events)

        assert parse_book((await events.load(WHATIF)).data).cover.edition.name == "whatif"

    @pytest.mark.spec("EDN-4", "STO-43")
    async def test_an_unwritten_branch_follows_main(self, events: EventStore) -> None:
        for count in (3, 5):
            made = await given_pages(events, MAIN, count)

            book = await events.load(LIVE, start=0)

            assert sequences_of(book.data)[-1] + 1 == book.next_sequence
            assert sequences_of(book.data)[-count:] == [
                parse_book(book_of(MAIN, [item])).pages[0].header.sequence for item in made
            ]

    @pytest.mark.spec("EDN-4", "EDN-6")
    async def test_an_unwritten_branchs_next_sequence_is_mains(self, events: EventStore) -> None:
        await given_pages(events, MAIN, 9)

        assert await events.next_sequence(LIVE) == 9

    @pytest.mark.spec("EDN-4", "EDN-6", "STO-43")
    async def test_the_first_write_pins_the_branch(self, events: EventStore) -> None:
        await given_pages(events, MAIN, 9)
        await events.append(LIVE, 9, pages(9, 1))
        await given_pages(events, MAIN, 4)

        assert await events.divergence(LIVE) == 9
        assert (await events.load(LIVE)).data == book_of(LIVE, pages(0, 10))

    @pytest.mark.spec("EDN-4", "EDN-9")
    async def test_an_implicit_branch_starts_where_its_writer_saw_main(
        self, events: EventStore
    ) -> None:
        await given_pages(events, MAIN, 7)
        seen = await events.next_sequence(LIVE)
        await given_pages(events, MAIN, 2)

        appended = await events.append(LIVE, seen, pages(seen, 1))

        assert appended == Appended(7, 7)
        assert await events.divergence(LIVE) == 7

    @pytest.mark.spec("EDN-9", "STO-10")
    async def test_an_implicit_branch_cannot_start_beyond_main(self, events: EventStore) -> None:
        await given_pages(events, MAIN, 2)

        with pytest.raises(SequenceConflict) as raised:
            await events.append(LIVE, 3, pages(3, 1))

        assert (raised.value.expected, raised.value.actual) == (3, 2)

    @pytest.mark.spec("EDN-8", "STO-11")
    async def test_a_first_append_without_pages_pins_too(self, events: EventStore) -> None:
        await given_pages(events, MAIN, 3)

        await events.append(WHATIF, 2, [], divergence=2, external_id="fact-1")

        assert await events.divergence(WHATIF) == 2
        assert await events.next_sequence(WHATIF) == 2

    @pytest.mark.spec("EDN-8")
    async def test_main_has_no_divergence(self, events: EventStore) -> None:
        await given_pages(events, MAIN, 2)

        assert await events.divergence(MAIN) is None

    @pytest.mark.spec("EDN-8")
    async def test_an_unwritten_branch_has_no_divergence(self, events: EventStore) -> None:
        await given_pages(events, MAIN, 2)
        await events.load(WHATIF, divergence=1)

        assert await events.divergence(WHATIF) is None

    @pytest.mark.spec("EDN-5", "EDN-6", "STO-43")
    @pytest.mark.parametrize("divergence", [0, 1, 3, 6, 7])
    async def test_an_explicit_divergence_cuts_an_unwritten_branch(
        self, events: EventStore, divergence: int
    ) -> None:
        made = await given_pages(events, MAIN, 7)

        book = await events.load(WHATIF, divergence=divergence)

        assert book.data == book_of(WHATIF, made[:divergence])
        assert book.next_sequence == divergence

    @pytest.mark.spec("EDN-5")
    @pytest.mark.parametrize("divergence", [0, 3, 7])
    async def test_an_explicit_divergence_cuts_every_read(
        self, events: EventStore, divergence: int
    ) -> None:
        made = await given_pages(events, MAIN, 7)

        latest = await events.load_latest(WHATIF, divergence=divergence)
        until = await events.load_until(WHATIF, START_NS, divergence=divergence)
        upper = await events.load(WHATIF, start=2, divergence=divergence)

        assert latest.data == until.data == book_of(WHATIF, made[:divergence])
        assert upper.data == book_of(WHATIF, made[2:divergence])
        assert await events.next_sequence(WHATIF, divergence=divergence) == divergence

    @pytest.mark.spec("EDN-5", "EDN-8", "EDN-9", "STO-43")
    @pytest.mark.parametrize("divergence", [0, 3, 7])
    async def test_an_explicit_divergence_pins_at_the_first_write(
        self, events: EventStore, divergence: int
    ) -> None:
        made = await given_pages(events, MAIN, 7)
        own = pages(divergence, 2)

        appended = await events.append(WHATIF, divergence, own, divergence=divergence)

        assert appended == Appended(divergence, divergence + 1)
        assert await events.divergence(WHATIF) == divergence
        assert (await events.load(WHATIF)).data == book_of(WHATIF, made[:divergence] + own)

    @pytest.mark.spec("EDN-5")
    async def test_a_branch_of_an_empty_main_starts_at_zero(self, events: EventStore) -> None:
        await given_pages(events, WHATIF, 2)

        assert await events.divergence(WHATIF) == 0
        assert await events.next_sequence(MAIN) == 0

    @pytest.mark.spec("EDN-9")
    async def test_the_first_append_starts_exactly_at_the_divergence(
        self, events: EventStore
    ) -> None:
        await given_pages(events, MAIN, 7)

        for wrong in (2, 4, 7):
            with pytest.raises(SequenceConflict) as raised:
                await events.append(WHATIF, wrong, pages(wrong, 1), divergence=3)
            assert (raised.value.expected, raised.value.actual) == (wrong, 3)

    @pytest.mark.spec("EDN-7", "STO-43")
    @pytest.mark.parametrize("read", sorted(READS))
    async def test_a_read_beyond_mains_head_is_refused(self, events: EventStore, read: str) -> None:
        await given_pages(events, MAIN, 7)

        with pytest.raises(InvalidDivergence) as raised:
            await READS[read](events, WHATIF, 8)

        error = raised.value
        assert (error.cover.stream, error.requested, error.next_sequence) == (WHATIF.stream, 8, 7)

    @pytest.mark.spec("EDN-7", "STO-43")
    async def test_a_first_write_beyond_mains_head_is_refused(self, events: EventStore) -> None:
        await given_pages(events, MAIN, 7)

        with pytest.raises(InvalidDivergence) as raised:
            await events.append(WHATIF, 8, pages(8, 1), divergence=8)

        assert str(raised.value) == "divergence 8 of domain account exceeds next sequence 7"
        assert await events.divergence(WHATIF) is None

    @pytest.mark.spec("EDN-8", "STO-43")
    @pytest.mark.parametrize("read", sorted(READS))
    @pytest.mark.parametrize("divergence", [0, 2, 4, 9])
    async def test_a_read_with_another_divergence_is_refused(
        self, events: EventStore, read: str, divergence: int
    ) -> None:
        await given_whatif(events)

        with pytest.raises(DivergenceConflict) as raised:
            await READS[read](events, WHATIF, divergence)

        error = raised.value
        assert error.cover.stream == WHATIF.stream
        assert (error.pinned, error.requested) == (3, divergence)

    @pytest.mark.spec("EDN-8", "STO-43")
    async def test_a_write_with_another_divergence_is_refused(self, events: EventStore) -> None:
        expected = await given_whatif(events)

        with pytest.raises(DivergenceConflict):
            await events.append(WHATIF, 4, pages(4, 1), divergence=4)

        assert (await events.load(WHATIF)).data == book_of(WHATIF, expected)

    @pytest.mark.spec("EDN-8")
    @pytest.mark.parametrize("divergence", [3, None])
    async def test_the_pinned_divergence_and_none_are_both_fine(
        self, events: EventStore, divergence: int | None
    ) -> None:
        expected = await given_whatif(events)

        book = await events.load(WHATIF, divergence=divergence)
        appended = await events.append(WHATIF, 4, pages(4, 1), divergence=divergence)

        assert book.data == book_of(WHATIF, expected)
        assert appended == Appended(4, 4)

    @pytest.mark.spec("EDN-8")
    async def test_the_divergence_stays_when_the_branch_grows(self, events: EventStore) -> None:
        await given_whatif(events)
        await given_pages(events, WHATIF, 10)

        assert await events.divergence(WHATIF) == 3
        assert await events.next_sequence(WHATIF) == 14

    @pytest.mark.spec("EDN-8")
    async def test_each_root_has_its_own_divergence(self, events: EventStore) -> None:
        await given_whatif(events)
        bob = cover_of("bob", edition="whatif")
        await given_pages(events, cover_of("bob"), 5)
        await events.append(bob, 5, pages(5, 1))

        assert (await events.divergence(WHATIF), await events.divergence(bob)) == (3, 5)

    @pytest.mark.spec("EDN-8")
    async def test_each_domain_has_its_own_divergence(self, events: EventStore) -> None:
        await given_whatif(events)
        order = cover_of(domain="order", edition="whatif")
        await given_pages(events, order, 1)

        assert (await events.divergence(WHATIF), await events.divergence(order)) == (3, 0)

    @pytest.mark.spec("EDN-9", "STO-43")
    async def test_one_of_two_first_writers_wins(self, events: EventStore) -> None:
        await given_pages(events, MAIN, 7)

        results = await asyncio.gather(
            *(attempt(events.append(WHATIF, 3, pages(3, 1), divergence=3)) for _ in range(2))
        )

        assert sorted(type(result).__name__ for result in results) == [
            "Appended",
            "SequenceConflict",
        ]

    @pytest.mark.spec("EDN-8", "EDN-9")
    async def test_first_writers_with_different_divergences_leave_one_pin(
        self, events: EventStore
    ) -> None:
        await given_pages(events, MAIN, 7)

        results = await asyncio.gather(
            *(attempt(events.append(WHATIF, n, pages(n, 1), divergence=n)) for n in range(8))
        )

        [won] = [n for n, result in enumerate(results) if isinstance(result, Appended)]
        assert await events.divergence(WHATIF) == won
        assert sum(isinstance(result, DivergenceConflict) for result in results) == 7

    @pytest.mark.spec("EDN-2")
    async def test_divergences_on_main_are_ignored(self, events: EventStore) -> None:
        made = await given_pages(events, MAIN, 4)

        await events.append(MAIN, 4, pages(4, 1), divergence=99)

        assert (await events.load(MAIN, divergence=1)).data == book_of(MAIN, made + pages(4, 1))
        assert await events.next_sequence(MAIN, divergence=99) == 5

    @pytest.mark.spec("EDN-10")
    async def test_branches_of_one_stream_differ(self, events: EventStore) -> None:
        made = await given_pages(events, MAIN, 4)
        own = {name: [page(2, value=name.encode())] for name in ("a", "ab", "b")}
        for name, batch in own.items():
            await events.append(MAIN.on(name), 2, batch, divergence=2)

        for name, batch in own.items():
            book = await events.load(MAIN.on(name))
            assert book.data == book_of(MAIN.on(name), made[:2] + batch)

    @pytest.mark.spec("EDN-11")
    async def test_inherited_pending_pages_are_in_the_branch(self, events: EventStore) -> None:
        await given_pages(events, MAIN, 2)
        pending = await given_pending(events, MAIN, "casc-1")

        book = await events.load(WHATIF)

        assert book.data == book_of(WHATIF, [*pages(0, 2), *pending])
        assert not book.is_plain

    @pytest.mark.spec("EDN-11")
    async def test_a_pending_page_stays_mains_own(self, events: EventStore) -> None:
        await given_pending(events, MAIN, "casc-1")
        await given_pages(events, WHATIF, 1)

        assert await events.pending(WHATIF) == []
        assert [item.sequence for item in await events.pending(MAIN)] == [0]

    @pytest.mark.spec("EDN-11")
    async def test_mains_marker_stays_out_of_the_branch(self, events: EventStore) -> None:
        pending = await given_pending(events, MAIN, "casc-1")
        await events.append(WHATIF, 1, pages(1, 1), divergence=1)
        await events.decide_cascade("casc-1", COMMIT)
        await events.resolve_cascade(MAIN, "casc-1")

        assert (await events.load(WHATIF)).data == book_of(WHATIF, [*pending, *pages(1, 1)])

    @pytest.mark.spec("EDN-6")
    async def test_times_on_a_branch_do_not_move_main(self, events: EventStore) -> None:
        await events.append(WHATIF, 0, [page(0, created_at_ns=START_NS + NS_PER_S)])

        assert sequences_of((await events.load_until(MAIN, 2**62)).data) == []
