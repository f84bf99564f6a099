"""How much of a stream was in the log at a position of it (QRY-16)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from angzarr.cover import Cover
from angzarr.errors import DivergenceConflict, InvalidDivergence, StoreClosed
from angzarr.ports.event_store import COMMIT, ROLLBACK, EventStore
from angzarr.ports.stores import Stores
from angzarr.testing.contracts.base import (
    Opener,
    StoreContract,
    given_pages,
    given_pending,
)
from angzarr.testing.contracts.nested_levels import LEVELS, given_levels
from angzarr.testing.pages import cover_of, pages, provenance

ALICE = cover_of()
BOB = cover_of("bob")
WHATIF = cover_of(edition="whatif")

CALLS: dict[str, Callable[[Stores], Awaitable[object]]] = {
    "events.length_at": lambda s: s.events.length_at(ALICE, 1),
}


async def lengths(events: EventStore, cover: Cover, count: int | None = None) -> list[int]:
    """The stream's length at each position from 0 on: `count`, or up to one above the head."""
    end = await events.log_head() + 2 if count is None else count
    return [await events.length_at(cover, position) for position in range(end)]


class LengthContract(StoreContract):
    """Claims about `length_at`."""

    @pytest.mark.spec("STO-5")
    async def test_a_length_is_refused_after_close(self, stores: Stores) -> None:
        await stores.close()

        with pytest.raises(StoreClosed):
            await CALLS["events.length_at"](stores)

    @pytest.mark.spec("QRY-16")
    async def test_a_length_grows_with_each_position(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 2)
        await given_pages(events, BOB, 3)
        await given_pages(events, ALICE, 1)

        assert await lengths(events, ALICE) == [0, 1, 2, 2, 2, 2, 3, 3]
        assert await lengths(events, BOB) == [0, 0, 0, 1, 2, 3, 3, 3]

    @pytest.mark.spec("QRY-16")
    async def test_an_unknown_stream_has_no_length(self, events: EventStore) -> None:
        assert await lengths(events, ALICE, 3) == [0, 0, 0]
        await given_pages(events, BOB, 2)

        assert await lengths(events, ALICE) == [0, 0, 0, 0]
        assert await lengths(events, WHATIF) == [0, 0, 0, 0]
        assert await lengths(events, cover_of("bob", domain="order")) == [0, 0, 0, 0]

    @pytest.mark.spec("QRY-16")
    async def test_beyond_the_head_all_is_there(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 5)

        assert await events.length_at(ALICE, 2**62) == 5

    @pytest.mark.spec("QRY-16", "STO-14")
    async def test_an_append_without_pages_has_no_position(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 1)
        await events.append(ALICE, 1, [], provenance=provenance())
        await given_pages(events, ALICE, 1)

        assert await lengths(events, ALICE) == [0, 1, 2, 2]

    @pytest.mark.spec("QRY-16", "STO-41")
    async def test_a_long_stream_is_found_through(self, events: EventStore) -> None:
        for turn in range(60):
            await given_pages(events, ALICE, 1 + turn % 3)
            await given_pages(events, BOB, 1 + turn % 2)

        alice, bob = await lengths(events, ALICE), await lengths(events, BOB)

        assert [a + b for a, b in zip(alice, bob, strict=True)][:-1] == list(range(210 + 1))
        assert alice == sorted(alice)

    @pytest.mark.spec("QRY-16", "STO-41")
    async def test_large_appends_are_found_through(self, events: EventStore) -> None:
        for _ in range(3):
            await given_pages(events, ALICE, 1_000)
            await given_pages(events, BOB, 1)

        asked = (999, 1_000, 1_001, 1_002, 1_500, 2_001, 2_002, 3_002, 3_003)
        found = [await events.length_at(ALICE, position) for position in asked]

        assert found == [999, 1_000, 1_000, 1_001, 1_499, 2_000, 2_000, 3_000, 3_000]

    @pytest.mark.spec("QRY-16", "EDN-3")
    async def test_a_branchs_length_is_composite(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 4)
        await events.append(WHATIF, 2, pages(2, 2), divergence=2)
        await given_pages(events, ALICE, 1)
        await given_pages(events, WHATIF, 1)

        assert await lengths(events, WHATIF) == [0, 1, 2, 2, 2, 3, 4, 4, 5, 5]
        assert await lengths(events, ALICE) == [0, 1, 2, 3, 4, 4, 4, 5, 5, 5]

    @pytest.mark.spec("QRY-16", "EDN-4", "EDN-5")
    async def test_an_unwritten_branchs_length_is_that_below_its_divergence(
        self, events: EventStore
    ) -> None:
        await given_pages(events, ALICE, 4)

        assert await lengths(events, WHATIF) == [0, 1, 2, 3, 4, 4]
        assert await events.length_at(WHATIF, 3, divergence=2) == 2
        assert await events.length_at(WHATIF, 1, divergence=2) == 1
        assert await events.length_at(WHATIF, 3, divergence=0) == 0

    @pytest.mark.spec("QRY-16", "EDN-7", "EDN-8")
    async def test_wrong_divergences_are_refused(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 4)
        with pytest.raises(InvalidDivergence):
            await events.length_at(WHATIF, 1, divergence=5)
        await events.append(WHATIF, 2, pages(2, 1), divergence=2)

        with pytest.raises(DivergenceConflict):
            await events.length_at(WHATIF, 1, divergence=3)

    @pytest.mark.spec("QRY-16", "EDN-21")
    @pytest.mark.parametrize("level", LEVELS)
    @pytest.mark.parametrize("is_written", [True, False])
    async def test_a_nested_branchs_length_is_composite(
        self, stores: Stores, level: int, is_written: bool
    ) -> None:
        """Main 0-9 has positions 1-10, `l1` 4-7 has 11-14, `l2` 6-8 15-17, `l3` 8, 9 18, 19."""
        cover, expected = await given_levels(stores, level, is_written=is_written)
        at = {
            0: list(range(1, 11)),
            1: [1, 2, 3, 4, 11, 12, 13, 14],
            2: [1, 2, 3, 4, 11, 12, 15, 16, 17],
            3: [1, 2, 3, 4, 11, 12, 15, 16, 18, 19],
        }[level if is_written else level - 1]
        assert len(at) == len(expected)

        found = await lengths(stores.events, cover, 21)

        assert found == [sum(place <= position for place in at) for position in range(21)]

    @pytest.mark.spec("QRY-16", "EDN-21")
    async def test_an_inherited_page_that_is_younger_ends_the_length(self, stores: Stores) -> None:
        """The parent's page comes into the log when its cascade is decided, after the branch's."""
        events, mum, kid = stores.events, ALICE.on("mum"), ALICE.on("kid")
        await stores.editions.declare("kid", parent="mum")
        await given_pages(events, mum, 1)
        await given_pending(events, mum, "casc-1")
        await given_pages(events, kid, 2)
        await events.decide_cascade("casc-1", COMMIT)
        assert await lengths(events, kid) == [0, 1, 1, 1, 1]

        await events.resolve_cascade(mum, "casc-1")

        assert await lengths(events, kid) == [0, 1, 1, 1, 4, 4, 4]

    @pytest.mark.spec("QRY-16", "CAS-9")
    async def test_held_pages_are_not_there(self, events: EventStore) -> None:
        await given_pages(events, ALICE, 2)
        await given_pending(events, ALICE, "casc-1", 2)
        await given_pages(events, ALICE, 1)
        await given_pages(events, BOB, 1)

        assert await lengths(events, ALICE) == [0, 1, 2, 2, 2]
        assert await events.length_at(ALICE, 2**62) == 2

    @pytest.mark.spec("QRY-16", "CAS-9")
    @pytest.mark.parametrize("outcome", [COMMIT, ROLLBACK])
    async def test_released_pages_are_there_from_their_release_on(
        self, events: EventStore, outcome: str
    ) -> None:
        """1: 0; held: 1, 2 and 3; 2: bob's; released: 1 and 2 as 3, 4; 3 as 5; the marker 6."""
        await given_pages(events, ALICE, 1)
        await given_pending(events, ALICE, "casc-1", 2)
        await given_pages(events, ALICE, 1)
        await given_pages(events, BOB, 1)
        await events.decide_cascade("casc-1", outcome)

        await events.resolve_cascade(ALICE, "casc-1")
        await given_pages(events, ALICE, 1)

        assert await lengths(events, ALICE) == [0, 1, 1, 2, 3, 4, 5, 6, 6]

    @pytest.mark.spec("QRY-16", "CAS-9")
    async def test_cascades_released_in_another_order_keep_the_streams(
        self, events: EventStore
    ) -> None:
        await given_pending(events, ALICE, "casc-1")
        await given_pending(events, ALICE, "casc-2")
        await given_pending(events, BOB, "casc-2")
        for cascade_id in ("casc-1", "casc-2"):
            await events.decide_cascade(cascade_id, COMMIT)

        await events.resolve_cascade(BOB, "casc-2")
        await events.resolve_cascade(ALICE, "casc-2")
        assert await lengths(events, ALICE) == [0, 0, 0, 0]
        await events.resolve_cascade(ALICE, "casc-1")

        assert await lengths(events, BOB) == [0, 1, 2, 2, 2, 2, 2, 2]
        assert await lengths(events, ALICE) == [0, 0, 0, 1, 2, 3, 4, 4]

    @pytest.mark.spec("QRY-16", "CAS-9", "STO-2")
    async def test_reopening_keeps_the_lengths(self, opener: Opener) -> None:
        events = (await opener()).events
        for cover in (ALICE, BOB, ALICE):
            await given_pages(events, cover, 2)
        await given_pending(events, ALICE, "casc-1", 2)
        await given_pages(events, BOB, 1)
        await events.decide_cascade("casc-1", COMMIT)
        await events.resolve_cascade(ALICE, "casc-1")
        await given_pages(events, WHATIF, 1)
        await given_pending(events, WHATIF, "casc-2", 1)
        before = [await lengths(events, cover) for cover in (ALICE, BOB, WHATIF)]

        events = (await opener()).events

        assert [await lengths(events, cover) for cover in (ALICE, BOB, WHATIF)] == before

    @pytest.mark.spec("QRY-16", "EDN-14")
    async def test_deleting_a_branch_leaves_the_positions_of_others(
        self, events: EventStore
    ) -> None:
        await given_pages(events, ALICE, 2)
        await given_pages(events, WHATIF, 3)
        await given_pages(events, ALICE, 2)
        await events.delete_edition("account", "whatif")

        assert await lengths(events, ALICE) == [0, 1, 2, 2, 2, 2, 3, 4, 4]
        assert await lengths(events, WHATIF) == [0, 1, 2, 2, 2, 2, 3, 4, 4]

    @pytest.mark.spec("QRY-16", "STO-14")
    async def test_lengths_and_the_tail_agree(self, events: EventStore) -> None:
        for turn in range(12):
            await given_pages(events, (ALICE, BOB, WHATIF)[turn % 3], 1 + turn % 4)
            if turn % 4 == 1:
                await given_pending(events, ALICE, f"casc-{turn}")
                await events.decide_cascade(f"casc-{turn}", (COMMIT, ROLLBACK)[turn % 8 // 4])
                await events.resolve_cascade(ALICE, f"casc-{turn}")

        for cover in (ALICE, BOB):
            counted = {0: 0}
            for entry in await events.tail(0, limit=1_000):
                is_own = f"{cover.root.hex()}" in entry.book.hex() and b"whatif" not in entry.book
                for position in range(entry.first_position, entry.position + 1):
                    counted[position] = counted[position - 1] + is_own
            assert await lengths(events, cover, len(counted)) == list(counted.values())
