"""Snapshots under branches: which one a load starts from (SNAP-10, EDN-18)."""

from __future__ import annotations

import pytest

from angzarr.ports.event_store import SnapshotPolicy
from angzarr.ports.stores import Stores
from angzarr.testing.contracts.base import StoreContract, given_pages
from angzarr.testing.pages import book_of, cover_of, pages, snapshot

MAIN = cover_of()
WHATIF = cover_of(edition="whatif")
LIVE = cover_of(edition="live")
KEEP_ALL = SnapshotPolicy(keep_last=100)


class BranchBaseContract(StoreContract):
    """Claims about `load_latest` of branches."""

    @pytest.mark.spec("SNAP-10", "STO-48")
    @pytest.mark.parametrize(("divergence", "base"), [(100, 99), (99, 49), (49, None), (50, 49)])
    async def test_a_main_snapshot_below_the_divergence_is_the_base(
        self, stores: Stores, divergence: int, base: int | None
    ) -> None:
        made = await self.given_main_with_snapshots(stores)

        book = await stores.events.load_latest(WHATIF, divergence=divergence)

        taken = b"" if base is None else snapshot(base)
        first = 0 if base is None else base + 1
        assert book.data == book_of(WHATIF, made[first:divergence], snapshot=taken)
        assert book.next_sequence == divergence

    @pytest.mark.spec("SNAP-10")
    async def test_a_written_branch_starts_from_mains_snapshot(self, stores: Stores) -> None:
        await self.given_main_with_snapshots(stores)
        await stores.events.append(WHATIF, 100, pages(100, 3), divergence=100)

        book = await stores.events.load_latest(WHATIF)

        assert book.data == book_of(WHATIF, pages(100, 3), snapshot=snapshot(99))

    @pytest.mark.spec("SNAP-10")
    async def test_a_branchs_own_snapshot_is_preferred(self, stores: Stores) -> None:
        await self.given_main_with_snapshots(stores)
        await stores.events.append(WHATIF, 100, pages(100, 3), divergence=100)
        own = snapshot(101, state=b"own")
        await stores.snapshots.put(WHATIF, own)

        book = await stores.events.load_latest(WHATIF)

        assert book.data == book_of(WHATIF, pages(102, 1), snapshot=own)

    @pytest.mark.spec("SNAP-10")
    async def test_a_branchs_snapshot_is_no_base_for_main(self, stores: Stores) -> None:
        made = await given_pages(stores.events, MAIN, 4)
        await stores.events.append(WHATIF, 4, pages(4, 1))
        await stores.snapshots.put(WHATIF, snapshot(4))

        assert (await stores.events.load_latest(MAIN)).data == book_of(MAIN, made)
        assert (await stores.events.load_latest(LIVE)).data == book_of(LIVE, made)

    async def given_main_with_snapshots(self, stores: Stores) -> list[bytes]:
        """160 pages on main and SNAP-10's snapshots at 49, 99 and 149."""
        made = await given_pages(stores.events, MAIN, 160)
        for sequence in (49, 99, 149):
            await stores.events.append(
                MAIN, 160, [], snapshot=snapshot(sequence), snapshot_policy=KEEP_ALL
            )
        return made
