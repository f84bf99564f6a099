"""Duties that take the place of others, and duties that are dropped (STO-23, TIMER-2, TIMER-3)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from angzarr.errors import SequenceConflict
from angzarr.ports.event_store import Dropped, Obligation
from angzarr.ports.obligations import ObligationStore
from angzarr.ports.stores import Stores
from angzarr.testing.contracts.base import StoreContract
from angzarr.testing.pages import cover_of, page, pages, provenance

LATE = 2**62
OLD = Obligation("timer-1", "timer", b"old", 100)
NEW = Obligation("timer-1", "timer", b"new", 500, is_replacing=True)
OTHER = Obligation("timer-11", "timer", b"other", 300)


class ReplacingContract(StoreContract):
    """Claims about replacing and dropping, alone and with an append, and about `seen`."""

    @pytest.mark.spec("STO-23", "TIMER-2")
    async def test_a_replacing_one_takes_the_place_of_the_known_one(
        self, obligations: ObligationStore
    ) -> None:
        await obligations.put(OLD)
        await obligations.retry(OLD.id, 120, "unreachable")

        await obligations.put(NEW)

        assert await obligations.due(LATE) == [NEW]

    @pytest.mark.spec("STO-23", "TIMER-2")
    async def test_a_replacing_one_without_another_is_stored(
        self, obligations: ObligationStore
    ) -> None:
        await obligations.put(NEW)

        assert await obligations.due(LATE) == [NEW]

    @pytest.mark.spec("STO-23", "TIMER-2")
    async def test_a_replacing_one_touches_no_other(self, obligations: ObligationStore) -> None:
        await obligations.put(OLD)
        await obligations.put(OTHER)

        await obligations.put(NEW)

        assert await obligations.due(LATE) == [OTHER, NEW]

    @pytest.mark.spec("STO-23", "TIMER-2")
    @pytest.mark.parametrize("due_ns", [50, 70_000])
    async def test_a_replacing_one_is_due_at_its_own_time(
        self, obligations: ObligationStore, due_ns: int
    ) -> None:
        await obligations.put(OLD)
        moved = replace(NEW, due_ns=due_ns)

        await obligations.put(moved)

        assert await obligations.due(due_ns - 1) == []
        assert await obligations.due(due_ns) == [moved]

    @pytest.mark.spec("STO-23", "TIMER-2")
    async def test_replacing_ends_the_lease(self, obligations: ObligationStore) -> None:
        await obligations.put(OLD)
        await obligations.due(100, lease_s=3_600)

        await obligations.put(NEW)

        assert await obligations.due(500) == [NEW]

    @pytest.mark.spec("STO-23")
    async def test_replacing_with_the_same_changes_nothing(
        self, obligations: ObligationStore
    ) -> None:
        await obligations.put(NEW)
        await obligations.due(500, lease_s=3_600)

        await obligations.put(NEW)

        assert await obligations.due(600) == []

    @pytest.mark.spec("STO-23")
    async def test_one_that_replaced_is_not_replaced_by_an_ordinary_one(
        self, obligations: ObligationStore
    ) -> None:
        await obligations.put(NEW)

        await obligations.put(OLD)

        assert await obligations.due(LATE) == [NEW]

    @pytest.mark.spec("STO-23", "STO-49")
    async def test_one_of_many_concurrent_replacements_stays(
        self, obligations: ObligationStore
    ) -> None:
        made = [replace(NEW, payload=b"%d" % n, due_ns=n) for n in range(32)]

        await asyncio.gather(*(obligations.put(item) for item in made))

        [stays] = await obligations.due(LATE)
        assert stays in made
        await obligations.retry(stays.id, 70, "unreachable", seen=stays)
        assert await obligations.due(69) == []
        assert [item.payload for item in await obligations.due(70)] == [stays.payload]

    @pytest.mark.spec("STO-23", "STO-11", "TIMER-2")
    async def test_an_append_replaces(self, stores: Stores) -> None:
        await stores.obligations.put(OLD)
        await stores.obligations.due(100, lease_s=3_600)

        await stores.events.append(cover_of(), 0, pages(0, 1), obligations=[NEW, OTHER])

        assert await stores.obligations.due(LATE) == [OTHER, NEW]

    @pytest.mark.spec("STO-23", "STO-11", "TIMER-3")
    async def test_an_append_drops(self, stores: Stores) -> None:
        await stores.obligations.put(OLD)
        await stores.obligations.put(OTHER)

        await stores.events.append(cover_of(), 0, pages(0, 1), obligations=[Dropped(OLD.id)])

        assert await stores.obligations.due(LATE) == [OTHER]

    @pytest.mark.spec("STO-23", "TIMER-3")
    async def test_dropping_an_unknown_one_does_nothing(self, stores: Stores) -> None:
        await stores.obligations.put(OTHER)

        await stores.events.append(cover_of(), 0, pages(0, 1), obligations=[Dropped(OLD.id)])

        assert await stores.obligations.due(LATE) == [OTHER]

    @pytest.mark.spec("STO-23", "TIMER-3")
    async def test_what_is_leased_can_be_dropped_and_put_again(self, stores: Stores) -> None:
        await stores.obligations.put(OLD)
        await stores.obligations.due(100, lease_s=3_600)

        await stores.events.append(cover_of(), 0, pages(0, 1), obligations=[Dropped(OLD.id)])
        await stores.obligations.put(OLD)

        assert await stores.obligations.due(100) == [OLD]

    @pytest.mark.spec("STO-23", "TIMER-2", "TIMER-3")
    async def test_an_append_does_it_in_its_order(self, stores: Stores) -> None:
        await stores.obligations.put(OLD)
        gone = replace(OTHER, id="timer-2")

        await stores.events.append(
            cover_of(),
            0,
            pages(0, 1),
            obligations=[Dropped(OLD.id), replace(OLD, due_ns=7), gone, Dropped(gone.id), OTHER],
        )

        assert await stores.obligations.due(LATE) == [replace(OLD, due_ns=7), OTHER]

    @pytest.mark.spec("STO-23", "STO-11")
    async def test_an_append_of_nothing_but_a_key_replaces_and_drops(self, stores: Stores) -> None:
        await stores.obligations.put(OLD)
        await stores.obligations.put(OTHER)

        await stores.events.append(
            cover_of(), 0, [], provenance=provenance(), obligations=[NEW, Dropped(OTHER.id)]
        )

        assert await stores.obligations.due(LATE) == [NEW]

    @pytest.mark.spec("STO-23", "STO-11", "STO-3")
    async def test_a_refused_append_replaces_and_drops_none(self, stores: Stores) -> None:
        await stores.obligations.put(OLD)
        await stores.obligations.put(OTHER)

        with pytest.raises(SequenceConflict):
            await stores.events.append(
                cover_of(), 1, pages(1, 1), obligations=[NEW, Dropped(OTHER.id)]
            )

        assert await stores.obligations.due(LATE) == [OLD, OTHER]

    @pytest.mark.spec("STO-23", "STO-12")
    async def test_a_repeated_append_replaces_and_drops_none(self, stores: Stores) -> None:
        key = provenance()
        await stores.events.append(cover_of(), 0, pages(0, 1), provenance=key)
        await stores.obligations.put(OLD)
        await stores.obligations.put(OTHER)

        await stores.events.append(
            cover_of(), 0, pages(0, 1), provenance=key, obligations=[NEW, Dropped(OTHER.id)]
        )

        assert await stores.obligations.due(LATE) == [OLD, OTHER]

    @pytest.mark.spec("STO-23")
    async def test_one_that_is_as_it_was_seen_is_closed(self, obligations: ObligationStore) -> None:
        await obligations.put(OLD)
        [seen] = await obligations.due(100)

        await obligations.close(OLD.id, seen=seen)

        assert await obligations.due(LATE) == []

    @pytest.mark.spec("STO-23", "TIMER-2")
    async def test_closing_what_was_seen_leaves_its_replacement(
        self, obligations: ObligationStore
    ) -> None:
        await obligations.put(OLD)
        [seen] = await obligations.due(100)
        await obligations.put(NEW)

        await obligations.close(OLD.id, seen=seen)

        assert await obligations.due(LATE) == [NEW]

    @pytest.mark.spec("STO-23")
    async def test_closing_what_was_seen_leaves_a_later_try(
        self, obligations: ObligationStore
    ) -> None:
        await obligations.put(OLD)
        [seen] = await obligations.due(100)
        await obligations.retry(OLD.id, 100, "unreachable")

        await obligations.close(OLD.id, seen=seen)

        assert [item.attempts for item in await obligations.due(100)] == [1]

    @pytest.mark.spec("STO-23", "TIMER-2")
    async def test_a_retry_of_what_was_seen_leaves_its_replacement(
        self, obligations: ObligationStore
    ) -> None:
        await obligations.put(OLD)
        [seen] = await obligations.due(100)
        await obligations.put(NEW)

        await obligations.retry(OLD.id, 1_000, "unreachable", seen=seen)

        assert await obligations.due(500) == [NEW]

    @pytest.mark.spec("STO-23")
    async def test_a_retry_of_what_was_seen_counts_once(self, obligations: ObligationStore) -> None:
        await obligations.put(OLD)
        [seen] = await obligations.due(100)

        await obligations.retry(OLD.id, 200, "unreachable", seen=seen)
        await obligations.retry(OLD.id, 300, "unreachable", seen=seen)

        assert [(item.due_ns, item.attempts) for item in await obligations.due(LATE)] == [(200, 1)]

    @pytest.mark.spec("STO-23", "TIMER-2", "STO-3")
    async def test_no_replacement_is_lost_to_whoever_closes_the_old_one(
        self, stores: Stores
    ) -> None:
        for number in range(40):
            await stores.obligations.put(OLD)
            [seen] = await stores.obligations.due(100)

            closing = stores.obligations.close(OLD.id, seen=seen)
            appending = stores.events.append(cover_of(), number, [page(number)], obligations=[NEW])
            both = [closing, appending] if number % 2 else [appending, closing]
            await asyncio.gather(*both)

            assert await stores.obligations.due(LATE) == [NEW]
            await stores.obligations.close(NEW.id)

    @pytest.mark.spec("STO-23", "TIMER-3")
    async def test_nothing_dropped_comes_back_by_a_retry(self, stores: Stores) -> None:
        for number in range(20):
            await stores.obligations.put(OLD)
            [seen] = await stores.obligations.due(100)

            dropping = stores.events.append(
                cover_of(), number, [page(number)], obligations=[Dropped(OLD.id)]
            )
            retrying = stores.obligations.retry(OLD.id, 200, "unreachable", seen=seen)
            both = [retrying, dropping] if number % 2 else [dropping, retrying]
            await asyncio.gather(*both)

            assert await stores.obligations.due(LATE) == []
