"""The publication log: order, no gaps, held pages and their release (STO-13, 14, 46; CAS-9)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr import wire
from angzarr.errors import SequenceConflict, StoreClosed
from angzarr.ports.event_store import COMMIT, ROLLBACK, EventStore, LogEntry
from angzarr.ports.stores import Stores
from angzarr.testing.clock import START_NS
from angzarr.testing.contracts.base import (
    StoreContract,
    given_pages,
    given_pending,
    logged_sequences,
    whole_log,
)
from angzarr.testing.pages import (
    FRAMEWORK_URL,
    book_of,
    cover_of,
    page,
    pages,
    parse_book,
    parse_page,
    provenance,
)

ALICE = cover_of("alice")
BOB = cover_of("bob")


async def resolve(events: EventStore, cascade_id: str, outcome: str) -> bytes:
    """Decide the cascade and write its marker on alice's stream; the marker."""
    await events.decide_cascade(cascade_id, outcome)
    marker = await events.resolve_cascade(ALICE, cascade_id)
    assert marker is not None
    return marker


def logged_pages(entries: list[LogEntry]) -> list[wire.EventPage]:
    """All pages of the entries, in log order."""
    return [item for entry in entries for item in parse_book(entry.book).pages]


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
    async def test_the_order_is_that_of_the_acknowledgements(self, events: EventStore) -> None:
        covers = [cover_of(f"root-{number}") for number in range(40)]
        acknowledged: list[bytes] = []

        async def write(cover_root: int) -> None:
            await events.append(covers[cover_root], 0, pages(0, 1))
            acknowledged.append(covers[cover_root].root)

        for first in range(0, 40, 10):
            await asyncio.gather(*(write(number) for number in range(first, first + 10)))

        entries = await whole_log(events)
        roots = [parse_book(entry.book).cover.root.value for entry in entries]
        batches = [set(roots[first : first + 10]) for first in range(0, 40, 10)]
        assert batches == [set(acknowledged[first : first + 10]) for first in range(0, 40, 10)]

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

    @pytest.mark.spec("STO-46", "CAS-9")
    async def test_a_waiting_reader_wakes_on_a_release(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        reader = asyncio.create_task(events.tail(0, wait_s=20))
        await asyncio.sleep(0)

        await resolve(events, "casc-1", COMMIT)

        assert logged_sequences(await reader)[0] == 0

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
    async def test_the_log_keeps_each_streams_order_under_writers(
        self, events: EventStore
    ) -> None:
        async def write(number: int) -> None:
            for _ in range(10):
                await given_pages(events, cover_of(f"root-{number}"), 2)

        await asyncio.gather(*(write(number) for number in range(16)))

        logged: dict[bytes, list[int]] = {}
        for entry in await whole_log(events):
            root = parse_book(entry.book).cover.root.value
            logged.setdefault(root, []).extend(logged_sequences([entry]))
        assert list(logged.values()) == [list(range(20))] * 16

    @pytest.mark.spec("CAS-9", "STO-46")
    async def test_a_pending_page_is_not_published(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 1)
        await given_pending(events, ALICE, "casc-1")

        assert logged_sequences(await whole_log(events)) == [0]
        assert await events.log_head() == 1

    @pytest.mark.spec("CAS-9", "STO-46")
    async def test_committed_pages_wait_behind_a_pending_one(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 1)
        await given_pending(events, ALICE, "casc-1")
        await given_pages(events, ALICE, 1)

        assert logged_sequences(await whole_log(events)) == [0]

    @pytest.mark.spec("CAS-9")
    async def test_other_streams_do_not_wait(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        await given_pages(events, BOB, 2)
        await given_pages(events, ALICE.on("whatif"), 1)

        assert await events.log_head() == 3

    @pytest.mark.spec("CAS-9", "CAS-17")
    async def test_a_decision_alone_publishes_nothing(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")

        await events.decide_cascade("casc-1", COMMIT)

        assert await events.log_head() == 0

    @pytest.mark.spec("CAS-9", "STO-46")
    @pytest.mark.parametrize("outcome", [COMMIT, ROLLBACK])
    async def test_the_resolution_publishes_in_sequence_order(
        self, events: EventStore, outcome: str
    ) -> None:
        await given_pages(events, ALICE, 1)
        await given_pending(events, ALICE, "casc-1")
        await given_pages(events, ALICE, 1)

        await resolve(events, "casc-1", outcome)

        assert logged_sequences(await whole_log(events)) == [0, 1, 2, 3]
        assert await events.log_head() == 4

    @pytest.mark.spec("CAS-9")
    async def test_released_entries_have_gapless_positions(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1", 2)
        await given_pages(events, BOB, 3)
        await given_pages(events, ALICE, 2)

        await resolve(events, "casc-1", COMMIT)

        ends = [0]
        for entry in await whole_log(events):
            assert entry.first_position == ends[-1] + 1
            assert len(parse_book(entry.book).pages) == entry.position - ends[-1]
            ends.append(entry.position)
        assert ends[-1] == 8

    @pytest.mark.spec("CAS-9")
    async def test_confirmed_pages_are_published_as_committed(self, events: EventStore) -> None:
        [made] = await given_pending(events, ALICE, "casc-1")
        expected = parse_page(made)
        expected.committed = True

        await resolve(events, "casc-1", COMMIT)

        assert logged_pages(await whole_log(events))[0] == expected

    @pytest.mark.spec("CAS-9")
    async def test_confirmed_pages_keep_their_unknown_fields(self, events: EventStore) -> None:
        unknown = b"\xfa\x06\x03new"
        made = page(0, cascade_id="casc-1") + unknown
        await events.append(ALICE, 0, [made], cascade_id="casc-1")

        await resolve(events, "casc-1", COMMIT)

        assert unknown in logged_pages(await whole_log(events))[0].SerializeToString()

    @pytest.mark.spec("CAS-9")
    async def test_held_committed_pages_are_published_as_they_are(
        self, events: EventStore
    ) -> None:
        await given_pending(events, ALICE, "casc-1")
        [made] = await given_pages(events, ALICE, 1)

        await resolve(events, "casc-1", ROLLBACK)

        assert logged_pages(await whole_log(events))[1] == parse_page(made)

    @pytest.mark.spec("CAS-9", "CAS-7")
    async def test_revoked_pages_are_published_as_noops(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")

        await resolve(events, "casc-1", ROLLBACK)

        published = logged_pages(await whole_log(events))[0]
        assert published == _noop(START_NS, 0, cascade_id="casc-1", reason="revoked")

    @pytest.mark.spec("CAS-9", "CAS-7")
    @pytest.mark.parametrize("outcome", [COMMIT, ROLLBACK])
    async def test_a_marker_is_published_as_a_noop(self, events: EventStore, outcome: str) -> None:
        await given_pending(events, ALICE, "casc-1")

        await resolve(events, "casc-1", outcome)

        published = logged_pages(await whole_log(events))[-1]
        assert published == _noop(START_NS, 1, reason="framework_event")

    @pytest.mark.spec("CAS-9")
    async def test_a_markers_entry_has_the_deciders_correlation_id(
        self, events: EventStore
    ) -> None:
        await given_pending(events, cover_of(correlation_id="writer"), "casc-1")
        await events.decide_cascade("casc-1", COMMIT)

        await events.resolve_cascade(cover_of(correlation_id="decider"), "casc-1")

        assert await self.correlations(events) == [(0, "writer"), (1, "decider")]

    @pytest.mark.spec("CAS-9")
    async def test_the_reapers_marker_has_no_correlation_id(self, events: EventStore) -> None:
        await given_pending(events, cover_of(correlation_id="writer"), "casc-1")

        await resolve(events, "casc-1", ROLLBACK)

        assert await self.correlations(events) == [(0, "writer"), (1, "")]

    @pytest.mark.spec("CAS-9", "STO-14")
    async def test_released_pages_keep_their_commits_correlation_id(
        self, events: EventStore
    ) -> None:
        await given_pending(events, cover_of(correlation_id="first"), "casc-1", 2)
        await given_pages(events, cover_of(correlation_id="second"), 2)

        await resolve(events, "casc-1", COMMIT)

        assert await self.correlations(events) == [
            (0, "first"),
            (1, "first"),
            (2, "second"),
            (3, "second"),
            (4, ""),
        ]

    async def correlations(self, events: EventStore) -> list[tuple[int, str]]:
        """Sequence and correlation id of every published page."""
        return [
            (item.header.sequence, book.cover.correlation_id)
            for book in (parse_book(entry.book) for entry in await whole_log(events))
            for item in book.pages
        ]

    @pytest.mark.spec("CAS-9", "STO-46")
    async def test_a_release_stops_at_the_next_unresolved_page(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        await given_pages(events, ALICE, 1)
        await given_pending(events, ALICE, "casc-2")

        await resolve(events, "casc-1", COMMIT)

        assert logged_sequences(await whole_log(events)) == [0, 1]

    @pytest.mark.spec("CAS-9", "STO-46")
    async def test_a_later_resolution_releases_the_rest(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        await given_pages(events, ALICE, 1)
        await given_pending(events, ALICE, "casc-2")
        await resolve(events, "casc-1", COMMIT)

        await resolve(events, "casc-2", ROLLBACK)

        published = logged_pages(await whole_log(events))
        assert [item.header.sequence for item in published] == [0, 1, 2, 3, 4]
        assert [item.event.type_url == FRAMEWORK_URL + "NoOp" for item in published] == [
            False,
            False,
            True,
            True,
            True,
        ]

    @pytest.mark.spec("CAS-9")
    async def test_a_resolution_behind_an_unresolved_page_publishes_nothing(
        self, events: EventStore
    ) -> None:
        await given_pending(events, ALICE, "casc-1")
        await given_pending(events, ALICE, "casc-2")

        await resolve(events, "casc-2", COMMIT)
        held = await events.log_head()
        await resolve(events, "casc-1", ROLLBACK)

        assert held == 0
        assert logged_sequences(await whole_log(events)) == [0, 1, 2, 3]

    @pytest.mark.spec("CAS-9")
    async def test_after_the_release_pages_are_published_at_once(self, events: EventStore) -> None:
        await given_pending(events, ALICE, "casc-1")
        await resolve(events, "casc-1", COMMIT)

        await given_pages(events, ALICE, 2)

        assert logged_sequences(await whole_log(events)) == [0, 1, 2, 3]

    @pytest.mark.spec("CAS-9", "STO-46")
    async def test_release_and_writers_in_a_race_leave_no_gap(self, events: EventStore) -> None:
        covers = [cover_of(f"root-{number}") for number in range(10)]
        for cover in covers:
            await given_pending(events, cover, "casc-1")
        await events.decide_cascade("casc-1", COMMIT)

        await asyncio.gather(
            *(events.resolve_cascade(cover, "casc-1") for cover in covers),
            *(given_pages(events, cover_of(f"other-{number}"), 2) for number in range(20)),
        )

        entries = await whole_log(events)
        ends = [0, *(entry.position for entry in entries)]
        assert [entry.first_position for entry in entries] == [end + 1 for end in ends[:-1]]
        assert ends[-1] == 60


def _noop(
    created_at_ns: int, sequence: int, *, reason: str, cascade_id: str = ""
) -> wire.EventPage:
    """The NoOp page that stands for the page at `sequence`."""
    value = wire.NoOp(original_sequence=sequence, cascade_id=cascade_id, reason=reason)
    return parse_page(
        page(
            sequence,
            value=value.SerializeToString(),
            type_url=FRAMEWORK_URL + "NoOp",
            created_at_ns=created_at_ns,
        )
    )
