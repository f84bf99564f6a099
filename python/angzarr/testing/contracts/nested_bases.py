"""Snapshots and undecided pages below branches of branches (EDN-22, EDN-11, SNAP-5, SNAP-10)."""

from __future__ import annotations

import pytest

from angzarr.ports.event_store import COMMIT, Pending, SnapshotPolicy
from angzarr.ports.stores import Stores
from angzarr.testing.clock import START_NS
from angzarr.testing.contracts.base import Opener, StoreContract, given_pages, given_pending
from angzarr.testing.contracts.nested_levels import BEGINNINGS, LEVELS, MAIN, given_levels, own_page
from angzarr.testing.pages import book_of, page, pages, snapshot

MUM = MAIN.on("mum")
KID = MAIN.on("kid")


def state_of(level: int, sequence: int) -> bytes:
    """A snapshot that tells its level."""
    return snapshot(sequence, state=b"level %d" % level)


class NestedBaseContract(StoreContract):
    """Claims about what lies below a branch of a branch."""

    @pytest.mark.spec("EDN-22", "SNAP-10")
    @pytest.mark.parametrize("level", LEVELS)
    @pytest.mark.parametrize("is_written", [True, False])
    async def test_a_snapshot_of_each_stretch_is_a_base(
        self, stores: Stores, level: int, is_written: bool
    ) -> None:
        """Each of the levels in turn has the only one, on the last sequence that counts."""
        cover, expected = await given_levels(stores, level, is_written=is_written)
        ends = [*(BEGINNINGS[n] for n in range(1, level + 1)), len(expected)]
        if not is_written:
            ends = [*ends[:-2], len(expected)]
        for number, end in enumerate(ends):
            holder = MAIN.on(f"l{number}" if number else "")
            taken = state_of(number, end - 1)
            await stores.snapshots.put(holder, taken)

            book = await stores.events.load_latest(cover)

            assert book.data == book_of(cover, expected[end:], snapshot=taken), number
            assert book.next_sequence == len(expected)
            await stores.snapshots.delete(holder)

    @pytest.mark.spec("EDN-22", "SNAP-10")
    @pytest.mark.parametrize("level", LEVELS)
    async def test_a_snapshot_at_a_stretchs_end_is_no_base(
        self, stores: Stores, level: int
    ) -> None:
        cover, expected = await given_levels(stores, level)
        for number in range(level):
            holder = MAIN.on(f"l{number}" if number else "")
            await stores.snapshots.put(holder, state_of(number, BEGINNINGS[number + 1]))

        book = await stores.events.load_latest(cover)

        assert book.data == book_of(cover, expected)

    @pytest.mark.spec("EDN-22")
    async def test_the_nearest_stretch_with_a_snapshot_is_the_base(self, stores: Stores) -> None:
        cover, expected = await given_levels(stores, 3)
        for number, sequence in enumerate((3, 5, 7)):
            holder = MAIN.on(f"l{number}" if number else "")
            await stores.snapshots.put(holder, state_of(number, sequence))

        book = await stores.events.load_latest(cover)

        assert book.data == book_of(cover, expected[8:], snapshot=state_of(2, 7))

    @pytest.mark.spec("EDN-22")
    async def test_a_cut_stretchs_older_snapshot_is_taken(self, stores: Stores) -> None:
        """`l1` has snapshots at 4 and 6; `l2` leaves it at 6."""
        cover, expected = await given_levels(stores, 2)
        holder = MAIN.on("l1")
        for sequence in (4, 6):
            await stores.snapshots.put(holder, state_of(1, sequence), SnapshotPolicy(keep_last=9))

        book = await stores.events.load_latest(cover)

        assert book.data == book_of(cover, expected[5:], snapshot=state_of(1, 4))

    @pytest.mark.spec("EDN-22", "EDN-5")
    @pytest.mark.parametrize(("divergence", "base"), [(8, 7), (7, 5), (6, 5), (5, 3), (3, None)])
    async def test_a_read_up_to_a_divergence_starts_from_what_is_below_it(
        self, stores: Stores, divergence: int, base: int | None
    ) -> None:
        cover, expected = await given_levels(stores, 3, is_written=False)
        taken = {3: state_of(0, 3), 5: state_of(1, 5), 7: state_of(2, 7)}
        for number, sequence in enumerate(taken):
            holder = MAIN.on(f"l{number}" if number else "")
            await stores.snapshots.put(holder, taken[sequence])

        book = await stores.events.load_latest(cover, divergence=divergence)

        first = 0 if base is None else base + 1
        below = b"" if base is None else taken[base]
        assert book.data == book_of(cover, expected[first:divergence], snapshot=below)

    @pytest.mark.spec("EDN-22", "SNAP-10")
    async def test_a_childs_snapshot_is_no_base_for_its_parent(self, stores: Stores) -> None:
        _, _ = await given_levels(stores, 2)
        await stores.snapshots.put(MAIN.on("l2"), state_of(2, 6))

        for above in ("", "l1"):
            book = await stores.events.load_latest(MAIN.on(above))
            assert book.data == (await stores.events.load(MAIN.on(above))).data

    @pytest.mark.spec("SNAP-5", "EDN-22")
    @pytest.mark.parametrize("holder", [MAIN, MUM, KID])
    async def test_a_pending_page_of_any_stretch_keeps_snapshots_out(
        self, stores: Stores, holder: object
    ) -> None:
        events = stores.events
        await stores.editions.declare("kid", parent="mum")
        for cover in (MAIN, MUM, KID):
            if cover == holder:
                await given_pending(events, cover, "casc-1")
            await given_pages(events, cover, 2)
        end = await events.next_sequence(KID)

        await events.append(KID, end, pages(end, 1), snapshot=snapshot(end))

        assert await stores.snapshots.get(KID) is None

    @pytest.mark.spec("SNAP-5", "EDN-22")
    async def test_a_pending_page_above_a_stretchs_end_does_not_count(self, stores: Stores) -> None:
        events = stores.events
        await stores.editions.declare("kid", parent="mum")
        await given_pages(events, MAIN, 2)
        await given_pages(events, MUM, 2)
        await events.append(KID, 3, pages(3, 1), divergence=3)
        for cover in (MAIN, MUM):
            await given_pending(events, cover, "casc-1")

        await events.append(KID, 4, pages(4, 1), snapshot=snapshot(4))

        assert await stores.snapshots.get(KID) == snapshot(4)

    @pytest.mark.spec("SNAP-5", "EDN-22")
    async def test_a_snapshot_below_the_pending_page_is_kept(self, stores: Stores) -> None:
        events = stores.events
        await stores.editions.declare("kid", parent="mum")
        await given_pages(events, MUM, 2)
        await given_pending(events, MUM, "casc-1")
        await given_pages(events, KID, 1)

        await events.append(KID, 4, pages(4, 1), snapshot=snapshot(1))

        assert await stores.snapshots.get(KID) == snapshot(1)

    @pytest.mark.spec("SNAP-5", "EDN-22", "EDN-11")
    async def test_a_decision_after_the_branch_point_lets_snapshots_in(
        self, stores: Stores
    ) -> None:
        events = stores.events
        await stores.editions.declare("kid", parent="mum")
        await given_pending(events, MUM, "casc-1")
        await given_pages(events, KID, 1)
        await events.decide_cascade("casc-1", COMMIT)
        await events.resolve_cascade(MUM, "casc-1")

        await events.append(KID, 2, pages(2, 1), snapshot=snapshot(2))

        assert await stores.snapshots.get(KID) == snapshot(2)

    @pytest.mark.spec("EDN-11", "EDN-22")
    async def test_inherited_pending_pages_show_and_are_not_the_own(self, stores: Stores) -> None:
        events = stores.events
        await stores.editions.declare("kid", parent="mum")
        made = await given_pending(events, MUM, "casc-1", 2)
        own = page(2, cascade_id="casc-2")
        await events.append(KID, 2, [own], cascade_id="casc-2")

        book = await events.load(KID)

        assert (book.data, book.is_plain) == (book_of(KID, [*made, own]), False)
        assert await events.pending(KID) == [Pending(2, "casc-2", START_NS)]
        mine = await events.query_cascade_participants("casc-1")
        assert [participant.cover.edition for participant in mine] == ["mum"]

    @pytest.mark.spec("EDN-21", "STO-41")
    @pytest.mark.parametrize("level", [0, 1, 2])
    async def test_a_page_that_is_not_plain_is_told_from_the_stretch_it_is_in(
        self, stores: Stores, level: int
    ) -> None:
        events = stores.events
        await stores.editions.declare("l2", parent="l1")
        odd = "type.angzarr.io/angzarr.Compensate"
        for number in range(3):
            type_url = odd if number == level else "t/test.E"
            made = [page(number, type_url=type_url)]
            await events.append(MAIN.on(f"l{number}" if number else ""), number, made)
        leaf = MAIN.on("l2")

        plain = [(await events.load(leaf, start=n, stop=n + 1)).is_plain for n in range(3)]

        assert plain == [number != level for number in range(3)]
        assert not (await events.load(leaf)).is_plain

    @pytest.mark.spec("EDN-22", "STO-2")
    async def test_reopening_keeps_what_is_undecided_below(self, opener: Opener) -> None:
        stores = await opener()
        await stores.editions.declare("kid", parent="mum")
        await given_pages(stores.events, MAIN, 1)
        await given_pending(stores.events, MUM, "casc-1")
        await stores.events.append(KID, 2, [own_page(2, 2)])

        stores = await opener()
        await stores.events.append(KID, 3, [own_page(2, 3)], snapshot=snapshot(3))

        assert await stores.snapshots.get(KID) is None
