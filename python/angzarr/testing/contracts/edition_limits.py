"""Time to live and quota of declared editions, and what they hold (EDN-23, EDN-24)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr.cover import MAIN
from angzarr.errors import (
    CascadeDecided,
    DivergenceConflict,
    EditionExpired,
    InvalidInput,
    QuotaExceeded,
    SequenceConflict,
)
from angzarr.ports.edition_store import Usage
from angzarr.ports.event_store import COMMIT, Appended, Duplicate
from angzarr.ports.stores import Stores
from angzarr.testing.clock import START_NS, ManualClock
from angzarr.testing.contracts.base import (
    Opener,
    StoreContract,
    attempt,
    given_pages,
    given_pending,
    traces_of,
)
from angzarr.testing.pages import book_of, cover_of, pages, snapshot

ALICE = cover_of()
KID = cover_of(edition="kid")
ORDER = cover_of(domain="order", edition="kid")
END_NS = START_NS + 1_000


def size_of(made: list[bytes]) -> int:
    """Encoded bytes of pages."""
    return sum(map(len, made))


class EditionLimitContract(StoreContract):
    """Claims about what declared editions take."""

    @pytest.mark.spec("EDN-24")
    async def test_a_child_gets_its_parents_expiry(self, stores: Stores) -> None:
        await stores.editions.declare("mum", expires_at_ns=END_NS)

        record = await stores.editions.declare("kid", parent="mum")

        assert record.expires_at_ns == END_NS

    @pytest.mark.spec("EDN-24")
    async def test_a_child_may_expire_before_its_parent(self, stores: Stores) -> None:
        await stores.editions.declare("mum", expires_at_ns=END_NS)

        record = await stores.editions.declare("kid", parent="mum", expires_at_ns=END_NS - 1)

        assert record.expires_at_ns == END_NS - 1

    @pytest.mark.spec("EDN-24")
    async def test_a_child_does_not_outlive_its_parent(self, stores: Stores) -> None:
        await stores.editions.declare("mum", expires_at_ns=END_NS)

        with pytest.raises(InvalidInput) as caught:
            await stores.editions.declare("kid", parent="mum", expires_at_ns=END_NS + 1)

        assert caught.value.field == "expires_at_ns"
        assert await stores.editions.get("kid") is None

    @pytest.mark.spec("EDN-24")
    @pytest.mark.parametrize("kid_ns", [0, END_NS])
    async def test_a_parent_does_not_expire_before_a_child(
        self, stores: Stores, kid_ns: int
    ) -> None:
        await stores.editions.declare("mum")
        await stores.editions.declare("kid", parent="mum", expires_at_ns=kid_ns)

        with pytest.raises(InvalidInput) as caught:
            await stores.editions.declare("mum", expires_at_ns=END_NS - 1)

        assert caught.value.field == "expires_at_ns"
        record = await stores.editions.get("mum")
        assert record is not None
        assert record.expires_at_ns == 0

    @pytest.mark.spec("EDN-24")
    async def test_a_parent_may_live_longer_than_its_children(self, stores: Stores) -> None:
        await stores.editions.declare("mum", expires_at_ns=END_NS)
        await stores.editions.declare("kid", parent="mum")

        assert (await stores.editions.declare("mum", expires_at_ns=END_NS + 1)) is not None
        assert (await stores.editions.declare("kid", parent="mum")).expires_at_ns == END_NS + 1

    @pytest.mark.spec("EDN-24")
    async def test_appends_are_taken_until_the_expiry_and_not_from_it_on(
        self, stores: Stores, clock: ManualClock
    ) -> None:
        await stores.editions.declare("kid", expires_at_ns=END_NS)
        clock.set(END_NS - 1)
        await stores.events.append(KID, 0, pages(0, 1))
        clock.set(END_NS)

        with pytest.raises(EditionExpired) as caught:
            await stores.events.append(KID, 1, pages(1, 1))

        assert (caught.value.edition, caught.value.expired_at_ns) == ("kid", END_NS)
        assert await stores.events.next_sequence(KID) == 1

    @pytest.mark.spec("EDN-24", "STO-3")
    async def test_an_append_after_the_expiry_leaves_no_trace(
        self, stores: Stores, clock: ManualClock
    ) -> None:
        await stores.editions.declare("kid", expires_at_ns=END_NS)
        await given_pages(stores.events, KID, 2)
        clock.set(END_NS + 9)
        before = await traces_of(stores, KID)

        for given in (pages(2, 1), []):
            with pytest.raises(EditionExpired):
                await stores.events.append(KID, 2, given, snapshot=snapshot(1), external_id="x")

        assert await traces_of(stores, KID) == before
        assert await stores.events.find_by_external_id(KID, "x") is None

    @pytest.mark.spec("EDN-24")
    async def test_an_expired_edition_is_read(self, stores: Stores, clock: ManualClock) -> None:
        await stores.editions.declare("kid", expires_at_ns=END_NS)
        made = await given_pages(stores.events, KID, 2)

        clock.set(END_NS)

        assert (await stores.events.load(KID)).data == book_of(KID, made)

    @pytest.mark.spec("EDN-24")
    async def test_an_expiry_concerns_no_other_edition(
        self, stores: Stores, clock: ManualClock
    ) -> None:
        await stores.editions.declare("kid", expires_at_ns=END_NS)
        clock.set(END_NS)

        for edition in ("", "kids", "mum"):
            await given_pages(stores.events, cover_of(edition=edition), 1)

        assert await stores.events.editions("account") == [MAIN, "kids", "mum"]

    @pytest.mark.spec("EDN-24", "EDN-20")
    async def test_a_later_expiry_brings_an_edition_back(
        self, stores: Stores, clock: ManualClock
    ) -> None:
        await stores.editions.declare("kid", expires_at_ns=END_NS)
        clock.set(END_NS)

        await stores.editions.declare("kid", expires_at_ns=END_NS + 1)

        assert await stores.events.append(KID, 0, pages(0, 1)) == Appended(0, 0)

    @pytest.mark.spec("EDN-24", "CAS-9")
    async def test_cascades_of_an_expired_edition_are_resolved(
        self, stores: Stores, clock: ManualClock
    ) -> None:
        await stores.editions.declare("kid", expires_at_ns=END_NS)
        await given_pending(stores.events, KID, "casc-1")
        clock.set(END_NS)
        await stores.events.decide_cascade("casc-1", COMMIT)

        assert await stores.events.resolve_cascade(KID, "casc-1") is not None
        assert await stores.events.pending(KID) == []

    @pytest.mark.spec("EDN-24", "STO-12")
    async def test_the_expiry_is_judged_after_keys_and_cascades_and_before_the_rest(
        self, stores: Stores, clock: ManualClock
    ) -> None:
        events = stores.events
        await stores.editions.declare("kid", expires_at_ns=END_NS)
        await events.append(KID, 0, pages(0, 1), external_id="x")
        await events.decide_cascade("casc-1", COMMIT)
        clock.set(END_NS)

        known = await events.append(KID, 5, pages(5, 1), external_id="x")

        assert known == Duplicate(0, 0)
        with pytest.raises(CascadeDecided):
            await events.append(KID, 1, pages(1, 1, cascade_id="casc-1"), cascade_id="casc-1")
        with pytest.raises(EditionExpired):
            await events.append(KID, 7, pages(3, 1), divergence=2)

    @pytest.mark.spec("EDN-23")
    async def test_a_quota_of_pages_is_filled_and_not_exceeded(self, stores: Stores) -> None:
        await stores.editions.declare("kid", max_pages=5)
        await given_pages(stores.events, KID, 3)
        await given_pages(stores.events, ORDER, 2)

        with pytest.raises(QuotaExceeded) as caught:
            await stores.events.append(cover_of("bob", edition="kid"), 0, pages(0, 1))

        error = caught.value
        assert (error.field, error.limit, error.value) == (
            "edition.max_pages",
            "at most 5 pages",
            "6",
        )
        assert "kid" in str(error)

    @pytest.mark.spec("EDN-23")
    async def test_a_quota_of_bytes_is_filled_and_not_exceeded(self, stores: Stores) -> None:
        made, more = pages(0, 4), pages(0, 1)
        await stores.editions.declare("kid", max_bytes=size_of(made) + size_of(more))
        await stores.events.append(KID, 0, made)
        await stores.events.append(ORDER, 0, more)

        with pytest.raises(QuotaExceeded) as caught:
            await stores.events.append(ORDER, 1, pages(1, 1))

        error = caught.value
        limit = size_of(made) + size_of(more)
        assert (error.field, error.limit, error.value) == (
            "edition.max_bytes",
            f"at most {limit} bytes",
            str(limit + size_of(pages(1, 1))),
        )

    @pytest.mark.spec("EDN-23", "STO-3")
    async def test_an_append_over_the_quota_leaves_no_trace(self, stores: Stores) -> None:
        await stores.editions.declare("kid", max_pages=4)
        await given_pages(stores.events, KID, 3)
        before = await traces_of(stores, KID)

        with pytest.raises(QuotaExceeded):
            await stores.events.append(KID, 3, pages(3, 2), snapshot=snapshot(4), external_id="x")
        with pytest.raises(QuotaExceeded):
            await stores.events.append(ORDER, 0, pages(0, 2))

        assert await traces_of(stores, KID) == before
        assert await stores.events.divergence(ORDER) is None
        assert await stores.events.find_by_external_id(KID, "x") is None
        assert await stores.events.append(KID, 3, pages(3, 1)) == Appended(3, 3)

    @pytest.mark.spec("EDN-23")
    async def test_pages_from_before_the_declaration_count(self, stores: Stores) -> None:
        await given_pages(stores.events, KID, 3)

        await stores.editions.declare("kid", max_pages=3)

        with pytest.raises(QuotaExceeded):
            await stores.events.append(KID, 3, pages(3, 1))

    @pytest.mark.spec("EDN-23")
    async def test_inherited_pages_do_not_count(self, stores: Stores) -> None:
        await stores.editions.declare("kid", parent="mum", max_pages=2)
        await given_pages(stores.events, ALICE, 5)
        await given_pages(stores.events, cover_of(edition="mum"), 5)

        assert await stores.events.append(KID, 10, pages(10, 2)) == Appended(10, 11)

    @pytest.mark.spec("EDN-23")
    async def test_a_quota_concerns_no_other_edition(self, stores: Stores) -> None:
        await stores.editions.declare("mum", max_pages=2)
        await stores.editions.declare("kid", parent="mum")

        for edition in ("", "kid", "kids"):
            await given_pages(stores.events, cover_of(edition=edition), 5)

        assert await stores.events.append(cover_of(edition="mum"), 5, pages(5, 2)) == Appended(5, 6)

    @pytest.mark.spec("EDN-23", "EDN-20")
    async def test_a_quota_can_be_raised_lifted_and_lowered(self, stores: Stores) -> None:
        await stores.editions.declare("kid", max_pages=2)
        await given_pages(stores.events, KID, 2)
        await stores.editions.declare("kid", max_pages=3)
        await given_pages(stores.events, KID, 1)
        await stores.editions.declare("kid")
        await given_pages(stores.events, KID, 4)

        await stores.editions.declare("kid", max_pages=3)

        with pytest.raises(QuotaExceeded) as caught:
            await stores.events.append(KID, 7, pages(7, 1))
        assert caught.value.value == "8"

    @pytest.mark.spec("EDN-23", "EDN-25")
    async def test_pages_from_a_time_without_a_record_count(self, stores: Stores) -> None:
        await stores.editions.declare("kid", max_pages=1)
        with pytest.raises(QuotaExceeded):
            await stores.events.append(KID, 0, pages(0, 2))
        await stores.editions.forget("kid")
        await given_pages(stores.events, KID, 3)

        await stores.editions.declare("kid", max_pages=3)

        with pytest.raises(QuotaExceeded) as caught:
            await stores.events.append(KID, 3, pages(3, 1))
        assert caught.value.value == "4"

    @pytest.mark.spec("EDN-23", "EDN-14")
    async def test_deletion_makes_room(self, stores: Stores) -> None:
        await stores.editions.declare("kid", max_pages=4)
        await given_pages(stores.events, KID, 3)
        await given_pages(stores.events, ORDER, 1)

        await stores.events.delete_edition("account", "kid")

        await given_pages(stores.events, KID, 3)
        with pytest.raises(QuotaExceeded):
            await stores.events.append(KID, 3, pages(3, 1))

    @pytest.mark.spec("EDN-23", "CAS-9")
    async def test_markers_count_and_are_never_refused(self, stores: Stores) -> None:
        await stores.editions.declare("kid", max_pages=2)
        made = await given_pending(stores.events, KID, "casc-1", 2)
        await stores.events.decide_cascade("casc-1", COMMIT)

        marker = await stores.events.resolve_cascade(KID, "casc-1")

        assert marker is not None
        assert await stores.editions.usage("kid") == Usage(3, size_of([*made, marker]))
        await stores.editions.declare("kid", max_pages=3)
        with pytest.raises(QuotaExceeded):
            await stores.events.append(KID, 3, pages(3, 1))

    @pytest.mark.spec("EDN-23")
    async def test_a_full_edition_takes_keys_and_snapshots(self, stores: Stores) -> None:
        await stores.editions.declare("kid", max_pages=2, max_bytes=1_000)
        await given_pages(stores.events, KID, 2)
        await stores.editions.declare("kid", max_pages=1, max_bytes=1)

        await stores.events.append(KID, 2, [], external_id="x", snapshot=snapshot(1))

        assert await stores.snapshots.get(KID) == snapshot(1)

    @pytest.mark.spec("EDN-23", "STO-12")
    async def test_the_quota_is_judged_last(self, stores: Stores) -> None:
        events = stores.events
        await stores.editions.declare("kid", max_pages=1)
        await events.append(KID, 0, pages(0, 1), external_id="x")

        assert await events.append(KID, 9, pages(9, 3), external_id="x") == Duplicate(0, 0)
        with pytest.raises(SequenceConflict):
            await events.append(KID, 0, pages(0, 1))
        with pytest.raises(DivergenceConflict):
            await events.append(KID, 1, pages(1, 1), divergence=3)
        with pytest.raises(InvalidInput) as caught:
            await events.append(KID, 1, pages(2, 1))
        assert not isinstance(caught.value, QuotaExceeded)

    @pytest.mark.spec("EDN-23", "STO-10")
    async def test_many_writers_together_stay_within_the_quota(self, stores: Stores) -> None:
        await stores.editions.declare("kid", max_pages=41)
        covers = [cover_of(f"root-{n}", domain=f"d{n % 3}", edition="kid") for n in range(32)]

        answers = await asyncio.gather(
            *(attempt(stores.events.append(cover, 0, pages(0, 2))) for cover in covers)
        )

        taken = [answer for answer in answers if isinstance(answer, Appended)]
        refused = [answer for answer in answers if isinstance(answer, QuotaExceeded)]
        assert (len(taken), len(refused)) == (20, 12)
        assert (await stores.editions.usage("kid")).page_count == 40

    @pytest.mark.spec("EDN-23", "STO-29")
    async def test_reopening_keeps_what_counts(self, opener: Opener) -> None:
        stores = await opener()
        await stores.editions.declare("kid", max_pages=3)
        made = await given_pages(stores.events, KID, 2)

        stores = await opener()

        assert await stores.editions.usage("kid") == Usage(2, size_of(made))
        await given_pages(stores.events, ORDER, 1)
        with pytest.raises(QuotaExceeded):
            await stores.events.append(KID, 2, pages(2, 1))

    @pytest.mark.spec("STO-29")
    async def test_usage_is_that_of_the_own_pages_in_all_domains(self, stores: Stores) -> None:
        await given_pages(stores.events, ALICE, 5)
        made = await given_pages(stores.events, KID, 2)
        made += await given_pages(stores.events, ORDER, 3)
        made += await given_pages(stores.events, cover_of("bob", edition="kid"), 1)

        assert await stores.editions.usage("kid") == Usage(6, size_of(made))
        assert (await stores.editions.usage("")).page_count == 5
        assert await stores.editions.usage(MAIN) == await stores.editions.usage("")

    @pytest.mark.spec("STO-29", "EDN-14")
    async def test_usage_ends_with_the_pages(self, stores: Stores) -> None:
        await given_pages(stores.events, KID, 2)
        made = await given_pages(stores.events, ORDER, 3)

        await stores.events.delete_edition("account", "kid")

        assert await stores.editions.usage("kid") == Usage(3, size_of(made))
        assert await stores.editions.usage("nobody") == Usage(0, 0)
