"""How far consumers have come, and who holds which lease (STO-22, STO-49)."""

from __future__ import annotations

import asyncio

import pytest

from angzarr.cover import Cover
from angzarr.ports.position_store import PositionStore
from angzarr.ports.stores import Stores
from angzarr.testing.clock import ManualClock
from angzarr.testing.contracts.base import StoreContract
from angzarr.testing.pages import cover_of

ALICE = cover_of("alice")

ISOLATED: dict[str, tuple[str, Cover]] = {
    "consumer": ("projector", ALICE),
    "prefixed consumer": ("proj2", ALICE),
    "domain": ("proj", cover_of("alice", domain="accounts")),
    "root": ("proj", cover_of("bob")),
    "edition": ("proj", cover_of("alice", edition="whatif")),
}


class PositionStoreContract(StoreContract):
    """Claims about the position store."""

    @pytest.fixture
    def positions(self, stores: Stores) -> PositionStore:
        """The position store of `stores`."""
        return stores.positions

    @pytest.mark.spec("STO-49", "STO-22")
    async def test_a_consumer_starts_without_position(self, positions: PositionStore) -> None:
        assert await positions.get("proj", ALICE) is None

    @pytest.mark.spec("STO-49", "STO-22")
    async def test_a_position_is_kept(self, positions: PositionStore) -> None:
        assert await positions.put("proj", ALICE, 5) == 5
        assert await positions.get("proj", ALICE) == 5

    @pytest.mark.spec("STO-49")
    async def test_a_position_advances(self, positions: PositionStore) -> None:
        await positions.put("proj", ALICE, 5)

        assert await positions.put("proj", ALICE, 6) == 6
        assert await positions.get("proj", ALICE) == 6

    @pytest.mark.spec("STO-49", "STO-22")
    @pytest.mark.parametrize("lower", [0, 4, 5])
    async def test_a_position_never_goes_back(self, positions: PositionStore, lower: int) -> None:
        await positions.put("proj", ALICE, 5)

        assert await positions.put("proj", ALICE, lower) == 5
        assert await positions.get("proj", ALICE) == 5

    @pytest.mark.spec("STO-49", "STO-22")
    async def test_zero_is_a_position(self, positions: PositionStore) -> None:
        assert await positions.put("proj", ALICE, 0) == 0
        assert await positions.get("proj", ALICE) == 0

    @pytest.mark.spec("STO-49")
    @pytest.mark.parametrize("sequence", [255, 256, 65_536, 2**32 - 1])
    async def test_positions_compare_as_numbers(
        self, positions: PositionStore, sequence: int
    ) -> None:
        await positions.put("proj", ALICE, 9)

        assert await positions.put("proj", ALICE, sequence) == sequence
        assert await positions.put("proj", ALICE, 100) == sequence

    @pytest.mark.spec("STO-49")
    async def test_concurrent_puts_leave_the_highest(self, positions: PositionStore) -> None:
        await asyncio.gather(
            *(positions.put("proj", ALICE, sequence * 7 % 64) for sequence in range(64))
        )

        assert await positions.get("proj", ALICE) == 63

    @pytest.mark.spec("STO-49", "STO-22")
    @pytest.mark.parametrize("part", sorted(ISOLATED))
    async def test_positions_are_isolated(self, positions: PositionStore, part: str) -> None:
        consumer, cover = ISOLATED[part]
        await positions.put("proj", ALICE, 5)

        assert await positions.get(consumer, cover) is None
        assert await positions.put(consumer, cover, 2) == 2
        assert await positions.get("proj", ALICE) == 5

    @pytest.mark.spec("STO-49")
    @pytest.mark.parametrize("name", ["", "a:b/c", "proj\x00x", "projektör", "p" * 500])
    async def test_any_text_names_a_consumer(self, positions: PositionStore, name: str) -> None:
        await positions.put("proj", ALICE, 1)
        await positions.put(name, ALICE, 5)

        assert await positions.get(name, ALICE) == 5
        assert await positions.get("proj", ALICE) == 1

    @pytest.mark.spec("STO-49", "WIRE-7", "STO-1")
    @pytest.mark.parametrize("written", ["", "angzarr"])
    @pytest.mark.parametrize("read", ["", "angzarr"])
    async def test_each_spelling_of_main_has_one_position(
        self, positions: PositionStore, written: str, read: str
    ) -> None:
        await positions.put("proj", cover_of(edition=written), 5)

        assert await positions.get("proj", cover_of(edition=read)) == 5

    @pytest.mark.spec("STO-22")
    async def test_the_correlation_id_is_no_part_of_the_key(self, positions: PositionStore) -> None:
        await positions.put("proj", cover_of(correlation_id="corr-1"), 5)

        assert await positions.get("proj", cover_of(correlation_id="corr-2")) == 5

    @pytest.mark.spec("STO-22")
    async def test_a_position_needs_no_pages(self, stores: Stores) -> None:
        await stores.positions.put("proj", cover_of(domain="unwritten"), 5)

        assert await stores.events.domains() == []

    @pytest.mark.spec("STO-49", "STO-22")
    async def test_a_consumer_starts_without_cursor(self, positions: PositionStore) -> None:
        assert await positions.cursor("proj") is None

    @pytest.mark.spec("STO-49", "STO-22")
    async def test_a_cursor_is_kept(self, positions: PositionStore) -> None:
        assert await positions.put_cursor("proj", 2**40) == 2**40
        assert await positions.cursor("proj") == 2**40

    @pytest.mark.spec("STO-49", "STO-22")
    async def test_zero_is_a_cursor(self, positions: PositionStore) -> None:
        assert await positions.put_cursor("proj", 0) == 0
        assert await positions.cursor("proj") == 0

    @pytest.mark.spec("STO-49", "STO-22")
    @pytest.mark.parametrize("lower", [0, 4, 5])
    async def test_a_cursor_never_goes_back(self, positions: PositionStore, lower: int) -> None:
        await positions.put_cursor("proj", 5)

        assert await positions.put_cursor("proj", lower) == 5
        assert await positions.cursor("proj") == 5

    @pytest.mark.spec("STO-49", "STO-22")
    @pytest.mark.parametrize("other", ["projector", "pro", "Proj"])
    async def test_cursors_of_consumers_are_apart(
        self, positions: PositionStore, other: str
    ) -> None:
        await positions.put_cursor("proj", 5)

        assert await positions.cursor(other) is None

    @pytest.mark.spec("STO-22")
    async def test_cursor_and_positions_are_apart(self, positions: PositionStore) -> None:
        await positions.put("proj", ALICE, 5)
        assert await positions.cursor("proj") is None

        await positions.put_cursor("proj", 9)
        assert await positions.get("proj", ALICE) == 5

    @pytest.mark.spec("STO-49", "STO-22")
    async def test_reset_forgets_positions_and_cursor(self, positions: PositionStore) -> None:
        await positions.put("proj", ALICE, 5)
        await positions.put("proj", cover_of(domain="order", edition="whatif"), 5)
        await positions.put_cursor("proj", 9)

        await positions.reset("proj")

        assert await positions.get("proj", ALICE) is None
        assert await positions.get("proj", cover_of(domain="order", edition="whatif")) is None
        assert await positions.cursor("proj") is None

    @pytest.mark.spec("STO-49", "STO-22")
    @pytest.mark.parametrize("other", ["projector", "pro", "proj\x00", "Proj"])
    async def test_reset_leaves_other_consumers(self, positions: PositionStore, other: str) -> None:
        await positions.put(other, ALICE, 5)
        await positions.put_cursor(other, 9)

        await positions.reset("proj")

        assert await positions.get(other, ALICE) == 5
        assert await positions.cursor(other) == 9

    @pytest.mark.spec("STO-49")
    async def test_after_a_reset_lower_positions_count(self, positions: PositionStore) -> None:
        await positions.put("proj", ALICE, 5)
        await positions.reset("proj")

        assert await positions.put("proj", ALICE, 2) == 2

    @pytest.mark.spec("STO-49")
    async def test_resetting_nothing_is_fine(self, positions: PositionStore) -> None:
        await positions.reset("proj")

        assert await positions.cursor("proj") is None

    @pytest.mark.spec("STO-22")
    async def test_reset_leaves_leases(self, positions: PositionStore) -> None:
        await positions.lease("proj", 0, "first", 30)

        await positions.reset("proj")

        assert not await positions.lease("proj", 0, "second", 30)

    @pytest.mark.spec("STO-22", "DEP-14")
    async def test_a_free_lease_is_given(self, positions: PositionStore) -> None:
        assert await positions.lease("proj", 0, "first", 30)

    @pytest.mark.spec("STO-22", "DEP-14")
    async def test_a_held_lease_is_refused_to_others(self, positions: PositionStore) -> None:
        await positions.lease("proj", 0, "first", 30)

        assert not await positions.lease("proj", 0, "second", 30)

    @pytest.mark.spec("STO-22", "DEP-14")
    async def test_a_refused_request_does_not_disturb_the_holder(
        self, positions: PositionStore, clock: ManualClock
    ) -> None:
        await positions.lease("proj", 0, "first", 30)
        await positions.lease("proj", 0, "second", 300)
        clock.advance(31)

        assert await positions.lease("proj", 0, "third", 30)

    @pytest.mark.spec("STO-22", "DEP-14")
    async def test_the_holder_renews_from_now(
        self, positions: PositionStore, clock: ManualClock
    ) -> None:
        await positions.lease("proj", 0, "first", 30)
        clock.advance(20)
        assert await positions.lease("proj", 0, "first", 30)
        clock.advance(20)

        assert not await positions.lease("proj", 0, "second", 30)

    @pytest.mark.spec("STO-22", "DEP-14")
    async def test_an_expired_lease_is_free(
        self, positions: PositionStore, clock: ManualClock
    ) -> None:
        await positions.lease("proj", 0, "first", 30)
        clock.advance(30, ns=1)

        assert await positions.lease("proj", 0, "second", 30)
        assert not await positions.lease("proj", 0, "first", 30)

    @pytest.mark.spec("STO-22", "DEP-14")
    async def test_a_lease_is_held_to_its_end(
        self, positions: PositionStore, clock: ManualClock
    ) -> None:
        await positions.lease("proj", 0, "first", 0.5)
        clock.advance(ns=499_999_999)

        assert not await positions.lease("proj", 0, "second", 30)

    @pytest.mark.spec("STO-22")
    async def test_the_holder_releases_with_zero(self, positions: PositionStore) -> None:
        await positions.lease("proj", 0, "first", 30)

        assert await positions.lease("proj", 0, "first", 0)
        assert await positions.lease("proj", 0, "second", 30)

    @pytest.mark.spec("STO-22")
    async def test_nobody_releases_anothers_lease(self, positions: PositionStore) -> None:
        await positions.lease("proj", 0, "first", 30)

        assert not await positions.lease("proj", 0, "second", 0)
        assert not await positions.lease("proj", 0, "second", 30)

    @pytest.mark.spec("STO-22", "DEP-14")
    async def test_partitions_and_consumers_have_leases_of_their_own(
        self, positions: PositionStore
    ) -> None:
        await positions.lease("proj", 0, "first", 30)

        assert await positions.lease("proj", 1, "second", 30)
        assert await positions.lease("proj2", 0, "second", 30)

    @pytest.mark.spec("STO-22", "DEP-14")
    async def test_one_of_32_callers_gets_the_lease(self, positions: PositionStore) -> None:
        given = await asyncio.gather(
            *(positions.lease("proj", 0, f"holder-{number}", 30) for number in range(32))
        )

        assert given.count(True) == 1
