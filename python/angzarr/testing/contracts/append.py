"""Appending: sequences, limits, atomicity, and races for one place (STO-3, 6, 10, 11, 40)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from angzarr.cover import Cover
from angzarr.errors import (
    AngzarrError,
    CascadeDecided,
    DivergenceConflict,
    InvalidDivergence,
    InvalidInput,
    Overloaded,
    SequenceConflict,
    TooLarge,
)
from angzarr.ports.event_store import (
    COMMIT,
    SEQUENCE_MAX,
    Appended,
    Duplicate,
    EventStore,
    Limits,
    Obligation,
)
from angzarr.ports.stores import Stores
from angzarr.testing.contracts.base import (
    Opener,
    StoreContract,
    attempt,
    given_pages,
    traces_of,
)
from angzarr.testing.pages import (
    book_of,
    cover_of,
    page,
    page_of_size,
    pages,
    provenance,
    sequences_of,
    snapshot,
)

OBLIGATION = Obligation("duty-1", "compensation", b"payload", due_ns=5)

REFUSED: dict[str, tuple[type[AngzarrError], int, dict[str, Any]]] = {
    "sequence below the head": (SequenceConflict, 0, {"pages": pages(0, 1)}),
    "sequence after a gap": (SequenceConflict, 3, {"pages": pages(3, 1)}),
    "gap in the batch": (InvalidInput, 2, {"pages": [page(2), page(4)]}),
    "the same sequence twice": (InvalidInput, 2, {"pages": [page(2), page(2)]}),
    "headers from another start": (InvalidInput, 2, {"pages": pages(3, 1)}),
    "a page that is no EventPage": (InvalidInput, 2, {"pages": [page(2), b"\xff\xff\xff"]}),
    "too many pages": (TooLarge, 2, {"pages": pages(2, 1_001)}),
    "too many bytes": (TooLarge, 2, {"pages": [page_of_size(2, 4 * 1024 * 1024 + 1)]}),
    "two keys": (
        InvalidInput,
        2,
        {"pages": pages(2, 1), "provenance": provenance(), "external_id": "x"},
    ),
    "decided cascade": (
        CascadeDecided,
        2,
        {"pages": pages(2, 1, cascade_id="decided"), "cascade_id": "decided"},
    ),
}
"""What fails on a stream of two pages: the error, the expected sequence, the other arguments."""


class AppendContract(StoreContract):
    """Claims about `append` on one timeline."""

    @pytest.mark.spec("STO-40", "STO-10")
    async def test_a_single_page_is_appended(self, events: EventStore) -> None:
        appended = await events.append(cover_of(), 0, pages(0, 1))

        assert appended == Appended(first=0, last=0)

    @pytest.mark.spec("STO-40", "STO-10")
    async def test_many_pages_are_appended_together(self, events: EventStore) -> None:
        appended = await events.append(cover_of(), 0, pages(0, 7))

        assert appended == Appended(first=0, last=6)

    @pytest.mark.spec("STO-40")
    async def test_batches_follow_each_other(self, events: EventStore) -> None:
        await events.append(cover_of(), 0, pages(0, 3))
        await events.append(cover_of(), 3, pages(3, 1))
        appended = await events.append(cover_of(), 4, pages(4, 2))

        assert appended == Appended(first=4, last=5)
        assert (await events.load(cover_of())).data == book_of(cover_of(), pages(0, 6))

    @pytest.mark.spec("STO-10")
    async def test_an_acknowledged_page_is_read_at_once(self, events: EventStore) -> None:
        for sequence in range(20):
            await events.append(cover_of(), sequence, pages(sequence, 1))

            assert (await events.load(cover_of(), start=sequence)).next_sequence == sequence + 1

    @pytest.mark.spec("STO-40", "STO-11")
    async def test_an_empty_append_is_refused(self, events: EventStore) -> None:
        with pytest.raises(InvalidInput):
            await events.append(cover_of(), 0, [])

    @pytest.mark.spec("STO-40", "STO-11")
    async def test_a_provenance_key_is_accepted_without_pages(self, events: EventStore) -> None:
        appended = await events.append(cover_of(), 0, [], provenance=provenance())

        assert appended == Appended(first=0, last=-1)

    @pytest.mark.spec("STO-40", "STO-11")
    async def test_an_external_id_is_accepted_without_pages(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 3)

        appended = await events.append(cover_of(), 3, [], external_id="fact-1")

        assert appended == Appended(first=3, last=2)

    @pytest.mark.spec("STO-11")
    async def test_a_snapshot_is_accepted_without_pages(self, stores: Stores) -> None:
        await given_pages(stores.events, cover_of(), 3)

        appended = await stores.events.append(cover_of(), 3, [], snapshot=snapshot(2))

        assert appended == Appended(first=3, last=2)
        assert await stores.snapshots.get(cover_of()) == snapshot(2)

    @pytest.mark.spec("STO-11")
    async def test_an_append_without_pages_moves_nothing(self, events: EventStore) -> None:
        await events.append(cover_of(), 0, [], provenance=provenance())

        assert await events.next_sequence(cover_of()) == 0
        assert await events.roots("account") == []
        assert await events.log_head() == 0

    @pytest.mark.spec("STO-10")
    async def test_an_append_without_pages_checks_the_sequence(self, events: EventStore) -> None:
        with pytest.raises(SequenceConflict):
            await events.append(cover_of(), 1, [], external_id="fact-1")

        assert await events.find_by_external_id(cover_of(), "fact-1") is None

    @pytest.mark.spec("STO-40", "STO-10")
    async def test_a_conflict_carries_cover_expected_and_actual(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 5)

        with pytest.raises(SequenceConflict) as raised:
            await events.append(cover_of(), 3, pages(3, 1))

        error = raised.value
        assert (error.cover.stream, error.expected, error.actual) == (cover_of().stream, 3, 5)

    @pytest.mark.spec("STO-6", "STO-10")
    async def test_the_last_sequence_is_no_place_in_an_empty_stream(
        self, events: EventStore
    ) -> None:
        with pytest.raises(SequenceConflict) as raised:
            await events.append(cover_of(), SEQUENCE_MAX, [page(SEQUENCE_MAX)])

        assert (raised.value.expected, raised.value.actual) == (SEQUENCE_MAX, 0)

    @pytest.mark.spec("STO-40", "STO-3", "STO-10", "STO-11", "STO-13")
    @pytest.mark.parametrize("reason", sorted(REFUSED))
    async def test_a_refused_append_leaves_no_trace(self, stores: Stores, reason: str) -> None:
        error, expected, arguments = REFUSED[reason]
        cover = cover_of(correlation_id="corr-1")
        await given_pages(stores.events, cover, 2)
        await stores.events.decide_cascade("decided", COMMIT)
        before = await traces_of(stores, cover, cascade_id="decided")

        with pytest.raises(error):
            await stores.events.append(
                cover, expected, snapshot=snapshot(2), obligations=[OBLIGATION], **arguments
            )

        assert await traces_of(stores, cover, cascade_id="decided") == before

    @pytest.mark.spec("STO-3", "STO-10")
    async def test_a_refused_append_keeps_no_key(self, events: EventStore) -> None:
        with pytest.raises(SequenceConflict):
            await events.append(cover_of(), 1, pages(1, 1), provenance=provenance())

        assert await events.find_by_provenance(cover_of(), provenance()) is None
        appended = await events.append(cover_of(), 0, pages(0, 1), provenance=provenance())
        assert appended == Appended(0, 0)

    @pytest.mark.spec("STO-3")
    async def test_a_refused_first_write_pins_no_branch(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 3)
        branch = cover_of(edition="whatif")

        with pytest.raises(InvalidInput):
            await events.append(branch, 2, [page(9)], divergence=2)

        assert await events.divergence(branch) is None
        assert await events.next_sequence(branch) == 3

    @pytest.mark.spec("STO-11")
    async def test_a_page_without_a_header_is_refused(self, events: EventStore) -> None:
        without = page(0)[2 + page(0)[1] :]

        with pytest.raises(InvalidInput):
            await events.append(cover_of(), 0, [without])

    @pytest.mark.spec("STO-11")
    async def test_a_header_without_a_sequence_is_refused(self, events: EventStore) -> None:
        without = b"\x0a\x00" + page(0)[2 + page(0)[1] :]

        with pytest.raises(InvalidInput):
            await events.append(cover_of(), 0, [without])

    @pytest.mark.spec("STO-11")
    async def test_the_header_may_come_last_in_the_page(self, events: EventStore) -> None:
        encoded = page(0)
        header_bytes = 2 + encoded[1]
        turned = encoded[header_bytes:] + encoded[:header_bytes]

        await events.append(cover_of(), 0, [turned])

        assert (await events.load(cover_of())).data == book_of(cover_of(), [turned])

    @pytest.mark.spec("STO-6", "STO-40")
    async def test_a_thousand_pages_are_within_the_limit(self, events: EventStore) -> None:
        appended = await events.append(cover_of(), 0, pages(0, 1_000))

        assert appended == Appended(0, 999)

    @pytest.mark.spec("STO-6", "STO-40")
    async def test_four_mebibytes_are_within_the_limit(self, events: EventStore) -> None:
        largest = page_of_size(0, 4 * 1024 * 1024)

        await events.append(cover_of(), 0, [largest])

        assert (await events.load(cover_of())).data == book_of(cover_of(), [largest])

    @pytest.mark.spec("STO-6")
    async def test_the_byte_limit_counts_all_pages_together(self, events: EventStore) -> None:
        half = 2 * 1024 * 1024

        with pytest.raises(TooLarge):
            await events.append(
                cover_of(), 0, [page_of_size(0, half), page_of_size(1, half), page(2)]
            )

    @pytest.mark.spec("STO-6")
    async def test_the_page_limit_is_the_configured_one(self, opener: Opener) -> None:
        events = (await opener(limits=Limits(max_pages_per_append=2))).events
        await events.append(cover_of(), 0, pages(0, 2))

        with pytest.raises(TooLarge):
            await events.append(cover_of(), 2, pages(2, 3))

    @pytest.mark.spec("STO-6")
    async def test_the_byte_limit_is_the_configured_one(self, opener: Opener) -> None:
        events = (await opener(limits=Limits(max_append_bytes=1_000))).events
        await events.append(cover_of(), 0, [page_of_size(0, 1_000)])

        with pytest.raises(TooLarge):
            await events.append(cover_of(), 1, [page_of_size(1, 1_001)])

    @pytest.mark.spec("STO-6")
    async def test_too_many_pages_name_the_field_and_the_limit(self, events: EventStore) -> None:
        with pytest.raises(TooLarge) as raised:
            await events.append(cover_of(), 0, pages(0, 1_001))

        assert "1000" in raised.value.limit.replace(",", "").replace("_", "")
        assert "1001" in raised.value.value.replace(",", "").replace("_", "")

    @pytest.mark.spec("STO-6", "STO-3")
    async def test_a_full_queue_refuses_at_once_and_writes_nothing(self, opener: Opener) -> None:
        events = (await opener(limits=Limits(writer_queue=2))).events
        covers = [cover_of(f"root-{number}") for number in range(200)]

        results = await asyncio.gather(
            *(attempt(events.append(cover, 0, pages(0, 1))) for cover in covers)
        )

        refused = [result for result in results if not isinstance(result, Appended)]
        assert all(isinstance(result, Overloaded) for result in refused)
        accepted = [
            cover.root
            for cover, result in zip(covers, results, strict=True)
            if isinstance(result, Appended)
        ]
        assert await events.roots("account") == sorted(accepted)

    @pytest.mark.spec("STO-6")
    async def test_an_answer_above_its_limit_is_refused(self, events: EventStore) -> None:
        with pytest.raises(TooLarge):
            await events.append(
                cover_of(), 0, [], provenance=provenance(), answer=bytes(64 * 1024 + 1)
            )

    @pytest.mark.spec("STO-1", "STO-11")
    async def test_a_root_that_is_not_16_bytes_is_refused(self, events: EventStore) -> None:
        with pytest.raises(InvalidInput):
            await events.append(Cover("account", b"short"), 0, pages(0, 1))

    @pytest.mark.spec("STO-12")
    async def test_a_source_root_that_is_not_16_bytes_is_refused(self, events: EventStore) -> None:
        key = provenance(source=Cover("order", b"short"))

        with pytest.raises(InvalidInput):
            await events.append(cover_of(), 0, pages(0, 1), provenance=key)

    @pytest.mark.spec("STO-40", "STO-10")
    async def test_one_of_64_writers_wins_each_round(self, events: EventStore) -> None:
        for sequence in range(8):
            batches = [[page(sequence, value=b"writer %d" % writer)] for writer in range(64)]

            results = await asyncio.gather(
                *(attempt(events.append(cover_of(), sequence, batch)) for batch in batches)
            )

            winners = [n for n, result in enumerate(results) if isinstance(result, Appended)]
            assert len(winners) == 1
            stored = (await events.load(cover_of(), start=sequence)).data
            assert stored == book_of(cover_of(), batches[winners[0]])

    @pytest.mark.spec("STO-40", "STO-10")
    async def test_losers_of_a_race_learn_the_new_head(self, events: EventStore) -> None:
        results = await asyncio.gather(
            *(attempt(events.append(cover_of(), 0, pages(0, 3))) for _ in range(64))
        )

        losers = [result for result in results if isinstance(result, SequenceConflict)]
        assert len(losers) == 63
        assert {(loser.expected, loser.actual) for loser in losers} == {(0, 3)}

    @pytest.mark.spec("STO-10")
    async def test_writers_of_different_streams_do_not_meet(self, events: EventStore) -> None:
        covers = [cover_of(f"root-{number}") for number in range(64)]

        results = await asyncio.gather(*(events.append(cover, 0, pages(0, 2)) for cover in covers))

        assert results == [Appended(0, 1)] * 64
        assert await events.roots("account") == sorted(cover.root for cover in covers)

    @pytest.mark.spec("STO-10")
    async def test_appends_issued_in_order_are_done_in_order(self, events: EventStore) -> None:
        results = await asyncio.gather(
            *(events.append(cover_of(), sequence, pages(sequence, 1)) for sequence in range(50))
        )

        assert results == [Appended(sequence, sequence) for sequence in range(50)]

    @pytest.mark.spec("STO-3", "STO-4")
    async def test_a_reader_never_sees_half_an_append(self, events: EventStore) -> None:
        async def write() -> None:
            for first in range(0, 300, 10):
                await events.append(cover_of(), first, pages(first, 10))

        async def read() -> list[int]:
            seen = [0]
            while seen[-1] < 300:
                seen.append(len(sequences_of((await events.load(cover_of())).data)))
                await asyncio.sleep(0)
            return seen

        _, seen = await asyncio.gather(write(), read())

        assert {count % 10 for count in seen} == {0}
        assert seen == sorted(seen)

    @pytest.mark.spec("STO-2")
    async def test_an_append_may_leave_the_flush_to_the_machine(self, events: EventStore) -> None:
        await events.append(cover_of(), 0, pages(0, 2), sync=False)

        assert (await events.load(cover_of())).data == book_of(cover_of(), pages(0, 2))

    @pytest.mark.spec("STO-11")
    async def test_obligations_are_written_with_the_pages(self, stores: Stores) -> None:
        await stores.events.append(cover_of(), 0, pages(0, 1), obligations=[OBLIGATION])

        assert await stores.obligations.due(10) == [OBLIGATION]

    @pytest.mark.spec("STO-11", "STO-12")
    async def test_a_duplicate_writes_no_obligation(self, stores: Stores) -> None:
        await stores.events.append(cover_of(), 0, pages(0, 1), external_id="fact-1")

        await stores.events.append(
            cover_of(), 0, pages(0, 1), external_id="fact-1", obligations=[OBLIGATION]
        )

        assert await stores.obligations.due(10) == []

    @pytest.mark.spec("STO-11")
    async def test_a_snapshot_is_written_with_the_pages(self, stores: Stores) -> None:
        await stores.events.append(cover_of(), 0, pages(0, 3), snapshot=snapshot(2))

        assert await stores.snapshots.get(cover_of()) == snapshot(2)

    @pytest.mark.spec("STO-12")
    async def test_limits_are_checked_before_the_key(self, events: EventStore) -> None:
        await events.append(cover_of(), 0, pages(0, 1), external_id="fact-1")

        with pytest.raises(TooLarge):
            await events.append(cover_of(), 1, pages(1, 1_001), external_id="fact-1")

    @pytest.mark.spec("STO-12")
    async def test_the_key_is_checked_before_the_cascade(self, events: EventStore) -> None:
        batch = pages(0, 1, cascade_id="casc-1")
        await events.append(cover_of(), 0, batch, cascade_id="casc-1", external_id="fact-1")
        await events.decide_cascade("casc-1", COMMIT)

        again = await events.append(cover_of(), 1, batch, cascade_id="casc-1", external_id="fact-1")

        assert again == Duplicate(0, 0)

    @pytest.mark.spec("STO-12")
    async def test_the_key_is_checked_before_sequence_and_headers(self, events: EventStore) -> None:
        await events.append(cover_of(), 0, pages(0, 2), external_id="fact-1")

        again = await events.append(cover_of(), 77, [page(5)], external_id="fact-1")

        assert again == Duplicate(0, 1)

    @pytest.mark.spec("STO-10", "CAS-3")
    async def test_the_cascade_is_checked_before_the_divergence(self, events: EventStore) -> None:
        await events.decide_cascade("casc-1", COMMIT)

        with pytest.raises(CascadeDecided):
            await events.append(
                cover_of(edition="whatif"),
                9,
                pages(9, 1, cascade_id="casc-1"),
                cascade_id="casc-1",
                divergence=9,
            )

    @pytest.mark.spec("STO-10", "EDN-7", "EDN-8")
    async def test_the_divergence_is_checked_before_the_sequence(self, events: EventStore) -> None:
        await given_pages(events, cover_of(), 2)
        branch = cover_of(edition="whatif")

        with pytest.raises(InvalidDivergence):
            await events.append(branch, 0, pages(0, 1), divergence=9)
        await events.append(branch, 2, pages(2, 1))
        with pytest.raises(DivergenceConflict):
            await events.append(branch, 0, pages(0, 1), divergence=1)

    @pytest.mark.spec("STO-10", "STO-11")
    async def test_the_sequence_is_checked_before_the_headers(self, events: EventStore) -> None:
        with pytest.raises(SequenceConflict):
            await events.append(cover_of(), 4, [page(9)])
