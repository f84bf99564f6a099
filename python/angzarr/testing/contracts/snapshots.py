"""Snapshots: what is kept when, per stream (STO-20, STO-48, SNAP-6, SNAP-8)."""

from __future__ import annotations

import pytest

from angzarr import wire
from angzarr.cover import Cover
from angzarr.errors import InvalidInput, SequenceConflict, TooLarge
from angzarr.ports.event_store import SnapshotPolicy
from angzarr.ports.snapshot_store import SnapshotStore
from angzarr.ports.stores import Stores
from angzarr.testing.clock import ManualClock
from angzarr.testing.contracts.base import StoreContract, given_pages
from angzarr.testing.pages import cover_of, pages, snapshot

DEFAULT = wire.RETENTION_DEFAULT
PERSIST = wire.RETENTION_PERSIST
TRANSIENT = wire.RETENTION_TRANSIENT
UNKNOWN = 7
ALICE = cover_of("alice")

OTHERS = {
    "root": cover_of("bob"),
    "domain": cover_of("alice", domain="accounts"),
    "edition": cover_of("alice", edition="whatif"),
}


async def put(
    snapshots: SnapshotStore, sequence: int, retention: int = DEFAULT, *, keep_last: int = 1
) -> None:
    """Put alice's snapshot at `sequence`."""
    taken = _taken(sequence, retention)
    await snapshots.put(ALICE, taken, SnapshotPolicy(keep_last=keep_last))


async def kept(snapshots: SnapshotStore, cover: Cover = ALICE) -> list[int]:
    """Sequences of all snapshots of the stream, descending questions down to the oldest."""
    found: list[int] = []
    data = await snapshots.get(cover)
    while data is not None:
        found.insert(0, wire.Snapshot.FromString(data).sequence)
        data = await snapshots.get_at(cover, found[0] - 1) if found[0] else None
    return found


