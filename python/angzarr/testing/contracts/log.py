"""The publication log: order, no gaps, waiting readers (STO-13, STO-14, STO-46)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr.errors import SequenceConflict, StoreClosed
from angzarr.ports.event_store import EventStore, LogEntry
from angzarr.ports.stores import Stores
from angzarr.testing.contracts.base import (
    StoreContract,
    given_pages,
    logged_sequences,
    whole_log,
)
from angzarr.testing.pages import (
    book_of,
    cover_of,
    pages,
    parse_book,
    provenance,
)

ALICE = cover_of("alice")
BOB = cover_of("bob")


class LogContract(StoreContract):
    """Claims about `tail` and `log_head`."""

    @pytest.mark.spec("STO-14")
    async def test_an_empty_log_has_head_zero(self, events: EventStore) -> None:
        assert await events.log_head() == 0
        assert await events.tail(0) == []

    @pytest.mark.spec("STO-13", "STO-14")
    async def test_an_append_is_an_entry(self, events: EventStore) -> None:
        cover = cover_of(correlation_id="corr-1")
        await events.append(cover, 0, pages(0, 3))

        entries = await events.tail(0)

        assert entries == [LogEntry(3, 1, book_of(cover, pages(0, 3)))]

    @pytest.mark.spec("STO-14")
    async def test_the_head_is_the_last_entrys_position(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 3)
        await given_pages(events, BOB, 2)

        assert await events.log_head() == 5
        assert (await events.tail(0))[-1].position == 5

    @pytest.mark.spec("STO-46", "STO-14")
    async def test_the_order_is_that_of_the_commits(self, events: EventStore) -> None:
        covers = [ALICE, BOB, ALICE, cover_of(domain="order"), ALICE.on("whatif"), BOB]
        for cover in covers:
            await given_pages(events, cover, 2)

        entries = await whole_log(events)

        logged = [parse_book(entry.book).cover for entry in entries]
        assert [(cover.domain, cover.edition.name, cover.root.value) for cover in logged] == [
            cover.stream for cover in covers
        ]

    @pytest.mark.spec("STO-46")
    async def test_an_acknowledged_append_is_before_all_later_ones(
        self, events: EventStore
    ) -> None:
        covers = [cover_of(f"root-{number}") for number in range(40)]
        rounds = [covers[first : first + 10] for first in range(0, 40, 10)]
        for batch in rounds:
            await asyncio.gather(*(events.append(cover, 0, pages(0, 1)) for cover in batch))

        entries = await whole_log(events)

        roots = [parse_book(entry.book).cover.root.value for entry in entries]
        logged = [set(roots[first : first + 10]) for first in range(0, 40, 10)]
        assert logged == [{cover.root for cover in batch} for batch in rounds]

    @pytest.mark.spec("STO-14")
    async def test_positions_count_pages_without_gaps(self, events: EventStore) -> None:
        for sequence, count in ((0, 1), (1, 5), (6, 2)):
            await events.append(ALICE, sequence, pages(sequence, count))

        entries = await events.tail(0)

        spans = [(entry.first_position, entry.position) for entry in entries]
        assert spans == [(1, 1), (2, 6), (7, 8)]

    @pytest.mark.spec("STO-14")
    async def test_a_refused_append_takes_no_position(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 1)
        with pytest.raises(SequenceConflict):
            await events.append(ALICE, 0, pages(0, 1))
        await given_pages(events, ALICE, 1)

        assert [entry.position for entry in await events.tail(0)] == [1, 2]

    @pytest.mark.spec("STO-14")
    async def test_an_append_without_pages_takes_no_position(self, events: EventStore) -> None:
        await events.append(ALICE, 0, [], provenance=provenance())
        await given_pages(events, ALICE, 1)

        assert [entry.position for entry in await events.tail(0)] == [1]

    @pytest.mark.spec("STO-14")
    async def test_a_tail_starts_after_a_position(self, events: EventStore) -> None:
        for cover in (ALICE, BOB, ALICE):
            await given_pages(events, cover, 2)

        assert [entry.position for entry in await events.tail(2)] == [4, 6]
        assert await events.tail(6) == []
        assert await events.tail(99) == []

    @pytest.mark.spec("STO-14")
    async def test_a_tail_within_an_entry_gives_it_whole(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 5)

        [entry] = await events.tail(3)

        assert (entry.first_position, entry.position) == (1, 5)
        assert logged_sequences([entry]) == [0, 1, 2, 3, 4]

    @pytest.mark.spec("STO-14")
    async def test_a_limit_bounds_the_entries(self, events: EventStore) -> None:
        for cover in (ALICE, BOB, ALICE):
            await given_pages(events, cover, 2)

        assert [entry.position for entry in await events.tail(0, limit=2)] == [2, 4]

    @pytest.mark.spec("STO-14", "STO-46")
    async def test_several_readers_see_the_same(self, events: EventStore) -> None:
        for cover in (ALICE, BOB) * 10:
            await given_pages(events, cover, 2)

        logs = await asyncio.gather(*(whole_log(events) for _ in range(5)))

        assert [entry.position for entry in logs[0]] == list(range(2, 41, 2))
        assert logs == [logs[0]] * 5

    @pytest.mark.spec("STO-14", "STO-46")
    async def test_reading_the_log_again_gives_the_same(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 2)
        await given_pages(events, BOB, 2)

        assert await events.tail(0) == await events.tail(0)

    @pytest.mark.spec("STO-46")
    async def test_a_waiting_reader_wakes_on_an_append(self, events: EventStore) -> None:
        reader = asyncio.create_task(events.tail(0, wait_s=20))
        await asyncio.sleep(0)

        await given_pages(events, ALICE, 1)

        assert [entry.position for entry in await reader] == [1]

    @pytest.mark.spec("STO-46")
    async def test_every_waiting_reader_wakes(self, events: EventStore) -> None:
        readers = [asyncio.create_task(events.tail(0, wait_s=20)) for _ in range(8)]
        await asyncio.sleep(0)

        await given_pages(events, ALICE, 1)

        results = await asyncio.gather(*readers)
        assert [[entry.position for entry in entries] for entries in results] == [[1]] * 8

    @pytest.mark.spec("STO-14")
    async def test_a_wait_without_entries_ends_empty(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 1)

        assert await events.tail(1, wait_s=0.01) == []

    @pytest.mark.spec("STO-14")
    async def test_a_wait_with_entries_answers_at_once(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 1)

        assert len(await events.tail(0, wait_s=3_600)) == 1

    @pytest.mark.spec("STO-14")
    async def test_a_cancelled_wait_harms_nobody(self, events: EventStore) -> None:
        readers = [asyncio.create_task(events.tail(0, wait_s=20)) for _ in range(2)]
        await asyncio.sleep(0)
        readers[0].cancel()

        await given_pages(events, ALICE, 1)

        assert len(await readers[1]) == 1

    @pytest.mark.spec("STO-5", "STO-14")
    async def test_closing_ends_a_wait(self, stores: Stores) -> None:
        reader = asyncio.create_task(stores.events.tail(0, wait_s=3_600))
        await asyncio.sleep(0)

        await stores.close()

        with pytest.raises(StoreClosed):
            await reader

    @pytest.mark.spec("STO-46", "STO-14")
    async def test_no_gap_shows_while_many_write_and_one_reads(self, events: EventStore) -> None:
        async def write(number: int) -> None:
            cover = cover_of(f"root-{number}")
            for turn in range(15):
                await given_pages(events, cover, 1 + (number + turn) % 3)

        writers = [asyncio.create_task(write(number)) for number in range(16)]
        seen: list[LogEntry] = []
        while not all(writer.done() for writer in writers):
            seen += await events.tail(seen[-1].position if seen else 0, limit=7, wait_s=0.01)
        await asyncio.gather(*writers)
        seen += await whole_log(events, seen[-1].position)

        ends = [0, *(entry.position for entry in seen)]
        assert [entry.first_position for entry in seen] == [end + 1 for end in ends[:-1]]
        assert seen == await whole_log(events)
        assert len(seen) == 16 * 15

    @pytest.mark.spec("STO-46")
    async def test_the_log_keeps_each_streams_order_under_writers(self, events: EventStore) -> None:
        async def write(number: int) -> None:
            for _ in range(10):
                await given_pages(events, cover_of(f"root-{number}"), 2)

        await asyncio.gather(*(write(number) for number in range(16)))

        logged: dict[bytes, list[int]] = {}
        for entry in await whole_log(events):
            root = parse_book(entry.book).cover.root.value
            logged.setdefault(root, []).extend(logged_sequences([entry]))
        assert list(logged.values()) == [list(range(20))] * 16
