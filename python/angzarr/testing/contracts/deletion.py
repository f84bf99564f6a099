"""Deleting an edition, and using its name again (EDN-14, EDN-15, EDN-17, STO-43)."""

from __future__ import annotations

import pytest

from angzarr.errors import InvalidInput, MainProtected, PendingPages
from angzarr.ports.event_store import COMMIT, ROLLBACK, Appended, EventStore
from angzarr.ports.stores import Stores
from angzarr.testing.contracts.base import (
    StoreContract,
    given_pages,
    given_pending,
    logged_sequences,
    traces_of,
    whole_log,
)
from angzarr.testing.pages import book_of, cover_of, pages, parse_book, provenance, snapshot

MAIN = cover_of()
WHATIF = cover_of(edition="whatif", correlation_id="corr-1")


class DeletionContract(StoreContract):
    """Claims about `delete_edition`."""

    @pytest.mark.spec("EDN-14", "STO-43")
    async def test_deletion_counts_the_editions_own_pages(self, events: EventStore) -> None:
        await given_pages(events, MAIN, 4)
        await given_pages(events, WHATIF, 3)
        await given_pages(events, cover_of("bob", edition="whatif"), 2)

        assert await events.delete_edition("account", "whatif") == 5

    @pytest.mark.spec("EDN-14", "STO-43")
    async def test_a_deleted_branch_reads_as_never_written(self, events: EventStore) -> None:
        made = await given_pages(events, MAIN, 4)
        await events.append(WHATIF, 2, pages(2, 3), divergence=2)

        await events.delete_edition("account", "whatif")

        assert (await events.load(WHATIF)).data == book_of(cover_of(edition="whatif"), made)
        assert await events.next_sequence(WHATIF) == 4

    @pytest.mark.spec("EDN-14", "EDN-17")
    async def test_deletion_forgets_the_pin(self, events: EventStore) -> None:
        await given_pages(events, MAIN, 4)
        await events.append(WHATIF, 2, pages(2, 3), divergence=2)

        await events.delete_edition("account", "whatif")

        assert await events.divergence(WHATIF) is None
        assert (await events.load(WHATIF, divergence=1)).next_sequence == 1

    @pytest.mark.spec("EDN-14")
    async def test_deletion_removes_roots_and_names(self, events: EventStore) -> None:
        await given_pages(events, WHATIF, 1)

        await events.delete_edition("account", "whatif")

        assert await events.roots("account", "whatif") == []
        assert await events.editions("account") == []
        assert await events.domains() == []

    @pytest.mark.spec("EDN-14")
    async def test_deletion_removes_correlations(self, events: EventStore) -> None:
        await given_pages(events, WHATIF, 1)

        await events.delete_edition("account", "whatif")

        assert await events.by_correlation("corr-1") == []

    @pytest.mark.spec("EDN-14")
    async def test_deletion_removes_keys(self, events: EventStore) -> None:
        await events.append(WHATIF, 0, pages(0, 1), provenance=provenance())
        await events.append(WHATIF, 1, pages(1, 1), external_id="fact-1")

        await events.delete_edition("account", "whatif")

        assert await events.find_by_provenance(WHATIF, provenance()) is None
        assert await events.find_by_external_id(WHATIF, "fact-1") is None
        appended = await events.append(WHATIF, 0, pages(0, 1), provenance=provenance())
        assert appended == Appended(0, 0)

    @pytest.mark.spec("EDN-14")
    async def test_deletion_removes_snapshots(self, stores: Stores) -> None:
        await given_pages(stores.events, WHATIF, 3)
        await stores.snapshots.put(WHATIF, snapshot(1))

        await stores.events.delete_edition("account", "whatif")

        assert await stores.snapshots.get(WHATIF) is None

    @pytest.mark.spec("EDN-14")
    async def test_deletion_removes_stream_positions(self, stores: Stores) -> None:
        await given_pages(stores.events, WHATIF, 3)
        await stores.positions.put("proj", WHATIF, 2)

        await stores.events.delete_edition("account", "whatif")

        assert await stores.positions.get("proj", WHATIF) is None

    @pytest.mark.spec("EDN-14")
    async def test_deletion_keeps_what_belongs_to_others(self, stores: Stores) -> None:
        others = [
            cover_of(edition="", correlation_id="c"),
            cover_of(edition="what", correlation_id="c"),
            cover_of(edition="whatifs", correlation_id="c"),
            cover_of(domain="accounts", edition="whatif", correlation_id="c"),
            cover_of(domain="order", edition="whatif", correlation_id="c"),
        ]
        for cover in others:
            await given_pages(stores.events, cover, 3)
            await stores.snapshots.put(cover, snapshot(1))
            await stores.positions.put("proj", cover, 2)
        before = [await traces_of(stores, cover) for cover in others]
        head = await stores.events.log_head()
        await given_pages(stores.events, WHATIF, 3)

        await stores.events.delete_edition("account", "whatif")

        after = [await traces_of(stores, cover) for cover in others]
        assert [_without_head(trace, head + 3) for trace in after] == [
            _without_head(trace, head) for trace in before
        ]
        assert [await stores.positions.get("proj", cover) for cover in others] == [2] * 5

    @pytest.mark.spec("EDN-14", "STO-43")
    async def test_deleting_an_absent_edition_counts_zero(self, events: EventStore) -> None:
        await given_pages(events, MAIN, 3)

        assert await events.delete_edition("account", "whatif") == 0
        assert await events.delete_edition("nowhere", "whatif") == 0

    @pytest.mark.spec("EDN-14", "STO-43")
    async def test_deletion_is_idempotent(self, events: EventStore) -> None:
        await given_pages(events, WHATIF, 3)

        counts = [await events.delete_edition("account", "whatif") for _ in range(2)]

        assert counts == [3, 0]

    @pytest.mark.spec("EDN-15", "STO-43", "WIRE-7")
    @pytest.mark.parametrize("spelling", ["", "angzarr"])
    async def test_main_is_not_deleted(self, events: EventStore, spelling: str) -> None:
        made = await given_pages(events, MAIN, 3)

        with pytest.raises(MainProtected):
            await events.delete_edition("account", spelling)

        assert (await events.load(MAIN)).data == book_of(MAIN, made)

    @pytest.mark.spec("EDN-15")
    async def test_an_empty_domain_is_refused(self, events: EventStore) -> None:
        with pytest.raises(InvalidInput):
            await events.delete_edition("", "whatif")

    @pytest.mark.spec("EDN-15")
    async def test_an_edition_with_pending_pages_is_not_deleted(self, events: EventStore) -> None:
        await given_pending(events, WHATIF, "casc-2")
        await given_pending(events, WHATIF, "casc-1")

        with pytest.raises(PendingPages) as raised:
            await events.delete_edition("account", "whatif")

        assert raised.value.cascade_ids == ("casc-1", "casc-2")
        assert await events.next_sequence(WHATIF) == 2

    @pytest.mark.spec("EDN-15")
    async def test_another_editions_pending_pages_do_not_matter(self, events: EventStore) -> None:
        await given_pending(events, MAIN, "casc-1")
        await given_pages(events, WHATIF, 2)

        assert await events.delete_edition("account", "whatif") == 2

    @pytest.mark.spec("EDN-14", "EDN-15")
    @pytest.mark.parametrize("outcome", [COMMIT, ROLLBACK])
    async def test_an_edition_with_resolved_pages_is_deleted(
        self, events: EventStore, outcome: str
    ) -> None:
        await given_pending(events, WHATIF, "casc-1")
        await events.decide_cascade("casc-1", outcome)
        await events.resolve_cascade(WHATIF, "casc-1")

        assert await events.delete_edition("account", "whatif") == 2

    @pytest.mark.spec("EDN-17", "STO-43")
    async def test_the_name_diverges_anew(self, events: EventStore) -> None:
        made = await given_pages(events, MAIN, 4)
        await events.append(WHATIF, 2, pages(2, 3), divergence=2)
        await events.delete_edition("account", "whatif")

        await events.append(WHATIF, 4, pages(4, 1))

        assert await events.divergence(WHATIF) == 4
        assert (await events.load(cover_of(edition="whatif"))).data == book_of(
            cover_of(edition="whatif"), made + pages(4, 1)
        )

    @pytest.mark.spec("EDN-14", "STO-14", "STO-46")
    async def test_later_tails_skip_entries_of_a_deleted_edition(self, events: EventStore) -> None:
        await given_pages(events, MAIN, 1)
        await given_pages(events, WHATIF, 2)
        await events.append(MAIN, 1, pages(1, 1))

        await events.delete_edition("account", "whatif")

        entries = await whole_log(events)
        assert [(entry.first_position, entry.position) for entry in entries] == [(1, 1), (4, 4)]
        assert [parse_book(entry.book).cover.edition.name for entry in entries] == ["angzarr"] * 2

    @pytest.mark.spec("EDN-14", "STO-14")
    async def test_deletion_keeps_the_logs_head(self, events: EventStore) -> None:
        await given_pages(events, WHATIF, 2)

        await events.delete_edition("account", "whatif")

        assert await events.log_head() == 2
        assert await events.tail(0) == []

    @pytest.mark.spec("EDN-17", "STO-14", "STO-46")
    async def test_the_new_editions_entries_are_in_the_log(self, events: EventStore) -> None:
        await given_pages(events, WHATIF, 2)
        await events.delete_edition("account", "whatif")

        await given_pages(events, WHATIF, 1)

        entries = await whole_log(events)
        assert [entry.position for entry in entries] == [3]
        assert logged_sequences(entries) == [0]

    @pytest.mark.spec("EDN-14", "STO-14")
    async def test_a_limited_tail_reaches_past_deleted_entries(self, events: EventStore) -> None:
        for sequence in range(20):
            await events.append(WHATIF, sequence, pages(sequence, 1))
        await given_pages(events, MAIN, 1)
        await events.delete_edition("account", "whatif")

        entries = await events.tail(0, limit=1)

        assert [entry.position for entry in entries] == [21]


def _without_head(trace: list[object], head: int) -> list[object]:
    """The trace without the head of the log, which is `head`: positions are never given back."""
    assert head in trace
    return [item for item in trace if item != head]