class SnapshotStoreContract(StoreContract):
    """Claims about the snapshot store."""

    @pytest.fixture
    def snapshots(self, stores: Stores) -> SnapshotStore:
        """The snapshot store of `stores`."""
        return stores.snapshots

    @pytest.mark.spec("STO-48")
    async def test_a_stream_starts_without_snapshots(self, snapshots: SnapshotStore) -> None:
        assert await snapshots.get(ALICE) is None
        assert await snapshots.get_at(ALICE, 100) is None

    @pytest.mark.spec("STO-48", "STO-20")
    async def test_a_snapshot_comes_back_as_stored(self, snapshots: SnapshotStore) -> None:
        stored = snapshot(3, state=bytes(range(256))) + b"\xfa\x06\x03new"

        await snapshots.put(ALICE, stored)

        assert await snapshots.get(ALICE) == stored

    @pytest.mark.spec("STO-48")
    async def test_a_snapshot_at_sequence_zero_is_one(self, snapshots: SnapshotStore) -> None:
        await snapshots.put(ALICE, snapshot(0))

        assert await snapshots.get_at(ALICE, 0) == snapshot(0)

    @pytest.mark.spec("STO-48")
    async def test_a_snapshot_without_state_is_one(self, snapshots: SnapshotStore) -> None:
        stored = wire.Snapshot(sequence=4).SerializeToString()

        await snapshots.put(ALICE, stored)

        assert await snapshots.get(ALICE) == stored

    @pytest.mark.spec("STO-48", "SNAP-8")
    async def test_a_put_at_the_same_sequence_replaces(self, snapshots: SnapshotStore) -> None:
        await snapshots.put(ALICE, snapshot(3, state=b"old"))

        await snapshots.put(ALICE, snapshot(3, state=b"new"))

        assert await snapshots.get(ALICE) == snapshot(3, state=b"new")
        assert await snapshots.delete(ALICE) == 1

    @pytest.mark.spec("SNAP-8", "STO-48")
    async def test_get_gives_the_highest_sequence(self, snapshots: SnapshotStore) -> None:
        for sequence in (9, 255, 256, 70_000, 3):
            await put(snapshots, sequence, PERSIST)

        assert await snapshots.get(ALICE) == snapshot(70_000, retention=PERSIST)

    @pytest.mark.spec("SNAP-8", "STO-48")
    @pytest.mark.parametrize(
        ("at", "found"), [(2, None), (3, 3), (4, 3), (8, 3), (9, 9), (256, 256), (2**32 - 1, 256)]
    )
    async def test_get_at_gives_the_highest_not_above(
        self, snapshots: SnapshotStore, at: int, found: int | None
    ) -> None:
        for sequence in (3, 9, 256):
            await put(snapshots, sequence, PERSIST)

        expected = None if found is None else snapshot(found, retention=PERSIST)
        assert await snapshots.get_at(ALICE, at) == expected

    @pytest.mark.spec("SNAP-6", "STO-48")
    @pytest.mark.parametrize(
        ("keep_last", "expected"),
        [(1, [[3], [7], [7, 9], [7, 12]]), (2, [[3], [3, 7], [7, 9], [7, 12]])],
    )
    async def test_the_worked_example_of_retention(
        self, snapshots: SnapshotStore, keep_last: int, expected: list[list[int]]
    ) -> None:
        seen: list[list[int]] = []
        for sequence, retention in ((3, DEFAULT), (7, PERSIST), (9, TRANSIENT), (12, DEFAULT)):
            await put(snapshots, sequence, retention, keep_last=keep_last)
            seen.append(await kept(snapshots))

        assert seen == expected

    @pytest.mark.spec("SNAP-6", "STO-48")
    async def test_a_newer_one_removes_a_default_one(self, snapshots: SnapshotStore) -> None:
        await put(snapshots, 3, DEFAULT)
        await put(snapshots, 5, DEFAULT)

        assert await kept(snapshots) == [5]

    @pytest.mark.spec("SNAP-6", "STO-48")
    async def test_a_newer_one_removes_a_transient_one(self, snapshots: SnapshotStore) -> None:
        await put(snapshots, 3, TRANSIENT, keep_last=5)
        await put(snapshots, 5, DEFAULT, keep_last=5)

        assert await kept(snapshots) == [5]

    @pytest.mark.spec("SNAP-6", "STO-48")
    async def test_a_newer_one_leaves_a_persistent_one(self, snapshots: SnapshotStore) -> None:
        await put(snapshots, 3, PERSIST)
        await put(snapshots, 5, DEFAULT)

        assert await kept(snapshots) == [3, 5]

    @pytest.mark.spec("SNAP-6", "STO-48")
    @pytest.mark.parametrize("retention", [DEFAULT, PERSIST, TRANSIENT])
    async def test_the_newest_is_never_removed(
        self, snapshots: SnapshotStore, retention: int
    ) -> None:
        await put(snapshots, 3, retention)

        assert await kept(snapshots) == [3]

    @pytest.mark.spec("SNAP-6")
    async def test_an_unknown_retention_counts_as_default(self, snapshots: SnapshotStore) -> None:
        await put(snapshots, 3, UNKNOWN, keep_last=2)
        await put(snapshots, 5, UNKNOWN, keep_last=2)
        await put(snapshots, 7, UNKNOWN, keep_last=2)

        assert await kept(snapshots) == [5, 7]

    @pytest.mark.spec("SNAP-6")
    async def test_keep_last_counts_snapshots_of_any_retention(
        self, snapshots: SnapshotStore
    ) -> None:
        for sequence, retention in ((1, DEFAULT), (3, PERSIST), (5, PERSIST), (7, DEFAULT)):
            await put(snapshots, sequence, retention, keep_last=3)

        assert await kept(snapshots) == [3, 5, 7]

    @pytest.mark.spec("SNAP-6")
    async def test_keep_last_holds_that_many(self, snapshots: SnapshotStore) -> None:
        for sequence in range(10):
            await put(snapshots, sequence, keep_last=3)

        assert await kept(snapshots) == [7, 8, 9]

    @pytest.mark.spec("SNAP-8", "STO-48")
    async def test_an_out_of_order_put_removes_only_below_it(
        self, snapshots: SnapshotStore
    ) -> None:
        for sequence in (3, 5, 12):
            await put(snapshots, sequence, keep_last=4)

        await put(snapshots, 4, PERSIST, keep_last=1)

        assert await kept(snapshots) == [4, 5, 12]

    @pytest.mark.spec("SNAP-8")
    @pytest.mark.parametrize(
        ("retention", "keep_last", "expected"),
        [
            (DEFAULT, 1, [12]),
            (DEFAULT, 2, [5, 12]),
            (TRANSIENT, 9, [12]),
            (PERSIST, 1, [5, 12]),
        ],
    )
    async def test_an_out_of_order_put_is_itself_subject_to_retention(
        self, snapshots: SnapshotStore, retention: int, keep_last: int, expected: list[int]
    ) -> None:
        await put(snapshots, 12)

        await put(snapshots, 5, retention, keep_last=keep_last)

        assert await kept(snapshots) == expected

    @pytest.mark.spec("SNAP-7", "STO-48")
    async def test_a_snapshot_over_its_age_is_removed(
        self, snapshots: SnapshotStore, clock: ManualClock
    ) -> None:
        policy = SnapshotPolicy(keep_last=9, max_age_s=60)
        await snapshots.put(ALICE, snapshot(3), policy)
        clock.advance(60, ns=1)

        await snapshots.put(ALICE, snapshot(5), policy)

        assert await kept(snapshots) == [5]

    @pytest.mark.spec("SNAP-7", "STO-48")
    async def test_a_snapshot_at_its_age_is_kept(
        self, snapshots: SnapshotStore, clock: ManualClock
    ) -> None:
        policy = SnapshotPolicy(keep_last=9, max_age_s=60)
        await snapshots.put(ALICE, snapshot(3), policy)
        clock.advance(60)

        await snapshots.put(ALICE, snapshot(5), policy)

        assert await kept(snapshots) == [3, 5]

    @pytest.mark.spec("SNAP-7", "STO-48")
    async def test_age_does_not_remove_a_persistent_one(
        self, snapshots: SnapshotStore, clock: ManualClock
    ) -> None:
        policy = SnapshotPolicy(keep_last=9, max_age_s=60)
        await snapshots.put(ALICE, snapshot(3, retention=PERSIST), policy)
        clock.advance(1_000)

        await snapshots.put(ALICE, snapshot(5), policy)

        assert await kept(snapshots) == [3, 5]

    @pytest.mark.spec("SNAP-7")
    async def test_age_does_not_remove_the_newest(
        self, snapshots: SnapshotStore, clock: ManualClock
    ) -> None:
        policy = SnapshotPolicy(keep_last=9, max_age_s=60)
        await snapshots.put(ALICE, snapshot(12), policy)
        clock.advance(1_000)

        await snapshots.put(ALICE, snapshot(5), policy)

        assert await kept(snapshots) == [5, 12]

    @pytest.mark.spec("SNAP-7")
    async def test_age_zero_is_no_limit(self, snapshots: SnapshotStore, clock: ManualClock) -> None:
        policy = SnapshotPolicy(keep_last=9, max_age_s=0)
        await snapshots.put(ALICE, snapshot(3), policy)
        clock.advance(10**9)

        await snapshots.put(ALICE, snapshot(5), policy)

        assert await kept(snapshots) == [3, 5]

    @pytest.mark.spec("SNAP-7")
    async def test_a_replaced_snapshot_is_young_again(
        self, snapshots: SnapshotStore, clock: ManualClock
    ) -> None:
        policy = SnapshotPolicy(keep_last=9, max_age_s=60)
        await snapshots.put(ALICE, snapshot(3), policy)
        clock.advance(50)
        await snapshots.put(ALICE, snapshot(3), policy)
        clock.advance(50)

        await snapshots.put(ALICE, snapshot(5), policy)

        assert await kept(snapshots) == [3, 5]

    @pytest.mark.spec("STO-48", "STO-20")
    @pytest.mark.parametrize("part", sorted(OTHERS))
    async def test_snapshots_of_other_streams_are_apart(
        self, snapshots: SnapshotStore, part: str
    ) -> None:
        await snapshots.put(ALICE, snapshot(3))

        assert await snapshots.get(OTHERS[part]) is None
        assert await snapshots.get_at(OTHERS[part], 9) is None
        assert await snapshots.delete(OTHERS[part]) == 0

    @pytest.mark.spec("STO-48", "STO-20")
    @pytest.mark.parametrize("part", sorted(OTHERS))
    async def test_retention_of_one_stream_touches_no_other(
        self, snapshots: SnapshotStore, part: str
    ) -> None:
        await snapshots.put(ALICE, snapshot(3))

        await snapshots.put(OTHERS[part], snapshot(9))

        assert await kept(snapshots) == [3]

    @pytest.mark.spec("STO-48", "WIRE-7", "STO-1")
    @pytest.mark.parametrize("written", ["", "angzarr"])
    @pytest.mark.parametrize("read", ["", "angzarr"])
    async def test_each_spelling_of_main_has_one_snapshot(
        self, snapshots: SnapshotStore, written: str, read: str
    ) -> None:
        await snapshots.put(cover_of(edition=written), snapshot(3))

        assert await snapshots.get(cover_of(edition=read)) == snapshot(3)

    @pytest.mark.spec("STO-48", "STO-20")
    async def test_delete_removes_all_and_counts(self, snapshots: SnapshotStore) -> None:
        for sequence in (3, 5, 7):
            await put(snapshots, sequence, PERSIST)

        assert await snapshots.delete(ALICE) == 3
        assert await kept(snapshots) == []

    @pytest.mark.spec("STO-48")
    async def test_deleting_nothing_counts_zero(self, snapshots: SnapshotStore) -> None:
        assert await snapshots.delete(ALICE) == 0

    @pytest.mark.spec("STO-48")
    async def test_snapshots_are_taken_again_after_deletion(self, snapshots: SnapshotStore) -> None:
        await put(snapshots, 9)
        await snapshots.delete(ALICE)

        await put(snapshots, 3)

        assert await kept(snapshots) == [3]

    @pytest.mark.spec("SNAP-12", "STO-48")
    async def test_all_of_a_domain_are_deleted_and_counted(self, snapshots: SnapshotStore) -> None:
        for cover in (ALICE, *OTHERS.values()):
            await snapshots.put(cover, snapshot(3, retention=PERSIST))
            await snapshots.put(cover, snapshot(5))

        assert await snapshots.delete_all(ALICE.domain) == 6
        assert await kept(snapshots) == []
        assert await kept(snapshots, OTHERS["root"]) == []
        assert await kept(snapshots, OTHERS["edition"]) == []
        assert await kept(snapshots, OTHERS["domain"]) == [3, 5]

    @pytest.mark.spec("SNAP-12", "STO-48", "WIRE-7")
    @pytest.mark.parametrize("main", ["", "angzarr"])
    async def test_all_of_an_edition_are_deleted_alone(
        self, snapshots: SnapshotStore, main: str
    ) -> None:
        for cover in (ALICE, *OTHERS.values()):
            await snapshots.put(cover, snapshot(3))

        assert await snapshots.delete_all(ALICE.domain, "whatif") == 1
        assert await kept(snapshots, OTHERS["edition"]) == []
        assert await snapshots.delete_all(ALICE.domain, main) == 2

    @pytest.mark.spec("SNAP-12", "STO-48")
    async def test_deleting_all_of_an_unknown_domain_counts_zero(
        self, snapshots: SnapshotStore
    ) -> None:
        await put(snapshots, 3)

        assert await snapshots.delete_all("nobody") == 0
        assert await snapshots.delete_all("nobody", "whatif") == 0

    @pytest.mark.spec("SNAP-12")
    async def test_deleted_with_all_a_snapshot_is_no_base_of_a_read(self, stores: Stores) -> None:
        await given_pages(stores.events, ALICE, 5)
        await stores.snapshots.put(ALICE, snapshot(3))
        assert wire.EventBook.FromString((await stores.events.load_latest(ALICE)).data).snapshot

        await stores.snapshots.delete_all(ALICE.domain)

        book = wire.EventBook.FromString((await stores.events.load_latest(ALICE)).data)
        assert (book.HasField("snapshot"), len(book.pages)) == (False, 5)

    @pytest.mark.spec("SNAP-12")
    async def test_after_all_were_deleted_snapshots_are_taken_again(
        self, snapshots: SnapshotStore
    ) -> None:
        await put(snapshots, 9)
        await snapshots.delete_all(ALICE.domain)

        await put(snapshots, 3)

        assert await kept(snapshots) == [3]

    @pytest.mark.spec("STO-48")
    @pytest.mark.parametrize("size_bytes", [100 * 1024, 4 * 1024 * 1024])
    async def test_a_large_state_is_kept(self, snapshots: SnapshotStore, size_bytes: int) -> None:
        stored = snapshot(3, state=bytes(range(256)) * (size_bytes // 256))

        await snapshots.put(ALICE, stored)

        assert await snapshots.get(ALICE) == stored

    @pytest.mark.spec("STO-6", "STO-48")
    async def test_a_state_above_the_limit_is_refused(self, snapshots: SnapshotStore) -> None:
        await put(snapshots, 3)

        with pytest.raises(TooLarge):
            await snapshots.put(ALICE, snapshot(5, state=bytes(4 * 1024 * 1024 + 64 * 1024)))

        assert await kept(snapshots) == [3]

    @pytest.mark.spec("STO-20")
    async def test_bytes_that_are_no_snapshot_are_refused(self, snapshots: SnapshotStore) -> None:
        with pytest.raises(InvalidInput):
            await snapshots.put(ALICE, b"\xff\xff\xff")

        assert await snapshots.get(ALICE) is None

    @pytest.mark.spec("STO-48", "SNAP-4", "STO-11")
    async def test_an_appends_snapshot_follows_retention(self, stores: Stores) -> None:
        await put(stores.snapshots, 0, keep_last=2)
        await given_pages(stores.events, ALICE, 3)
        policy = SnapshotPolicy(keep_last=2)

        await stores.events.append(
            ALICE, 3, pages(3, 1), snapshot=snapshot(3), snapshot_policy=policy
        )
        await stores.events.append(
            ALICE, 4, pages(4, 1), snapshot=snapshot(4), snapshot_policy=policy
        )

        assert await kept(stores.snapshots) == [3, 4]

    @pytest.mark.spec("STO-48", "SNAP-4", "STO-3")
    async def test_a_refused_append_puts_no_snapshot(self, stores: Stores) -> None:
        await put(stores.snapshots, 0)

        with pytest.raises(SequenceConflict):
            await stores.events.append(ALICE, 5, pages(5, 1), snapshot=snapshot(5))

        assert await kept(stores.snapshots) == [0]

    @pytest.mark.spec("STO-12", "STO-48")
    async def test_a_duplicate_append_puts_no_snapshot(self, stores: Stores) -> None:
        await stores.events.append(ALICE, 0, pages(0, 1), external_id="fact-1")

        await stores.events.append(
            ALICE, 0, pages(0, 1), external_id="fact-1", snapshot=snapshot(0)
        )

        assert await kept(stores.snapshots) == []

    @pytest.mark.spec("STO-48", "STO-20")
    async def test_the_store_is_edition_exact_under_a_branch(self, stores: Stores) -> None:
        await given_pages(stores.events, ALICE, 5)
        await put(stores.snapshots, 3)
        branch = ALICE.on("whatif")
        await stores.events.append(branch, 5, pages(5, 1))

        assert await stores.snapshots.get(branch) is None


def _taken(sequence: int, retention: int) -> bytes:
    """An encoded Snapshot with any number of retention."""
    message = wire.Snapshot.FromString(snapshot(sequence))
    message.retention = retention  # pyright: ignore[reportAttributeAccessIssue]
    return message.SerializeToString(deterministic=True)
